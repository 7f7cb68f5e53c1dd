"""Calls of functions: which one is meant, and those that a signature can't describe.

https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import dateparts, expressions, functions, types
from airflow_ml_provider.emulator.bigquery.sql.arithmetic import array_concat
from airflow_ml_provider.emulator.bigquery.sql.casts import cast
from airflow_ml_provider.emulator.bigquery.sql.comparisons import equal
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.formats import formatted, json_text
from airflow_ml_provider.emulator.bigquery.sql.lexer import BYTES_FUNCTION
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope, struct
from airflow_ml_provider.emulator.bigquery.sql.signatures import Chosen, choose
from airflow_ml_provider.emulator.bigquery.sql.types import BYTES, JSON, STRING, Type, Value
from airflow_ml_provider.emulator.errors import ApiError


def call(node: Node, scope: Scope) -> Value:
    """Translate a call.

    :raises ApiError: 400 ``invalidQuery``: there is no such function, or it is called wrongly.
    """
    from airflow_ml_provider.emulator.bigquery.sql import aggregates, udfs, windows

    name = functions.SYNONYMS.get(node.name.upper(), node.name.upper())
    if node.name.lower() in scope.context.functions:
        return udfs.call(node, scope)
    if name in dateparts.NAMES:
        return dateparts.NAMES[name](name, node.expressions, scope)
    if name in _SPECIAL:
        return _SPECIAL[name](node, scope)
    if name in aggregates.NAMES:
        return aggregates.aggregate(node, scope, over=None)
    if name in windows.ONLY:
        raise invalid(f"Analytic function {name} cannot be called without an OVER clause")
    candidates = functions.SIGNATURES.get(name)
    if candidates is None:
        raise no_function(node.name)
    return _filled(choose(candidates, arguments(node, scope)))


def _filled(chosen: Chosen) -> Value:
    if chosen.signature.template == "!":
        raise unknown(f"function {chosen.signature}")
    return Value(chosen.fill(type=chosen.returns.duckdb), chosen.returns)


def arguments(node: Node, scope: Scope) -> list[Value]:
    """Translate a call's arguments."""
    return [expressions.expression(each, scope) for each in node.expressions]


def no_function(name: str) -> ApiError:
    """Return the error for a function that the emulator has not, or that does not exist."""
    upper = name.upper()
    if (
        upper in functions.UNKNOWN
        or upper.partition(".")[0] in functions.NAMESPACES
        or upper.startswith("ST_")
    ):
        return unknown(f"function {upper}")
    return invalid(f"Function not found: {name}")


def safe(node: Node, scope: Scope) -> Value:
    """Translate ``SAFE.function(…)``: NULL where the function fails."""
    inner = node.this
    if isinstance(inner, exp.Anonymous):
        for each in inner.expressions:
            if each.find(exp.Query) is not None:
                raise unknown(f"SAFE.{inner.name} with a subquery")
    value = expressions.expression(inner, scope)
    return Value(f"TRY({value.sql})", value.type)


def extract(node: Node, scope: Scope) -> Value:
    """Translate ``EXTRACT``."""
    return dateparts.extract(node, scope)


def current(name: str, node: Node, scope: Scope) -> Value:
    """Translate ``CURRENT_DATE`` and the like, which need no brackets."""
    given = [node.this] if node.this is not None else []
    return call(exp.Anonymous(this=name, expressions=given), scope)


# --- those with rules of their own


def _need(node: Node, least: int, most: int | None = None) -> list[Node]:
    nodes: list[Node] = node.expressions
    if len(nodes) < least or (most is not None and len(nodes) > most):
        raise invalid(f"Number of arguments does not match for function {node.name.upper()}")
    return nodes


def _coalesce(node: Node, scope: Scope) -> Value:
    _need(node, 1)
    values, kind = types.unified(arguments(node, scope), f"function {node.name.upper()}")
    return Value(f"COALESCE({', '.join(value.sql for value in values)})", kind)


def _nullif(node: Node, scope: Scope) -> Value:
    _need(node, 2, 2)
    (left, right), kind = types.unified(arguments(node, scope), "function NULLIF")
    return Value(f"(CASE WHEN {equal(left, right).sql} THEN NULL ELSE {left.sql} END)", kind)


def _extreme(node: Node, scope: Scope) -> Value:
    _need(node, 1)
    name = node.name.upper()
    values, kind = types.unified(arguments(node, scope), f"function {name}")
    if not kind.orderable:
        raise invalid(f"No matching signature for function {name} for argument type: {kind}")
    texts = [value.sql for value in values]
    tests = [f"WHEN {' OR '.join(f'{text} IS NULL' for text in texts)} THEN NULL"]
    if kind.kind == "FLOAT64":
        tests.append(f"WHEN {' OR '.join(f'isnan({text})' for text in texts)} THEN CAST('nan' AS DOUBLE)")
    return Value(f"(CASE {' '.join(tests)} ELSE {name.lower()}({', '.join(texts)}) END)", kind)


def _concat(node: Node, scope: Scope) -> Value:
    _need(node, 1)
    values = arguments(node, scope)
    if all(value.type == BYTES or value.null for value in values):
        target = BYTES
    elif any(value.type == BYTES or value.type.kind in ("ARRAY", "STRUCT", "JSON") for value in values):
        kinds = ", ".join(str(value.type) for value in values)
        raise invalid(f"No matching signature for function CONCAT for argument types: {kinds}")
    else:
        target = STRING
    return Value(f"({' || '.join(cast(value, target).sql for value in values)})", target)


def _array_concat(node: Node, scope: Scope) -> Value:
    _need(node, 1)
    values, kind = types.unified(arguments(node, scope), "function ARRAY_CONCAT")
    if kind.element is None:
        raise invalid(f"No matching signature for function ARRAY_CONCAT for argument type: {kind}")
    return array_concat(values, kind)


def _struct(node: Node, scope: Scope) -> Value:
    fields = []
    for each in node.expressions:
        inner = each.this if isinstance(each, exp.Alias) else each
        value = expressions.expression(inner, scope)
        fields.append(replace(value, name=each.alias if isinstance(each, exp.Alias) else value.name))
    return struct(fields)


def _string(node: Node, scope: Scope) -> Value:
    values = arguments(node, scope)
    _need(node, 1, 2)
    first = values[0]
    if first.type == JSON:
        return _filled(choose(functions.SIGNATURES["STRING"], values))
    if len(values) == 2:
        moment, zone = types.coerced(first, types.TIMESTAMP), types.coerced(values[1], STRING)
        if moment is not None and zone is not None:
            return Value(f"bq_timestamp_text(timezone('UTC', {moment.sql}), {zone.sql})", STRING)
    elif first.type.kind in ("DATE", "DATETIME", "TIME", "TIMESTAMP"):
        return cast(first, STRING)
    raise invalid(f"No matching signature for function STRING for argument type: {first.type}")


def _bytes(node: Node, scope: Scope) -> Value:
    return Value(f"from_hex('{node.expressions[0].this}')", BYTES, literal=True)


def _normalize(node: Node, scope: Scope) -> Value:
    nodes = _need(node, 1, 2)
    form = nodes[1].name.upper() if len(nodes) == 2 else "NFC"
    value = types.coerced(expressions.expression(nodes[0], scope), STRING)
    if value is None or form not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise invalid(f"No matching signature for function {node.name.upper()}")
    fold = "true" if node.name.upper().endswith("CASEFOLD") else "false"
    return Value(f"bq_normalize({value.sql}, '{form}', {fold})", STRING)


def _regexp(node: Node, scope: Scope) -> Value:
    """Translate the functions on regular expressions, which are RE2's in both."""
    name = node.name.upper().removeprefix("REGEXP_")
    if name == "EXTRACT" and len(node.expressions) in (3, 4):
        raise unknown("REGEXP_EXTRACT with a position")
    values = [types.coerced(value, STRING) for value in arguments(node, scope)]
    texts = [value.sql for value in values if value is not None]
    if len(values) != (3 if name == "REPLACE" else 2) or len(texts) != len(values):
        raise invalid(f"No matching signature for function REGEXP_{name}")
    if name == "CONTAINS":
        return Value(f"regexp_matches({texts[0]}, {texts[1]})", types.BOOL)
    if name == "REPLACE":
        return Value(f"regexp_replace({', '.join(texts)}, 'g')", STRING)
    pattern = values[1]
    assert pattern is not None
    if not isinstance(pattern.constant, str):
        raise unknown(f"REGEXP_{name} with a pattern that is no literal")
    groups = _groups(pattern.constant)
    if groups > 1:
        raise invalid(f"Regular expression has {groups} capturing groups; REGEXP_{name} allows one at most")
    if groups and _may_be_left_out(pattern.constant):
        raise unknown(f"REGEXP_{name} with a group that may take no part in a match")
    if name == "EXTRACT_ALL":
        return Value(f"regexp_extract_all({texts[0]}, {texts[1]}, {groups})", Type("ARRAY", STRING))
    found = f"regexp_extract({texts[0]}, {texts[1]}, {groups})"
    return Value(f"(CASE WHEN regexp_matches({texts[0]}, {texts[1]}) THEN {found} END)", STRING)


def _groups(pattern: str) -> int:
    """Return how many capturing groups a regular expression has."""
    return len(re.findall(r"\((?!\?)|\(\?P?<", _bare(pattern)))


def _may_be_left_out(pattern: str) -> bool:
    """Return whether a match may leave a group out: ``(a)?``, ``(a)*``, ``(a)|b``."""
    bare = _bare(pattern)
    depth, inside = 0, []
    for char in bare:
        depth += (char == "(") - (char == ")")
        inside.append(depth)
    outer = [char for char, level in zip(bare, inside, strict=True) if level == 0]
    return "|" in outer or re.search(r"\)(?:[?*]|\{0)", bare) is not None


def _bare(pattern: str) -> str:
    """Return a regular expression without what is escaped and without classes of characters."""
    return re.sub(r"\\Q.*?(\\E|$)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]])*\]", "", pattern, flags=re.DOTALL)


def _to_json(node: Node, scope: Scope) -> Value:
    nodes = _need(node, 1, 2)
    if len(nodes) == 2:
        raise unknown(f"{node.name.upper()} with a second argument")
    value = expressions.expression(nodes[0], scope)
    return Value(json_text(value), JSON if node.name.upper() == "TO_JSON" else STRING)


def _zoned(node: Node, scope: Scope) -> Value:
    """Translate DATE, DATETIME, TIME and TIMESTAMP; a last argument may name a time zone."""
    name, values = node.name.upper(), arguments(node, scope)
    kind = Type(name)
    if len(values) == 2 and values[1].type == STRING:
        zone = values[1]
        if name == "TIMESTAMP":
            if values[0].type == STRING:
                text = f"bq_to_timestamp_utc({values[0].sql}, {zone.sql})"
                return Value(f"timezone('UTC', {text})", kind)
            shown = types.coerced(values[0], types.DATETIME)
            if shown is None:
                raise invalid(
                    f"No matching signature for function TIMESTAMP for argument type: {values[0].type}"
                )
            return dateparts.instant(shown, zone)
        moment = types.coerced(values[0], types.TIMESTAMP)
        if moment is None:
            raise invalid(f"No matching signature for function {name} for argument type: {values[0].type}")
        return Value(f"CAST({dateparts.local(moment, zone).sql} AS {kind.duckdb})", kind)
    return _filled(choose(functions.SIGNATURES[name], values))


def _now(node: Node, scope: Scope) -> Value:
    name = node.name.upper()
    if not node.expressions:
        return _filled(choose(functions.SIGNATURES[name], []))
    kind = Type(name.removeprefix("CURRENT_"))
    zone = dateparts.zone_of(_need(node, 1, 1), scope)
    if kind == types.TIMESTAMP:
        raise invalid("CURRENT_TIMESTAMP takes no argument")
    shown = dateparts.local(Value("now()", types.TIMESTAMP), zone)
    return Value(f"CAST({shown.sql} AS {kind.duckdb})", kind)


def _if_error(node: Node, scope: Scope) -> Value:
    raise unknown(f"function {node.name.upper()}")


def _row_offset(node: Node, scope: Scope) -> Value:
    raise invalid(f"{node.name.upper()} is allowed inside [] only")


_SPECIAL: dict[str, Callable[[Node, Scope], Value]] = {
    "COALESCE": _coalesce,
    "IFNULL": _coalesce,
    "NULLIF": _nullif,
    "GREATEST": _extreme,
    "LEAST": _extreme,
    "CONCAT": _concat,
    "ARRAY_CONCAT": _array_concat,
    "STRUCT": _struct,
    "STRING": _string,
    "FORMAT": lambda node, scope: formatted(arguments(node, scope)),
    BYTES_FUNCTION: _bytes,
    "NORMALIZE": _normalize,
    "NORMALIZE_AND_CASEFOLD": _normalize,
    **dict.fromkeys(("REGEXP_CONTAINS", "REGEXP_EXTRACT", "REGEXP_EXTRACT_ALL", "REGEXP_REPLACE"), _regexp),
    "TO_JSON": _to_json,
    "TO_JSON_STRING": _to_json,
    **dict.fromkeys(("DATE", "DATETIME", "TIME", "TIMESTAMP"), _zoned),
    **dict.fromkeys(("CURRENT_DATE", "CURRENT_DATETIME", "CURRENT_TIME", "CURRENT_TIMESTAMP"), _now),
    **dict.fromkeys(("OFFSET", "ORDINAL", "SAFE_OFFSET", "SAFE_ORDINAL"), _row_offset),
    "IFERROR": _if_error,
    "ISERROR": _if_error,
    "NULLIFERROR": _if_error,
}
