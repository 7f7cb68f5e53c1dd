"""What a table in files is: the columns that are wanted, where a file has them, and parts of it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from trainer.errors import InputError

_TYPES = {
    "id": pa.dictionary(pa.int32(), pa.string()),
    "text": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
}


@dataclass(frozen=True)
class Column:
    """A column that is wanted.

    :param name: in the batches.
    :param kind: ``id``: text or integers, given as text without spaces around it (dictionary-encoded);
        ``text``; ``number`` (float64, finite); ``integer`` (int64).
    :param optional: whether a value may be missing: null, or the empty text. A column may never be.
    :param largest: of a number's magnitude.
    """

    name: str
    kind: str
    optional: bool = False
    largest: float = float("inf")

    @property
    def type(self) -> pa.DataType:
        """The column's type in the batches."""
        return _TYPES[self.kind]


@dataclass(frozen=True)
class Places:
    """Where the wanted columns are in one file.

    :param at: the position of each, counted from 0.
    :param shown: the name of each, for messages.
    :param count: how many columns the file has.
    :param delimiter: between the values of a CSV file.
    :param header: whether a CSV file's first line is no row.
    """

    at: tuple[int, ...]
    shown: tuple[str, ...]
    count: int
    delimiter: str = ","
    header: bool = True


class Layout(Protocol):
    """Which columns are wanted, and how to find them in a file."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The wanted columns."""

    def in_line(self, uri: str, first_line: str) -> Places:
        """Find the columns from a CSV file's first line; raise InputError if they are not there."""

    def in_names(self, uri: str, names: Sequence[str]) -> Places:
        """Find the columns in a file that names them; raise InputError if they are not there."""


@dataclass(frozen=True)
class Decoded:
    """A part of a file.

    :param uri: of the file.
    :param batch: its rows, if there is nothing wrong with them.
    :param problems: what is wrong, the first few.
    :param bad: how many rows are wrong; 0 if it is not rows.
    """

    uri: str
    batch: pa.RecordBatch | None
    problems: tuple[str, ...] = ()
    bad: int = 0


@dataclass(frozen=True)
class NamedLayout:
    """Columns that are found by their names.

    :param columns: that are wanted.
    :param names: of all columns of CSV files, in their order, where the files have no header; a file whose
        first line is just these names has one all the same. Empty: the first line is the header.
    :param delimiter: of CSV files.
    """

    columns: tuple[Column, ...]
    names: tuple[str, ...] = ()
    delimiter: str = ","

    def in_line(self, uri: str, first_line: str) -> Places:
        """Find the columns from a CSV file's first line."""
        found = [name.strip() for name in next(csv.reader([first_line], delimiter=self.delimiter), [])]
        if not self.names:
            return self._places(uri, found, True)
        return self._places(uri, list(self.names), found == list(self.names))

    def in_names(self, uri: str, names: Sequence[str]) -> Places:
        """Find the columns in a file that names them."""
        return self._places(uri, names, False)

    def _places(self, uri: str, names: Sequence[str], header: bool) -> Places:
        missing = [column.name for column in self.columns if column.name not in names]
        if missing:
            some = ", ".join(names)
            raise InputError(
                f"{uri}: column {' and '.join(missing)} is missing; found {some[:300] or 'no columns at all'}"
            )
        twice = sorted({c.name for c in self.columns if list(names).count(c.name) > 1})
        if twice:
            raise InputError(f"{uri}: column {' and '.join(twice)} is there more than once")
        at = tuple(list(names).index(column.name) for column in self.columns)
        shown = tuple(column.name for column in self.columns)
        return Places(at, shown, len(names), self.delimiter, header)
