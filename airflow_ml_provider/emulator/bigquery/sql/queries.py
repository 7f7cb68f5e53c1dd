"""Queries: SELECT, set operations, common table expressions.

https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import aggregates, expressions, sources, types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Rows, Scope, struct
from airflow_ml_provider.emulator.bigquery.sql.types import INT64, Type, Value

_SELECT_ARGS = {
    *("expressions", "from_", "joins", "where", "group", "having", "qualify", "windows", "order", "limit"),
    *("offset", "distinct", "kind", "with_", "laterals", "hint", "operation_modifiers", "sample", "pivots"),
}


def query(node: Node, scope: Scope) -> Rows:
    """Translate a query.

    :param scope: an empty one, whose parent is that of the query around.
    :raises ApiError: 400 ``invalidQuery``: BigQuery refuses it, or the emulator does not know it.
    """
    tables, ctes = _with(node, scope)
    scope.tables = tables
    if isinstance(node, exp.Subquery):
        rows = _subquery(node, scope)
    elif isinstance(node, exp.SetOperation):
        rows = _set_operation(node, scope)
    elif isinstance(node, exp.Select):
        rows = _select(node, scope)
    else:
        raise unknown(node.sql("bigquery")[:80])
    return replace(rows, sql=f"{ctes}{rows.sql}") if ctes else rows


def _with(node: Node, scope: Scope) -> tuple[dict[str, tuple[str, Rows]], str]:
    """Translate the WITH clause; return the tables that are visible, and the clause."""
    tables = dict(scope.tables)
    clause = node.args.get("with_")
    if clause is None:
        return tables, ""
    parts = []
    for cte in clause.expressions:
        inner = Scope(scope.context, parent=scope.parent, tables=tables)
        name = scope.context.fresh("w")
        if cte.args.get("alias") is not None and cte.args["alias"].columns:
            raise unknown("column names after the name of a common table expression")
        if clause.args.get("recursive") and _mentions(cte.this, cte.alias):
            rows = _recursive(cte, inner, name)
        else:
            rows = query(cte.this, inner)
        tables = {**tables, cte.alias.lower(): (name, rows)}
        parts.append(f"{name} AS ({rows.sql})")
    return tables, f"WITH {'RECURSIVE ' if clause.args.get('recursive') else ''}{', '.join(parts)} "


def _mentions(node: Node, name: str) -> bool:
    return any(table.name.lower() == name.lower() and not table.db for table in node.find_all(exp.Table))


def _recursive(cte: Node, scope: Scope, name: str) -> Rows:
    union = cte.this
    if not isinstance(union, exp.Union) or union.args.get("distinct"):
        raise unknown("a recursive common table expression that is not of the form … UNION ALL …")
    base = query(union.this, Scope(scope.context, parent=scope.parent, tables=scope.tables))
    settled = replace(base, columns=tuple((n, kind.settled) for n, kind in base.columns))
    tables = {**scope.tables, cte.alias.lower(): (name, settled)}
    step = query(union.expression, Scope(scope.context, parent=scope.parent, tables=tables))
    if len(step.columns) != len(base.columns):
        raise invalid("Queries in UNION ALL have mismatched column count")
    kinds = [kind for _, kind in settled.columns]
    return Rows(f"{_as(base, kinds)} UNION ALL {_as(step, kinds)}", settled.columns)


def _subquery(node: Node, scope: Scope) -> Rows:
    """Translate a query in brackets, which may have an ORDER BY and a LIMIT of its own behind them."""
    rows = query(node.this, Scope(scope.context, parent=scope.parent, tables=scope.tables))
    return _ordered(node, rows, scope)


def _ordered(node: Node, rows: Rows, scope: Scope) -> Rows:
    """Add an ORDER BY and a LIMIT that see the columns of a query only."""
    order = node.args.get("order")
    tail = _limit(node, scope)
    if order is None and not tail:
        return rows
    alias = scope.context.fresh("t")
    columns = [Value(f"{alias}.c{n}", kind.settled, name=name) for n, (name, kind) in enumerate(rows.columns)]
    inner = Scope(scope.context, parent=scope.parent, tables=scope.tables)
    inner.aliases = {column.name.lower(): column for column in columns if column.name}
    terms = []
    for each in order.expressions if order is not None else ():
        terms.append(
            aggregates.ordered(
                _by_position(each.this, columns) or expressions.expression(each.this, inner), each
            )
        )
    clause = f" ORDER BY {', '.join(terms)}" if terms else ""
    return replace(rows, sql=f"SELECT * FROM ({rows.sql}) AS {alias}{clause}{tail}")


def _by_position(node: Node, columns: Sequence[Value]) -> Value | None:
    if not isinstance(node, exp.Literal) or node.is_string or not node.this.isdigit():
        return None
    position = int(node.this)
    if not 1 <= position <= len(columns):
        raise invalid(
            "ORDER BY column number item is out of range. Column "
            f"numbers must be between one and {len(columns)}"
        )
    return columns[position - 1]


def _limit(node: Node, scope: Scope) -> str:
    sql = ""
    for key, word in (("limit", "LIMIT"), ("offset", "OFFSET")):
        part = node.args.get(key)
        if part is None:
            continue
        if not isinstance(part, exp.Limit | exp.Offset):
            raise unknown(part.sql("bigquery"))
        value = types.coerced(expressions.expression(part.expression, Scope(scope.context)), INT64)
        if value is None or not value.literal:
            raise invalid(f"{word} expects an integer literal or parameter")
        sql += f" {word} {value.sql}"
    return sql


# --- set operations


def _set_operation(node: Node, scope: Scope) -> Rows:
    kind = type(node).__name__.upper()
    if node.args.get("by_name") or node.args.get("side") or node.args.get("kind") or node.args.get("on"):
        raise unknown(f"{kind} BY NAME and CORRESPONDING")
    for side in (node.this, node.expression):
        if isinstance(side, exp.SetOperation) and not side.args.get("order") and not _same(side, node):
            raise invalid(
                "Different set operations cannot be used in the same query without using parentheses"
            )
    branches: list[Rows] = []
    left: Node = node
    # Long chains are deep trees.
    while (
        isinstance(left, type(node))
        and left.args.get("distinct") == node.args.get("distinct")
        and (left is node or not any(left.args.get(key) for key in ("order", "limit", "offset", "with_")))
    ):
        branches.append(
            query(left.expression, Scope(scope.context, parent=scope.parent, tables=scope.tables))
        )
        left = left.this
        if kind != "UNION":
            break
    branches.append(query(left, Scope(scope.context, parent=scope.parent, tables=scope.tables)))
    branches.reverse()
    counts = {len(branch.columns) for branch in branches}
    if len(counts) != 1:
        raise invalid(
            f"Queries in {kind} have mismatched column count; "
            + ", ".join(str(len(b.columns)) for b in branches)
        )
    kinds = []
    for position in range(counts.pop()):
        common = types.supertype([Value("x", branch.columns[position][1]) for branch in branches])
        if common is None:
            names = ", ".join(str(branch.columns[position][1]) for branch in branches)
            raise invalid(f"Column {position + 1} in {kind} has incompatible types: {names}")
        kinds.append(common)
        if node.args.get("distinct") and not common.groupable:
            raise invalid(
                f"Column {position + 1} in {kind} DISTINCT has type that "
                f"does not support set operation comparisons: {common}"
            )
    word = f" {kind} {'' if node.args.get('distinct') else 'ALL '}"
    sql = word.join(_as(branch, kinds) for branch in branches)
    columns = tuple((name, each) for (name, _), each in zip(branches[0].columns, kinds, strict=True))
    return _ordered(node, Rows(sql, columns), scope)


def _same(one: Node, other: Node) -> bool:
    return type(one) is type(other) and bool(one.args.get("distinct")) == bool(other.args.get("distinct"))


def _as(rows: Rows, kinds: Sequence[Type]) -> str:
    """Return a query whose columns have given types."""
    if all(kind == wanted for (_, kind), wanted in zip(rows.columns, kinds, strict=True)):
        return f"(SELECT * FROM ({rows.sql}))"
    made = []
    for position, ((_, kind), wanted) in enumerate(zip(rows.columns, kinds, strict=True)):
        value = types.coerced(Value(f"s.c{position}", kind), wanted)
        assert value is not None
        made.append(f"{value.sql} AS c{position}")
    return f"(SELECT {', '.join(made)} FROM ({rows.sql}) AS s)"


# --- SELECT


@dataclass
class _Item:
    """One column of a SELECT list."""

    name: str
    value: Value


def _select(node: Node, scope: Scope) -> Rows:
    for key, value in node.args.items():
        if value and key not in _SELECT_ARGS:
            raise unknown(f"{key.upper()} in {node.sql('bigquery')[:60]}")
    if any(node.args.get(key) for key in ("laterals", "hint", "operation_modifiers")):
        raise unknown(node.sql("bigquery")[:80])
    source = sources.from_clause(node, scope)
    for window in node.args.get("windows") or ():
        scope.windows[window.name.lower()] = window
    where = node.args.get("where")
    filtered = f" WHERE {expressions.condition(where.this, scope, 'WHERE clause').sql}" if where else ""
    items = _items(node, scope)
    aliased = _aliased(scope, items)
    group = _group(node, scope, items)
    having = node.args.get("having")
    if having is not None:
        group += f" HAVING {expressions.condition(having.this, aliased, 'HAVING clause').sql}"
    qualify = node.args.get("qualify")
    if qualify is not None:
        group += f" QUALIFY {expressions.condition(qualify.this, aliased, 'QUALIFY clause').sql}"
    distinct = node.args.get("distinct")
    if distinct is not None:
        if distinct.args.get("on"):
            raise unknown("DISTINCT ON")
        for item in items:
            if not item.value.type.groupable:
                raise invalid(
                    f"Column {item.name} of type {item.value.type} cannot be used in SELECT DISTINCT"
                )
    values, columns, value_table = _columns(node, items)
    listed = ", ".join(f"{value.sql} AS c{n}" for n, value in enumerate(values))
    order = node.args.get("order")
    sql = f"SELECT {'DISTINCT ' if distinct else ''}{listed}{source}{filtered}{group}"
    if order is not None:
        terms = []
        for each in order.expressions:
            value = _by_position(each.this, [item.value for item in items]) or expressions.expression(
                each.this, aliased
            )
            terms.append(aggregates.ordered(value, each))
        sql += f" ORDER BY {', '.join(terms)}"
    return Rows(sql + _limit(node, scope), columns, value_table)


def _columns(node: Node, items: Sequence[_Item]) -> tuple[list[Value], tuple[tuple[str, Type], ...], bool]:
    """Return what a SELECT gives: values, their names and types, and whether a row is its one value."""
    kind = (node.args.get("kind") or "").upper()
    if kind == "STRUCT":
        whole = struct([replace(item.value, name=item.name) for item in items])
        return [whole], (("", whole.type),), True
    if kind == "VALUE":
        if len(items) != 1:
            raise invalid("SELECT AS VALUE query must have exactly one column")
        return [items[0].value], (("", items[0].value.type),), True
    if kind:
        raise unknown(f"SELECT AS {kind}")
    values = [item.value for item in items]
    return values, tuple((item.name, item.value.type) for item in items), False


def _aliased(scope: Scope, items: Sequence[_Item]) -> Scope:
    """Return a scope in which the SELECT list's names come before those of the tables."""
    found: dict[str, Value] = {}
    double: set[str] = set()
    for item in items:
        key = item.name.lower()
        if key in found and found[key].sql != item.value.sql:
            double.add(key)
        elif key:
            found[key] = item.value
    return Scope(
        scope.context, scope.relations, scope.merged, scope.parent, found, scope.tables, scope.windows, double
    )


def _items(node: Node, scope: Scope) -> list[_Item]:
    items: list[_Item] = []
    for each in node.expressions:
        if isinstance(each, exp.Star):
            items += _star(each, sources.all_columns(scope), scope)
        elif isinstance(each, exp.Column) and isinstance(each.this, exp.Star):
            path = [part.name for part in each.parts[:-1]]
            items += _star(each.this, _fields(path, scope), scope)
        elif isinstance(each, exp.Dot) and isinstance(each.expression, exp.Star):
            items += _star(each.expression, _members(expressions.expression(each.this, scope)), scope)
        elif isinstance(each, exp.Alias):
            items.append(_Item(each.alias, expressions.expression(each.this, scope)))
        else:
            value = expressions.expression(each, scope)
            items.append(_Item(value.name, value))
    if not items:
        raise invalid("SELECT list must not be empty")
    return items


def _fields(path: Sequence[str], scope: Scope) -> list[Value]:
    if len(path) == 1:
        for relation in scope.relations:
            if relation.alias.lower() == path[0].lower():
                return relation.columns if relation.row is None else _members(relation.row)
    value, used = scope.resolve(path)
    for name in path[used:]:
        value = expressions.field_of(value, name)
    return _members(value)


def _members(value: Value) -> list[Value]:
    if value.type.kind != "STRUCT":
        raise invalid(f"Dot-star is not supported for type {value.type}")
    return [expressions.field_of(value, name) for name, _ in types.named(value.type.fields)]


def _star(star: Node, columns: Sequence[Value], scope: Scope) -> list[_Item]:
    """Return the columns of ``*``, less those of EXCEPT and with those of REPLACE."""
    if not columns:
        raise invalid("SELECT * must have a FROM clause")
    left_out = {each.name.lower() for each in star.args.get("except_") or ()}
    replaced = {each.alias.lower(): each.this for each in star.args.get("replace") or ()}
    if star.args.get("rename"):
        raise unknown("* RENAME")
    names = {column.name.lower() for column in columns}
    for name in [*left_out, *replaced]:
        if name not in names:
            raise invalid(
                f"Column {name} in SELECT * {'EXCEPT' if name in left_out else 'REPLACE'} list does not exist"
            )
    kept = [column for column in columns if column.name.lower() not in left_out]
    if not kept:
        raise invalid("SELECT * expands to zero columns after applying EXCEPT")
    return [
        _Item(
            c.name,
            expressions.expression(replaced[c.name.lower()], scope) if c.name.lower() in replaced else c,
        )
        for c in kept
    ]


def _group(node: Node, scope: Scope, items: Sequence[_Item]) -> str:
    group = node.args.get("group")
    if group is None:
        return ""
    if group.args.get("all"):
        return " GROUP BY ALL"
    if group.args.get("totals"):
        raise unknown("GROUP BY … WITH TOTALS")
    sets = [each for each in group.expressions if isinstance(each, exp.Rollup | exp.Cube | exp.GroupingSets)]
    sets += [each for key in ("rollup", "cube", "grouping_sets") for each in group.args.get(key) or ()]
    plain = [each for each in group.expressions if each not in sets]
    if sets:
        if plain or len(sets) > 1:
            raise unknown("GROUP BY with columns beside ROLLUP, CUBE or GROUPING SETS")
        return f" GROUP BY {_grouping(sets[0], scope, items)}"
    return f" GROUP BY {', '.join(_key(each, scope, items) for each in plain)}"


def _grouping(node: Node, scope: Scope, items: Sequence[_Item]) -> str:
    word = {"Rollup": "ROLLUP", "Cube": "CUBE", "GroupingSets": "GROUPING SETS"}.get(type(node).__name__)
    if word is None:
        if isinstance(node, exp.Tuple):
            return f"({', '.join(_key(each, scope, items) for each in node.expressions)})"
        return _key(node.this if isinstance(node, exp.Paren) else node, scope, items)
    return f"{word} ({', '.join(_grouping(each, scope, items) for each in node.expressions)})"


def _key(node: Node, scope: Scope, items: Sequence[_Item]) -> str:
    """Translate an expression of GROUP BY: a position, a name of the SELECT list, or any other."""
    value = _by_position(node, [item.value for item in items])
    if value is None and isinstance(node, exp.Column) and len(node.parts) == 1:
        named = {item.value.sql: item for item in items if item.name.lower() == node.name.lower()}
        if len(named) > 1:
            raise invalid(
                f"Name {node.name} in GROUP BY clause is ambiguous; "
                "it may refer to multiple columns in the SELECT-list"
            )
        value = next(iter(named.values())).value if named else None
    if value is None:
        value = expressions.expression(node, scope)
    if not value.type.groupable:
        raise invalid(f"Grouping by expressions of type {value.type} is not allowed")
    # DuckDB takes a bare literal for a position or refuses it.
    return f"({value.sql})"
