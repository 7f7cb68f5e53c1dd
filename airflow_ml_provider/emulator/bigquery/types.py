"""BigQuery's types, in DuckDB, in REST replies and in exports."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError

Field = Mapping[str, Any]

_TO_DUCKDB = {
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP",
    "DATE": "DATE",
    "TIME": "TIME",
    "NUMERIC": "DECIMAL(38,9)",
    "JSON": "JSON",
}
_ALIASES = {
    "INT64": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "STRUCT": "RECORD",
    "DECIMAL": "NUMERIC",
}
_FROM_DUCKDB = {duck: name for name, duck in _TO_DUCKDB.items()} | {
    "INTEGER": "INTEGER",
    "SMALLINT": "INTEGER",
    "TINYINT": "INTEGER",
    "FLOAT": "FLOAT",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    '"NULL"': "INTEGER",
}


def normalized(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Return a schema with legacy type names and explicit modes, as the service returns it.

    :raises ApiError: 400 for a type that the emulator does not know.
    """
    clean = []
    for given in fields:
        kind = _ALIASES.get(str(given["type"]).upper(), str(given["type"]).upper())
        if kind == "RECORD":
            clean.append({**given, "type": kind, "fields": normalized(given.get("fields", []))})
        elif kind in _TO_DUCKDB:
            clean.append({**given, "type": kind})
        else:
            raise ApiError(400, f"The emulator does not know the type {given['type']}.", reason="invalid")
        clean[-1].setdefault("mode", "NULLABLE")
    return clean


def duckdb_type(field: Field) -> str:
    """Return the DuckDB type of a column."""
    if field["type"] == "RECORD":
        inner = ", ".join(f"{quoted(sub['name'])} {duckdb_type(sub)}" for sub in field["fields"])
        kind = f"STRUCT({inner})"
    else:
        kind = _TO_DUCKDB[field["type"]]
    return f"{kind}[]" if field.get("mode") == "REPEATED" else kind


def field_of(name: str, kind: Any) -> dict[str, Any]:
    """Return the schema field of a DuckDB result column.

    :raises ApiError: 400 if BigQuery has no such type.
    """
    text = str(kind)
    if text.endswith("[]"):
        return {**field_of(name, kind.children[0][1]), "mode": "REPEATED"}
    if text.startswith("STRUCT"):
        fields = [field_of(child, sub) for child, sub in kind.children]
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": fields}
    if text.startswith("DECIMAL"):
        return {"name": name, "type": "NUMERIC", "mode": "NULLABLE"}
    if text not in _FROM_DUCKDB:
        raise ApiError(
            400, f"The result column {name} has no type of BigQuery's ({text}).", reason="invalidQuery"
        )
    return {"name": name, "type": _FROM_DUCKDB[text], "mode": "NULLABLE"}


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


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
