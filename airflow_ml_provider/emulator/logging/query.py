"""What a query of Cloud Logging says about one entry.

https://cloud.google.com/logging/docs/view/logging-query-language: text is compared without regard to case,
a field that an entry lacks matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.filters import (
    And,
    Comparison,
    Filter,
    FilterError,
    Not,
    Or,
    Search,
    nanoseconds,
)
from airflow_ml_provider.emulator.logging.store import SEVERITIES

_TIMES = ("timestamp", "receiveTimestamp")


def check(tree: Filter | None, api: Api) -> None:
    """Refuse a query that Cloud Logging would refuse.

    :raises FilterError: an unknown field, or a value that its field cannot have.
    """
    for comparison in _comparisons(tree):
        _check_field(comparison, api)
        field, value = comparison.path[0], comparison.value.text
        if comparison.operator in ("=~", "!~"):
            try:
                re.compile(value)
            except re.error as error:
                raise FilterError(f"Invalid regular expression {value!r} for {field}: {error}") from None
        elif field in _TIMES and value != "*":
            nanoseconds(value)
        elif field == "severity" and value != "*":
            _severity(value)


def matches(tree: Filter | None, entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry is one that a checked query asks for."""
    match tree:
        case None:
            return True
        case And(terms):
            return all(matches(term, entry) for term in terms)
        case Or(terms):
            return any(matches(term, entry) for term in terms)
        case Not(term):
            return not matches(term, entry)
        case Search(value):
            return any(value.text.lower() in text.lower() for text in _texts(entry))
        case Comparison():
            return _compare(tree, entry)


def _comparisons(tree: Filter | None) -> Iterator[Comparison]:
    match tree:
        case Comparison():
            yield tree
        case Not(term):
            yield from _comparisons(term)
        case And(terms) | Or(terms):
            for term in terms:
                yield from _comparisons(term)


def _check_field(comparison: Comparison, api: Api) -> None:
    schema: Mapping[str, Any] = api.schemas["LogEntry"]
    for segment in comparison.path:
        if "additionalProperties" in schema:
            return
        spec = schema.get("properties", {}).get(segment)
        if spec is None:
            raise FilterError(f"Unrecognized field {comparison.field!r} in the filter: no field of LogEntry.")
        schema = api.schemas[spec["$ref"]] if "$ref" in spec else spec


def _compare(comparison: Comparison, entry: Mapping[str, Any]) -> bool:
    found: Any = entry
    for segment in comparison.path:
        if not isinstance(found, Mapping) or segment not in found:
            return False
        found = found[segment]
    operator, value = comparison.operator, comparison.value
    if operator == ":" and value.text == "*" and not value.quoted:
        return True
    candidates = found if isinstance(found, list) else [found]
    return any(_compare_one(comparison.path, operator, value.text, item) for item in candidates)


def _compare_one(path: tuple[str, ...], operator: str, value: str, found: Any) -> bool:
    if isinstance(found, Mapping):
        return operator == ":" and any(value.lower() in text.lower() for text in _texts(found))
    text = _text(found)
    if operator == "=~":
        return re.search(value, text) is not None
    if operator == "!~":
        return re.search(value, text) is None
    if path[0] in _TIMES and operator != ":":
        return _ordered(operator, nanoseconds(text), nanoseconds(value))
    if path[0] == "severity" and operator != ":":
        return _ordered(operator, SEVERITIES[text], _severity(value))
    if operator == ":":
        return value.lower() in text.lower()
    if isinstance(found, int | float) and not isinstance(found, bool):
        try:
            return _ordered(operator, float(found), float(value))
        except ValueError:
            return operator == "!="
    return _ordered(operator, text.lower(), value.lower())


def _ordered(operator: str, found: Any, value: Any) -> bool:
    match operator:
        case "=":
            return bool(found == value)
        case "!=":
            return bool(found != value)
        case "<":
            return bool(found < value)
        case "<=":
            return bool(found <= value)
        case ">":
            return bool(found > value)
        case _:
            return bool(found >= value)


def _severity(value: str) -> int:
    if value.upper() in SEVERITIES:
        return SEVERITIES[value.upper()]
    if value.isdecimal():
        return int(value)
    raise FilterError(f"Invalid severity {value!r}: one of {', '.join(SEVERITIES)} is expected.")


def _text(value: Any) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    return "NULL_VALUE" if value is None else str(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield _text(value)
