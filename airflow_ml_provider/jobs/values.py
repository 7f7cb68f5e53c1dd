"""Values as people and templates write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from typing import Any

_TRUE, _FALSE = ("true", "1"), ("false", "0", "")
_KNOWN = (str, int, float, timedelta, Mapping, Sequence, Set)


def is_later(value: Any) -> bool:
    """Return whether a value can't be checked yet: a Jinja template, or another task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    # What this package makes is known too, if perhaps in the wrong place.
    ours = type(value).__module__.startswith(f"{__package__}.")
    return not (value is None or ours or isinstance(value, _KNOWN))


def is_true(value: bool | str) -> bool:
    """Return whether a switch is on: ``True``, or the text ``true`` that a template made.

    :raises ValueError: a text that says neither.
    """
    text = str(value).strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f"{value!r} is neither true nor false")
    return text in _TRUE


def is_word(value: Any) -> bool:
    """Return whether a value has one obvious spelling as text, as numbers have; ``True`` has several."""
    return not isinstance(value, bool) and (isinstance(value, str | int | float) or is_later(value))
