"""Metrics of several models on the same rows, in one pass and in bounded memory.

>>> measurement = Measurement(["challenger", "champion"], "binary", seed=7)
>>> for batch in batches:
...     measurement.add(batch, [model.predict(batch.table) for model in models])
>>> measurement.result()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.errors import InputError
from trainer.evaluation.estimate import Estimate, estimate
from trainer.evaluation.groups import UnitCounter, distinct, groups_of, keys_of, mixed, poisson_weights
from trainer.evaluation.metrics import Metric, histogram_values, metrics_of, quantities, ratio
from trainer.evaluation.models import Batch, Predictions
from trainer.evaluation.ranking import Ranking
from trainer.evaluation.sums import Histograms, Sums, score_bins

# Resamples, of all rows and of each slice: their spread is known to 2 % and to 4 %.
REPLICATES, _SLICE_REPLICATES = 1000, 300
SLICE_LIMIT = 100
OTHER = "(other)"
_PIECE = 1 << 14
# Groups of users: of all rows and of each slice; fewer where a group holds a histogram.
_GROUPS, _SLICE_GROUPS = 4096, 1024
_HISTOGRAM_GROUPS, _SLICE_HISTOGRAM_GROUPS, _SLICE_COARSENESS = 256, 64, 2


class Measurement:
    """Adds up what models say of rows; :meth:`result` turns it into metrics with their uncertainty.

    Which rows come in which order and in which batches makes no difference, and measurements of parts of the
    rows can be merged: a user's group, and the groups' weights in the resamples, are hashes.

    :param models: their names, e.g. ``challenger``, ``champion`` and ``anchor``.
    :param task: one of :data:`~trainer.evaluation.metrics.TASKS`.
    :param seed: of the groups' weights in the resamples.
    :param higher: the names of the models' own per-row columns of which more is better.
    :param ranking: measures each user's order of rows as well.
    """

    def __init__(
        self,
        models: Sequence[str],
        task: str,
        *,
        seed: int = 0,
        higher: Sequence[str] = (),
        ranking: Ranking | None = None,
    ) -> None:
        self.models = tuple(models)
        self.task = task
        self._seed, self._higher, self._ranking = seed, set(higher), ranking
        self.rows = 0
        self._identity = np.zeros(2, np.uint64)
        self._units = UnitCounter()
        self._known = np.zeros(len(models))
        self._lowest = np.full(len(models), np.inf)
        self._highest = np.full(len(models), -np.inf)
        self._columns: tuple[str, ...] | None = None
        self._slices: dict[tuple[str, str], int] = {}
        self._all: Sums | None = None
        self._sliced: Sums | None = None
        self._histogram = Histograms(len(models), 1, _HISTOGRAM_GROUPS)
        self._slice_histogram = Histograms(
            len(models), SLICE_LIMIT, _SLICE_HISTOGRAM_GROUPS, _SLICE_COARSENESS
        )

    def add(self, batch: Batch, predictions: Sequence[Predictions]) -> None:
        """Add rows.

        :param batch: the rows.
        :param predictions: of each model, in the order of ``models``.
        :raises InputError: they don't fit the task, the rows, or what was added before.
        """
        label = np.asarray(batch.label, np.float64)
        unit = keys_of(batch.unit)
        item = None if batch.item is None else keys_of(batch.item)
        said = [
            replace(
                predicted,
                values=np.asarray(predicted.values, np.float64),
                columns={name: np.asarray(c, np.float64) for name, c in predicted.columns.items()},
            )
            for predicted in predictions
        ]
        for model, predicted in zip(self.models, said, strict=True):
            if len(predicted.values) != len(label):
                raise InputError(f"{model}: predicts {len(predicted.values)} rows of {len(label)}")
        parts = {name: self._parts(name, column) for name, column in batch.slices.items()}
        # What fits into the processor's cache is added up several times as fast.
        size = len(label) if parts else _PIECE
        for start in range(0, len(label), size or 1):
            piece = slice(start, start + size)
            self._add(
                unit[piece],
                None if item is None else item[piece],
                label[piece],
                [_cut(predicted, piece) for predicted in said],
                {name: numbers[piece] for name, numbers in parts.items()},
            )
        if self._ranking is not None and len(label):
            self._ranking.add(unit, label, [predicted.values for predicted in said])

    def _add(
        self,
        unit: np.ndarray,
        item: np.ndarray | None,
        label: np.ndarray,
        said: Sequence[Predictions],
        slices: Mapping[str, np.ndarray],
    ) -> None:
        values = self._quantities(label, said)
        row = mixed(unit + (label + 0.0).view(np.uint64))
        if item is not None:
            row = mixed(row ^ item)
        # Sums of hashes: of the same rows in any order they are the same.
        self._identity += np.array([row.sum(dtype=np.uint64), (row * row).sum(dtype=np.uint64)])
        self._units.add(unit)
        self.rows += len(label)
        for at, predicted in enumerate(said):
            self._known[at] += len(label) if predicted.known is None else np.count_nonzero(predicted.known)
            # NaN stays NaN.
            self._lowest[at] = np.minimum(self._lowest[at], predicted.values.min())
            self._highest[at] = np.maximum(self._highest[at], predicted.values.max())
        if self._all is None or self._sliced is None:
            self._all = Sums(len(values), len(self.models), 1, _GROUPS)
            self._sliced = Sums(len(values), len(self.models), SLICE_LIMIT, _SLICE_GROUPS)
        self._all.add(groups_of(unit, _GROUPS), values)
        bins = None
        positive = label.astype(np.intp)
        if self.task == "binary":
            # A prediction that is no number has no bin; the metric will not be one either.
            bins = [score_bins(np.nan_to_num(predicted.values, nan=0.5)) for predicted in said]
            self._histogram.add(0, groups_of(unit, _HISTOGRAM_GROUPS), positive, bins)
        for parts in slices.values():
            self._sliced.add(parts * _SLICE_GROUPS + groups_of(unit, _SLICE_GROUPS), values)
            if bins is not None:
                group = groups_of(unit, _SLICE_HISTOGRAM_GROUPS)
                order = np.argsort(parts.astype(np.int16), kind="stable")
                for chosen in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
                    self._slice_histogram.add(
                        int(parts[chosen[0]]), group[chosen], positive[chosen], [b[chosen] for b in bins]
                    )

    def merge(self, other: Measurement) -> None:
        """Add what another measurement of the same models has added up of other rows.

        :raises ValueError: it is of other models, another task, or other columns.
        """
        if (self.models, self.task) != (other.models, other.task) or (self._ranking or other._ranking):
            raise ValueError("only measurements of the same models and task, without rankings, can be merged")
        if other._all is None or other._sliced is None:
            return
        if self._all is None or self._sliced is None:
            self._columns = other._columns
            self._all = Sums(len(other._all.totals), len(self.models), 1, _GROUPS)
            self._sliced = Sums(len(other._all.totals), len(self.models), SLICE_LIMIT, _SLICE_GROUPS)
        if self._columns != other._columns:
            raise ValueError("the measurements have other columns")
        self._all.merge(other._all)
        self._histogram.merge(other._histogram)
        for (column, value), part in other._slices.items():
            mine = self._number(column, value)
            self._sliced.rows[mine] += other._sliced.rows[part]
            self._sliced.totals[:, :, mine] += other._sliced.totals[:, :, part]
            if self.task == "binary":
                self._slice_histogram.part(mine)[...] += other._slice_histogram.part(part)
        self._units.merge(other._units)
        self.rows += other.rows
        self._identity += other._identity
        self._known += other._known
        self._lowest = np.minimum(self._lowest, other._lowest)
        self._highest = np.maximum(self._highest, other._highest)

    def result(self) -> dict[str, Any]:
        """Return ``rows``, ``units``, ``holdout`` (hash), ``models``, ``metrics``, ``slices`` as JSON values.

        NaN stands where a metric is not defined.
        """
        models = {}
        for at, name in enumerate(self.models):
            constant = self.rows > 1 and self._lowest[at] == self._highest[at]
            known = float(self._known[at] / self.rows) if self.rows else 0.0
            models[name] = {"constant": bool(constant), "coverage": known}
        slices = []
        for (column, value), part in self._slices.items():
            assert self._sliced is not None
            taken = int(np.count_nonzero(self._sliced.rows[part]))
            slices.append(
                {
                    "column": column,
                    "value": value,
                    "rows": int(self._sliced.rows[part].sum()),
                    "units": distinct(taken, _SLICE_GROUPS),
                    "metrics": self._part(self._sliced, part, self._slice_histogram),
                }
            )
        metrics = {} if self._all is None else self._part(self._all, 0, self._histogram)
        if self._ranking is not None and self.rows:
            metrics |= {m.name: _described(m, e) for m, e in self._ranking.estimates(len(self.models))}
        return {
            "rows": self.rows,
            "units": self._units.count(),
            "holdout": "".join(f"{int(word):016x}" for word in self._identity),
            "models": models,
            "metrics": metrics,
            "slices": slices,
        }

    def _quantities(self, label: np.ndarray, said: Sequence[Predictions]) -> list[list[np.ndarray]]:
        """Return each quantity of each model."""
        found = [
            quantities(self.task, label, predicted.values, model) | dict(predicted.columns)
            for model, predicted in zip(self.models, said, strict=True)
        ]
        names = tuple(found[0])
        for model, columns in zip(self.models, found, strict=True):
            if tuple(columns) != names or (self._columns is not None and names != self._columns):
                raise InputError(
                    f"{model}: has the columns {', '.join(columns) or 'none'} where "
                    f"{', '.join(self._columns or names) or 'none'} were there before: models can only be "
                    "compared by what all of them have"
                )
        self._columns = names
        return [[columns[name] for columns in found] for name in names]

    def _parts(self, name: str, column: Any) -> np.ndarray:
        """Return for each row the number of its slice."""
        values = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        codes = values.indices.fill_null(len(values.dictionary)).to_numpy(zero_copy_only=False)
        texts = [*map(str, values.dictionary.to_pylist()), "(null)"]
        used = np.unique(codes)
        number = np.zeros(len(texts), np.intp)
        for code in sorted(used, key=lambda code: texts[code]):
            number[code] = self._number(name, texts[code])
        return number[codes]

    def _number(self, name: str, value: str) -> int:
        found = self._slices.get((name, value))
        if found is not None:
            return found
        # The last places are kept for what has no place of its own, one for each column.
        others = {column for column, text in self._slices if text == OTHER}
        if value != OTHER and len(self._slices) >= SLICE_LIMIT - 10 + len(others):
            return self._number(name, OTHER)
        self._slices[name, value] = len(self._slices)
        return self._slices[name, value]

    def _part(self, sums: Sums, part: int, histograms: Histograms) -> dict[str, Any]:
        known = metrics_of(self.task)
        own = [
            Metric(name, "higher" if name in self._higher else "lower", name, "mean")
            for name in self._columns or ()
            if name not in {metric.source for metric in known}
        ]
        found = {
            metric.name: _described(metric, self._ratio_estimate(metric, sums, part))
            for metric in (*known, *own)
            if metric.kind != "histogram"
        }
        if self.task == "binary":
            sources = [metric for metric in known if metric.kind == "histogram"]
            estimates = self._histogram_estimates(sources, histograms.part(part))
            found |= {m.name: _described(m, e) for m, e in zip(sources, estimates, strict=True)}
        return found

    def _ratio_estimate(self, metric: Metric, sums: Sums, part: int) -> Estimate:
        assert self._columns is not None
        totals = sums.totals[self._columns.index(metric.source), :, part]
        return ratio_estimate(metric.kind, totals, sums.rows[part])

    def _histogram_estimates(self, metrics: Sequence[Metric], counts: np.ndarray) -> list[Estimate]:
        """Resample the groups; leaving each out tells how evenly they contribute."""
        models, labels, groups, bins = counts.shape
        sizes = counts[0].sum((0, 2))
        there = np.flatnonzero(sizes)
        count = REPLICATES if groups == _HISTOGRAM_GROUPS else _SLICE_REPLICATES
        weights = poisson_weights(self._seed, groups, count)
        values = np.empty((len(metrics), models))
        left_out = np.empty((len(metrics), models, len(there)))
        replicates = np.empty((len(metrics), models, count))
        for model in range(models):
            whole = counts[model].sum(1)
            rest = whole - counts[model][:, there].swapaxes(0, 1)
            drawn = np.empty((count, labels, bins), np.float32)
            for label in range(labels):
                drawn[:, label] = weights @ counts[model, label].astype(np.float32)
            for at, metric in enumerate(metrics):
                values[at, model] = histogram_values(metric.source, whole)
                left_out[at, model] = histogram_values(metric.source, rest)
                replicates[at, model] = histogram_values(metric.source, drawn)
            if np.isnan(self._lowest[model]):
                values[:, model] = np.nan
        return [
            estimate(values[at], left_out[at], sizes[there], replicates[at]) for at in range(len(metrics))
        ]


def ratio_estimate(kind: str, totals: np.ndarray, rows: np.ndarray) -> Estimate:
    """Return the estimate of a mean, or the root of one.

    :param kind: see :func:`~trainer.evaluation.metrics.ratio`.
    :param totals: of the quantity: models by groups.
    :param rows: of each group.
    """
    there = np.flatnonzero(rows)
    total, count = totals.sum(1), rows.sum()
    left_out = ratio(kind, total[:, None] - totals[:, there], count - rows[there])
    return estimate(ratio(kind, total, count), left_out, rows[there])


def _cut(predicted: Predictions, piece: slice) -> Predictions:
    return Predictions(
        predicted.values[piece],
        None if predicted.known is None else predicted.known[piece],
        {name: column[piece] for name, column in predicted.columns.items()},
    )


def _described(metric: Metric, found: Estimate) -> Mapping[str, Any]:
    return {"direction": metric.direction, **found.resource()}
