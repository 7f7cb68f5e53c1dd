"""Analytic functions: numbering, navigation, percentiles, and the windows that they and aggregates look at.

https://cloud.google.com/bigquery/docs/reference/standard-sql/window-function-calls
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import aggregates, expressions
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope
from airflow_ml_provider.emulator.bigquery.sql.signatures import choose, table
from airflow_ml_provider.emulator.bigquery.sql.types import INT64, Value, coerced

_SIGNATURES = table(
    """
ROW_NUMBER() INT64 = row_number(){w}
RANK() INT64 = rank(){w}
DENSE_RANK() INT64 = dense_rank(){w}
PERCENT_RANK() FLOAT64 = percent_rank(){w}
CUME_DIST() FLOAT64 = cume_dist(){w}
NTILE(INT64) INT64 = ntile({0}){w}
LAG(T) T = lag({0}){w}
LAG(T, INT64) T = lag({0}, {1}){w}
LAG(T, INT64, T) T = lag({0}, {1}, {2}){w}
LEAD(T) T = lead({0}){w}
LEAD(T, INT64) T = lead({0}, {1}){w}
LEAD(T, INT64, T) T = lead({0}, {1}, {2}){w}
FIRST_VALUE(T) T = first_value({0}{n}){w}
LAST_VALUE(T) T = last_value({0}{n}){w}
NTH_VALUE(T, INT64) T = nth_value({0}, {1}{n}){w}
PERCENTILE_CONT(FLOAT64, FLOAT64) FLOAT64 = quantile_cont({0}, {1}){w}
PERCENTILE_CONT(NUMERIC, NUMERIC) NUMERIC = !
PERCENTILE_DISC(O, FLOAT64) O = quantile_disc({0}, {1}){w}
"""
)
ONLY = frozenset(_SIGNATURES)
_ORDERED = ("RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD")
_FRAMED = ("FIRST_VALUE", "LAST_VALUE", "NTH_VALUE")


def analytic(node: Node, scope: Scope) -> Value:
    """Translate a call with an OVER clause.

    :raises ApiError: 400 ``invalidQuery``: the function is no analytic one, or takes no such window.
    """
    function, nulls = node.this, ""
    if isinstance(function, exp.IgnoreNulls | exp.RespectNulls):
        nulls = "IGNORE" if isinstance(function, exp.IgnoreNulls) else "RESPECT"
        function = function.this
    if not isinstance(function, exp.Anonymous):
        raise unknown(node.sql("bigquery")[:80])
    name = function.name.upper()
    # An analytic function sees the rows first, then the SELECT list.
    inside = replace(scope, aliases={}, ambiguous=set(), fallback=scope.aliases)
    if name in aggregates.NAMES and name not in ("GROUPING", "APPROX_QUANTILES", "ARRAY_CONCAT_AGG"):
        return aggregates.aggregate(function, inside, _over(node, inside))
    if name not in _SIGNATURES:
        raise invalid(f"Function {function.name} does not support an OVER clause")
    given = aggregates.arguments(function)
    nulls = nulls or given.nulls
    if given.distinct or given.order or given.limit is not None or given.having is not None:
        raise invalid(f"{name} takes no DISTINCT, ORDER BY, LIMIT or HAVING")
    values = [expressions.expression(each, inside) for each in given.nodes]
    parts = _parts(node, inside)
    if name in _ORDERED and not parts["order"]:
        raise invalid(f"Window ORDER BY is required for analytic function {name}")
    percentile = name.startswith("PERCENTILE")
    if parts["spec"] is not None and name not in _FRAMED:
        raise invalid(f"Window framing clause is not allowed for analytic function {name}")
    if percentile and (parts["order"] or nulls == "RESPECT"):
        raise unknown(f"{name} with ORDER BY or RESPECT NULLS")
    if nulls and not (percentile or name in _FRAMED):
        raise invalid(f"{nulls} NULLS is not allowed for analytic function {name}")
    if (
        name in ("LAG", "LEAD")
        and len(values) > 1
        and isinstance(values[1].constant, int)
        and values[1].constant < 0
    ):
        raise invalid(f"The second argument of {name} must not be negative")
    chosen = choose(_SIGNATURES[name], values)
    if chosen.signature.template == "!":
        raise unknown(f"function {chosen.signature}")
    ignore = " IGNORE NULLS" if nulls == "IGNORE" and not percentile else ""
    return Value(chosen.fill(w=f" {_over(node, inside)}", n=ignore), chosen.returns)


def _parts(node: Node, scope: Scope) -> dict[str, Any]:
    """Return a window's PARTITION BY, ORDER BY and frame, some of which a named window may hold."""
    parts: dict[str, Any] = {"partition": [], "order": [], "spec": None}
    base = node.args.get("alias")
    if base is not None:
        named = scope.windows.get(base.name.lower())
        if named is None:
            raise invalid(f"Unrecognized window alias {base.name}")
        parts = _parts(named, scope)
    order = node.args.get("order")
    return {
        "partition": node.args.get("partition_by") or parts["partition"],
        "order": order.expressions if order is not None else parts["order"],
        "spec": node.args.get("spec") or parts["spec"],
    }


def _over(node: Node, scope: Scope) -> str:
    parts = _parts(node, scope)
    clauses = []
    if parts["partition"]:
        keys = [expressions.expression(each, scope) for each in parts["partition"]]
        for key in keys:
            if key.type.kind in ("FLOAT64", "ARRAY", "STRUCT", "JSON"):
                raise invalid(f"Partitioning by expressions of type {key.type} is not allowed")
        clauses.append(f"PARTITION BY {', '.join(key.sql for key in keys)}")
    spec = parts["spec"]
    numeric = (
        spec is not None
        and spec.args.get("kind") == "RANGE"
        and any(not isinstance(spec.args.get(side), str | None) for side in ("start", "end"))
    )
    if parts["order"]:
        values = [(expressions.expression(each.this, scope), each) for each in parts["order"]]
        terms = ", ".join(aggregates.ordered(value, each, plain=numeric) for value, each in values)
        clauses.append(f"ORDER BY {terms}")
    if spec is not None:
        clauses.append(_frame(spec, scope))
    return f"OVER ({' '.join(clauses)})"


def _frame(spec: Node, scope: Scope) -> str:
    if spec.args.get("exclude"):
        raise unknown("EXCLUDE in a window frame")
    start = _bound(spec, "start", scope)
    end = _bound(spec, "end", scope) if spec.args.get("end") is not None else "CURRENT ROW"
    return f"{spec.args['kind']} BETWEEN {start} AND {end}"


def _bound(spec: Node, side: str, scope: Scope) -> str:
    bound = spec.args[side]
    if isinstance(bound, str):
        if bound == "CURRENT ROW":
            return bound
        return f"{bound} {spec.args[f'{side}_side']}"
    value = expressions.expression(bound, scope)
    if spec.args["kind"] == "ROWS":
        value = coerced(value, INT64) or value
    return f"{value.sql} {spec.args[f'{side}_side']}"
