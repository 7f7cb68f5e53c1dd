"""PIVOT and UNPIVOT.

https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#pivot_operator
"""

from __future__ import annotations

import re

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import aggregates, expressions, types
from airflow_ml_provider.emulator.bigquery.sql.comparisons import equal
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Relation, Rows, Scope
from airflow_ml_provider.emulator.bigquery.sql.types import STRING, Type, Value


def pivoted(node: Node, rows: Rows, scope: Scope) -> Rows:
    """Return a table turned: values of a column into columns, or columns into rows.

    :raises ApiError: 400 ``invalidQuery``: BigQuery refuses it, or the emulator does not know it.
    """
    columns = [Value(f"p.c{n}", kind.settled, name=name) for n, (name, kind) in enumerate(rows.columns)]
    inner = Scope(scope.context, [Relation("", columns)], tables=scope.tables)
    if len(node.args.get("fields") or ()) != 1 or node.args.get("group"):
        raise unknown(node.sql("bigquery").strip()[:80])
    if node.args.get("unpivot"):
        return _unpivot(node, rows, columns)
    return _pivot(node, rows, columns, inner)


def _pivot(node: Node, rows: Rows, columns: list[Value], scope: Scope) -> Rows:
    field = node.args["fields"][0]
    subject = expressions.expression(field.this, scope)
    used = {field.this.name.lower()}
    calls = []
    for each in node.expressions:
        call = each.this if isinstance(each, exp.Alias) else each
        if not isinstance(call, exp.Anonymous) or call.name.upper() not in aggregates.NAMES:
            raise invalid("PIVOT expression must be an aggregate function call")
        used |= {column.name.lower() for column in call.find_all(exp.Column)}
        calls.append((call, each.alias if isinstance(each, exp.Alias) else ""))
    if len(calls) > 1 and not all(alias for _, alias in calls):
        raise invalid("PIVOT with several aggregate functions needs an alias for each")
    kept = [column for column in columns if column.name.lower() not in used]
    listed = [f"{column.sql} AS c{n}" for n, column in enumerate(kept)]
    made = [(column.name, column.type) for column in kept]
    for item in field.expressions:
        value_node = item.this if isinstance(item, exp.PivotAlias | exp.Alias) else item
        value = expressions.expression(value_node, Scope(scope.context))
        label = _alias_of(item) or _label(value)
        test = equal(subject, value).sql if not value.null else f"{subject.sql} IS NULL"
        for call, alias in calls:
            name = f"{alias}_{label}" if alias else label
            only = _only(call, test, scope)
            listed.append(f"{only.sql} AS c{len(made)}")
            made.append((name, only.type))
    keys = ", ".join(column.sql for column in kept)
    group = f" GROUP BY {keys}" if keys else ""
    return Rows(f"SELECT {', '.join(listed)} FROM ({rows.sql}) AS p{group}", tuple(made))


def _alias_of(item: Node) -> str:
    alias = item.args.get("alias") if isinstance(item, exp.PivotAlias | exp.Alias) else None
    if alias is None:
        return ""
    return str(alias.name if isinstance(alias, exp.Expression) else alias)


def _label(value: Value) -> str:
    """Return the name of a column that a value becomes."""
    if value.null:
        return "NULL"
    if value.constant is None or isinstance(value.constant, float):
        raise unknown("PIVOT IN with such a value and no alias")
    text = str(value.constant).lower() if isinstance(value.constant, bool) else str(value.constant)
    text = text.replace("-", "minus_", 1) if isinstance(value.constant, int) else text.replace("-", "_")
    return f"_{text}" if re.match(r"\d", text) else text


def _only(call: Node, test: str, scope: Scope) -> Value:
    """Return an aggregate over those rows only that pass a test."""
    name = call.name.upper()
    value = aggregates.aggregate(call, scope, over=None)
    if name in ("COUNT", "COUNTIF", "SUM", "AVG", "MIN", "MAX", "ANY_VALUE", "LOGICAL_AND", "LOGICAL_OR"):
        given = aggregates.arguments(call)
        if given.having is not None:
            raise unknown("HAVING in PIVOT")
        if name == "COUNT" and isinstance(given.nodes[0], exp.Star):
            return Value(f"count(*) FILTER (WHERE {test})", value.type)
        if name == "COUNTIF":
            inner = expressions.expression(given.nodes[0], scope)
            return Value(f"count(*) FILTER (WHERE {inner.sql} AND {test})", value.type)
        inner = expressions.expression(given.nodes[0], scope)
        masked = Value(f"(CASE WHEN {test} THEN {inner.sql} END)", inner.type)
        if name == "ANY_VALUE":
            return Value(f"any_value({masked.sql})", value.type)
        if inner.type == types.FLOAT64 and name in ("MIN", "MAX"):
            raise unknown(f"PIVOT({name}(FLOAT64))")
        distinct = "DISTINCT " if given.distinct else ""
        sql = f"{name.lower().replace('logical', 'bool')}({distinct}{masked.sql})"
        return Value(f"CAST({sql} AS {value.type.duckdb})", value.type)
    raise unknown(f"PIVOT({name}(…))")


def _unpivot(node: Node, rows: Rows, columns: list[Value]) -> Rows:
    """Turn columns into rows: one for each column of the IN list whose value is not NULL."""
    field = node.args["fields"][0]
    if len(node.expressions) != 1 or not isinstance(node.expressions[0], exp.Column | exp.Identifier):
        raise unknown("UNPIVOT with several columns of values")
    label, value_name = field.this.name, node.expressions[0].name
    by_name = {column.name.lower(): column for column in columns}
    taken, branches = [], []
    for item in field.expressions:
        column_node = item.this if isinstance(item, exp.PivotAlias | exp.Alias) else item
        if not isinstance(column_node, exp.Column):
            raise unknown("UNPIVOT with several columns of values")
        column = by_name.get(column_node.name.lower())
        if column is None:
            raise invalid(f"Column {column_node.name} in UNPIVOT does not exist")
        taken.append(column)
        branches.append((_alias_of(item) or column.name, column))
    kinds: list[Type] = [column.type for column in taken]
    if len(set(kinds)) != 1:
        raise invalid(
            f"The datatype of the columns in UNPIVOT IN clause must be the same: {', '.join(map(str, kinds))}"
        )
    kept = [column for column in columns if column not in taken]
    parts = []
    nulls = "" if node.args.get("include_nulls") else " WHERE {0} IS NOT NULL"
    for text, column in branches:
        listed = [f"{each.sql} AS c{n}" for n, each in enumerate(kept)]
        listed.append(f"{column.sql} AS c{len(kept)}")
        listed.append(f"{types.text(text.strip(chr(39)))} AS c{len(kept) + 1}")
        where = nulls.format(column.sql)
        parts.append(f"SELECT {', '.join(listed)} FROM ({rows.sql}) AS p{where}")
    made = [(c.name, c.type) for c in kept] + [(value_name, kinds[0]), (label, STRING)]
    return Rows(" UNION ALL ".join(parts), tuple(made))
