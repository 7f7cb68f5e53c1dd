"""Which columns of a file hold user, item and rating."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.errors import InputError
from trainer.tables import Column, Places

DATA_TYPES = ("user_ratings", "ratings", "web_views")
_DELIMITERS = ("\t", ",", ";", "|")
# Names of the files that such pipelines exported, the first one being the one that messages name.
_NAMES = {
    "user_ratings": (
        ("userId", "user_id", "user", "customerId", "clientId", "subscriberId", "visitorId"),
        ("itemId", "movieId", "item_id", "movie_id", "item", "productId", "contentId", "groupId"),
        ("rating", "score"),
    ),
    "web_views": (
        ("clientId", "userId", "user_id", "visitorId", "fullVisitorId"),
        ("contentId", "itemId", "item_id", "pageId"),
        ("timeOnPage", "duration", "session_duration", "rating"),
    ),
}


@dataclass(frozen=True)
class Format:
    """What the arguments say about the files; None where each file's first line decides.

    :param data_type: ``user_ratings``: columns by their names in the header. ``ratings``: user, item,
        rating in this order, as in MovieLens' ``u.data``. ``web_views``: as ``user_ratings`` with names
        clientId, contentId, timeOnPage; durations of one user and item are added up.
    :param delimiter: one character between values.
    :param headers: whether the first line of a ``ratings`` file is to be skipped.
    """

    data_type: str | None = None
    delimiter: str | None = None
    headers: bool = False


# Beyond this, squares of float32 numbers overflow.
_LARGEST = 1e15


class RatingsLayout:
    """Finds user, item and rating in files.

    :param form: what the arguments say.
    """

    columns = (Column("user", "id"), Column("item", "id"), Column("rating", "number", largest=_LARGEST))

    def __init__(self, form: Format) -> None:
        self._form = form
        self.data_types: set[str] = set()

    def in_line(self, uri: str, first_line: str) -> Places:
        """Find the columns from a CSV file's first line.

        :param uri: the file, for messages.
        :param first_line: without its end.
        :raises InputError: the columns are not there; the message lists what was expected and found.
        """
        delimiter = self._form.delimiter or max(_DELIMITERS, key=first_line.count)
        values = next(csv.reader([first_line], delimiter=delimiter), [])
        return self._found(uri, values, first_line, delimiter) or self._by_order(uri, values, delimiter)

    def in_names(self, uri: str, names: Sequence[str]) -> Places:
        """Find the columns in a file that names them.

        :param uri: the file, for messages.
        :param names: of all its columns.
        :raises InputError: the columns are not there; the message lists what was expected and found.
        """
        shown = ", ".join(names)
        places = self._found(uri, names, shown, ",")
        if places is None:
            raise InputError(f"{uri}: columns userId, itemId, rating are missing: found {shown[:200]!r}")
        return places

    def _found(self, uri: str, names: Sequence[str], shown: str, delimiter: str) -> Places | None:
        """Find the columns by their names; None where names are not asked for and not there."""
        data_type = self._form.data_type
        found = _by_name(names, data_type)
        if found:
            kind, at = found
            self.data_types.add(data_type or kind)
            return Places(at, _names(kind), len(names), delimiter, True)
        if data_type not in _NAMES:
            return None
        roles = _NAMES[data_type]
        present = {_plain(value) for value in names}
        missing = [role[0] for role in roles if not present & {_plain(name) for name in role}]
        if not missing:
            raise InputError(f"{uri}:1: the header lists a column twice: {shown[:200]!r}")
        expected = f"{', '.join(role[0] for role in roles)} separated by {delimiter!r}"
        raise InputError(
            f"{uri}:1: column {' and '.join(missing)} is missing: expected a header with {expected}, "
            f"found {shown[:200]!r}"
        )

    def _by_order(self, uri: str, values: Sequence[str], delimiter: str) -> Places:
        if len(values) < 3:
            raise InputError(
                f"{uri}:1: expected user, item and rating separated by {delimiter!r} (see --delimiter), or a "
                f"header with userId, itemId, rating; found {delimiter.join(values)[:200]!r}"
            )
        self.data_types.add("ratings")
        return Places((0, 1, 2), _names("user_ratings"), len(values), delimiter, self._form.headers)


def _names(data_type: str) -> tuple[str, ...]:
    return tuple(role[0] for role in _NAMES[data_type])


def _by_name(values: Sequence[str], data_type: str | None) -> tuple[str, tuple[int, ...]] | None:
    plain = [_plain(value) for value in values]
    kinds = (data_type,) if data_type in _NAMES else tuple(_NAMES) if data_type is None else ("user_ratings",)
    for kind in kinds:
        at = []
        for role in _NAMES[kind]:
            present = [_plain(name) for name in role if _plain(name) in plain]
            if present and plain.count(present[0]) == 1:
                at.append(plain.index(present[0]))
        if len(at) == len(_NAMES[kind]):
            return kind, tuple(at)
    return None


def _plain(name: str) -> str:
    return name.strip().strip('"').lower().replace("_", "")
