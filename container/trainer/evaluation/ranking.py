"""Metrics of each user's order of rows, for which all rows of a user must be together.

Rows come in any order, so they wait in temporary files, each user's in one of them; memory holds one file's
rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from trainer.evaluation.estimate import Estimate
from trainer.evaluation.groups import groups_of
from trainer.evaluation.metrics import Metric

_FILES = 64
_GROUPS = 4096


class Ranking:
    """NDCG, recall and mean average precision at k, over each user's held-out rows ordered by prediction.

    Gains of NDCG are the labels themselves (none below 0). Rows that are predicted equally share their
    places: as in scikit-learn, each counts as the mean of its kind. Users without a relevant row (for NDCG,
    without a positive label) have no order to be right or wrong about, and are left out.

    :param k: how many places count.
    :param relevant_from: the label from which on a row is relevant (for recall and average precision).
    """

    def __init__(self, k: int, relevant_from: float) -> None:
        self._k, self._relevant_from = k, relevant_from
        self._folder = TemporaryDirectory(prefix="ranking-")
        self._files = [Path(self._folder.name, str(at)).open("w+b") for at in range(_FILES)]  # noqa: SIM115
        self._metrics = (
            Metric(f"ndcg@{k}", "higher", "ndcg", "ranking"),
            Metric(f"recall@{k}", "higher", "recall", "ranking"),
            Metric(f"map@{k}", "higher", "map", "ranking"),
        )

    def add(self, unit: np.ndarray, label: np.ndarray, predictions: Sequence[np.ndarray]) -> None:
        """Add rows.

        :param unit: the key of each row's user.
        :param label: of each row.
        :param predictions: of each model.
        """
        columns = [unit.view(np.float64), label, *predictions]
        rows = np.stack([np.asarray(column, np.float64) for column in columns], 1)
        file = groups_of(unit, _FILES)
        order = np.argsort(file.astype(np.int16), kind="stable")
        for chosen in np.split(order, np.flatnonzero(np.diff(file[order])) + 1):
            self._files[file[chosen[0]]].write(rows[chosen].tobytes())

    def estimates(self, models: int) -> Iterator[tuple[Metric, Estimate]]:
        """Return each metric; the rows are given up.

        :param models: how many there are.
        """
        from trainer.evaluation.measurement import ratio_estimate

        totals = np.zeros((len(self._metrics), models, _GROUPS))
        users = np.zeros((len(self._metrics), _GROUPS))
        for file in self._files:
            file.seek(0)
            rows = np.frombuffer(file.read(), np.float64).reshape(-1, 2 + models)
            file.close()
            if len(rows):
                self._read(rows, totals, users)
        self._folder.cleanup()
        for at, metric in enumerate(self._metrics):
            yield metric, ratio_estimate("ranking", totals[at], users[at])

    def _read(self, rows: np.ndarray, totals: np.ndarray, users: np.ndarray) -> None:
        unit = np.ascontiguousarray(rows[:, 0]).view(np.uint64)
        for model in range(rows.shape[1] - 2):
            score = rows[:, 2 + model]
            order = np.lexsort((-score, unit))
            each = user_metrics(unit[order], score[order], rows[order, 1], self._k, self._relevant_from)
            group = groups_of(each["unit"], _GROUPS)
            for at, metric in enumerate(self._metrics):
                value = each[metric.source]
                counted = each["gains" if metric.source == "ndcg" else "relevant"]
                totals[at, model] += np.bincount(group[counted], value[counted], _GROUPS)
                if model == 0:
                    users[at] += np.bincount(group[counted], minlength=_GROUPS)


def user_metrics(
    unit: np.ndarray, score: np.ndarray, label: np.ndarray, k: int, relevant_from: float
) -> dict[str, Any]:
    """Return each user's ``ndcg``, ``recall``, ``map``, and whether it has ``gains`` and ``relevant`` rows.

    :param unit: of each row; the rows of a user stand together, the best prediction first.
    :param score: the predictions; NaN results for a user with one that is NaN.
    :param label: of each row.
    :param k: how many places count.
    :param relevant_from: see :class:`Ranking`.
    """
    first = np.flatnonzero(np.append(True, unit[1:] != unit[:-1]))
    size = np.diff(np.append(first, len(unit)))
    place = np.arange(len(unit)) - np.repeat(first, size)
    discount = np.where(place < k, 1 / np.log2(place + 2.0), 0)
    gain = np.maximum(label, 0)
    relevant = (label >= relevant_from).astype(np.float64)
    # Equal predictions are one tie; each of its rows stands on the mean of the tie's places.
    tie = np.append(True, (unit[1:] != unit[:-1]) | (score[1:] != score[:-1]))
    starts = np.flatnonzero(tie)
    counts = np.diff(np.append(starts, len(unit)))

    def shared(values: np.ndarray) -> np.ndarray:
        return np.repeat(np.add.reduceat(values, starts) / counts, counts)

    gained = np.add.reduceat(shared(gain) * discount, first)
    ideal_order = np.lexsort((-gain, unit))
    ideal = np.add.reduceat(gain[ideal_order] * discount, first)
    hit = shared(relevant) * (place < k)
    total = np.add.reduceat(relevant, first)
    seen = np.cumsum(shared(relevant))
    seen -= np.repeat(seen[first] - shared(relevant)[first], size)
    precision = np.add.reduceat(hit * seen / (place + 1), first)
    broken = np.add.reduceat(np.isnan(score).astype(np.float64), first) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "ndcg": gained / ideal,
            "recall": np.add.reduceat(hit, first) / total,
            "map": precision / np.minimum(total, k),
        }
    return {
        "unit": unit[first],
        "gains": ideal > 0,
        "relevant": total > 0,
        **{name: np.where(broken, np.nan, value) for name, value in found.items()},
    }
