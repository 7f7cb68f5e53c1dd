"""Which type texts and JSON values have, where no schema says it.

https://cloud.google.com/bigquery/docs/schema-detect
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ml_provider.emulator.bigquery.files.records import scalar

_NARROWEST = ("BOOLEAN", "INTEGER", "FLOAT", "DATE", "TIMESTAMP")


def kind_of(texts: Sequence[str]) -> str:
    """Return the narrowest type that all texts fit; STRING where there is none."""
    for kind in _NARROWEST:
        if texts and all(_fits(kind, text) for text in texts):
            return kind
    return "STRING"


def _fits(kind: str, text: str) -> bool:
    if kind == "BOOLEAN":
        return text.lower() in ("true", "false")
    if kind == "TIMESTAMP" and len(text) <= 10:
        return False
    try:
        scalar(kind, text)
    except (ValueError, OverflowError):
        return False
    return True


def schema_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the schema of JSON objects, in the order in which their fields appear.

    :raises ValueError: values of one field have no type in common.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return [_field(name, [item for item in each if item is not None]) for name, each in values.items()]


def _field(name: str, values: Sequence[Any]) -> dict[str, Any]:
    lists = [isinstance(value, list) for value in values]
    mode = "REPEATED" if any(lists) else "NULLABLE"
    if any(lists):
        if not all(lists):
            raise ValueError(f"Field {name} is a list in some rows only")
        values = [item for value in values for item in value if item is not None]
    records = [isinstance(value, dict) for value in values]
    if any(records):
        if not all(records):
            raise ValueError(f"Field {name} is an object in some rows only")
        return {"name": name, "type": "RECORD", "mode": mode, "fields": schema_of(values)}
    if any(isinstance(value, list) for value in values):
        raise ValueError(f"Field {name} has a list in a list")
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return {"name": name, "type": kind_of(texts), "mode": mode}
