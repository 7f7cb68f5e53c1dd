"""BigQuery's types, in DuckDB, in REST replies and in exports."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from airflow_ml_provider.emulator.bigquery.sql.types import Type, named
from airflow_ml_provider.emulator.errors import ApiError

Field = Mapping[str, Any]

# The REST API's own names of types.
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
_ALIASES = {**_LEGACY, "DECIMAL": "NUMERIC"}
_KINDS = {
    **{legacy: kind for kind, legacy in _LEGACY.items() if kind != "STRUCT"},
    **{
        kind: kind for kind in ("STRING", "BYTES", "DATE", "DATETIME", "TIME", "TIMESTAMP", "NUMERIC", "JSON")
    },
}


def normalized(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Return a schema with legacy type names and explicit modes, as the service returns it.

    :raises ApiError: 400 for a type that the emulator does not know, and for a name that is used twice.
    """
    clean: list[dict[str, Any]] = []
    for given in fields:
        kind = _ALIASES.get(str(given.get("type", "")).upper(), str(given.get("type", "")).upper())
        if any(other["name"].lower() == given["name"].lower() for other in clean):
            raise ApiError(400, f"Duplicate column name {given['name']} in schema", reason="invalid")
        if kind == "RECORD":
            clean.append({**given, "type": kind, "fields": normalized(given.get("fields", []))})
        elif kind in _KINDS:
            clean.append({**given, "type": kind})
        else:
            raise ApiError(400, f"The emulator does not know the type {given.get('type')}.", reason="invalid")
        for limit in ("maxLength", "precision", "scale", "defaultValueExpression", "rangeElementType"):
            if limit in given:
                raise ApiError(400, f"The emulator does not know {limit} of a column.", reason="invalid")
        clean[-1]["mode"] = str(given.get("mode") or "NULLABLE").upper()
    return clean


def type_of(field: Field) -> Type:
    """Return the type of a schema's column."""
    if field["type"] == "RECORD":
        kind = Type("STRUCT", fields=tuple((sub["name"], type_of(sub)) for sub in field["fields"]))
    else:
        kind = Type(_KINDS[field["type"]])
    return Type("ARRAY", kind) if field.get("mode") == "REPEATED" else kind


def field_from(name: str, kind: Type) -> dict[str, Any]:
    """Return the schema's column of a type."""
    mode = "NULLABLE"
    if kind.element is not None:
        kind, mode = kind.element, "REPEATED"
    if kind.kind == "STRUCT":
        fields = [field_from(sub, each) for sub, each in named(kind.fields)]
        return {"name": name, "type": "RECORD", "mode": mode, "fields": fields}
    return {"name": name, "type": _LEGACY.get(kind.kind, kind.kind), "mode": mode}


def duckdb_type(field: Field) -> str:
    """Return the DuckDB type of a column."""
    return type_of(field).duckdb


def cell(field: Field, value: Any, *, micros: bool) -> dict[str, Any]:
    """Return a value as ``tabledata.list`` shows it.

    :param micros: timestamps as integer microseconds rather than as seconds.
    """
    if field.get("mode") == "REPEATED":
        single = {**field, "mode": "NULLABLE"}
        return {"v": [cell(single, item, micros=micros) for item in value or []]}
    if value is None:
        return {"v": None}
    if field["type"] == "RECORD":
        return {"v": {"f": [cell(sub, value[sub["name"]], micros=micros) for sub in field["fields"]]}}
    if field["type"] == "TIMESTAMP":
        total = _micros(value)
        return {"v": str(total) if micros else repr(total / 1e6)}
    return {"v": text_of(field["type"], value)}


def text_of(kind: str, value: Any) -> str:
    """Return a value as text, as in REST replies, CSV and NDJSON."""
    if kind == "BOOLEAN":
        return "true" if value else "false"
    if kind == "FLOAT":
        return _float_text(value)
    if kind == "BYTES":
        return base64.b64encode(value).decode()
    if kind == "TIMESTAMP":
        moment = value.astimezone(dt.UTC)
        fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
        return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} UTC"
    if kind == "DATETIME":
        return str(value.isoformat())
    if kind == "NUMERIC":
        return f"{Decimal(value).normalize():f}"
    return str(value)


def json_of(field: Field, value: Any) -> Any:
    """Return a value as NDJSON exports write it: integers as strings."""
    if field.get("mode") == "REPEATED":
        return [json_of({**field, "mode": "NULLABLE"}, item) for item in value or []]
    if field["type"] == "RECORD":
        found = ((sub["name"], sub, value[sub["name"]]) for sub in field["fields"])
        return {name: json_of(sub, item) for name, sub, item in found if item is not None}
    if field["type"] == "BOOLEAN":
        return bool(value)
    if field["type"] == "FLOAT" and math.isfinite(value):
        return float(value)
    if field["type"] == "JSON":
        return json.loads(value)
    return text_of(field["type"], value)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    return repr(value)


def _micros(value: dt.datetime) -> int:
    delta = value.astimezone(dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
