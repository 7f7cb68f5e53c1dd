"""Statistics of a table, computed in one pass over its batches and in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Rows that quantiles are taken from; their error is about 1 / sqrt(20,000), 0.7 percentage points.
_SAMPLE = 20_000
# Smallest hashes kept to count distinct values: exact up to here, within about 1 % beyond.
_HASHES = 32_768
# Values that are counted one by one; a column with more is described by its quantiles alone.
_VALUES = 1_000
_SEED = 20_240_117
PERCENTILES = 101


@dataclass(frozen=True)
class Column:
    """What is known of one column.

    :param type: ``integer``, ``number``, ``boolean``, ``timestamp`` or ``string``.
    :param nulls: how many values are missing; NaN counts.
    :param distinct: how many different values there are, about 1 % off where they are more than 32,768.
    :param minimum: the least value, a number or RFC 3339; None for strings.
    :param maximum: likewise the greatest.
    :param mean: of numbers.
    :param percentiles: 101 values of numbers, from the least to the greatest, of a sample of 20,000 rows.
    :param counts: how often each value occurs, where there are at most 1,000; None otherwise.
    """

    type: str
    nulls: int
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    percentiles: tuple[float, ...] = ()
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Profile:
    """What is known of a table.

    :param rows: how many.
    :param distinct_rows: how many different ones, about 1 % off where they are more than 32,768.
    :param columns: by name, in the table's order.
    """

    rows: int
    distinct_rows: int
    columns: Mapping[str, Column] = field(default_factory=dict)

    @property
    def duplicates(self) -> float:
        """The share of rows that repeat an earlier one."""
        return max(0.0, 1 - self.distinct_rows / self.rows) if self.rows else 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any]) -> Profile:
        """Return what :meth:`to_mapping` gave.

        :raises ValueError: it is no such mapping.
        """
        try:
            columns = {
                name: Column(**{**column, "percentiles": tuple(column["percentiles"])})
                for name, column in value["columns"].items()
            }
            return cls(int(value["rows"]), int(value["distinct_rows"]), columns)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a profile: {error!r}") from error


class Profiler:
    """Takes a table's batches one by one.

    The result depends on the rows and their order alone, so the same files give the same profile.
    """

    def __init__(self) -> None:
        import numpy as np

        self._random = np.random.default_rng(_SEED)
        self._rows = 0
        self._row_hashes = _Distinct()
        self._columns: dict[str, _ColumnProfiler] = {}
        self._keys: np.ndarray[Any, Any] | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch in; all batches have the same columns."""
        import numpy as np

        if not batch.num_rows:
            return
        keys = self._random.random(batch.num_rows)
        hashes = np.zeros(batch.num_rows, np.uint64)
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            profiler = self._columns.setdefault(name, _ColumnProfiler(kind_of(values.type)))
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + profiler.add(values, keys)
        self._row_hashes.add(hashes)
        self._rows += batch.num_rows

    def profile(self) -> Profile:
        """Return the statistics of what was taken in so far."""
        columns = {name: column.result() for name, column in self._columns.items()}
        return Profile(self._rows, self._row_hashes.count(), columns)


def kind_of(type_: pa.DataType) -> str:
    """Return what a column of this type holds, see :class:`Column`."""
    from pyarrow import types

    if types.is_integer(type_):
        return "integer"
    if types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if types.is_boolean(type_):
        return "boolean"
    if types.is_timestamp(type_) or types.is_date(type_):
        return "timestamp"
    return "string"


class _ColumnProfiler:
    def __init__(self, kind: str) -> None:
        import numpy as np

        self._kind = kind
        self._rows = 0
        self._nulls = 0
        self._sum = 0.0
        self._least: Any = None
        self._greatest: Any = None
        self._distinct = _Distinct()
        self._counts: Counter[str] | None = Counter()
        self._keys = np.empty(0)
        self._sample = np.empty(0)

    def add(self, values: pa.Array, keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Take values in; return a hash of each."""
        self._rows += len(values)
        if self._kind == "string":
            return self._add_texts(values)
        return self._add_numbers(values, keys)

    def _add_texts(self, values: pa.Array) -> np.ndarray[Any, Any]:
        import numpy as np
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded = values.cast(pa.string()).dictionary_encode()
        entries = encoded.dictionary
        hashes = pd.util.hash_array(entries.to_numpy(zero_copy_only=False).astype(object))
        self._nulls += encoded.null_count
        self._distinct.add(hashes)
        if self._counts is not None:
            found = np.bincount(encoded.indices.drop_null().to_numpy(), minlength=len(entries))
            self._count(entries.to_pylist(), found)
        indices = pc.fill_null(encoded.indices, len(entries)).to_numpy(zero_copy_only=False)
        of_rows: np.ndarray[Any, Any] = np.append(hashes, np.uint64(0))[indices]
        return of_rows

    def _add_numbers(self, values: pa.Array, keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import numpy as np
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._kind == "number":
            values = values.cast(pa.float64(), safe=False)
            values = pc.if_else(pc.is_nan(values), None, values)
        extremes = pc.min_max(values)
        if self._kind == "timestamp":
            values = values.cast(pa.timestamp("us")).cast(pa.int64())
        values = values.cast(pa.float64(), safe=False)
        least, greatest = extremes["min"].as_py(), extremes["max"].as_py()
        if least is not None:
            self._least = least if self._least is None else min(self._least, least)
            self._greatest = greatest if self._greatest is None else max(self._greatest, greatest)
        numbers = values.to_numpy(zero_copy_only=False)
        known = ~np.isnan(numbers)
        self._nulls += len(numbers) - int(known.sum())
        hashes: np.ndarray[Any, Any] = np.where(known, pd.util.hash_array(numbers), np.uint64(0))
        self._distinct.add(hashes[known])
        if self._counts is not None:
            found, counts = np.unique(numbers[known], return_counts=True)
            self._count([_number(value) for value in found[: _VALUES + 1]], counts[: _VALUES + 1])
        if self._kind in ("integer", "number"):
            self._sum += float(numbers[known].sum())
            self._draw(numbers, keys)
        return hashes

    def _count(self, names: Sequence[str], counts: np.ndarray[Any, Any]) -> None:
        assert self._counts is not None
        if len(names) <= _VALUES:
            self._counts.update(dict(zip(names, counts.tolist(), strict=True)))
        if len(names) > _VALUES or len(self._counts) > _VALUES:
            self._counts = None

    def _draw(self, values: np.ndarray[Any, Any], keys: np.ndarray[Any, Any]) -> None:
        """Keep the values with the smallest keys: a uniform sample."""
        import numpy as np

        known = np.isfinite(values)
        self._keys = np.concatenate([self._keys, keys[known]])
        self._sample = np.concatenate([self._sample, values[known]])
        if len(self._keys) > _SAMPLE:
            kept = np.argpartition(self._keys, _SAMPLE)[:_SAMPLE]
            self._keys, self._sample = self._keys[kept], self._sample[kept]

    def result(self) -> Column:
        """Return the column's statistics."""
        import numpy as np

        known = self._rows - self._nulls
        numeric = self._kind in ("integer", "number")
        percentiles: Sequence[float] = ()
        if numeric and len(self._sample):
            percentiles = np.quantile(self._sample, np.linspace(0, 1, PERCENTILES)).tolist()
        return Column(
            type=self._kind,
            nulls=self._nulls,
            distinct=self._distinct.count(),
            minimum=_plain(self._least),
            maximum=_plain(self._greatest),
            # Rounded, since sums differ in their last digits with the size of the batches.
            mean=float(f"{self._sum / known:.10g}") if numeric and known else None,
            percentiles=tuple(percentiles),
            counts=None if self._counts is None else dict(self._counts.most_common()),
        )


class _Distinct:
    """Counts different values by the smallest of their hashes.

    Bar-Yossef et al., Counting distinct elements in a data stream, 2002.
    """

    def __init__(self) -> None:
        import numpy as np

        self._smallest = np.empty(0, np.uint64)

    def add(self, hashes: np.ndarray[Any, Any]) -> None:
        """Take hashes in, again or not."""
        import numpy as np

        if len(self._smallest) == _HASHES:
            hashes = hashes[hashes < self._smallest[-1]]
        self._smallest = np.unique(np.concatenate([self._smallest, hashes]))[:_HASHES]

    def count(self) -> int:
        """Return how many different values there were."""
        if len(self._smallest) < _HASHES:
            return len(self._smallest)
        return round((_HASHES - 1) / (float(self._smallest[-1]) / 2**64))


def _plain(value: Any) -> float | str | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if value is None or isinstance(value, (bool, int, float)):
        return None if value is None else float(value)
    return str(value)


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(float(value))
