"""Values as files and streaming inserts bring them, in Python, and in Arrow's tables."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ml_provider.emulator.bigquery.python import numbers
from airflow_ml_provider.emulator.bigquery.python.json import parse_json
from airflow_ml_provider.emulator.bigquery.sql.constants import numeric, parsed
from airflow_ml_provider.emulator.errors import ApiError

Field = Mapping[str, Any]

_BOOLEANS: dict[str, bool] = dict.fromkeys(("true", "t", "1", "yes", "y"), True)
_BOOLEANS |= dict.fromkeys(("false", "f", "0", "no", "n"), False)
_STANDARD = {"INTEGER": "INT64", "FLOAT": "DOUBLE", "BOOLEAN": "BOOL"}
_SECONDS = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?$")


def read_error(uri: str, problem: str) -> ApiError:
    """Return the error for a file that can't be read."""
    message = f"Error while reading data, error message: {problem} File: {uri}"
    return ApiError(400, message, reason="invalid")


def value_of(field: Field, given: Any) -> Any:
    """Return a value of JSON's, or a text, as one of a column's type.

    :raises ValueError: it is none, or NULL where the column is REQUIRED.
    """
    if field.get("mode") == "REPEATED":
        if given is None:
            return []
        if not isinstance(given, list):
            raise ValueError(f"Field {field['name']} is repeated and must be a list")
        if any(item is None for item in given):
            raise ValueError(f"Only optional fields can be set to NULL. Field: {field['name']}; Value: NULL")
        return [value_of({**field, "mode": "NULLABLE"}, item) for item in given]
    if given is None:
        if field.get("mode") == "REQUIRED":
            raise ValueError(f"Required column value for column '{field['name']}' is missing")
        return None
    kind = field["type"]
    if kind == "RECORD":
        if not isinstance(given, dict):
            raise ValueError(f"Field {field['name']} is a record and must be an object")
        return row_of(field["fields"], given, ignore=False, where=f"{field['name']}.")
    if kind == "JSON":
        return parse_json(given if isinstance(given, str) and field.get("_text") else json.dumps(given))
    if isinstance(given, dict | list):
        raise ValueError(f"Could not convert value to {_STANDARD.get(kind, kind)}. Field: {field['name']}")
    text = given if isinstance(given, str) else json.dumps(given)
    try:
        return scalar(kind, text)
    except (ValueError, KeyError, OverflowError, binascii.Error):
        shown = _STANDARD.get(kind, kind)
        raise ValueError(f"Could not parse '{text}' as {shown} for field {field['name']}") from None


def scalar(kind: str, text: str) -> Any:
    """Return a text as a value of a scalar type.

    :param kind: as in REST schemas, e.g. ``INTEGER``.
    :raises ValueError: it is none.
    """
    if kind == "STRING":
        return text
    if kind == "INTEGER":
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
        try:
            return numbers.to_int(text)
        except ValueError:
            whole = float(text)
            if whole != int(whole) or abs(whole) >= 1 << 63:
                raise
            return int(whole)
    if kind == "FLOAT":
        return numbers.to_float(text)
    if kind == "BOOLEAN":
        return _BOOLEANS[text.strip().lower()]
    if kind == "BYTES":
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    if kind == "NUMERIC":
        return numeric(text)
    if kind == "JSON":
        return parse_json(text)
    if kind == "TIMESTAMP" and _SECONDS.match(text):
        # A bare number: seconds since the epoch.
        return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=round(float(text) * 1e6))
    return parsed(text.removesuffix(" UTC") if kind == "TIMESTAMP" else text, kind)


def row_of(
    fields: Sequence[Field], given: Mapping[str, Any], *, ignore: bool, where: str = ""
) -> dict[str, Any]:
    """Return a JSON object as a row.

    :param ignore: what has no column.
    :raises ValueError: a field is unknown or wrong.
    """
    names = {field["name"].lower(): field["name"] for field in fields}
    clean: dict[str, Any] = {}
    for name, value in given.items():
        known = names.get(name.lower())
        if known is not None:
            clean[known] = value
        elif not ignore:
            raise ValueError(f"No such field: {where}{name}.")
    return {field["name"]: value_of(field, clean.get(field["name"])) for field in fields}


def arrow_type(field: Field) -> Any:
    """Return the Arrow type of a column."""
    import pyarrow as pa

    if field["type"] == "RECORD":
        kind = pa.struct([pa.field(sub["name"], arrow_type(sub)) for sub in field["fields"]])
    else:
        kind = {
            "STRING": pa.string(),
            "BYTES": pa.binary(),
            "INTEGER": pa.int64(),
            "FLOAT": pa.float64(),
            "BOOLEAN": pa.bool_(),
            "TIMESTAMP": pa.timestamp("us", "UTC"),
            "DATETIME": pa.timestamp("us"),
            "DATE": pa.date32(),
            "TIME": pa.time64("us"),
            "NUMERIC": pa.decimal128(38, 9),
            "JSON": pa.string(),
        }[field["type"]]
    return pa.list_(kind) if field.get("mode") == "REPEATED" else kind


def arrow_table(fields: Sequence[Field], columns: Sequence[Sequence[Any]]) -> Any:
    """Return values, column by column, as an Arrow table."""
    import pyarrow as pa

    arrays = [pa.array(column, arrow_type(field)) for field, column in zip(fields, columns, strict=True)]
    return pa.table(arrays, schema=pa.schema([pa.field(f["name"], arrow_type(f)) for f in fields]))
