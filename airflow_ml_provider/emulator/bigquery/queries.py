"""Query jobs: scripts, statement by statement.

https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_ml_provider.emulator.bigquery import information, types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, State, TableName, new_physical
from airflow_ml_provider.emulator.bigquery.extracts import Extracts
from airflow_ml_provider.emulator.bigquery.sql import lexer
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.bigquery.sql.scope import Context
from airflow_ml_provider.emulator.bigquery.sql.statements import Statement, statement
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value
from airflow_ml_provider.emulator.bigquery.tables import ANONYMOUS, Tables
from airflow_ml_provider.emulator.errors import ApiError

_COUNTERS = {"INSERT": "insertedRowCount", "UPDATE": "updatedRowCount", "DELETE": "deletedRowCount"}


@dataclass
class Outcome:
    """What a query job did.

    :param kind: BigQuery's ``statementType``: of the last statement, or ``SCRIPT``.
    :param destination: the table with its result, or that it made or changed.
    :param fields: the schema of its result.
    :param changes: rows that DML inserted, updated and deleted, by their names in ``dmlStats``.
    :param referenced: the tables that it read.
    """

    kind: str
    destination: TableName | None = None
    fields: list[dict[str, Any]] = field(default_factory=list)
    changes: dict[str, int] | None = None
    referenced: list[TableName] = field(default_factory=list)
    operation: str = ""
    result: bool = False


class Queries:
    """Runs query jobs.

    :param catalog: what is where.
    :param tables: what they hold.
    :param extracts: writes what ``EXPORT DATA`` asks for.
    """

    def __init__(self, catalog: Catalog, tables: Tables, extracts: Extracts) -> None:
        self._catalog = catalog
        self._tables = tables
        self._extracts = extracts

    def run(self, project: str, config: Mapping[str, Any], location: str) -> Outcome:
        """Run a query job.

        :param location: of the job; it reads datasets of no other.
        :raises ApiError: the query is refused, or fails.
        """
        context, texts, raws = self._begin(project, config, location)
        if len(texts) > 1 and config.get("destinationTable"):
            raise invalid("configuration.query.destinationTable cannot be set for scripts")
        last, result = Outcome("SCRIPT"), None
        try:
            for text, raw in zip(texts, raws, strict=True):
                # Later statements may read what earlier ones make: each is translated in its turn.
                last = self._do(project, statement(text, raw, context), config, context)
                result = last if last.result else result
        finally:
            for name in context.temporary.values():
                self._catalog.delete_table(name)
        outcome = last if len(texts) == 1 else replace(result or last, kind="SCRIPT")
        outcome.referenced = list(dict.fromkeys(context.reads))
        return outcome

    def check(self, project: str, config: Mapping[str, Any], location: str) -> Outcome:
        """Return what a query would return, without running it: a dry run.

        :raises ApiError: the query is refused.
        """
        context, texts, raws = self._begin(project, config, location)
        outcome = Outcome("SCRIPT")
        for text, raw in zip(texts, raws, strict=True):
            made = statement(text, raw, context)
            for name, value in made.variables:
                context.variables[name.lower()] = replace(value, literal=False, constant=None)
            outcome.kind = made.kind
            if made.rows is not None:
                outcome.fields = self._tables.describe(made.rows)[1]
            if len(texts) > 1 and made.target is not None:
                break
        outcome.referenced = list(dict.fromkeys(context.reads))
        return outcome

    def create_view(self, project: str, target: TableName, query: str, settings: Mapping[str, Any]) -> None:
        """Make a view.

        :raises ApiError: its query is refused.
        """
        self._catalog.dataset(target.project, target.dataset)
        context = self._context(project, {}, None)
        texts = lexer.statements(query)
        if len(texts) != 1:
            raise invalid("A view's query must be one statement.")
        made = statement(texts[0], query, context)
        if made.kind != "SELECT" or made.rows is None:
            raise invalid("A view's query must be a SELECT statement.")
        more = {**settings, "view": {"query": query, "useLegacySql": False}}
        self._catalog.put_table(target, more, "", self._tables.describe(made.rows)[1], 0)

    def _begin(
        self, project: str, config: Mapping[str, Any], location: str
    ) -> tuple[Context, list[str], list[str]]:
        if config.get("useLegacySql", True):
            raise invalid("The emulator does not know legacy SQL: set useLegacySql to false")
        written = config.get("query") or ""
        texts, raws = lexer.statements(written), lexer.statements(written, raw=True)
        if not texts:
            raise invalid("Syntax error: Unexpected end of statement")
        return self._context(project, config, location), texts, [raw for raw in raws if lexer.statements(raw)]

    def _context(self, project: str, config: Mapping[str, Any], location: str | None) -> Context:
        given = config.get("defaultDataset") or {}
        return Context(
            project=given.get("projectId") or project,
            dataset=given.get("datasetId"),
            resolve=lambda name, at: self._resolve(name, at, location),
            siblings=self._catalog.tables,
            constant_time=self._constant_time,
            information=lambda *where: information.view(self._catalog, *where),
            parameters=config.get("queryParameters", ()),
        )

    def _resolve(self, name: TableName, at: float | None, location: str | None) -> State:
        if location is not None and name.dataset != ANONYMOUS:
            here = self._catalog.dataset(name.project, name.dataset).get("location", "US")
            if here.upper() != location.upper():
                message = (
                    f"Not found: Dataset {name.project}:{name.dataset} was not found in location {location}"
                )
                raise ApiError(404, message, reason="notFound")
        return self._catalog.state(name, at)

    def _constant_time(self, sql: str) -> float:
        ((micros,),) = self._tables.fetch(f"SELECT epoch_us({sql})")
        if micros is None:
            raise invalid("A TIMESTAMP is needed, not NULL")
        return float(micros) / 1e6

    # --- statements

    def _do(self, project: str, made: Statement, config: Mapping[str, Any], context: Context) -> Outcome:
        kind, target = made.kind, made.target
        for check, problem in made.refused if kind == "ASSERT" else ():
            if self._tables.fetch(check):
                raise invalid(f"Assertion failed: {problem}" if problem != "Assertion failed" else problem)
        if made.variables:
            for name, value in made.variables:
                context.variables[name.lower()] = self._evaluated(name, value, context)
            return Outcome(kind)
        if kind in ("ASSERT", "CREATE_FUNCTION"):
            return Outcome(kind)
        if kind == "EXPORT_DATA":
            return self._export(made, project)
        if kind.endswith("_SCHEMA"):
            return self._schema(made)
        if kind.startswith("DROP"):
            return self._drop(made, context)
        if kind in ("INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE"):
            assert target is not None
            counts = self._tables.change(target, made.sql, made.refused)
            total = counts.pop("", None)
            if total is not None and kind in _COUNTERS:
                counts = {kind: total}
            return Outcome(kind, target, changes={_COUNTERS[each]: count for each, count in counts.items()})
        if target is not None:
            return self._create(made, target, project, context)
        assert made.rows is not None
        return self._select(made, config, project)

    def _select(self, made: Statement, config: Mapping[str, Any], project: str) -> Outcome:
        assert made.rows is not None
        sql, fields = self._tables.describe(made.rows)
        given = config.get("destinationTable")
        target = TableName.of(given) if given else TableName(project, ANONYMOUS, new_physical())
        disposition = config.get("writeDisposition", "WRITE_EMPTY") if given else "WRITE_TRUNCATE"
        if given and config.get("createDisposition") == "CREATE_NEVER":
            self._catalog.require_table(target)
        settings = {
            key: config[key]
            for key in ("timePartitioning", "rangePartitioning", "clustering")
            if key in config
        }
        updates = config.get("schemaUpdateOptions", ())
        self._tables.write(target, sql, fields, disposition, settings=settings, updates=updates)
        return Outcome(made.kind, target, fields, result=True)

    def _evaluated(self, name: str, value: Value, context: Context) -> Value:
        """Return a variable's value, so that it stays the same wherever it is used."""
        kind: Type = value.type.settled
        target = TableName(context.project, ANONYMOUS, new_physical())
        # No table of the script's can have such a name.
        context.temporary[f"@{name.lower()}@{target.table}"] = target
        sql = f"SELECT CAST({value.sql} AS {kind.duckdb}) AS v"
        self._tables.write(target, sql, [types.field_from("v", kind)], "WRITE_TRUNCATE")
        physical = self._catalog.state(target).physical
        return Value(f"(SELECT v FROM {physical})", kind, name=name)

    def _export(self, made: Statement, project: str) -> Outcome:
        assert made.rows is not None
        sql, fields = self._tables.describe(made.rows)
        target = TableName(project, ANONYMOUS, new_physical())
        self._tables.write(target, sql, fields, "WRITE_TRUNCATE")
        self._extracts.export(self._catalog.state(target), made.options)
        return Outcome(made.kind)

    def _schema(self, made: Statement) -> Outcome:
        assert made.target is not None
        project, dataset = made.target.project, made.target.dataset
        try:
            if made.kind == "CREATE_SCHEMA":
                self._catalog.put_dataset(project, dataset, made.settings, new=True)
            else:
                self._catalog.delete_dataset(project, dataset, made.replace)
        except ApiError as error:
            if not (made.lenient and error.code in (404, 409)):
                raise
            return Outcome(made.kind, operation="SKIP")
        return Outcome(made.kind, operation="CREATE" if made.kind == "CREATE_SCHEMA" else "DROP")

    def _drop(self, made: Statement, context: Context) -> Outcome:
        target = made.target
        assert target is not None
        found = self._catalog.table(target)
        if found is None and made.lenient:
            return Outcome(made.kind, operation="SKIP")
        here = (
            "VIEW"
            if found and "view" in found
            else "SNAPSHOT_TABLE"
            if found and "snapshotDefinition" in found
            else "TABLE"
        )
        if found is not None and made.kind != f"DROP_{here}":
            raise invalid(
                f"Cannot drop {target} which has type {here}. A "
                f"{here.replace('_', ' ')} is dropped by DROP {here.replace('_', ' ')}"
            )
        self._catalog.delete_table(target)
        for name in [n for n, each in context.temporary.items() if each == target]:
            del context.temporary[name]
        return Outcome(made.kind, operation="DROP")

    def _create(self, made: Statement, target: TableName, project: str, context: Context) -> Outcome:
        if made.temporary:
            hidden = TableName(project, ANONYMOUS, new_physical())
            if target.table.lower() in context.temporary and not made.replace:
                raise ApiError(409, f"Already Exists: Table {target.table}", reason="duplicate")
            context.temporary[target.table.lower()] = hidden
            target = hidden
        else:
            self._catalog.dataset(target.project, target.dataset)
        found = self._catalog.table(target)
        if found is not None and made.lenient:
            return Outcome(made.kind, target, operation="SKIP")
        if found is not None and not made.replace:
            raise ApiError(409, f"Already Exists: Table {target}", reason="duplicate")
        if found is not None and made.view is None and "view" in found:
            raise invalid(f"{target} is not allowed for this operation because it is currently a VIEW.")
        operation = "CREATE" if found is None else "REPLACE"
        if found is not None and made.view is None:
            # Its past stays readable, its settings do not stay.
            self._catalog.patch_table(target, made.settings)
        if made.view is not None:
            self.create_view(project, target, made.view, made.settings)
        elif made.source is not None:
            self._from_table(made, target)
        elif made.rows is not None:
            sql, fields = self._tables.describe(made.rows)
            if made.fields:
                sql, fields = _declared(sql, fields, made.fields)
            self._tables.write(target, sql, fields, "WRITE_TRUNCATE", settings=made.settings)
        else:
            self._tables.create(target, types.normalized(made.fields), made.settings)
        return Outcome(made.kind, target, operation=operation)

    def _from_table(self, made: Statement, target: TableName) -> None:
        """Make a table after another: LIKE, COPY, CLONE and snapshots."""
        assert made.source is not None
        source, at = made.source
        state = self._catalog.state(source, at)
        if state.view is not None:
            raise invalid(f"{source} is a VIEW, which can't be copied")
        old = self._catalog.table(source) or {}
        kept: dict[str, Any] = {
            key: old[key]
            for key in ("timePartitioning", "rangePartitioning", "clustering", "description", "labels")
            if key in old
        }
        settings: dict[str, Any] = {**kept, **made.settings}
        moment = at if at is not None else information.now()
        reference: dict[str, Any] = {"baseTableReference": source.reference}
        if made.kind == "CREATE_SNAPSHOT_TABLE":
            settings["snapshotDefinition"] = {**reference, "snapshotTime": information.rfc3339(moment)}
        elif made.kind == "CREATE_TABLE_CLONE":
            settings["cloneDefinition"] = {**reference, "cloneTime": information.rfc3339(moment)}
        if made.kind == "CREATE_TABLE":
            self._tables.create(target, list(state.schema), settings)
            return
        sql = f"SELECT * FROM {state.physical}"
        self._tables.write(target, sql, list(state.schema), "WRITE_TRUNCATE", settings=settings)


def _declared(
    sql: str, fields: list[dict[str, Any]], declared: list[dict[str, Any]]
) -> tuple[str, list[dict[str, Any]]]:
    """Return a query whose columns are as CREATE TABLE declares them.

    :raises ApiError: 400 ``invalidQuery``: the query's are of other types.
    """
    from airflow_ml_provider.emulator.bigquery.sql.types import coerced, quoted

    wanted = types.normalized(declared)
    cells = []
    for new, old in zip(wanted, fields, strict=True):
        value = coerced(Value(quoted(old["name"]), types.type_of(old)), types.type_of(new))
        if value is None:
            raise invalid(
                f"Column {new['name']} has type {types.type_of(new)} but the query has {types.type_of(old)}"
            )
        cells.append(f"{value.sql} AS {quoted(new['name'])}")
    return f"SELECT {', '.join(cells)} FROM ({sql})", wanted
