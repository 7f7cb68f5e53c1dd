"""JSON files read field by field, so that a refusal names the file and the field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_ml_provider.models.errors import InvalidDocument

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Document:
    """A mapping out of a JSON file.

    Every field that is asked for must be there; one that may be unknown is written as null. Fields that
    nobody asks for are left alone.

    :param uri: the file, for messages.
    :param value: the mapping.
    :param path: where in the file it stands, e.g. ``paired.squared_error``.
    """

    def __init__(self, uri: str, value: Mapping[str, Any], path: str = "") -> None:
        self.uri = uri
        self.path = path
        self._value = value

    @classmethod
    def parse(cls, uri: str, raw: bytes | str) -> Document:
        """Read a file's text.

        :raises InvalidDocument: not UTF-8, not JSON, not a mapping, or a key stands there twice.
        """
        try:
            text = raw.decode() if isinstance(raw, bytes) else raw
            value = json.loads(text, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise InvalidDocument(uri, "", f"is not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise InvalidDocument(uri, "", f"must hold a JSON object, not {_kind(value)}")
        return cls(uri, value)

    def refuse(self, name: str, problem: str) -> InvalidDocument:
        """Return the error about a field, to be raised."""
        return InvalidDocument(self.uri, self._at(name), problem)

    def schema(self, known: int) -> None:
        """Check the file's ``schema``.

        :raises InvalidDocument: it is another one than ``known``.
        """
        schema = self._get("schema")
        if type(schema) is not int or schema != known:
            raise self.refuse(
                "schema", f"is {schema!r}, but this version of airflow-ml-provider reads {known}; upgrade it"
            )

    def items(self) -> list[tuple[str, Any]]:
        """Return the fields, names and any JSON values."""
        return list(self._value.items())

    def raw(self, name: str) -> Any:
        """Return any JSON value."""
        return self._get(name)

    def is_null(self, name: str) -> bool:
        """Tell whether a field is null."""
        return self._get(name) is None

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self._get(name)
        if not isinstance(value, str) or not value:
            raise self.refuse(name, f"must be a text, not {_kind(value)}")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None for null."""
        return None if self.is_null(name) else self.text(name)

    def choice(self, name: str, *allowed: str) -> str:
        """Return a text that is one of those allowed."""
        value = self._get(name)
        if value not in allowed:
            raise self.refuse(name, f"is {value!r}, must be {' or '.join(map(repr, allowed))}")
        return str(value)

    def time(self, name: str) -> str:
        """Return an RFC 3339 time, as it is written."""
        value = self.text(name)
        try:
            known = datetime.fromisoformat(value).tzinfo is not None
        except ValueError:
            known = False
        if not known:
            raise self.refuse(name, f"{value!r} is not a time with its offset, e.g. 2026-11-20T03:00:00Z")
        return value

    def integer(self, name: str, minimum: int = 0) -> int:
        """Return an integer of at least ``minimum``."""
        value = self._get(name)
        if type(value) is not int:
            raise self.refuse(name, f"must be an integer, not {_kind(value)}")
        if value < minimum:
            raise self.refuse(name, f"is {value}, must be at least {minimum}")
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return an integer of at least 0, or None for null."""
        return None if self.is_null(name) else self.integer(name)

    def number(self, name: str) -> float:
        """Return a number, which may be infinite or NaN; null means NaN.

        JSON has no such numbers: Python writes NaN and Infinity, Protocol Buffers the same as texts, and
        others null. All are read, since it is the gate that must refuse them, with its reasons.
        """
        value = self._get(name)
        if value is None:
            return math.nan
        if isinstance(value, str) and value in _NON_FINITE:
            return _NON_FINITE[value]
        if type(value) is int:
            try:
                return float(value)
            except OverflowError:
                return math.inf if value > 0 else -math.inf
        if type(value) is not float:
            raise self.refuse(name, f"must be a number, not {_kind(value)}")
        return value

    def share(self, name: str) -> float:
        """Return a number from 0 to 1."""
        value = self.number(name)
        if not 0 <= value <= 1:
            raise self.refuse(name, f"is {value}, must be a share from 0 to 1")
        return value

    def boolean(self, name: str) -> bool:
        """Return true or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise self.refuse(name, f"must be true or false, not {_kind(value)}")
        return value

    def child(self, name: str) -> Document:
        """Return a mapping."""
        value = self._get(name)
        if not isinstance(value, Mapping):
            raise self.refuse(name, f"must be an object, not {_kind(value)}")
        return Document(self.uri, value, self._at(name))

    def children(self, name: str) -> list[Document]:
        """Return a list of mappings."""
        values = self._get(name)
        if not isinstance(values, list):
            raise self.refuse(name, f"must be a list, not {_kind(values)}")
        for at, value in enumerate(values):
            if not isinstance(value, Mapping):
                raise self.refuse(f"{name}[{at}]", f"must be an object, not {_kind(value)}")
        return [Document(self.uri, value, self._at(f"{name}[{at}]")) for at, value in enumerate(values)]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self._get(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.refuse(name, "must be a list of texts")
        return tuple(values)

    def numbers(self, name: str) -> dict[str, float]:
        """Return a mapping of names to numbers, see :meth:`number`."""
        child = self.child(name)
        return {key: child.number(key) for key, _ in child.items()}

    def _get(self, name: str) -> Any:
        if name not in self._value:
            raise self.refuse(name, "is missing")
        return self._value[name]

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return f"{names.get(type(value), type(value).__name__)}" + (" that is empty" if value == "" else "")
