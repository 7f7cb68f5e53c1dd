"""NDJSON: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.files import detection
from airflow_ml_provider.emulator.bigquery.files.records import Field, arrow_table, read_error, row_of


def _objects(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"JSON parsing error in line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"JSON parsing error in line {number}: Start of object expected")
        yield number, row


def read(uri: str, data: bytes, schema: Sequence[Field], config: Mapping[str, Any]) -> tuple[Any, int]:
    """Return a file's rows as an Arrow table, and how many bad rows were passed over.

    :param config: of the load job.
    :raises ApiError: 400 ``invalid``: more bad rows than the job allows.
    """
    rows, bad = [], 0
    allowed, ignore = int(config.get("maxBadRecords", 0)), bool(config.get("ignoreUnknownValues"))
    try:
        for number, given in _objects(data):
            try:
                rows.append(row_of(schema, given, ignore=ignore))
            except ValueError as error:
                bad += 1
                if bad > allowed:
                    raise ValueError(f"JSON parsing error in line {number}: {error}") from None
    except ValueError as error:
        raise read_error(uri, str(error)) from None
    return arrow_table(schema, [[row[f["name"]] for row in rows] for f in schema]), bad


def detected(uri: str, data: bytes) -> list[dict[str, Any]]:
    """Return the schema of a file.

    :raises ApiError: 400 ``invalid``: it is no NDJSON, or empty.
    """
    try:
        schema = detection.schema_of([row for _, row in _objects(data)][:500])
    except ValueError as error:
        raise read_error(uri, str(error)) from None
    if not schema:
        raise read_error(uri, "the file is empty")
    return schema


def written(fields: Sequence[Field], rows: Sequence[Sequence[Any]], config: Mapping[str, Any]) -> bytes:
    """Return rows as a file of an extract job."""
    record = {"type": "RECORD", "fields": list(fields)}
    names = [field["name"] for field in fields]
    lines = []
    for row in rows:
        shown = types.json_of(record, dict(zip(names, row, strict=True)))
        lines.append(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    text = "".join(f"{line}\n" for line in lines)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
