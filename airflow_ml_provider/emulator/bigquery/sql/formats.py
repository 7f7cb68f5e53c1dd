"""``FORMAT`` and ``TO_JSON_STRING``: values of any type as text.

https://cloud.google.com/bigquery/docs/reference/standard-sql/string_functions#format_string
"""

from __future__ import annotations

import re

from airflow_ml_provider.emulator.bigquery.sql import types
from airflow_ml_provider.emulator.bigquery.sql.casts import cast
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.types import FLOAT64, INT64, STRING, Value

_SPEC = re.compile(r"%([-+ 0#']*)(\*|\d+)?(?:\.(\*|\d+))?([a-zA-Z%])")


def formatted(values: list[Value]) -> Value:
    """Translate ``FORMAT``.

    :raises ApiError: 400 ``invalidQuery``: the format does not fit the arguments, or is not known.
    """
    if not values or not isinstance(values[0].constant, str):
        raise unknown("FORMAT with a format that is no literal")
    pattern, rest = values[0].constant, list(values[1:])
    parts, at = [], 0
    for found in _SPEC.finditer(pattern):
        if "%" in pattern[at : found.start()]:
            raise invalid(f"Invalid FORMAT string {pattern!r}")
        if found.start() > at:
            parts.append(types.text(pattern[at : found.start()]))
        at = found.end()
        if found.group(4) == "%":
            parts.append("'%'")
            continue
        if not rest:
            raise invalid("Too few arguments to FORMAT")
        parts.append(_element(found, rest.pop(0)))
    if rest:
        raise invalid("Too many arguments to FORMAT")
    if "%" in pattern[at:]:
        raise invalid(f"Invalid FORMAT string {pattern!r}")
    parts.append(types.text(pattern[at:]))
    return Value(f"({' || '.join(parts)})", STRING)


def _element(found: re.Match[str], value: Value) -> str:
    kind, spec = found.group(4), types.text(found.group())
    if "*" in found.group():
        raise unknown(f"{found.group()} in FORMAT")
    if kind in "dixXo":
        number = types.coerced(value, INT64)
        if number is not None:
            return f"bq_format_int({spec}, {number.sql})"
    elif kind in "fFeEgG":
        number = types.coerced(value, FLOAT64)
        if value.type == types.NUMERIC:
            raise unknown(f"{found.group()} in FORMAT with a NUMERIC")
        if number is not None:
            return f"bq_format_float({spec}, {number.sql})"
    elif kind == "s":
        word = types.coerced(value, STRING)
        if word is not None:
            return f"bq_format_text({spec}, {word.sql})"
    elif kind in "tT":
        shown = types.text(found.group()[:-1] + "s")
        return f"bq_format_text({shown}, {_shown(value, quote=kind == 'T')})"
    else:
        raise unknown(f"{found.group()} in FORMAT")
    raise invalid(f"Invalid type for argument of FORMAT; {found.group()} does not take {value.type}")


def _shown(value: Value, *, quote: bool) -> str:
    """Return a value as ``%t`` shows it; as ``%T`` shows it, as a literal."""
    kind, sql = value.type, value.sql
    if kind.element is not None or kind.kind in ("STRUCT", "JSON"):
        raise unknown(f"%t and %T in FORMAT with {kind}")
    if kind == STRING:
        plain = f"('\"' || replace(replace({sql}, '\\', '\\\\'), '\"', '\\\"') || '\"')" if quote else sql
    elif kind == FLOAT64:
        text = f"bq_float_text({sql})"
        plain = f"(CASE WHEN regexp_full_match({text}, '-?[0-9]+') THEN {text} || '.0' ELSE {text} END)"
    else:
        plain = cast(value, STRING).sql
        if quote and kind.kind not in ("INT64", "BOOL", "NULL"):
            if kind.kind in ("BYTES",):
                raise unknown("%T in FORMAT with BYTES")
            plain = f"('{kind.kind} \"' || {plain} || '\"')"
    return f"COALESCE({plain}, 'NULL')"


def json_text(value: Value) -> str:
    """Return the SQL of a value as JSON, as ``TO_JSON_STRING`` shows it.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions#json_encodings
    """
    kind, sql = value.type, value.sql
    if value.null:
        return "'null'"
    if kind.element is not None:
        items = f"list_transform({sql}, lambda e: {json_text(Value('e', kind.element))})"
        return f"COALESCE('[' || array_to_string({items}, ',') || ']', '[]')"
    if kind.kind == "STRUCT":
        pairs = []
        for name, each in types.named(kind.fields):
            label = types.text(f'"{name}":')
            pairs.append(f"{label} || {json_text(Value(f'({sql}).{types.quoted(name)}', each))}")
        inner = " || ',' || ".join(pairs)
        return f"(CASE WHEN {sql} IS NULL THEN 'null' ELSE '{{' || {inner} || '}}' END)"
    if kind == INT64:
        shown = (
            f"CASE WHEN abs({sql}) > 9007199254740992 THEN '\"' "
            f"|| {sql} || '\"' ELSE CAST({sql} AS VARCHAR) END"
        )
    elif kind == FLOAT64:
        text = f"bq_float_text({sql})"
        named = (
            f"CASE {text} WHEN 'inf' THEN '\"Infinity\"' WHEN '-inf' THEN '\"-Infinity\"' ELSE '\"NaN\"' END"
        )
        shown = f"CASE WHEN isfinite({sql}) THEN {text} ELSE {named} END"
    elif kind.kind in ("BOOL", "NUMERIC"):
        shown = cast(value, STRING).sql
    elif kind.kind == "JSON":
        shown = sql
    elif kind.kind == "BYTES":
        shown = f"'\"' || to_base64({sql}) || '\"'"
    elif kind.kind == "TIMESTAMP":
        shown = f"'\"' || replace(bq_datetime_text(timezone('UTC', {sql})), ' ', 'T') || 'Z\"'"
    elif kind.kind == "DATETIME":
        shown = f"'\"' || replace(bq_datetime_text({sql}), ' ', 'T') || '\"'"
    elif kind == STRING:
        shown = f"bq_json_quoted({sql})"
    else:
        shown = f"'\"' || {cast(value, STRING).sql} || '\"'"
    return f"COALESCE({shown}, 'null')"
