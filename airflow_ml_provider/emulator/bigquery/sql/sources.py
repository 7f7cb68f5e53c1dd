"""FROM: tables, views, subqueries, UNNEST, joins, PIVOT and UNPIVOT.

https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#from_clause
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery import types as rest
from airflow_ml_provider.emulator.bigquery.catalog import TableName
from airflow_ml_provider.emulator.bigquery.sql import constants, expressions, pivots, queries, types
from airflow_ml_provider.emulator.bigquery.sql.comparisons import equal
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.lexer import statements
from airflow_ml_provider.emulator.bigquery.sql.parser import Node, parse
from airflow_ml_provider.emulator.bigquery.sql.scope import Context, Relation, Rows, Scope
from airflow_ml_provider.emulator.bigquery.sql.types import INT64, STRING, Value


def from_clause(node: Node, scope: Scope) -> str:
    """Translate FROM and its joins; the scope gets their columns.

    :return: `` FROM …``, or "" where there is none.
    :raises ApiError: 400 ``invalidQuery`` or 404: see :func:`queries.query`.
    """
    start = node.args.get("from_")
    if start is None:
        return ""
    sql = f" FROM {_relation(start.this, scope)}"
    for join in [*(start.this.args.get("joins") or ()), *(node.args.get("joins") or ())]:
        sql += _join(join, scope)
    if node.args.get("sample") is not None:
        sql += _sample(node.args["sample"])
    return sql


def all_columns(scope: Scope) -> list[Value]:
    """Return what ``*`` stands for: columns of USING first, each once."""
    merged = {value.name.lower() for value in scope.merged}
    rest_of = [c for relation in scope.relations for c in relation.columns if c.name.lower() not in merged]
    return [*scope.merged, *rest_of]


def _add(relation: Relation, scope: Scope) -> None:
    if relation.alias and any(r.alias.lower() == relation.alias.lower() for r in scope.relations):
        raise invalid(f"Duplicate table alias {relation.alias} in the same FROM clause")
    scope.relations.append(relation)


def _relation(node: Node, scope: Scope) -> str:
    """Translate one item; a correlated UNNEST sees the items before it."""
    if isinstance(node, exp.Unnest):
        return _unnest(node, scope)
    if isinstance(node, exp.Table):
        path = _path(node)
        if path is not None and any(r.alias.lower() == path[0].lower() for r in scope.relations):
            column = exp.column(*reversed(path[-4:]))
            alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(path[-1]))
            return _unnest(exp.Unnest(expressions=[column], alias=alias.copy()), scope)
        return _decorated(node, _table(node, scope), scope)
    if isinstance(node, exp.Subquery):
        if isinstance(node.this, exp.Table | exp.Subquery | exp.Unnest) and not isinstance(
            node.this, exp.Query
        ):
            if node.args.get("alias"):
                raise unknown("an alias of a join in brackets")
            sql = _relation(node.this, scope)
            for join in node.this.args.get("joins") or ():
                sql += _join(join, scope)
            return f"({sql})"
        inner = Scope(scope.context, parent=scope.parent, tables=scope.tables)
        rows = queries.query(node.this, inner)
        return _decorated(node, (rows, node.alias), scope)
    raise unknown(node.sql("bigquery")[:80])


def _path(node: Node) -> list[str] | None:
    if not node.db or node.args.get("version") is not None:
        return None
    return [part.name for part in node.parts]


def _decorated(node: Node, made: tuple[Rows, str], scope: Scope) -> str:
    """Add PIVOT and TABLESAMPLE to an item, and the item to the scope."""
    rows, name = made
    alias = node.args.get("alias")
    if alias is not None and alias.columns:
        raise unknown("column names after a table's alias")
    for pivot in node.args.get("pivots") or ():
        rows, name = pivots.pivoted(pivot, rows, scope), pivot.alias or ""
    fresh = scope.context.fresh("t")
    columns = [Value(f"{fresh}.c{n}", kind.settled, name=each) for n, (each, kind) in enumerate(rows.columns)]
    hidden = [column for column in columns if column.name.startswith("_TABLE_")]
    shown = [column for column in columns if column not in hidden]
    row = None
    if rows.values:
        row = replace(columns[0], name=name)
        if row.type.kind == "STRUCT":
            shown = [expressions.field_of(row, each) for each, _ in types.named(row.type.fields)]
        else:
            shown = [row]
    _add(Relation(name, shown, hidden, row), scope)
    sample = node.args.get("sample")
    return f"({rows.sql}) AS {fresh}{_sample(sample) if sample is not None else ''}"


def _sample(node: Node) -> str:
    percent = node.args.get("percent")
    method = node.args.get("method")
    if percent is None or (method is not None and method.name.upper() != "SYSTEM"):
        raise unknown(node.sql("bigquery").strip())
    return f" TABLESAMPLE bernoulli({float(percent.name)} PERCENT)"


# --- tables


def _table(node: Node, scope: Scope) -> tuple[Rows, str]:
    context = scope.context
    if not isinstance(node.this, exp.Identifier):
        raise unknown(node.sql("bigquery")[:80])
    parts = ".".join(part.name for part in node.parts).split(".")
    alias = node.alias or parts[-1]
    if len(parts) == 1 and parts[0].lower() in scope.tables:
        if node.args.get("version") is not None:
            raise invalid("FOR SYSTEM_TIME AS OF is not allowed on a common table expression")
        name, rows = scope.tables[parts[0].lower()]
        return replace(rows, sql=f"SELECT * FROM {name}"), alias
    upper = [part.upper() for part in parts]
    if "INFORMATION_SCHEMA" in upper:
        return _information(parts, upper.index("INFORMATION_SCHEMA"), context), node.alias or parts[-1]
    name_ = qualified(parts, context)
    at = system_time(node, scope)
    if "*" in name_.table:
        return _wildcard(name_, context), alias
    return _stored(name_, at, context), alias


def qualified(parts: Sequence[str], context: Context) -> TableName:
    """Return the table that a name with or without a project and a dataset means.

    :raises ApiError: 400 ``invalidQuery``: it has no dataset, or is of no form that the emulator knows.
    """
    full = list(parts)
    if len(full) == 1 and full[0].lower() in context.temporary:
        return context.temporary[full[0].lower()]
    if len(full) == 1:
        if not context.dataset:
            raise invalid(f'Table "{full[0]}" must be qualified with a dataset (e.g. dataset.table).')
        full = [context.dataset, *full]
    if len(full) == 2:
        full = [context.project, *full]
    if len(full) != 3:
        raise invalid(f"Invalid table name: {'.'.join(parts)}")
    if "$" in full[2] or "@" in full[2]:
        raise unknown(f"table decorator {full[2]}")
    return TableName(*full)


def name_of(node: Node, context: Context) -> TableName:
    """Return the table that a node names."""
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        raise unknown(node.sql("bigquery")[:80])
    return qualified(".".join(part.name for part in node.parts).split("."), context)


def _stored(name: TableName, at: float | None, context: Context) -> Rows:
    context.reads.append(name)
    state = context.resolve(name, at)
    if state.view is not None:
        (text,) = statements(state.view)
        inside = replace(context, dataset=None, parameters=(), variables={}, functions={})
        return queries.query(parse(text), Scope(inside))
    columns = tuple((field["name"], rest.type_of(field)) for field in state.schema)
    listed = ", ".join(f"{types.quoted(column)} AS c{n}" for n, (column, _) in enumerate(columns))
    return Rows(f"SELECT {listed or 'NULL AS c0'} FROM {types.quoted(state.physical)}", columns)


def _wildcard(name: TableName, context: Context) -> Rows:
    """Return the tables whose names begin alike, with the rest of their names in ``_TABLE_SUFFIX``.

    Their columns are those of the table that was made last:
    https://cloud.google.com/bigquery/docs/querying-wildcard-tables#schema_used_for_query_evaluation
    """
    prefix = name.table.removesuffix("*")
    if "*" in prefix:
        raise invalid(f"Invalid table name: {name}")
    found = []
    for table in context.siblings(name.project, name.dataset):
        if table.startswith(prefix):
            each = TableName(name.project, name.dataset, table)
            state = context.resolve(each, None)
            if state.view is not None:
                raise invalid(f"Views cannot be queried through prefix. Matched views are: {each}")
            found.append((each, state))
    if not found:
        raise invalid(f"{name} does not match any table.")
    newest = max(found, key=lambda pair: (pair[1].created, pair[0].table))[1]
    columns = [(field["name"], rest.type_of(field)) for field in newest.schema]
    branches = []
    for each, state in found:
        context.reads.append(each)
        known = {field["name"].lower(): rest.type_of(field) for field in state.schema}
        listed = []
        for n, (column, kind) in enumerate(columns):
            here = known.get(column.lower())
            if here is None:
                listed.append(f"CAST(NULL AS {kind.duckdb}) AS c{n}")
                continue
            value = types.coerced(Value(types.quoted(column), here), kind)
            if value is None:
                raise invalid(f"Cannot read field of type {here} as {kind} Field: {column} in {each}")
            listed.append(f"{value.sql} AS c{n}")
        listed.append(f"{types.text(each.table.removeprefix(prefix))} AS c{len(columns)}")
        branches.append(f"SELECT {', '.join(listed)} FROM {types.quoted(state.physical)}")
    return Rows(" UNION ALL ".join(branches), (*columns, ("_TABLE_SUFFIX", STRING)))


def _information(parts: Sequence[str], at: int, context: Context) -> Rows:
    """Return a view of INFORMATION_SCHEMA."""
    before, view = list(parts[:at]), ".".join(parts[at + 1 :]).upper()
    project, dataset = context.project, context.dataset or ""
    if len(before) == 2:
        project, dataset = before
    elif len(before) == 1:
        dataset = before[0]
    columns, rows = context.information(project, dataset, view)
    tuples = []
    for row in rows:
        cells = ("NULL" if cell is None else types.text(str(cell)) for cell in row)
        tuples.append(f"({', '.join(cells)})")
    listed = ", ".join(f"CAST(c{n} AS {kind.duckdb}) AS c{n}" for n, (_, kind) in enumerate(columns))
    names = ", ".join(f"c{n}" for n in range(len(columns)))
    values = ", ".join(tuples) or f"({', '.join('NULL' for _ in columns)})"
    none = "" if tuples else " WHERE false"
    return Rows(f"SELECT {listed} FROM (VALUES {values}) AS v({names}){none}", tuple(columns))


def system_time(node: Node, scope: Scope) -> float | None:
    """Return the time of FOR SYSTEM_TIME AS OF."""
    version = node.args.get("version")
    if version is None:
        return None
    at = version.expression
    if isinstance(at, exp.Literal) and at.is_string:
        # A bare string in this clause is Californian time.
        return _epoch(at.this, "TIMESTAMP", "America/Los_Angeles")
    if isinstance(at, exp.Cast) and isinstance(at.this, exp.Literal):
        return _epoch(at.this.this, "TIMESTAMP", "America/Los_Angeles")
    value = expressions.expression(at, Scope(scope.context))
    if value.type != types.TIMESTAMP:
        raise invalid(f"FOR SYSTEM_TIME AS OF expects a TIMESTAMP, not {value.type}")
    return scope.context.constant_time(value.sql)


def _epoch(*arguments: str) -> float:
    try:
        found = constants.parsed(*arguments)
    except ValueError as error:
        raise invalid(f"Invalid timestamp: {error}") from None
    assert isinstance(found, dt.datetime)
    return found.timestamp()


# --- UNNEST and joins


def _unnest(node: Node, scope: Scope) -> str:
    if len(node.expressions) != 1:
        raise unknown("UNNEST of several arrays")
    array = expressions.expression(node.expressions[0], scope)
    if array.type.element is None:
        raise invalid(
            f"Values referenced in UNNEST must be arrays. UNNEST contains expression of type {array.type}"
        )
    alias = node.args.get("alias")
    name = alias.name if alias is not None and alias.name else ""
    if not name and alias is not None and alias.columns:
        name = alias.columns[0].name
    kind = array.type.element.settled
    fresh = scope.context.fresh("t")
    row = Value(f"{fresh}.c0", kind, name=name)
    columns = [row]
    if kind.kind == "STRUCT":
        columns = [expressions.field_of(row, each) for each, _ in types.named(kind.fields)]
    offset = node.args.get("offset")
    relation = Relation(name, columns, row=row)
    _add(relation, scope)
    if offset:
        label = offset.name if isinstance(offset, exp.Identifier) else "offset"
        column = Value(f"{fresh}.c1", INT64, name=label)
        scope.relations.append(Relation("", [column]))
    inner = f"SELECT unnest({array.sql}) AS c0, unnest(range(0, len({array.sql}))) AS c1"
    return f"LATERAL ({inner}) AS {fresh}"


_SIDES = {"LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "FULL": "FULL JOIN", "": "JOIN"}


def _join(join: Node, scope: Scope) -> str:
    side = (join.args.get("side") or "").upper()
    kind = (join.args.get("kind") or "").upper()
    if join.args.get("method") or kind not in ("", "CROSS", "INNER", "OUTER") or join.args.get("global_"):
        raise unknown(join.sql("bigquery").strip()[:80])
    before = list(scope.relations)
    merged_before = list(scope.merged)
    right = _relation(join.this, scope)
    if isinstance(join.this, exp.Unnest) and side in ("RIGHT", "FULL"):
        raise invalid("Array scan is not allowed with RIGHT or FULL JOIN")
    new = scope.relations[len(before) :]
    on, using = join.args.get("on"), join.args.get("using")
    if on is not None:
        return f" {_SIDES[side]} {right} ON {expressions.condition(on, scope, 'JOIN ON clause').sql}"
    if using:
        return f" {_SIDES[side]} {right} ON {_using(using, side, before, merged_before, new, scope)}"
    if side and isinstance(join.this, exp.Unnest):
        return f" {_SIDES[side]} {right} ON true"
    if kind == "CROSS" or not (side or kind):
        return f" CROSS JOIN {right}"
    if right.startswith("LATERAL"):
        return f" {_SIDES[side]} {right} ON true"
    raise invalid(f"{side or kind} JOIN must have an immediately following ON or USING clause")


def _using(
    names: Sequence[Node],
    side: str,
    before: Sequence[Relation],
    merged_before: Sequence[Value],
    new: Sequence[Relation],
    scope: Scope,
) -> str:
    tests, merged = [], list(merged_before)
    for identifier in names:
        name = identifier.name
        left = [value for value in merged_before if value.name.lower() == name.lower()]
        left = left or [column for relation in before for column in relation.find(name)]
        right = [column for relation in new for column in relation.find(name)]
        for found, where in ((left, "left"), (right, "right")):
            if len(found) != 1:
                problem = "not found" if not found else "is ambiguous"
                raise invalid(f"Column {name} in USING clause {problem} on {where} side of join")
        tests.append(equal(left[0], right[0]).sql)
        pair, kind = types.unified([left[0], right[0]], "JOIN USING")
        sql = {"RIGHT": pair[1].sql, "FULL": f"COALESCE({pair[0].sql}, {pair[1].sql})"}.get(side, pair[0].sql)
        merged = [value for value in merged if value.name.lower() != name.lower()]
        merged.append(Value(sql, kind, name=left[0].name))
    scope.merged = merged
    return " AND ".join(tests)
