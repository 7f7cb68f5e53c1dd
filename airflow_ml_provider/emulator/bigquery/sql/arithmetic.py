"""``+ - * /`` and the operators on bits and strings.

https://cloud.google.com/bigquery/docs/reference/standard-sql/operators#arithmetic_operators
"""

from __future__ import annotations

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import dateparts, expressions, types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope
from airflow_ml_provider.emulator.bigquery.sql.types import DATE, FLOAT64, INT64, NUMERIC, Type, Value

_SIGNS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}
_BITS = {"BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "xor"}
_SHIFTS = {"BitwiseLeftShift": "bq_shift_left", "BitwiseRightShift": "bq_shift_right"}
OPERATORS = frozenset({*_SIGNS, *_BITS, *_SHIFTS, "Neg", "BitwiseNot", "DPipe"})


def arithmetic(node: Node, scope: Scope) -> Value:
    """Translate one of :data:`OPERATORS`.

    :raises ApiError: 400 ``invalidQuery``: it does not take such operands.
    """
    name = type(node).__name__
    if name in _SIGNS:
        leaves: list[Value] = []
        value = _sum(node, scope, leaves)
        return _checked(value, leaves)
    if name == "Neg":
        return _negative(node, scope)
    if name == "DPipe":
        return _joined(
            expressions.expression(node.this, scope), expressions.expression(node.expression, scope)
        )
    if name == "BitwiseNot":
        return Value(f"(~{_integer(node.this, scope, '~').sql})", INT64)
    left, right = _integer(node.this, scope, name), _integer(node.expression, scope, name)
    if name in _SHIFTS:
        return Value(f"{_SHIFTS[name]}({left.sql}, {right.sql})", INT64)
    if name == "BitwiseXor":
        return Value(f"xor({left.sql}, {right.sql})", INT64)
    return Value(f"({left.sql} {_BITS[name]} {right.sql})", INT64)


def _integer(node: Node, scope: Scope, operator: str) -> Value:
    value = expressions.expression(node, scope)
    made = types.coerced(value, INT64)
    if made is None:
        raise invalid(f"No matching signature for operator {operator} for argument type: {value.type}")
    return made


def _sum(node: Node, scope: Scope, leaves: list[Value]) -> Value:
    """Translate a chain of ``+ - * /``, and note the values that it begins with."""
    while isinstance(node, exp.Paren):
        node = node.this
    name = type(node).__name__
    if name not in _SIGNS:
        value = expressions.expression(node, scope)
        leaves.append(value)
        return value
    intervals = [side for side in (node.this, node.expression) if isinstance(side, exp.Interval)]
    if intervals:
        other = node.expression if intervals[0] is node.this else node.this
        value = dateparts.moved(
            expressions.expression(other, scope), intervals[0], scope, minus=name == "Sub"
        )
        leaves.append(value)
        return value
    return _operated(_SIGNS[name], _sum(node.this, scope, leaves), _sum(node.expression, scope, leaves))


def _operated(sign: str, left: Value, right: Value) -> Value:
    if DATE in (left.type, right.type) and sign in "+-":
        return _days(sign, left, right)
    kinds = [value.type for value in (left, right) if not value.null]
    common = types.supertype([left, right])
    if common is None or any(kind not in (INT64, NUMERIC, FLOAT64) for kind in kinds):
        raise invalid(
            f"No matching signature for operator {sign} for argument types: {left.type}, {right.type}"
        )
    if common.kind == "NULL":
        common = INT64
    if sign == "/" and common == INT64:
        common = FLOAT64
    a, b = types.coerced(left, common), types.coerced(right, common)
    assert a is not None
    assert b is not None
    if common == NUMERIC and sign in "*/":
        name = "bq_multiply_numeric" if sign == "*" else "bq_divide_numeric"
        return Value(f"{name}({a.sql}, {b.sql})", NUMERIC)
    if sign == "/" and not (b.literal and isinstance(b.constant, int | float) and b.constant != 0):
        failure = "CAST(bq_raise('division by zero') AS DOUBLE)"
        return Value(f"(CASE WHEN {b.sql} = 0 THEN {failure} ELSE {a.sql} / {b.sql} END)", common)
    return Value(f"({a.sql} {sign} {b.sql})", common)


def _days(sign: str, left: Value, right: Value) -> Value:
    if left.type == DATE and right.type == DATE:
        raise unknown("the difference of two DATE values as an INTERVAL: use DATE_DIFF")
    if left.type == DATE and right.type == INT64:
        return Value(f"({left.sql} {sign} CAST({right.sql} AS INTEGER))", DATE)
    if right.type == DATE and left.type == INT64 and sign == "+":
        return Value(f"({right.sql} + CAST({left.sql} AS INTEGER))", DATE)
    raise invalid(f"No matching signature for operator {sign} for argument types: {left.type}, {right.type}")


def _checked(value: Value, leaves: list[Value]) -> Value:
    """Fail where finite numbers give one that is not: BigQuery's FLOAT64 does not overflow silently."""
    if value.type != FLOAT64:
        return value
    finite = [f"isfinite({leaf.sql})" for leaf in leaves if leaf.type == FLOAT64 and not leaf.literal]
    test = " AND ".join([f"NOT isfinite({value.sql})", *finite])
    failure = "CAST(bq_raise('Floating point error: overflow') AS DOUBLE)"
    return Value(f"(CASE WHEN {test} THEN {failure} ELSE {value.sql} END)", FLOAT64)


def _negative(node: Node, scope: Scope) -> Value:
    inner = node.this
    if isinstance(inner, exp.Literal) and not inner.is_string:
        return expressions.number(f"-{inner.this}")
    value = expressions.expression(inner, scope)
    if value.null:
        return Value("CAST(NULL AS BIGINT)", INT64)
    if value.type not in (INT64, NUMERIC, FLOAT64):
        raise invalid(f"No matching signature for operator - for argument type: {value.type}")
    return Value(f"(-{value.sql})", value.type)


def _joined(left: Value, right: Value) -> Value:
    (a, b), kind = types.unified([left, right], "operator ||")
    if kind.element is not None:
        return array_concat([a, b], kind)
    if kind.kind == "NULL":
        kind = types.STRING
    if kind.kind not in ("STRING", "BYTES"):
        raise invalid(f"No matching signature for operator || for argument types: {left.type}, {right.type}")
    return Value(f"({a.sql} || {b.sql})", kind)


def array_concat(arrays: list[Value], kind: Type) -> Value:
    """Concatenate arrays; NULL if one is NULL."""
    nulls = " OR ".join(f"{array.sql} IS NULL" for array in arrays)
    joined = f"list_concat({', '.join(array.sql for array in arrays)})"
    return Value(f"(CASE WHEN {nulls} THEN NULL ELSE {joined} END)", kind)
