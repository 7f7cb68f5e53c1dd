"""The filter of ``customJobs.list``.

The API's document names the fields: ``display_name``, ``state``, ``create_time`` and ``labels``, each in
either spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

_NAMES = {"display_name": "displayName", "create_time": "createTime"}
_OPERATORS = {
    "displayName": ("=", "!=", ":"),
    "state": ("=", "!="),
    "createTime": ("=", "!=", "<", "<=", ">", ">="),
    "labels": ("=", "!=", ":"),
}


def check(tree: Filter | None, states: Sequence[str]) -> None:
    """Refuse a filter that the service would refuse.

    :param states: the names of all states.
    :raises FilterError: an unknown field, an operator that it does not have, a value that it cannot have.
    """
    for term in _leaves(tree):
        if isinstance(term, Search):
            raise FilterError(f"{term.value.text!r} is not compared with a field.")
        field = _NAMES.get(term.path[0], term.path[0])
        operators = _OPERATORS.get(field)
        if operators is None or len(term.path) != (2 if field == "labels" and len(term.path) > 1 else 1):
            raise FilterError(
                f"Unsupported field {term.field!r}: display_name, state, create_time and labels.key can be "
                "filtered by."
            )
        if term.operator not in operators:
            raise FilterError(
                f"Unsupported operator {term.operator!r} for {term.field}: one of {' '.join(operators)}."
            )
        if field == "labels" and len(term.path) == 1 and term.operator != ":":
            raise FilterError("labels must be followed by a key: labels.key=value or labels.key:*.")
        if field == "createTime":
            nanoseconds(term.value.text)
        if field == "state" and term.value.text not in states:
            raise FilterError(f"Unknown state {term.value.text!r}: one of {', '.join(states)}.")


def matches(tree: Filter | None, job: Mapping[str, Any]) -> bool:
    """Tell whether a job is one that a checked filter asks for."""
    match tree:
        case None:
            return True
        case And(terms):
            return all(matches(term, job) for term in terms)
        case Or(terms):
            return any(matches(term, job) for term in terms)
        case Not(term):
            return not matches(term, job)
        case Comparison():
            return _compare(tree, job)
    return False


def _leaves(tree: Filter | None) -> Iterator[Comparison | Search]:
    match tree:
        case Comparison() | Search():
            yield tree
        case Not(term):
            yield from _leaves(term)
        case And(terms) | Or(terms):
            for term in terms:
                yield from _leaves(term)


def _compare(comparison: Comparison, job: Mapping[str, Any]) -> bool:
    field = _NAMES.get(comparison.path[0], comparison.path[0])
    operator, value = comparison.operator, comparison.value.text
    if field == "labels":
        labels = job.get("labels", {})
        if len(comparison.path) == 1:
            return value == "*" or value in labels
        if comparison.path[1] not in labels:
            return False
        found = labels[comparison.path[1]]
        if operator == ":":
            return value == "*" or _has(found, value)
    else:
        found = job[field]
        if operator == ":":
            return _has(found, value)
    if field == "createTime":
        return _ordered(operator, nanoseconds(found), nanoseconds(value))
    return bool(found == value) == (operator == "=")


def _has(text: str, pattern: str) -> bool:
    """Tell whether a text is as a pattern with ``*`` says, or contains one without."""
    if "*" not in pattern:
        return pattern in text
    regex = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(regex, text, re.DOTALL) is not None


def _ordered(operator: str, found: int, value: int) -> bool:
    return {
        "=": found == value,
        "!=": found != value,
        "<": found < value,
        "<=": found <= value,
        ">": found > value,
        ">=": found >= value,
    }[operator]
