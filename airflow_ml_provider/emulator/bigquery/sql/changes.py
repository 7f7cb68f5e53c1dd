"""Statements that change rows: INSERT, UPDATE, DELETE, MERGE, TRUNCATE.

https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery import types as rest
from airflow_ml_provider.emulator.bigquery.catalog import TableName
from airflow_ml_provider.emulator.bigquery.sql import expressions, queries, sources, types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Context, Relation, Scope
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value, quoted

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement

# Stands for the table that is changed.
TARGET = "dml_target"
_TWICE = "UPDATE/MERGE must match at most one source row for each target row"


def statement(tree: Node, context: Context) -> Statement:
    """Translate a statement that changes rows.

    :raises ApiError: 400 ``invalidQuery`` or 404: BigQuery refuses it, or the emulator does not know it.
    """
    from airflow_ml_provider.emulator.bigquery.sql.statements import Statement

    name = type(tree).__name__
    table = tree.this
    if isinstance(tree, exp.TruncateTable):
        (table,) = tree.expressions
    elif isinstance(tree, exp.Delete) and tree.args.get("tables"):
        (table,) = tree.args["tables"]
    columns = [each.name for each in table.expressions] if isinstance(table, exp.Schema) else []
    table = table.this if isinstance(table, exp.Schema) else table
    target = sources.name_of(table, context)
    state = context.resolve(target, None)
    kinds = {field["name"]: rest.type_of(field) for field in state.schema}
    made = Statement(name.upper().replace("TRUNCATETABLE", "TRUNCATE_TABLE"), target=target)
    if isinstance(tree, exp.TruncateTable):
        made.sql = f"DELETE FROM {TARGET}"
    elif isinstance(tree, exp.Insert):
        made.sql = _insert(tree, columns, kinds, target, context)
    elif isinstance(tree, exp.Update):
        made.sql = _update(tree, table, kinds, made.refused, context)
    elif isinstance(tree, exp.Delete):
        made.sql = _delete(tree, table, kinds, context)
    else:
        made.sql = _merge(tree, table, kinds, made.refused, context)
    return made


def _relation(table: Node, kinds: dict[str, Type], context: Context) -> tuple[str, Relation]:
    """Return the target as an item of FROM: its alias in DuckDB's SQL, and its columns."""
    fresh = context.fresh("t")
    columns = [Value(f"{fresh}.{quoted(name)}", kind, name=name) for name, kind in kinds.items()]
    return fresh, Relation(table.alias or table.name, columns)


def _column(name: str, kinds: dict[str, Type], target: TableName) -> str:
    for known in kinds:
        if known.lower() == name.lower():
            return known
    raise invalid(f"Column {name} is not present in table {target}")


def _stored(value: Value, kind: Type, name: str) -> str:
    made = types.coerced(value, kind)
    if made is None:
        raise invalid(f"Value of type {value.type} cannot be assigned to {name}, which has type {kind}")
    return made.sql


def _given(node: Node, kind: Type, name: str, scope: Scope) -> str:
    if isinstance(node, exp.Var) and node.name.upper() == "DEFAULT":
        return "NULL"
    if isinstance(node, exp.Column) and not node.table and node.name.upper() == "DEFAULT":
        return "NULL"
    return _stored(expressions.expression(node, scope), kind, name)


def _insert(
    tree: Node, columns: list[str], kinds: dict[str, Type], target: TableName, context: Context
) -> str:
    names = [_column(name, kinds, target) for name in columns] or list(kinds)
    if len(set(names)) != len(names):
        raise invalid("A column is named twice in INSERT")
    source = tree.expression
    listed = ", ".join(map(quoted, names))
    if isinstance(source, exp.Values):
        rows = []
        for row in source.expressions:
            values = (
                row.expressions
                if isinstance(row, exp.Tuple)
                else [row.this if isinstance(row, exp.Paren) else row]
            )
            if len(values) != len(names):
                raise invalid(
                    f"Inserted row has wrong column count; Has {len(values)}, expected {len(names)}"
                )
            cells = (_given(v, kinds[n], n, Scope(context)) for v, n in zip(values, names, strict=True))
            rows.append(f"SELECT {', '.join(cells)}")
        return f"INSERT INTO {TARGET} ({listed}) {' UNION ALL '.join(rows)}"
    rows_ = queries.query(source, Scope(context))
    if len(rows_.columns) != len(names):
        raise invalid(f"Inserted row has wrong column count; Has {len(rows_.columns)}, expected {len(names)}")
    cells = (
        _stored(Value(f"s.c{n}", kind), kinds[name], name)
        for n, ((_, kind), name) in enumerate(zip(rows_.columns, names, strict=True))
    )
    return f"INSERT INTO {TARGET} ({listed}) SELECT {', '.join(cells)} FROM ({rows_.sql}) AS s"


def _settings(nodes: Sequence[Node], table: Node, kinds: dict[str, Type], scope: Scope, target: str) -> str:
    parts, seen = [], set()
    for each in nodes:
        path = [part.name for part in each.this.parts] if isinstance(each.this, exp.Column) else []
        if path and len(path) > 1 and path[0].lower() == (table.alias or table.name).lower():
            path = path[1:]
        if not isinstance(each, exp.EQ) or len(path) != 1:
            raise unknown(f"SET {each.sql('bigquery')[:60]}")
        name = next((known for known in kinds if known.lower() == path[0].lower()), None)
        if name is None:
            raise invalid(f"Column {path[0]} is not present in table {table.name}")
        if name in seen:
            raise invalid(f"Update item {name} assigned more than once")
        seen.add(name)
        parts.append(f"{quoted(name)} = {_given(each.expression, kinds[name], name, scope)}")
    return ", ".join(parts)


def _update(
    tree: Node, table: Node, kinds: dict[str, Type], refused: list[tuple[str, str]], context: Context
) -> str:
    where = tree.args.get("where")
    if where is None:
        raise invalid("UPDATE must have a WHERE clause")
    fresh, relation = _relation(table, kinds, context)
    scope = Scope(context, [relation])
    source = sources.from_clause(tree, scope)
    test = expressions.condition(where.this, scope, "WHERE clause").sql
    changed = _settings(tree.expressions, table, kinds, scope, fresh)
    if source:
        joined = f"FROM {TARGET} AS {fresh}, {source.removeprefix(' FROM ')}"
        twice = f"SELECT 1 {joined} WHERE {test} GROUP BY {fresh}.rowid HAVING count(*) > 1"
        refused.append((twice, _TWICE))
    return f"UPDATE {TARGET} AS {fresh} SET {changed}{source} WHERE {test}"


def _delete(tree: Node, table: Node, kinds: dict[str, Type], context: Context) -> str:
    where = tree.args.get("where")
    if where is None:
        raise invalid("DELETE must have a WHERE clause")
    fresh, relation = _relation(table, kinds, context)
    test = expressions.condition(where.this, Scope(context, [relation]), "WHERE clause").sql
    return f"DELETE FROM {TARGET} AS {fresh} WHERE {test}"


def _merge(
    tree: Node, table: Node, kinds: dict[str, Type], refused: list[tuple[str, str]], context: Context
) -> str:
    fresh, relation = _relation(table, kinds, context)
    source_scope = Scope(context)
    source = sources.from_clause(exp.Select(from_=exp.From(this=tree.args["using"].copy())), source_scope)
    source = source.removeprefix(" FROM ")
    both = Scope(context, [relation, *source_scope.relations])
    only_target = Scope(context, [relation])
    on = expressions.condition(tree.args["on"], both, "MERGE ON").sql
    clauses, matched = [], []
    for when in tree.args["whens"].expressions:
        side = "MATCHED" if when.args.get("matched") else "NOT MATCHED BY TARGET"
        scope = both if when.args.get("matched") else source_scope
        if not when.args.get("matched") and when.args.get("source"):
            side, scope = "NOT MATCHED BY SOURCE", only_target
        more = when.args.get("condition")
        test = expressions.condition(more, scope, "WHEN … AND").sql if more is not None else ""
        if side == "MATCHED":
            matched.append(test or "true")
        action = _action(when.args["then"], table, kinds, scope, fresh)
        clauses.append(f"WHEN {side}{f' AND {test}' if test else ''} THEN {action}")
    if matched:
        joined = f"FROM {TARGET} AS {fresh} JOIN {source} ON {on}"
        tests = " OR ".join(matched)
        refused.append(
            (f"SELECT 1 {joined} WHERE {tests} GROUP BY {fresh}.rowid HAVING count(*) > 1", _TWICE)
        )
    return f"MERGE INTO {TARGET} AS {fresh} USING {source} ON {on} {' '.join(clauses)} RETURNING merge_action"


def _action(then: Node, table: Node, kinds: dict[str, Type], scope: Scope, target: str) -> str:
    if isinstance(then, exp.Update):
        return f"UPDATE SET {_settings(then.expressions, table, kinds, scope, target)}"
    if not isinstance(then, exp.Insert):
        return "DELETE"
    names = list(kinds)
    if isinstance(then.this, exp.Tuple):
        names = [
            next((k for k in kinds if k.lower() == each.name.lower()), "") for each in then.this.expressions
        ]
        if "" in names:
            raise invalid(f"Column in INSERT of MERGE is not present in table {table.name}")
    if isinstance(then.this, exp.Var) or not then.expression:
        values = [_stored(v, kinds[n], n) for v, n in zip(sources.all_columns(scope), names, strict=False)]
    else:
        given = then.expression
        nodes = given.expressions if isinstance(given, exp.Tuple) else [given]
        values = [_given(v, kinds[n], n, scope) for v, n in zip(nodes, names, strict=False)]
        if len(nodes) != len(names):
            raise invalid(f"Inserted row has wrong column count; Has {len(nodes)}, expected {len(names)}")
    if len(values) != len(names):
        raise invalid(f"Inserted row has wrong column count; Has {len(values)}, expected {len(names)}")
    return f"INSERT ({', '.join(map(quoted, names))}) VALUES ({', '.join(values)})"
