"""What tables hold: DuckDB's tables behind the names of the catalog."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, State, TableName, new_physical
from airflow_ml_provider.emulator.bigquery.failures import refused
from airflow_ml_provider.emulator.bigquery.python.functions import install
from airflow_ml_provider.emulator.bigquery.restrictions import (
    column_names,
    require_name,
    require_partition_field,
)
from airflow_ml_provider.emulator.bigquery.sql.changes import TARGET
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.bigquery.sql.scope import Rows
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value, quoted
from airflow_ml_provider.emulator.errors import ApiError

# Datasets of results, and of temporary tables, that no list shows.
ANONYMOUS = "_anonymous"

_MACROS = """
CREATE OR REPLACE TEMP MACRO bq_quantiles(sorted, n) AS CASE WHEN sorted IS NULL THEN NULL ELSE
  list_transform(range(0, n + 1), lambda i: sorted[greatest(1, (i * len(sorted) + n - 1) // n)]) END;
"""


class Tables:
    """Everything that touches data.

    :param folder: of the database.
    :param catalog: what is where.
    """

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.RLock()
        settings: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        self._db = duckdb.connect(str(folder / "data.duckdb"), config=settings)
        self._db.execute("SET TimeZone = 'UTC'")
        install(self._db)
        self._db.execute(_MACROS)
        # SQL of users reaches neither files nor the network.
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")
        self._busy: str | None = None

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    @contextmanager
    def working(self, job: str) -> Iterator[None]:
        """Name the job that runs meanwhile, which :meth:`interrupt` then stops."""
        with self._lock:
            self._busy = job
            try:
                yield
            finally:
                self._busy = None

    def interrupt(self, job: str) -> None:
        """Stop what a job executes, if it executes something."""
        if self._busy == job:
            self._db.interrupt()

    def fetch(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        :raises ApiError: 400 ``invalidQuery``: it fails.
        """
        with self._lock:
            try:
                return self._db.execute(sql, list(parameters)).fetchall()
            except duckdb.Error as error:
                raise refused(error) from None

    def write(
        self,
        target: TableName,
        sql: str,
        fields: Sequence[Mapping[str, Any]],
        disposition: str,
        *,
        settings: Mapping[str, Any] | None = None,
        updates: Sequence[str] = (),
    ) -> int:
        """Write a query's rows into a table, which is made if it does not exist.

        :param sql: whose columns have the names and types of the schema.
        :param fields: the schema.
        :param disposition: ``WRITE_TRUNCATE``, ``WRITE_APPEND`` or ``WRITE_EMPTY``.
        :param settings: fields of the table's REST resource, for a new one.
        :param updates: ``schemaUpdateOptions``.
        :return: how many rows the query had.
        :raises ApiError: the dataset does not exist, the schemas differ, the query fails, …
        """
        require_name(target)
        require_partition_field(settings or {})
        if disposition not in ("WRITE_TRUNCATE", "WRITE_APPEND", "WRITE_EMPTY"):
            raise ApiError(400, f"The emulator does not know {disposition}.", reason="invalid")
        if target.dataset != ANONYMOUS:
            self._catalog.dataset(target.project, target.dataset)
        existing = self._catalog.table(target)
        state = self._catalog.state(target) if existing is not None else None
        if existing is not None and "snapshotDefinition" in existing:
            raise ApiError(400, f"{target} is a SNAPSHOT, which can't be written to.", reason="invalid")
        if state is not None and state.view is not None:
            raise ApiError(400, f"{target} is a VIEW, which can't be written to.", reason="invalid")
        if disposition == "WRITE_EMPTY" and state is not None and state.rows:
            raise ApiError(409, f"Already Exists: Table {target}", reason="duplicate")
        with self._lock:
            physical = new_physical()
            before = 0
            schema: Sequence[Mapping[str, Any]] = fields
            if disposition != "WRITE_TRUNCATE" and state is not None and state.schema:
                before = state.rows
                sql, schema = appended(state, sql, fields, target, updates)
            self._make(physical, sql, schema)
            rows = self._count(physical)
            if target.dataset == ANONYMOUS:
                self._ensure_anonymous(target.project)
            self._catalog.put_table(target, existing or settings or {}, physical, schema, rows)
            for old in filter(None, self._catalog.expired()):
                self._db.execute(f"DROP TABLE IF EXISTS {old}")
            return rows - before

    def _make(self, physical: str, sql: str, fields: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._db.execute(f"CREATE TABLE {physical} AS {sql}")
            self._check_required(physical, fields)
        except duckdb.Error as error:
            raise refused(error) from None
        except ApiError:
            self._db.execute(f"DROP TABLE IF EXISTS {physical}")
            raise

    def _check_required(self, physical: str, fields: Sequence[Mapping[str, Any]]) -> None:
        for field in fields:
            if field.get("mode") != "REQUIRED":
                continue
            found = self._db.execute(
                f"SELECT 1 FROM {physical} WHERE {quoted(field['name'])} IS NULL LIMIT 1"
            )
            if found.fetchall():
                raise invalid(f"Required field {field['name']} cannot be null")

    def change(self, target: TableName, sql: str, checks: Sequence[tuple[str, str]]) -> dict[str, int]:
        """Change a copy of a table, which then takes its place.

        :param sql: the change of :data:`TARGET`.
        :param checks: queries that must have no rows, and what is wrong if one has.
        :return: how many rows were inserted, updated and deleted, by MERGE's names for them; or their sum.
        :raises ApiError: it fails, or a check does.
        """
        table = self._catalog.require_table(target)
        state = self._catalog.state(target)
        if state.view is not None or "snapshotDefinition" in table:
            raise ApiError(
                400, f"{target} is a VIEW or a SNAPSHOT, which can't be changed.", reason="invalidQuery"
            )
        physical = new_physical()
        with self._lock:
            try:
                self._db.execute(f"CREATE TABLE {physical} AS SELECT * FROM {state.physical}")
                for check, problem in checks:
                    if self._db.execute(check.replace(TARGET, physical)).fetchall():
                        raise invalid(problem)
                changed = self._db.execute(sql.replace(TARGET, physical)).fetchall()
                self._check_required(physical, state.schema)
            except (duckdb.Error, ApiError) as error:
                self._db.execute(f"DROP TABLE IF EXISTS {physical}")
                raise (refused(error) if isinstance(error, duckdb.Error) else error) from None
            self._catalog.put_table(target, table, physical, state.schema, self._count(physical))
        if not changed or isinstance(changed[0][0], str):
            return {str(action): sum(row[0] == action for row in changed) for (action, *_) in set(changed)}
        return {"": int(changed[0][0])}

    def describe(self, rows: Rows) -> tuple[str, list[dict[str, Any]]]:
        """Return a query with its columns' names, and its schema, as a result or a table has them.

        :raises ApiError: 400 ``invalidQuery``: names that no table can have, or DuckDB refuses it.
        """
        names = column_names(rows)
        kinds = [kind.settled for _, kind in rows.columns]
        if rows.values and kinds[0].kind == "STRUCT":
            from airflow_ml_provider.emulator.bigquery.sql.types import named

            parts = named(kinds[0].fields)
            columns = [(name, kind, f"(q.c0).{quoted(name)}") for name, kind in parts]
        else:
            columns = [
                (name, kind, f"q.c{n}") for n, (name, kind) in enumerate(zip(names, kinds, strict=True))
            ]
        listed = ", ".join(
            f"CAST({_writable(sql, kind, name)} AS {kind.duckdb}) AS {quoted(name)}"
            for name, kind, sql in columns
        )
        sql = f"SELECT {listed} FROM ({rows.sql}) AS q"
        with self._lock:
            try:
                self._db.sql(sql)
            except duckdb.Error as error:
                raise refused(error) from None
        return sql, [types.field_from(name, kind) for name, kind, _ in columns]

    def columns(self, sql: str) -> list[tuple[str, Type]]:
        """Return the columns of a query on what was registered, by DuckDB's types.

        :raises ApiError: 400 ``invalidQuery``: BigQuery has no such type.
        """
        with self._lock:
            relation = self._db.sql(sql)
            found = zip(relation.columns, relation.types, strict=True)
            return [(name, _type_of(name, kind)) for name, kind in found]

    def create(self, target: TableName, fields: Sequence[Mapping[str, Any]], more: Mapping[str, Any]) -> None:
        """Make an empty table."""
        require_name(target)
        columns = ", ".join(f"{quoted(f['name'])} {types.duckdb_type(f)}" for f in fields)
        with self._lock:
            physical = new_physical()
            self._db.execute(f"CREATE TABLE {physical} ({columns or '_empty BOOLEAN'})")
            if target.dataset == ANONYMOUS:
                self._ensure_anonymous(target.project)
            self._catalog.put_table(target, more, physical, fields, 0)

    def change_schema(self, name: TableName, fields: Sequence[Mapping[str, Any]]) -> None:
        """Add columns to a table, or change what is said about those that it has.

        :param fields: the whole schema, with every column that there is.
        :raises ApiError: 400 ``invalid``: a column is missing or has another type.
        """
        state = self._catalog.state(name)
        given = {field["name"].lower(): field for field in fields}
        for field in state.schema:
            new = given.get(field["name"].lower())
            if new is None or types.type_of(new) != types.type_of(field):
                problem = f"Field {field['name']} is missing or has changed type"
                message = f"Provided Schema does not match Table {name}. {problem}"
                raise ApiError(400, message, reason="invalid")
        if state.view is not None:
            return
        kept = {field["name"].lower() for field in state.schema}
        cells = (
            quoted(f["name"])
            if f["name"].lower() in kept
            else f"CAST(NULL AS {types.duckdb_type(f)}) AS {quoted(f['name'])}"
            for f in fields
        )
        self.write(name, f"SELECT {', '.join(cells)} FROM {state.physical}", fields, "WRITE_TRUNCATE")

    def rows(self, state: State, start: int, limit: int) -> list[tuple[Any, ...]]:
        """Return some of a table's rows.

        :raises ApiError: it is a view, which has none of its own.
        """
        if state.view is not None:
            raise ApiError(400, "Cannot list a table of type VIEW.", reason="invalid")
        return self.fetch(f"SELECT * FROM {state.physical} LIMIT ? OFFSET ?", [limit, start])

    def registered(self, arrow: Any, sql: str) -> _Registered:
        """Make an Arrow table visible as ``loaded`` meanwhile."""
        return _Registered(self._db, self._lock, arrow, sql)

    def _ensure_anonymous(self, project: str) -> None:
        try:
            self._catalog.put_dataset(project, ANONYMOUS, {}, new=True)
        except ApiError as error:
            if error.code != 409:
                raise

    def _count(self, physical: str) -> int:
        ((count,),) = self._db.execute(f"SELECT count(*) FROM {physical}").fetchall()
        return int(count)


class _Registered:
    def __init__(self, db: duckdb.DuckDBPyConnection, lock: threading.RLock, arrow: Any, sql: str) -> None:
        self._db, self._lock, self._arrow, self.sql = db, lock, arrow, sql

    def __enter__(self) -> str:
        self._lock.acquire()
        self._db.register("loaded", self._arrow)
        return self.sql

    def __exit__(self, *_: object) -> None:
        self._db.unregister("loaded")
        self._lock.release()


_KINDS = {
    **dict.fromkeys(
        ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UINTEGER", "USMALLINT", "UTINYINT"), "INT64"
    ),
    **dict.fromkeys(("DOUBLE", "FLOAT"), "FLOAT64"),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "DATETIME"),
    **dict.fromkeys(("VARCHAR", '"NULL"', "JSON"), "STRING"),
    "BOOLEAN": "BOOL",
    "BLOB": "BYTES",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
}


def _type_of(name: str, kind: Any) -> Type:
    text = str(kind)
    if text.endswith("]"):
        return Type("ARRAY", _type_of(name, kind.children[0][1]))
    if text.startswith("STRUCT"):
        return Type("STRUCT", fields=tuple((child, _type_of(child, sub)) for child, sub in kind.children))
    if text.startswith("DECIMAL"):
        return Type("NUMERIC")
    if text not in _KINDS:
        raise ApiError(400, f"The column {name} has no type of BigQuery's ({text}).", reason="invalid")
    return Type(_KINDS[text])


def _writable(sql: str, kind: Type, name: str) -> str:
    """Fail where a value leaves the query that BigQuery has not: an array with a NULL, the year 10000."""
    if kind.kind in ("DATE", "DATETIME", "TIMESTAMP"):
        failure = f"CAST(bq_raise('{kind} value is out of range') AS {kind.duckdb})"
        range_ = f"CAST({sql} AS DATE) NOT BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
        return f"CASE WHEN {range_} THEN {failure} ELSE {sql} END"
    if kind.element is not None:
        failure = (
            "CAST(bq_raise('Array cannot have a null element; error in "
            f"writing field {name.replace(chr(39), '')}') AS {kind.duckdb})"
        )
        return f"CASE WHEN len({sql}) <> list_count({sql}) THEN {failure} ELSE {sql} END"
    return sql


def appended(
    state: State, sql: str, fields: Sequence[Mapping[str, Any]], target: TableName, updates: Sequence[str]
) -> tuple[str, list[Mapping[str, Any]]]:
    """Return a query for a table's rows and new ones, and the schema that it then has.

    :raises ApiError: 400 ``invalid``: new columns, or others of the same name, without leave.
    """
    from airflow_ml_provider.emulator.bigquery.sql.types import coerced

    old = {field["name"].lower(): field for field in state.schema}
    added: list[Mapping[str, Any]] = []
    cells: dict[str, str] = {}
    for field in fields:
        known = old.get(field["name"].lower())
        if known is None and "ALLOW_FIELD_ADDITION" in updates and field.get("mode") != "REQUIRED":
            added.append(field)
            cells[field["name"].lower()] = quoted(field["name"])
            continue
        value = (
            None
            if known is None
            else coerced(Value(quoted(field["name"]), types.type_of(field)), types.type_of(known))
        )
        if known is None or value is None:
            problem = f"Cannot add fields (field: {field['name']})"
            if known is not None:
                problem = f"Field {field['name']} has changed type from {known['type']} to {field['type']}"
            raise ApiError(400, f"Provided Schema does not match Table {target}. {problem}", reason="invalid")
        cells[field["name"].lower()] = value.sql
    schema = [*state.schema, *added]
    new = ", ".join(
        f"{cells.get(f['name'].lower()) or f'CAST(NULL AS {types.duckdb_type(f)})'} AS {quoted(f['name'])}"
        for f in schema
    )
    kept = ", ".join(
        quoted(f["name"])
        if f["name"].lower() in old
        else f"CAST(NULL AS {types.duckdb_type(f)}) AS {quoted(f['name'])}"
        for f in schema
    )
    union = f"SELECT {kept} FROM {state.physical} UNION ALL SELECT {new} FROM ({sql})"
    return union, list(schema)
