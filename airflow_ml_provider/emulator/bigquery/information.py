"""``INFORMATION_SCHEMA``: the views on datasets, tables and columns that queries ask for most.

https://cloud.google.com/bigquery/docs/information-schema-intro
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, TableName
from airflow_ml_provider.emulator.bigquery.sql.errors import unknown
from airflow_ml_provider.emulator.bigquery.sql.types import INT64, STRING, TIMESTAMP, Type

Columns = list[tuple[str, Type]]

_SCHEMATA: Columns = [
    ("catalog_name", STRING),
    ("schema_name", STRING),
    ("creation_time", TIMESTAMP),
    ("last_modified_time", TIMESTAMP),
    ("location", STRING),
]
_TABLES: Columns = [
    ("table_catalog", STRING),
    ("table_schema", STRING),
    ("table_name", STRING),
    ("table_type", STRING),
    ("is_insertable_into", STRING),
    ("creation_time", TIMESTAMP),
]
_COLUMNS: Columns = [
    ("table_catalog", STRING),
    ("table_schema", STRING),
    ("table_name", STRING),
    ("column_name", STRING),
    ("ordinal_position", INT64),
    ("is_nullable", STRING),
    ("data_type", STRING),
    ("is_partitioning_column", STRING),
    ("clustering_ordinal_position", INT64),
]


def now() -> float:
    """Return the time, in seconds since the epoch."""
    return dt.datetime.now(dt.UTC).timestamp()


def rfc3339(seconds: float) -> str:
    """Return a time as the REST API writes it."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def view(catalog: Catalog, project: str, dataset: str, name: str) -> tuple[Columns, list[tuple[Any, ...]]]:
    """Return a view's columns and rows.

    :raises ApiError: 404, or 400 ``invalidQuery`` for a view that the emulator does not know.
    """
    if name == "SCHEMATA":
        rows = []
        for each in catalog.datasets(project):
            if not each.startswith("_"):
                found = catalog.dataset(project, each)
                made = rfc3339(found["created"])
                rows.append((project, each, made, made, found.get("location", "US")))
        return _SCHEMATA, rows
    if name not in ("TABLES", "COLUMNS"):
        raise unknown(f"INFORMATION_SCHEMA.{name}")
    catalog.dataset(project, dataset)
    tables: list[tuple[Any, ...]] = []
    columns: list[tuple[Any, ...]] = []
    for table in catalog.tables(project, dataset):
        where = TableName(project, dataset, table)
        found = catalog.require_table(where)
        kind = "VIEW" if "view" in found else "SNAPSHOT" if "snapshotDefinition" in found else "BASE TABLE"
        kind = "CLONE" if "cloneDefinition" in found else kind
        writable = "YES" if kind in ("BASE TABLE", "CLONE") else "NO"
        tables.append((project, dataset, table, kind, writable, rfc3339(found["created"])))
        partitioned = (found.get("timePartitioning") or found.get("rangePartitioning") or {}).get("field")
        clustered = (found.get("clustering") or {}).get("fields", [])
        for position, field in enumerate(catalog.state(where).schema, 1):
            nullable = "NO" if field.get("mode") == "REQUIRED" else "YES"
            order = clustered.index(field["name"]) + 1 if field["name"] in clustered else None
            partition = "YES" if field["name"] == partitioned else "NO"
            kind_ = str(types.type_of(field))
            columns.append(
                (project, dataset, table, field["name"], position, nullable, kind_, partition, order)
            )
    return (_TABLES, tables) if name == "TABLES" else (_COLUMNS, columns)
