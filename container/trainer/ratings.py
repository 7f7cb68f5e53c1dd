"""Reading ratings: who rated what, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.batches import stable_order
from trainer.columns import Format, RatingsLayout
from trainer.errors import InputError
from trainer.files import File
from trainer.reading import read_batches


@dataclass(frozen=True)
class Ratings:
    """Rows of user, item and rating.

    :param users: the distinct users' ids, sorted.
    :param items: the distinct items' ids, sorted.
    :param user: for each row, an index into ``users``.
    :param item: for each row, an index into ``items``.
    :param rating: for each row.
    :param data_type: what the rows are: ``user_ratings``, ``ratings`` or ``web_views``.
    """

    users: pa.StringArray
    items: pa.StringArray
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    data_type: str

    def __len__(self) -> int:
        return len(self.rating)

    def take(self, rows: np.ndarray) -> Ratings:
        """Return some of the rows, with the same users and items."""
        return replace(self, user=self.user[rows], item=self.item[rows], rating=self.rating[rows])

    def compact(self) -> Ratings:
        """Return the same rows with only the users and items that have any."""
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        return replace(
            self,
            users=self.users.take(pa.array(users)),
            items=self.items.take(pa.array(items)),
            user=user.astype(np.int32),
            item=item.astype(np.int32),
        )

    def merged(self) -> Ratings:
        """Return one row for each pair of user and item, ordered by user and item.

        Of several ratings of one pair the mean is taken: exports have no order in which one would be the
        last. Durations of page views are added up.
        """
        key = self.user.astype(np.int64) * max(len(self.items), 1) + self.item
        if (key[1:] > key[:-1]).all():
            return self
        order = stable_order(self.item, len(self.items))
        order = order[stable_order(self.user[order], len(self.users))]
        key = key[order]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        rows = order[first]
        if len(first) == len(key):
            return self.take(rows)
        # Sorted within a pair too, so that the sum does not depend on the order of the files' rows.
        values = self.rating[np.lexsort((self.rating, self.item, self.user))]
        total = np.add.reduceat(values.astype(np.float64), first)
        if self.data_type != "web_views":
            total /= np.diff(np.append(first, len(key)))
        return replace(self.take(rows), rating=total.astype(np.float32))

    def index(self, other: Ratings) -> tuple[np.ndarray, np.ndarray]:
        """Return the users and items of other rows as indices into these; -1 for unknown ones."""
        return _index(other.users, self.users)[other.user], _index(other.items, self.items)[other.item]


def read_ratings(files: Sequence[File], form: Format) -> Ratings:
    """Read files as one set of rows.

    :param files: CSV, NDJSON or Parquet, plain or gzip.
    :param form: what the arguments say about them.
    :raises InputError: a file is empty or something in it can't be used; names file and line.
    """
    layout = RatingsLayout(form)
    user, item, rating = [], [], []
    for batch in read_batches(files, layout):
        user.append(batch["user"])
        item.append(batch["item"])
        rating.append(batch["rating"].to_numpy().astype(np.float32))
    kinds = sorted(layout.data_types)
    if len(kinds) > 1:
        raise InputError(f"the files hold different data: {', '.join(kinds)}; choose one --data-type")
    if not rating:
        raise InputError(f"no rows: {', '.join(file.uri for file in files[:5])} hold no rating at all")
    (users, user_index), (items, item_index) = _encode(user), _encode(item)
    return Ratings(users, items, user_index, item_index, np.concatenate(rating), kinds[0])


def _encode(chunks: list[pa.DictionaryArray]) -> tuple[pa.StringArray, np.ndarray]:
    """Return the sorted distinct ids, and each row's index into them."""
    ids = pc.unique(pa.chunked_array([chunk.dictionary for chunk in chunks], pa.string()))
    ids = ids.take(pc.array_sort_indices(ids))
    index = np.concatenate([_index(chunk.dictionary, ids)[chunk.indices.to_numpy()] for chunk in chunks])
    used = np.zeros(len(ids), bool)
    used[index] = True
    if used.all():
        return ids, index
    return ids.filter(pa.array(used)), (np.cumsum(used) - 1)[index].astype(np.int32)


def _index(values: pa.Array, ids: pa.Array) -> np.ndarray:
    found = pc.fill_null(pc.index_in(values, value_set=ids), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int32)
