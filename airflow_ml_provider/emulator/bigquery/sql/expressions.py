"""Expressions: names, operators, literals, and what has a syntax of its own.

https://cloud.google.com/bigquery/docs/reference/standard-sql/operators
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import arithmetic, calls, parameters, queries, types
from airflow_ml_provider.emulator.bigquery.sql.casts import cast, type_of
from airflow_ml_provider.emulator.bigquery.sql.comparisons import compared, equal
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope, struct
from airflow_ml_provider.emulator.bigquery.sql.types import BOOL, INT64, JSON, NULL, STRING, Type, Value

_COMPARISONS = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}


def expression(node: Node, scope: Scope) -> Value:
    """Translate an expression.

    :raises ApiError: 400 ``invalidQuery``: BigQuery refuses it, or the emulator does not know it.
    """
    name = type(node).__name__
    if name in arithmetic.OPERATORS:
        return arithmetic.arithmetic(node, scope)
    if name in _COMPARISONS:
        return compared(_COMPARISONS[name], expression(node.this, scope), expression(node.expression, scope))
    handler = _HANDLERS.get(name)
    if handler is None:
        raise unknown(node.sql("bigquery")[:80] or name)
    return handler(node, scope)


def condition(node: Node, scope: Scope, what: str) -> Value:
    """Translate an expression that must be a BOOL.

    :param what: needs it, for the error.
    :raises ApiError: 400 ``invalidQuery``: it is none.
    """
    value = expression(node, scope)
    made = types.coerced(value, BOOL)
    if made is None:
        raise invalid(f"{what} should return type BOOL, but returns {value.type}")
    return made


def field_of(value: Value, name: str) -> Value:
    """Return a field of a STRUCT, or a member of a JSON object.

    :raises ApiError: 400 ``invalidQuery``: it has none of that name.
    """
    if value.type == JSON:
        return Value(f"bq_json_field({value.sql}, {types.text(name)})", JSON, name=name)
    for known, kind in types.named(value.type.fields):
        if known.lower() == name.lower():
            return Value(f"({value.sql}).{types.quoted(known)}", kind, name=known)
    if value.type.kind != "STRUCT":
        raise invalid(f"Cannot access field {name} on a value with type {value.type}")
    raise invalid(f"Field name {name} does not exist in {value.type}")


def _column(node: Node, scope: Scope) -> Value:
    if isinstance(node.this, exp.Star):
        raise invalid("Argument * can only be used in COUNT(*) and in the SELECT list")
    path: list[str] = []
    for part in node.parts:
        path += (
            part.name.split(".") if part.args.get("quoted") and not path and "." in part.name else [part.name]
        )
    value, used = scope.resolve(path)
    for name in path[used:]:
        value = field_of(value, name)
    return replace(value, name=path[-1])


def _dot(node: Node, scope: Scope) -> Value:
    if isinstance(node.expression, exp.Anonymous | exp.Func):
        raise calls.no_function(node.sql("bigquery").partition("(")[0])
    return field_of(expression(node.this, scope), node.expression.name)


def _literal(node: Node, scope: Scope) -> Value:
    if node.is_string:
        return Value(types.text(node.this), STRING, literal=True, constant=node.this)
    return number(node.this)


def number(written: str) -> Value:
    """Return a number that stands in a query.

    :raises ApiError: 400 ``invalidQuery``: it is too large.
    """
    try:
        value = int(written)
    except ValueError:
        exact = float(written)
        return Value(f"CAST('{exact!r}' AS DOUBLE)", types.FLOAT64, literal=True, constant=exact)
    if not -(1 << 63) <= value < 1 << 63:
        raise invalid(f"Invalid integer literal: {written}")
    return Value(f"CAST({value} AS BIGINT)", INT64, literal=True, constant=value)


def _hexadecimal(node: Node, scope: Scope) -> Value:
    return number(str(int(node.this, 16)))


def _paren(node: Node, scope: Scope) -> Value:
    value = expression(node.this, scope)
    return replace(value, sql=f"({value.sql})", name="")


def _not(node: Node, scope: Scope) -> Value:
    return Value(f"(NOT {condition(node.this, scope, 'NOT').sql})", BOOL)


def _logical(node: Node, scope: Scope) -> Value:
    """AND and OR: long chains are trees that are as deep as they are long, so not by recursion."""
    kind, word = type(node), "AND" if isinstance(node, exp.And) else "OR"
    operands: list[Node] = []
    left = node
    while isinstance(left, kind):
        operands.append(left.expression)
        left = left.this
    operands.append(left)
    parts = [condition(each, scope, f"Operand of {word}").sql for each in reversed(operands)]
    return Value(f"({f' {word} '.join(parts)})", BOOL)


def _is(node: Node, scope: Scope) -> Value:
    if isinstance(node.expression, exp.Null):
        return Value(f"({expression(node.this, scope).sql} IS NULL)", BOOL)
    if isinstance(node.expression, exp.Boolean):
        wanted = "true" if node.expression.this else "false"
        value = condition(node.this, scope, "IS")
        return Value(f"({value.sql} IS NOT DISTINCT FROM {wanted})", BOOL)
    raise unknown(node.sql("bigquery")[:80])


def _distinct_from(node: Node, scope: Scope) -> Value:
    word = "IS DISTINCT FROM" if isinstance(node, exp.NullSafeNEQ) else "IS NOT DISTINCT FROM"
    pair = [expression(node.this, scope), expression(node.expression, scope)]
    (left, right), kind = types.unified(pair, f"operator {word}")
    if kind.kind in ("ARRAY", "STRUCT", "JSON"):
        raise unknown(f"{word} of {kind}")
    return Value(f"({left.sql} {word} {right.sql})", BOOL)


def _between(node: Node, scope: Scope) -> Value:
    value = expression(node.this, scope)
    low, high = expression(node.args["low"], scope), expression(node.args["high"], scope)
    return Value(f"({compared('>=', value, low).sql} AND {compared('<=', value, high).sql})", BOOL)


def _in(node: Node, scope: Scope) -> Value:
    if node.args.get("query") is not None:
        return _in_query(expression(node.this, scope), node.args["query"].this, scope)
    if node.args.get("unnest") is not None:
        array = expression(node.args["unnest"].expressions[0], scope)
        value = expression(node.this, scope)
        if array.null:
            return Value("false", BOOL)
        if array.type.element is None:
            raise invalid("Second argument of IN UNNEST must be an array")
        item = Value("e", array.type.element, literal=array.literal)
        common = types.supertype([value, item])
        if common is None or (left := types.coerced(value, common)) is None:
            raise invalid(f"No matching signature for operator IN UNNEST for {value.type}, {array.type}")
        if common.kind in ("ARRAY", "STRUCT", "JSON"):
            raise unknown(f"IN UNNEST of {array.type}")
        right = types.coerced(array, Type("ARRAY", common)) or cast(array, Type("ARRAY", common))
        return Value(f"({left.sql} IN (SELECT unnest({right.sql})))", BOOL)
    tests = []
    for item in node.expressions:
        if isinstance(node.this, exp.Tuple) and isinstance(item, exp.Tuple):
            pairs = zip(node.this.expressions, item.expressions, strict=True)
            each = [equal(expression(a, scope), expression(b, scope)).sql for a, b in pairs]
            tests.append(f"({' AND '.join(each)})")
    if tests:
        return Value(f"({' OR '.join(tests)})", BOOL)
    values = [expression(node.this, scope), *(expression(item, scope) for item in node.expressions)]
    (first, *rest), kind = types.unified(values, "operator IN")
    if kind.kind in ("FLOAT64", "STRUCT"):
        return Value(f"({' OR '.join(equal(first, each).sql for each in rest)})", BOOL)
    return Value(f"({first.sql} IN ({', '.join(each.sql for each in rest)}))", BOOL)


def _in_query(value: Value, query: Node, scope: Scope) -> Value:
    rows = queries.query(query, scope.inner())
    if len(rows.columns) != 1:
        raise invalid("Subquery of type IN must have only one output column")
    item = Value("c0", rows.columns[0][1])
    (left, right), kind = types.unified([value, item], "operator IN")
    if kind.kind in ("ARRAY", "STRUCT", "JSON"):
        raise unknown(f"IN of a subquery of {kind}")
    return Value(f"({left.sql} IN (SELECT {right.sql} FROM ({rows.sql})))", BOOL)


def _like(node: Node, scope: Scope) -> Value:
    value = expression(node.this, scope)
    quantified = node.expression
    if isinstance(quantified, exp.Any | exp.All):
        inner = quantified.this
        patterns = inner.expressions if isinstance(inner, exp.Tuple) else [getattr(inner, "this", inner)]
        if any(isinstance(each, exp.Query | exp.Unnest) for each in patterns):
            raise unknown(node.sql("bigquery")[:80])
        word = " OR " if isinstance(quantified, exp.Any) else " AND "
        return Value(f"({word.join(_liked(value, expression(each, scope)) for each in patterns)})", BOOL)
    return Value(_liked(value, expression(quantified, scope)), BOOL)


def _liked(value: Value, pattern: Value) -> str:
    pair = [types.coerced(each, STRING) for each in (value, pattern)]
    if pair[0] is None or pair[1] is None:
        raise invalid(
            f"No matching signature for operator LIKE for argument types: {value.type}, {pattern.type}"
        )
    return f"({pair[0].sql} LIKE {pair[1].sql} ESCAPE '\\')"


def _case(node: Node, scope: Scope) -> Value:
    subject = expression(node.this, scope) if node.this is not None else None
    tests, results = [], []
    for each in node.args["ifs"]:
        if subject is None:
            tests.append(condition(each.this, scope, "CASE WHEN").sql)
        else:
            tests.append(equal(subject, expression(each.this, scope)).sql)
        results.append(expression(each.args["true"], scope))
    default = node.args.get("default")
    results.append(expression(default, scope) if default is not None else Value("NULL", NULL))
    return chosen(tests, results, "CASE")


def chosen(tests: Sequence[str], results: Sequence[Value], what: str) -> Value:
    """Return the first of some values whose test is true, else the last."""
    values, kind = types.unified(results, what)
    parts = [f"WHEN {test} THEN {value.sql}" for test, value in zip(tests, values[:-1], strict=True)]
    return Value(f"(CASE {' '.join(parts)} ELSE {values[-1].sql} END)", kind)


def _if(node: Node, scope: Scope) -> Value:
    test = condition(node.this, scope, "First argument of IF")
    other = node.args.get("false")
    results = [
        expression(node.args["true"], scope),
        expression(other, scope) if other else Value("NULL", NULL),
    ]
    return chosen([test.sql], results, "function IF")


def _cast(node: Node, scope: Scope) -> Value:
    if node.args.get("format") is not None:
        raise unknown("CAST … FORMAT")
    target = type_of(node.to)
    inner = node.this
    if isinstance(inner, exp.Struct):
        value = struct([replace(expression(e, scope), name="") for e in inner.expressions])
    else:
        value = expression(inner, scope)
    if target == JSON:
        if not isinstance(inner, exp.Literal):
            raise invalid(f"Invalid cast from {value.type} to JSON")
        return parameters.json_literal(inner.this)
    return replace(cast(value, target, safe=isinstance(node, exp.TryCast)), name="")


def _array(node: Node, scope: Scope) -> Value:
    if len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Query):
        rows = queries.query(node.expressions[0], scope.inner())
        if len(rows.columns) != 1:
            raise invalid("ARRAY subquery cannot have more than one column unless using SELECT AS STRUCT")
        return Value(f"ARRAY({rows.sql})", Type("ARRAY", rows.columns[0][1].settled))
    items = [expression(item, scope) for item in node.expressions]
    if not items:
        return Value("CAST([] AS BIGINT[])", Type("ARRAY", NULL), literal=True)
    values, kind = types.unified(items, "array literal")
    if kind.element is not None:
        raise invalid(
            f"Cannot construct array with element type {kind} because nested arrays are not supported"
        )
    sql = f"[{', '.join(value.sql for value in values)}]"
    return Value(sql, Type("ARRAY", kind.settled), literal=all(item.literal for item in items))


def _tuple(node: Node, scope: Scope) -> Value:
    return struct([replace(expression(item, scope), name="") for item in node.expressions])


def _bracket(node: Node, scope: Scope) -> Value:
    value = expression(node.this, scope)
    if len(node.expressions) != 1:
        raise unknown(node.sql("bigquery")[:80])
    index = expression(node.expressions[0], scope)
    if value.type == JSON:
        if index.type == STRING:
            return Value(f"bq_json_field({value.sql}, {index.sql})", JSON)
        return Value(f"bq_json_element({value.sql}, {index.sql})", JSON)
    if value.type.element is None:
        raise invalid(f"Element access using [] is not supported on values of type {value.type}")
    place = types.coerced(index, INT64)
    if place is None:
        raise invalid(f"Array position in [] must be coercible to INT64 type, but has type {index.type}")
    offset = f"({place.sql} - 1)" if node.args.get("offset") == 1 else place.sql
    found = f"{value.sql}[{offset} + 1]"
    if node.args.get("safe"):
        return Value(f"(CASE WHEN {offset} >= 0 THEN {found} END)", value.type.element)
    outside = f"{offset} < 0 OR {offset} >= len({value.sql})"
    failure = f"CAST(bq_raise('Array index ' || {place.sql} || ' is out of bounds') AS BIGINT)"
    return Value(
        f"({value.sql})[CASE WHEN {outside} THEN {failure} ELSE {offset} + 1 END]", value.type.element
    )


def _subquery(node: Node, scope: Scope) -> Value:
    rows = queries.query(node.this if isinstance(node, exp.Subquery) else node, scope.inner())
    if len(rows.columns) != 1:
        raise invalid(
            "Scalar subquery cannot have more than one column "
            "unless using SELECT AS STRUCT to build STRUCT values"
        )
    return Value(f"({rows.sql})", rows.columns[0][1].settled)


def _exists(node: Node, scope: Scope) -> Value:
    inner = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    return Value(f"EXISTS ({queries.query(inner, scope.inner()).sql})", BOOL)


def _boolean(node: Node, scope: Scope) -> Value:
    return Value("true" if node.this else "false", BOOL, literal=True, constant=bool(node.this))


def _json(node: Node, scope: Scope) -> Value:
    """Translate ``JSON '…'``, below which the parser puts what follows it: ``JSON '…'.a[0]``."""
    inner = node.this
    if isinstance(inner, exp.Literal):
        return parameters.json_literal(inner.this)
    first = inner
    while isinstance(first, exp.Dot | exp.Bracket):
        first = first.this
    if not isinstance(first, exp.Literal):
        raise unknown(node.sql("bigquery")[:80])
    first.replace(exp.ParseJSON(this=first.copy()))
    return expression(inner, scope)


def _window(node: Node, scope: Scope) -> Value:
    from airflow_ml_provider.emulator.bigquery.sql import windows

    return windows.analytic(node, scope)


_HANDLERS: dict[str, Callable[[Node, Scope], Value]] = {
    "Column": _column,
    "Dot": _dot,
    "Literal": _literal,
    "HexString": _hexadecimal,
    "Null": lambda node, scope: Value("NULL", NULL, literal=True),
    "Boolean": _boolean,
    "Paren": _paren,
    "Not": _not,
    "And": _logical,
    "Or": _logical,
    "Is": _is,
    "NullSafeEQ": _distinct_from,
    "NullSafeNEQ": _distinct_from,
    "Between": _between,
    "In": _in,
    "Like": _like,
    "Case": _case,
    "If": _if,
    "Cast": _cast,
    "TryCast": _cast,
    "Array": _array,
    "Tuple": _tuple,
    "Bracket": _bracket,
    "Subquery": _subquery,
    "Select": _subquery,
    "Union": _subquery,
    "Exists": _exists,
    "Window": _window,
    "ParseJSON": _json,
    "Parameter": lambda node, scope: parameters.parameter(node, scope.context),
    "Anonymous": lambda node, scope: calls.call(node, scope),
    "SafeFunc": lambda node, scope: calls.safe(node, scope),
    "Extract": lambda node, scope: calls.extract(node, scope),
    "CurrentDate": lambda node, scope: calls.current("CURRENT_DATE", node, scope),
    "CurrentTimestamp": lambda node, scope: calls.current("CURRENT_TIMESTAMP", node, scope),
    "CurrentDatetime": lambda node, scope: calls.current("CURRENT_DATETIME", node, scope),
    "CurrentTime": lambda node, scope: calls.current("CURRENT_TIME", node, scope),
}
