"""The rows of a sparse matrix, cut into dense batches of about equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Entries above which a batch is cut where rows get this much longer, so that little is padding.
_ENOUGH = 20_000
_PADDING = 1.12
# Numbers that a batch's gathered factors may hold: 64 MiB of float32.
_LARGEST = 16 << 20


@dataclass(frozen=True)
class Batch:
    """Rows, each with the same number of places for entries.

    :param rows: which rows, as int32.
    :param columns: for each place, the entry's column; the number of columns where there is no entry.
    :param values: for each place, the entry's value; 0 where there is none.
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Side:
    """What one replica does of one half-step.

    :param batches: of this replica's rows.
    :param places: for each row of the matrix, its place in what all replicas' batches give, one after the
        other.
    :param share: how many rows each replica gives; those beyond its batches are padding.
    """

    batches: Sequence[Batch]
    places: np.ndarray
    share: int


def cut(
    row: np.ndarray,
    column: np.ndarray,
    value: np.ndarray,
    shape: tuple[int, int],
    width: int,
    rank: int,
    size: int,
) -> Side:
    """Cut this replica's part of a matrix into batches.

    Rows are dealt to the replicas in the order of their length, so that all have about the same work.

    :param row: of each entry.
    :param column: of each entry.
    :param value: of each entry.
    :param shape: rows and columns of the matrix.
    :param width: how many numbers are gathered for an entry.
    :param rank: of this replica.
    :param size: number of replicas.
    """
    rows, columns = shape
    length = np.bincount(row, minlength=rows)
    by_length = np.argsort(length, kind="stable").astype(np.int32)
    share = -(-rows // size)
    places = np.empty(rows, np.int32)
    for other in range(size):
        mine = by_length[other::size]
        places[mine] = other * share + np.arange(len(mine))
    start = np.concatenate([[0], np.cumsum(length)])
    order = np.argsort(row, kind="stable")
    batches = [
        _fill(part, length, start, column, value, order, columns)
        for part in _parts(by_length[rank::size], length, max(1, _LARGEST // width))
    ]
    return Side(batches, places, share)


def _parts(rows: np.ndarray, length: np.ndarray, largest: int) -> list[np.ndarray]:
    parts = []
    first = 0
    lengths = length[rows].tolist()
    for at, longest in enumerate(lengths):
        entries = (at - first) * longest
        longer = longest > _PADDING * max(lengths[first], 1)
        if at > first and ((entries > _ENOUGH and longer) or entries + longest > largest):
            parts.append(rows[first:at])
            first = at
    if len(rows):
        parts.append(rows[first:])
    return parts


def _fill(
    rows: np.ndarray,
    length: np.ndarray,
    start: np.ndarray,
    column: np.ndarray,
    value: np.ndarray,
    order: np.ndarray,
    columns: int,
) -> Batch:
    place = np.arange(max(int(length[rows[-1]]), 1))
    filled = place[None, :] < length[rows][:, None]
    entry = order[(start[rows][:, None] + place[None, :])[filled]]
    batch = Batch(rows, np.full(filled.shape, columns, np.int32), np.zeros(filled.shape, np.float32))
    batch.columns[filled] = column[entry]
    batch.values[filled] = value[entry]
    return batch
