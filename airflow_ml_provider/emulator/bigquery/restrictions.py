"""What tables and results may not be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_ml_provider.emulator.bigquery.catalog import TableName
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.bigquery.sql.scope import Rows
from airflow_ml_provider.emulator.errors import ApiError

# https://cloud.google.com/bigquery/docs/tables#table_naming
_NAME = re.compile(r"^[\w\- ]{1,1024}$")


def require_name(name: TableName) -> None:
    """Refuse a table's name that can't be.

    :raises ApiError: 400.
    """
    if "$" in name.table or "@" in name.table:
        raise ApiError(400, f"The emulator does not know table decorators: {name.table}", reason="invalid")
    if not _NAME.match(name.table):
        raise ApiError(400, f'Invalid table ID "{name.table}".', reason="invalid")


def require_partition_field(settings: Mapping[str, Any]) -> None:
    """Refuse partitions that would change what queries answer.

    :raises ApiError: 400.
    """
    partitioning = settings.get("timePartitioning") or {}
    if settings.get("requirePartitionFilter") or partitioning.get("requirePartitionFilter"):
        raise ApiError(400, "The emulator does not know requirePartitionFilter.", reason="invalid")
    if partitioning and not partitioning.get("field"):
        message = "The emulator does not know partitions by ingestion time: name a field."
        raise ApiError(400, message, reason="invalid")


def column_names(rows: Rows) -> list[str]:
    """Return the names of a result's columns; those without one become f0_, f1_ and so on.

    :raises ApiError: 400 ``invalidQuery``: two are the same.
    """
    names, count = [], 0
    for name, _ in rows.columns:
        if not name:
            name, count = f"f{count}_", count + 1
        names.append(name)
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise invalid(
                f"Duplicate column names in the result are not supported. Found duplicate(s): {name}"
            )
        seen.add(name.lower())
    return names
