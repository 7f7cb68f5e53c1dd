"""Parquet and Avro, whose files say themselves what is in them.

https://cloud.google.com/bigquery/docs/exporting-data#avro_export_details
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ml_provider.emulator.bigquery.files.records import Field, arrow_table, read_error
from airflow_ml_provider.emulator.errors import ApiError

_CODECS = {"NONE": "null", "DEFLATE": "deflate", "SNAPPY": "snappy"}
_AVRO = {
    "STRING": "string",
    "JSON": "string",
    "BYTES": "bytes",
    "INTEGER": "long",
    "FLOAT": "double",
    "BOOLEAN": "boolean",
    "TIMESTAMP": {"type": "long", "logicalType": "timestamp-micros"},
    "NUMERIC": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9},
}
_TEXT = {"DATE": "DATE", "TIME": "TIME", "DATETIME": "DATETIME"}
_LOGICAL = {
    "DATE": {"type": "int", "logicalType": "date"},
    "TIME": {"type": "long", "logicalType": "time-micros"},
}


def read_parquet(uri: str, data: bytes) -> Any:
    """Return a Parquet file as an Arrow table.

    :raises ApiError: 400 ``invalid``: it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise read_error(uri, str(error)) from None


def read_avro(uri: str, data: bytes) -> Any:
    """Return an Avro file as an Arrow table.

    :raises ApiError: 400 ``invalid``: it is none, or has a type that the emulator does not know.
    """
    import fastavro
    import pyarrow as pa

    try:
        return pa.Table.from_pylist(list(fastavro.reader(io.BytesIO(data))))
    except (ValueError, pa.ArrowInvalid, EOFError) as error:
        raise read_error(uri, str(error)) from None


def written_parquet(
    fields: Sequence[Field], rows: Sequence[Sequence[Any]], config: Mapping[str, Any]
) -> bytes:
    """Return rows as a Parquet file."""
    import pyarrow.parquet as pq

    columns = list(zip(*rows, strict=True)) if rows else [() for _ in fields]
    sink = io.BytesIO()
    pq.write_table(arrow_table(fields, columns), sink, compression=config.get("compression", "NONE"))
    return sink.getvalue()


def written_avro(fields: Sequence[Field], rows: Sequence[Sequence[Any]], config: Mapping[str, Any]) -> bytes:
    """Return rows as an Avro file."""
    import fastavro

    logical = bool(config.get("useAvroLogicalTypes"))
    schema = {"type": "record", "name": "Root", "fields": [_avro(field, logical, "Root") for field in fields]}
    names = [field["name"] for field in fields]
    records = [
        {name: _avro_value(f, value, logical) for name, f, value in zip(names, fields, row, strict=True)}
        for row in rows
    ]
    sink = io.BytesIO()
    codec = _CODECS[config.get("compression", "NONE")]
    try:
        fastavro.writer(sink, fastavro.parse_schema(schema), records, codec=codec)
    except ValueError as error:
        raise ApiError(
            400, f"The emulator can't write such an Avro file: {error}", reason="invalid"
        ) from None
    return sink.getvalue()


def _avro(field: Field, logical: bool, path: str) -> dict[str, Any]:
    kind: Any
    if field["type"] == "RECORD":
        name = f"{path}_{field['name']}"
        inner = [_avro(sub, logical, name) for sub in field["fields"]]
        kind = {"type": "record", "name": name, "fields": inner}
    elif field["type"] in _TEXT:
        kind = _LOGICAL[field["type"]] if logical and field["type"] in _LOGICAL else {
            "type": "string", "sqlType": _TEXT[field["type"]]
        }  # fmt: skip
    else:
        kind = _AVRO[field["type"]]
    if field.get("mode") == "REPEATED":
        return {"name": field["name"], "type": {"type": "array", "items": kind}}
    return {"name": field["name"], "type": kind if field.get("mode") == "REQUIRED" else ["null", kind]}


def _avro_value(field: Field, value: Any, logical: bool) -> Any:
    if field.get("mode") == "REPEATED":
        return [_avro_value({**field, "mode": "NULLABLE"}, item, logical) for item in value or []]
    if value is None:
        return None
    if field["type"] == "RECORD":
        return {sub["name"]: _avro_value(sub, value[sub["name"]], logical) for sub in field["fields"]}
    if field["type"] in _TEXT and not (logical and field["type"] in _LOGICAL):
        return value.isoformat()
    return value
