"""Functions on JSON.

https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""\.([^\s.\[\]"']+)|\.?"((?:[^"\\]|\\.)*)"|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]"""
)
_ABSENT = object()


def dumps(value: Any) -> str:
    """Return JSON as BigQuery writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parse_json(text: str) -> str:
    """``PARSE_JSON``: JSON in BigQuery's own order of keys."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise ValueError(f"Invalid input to PARSE_JSON: {error}") from None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


@lru_cache(maxsize=256)
def _steps(path: str) -> tuple[str | int, ...]:
    if not path.startswith("$"):
        raise ValueError("JSONPath must start with '$'")
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if not found:
            raise ValueError(f"Invalid token in JSONPath at: {path[at:]}")
        name, quoted, index, single, double = found.groups()
        steps.append(int(index) if index is not None else name or quoted or single or double or "")
        at = found.end()
    return tuple(steps)


def _found(text: str, path: str) -> Any:
    steps = _steps(path)
    try:
        value = json.loads(text)
    except ValueError:
        return _ABSENT
    for step in steps:
        if isinstance(value, dict) and str(step) in value and not isinstance(step, int):
            value = value[str(step)]
        elif isinstance(value, list) and str(step).isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _ABSENT
    return value


def json_value(text: str, path: str) -> str | None:
    """``JSON_VALUE``: a scalar as a string, else NULL."""
    return _scalar(_found(text, path))


def _scalar(value: Any) -> str | None:
    if value is _ABSENT or value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else dumps(value)


def json_query(text: str, path: str) -> str | None:
    """``JSON_QUERY``: any part, as JSON."""
    value = _found(text, path)
    return None if value is _ABSENT or (value is None and path != "$") else dumps(value)


def json_value_array(text: str, path: str) -> list[str] | None:
    """``JSON_VALUE_ARRAY``."""
    value = _found(text, path)
    if not isinstance(value, list) or any(isinstance(item, dict | list) for item in value):
        return None
    return [_scalar(item) for item in value]  # type: ignore[misc]


def json_query_array(text: str, path: str) -> list[str] | None:
    """``JSON_QUERY_ARRAY``."""
    value = _found(text, path)
    return [dumps(item) for item in value] if isinstance(value, list) else None


def json_field(text: str, name: str) -> str | None:
    """Return a member of a JSON object."""
    value = json.loads(text)
    return dumps(value[name]) if isinstance(value, dict) and name in value else None


def json_element(text: str, index: int) -> str | None:
    """Return an element of a JSON array."""
    value = json.loads(text)
    return dumps(value[index]) if isinstance(value, list) and 0 <= index < len(value) else None


def json_type(text: str) -> str:
    """``JSON_TYPE``."""
    value = json.loads(text)
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    names = {dict: "object", list: "array", str: "string"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "number")


def json_int64(text: str) -> int:
    """``INT64`` of JSON."""
    value = json.loads(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError("The provided JSON input is not an integer")
    return int(value)


def json_float64(text: str) -> float:
    """``FLOAT64`` of JSON."""
    value = json.loads(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("The provided JSON input is not a number")
    return float(value)


def json_bool(text: str) -> bool:
    """``BOOL`` of JSON."""
    value = json.loads(text)
    if not isinstance(value, bool):
        raise ValueError("The provided JSON input is not a boolean")
    return value


def json_string(text: str) -> str:
    """Return JSON's string: ``STRING``."""
    value = json.loads(text)
    if not isinstance(value, str):
        raise ValueError("The provided JSON input is not a string")
    return value


def quoted(text: str) -> str:
    """Return a string as JSON."""
    return dumps(text)
