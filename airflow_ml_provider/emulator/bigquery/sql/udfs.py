"""Temporary functions in SQL: their bodies are put where they are called.

https://cloud.google.com/bigquery/docs/user-defined-functions
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from airflow_ml_provider.emulator.bigquery.sql import expressions, types
from airflow_ml_provider.emulator.bigquery.sql.casts import cast
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value


@dataclass(frozen=True)
class SqlFunction:
    """A function of a script.

    :param parameters: their names and types; None stands for ANY TYPE.
    :param returns: None for the body's type.
    """

    name: str
    parameters: tuple[tuple[str, Type | None], ...]
    returns: Type | None
    body: Node


def call(node: Node, scope: Scope) -> Value:
    """Translate a call of a function that the script made.

    :raises ApiError: 400 ``invalidQuery``: other arguments than it takes, or its body is wrong.
    """
    function: SqlFunction = scope.context.functions[node.name.lower()]
    if len(node.expressions) != len(function.parameters):
        raise invalid(f"Number of arguments does not match for function {function.name}")
    inside: dict[str, Value] = {}
    for each, (name, kind) in zip(node.expressions, function.parameters, strict=True):
        value = expressions.expression(each, scope)
        made = value if kind is None else types.coerced(value, kind)
        if made is None:
            raise invalid(
                f"No matching signature for function {function.name} for argument type: {value.type}"
            )
        inside[name.lower()] = replace(made, literal=False, constant=None, name=name)
    body = expressions.expression(function.body, Scope(scope.context, aliases=inside))
    if function.returns is None:
        return body
    made = types.coerced(body, function.returns)
    if made is None and not body.literal:
        raise invalid(
            f"Function {function.name} declared to return {function.returns} but its body returns {body.type}"
        )
    return made or cast(body, function.returns)
