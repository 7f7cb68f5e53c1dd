"""Datasets, and tables with their past states."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError

# https://cloud.google.com/bigquery/docs/time-travel
TIME_TRAVEL_SECONDS = 7 * 86400.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS datasets (
  project TEXT, dataset TEXT, created REAL, fields TEXT, PRIMARY KEY (project, dataset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tables (
  project TEXT, dataset TEXT, name TEXT, created REAL, fields TEXT, PRIMARY KEY (project, dataset, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (
  project TEXT, dataset TEXT, name TEXT, physical TEXT, schema TEXT, rows INTEGER, begins REAL, ends REAL
);
CREATE TABLE IF NOT EXISTS jobs (project TEXT, location TEXT, id TEXT, created REAL, resource TEXT,
  PRIMARY KEY (project, location, id)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class TableName:
    """A table's full name."""

    project: str
    dataset: str
    table: str

    @classmethod
    def of(cls, reference: Mapping[str, str]) -> TableName:
        """Read a ``tableReference``."""
        return cls(reference["projectId"], reference["datasetId"], reference["tableId"])

    @property
    def reference(self) -> dict[str, str]:
        """As a ``tableReference``."""
        return {"projectId": self.project, "datasetId": self.dataset, "tableId": self.table}

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"


@dataclass(frozen=True)
class State:
    """What a table held from one time to another.

    :param physical: the DuckDB table.
    :param schema: its BigQuery schema.
    :param view: the query of a view, which has no DuckDB table.
    :param created: when the table was made, in seconds since the epoch.
    """

    physical: str
    schema: tuple[dict[str, Any], ...]
    rows: int
    view: str | None = None
    created: float = 0.0


class Catalog:
    """Names and metadata, in SQLite."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self.lock:
            self.db.close()

    # --- datasets

    def dataset(self, project: str, dataset: str) -> dict[str, Any]:
        """Return a dataset's stored fields.

        :raises ApiError: 404.
        """
        with self.lock:
            sql = "SELECT created, fields FROM datasets WHERE project = ? AND dataset = ?"
            row = self.db.execute(sql, (project, dataset)).fetchone()
        if row is None:
            raise ApiError(404, f"Not found: Dataset {project}:{dataset}", reason="notFound")
        return {"created": row[0], **json.loads(row[1])}

    def datasets(self, project: str) -> list[str]:
        """Return a project's datasets by name."""
        with self.lock:
            rows = self.db.execute("SELECT dataset FROM datasets WHERE project = ? ORDER BY 1", (project,))
            return [row[0] for row in rows]

    def put_dataset(self, project: str, dataset: str, fields: Mapping[str, Any], *, new: bool) -> None:
        """Make or change a dataset.

        :raises ApiError: 409 if a new one exists.
        """
        text = json.dumps(dict(fields))
        with self.lock:
            if not new:
                self.db.execute(
                    "UPDATE datasets SET fields = ? WHERE project = ? AND dataset = ?",
                    (text, project, dataset),
                )
                return
            try:
                row = (project, dataset, time.time(), text)
                self.db.execute("INSERT INTO datasets VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                message = f"Already Exists: Dataset {project}:{dataset}"
                raise ApiError(409, message, reason="duplicate") from None

    def delete_dataset(self, project: str, dataset: str, contents: bool) -> None:
        """Delete a dataset.

        :raises ApiError: 400 if it holds tables and they are not to go too.
        """
        with self.lock:
            self.dataset(project, dataset)
            tables = self.tables(project, dataset)
            if tables and not contents:
                raise ApiError(400, f"Dataset {project}:{dataset} is still in use", reason="resourceInUse")
            for name in tables:
                self.delete_table(TableName(project, dataset, name))
            self.db.execute("DELETE FROM datasets WHERE project = ? AND dataset = ?", (project, dataset))

    # --- tables

    def table(self, name: TableName) -> dict[str, Any] | None:
        """Return a table's stored fields, or None if there is none or it has expired."""
        with self.lock:
            sql = "SELECT created, fields FROM tables WHERE project = ? AND dataset = ? AND name = ?"
            row = self.db.execute(sql, (name.project, name.dataset, name.table)).fetchone()
        if row is None:
            return None
        found = {"created": row[0], **json.loads(row[1])}
        return None if int(found.get("expirationTime") or 1 << 62) <= time.time() * 1000 else found

    def require_table(self, name: TableName) -> dict[str, Any]:
        """Return a table's stored fields.

        :raises ApiError: 404 for the dataset or the table.
        """
        self.dataset(name.project, name.dataset)
        found = self.table(name)
        if found is None:
            raise ApiError(404, f"Not found: Table {name}", reason="notFound")
        return found

    def tables(self, project: str, dataset: str) -> list[str]:
        """Return a dataset's tables by name."""
        with self.lock:
            sql = "SELECT name FROM tables WHERE project = ? AND dataset = ? ORDER BY 1"
            names = [row[0] for row in self.db.execute(sql, (project, dataset)).fetchall()]
            return [name for name in names if self.table(TableName(project, dataset, name)) is not None]

    def patch_table(self, name: TableName, fields: Mapping[str, Any]) -> None:
        """Change a table's stored fields; what it holds stays."""
        text = json.dumps({key: value for key, value in fields.items() if key != "created"})
        with self.lock:
            sql = "UPDATE tables SET fields = ? WHERE project = ? AND dataset = ? AND name = ?"
            self.db.execute(sql, (text, name.project, name.dataset, name.table))

    def put_table(
        self,
        name: TableName,
        fields: Mapping[str, Any],
        physical: str,
        schema: Sequence[Mapping[str, Any]],
        rows: int,
    ) -> None:
        """Make a DuckDB table the present state of a table, which is made if it does not exist."""
        now = time.time()
        key = (name.project, name.dataset, name.table)
        fields = {key: value for key, value in fields.items() if key != "created"}
        with self.lock:
            if self.table(name) is None:
                # What is left of one that expired.
                self.db.execute("DELETE FROM tables WHERE project = ? AND dataset = ? AND name = ?", key)
            self.db.execute("BEGIN")
            sql = "UPDATE states SET ends = ? WHERE project = ? AND dataset = ? AND name = ? AND ends IS NULL"
            self.db.execute(sql, (now, *key))
            self.db.execute(
                "INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (*key, physical, json.dumps([dict(field) for field in schema]), rows, now),
            )
            self.db.execute(
                "INSERT INTO tables VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (project, dataset, name) DO UPDATE SET fields = excluded.fields",
                (*key, now, json.dumps(dict(fields))),
            )
            self.db.execute("COMMIT")

    def delete_table(self, name: TableName) -> None:
        """Delete a table; its past stays readable for a while.

        :raises ApiError: 404.
        """
        key = (name.project, name.dataset, name.table)
        with self.lock:
            self.require_table(name)
            self.db.execute("BEGIN")
            sql = "UPDATE states SET ends = ? WHERE project = ? AND dataset = ? AND name = ? AND ends IS NULL"
            self.db.execute(sql, (time.time(), *key))
            self.db.execute("DELETE FROM tables WHERE project = ? AND dataset = ? AND name = ?", key)
            self.db.execute("COMMIT")

    def state(self, name: TableName, at: float | None = None) -> State:
        """Return what a table holds, or held at a time.

        :param at: seconds since the epoch.
        :raises ApiError: 404, or 400 for a time that can't be read any more or not yet.
        """
        key = (name.project, name.dataset, name.table)
        columns = "physical, schema, rows"
        where = f"SELECT {columns} FROM states WHERE project = ? AND dataset = ? AND name = ?"
        with self.lock:
            if at is None:
                self.require_table(name)
                row = self.db.execute(f"{where} AND ends IS NULL", key).fetchone()
            else:
                now = time.time()
                if at > now:
                    raise _invalid_time(name, at, "is in the future")
                if at < now - TIME_TRAVEL_SECONDS:
                    raise _invalid_time(name, at, "is before the allowed time travel window of 7 days")
                row = self.db.execute(
                    f"{where} AND begins <= ? AND (ends IS NULL OR ends > ?)", (*key, at, at)
                ).fetchone()
                if row is None:
                    self.require_table(name)
                    raise _invalid_time(name, at, "is before its creation")
            table = self.table(name) or {}
        view = (table.get("view") or {}).get("query")
        return State(row[0], tuple(json.loads(row[1])), row[2], view, table.get("created", 0.0))

    def expired(self) -> list[str]:
        """Return and forget DuckDB tables that no time travel reaches any more."""
        limit = time.time() - TIME_TRAVEL_SECONDS
        with self.lock:
            rows = self.db.execute("SELECT physical FROM states WHERE ends < ?", (limit,)).fetchall()
            self.db.execute("DELETE FROM states WHERE ends < ?", (limit,))
        return [row[0] for row in rows]


def new_physical() -> str:
    """Return a name for a DuckDB table."""
    return f"t_{uuid.uuid4().hex}"


def _invalid_time(name: TableName, at: float, why: str) -> ApiError:
    return ApiError(
        400,
        f"Invalid time travel timestamp {int(at * 1000)} for table {name}: it {why}.",
        reason="invalidQuery",
    )
