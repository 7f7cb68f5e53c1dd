"""Comparing values: NaN is no number, not even itself; a STRUCT is compared by its fields."""

from __future__ import annotations

from airflow_ml_provider.emulator.bigquery.sql import types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.types import BOOL, Value


def equal(left: Value, right: Value) -> Value:
    """Compare with ``=``."""
    return compared("=", left, right)


def compared(operator: str, left: Value, right: Value) -> Value:
    """Compare two values.

    :param operator: ``=``, ``<>``, ``<``, ``<=``, ``>`` or ``>=``.
    :raises ApiError: 400 ``invalidQuery``: values of such types are not compared.
    """
    (a, b), kind = types.unified([left, right], f"operator {'!=' if operator == '<>' else operator}")
    if kind.kind in ("ARRAY", "JSON") or (kind.kind == "STRUCT" and operator not in ("=", "<>")):
        raise invalid(f"{operator} is not defined for arguments of type {kind}")
    if kind.kind == "STRUCT":
        return _structs(operator, a, b)
    if kind.kind != "FLOAT64":
        return Value(f"({a.sql} {operator} {b.sql})", BOOL)
    # DuckDB puts NaN above all numbers and says that it equals itself.
    plain = f"{a.sql} {operator} {b.sql}"
    checks = [(one, other) for one, other in ((a, b), (b, a)) if not _number(one)]
    if operator == "<>":
        # Only where both are NaN does DuckDB find them equal.
        if len(checks) < 2:
            return Value(f"({plain})", BOOL)
        return Value(f"({plain} OR (isnan({a.sql}) AND {b.sql} IS NOT NULL))", BOOL)
    guard = "".join(f" AND (NOT isnan({one.sql}) OR {other.sql} IS NULL)" for one, other in checks)
    return Value(f"({plain}{guard})", BOOL)


def _number(value: Value) -> bool:
    """Return whether a value is surely not NaN."""
    return value.literal and isinstance(value.constant, int | float) and value.constant == value.constant


def _structs(operator: str, a: Value, b: Value) -> Value:
    parts = []
    for name, kind in types.named(a.type.fields):
        one, other = (Value(f"({each.sql}).{types.quoted(name)}", kind) for each in (a, b))
        if kind.kind in ("ARRAY", "JSON"):
            raise unknown(f"comparing {a.type}")
        parts.append(compared("=", one, other).sql)
    same = f"({' AND '.join(parts)})" if parts else "true"
    return Value(same if operator == "=" else f"(NOT {same})", BOOL)
