"""Query parameters and other values that come from outside the query's text.

https://cloud.google.com/bigquery/docs/parameterized-queries
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.python.json import parse_json
from airflow_ml_provider.emulator.bigquery.sql import types
from airflow_ml_provider.emulator.bigquery.sql.casts import cast
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.lexer import POSITIONAL
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Context, struct
from airflow_ml_provider.emulator.bigquery.sql.types import JSON, STRING, Type, Value


def parameter(node: Node, context: Context) -> Value:
    """Return the value of ``@name`` or of a positional parameter.

    :raises ApiError: 400 ``invalidQuery``: it was not given.
    """
    if isinstance(node.this, exp.Parameter):
        raise unknown(f"system variable @@{node.this.name}")
    name = node.name.lower()
    if name.startswith(POSITIONAL):
        position = int(name.removeprefix(POSITIONAL))
        if position >= len(context.parameters):
            raise invalid(f"Query parameter number {position + 1} is missing")
        given = context.parameters[position]
    else:
        found = [each for each in context.parameters if each.get("name", "").lower() == name]
        if not found:
            raise invalid(f"Query parameter '{node.name}' not found")
        given = found[0]
    return _value(_type(given["parameterType"]), given.get("parameterValue", {}))


def _type(given: Mapping[str, Any]) -> Type:
    kind = str(given["type"]).upper()
    if kind == "ARRAY":
        return Type("ARRAY", _type(given["arrayType"]))
    if kind in ("STRUCT", "RECORD"):
        fields = ((each.get("name", ""), _type(each["type"])) for each in given["structTypes"])
        return Type("STRUCT", fields=tuple(fields))
    return types.type_named(kind)


def _value(kind: Type, given: Mapping[str, Any]) -> Value:
    if kind.element is not None:
        items = [_value(kind.element, item) for item in given.get("arrayValues", [])]
        return Value(f"CAST([{', '.join(i.sql for i in items)}] AS {kind.duckdb})", kind, literal=True)
    if kind.kind == "STRUCT":
        values = given.get("structValues", {})
        fields = [_value(each, values.get(name, {})) for name, each in kind.fields]
        named = [
            Value(v.sql, v.type, literal=True, name=n) for v, (n, _) in zip(fields, kind.fields, strict=True)
        ]
        return struct(named)
    written = given.get("value")
    if written is None:
        return Value(f"CAST(NULL AS {kind.duckdb})", kind, literal=True)
    return scalar(kind, str(written))


def scalar(kind: Type, written: str) -> Value:
    """Return a value that is written as text.

    :raises ApiError: 400 ``invalidQuery``: the text is none of the type's values.
    """
    from airflow_ml_provider.emulator.bigquery.sql.expressions import number

    if kind == STRING:
        return Value(types.text(written), STRING, literal=True, constant=written)
    if kind == JSON:
        return json_literal(written)
    if kind == types.INT64:
        return number(written)
    if kind == types.BYTES:
        return Value(f"bq_from_base64({types.text(written)})", kind, literal=True)
    value = cast(Value(types.text(written), STRING, literal=True, constant=written), kind)
    return Value(value.sql, kind, literal=True, constant=value.constant)


def json_literal(written: str) -> Value:
    """Return a JSON literal.

    :raises ApiError: 400 ``invalidQuery``: it is no JSON.
    """
    try:
        return Value(types.text(parse_json(written)), JSON, literal=True)
    except ValueError as error:
        raise invalid(f"Invalid JSON literal: {error}") from None
