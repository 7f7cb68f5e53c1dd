"""Statements that define: CREATE and DROP of tables, views, snapshots, schemas and temporary functions.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery import types as rest
from airflow_ml_provider.emulator.bigquery.catalog import TableName
from airflow_ml_provider.emulator.bigquery.sql import expressions, lexer, queries, sources, types
from airflow_ml_provider.emulator.bigquery.sql.casts import type_of
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node, parse
from airflow_ml_provider.emulator.bigquery.sql.scope import Context, Rows, Scope
from airflow_ml_provider.emulator.bigquery.sql.udfs import SqlFunction

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement


def statement(text: str, raw: str, first: Sequence[str], context: Context) -> Statement | None:
    """Translate a statement that defines something; None if it does not."""
    if first[0] not in ("CREATE", "DROP"):
        return None
    words = [word for word in first[1:] if word not in ("OR", "REPLACE", "TEMP", "TEMPORARY")]
    if words[0] == "SNAPSHOT" and first[0] == "DROP":
        made = _drop(parse(text.replace(text.split()[1], "", 1)), context)
        made.kind = "DROP_SNAPSHOT_TABLE"
        return made
    if first[0] == "DROP":
        return _drop(parse(text), context)
    head, clone, tail = lexer.split_at(text, "CLONE")
    if clone:
        return _clone(head, tail, snapshot=words[0] == "SNAPSHOT", context=context)
    if words[0] not in ("TABLE", "VIEW", "SCHEMA", "FUNCTION"):
        raise unknown(f"statement CREATE {words[0]}")
    return _create(parse(text), raw, context)


def _create(tree: Node, raw: str, context: Context) -> Statement:
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement

    if not isinstance(tree, exp.Create):
        raise unknown(tree.sql("bigquery")[:80])
    properties = list(tree.args["properties"].expressions) if tree.args.get("properties") else []
    temporary = any(isinstance(each, exp.TemporaryProperty) for each in properties)
    properties = [each for each in properties if not isinstance(each, exp.TemporaryProperty)]
    if tree.kind == "FUNCTION":
        return _function(tree, properties, temporary, context)
    replace, lenient = bool(tree.args.get("replace")), bool(tree.args.get("exists"))
    if tree.kind == "SCHEMA":
        name = tree.this.args["db"].name.split(".")
        settings = _settings(properties, {}, context)
        target = TableName(name[0] if len(name) == 2 else context.project, name[-1], "")
        return Statement("CREATE_SCHEMA", target=target, lenient=lenient, settings=settings)
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    made = Statement(f"CREATE_{tree.kind}", replace=replace, lenient=lenient, temporary=temporary)
    made.target = _target(table, context, temporary=temporary)
    like = [each for each in properties if isinstance(each, exp.LikeProperty)]
    properties = [each for each in properties if each not in like]
    if like or tree.args.get("clone") is not None:
        made.kind = "CREATE_TABLE" if like else "CREATE_TABLE_COPY"
        made.source = (sources.name_of(like[0].this if like else tree.args["clone"].this, context), None)
        made.settings = _settings(properties, {}, context)
        return made
    if tree.kind == "VIEW":
        return _view(made, tree, raw, properties, context)
    kinds = {}
    if isinstance(tree.this, exp.Schema):
        made.fields = [_column(each, context) for each in tree.this.expressions]
        kinds = {each["name"].lower(): rest.type_of(each) for each in made.fields}
    if tree.expression is not None:
        made.kind = "CREATE_TABLE_AS_SELECT"
        made.rows = _named(queries.query(tree.expression, Scope(context)), "TABLE", bool(made.fields))
        if made.fields and len(made.fields) != len(made.rows.columns):
            raise invalid("The number of columns in the column definition list does not match the query's")
        kinds = kinds or {name.lower(): kind.settled for name, kind in made.rows.columns}
    elif not made.fields:
        raise invalid("CREATE TABLE needs columns or AS SELECT")
    made.settings = _settings(properties, kinds, context)
    return made


def _target(table: Node, context: Context, *, temporary: bool) -> TableName:
    if temporary:
        if table.db:
            raise invalid("A temporary table has no dataset")
        return TableName(context.project, "", table.name)
    return sources.name_of(table, context)


def _view(made: Statement, tree: Node, raw: str, properties: list[Node], context: Context) -> Statement:
    if isinstance(tree.this, exp.Schema) or made.temporary:
        raise unknown("a view that is temporary or names its columns")
    if any(isinstance(each, exp.MaterializedProperty) for each in properties):
        raise unknown("MATERIALIZED VIEW")
    made.rows = _named(queries.query(tree.expression, Scope(context)), "VIEW", False)
    _, _, made.view = lexer.split_at(raw, "AS")
    made.view = made.view.strip()
    made.settings = _settings(properties, {}, context)
    return made


def _named(rows: Rows, what: str, listed: bool) -> Rows:
    """Refuse columns without a name, which only results may have."""
    for position, (name, _) in enumerate(rows.columns, 1):
        if not (name or listed or rows.values):
            raise invalid(f"CREATE {what} columns must be named, but column {position} has no name")
    return rows


def _column(node: Node, context: Context) -> dict[str, Any]:
    if not isinstance(node, exp.ColumnDef) or node.args.get("kind") is None:
        raise unknown(node.sql("bigquery")[:80])
    field = {**rest.field_from(node.name, type_of(node.args["kind"]))}
    for constraint in node.args.get("constraints") or ():
        kind = constraint.args["kind"]
        if isinstance(kind, exp.NotNullColumnConstraint):
            field["mode"] = "REQUIRED"
        elif isinstance(kind, exp.Properties):
            for each in kind.expressions:
                if each.name.lower() != "description":
                    raise unknown(f"column option {each.name}")
                field["description"] = str(
                    expressions.expression(each.args["value"], Scope(context)).constant
                )
        else:
            raise unknown(node.sql("bigquery")[:80])
    return field


def _function(tree: Node, properties: list[Node], temporary: bool, context: Context) -> Statement:
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement

    definition, returns = tree.this, None
    if not temporary:
        raise unknown("CREATE FUNCTION that is not TEMP")
    for each in properties:
        if not isinstance(each, exp.ReturnsProperty) or each.args.get("is_table"):
            raise unknown(each.sql("bigquery")[:80])
        returns = type_of(each.this)
    parameters = []
    for each in definition.expressions:
        kind = each.args["kind"]
        free = getattr(kind.this, "value", str(kind.this)).upper() == "VARIANT"
        parameters.append((each.name, None if free else type_of(kind)))
    name = definition.this.name
    if tree.expression is None or isinstance(tree.expression, exp.Literal | exp.RawString):
        raise unknown("functions in other languages than SQL")
    context.functions[name.lower()] = SqlFunction(name, tuple(parameters), returns, tree.expression)
    return Statement("CREATE_FUNCTION")


def _drop(tree: Node, context: Context) -> Statement:
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement

    kind = tree.args.get("kind") if isinstance(tree, exp.Drop) else None
    if kind not in ("TABLE", "VIEW", "SCHEMA"):
        raise unknown(tree.sql("bigquery")[:80])
    (dropped,) = tree.args.get("tables") or [tree.this]
    lenient = bool(tree.args.get("exists"))
    if kind == "SCHEMA":
        name = dropped.args["db"].name.split(".")
        target = TableName(name[0] if len(name) == 2 else context.project, name[-1], "")
        return Statement(
            "DROP_SCHEMA", target=target, lenient=lenient, replace=bool(tree.args.get("cascade"))
        )
    return Statement(f"DROP_{kind}", target=sources.name_of(dropped, context), lenient=lenient)


def _clone(head: str, tail: str, *, snapshot: bool, context: Context) -> Statement:
    """Translate ``CREATE [SNAPSHOT] TABLE a CLONE b [FOR SYSTEM_TIME AS OF t] [OPTIONS(…)]``."""
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement

    source, options, listed = lexer.split_at(tail, "OPTIONS")
    query = parse(f"SELECT * FROM {source}")
    table = query.args["from_"].this
    if not isinstance(table, exp.Table):
        raise invalid("CLONE needs a table")
    words = head.split()
    plain = " ".join(word for word in words if word.upper() != "SNAPSHOT")
    made = parse(f"{plain} (x INT64) {options} {listed if options else ''}")
    if not isinstance(made, exp.Create):
        raise invalid(f"Syntax error: {head}")
    properties = list(made.args["properties"].expressions) if made.args.get("properties") else []
    return Statement(
        "CREATE_SNAPSHOT_TABLE" if snapshot else "CREATE_TABLE_CLONE",
        target=_target(made.this.this, context, temporary=False),
        replace=bool(made.args.get("replace")),
        lenient=bool(made.args.get("exists")),
        settings=_settings(properties, {}, context),
        source=(sources.name_of(table, context), sources.system_time(table, Scope(context))),
    )


# --- OPTIONS, PARTITION BY and CLUSTER BY

_OPTIONS = {"description": "description", "friendly_name": "friendlyName", "location": "location"}


def _settings(properties: Sequence[Node], kinds: dict[str, types.Type], context: Context) -> dict[str, Any]:
    """Return what a table's or dataset's REST resource shows of its properties."""
    settings: dict[str, Any] = {}
    days: float | None = None
    for each in properties:
        if isinstance(each, exp.PartitionedByProperty):
            settings |= _partitioning(each.this, kinds)
        elif isinstance(each, exp.ClusterProperty):
            names = [part.name for part in each.expressions]
            for name in names:
                if name.lower() not in kinds:
                    raise invalid(f"Clustering column {name} is not in the table")
            settings["clustering"] = {"fields": names}
        elif isinstance(each, exp.LocationProperty):
            settings["location"] = each.this.name
        elif isinstance(each, exp.Property):
            name, value = each.name.lower(), each.args["value"]
            if name == "labels":
                settings["labels"] = {
                    k.name: v.name for k, v in (pair.expressions for pair in value.expressions)
                }
                continue
            found = expressions.expression(value, Scope(context))
            if name in _OPTIONS and isinstance(found.constant, str):
                settings[_OPTIONS[name]] = found.constant
            elif name == "expiration_timestamp":
                made = types.coerced(found, types.TIMESTAMP)
                if made is not None and not found.null:
                    settings["expirationTime"] = str(int(context.constant_time(made.sql) * 1000))
            elif name == "partition_expiration_days" and isinstance(found.constant, int | float):
                days = float(found.constant)
            elif name == "require_partition_filter" and found.constant is False:
                continue
            elif name == "default_table_expiration_days" and isinstance(found.constant, int | float):
                settings["defaultTableExpirationMs"] = str(int(found.constant * 86_400_000))
            else:
                raise unknown(f"option {name}")
        else:
            raise unknown(each.sql("bigquery")[:80])
    if days is not None:
        raise unknown("option partition_expiration_days")
    return settings


def _partitioning(node: Node, kinds: dict[str, types.Type]) -> dict[str, Any]:
    """Return ``timePartitioning`` or ``rangePartitioning``."""
    unit, column = "DAY", node
    if isinstance(node, exp.Anonymous):
        name = node.name.upper()
        if name == "RANGE_BUCKET":
            column, series = node.expressions
            bounds = [part.name for part in series.expressions]
            if _kind(column, kinds).kind != "INT64" or len(bounds) != 3:
                raise invalid(
                    "PARTITION BY RANGE_BUCKET needs an INT64 column and GENERATE_ARRAY(start, end, interval)"
                )
            span = dict(zip(("start", "end", "interval"), bounds, strict=True))
            return {"rangePartitioning": {"field": column.name, "range": span}}
        if name not in ("DATE", "TIMESTAMP_TRUNC", "DATETIME_TRUNC", "DATE_TRUNC"):
            raise unknown(f"PARTITION BY {node.sql('bigquery')}")
        column = node.expressions[0]
        if name != "DATE":
            unit = node.expressions[1].name.upper()
    if not isinstance(column, exp.Column) or column.name.upper() in ("_PARTITIONDATE", "_PARTITIONTIME"):
        raise unknown(f"PARTITION BY {node.sql('bigquery')}")
    kind = _kind(column, kinds)
    if kind.kind not in ("DATE", "TIMESTAMP", "DATETIME") or (column is node and kind.kind != "DATE"):
        raise invalid(
            "PARTITION BY expression must be DATE(<timestamp_column>), DATE(<datetime_column>), "
            f"a DATE column or a truncation of one; got {node.sql('bigquery')}"
        )
    if unit not in ("HOUR", "DAY", "MONTH", "YEAR"):
        raise invalid(f"PARTITION BY does not support {unit}")
    return {"timePartitioning": {"type": unit, "field": column.name}}


def _kind(column: Node, kinds: dict[str, types.Type]) -> types.Type:
    if column.name.lower() not in kinds:
        raise invalid(f"Partitioning column {column.name} is not in the table")
    return kinds[column.name.lower()]
