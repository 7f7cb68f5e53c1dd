"""The rows of a sparse matrix, cut into dense batches of about equal length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Entries above which a batch is cut where rows get this much longer, so that little is padding.
_ENOUGH = 20_000
_PADDING = 1.12
# Numbers that a batch's solution may need at once: 8 MiB of float32 stay in a processor's cache.
_LARGEST = 2 << 20
# Short rows are padded to a multiple of this.
STEP = 16


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
    need: Callable[[int], int],
    short: int,
    rank: int,
    size: int,
) -> Side:
    """Cut this replica's part of a matrix into batches.

    Rows are dealt to the replicas in the order of their length, so that all have about the same work.

    :param row: of each entry.
    :param column: of each entry.
    :param value: of each entry.
    :param shape: rows and columns of the matrix.
    :param need: how many numbers it takes to solve for a row with so many places.
    :param short: rows of at most so many entries are padded to a multiple of :data:`STEP`, and share a batch
        only with rows of the same length then.
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
    order = None if _is_sorted(row) else stable_order(row, rows)
    padded = np.where(length <= short, np.maximum(-(-length // STEP), 1) * STEP, length)
    batches = []
    for part in _parts(by_length[rank::size], padded, need, short):
        places_of_part = _entries(part, length, int(padded[part[-1]]), start)
        batches.append(_fill(part, *places_of_part, column, value, order, columns))
    return Side(batches, places, share)


def stable_order(key: np.ndarray, count: int) -> np.ndarray:
    """Return the order that sorts keys and leaves equal ones in their order.

    :param key: integers from 0.
    :param count: above all of them.
    """
    # NumPy sorts 16 bits by their radix, which is several times as fast as comparing.
    order = np.argsort((key & 0xFFFF).astype(np.uint16), kind="stable")
    if count > 1 << 16:
        order = order[np.argsort((key[order] >> 16).astype(np.uint16), kind="stable")]
    return order


def _is_sorted(key: np.ndarray) -> bool:
    return bool((key[1:] >= key[:-1]).all())


def _parts(rows: np.ndarray, padded: np.ndarray, need: Callable[[int], int], short: int) -> list[np.ndarray]:
    parts = []
    first = 0
    lengths = padded[rows].tolist()
    for at, longest in enumerate(lengths):
        shortest = lengths[first]
        longer = longest > shortest if shortest <= short else longest > _PADDING * shortest
        enough = shortest <= short or (at - first) * longest > _ENOUGH
        if at > first and ((longer and enough) or (at - first + 1) * need(longest) > _LARGEST):
            parts.append(rows[first:at])
            first = at
    if len(rows):
        parts.append(rows[first:])
    return parts


def _entries(
    rows: np.ndarray, length: np.ndarray, places: int, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which places are filled, and with which entry each of those."""
    place = np.arange(max(places, 1))
    filled = place[None, :] < length[rows][:, None]
    return filled, (start[rows][:, None] + place[None, :])[filled]


def _fill(
    rows: np.ndarray,
    filled: np.ndarray,
    entry: np.ndarray,
    column: np.ndarray,
    value: np.ndarray,
    order: np.ndarray | None,
    columns: int,
) -> Batch:
    entry = entry if order is None else order[entry]
    batch = Batch(rows, np.full(filled.shape, columns, np.int32), np.zeros(filled.shape, np.float32))
    batch.columns[filled] = column[entry]
    batch.values[filled] = value[entry]
    return batch
