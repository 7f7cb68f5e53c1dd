"""Hashes: of the unit that rows belong to, of a unit's group, and of a group's weight in a resample.

A user's rows are not independent of each other; the users are. Users are spread over a fixed number of
groups by a hash, and a group is what is left out or drawn again: groups of independent users are independent,
so that intervals stay right while memory does not grow with the number of users.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
# Probabilities of Poisson(1) being at most 0, 1, 2, …; beyond 12 it is rarer than a hash can tell.
_POISSON = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(13)])


def mixed(values: np.ndarray) -> np.ndarray:
    """Return integers whose bits all depend on all bits of the given ones.

    :param values: uint64.
    """
    found = (values + _GOLDEN) * _ODD
    found ^= found >> _HALF
    found *= _ODD
    found ^= found >> _HALF
    return found


def keys_of(values: Any) -> np.ndarray:
    """Return a 64-bit hash of each value; equal values have equal ones in every run.

    :param values: integers, texts or floats; an array of NumPy or Arrow (plain, chunked or with a
        dictionary).
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return mixed(values.astype(np.int64, copy=False).view(np.uint64))
    if isinstance(values, np.ndarray) and values.dtype.kind in "fb":
        # Adding 0 makes -0.0 the same as 0.0.
        return mixed((values.astype(np.float64) + 0.0).view(np.uint64))
    if isinstance(values, np.ndarray):
        values = pa.array(values, pa.string())
    if isinstance(values, pa.ChunkedArray):
        parts = [keys_of(chunk) for chunk in values.chunks]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)
    if pa.types.is_dictionary(values.type):
        codes = values.indices.fill_null(0).to_numpy(zero_copy_only=False)
        keys = (
            keys_of(values.dictionary)[codes] if len(values.dictionary) else np.zeros(len(codes), np.uint64)
        )
        return np.where(_nulls(values), np.uint64(0), keys)
    if (
        pa.types.is_integer(values.type)
        or pa.types.is_floating(values.type)
        or pa.types.is_boolean(values.type)
    ):
        filled = (
            values.cast(pa.int8()).fill_null(0) if pa.types.is_boolean(values.type) else values.fill_null(0)
        )
        return np.where(_nulls(values), np.uint64(0), keys_of(filled.to_numpy(zero_copy_only=False)))
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        values = values.cast(pa.string())
    return _text_keys(values)


def _nulls(values: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_null(values).to_numpy(zero_copy_only=False))


def _text_keys(values: pa.Array) -> np.ndarray:
    """Hash texts eight bytes at a time, all texts at once."""
    texts = values.cast(pa.large_string()).fill_null("")
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if len(texts) == 0:
        return np.empty(0, np.uint64)
    start, length = offsets[:-1], np.diff(offsets)
    content = texts.buffers()[2]
    raw = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    raw = np.concatenate([raw[: offsets[-1]], np.zeros(8, np.uint8)])
    keys = mixed(length.astype(np.uint64))
    for word in range(-(-int(length.max()) // 8)):
        rows = np.flatnonzero(length > 8 * word)
        at = start[rows, None] + np.arange(8 * word, 8 * word + 8)
        letters = np.where(at < (start + length)[rows, None], raw[np.minimum(at, len(raw) - 1)], 0)
        keys[rows] = mixed(keys[rows] ^ np.ascontiguousarray(letters, np.uint8).view(np.uint64)[:, 0])
    return np.where(_nulls(values), np.uint64(0), keys)


def groups_of(keys: np.ndarray, groups: int) -> np.ndarray:
    """Return the group of each key.

    :param keys: hashes, uint64.
    :param groups: how many there are, a power of two. A group of fewer is the union of groups of more.
    """
    return (keys >> np.uint64(64 - groups.bit_length() + 1)).astype(np.intp)


def poisson_weights(seed: int, groups: int, replicates: int) -> np.ndarray:
    """Return how often each resample draws each group: Poisson(1), by a hash of seed, group and replicate.

    The same group weighs the same in every model, every metric and every part of the rows: differences are
    paired without any join, and parts that were measured apart add up to what one pass would have given.
    Chamandy et al., *Estimating Uncertainty for Massive Data Streams*, https://research.google/pubs/pub43157.

    :param seed: of the hash.
    :param groups: how many.
    :param replicates: how many resamples.
    :returns: replicates by groups, float32.
    """
    group = mixed(np.arange(groups, dtype=np.uint64) ^ mixed(np.array([seed], np.uint64)))
    replicate = mixed(np.arange(replicates, dtype=np.uint64))
    drawn = mixed(replicate[:, None] ^ group[None, :])
    share = (drawn >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.searchsorted(_POISSON, share, side="right").astype(np.float32)


class UnitCounter:
    """Counts distinct units in fixed memory, by which of a million places their hashes fall on.

    Exact to about 0.2 % up to a few million units (linear counting); from about ten million on, it says ten.
    """

    _PLACES = 1 << 20

    def __init__(self) -> None:
        self._taken = np.zeros(self._PLACES, bool)

    def add(self, keys: np.ndarray) -> None:
        """Count these units, unless they were."""
        self._taken[groups_of(keys, self._PLACES)] = True

    def merge(self, other: UnitCounter) -> None:
        """Count what another has counted."""
        self._taken |= other._taken

    def count(self) -> int:
        """Return how many there were."""
        return distinct(int(self._taken.sum()), self._PLACES)


def distinct(taken: int, places: int) -> int:
    """Return how many units there probably are if their hashes fall on so many places (linear counting)."""
    return round(-places * math.log1p(-min(taken, places - 1) / places))
