"""Statements: what one is, and what is to be done for it.

https://cloud.google.com/bigquery/docs/reference/standard-sql/procedural-language
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.catalog import TableName
from airflow_ml_provider.emulator.bigquery.sql import changes, definitions, expressions, lexer, queries, types
from airflow_ml_provider.emulator.bigquery.sql.casts import cast, type_of
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node, parse
from airflow_ml_provider.emulator.bigquery.sql.scope import Context, Rows, Scope
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value


@dataclass
class Statement:
    """One statement, ready to be carried out.

    :param kind: BigQuery's ``statementType``.
    :param rows: the query in it, if it has one.
    :param target: the table that it makes, changes or drops; for schemas, ``table`` is "".
    :param replace: ``OR REPLACE``.
    :param lenient: ``IF [NOT] EXISTS``.
    :param fields: the columns of a table that is made empty.
    :param settings: of the table or dataset that is made, as in its REST resource.
    :param source: the table that is copied, cloned or taken as a pattern, and as of when.
    :param view: the query of a view, as it was written.
    :param sql: a change of ``changes.TARGET``, in DuckDB's SQL.
    :param refused: queries that must have no rows, and what is wrong if one has.
    :param variables: that are declared or set: names, types (None if they are declared already) and values.
    :param options: of ``EXPORT DATA``.
    """

    kind: str
    rows: Rows | None = None
    target: TableName | None = None
    replace: bool = False
    lenient: bool = False
    fields: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    source: tuple[TableName, float | None] | None = None
    view: str | None = None
    sql: str = ""
    refused: list[tuple[str, str]] = field(default_factory=list)
    variables: list[tuple[str, Value]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    temporary: bool = False


_CONTROL = frozenset(
    [
        "BEGIN",
        "IF",
        "LOOP",
        "WHILE",
        "REPEAT",
        "FOR",
        "CALL",
        "EXECUTE",
        "COMMIT",
        "ROLLBACK",
        "RETURN",
        "RAISE",
        "BREAK",
        "CONTINUE",
        "LEAVE",
        "ITERATE",
        "CASE",
    ]
)


def statement(text: str, raw: str, context: Context) -> Statement:
    """Translate one statement of a script.

    :param text: as :func:`lexer.statements` returns it.
    :param raw: as it was written.
    :raises ApiError: 400 ``invalidQuery`` or 404: BigQuery refuses it, or the emulator does not know it.
    """
    first = (lexer.words(text, 4) + [""] * 4)[:4]
    if first[0] in _CONTROL:
        raise unknown(f"statement {first[0]}")
    if first[0] == "DECLARE":
        return _declare(text, context)
    if first[0] == "SET":
        return _set(text, context)
    if first[0] == "ASSERT":
        return _assert(text, context)
    if first[0] == "ALTER":
        raise unknown(f"statement {' '.join(first[:2])}")
    defined = definitions.statement(text, raw, first, context)
    if defined is not None:
        return defined
    if model := lexer.namespaced(text, ("ML", "AI")):
        raise unknown(f"function {model}")
    tree = parse(text)
    if isinstance(tree, exp.Query):
        return Statement("SELECT", queries.query(tree, Scope(context)))
    if isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.TruncateTable):
        return changes.statement(tree, context)
    if isinstance(tree, exp.Export):
        return _export(tree, context)
    raise unknown(f"statement {first[0] or tree.key.upper()}")


def _export(tree: Node, context: Context) -> Statement:
    if tree.args.get("connection"):
        raise unknown("EXPORT DATA WITH CONNECTION")
    options = {}
    for each in tree.args["options"].expressions:
        name = "format" if isinstance(each, exp.FileFormatProperty) else each.name
        value = each.this if name == "format" else each.args["value"]
        options[name.lower()] = expressions.expression(value, Scope(context)).constant
    return Statement("EXPORT_DATA", queries.query(tree.this, Scope(context)), options=options)


def _declare(text: str, context: Context) -> Statement:
    """Translate ``DECLARE a, b INT64 DEFAULT 5``."""
    body = text.strip()[len("DECLARE") :]
    head, _, default = lexer.split_at(body, "DEFAULT")
    names, rest = [], head
    while True:
        before, comma, after = lexer.split_at(rest, ",")
        if not comma:
            break
        names.append(before.strip())
        rest = after
    name, _, written = rest.strip().partition(" ")
    names.append(name)
    kind = type_of(parse(f"SELECT CAST(NULL AS {written})").expressions[0].to) if written.strip() else None
    value = (
        expressions.expression(_expression(default), Scope(context)) if default else Value("NULL", types.NULL)
    )
    if kind is not None:
        value = _assigned(names[0], value, kind)
    elif not default:
        raise invalid(f"Syntax error: the variable {names[0]} has neither a type nor a default")
    for each in names:
        if each.lower() in context.variables:
            raise invalid(f"Variable '{each}' redeclaration is not allowed")
    return Statement("SCRIPT", variables=[(each.strip("`"), value) for each in names])


def _set(text: str, context: Context) -> Statement:
    """Translate ``SET a = 5`` and ``SET (a, b) = (1, 2)``."""
    left, sign, right = lexer.split_at(text.strip()[len("SET") :], "=")
    if not sign:
        raise invalid("Syntax error: SET needs a name and a value")
    names = [each.strip().strip("`") for each in left.strip().strip("()").split(",")]
    tree = _expression(right)
    if len(names) == 1:
        values = [expressions.expression(tree, Scope(context))]
    elif isinstance(tree, exp.Tuple) and len(tree.expressions) == len(names):
        values = [expressions.expression(each, Scope(context)) for each in tree.expressions]
    else:
        whole = expressions.expression(tree, Scope(context))
        fields = types.named(whole.type.fields)
        if len(fields) != len(names):
            raise invalid("SET with several variables needs a STRUCT with as many fields")
        values = [expressions.field_of(whole, field_name) for field_name, _ in fields]
    variables = []
    for name, value in zip(names, values, strict=True):
        known = context.variables.get(name.lower())
        if known is None:
            raise invalid(f"Undeclared variable: {name}")
        variables.append((name, _assigned(name, value, known.type)))
    return Statement("SCRIPT", variables=variables)


def _assigned(name: str, value: Value, kind: Type) -> Value:
    made = types.coerced(value, kind)
    if made is None and value.literal:
        made = cast(value, kind)
    if made is None:
        raise invalid(f"Cannot coerce expression of type {value.type} to type {kind} of variable {name}")
    return made


def _assert(text: str, context: Context) -> Statement:
    body, _, label = lexer.split_at(text.strip()[len("ASSERT") :], "AS")
    test = expressions.condition(_expression(body), Scope(context), "ASSERT")
    message = (
        expressions.expression(_expression(label), Scope(context)).constant
        if label.strip()
        else "Assertion failed"
    )
    return Statement("ASSERT", refused=[(f"SELECT 1 WHERE {test.sql} IS NOT TRUE", str(message))])


def _expression(text: str) -> Node:
    """Parse an expression that stands alone."""
    expressions_ = parse(f"SELECT {text}").expressions
    if len(expressions_) != 1:
        raise invalid(f"Syntax error: {text.strip()}")
    return expressions_[0]
