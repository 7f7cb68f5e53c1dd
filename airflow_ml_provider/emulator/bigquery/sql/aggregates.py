"""Aggregate functions, also over windows.

https://cloud.google.com/bigquery/docs/reference/standard-sql/aggregate_functions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import expressions, types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope
from airflow_ml_provider.emulator.bigquery.sql.signatures import choose, table
from airflow_ml_provider.emulator.bigquery.sql.types import FLOAT64, INT64, STRING, Type, Value

# {d} is DISTINCT, {o} an ORDER BY, {f} a FILTER and {w} an OVER, where there is one.
_SIGNATURES = table(
    """
COUNT(T) INT64 = count({d}{0}){w}
COUNTIF(BOOL) INT64 = count(*) FILTER (WHERE {0}){w}
SUM(INT64) INT64 = CAST(sum({d}{0}){w} AS BIGINT)
SUM(NUMERIC) NUMERIC = CAST(sum({d}{0}){w} AS DECIMAL(38,9))
SUM(FLOAT64) FLOAT64 = (CASE WHEN NOT isfinite(sum({d}{0}){w}) AND bool_and(isfinite({0})){w}
  THEN CAST(bq_raise('Floating point error: overflow in SUM') AS DOUBLE) ELSE sum({d}{0}){w} END)
AVG(FLOAT64) FLOAT64 = avg({d}{0}){w}
AVG(NUMERIC) NUMERIC = (CASE WHEN count({d}{0}){w} > 0
  THEN bq_divide_numeric(CAST(sum({d}{0}){w} AS DECIMAL(38,9)), CAST(count({d}{0}){w} AS DECIMAL(38,9))) END)
MIN(O) O = {nan}min({0}){w}{end}
MAX(O) O = {nan}max({0}){w}{end}
ANY_VALUE(T) T = first({0}{o}){w}
ARRAY_CONCAT_AGG([T]) [T] = flatten(list({0}{o}) FILTER (WHERE {0} IS NOT NULL){w})
LOGICAL_AND(BOOL) BOOL = bool_and({0}){w}
LOGICAL_OR(BOOL) BOOL = bool_or({0}){w}
BIT_AND(INT64) INT64 = bit_and({0}){w}
BIT_OR(INT64) INT64 = bit_or({0}){w}
BIT_XOR(INT64) INT64 = bit_xor({d}{0}){w}
APPROX_COUNT_DISTINCT(T) INT64 = count(DISTINCT {0}){w}
STDDEV_SAMP(FLOAT64) FLOAT64 = stddev_samp({d}{0}){w}
STDDEV_POP(FLOAT64) FLOAT64 = stddev_pop({d}{0}){w}
VAR_SAMP(FLOAT64) FLOAT64 = var_samp({d}{0}){w}
VAR_POP(FLOAT64) FLOAT64 = var_pop({d}{0}){w}
CORR(FLOAT64, FLOAT64) FLOAT64 = (CASE WHEN count(*) FILTER (WHERE {0} IS NOT NULL AND {1} IS NOT NULL){w} > 1
  THEN corr({0}, {1}){w} END)
COVAR_POP(FLOAT64, FLOAT64) FLOAT64 = covar_pop({0}, {1}){w}
COVAR_SAMP(FLOAT64, FLOAT64) FLOAT64 = covar_samp({0}, {1}){w}
"""
)
_SYNONYMS = {"STDDEV": "STDDEV_SAMP", "VARIANCE": "VAR_SAMP"}
_DISTINCT = ("COUNT", "SUM", "AVG", "BIT_XOR", "STDDEV_SAMP", "STDDEV_POP", "VAR_SAMP", "VAR_POP")
_HARMLESS = (
    "MIN",
    "MAX",
    "LOGICAL_AND",
    "LOGICAL_OR",
    "BIT_AND",
    "BIT_OR",
    "ANY_VALUE",
    "APPROX_COUNT_DISTINCT",
)
NAMES = frozenset({*_SIGNATURES, *_SYNONYMS, "ARRAY_AGG", "STRING_AGG", "APPROX_QUANTILES", "GROUPING"})


@dataclass
class Arguments:
    """What stands in a call: ``f(DISTINCT x IGNORE NULLS HAVING MAX y ORDER BY z LIMIT n)``."""

    nodes: list[Node] = field(default_factory=list)
    distinct: bool = False
    nulls: str = ""
    order: Sequence[Node] = ()
    limit: Node | None = None
    having: Node | None = None


def arguments(node: Node) -> Arguments:
    """Take a call's arguments apart."""
    found = Arguments()
    for each in node.expressions:
        while True:
            if isinstance(each, exp.Limit):
                found.limit, each = each.expression, each.this
            elif isinstance(each, exp.Order):
                found.order, each = each.expressions, each.this
            elif isinstance(each, exp.IgnoreNulls | exp.RespectNulls):
                found.nulls, each = ("IGNORE" if isinstance(each, exp.IgnoreNulls) else "RESPECT"), each.this
            elif isinstance(each, exp.HavingMax):
                found.having, each = each, each.this
            else:
                break
        if isinstance(each, exp.Distinct):
            found.distinct = True
            found.nodes += each.expressions
        else:
            found.nodes.append(each)
    return found


def aggregate(node: Node, scope: Scope, over: str | None) -> Value:
    """Translate a call of an aggregate function.

    :param over: the window, in DuckDB's SQL, or None.
    :raises ApiError: 400 ``invalidQuery``: it is called wrongly.
    """
    name = _SYNONYMS.get(node.name.upper(), node.name.upper())
    given = arguments(node)
    # The arguments see the rows, not the columns that the SELECT list makes of them.
    inside = Scope(
        scope.context, scope.relations, scope.merged, scope.parent, {}, scope.tables, scope.windows
    )
    window = f" {over}" if over else ""
    if name == "GROUPING":
        key = expressions.expression(given.nodes[0], inside)
        return Value(f"CAST(grouping({key.sql}) AS BIGINT)", INT64)
    if name == "COUNT" and len(given.nodes) == 1 and isinstance(given.nodes[0], exp.Star):
        return Value(f"count(*){window}", INT64)
    values = [expressions.expression(each, inside) for each in given.nodes]
    if name in ("ARRAY_AGG", "STRING_AGG"):
        return _listed(name, given, values, inside, window)
    if name == "APPROX_QUANTILES":
        return _quantiles(given, values, window)
    if given.limit is not None or given.nulls or (given.order and name != "ARRAY_CONCAT_AGG"):
        raise unknown(f"ORDER BY, LIMIT or NULLS in {name}")
    distinct = given.distinct and name not in _HARMLESS
    if distinct and name not in _DISTINCT:
        raise unknown(f"{name}(DISTINCT …)")
    if distinct and over and "ORDER BY" in over:
        raise invalid("Window ORDER BY is not allowed if DISTINCT is specified")
    chosen = choose(_SIGNATURES[name], values)
    if distinct and not chosen.arguments[0].type.groupable:
        raise invalid(
            f"Aggregate functions with DISTINCT cannot be used with arguments of type {values[0].type}"
        )
    order = order_by(given.order, inside)
    if given.having is not None:
        if name != "ANY_VALUE" or over:
            raise unknown(f"HAVING {'MAX' if given.having.args.get('max') else 'MIN'} in {name}")
        direction = "DESC" if given.having.args.get("max") else "ASC"
        key = expressions.expression(given.having.expression, inside)
        order = f" ORDER BY {key.sql} {direction} NULLS LAST"
    nan, end = "", ""
    if name in ("MIN", "MAX") and chosen.returns == FLOAT64:
        nan = f"(CASE WHEN bool_or(isnan({chosen.arguments[0].sql})){window} THEN CAST('nan' AS DOUBLE) ELSE "
        end = " END)"
    sql = chosen.fill(d="DISTINCT " if distinct else "", o=order, w=window, nan=nan, end=end)
    return Value(sql, chosen.returns)


def order_by(nodes: Sequence[Node], scope: Scope) -> str:
    """Translate the terms of an ORDER BY inside brackets; "" if there are none."""
    if not nodes:
        return ""
    return f" ORDER BY {', '.join(ordered(expressions.expression(n.this, scope), n) for n in nodes)}"


def ordered(value: Value, node: Node, *, plain: bool = False) -> str:
    """Return a term of an ORDER BY: NULL comes first, then NaN, then the numbers.

    :param plain: leave NaN where DuckDB has it.
    :raises ApiError: 400 ``invalidQuery``: such values have no order.
    """
    if not value.type.orderable:
        raise invalid(f"ORDER BY does not support expressions of type {value.type}")
    descending = bool(node.args.get("desc"))
    nulls = "NULLS FIRST" if node.args.get("nulls_first") else "NULLS LAST"
    term = f"{value.sql} {'DESC' if descending else 'ASC'} {nulls}"
    if value.type != FLOAT64 or plain or value.literal:
        return term
    return f"isnan({value.sql}) {'ASC' if descending else 'DESC'} {nulls}, {term}"


def _listed(name: str, given: Arguments, values: list[Value], scope: Scope, window: str) -> Value:
    if not values or len(values) > (2 if name == "STRING_AGG" else 1) or given.having is not None:
        raise unknown(f"such arguments of {name}")
    value, separator = values[0], "','"
    if name == "STRING_AGG":
        pair = [types.coerced(each, STRING) for each in values]
        if any(each is None for each in pair):
            raise invalid(f"No matching signature for function STRING_AGG for argument type: {value.type}")
        value = pair[0] or value
        if len(pair) == 2 and pair[1] is not None:
            separator = pair[1].sql
    elif value.type.element is not None:
        raise invalid(f"The argument to ARRAY_AGG must not be an array type but was {value.type}")
    if given.distinct and given.order and any(n.this != given.nodes[0] for n in given.order):
        raise invalid(
            "An aggregate function that has both DISTINCT and ORDER BY arguments "
            "can only ORDER BY expressions that are arguments to the function"
        )
    if window and given.order:
        raise unknown(f"ORDER BY in {name} with OVER")
    order = order_by(given.order, scope)
    if given.distinct and order:
        direction = given.order[0]
        order = f" ORDER BY {value.sql} {'DESC' if direction.args.get('desc') else 'ASC'} " + (
            "NULLS FIRST" if direction.args.get("nulls_first") else "NULLS LAST"
        )
    only = (
        f" FILTER (WHERE {value.sql} IS NOT NULL)" if given.nulls == "IGNORE" or name == "STRING_AGG" else ""
    )
    sql = f"list({'DISTINCT ' if given.distinct else ''}{value.sql}{order}){only}{window}"
    if given.limit is not None:
        sql = f"list_slice({sql}, 1, {expressions.expression(given.limit, scope).sql})"
    if name == "STRING_AGG":
        return Value(f"array_to_string({sql}, {separator})", STRING)
    return Value(sql, Type("ARRAY", value.type.settled))


def _quantiles(given: Arguments, values: list[Value], window: str) -> Value:
    if len(values) != 2 or window or given.order or given.limit is not None or given.nulls == "RESPECT":
        raise unknown("such arguments of APPROX_QUANTILES")
    value, count = values[0], types.coerced(values[1], INT64)
    if not value.type.orderable or count is None:
        raise invalid(
            "No matching signature for function APPROX_QUANTILES "
            f"for argument types: {value.type}, {values[1].type}"
        )
    distinct = "DISTINCT " if given.distinct else ""
    sorted_ = f"list({distinct}{value.sql} ORDER BY {value.sql} ASC) FILTER (WHERE {value.sql} IS NOT NULL)"
    return Value(f"bq_quantiles({sorted_}, {count.sql})", Type("ARRAY", value.type.settled))
