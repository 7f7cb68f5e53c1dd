"""Which columns of a file hold user, item and rating."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.errors import InputError

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


@dataclass(frozen=True)
class Columns:
    """Where user, item and rating are in one file.

    :param data_type: one of :data:`DATA_TYPES`.
    :param delimiter: between the values.
    :param header: whether the first line is a header.
    :param count: how many columns there are.
    :param user: column of the user, counted from 0.
    :param item: column of the item.
    :param rating: column of the rating.
    """

    data_type: str
    delimiter: str
    header: bool
    count: int
    user: int
    item: int
    rating: int

    @property
    def names(self) -> tuple[str, str, str]:
        """What messages call user, item and rating."""
        user, item, rating = _NAMES.get(self.data_type, _NAMES["user_ratings"])
        return user[0], item[0], rating[0]


def find_columns(uri: str, first_line: str, form: Format) -> Columns:
    """Find the columns from a file's first line.

    :param uri: the file, for messages.
    :param first_line: without its end.
    :param form: what the arguments say.
    :raises InputError: the columns are not there; the message lists what was expected and found.
    """
    delimiter = form.delimiter or max(_DELIMITERS, key=first_line.count)
    values = next(csv.reader([first_line], delimiter=delimiter), [])
    named = _by_name(values, form.data_type, delimiter)
    if named:
        return named
    if form.data_type in ("user_ratings", "web_views"):
        names = _NAMES[form.data_type]
        present = {_plain(value) for value in values}
        missing = [role[0] for role in names if not present & {_plain(name) for name in role}]
        expected = f"{', '.join(role[0] for role in names)} separated by {delimiter!r}"
        if not missing:
            raise InputError(f"{uri}:1: the header lists a column twice: {first_line[:200]!r}")
        raise InputError(
            f"{uri}:1: column {' and '.join(missing)} is missing: expected a header with {expected}, "
            f"found {first_line[:200]!r}"
        )
    if len(values) < 3:
        raise InputError(
            f"{uri}:1: expected user, item and rating separated by {delimiter!r} (see --delimiter), or a "
            f"header with userId, itemId, rating; found {first_line[:200]!r}"
        )
    return Columns("ratings", delimiter, form.headers, len(values), 0, 1, 2)


def _by_name(values: Sequence[str], data_type: str | None, delimiter: str) -> Columns | None:
    plain = [_plain(value) for value in values]
    if len(set(plain)) < len(plain):
        return None
    if data_type is None:
        kinds: tuple[str, ...] = ("user_ratings", "web_views")
    else:
        kinds = (data_type if data_type in _NAMES else "user_ratings",)
    for kind in kinds:
        found = []
        for role in _NAMES[kind]:
            found.append(next((plain.index(_plain(n)) for n in role if _plain(n) in plain), None))
        user, item, rating = found
        if user is not None and item is not None and rating is not None:
            return Columns(data_type or kind, delimiter, True, len(values), user, item, rating)
    return None


def _plain(name: str) -> str:
    return name.strip().strip('"').lower().replace("_", "")
