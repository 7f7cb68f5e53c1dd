"""Which Python function stands behind which function in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from airflow_ml_provider.emulator.bigquery.python import dates, json, numbers, strings
from airflow_ml_provider.emulator.bigquery.python.fingerprint import farm_fingerprint
from airflow_ml_provider.emulator.bigquery.sql.constants import numeric

_S, _B, _I, _F, _L = "VARCHAR", "BLOB", "BIGINT", "DOUBLE", "BOOLEAN"
_D, _N = "TIMESTAMP", "DECIMAL(38,9)"


def _raise(message: str) -> str:
    raise ValueError(message)


def _texts(function: Callable[..., float]) -> Callable[..., str]:
    """Have a function return text: DuckDB takes NaN from Python for NULL."""

    @wraps(function)
    def called(*arguments: float | int | str) -> str:
        return repr(function(*arguments))

    return called


def _passing_nulls(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function that may return NULL return it for a NULL too."""

    @wraps(function)
    def called(*arguments: Any) -> Any:
        return None if None in arguments else function(*arguments)

    return called


# Name, function, types of its arguments, type of its result.
_FUNCTIONS: list[tuple[str, Callable[..., Any], list[str], str]] = [
    ("bq_raise", _raise, [_S], _S),
    ("bq_farm_fingerprint", farm_fingerprint, [_B], _I),
    ("bq_hash", strings.digest, [_S, _B], _B),
    ("bq_upper", str.upper, [_S], _S),
    ("bq_lower", str.lower, [_S], _S),
    ("bq_trim", lambda text: text.strip(), [_S], _S),
    ("bq_ltrim", lambda text: text.lstrip(), [_S], _S),
    ("bq_rtrim", lambda text: text.rstrip(), [_S], _S),
    ("bq_reverse", lambda text: text[::-1], [_S], _S),
    ("bq_reverse_bytes", lambda data: data[::-1], [_B], _B),
    ("bq_instr", strings.instr, [_S, _S, _I, _I], _I),
    ("bq_contains_substr", strings.contains_substr, [_S, _S], _L),
    ("bq_substr_bytes", strings.substr_bytes, [_B, _I, _I], _B),
    ("bq_replace", strings.replace, [_S, _S, _S], _S),
    ("bq_lpad", strings.lpad, [_S, _I, _S], _S),
    ("bq_rpad", strings.rpad, [_S, _I, _S], _S),
    ("bq_translate", strings.translate, [_S, _S, _S], _S),
    ("bq_edit_distance", strings.edit_distance, [_S, _S], _I),
    ("bq_unicode", strings.unicode, [_S, _L], _I),
    ("bq_chr", strings.character, [_I], _S),
    ("bq_code_points", strings.code_points, [_S], f"{_I}[]"),
    ("bq_from_code_points", strings.from_code_points, [f"{_I}[]"], _S),
    ("bq_normalize", strings.normalize, [_S, _S, _L], _S),
    ("bq_from_hex", strings.from_hex, [_S], _B),
    ("bq_from_base64", strings.from_base64, [_S], _B),
    ("bq_bytes_to_string", strings.lossy_string, [_B], _S),
    ("bq_cast_bytes", strings.bytes_to_string, [_B], _S),
    ("bq_pow", _texts(numbers.power), [_F, _F], _S),
    ("bq_round", _texts(numbers.round_float), [_F, _I], _S),
    ("bq_trunc", _texts(numbers.trunc_float), [_F, _I], _S),
    ("bq_round_numeric", numbers.round_numeric, [_N, _I], _N),
    ("bq_trunc_numeric", numbers.trunc_numeric, [_N, _I], _N),
    ("bq_multiply_numeric", numbers.multiply_numeric, [_N, _N], _N),
    ("bq_divide_numeric", numbers.divide_numeric, [_N, _N], _N),
    ("bq_mod_numeric", numbers.mod_numeric, [_N, _N], _N),
    ("bq_generate_array", numbers.generate_array, [_F, _F, _F], f"{_F}[]"),
    ("bq_shift_left", numbers.shift_left, [_I, _I], _I),
    ("bq_shift_right", numbers.shift_right, [_I, _I], _I),
    ("bq_float_text", numbers.float_text, [_F], _S),
    ("bq_to_float", _texts(numbers.to_float), [_S], _S),
    ("bq_to_int", numbers.to_int, [_S], _I),
    ("bq_to_bool", numbers.to_bool, [_S], _L),
    ("bq_to_numeric", numeric, [_S], _N),
    ("bq_float_to_numeric", numeric, [_F], _N),
    ("bq_numeric_text", lambda value: f"{value:f}".rstrip("0").rstrip(".") if value else "0", [_N], _S),
    ("bq_format_int", numbers.formatted, [_S, _I], _S),
    ("bq_format_float", numbers.formatted, [_S, _F], _S),
    ("bq_format_text", lambda spec, value: spec % value, [_S, _S], _S),
    (
        "bq_to_timestamp_utc",
        lambda text, zone: dates.to_timestamp(text, zone).replace(tzinfo=None),
        [_S, _S],
        _D,
    ),
    ("bq_to_datetime", dates.to_datetime, [_S], _D),
    ("bq_to_date", dates.to_date, [_S], "DATE"),
    ("bq_to_time", dates.to_time, [_S], "TIME"),
    ("bq_local", dates.local, [_D, _S], _D),
    ("bq_instant", dates.instant, [_D, _S], _D),
    ("bq_timestamp_text", dates.timestamp_text, [_D, _S], _S),
    ("bq_datetime_text", dates.datetime_text, [_D], _S),
    ("bq_time_text", dates.time_text, ["TIME"], _S),
    ("bq_format_moment", dates.format_moment, [_S, _D, _S, _S], _S),
    ("bq_parse_moment", dates.parse_moment, [_S, _S, _S, _S], _D),
    ("bq_date_array", dates.date_array, ["DATE", "DATE", _I, _S], "DATE[]"),
    ("bq_timestamp_array", dates.timestamp_array, [_D, _D, _I, _S], f"{_D}[]"),
    ("bq_json_type", json.json_type, [_S], _S),
    ("bq_json_int64", json.json_int64, [_S], _I),
    ("bq_json_float64", json.json_float64, [_S], _F),
    ("bq_json_bool", json.json_bool, [_S], _L),
    ("bq_json_string", json.json_string, [_S], _S),
    ("bq_parse_json", json.parse_json, [_S], _S),
    ("bq_json_quoted", json.quoted, [_S], _S),
]
# These may be told of NULLs, and may return them; the others are not called where an argument is NULL, and
# that is their result then.
_WITH_NULLS: list[tuple[str, Callable[..., Any], list[str], str]] = [
    ("bq_initcap", strings.initcap, [_S, _S], _S),
    ("bq_json_value", _passing_nulls(json.json_value), [_S, _S], _S),
    ("bq_json_query", _passing_nulls(json.json_query), [_S, _S], _S),
    ("bq_json_value_array", _passing_nulls(json.json_value_array), [_S, _S], f"{_S}[]"),
    ("bq_json_query_array", _passing_nulls(json.json_query_array), [_S, _S], f"{_S}[]"),
    ("bq_json_field", _passing_nulls(json.json_field), [_S, _S], _S),
    ("bq_json_element", _passing_nulls(json.json_element), [_S, _I], _S),
    ("bq_array_to_string", strings.array_to_string, [f"{_S}[]", _S, _S], _S),
]


def install(db: Any) -> None:
    """Make the functions known to a connection.

    :param db: a ``DuckDBPyConnection``, whose own annotations know fewer types than it takes.
    """
    for name, function, parameters, returns in _FUNCTIONS:
        db.create_function(name, function, parameters, returns)
    for name, function, parameters, returns in _WITH_NULLS:
        db.create_function(name, function, parameters, returns, null_handling="special")
