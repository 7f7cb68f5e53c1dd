"""What is kept of the rows: sums and histograms for each group of users, in memory of fixed size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Scores are told apart by 1/32 of the smaller of p and 1 - p, down to 2^-20: 640 steps on each side of 1/2.
_STEPS = 5
_OCTAVES = 20
SCORE_BINS = 2 * _OCTAVES << _STEPS


class Sums:
    """For each part (all rows, or one slice) and group: rows, and the sum of each quantity of each model.

    :param quantities: how many per-row quantities there are.
    :param models: how many models.
    :param parts: how many parts.
    :param groups: of users, a power of two.
    """

    def __init__(self, quantities: int, models: int, parts: int, groups: int) -> None:
        self.groups = groups
        self.rows = np.zeros((parts, groups))
        self.totals = np.zeros((quantities, models, parts, groups))

    def add(self, cell: np.ndarray, quantities: Sequence[Sequence[np.ndarray]]) -> None:
        """Add rows.

        :param cell: of each row, its part times the number of groups, plus its group.
        :param quantities: for each quantity and model, a value for each row.
        """
        parts = int(cell.max(initial=0)) // self.groups + 1
        shape, cells = (parts, self.groups), parts * self.groups
        self.rows[:parts] += np.bincount(cell, minlength=cells).reshape(shape)
        for at, models in enumerate(quantities):
            for model, values in enumerate(models):
                self.totals[at, model, :parts] += np.bincount(cell, values, cells).reshape(shape)

    def merge(self, other: Sums) -> None:
        """Add what another has added up."""
        self.rows += other.rows
        self.totals += other.totals


class Histograms:
    """For each part, group and label (0 or 1): how many rows each model gave a score in each bin.

    :param models: how many models.
    :param parts: how many parts at most; memory is taken as they appear.
    :param groups: of users, a power of two.
    :param coarseness: how many neighbouring bins are taken as one, a power of two.
    """

    def __init__(self, models: int, parts: int, groups: int, coarseness: int = 1) -> None:
        self.bins = SCORE_BINS // coarseness
        self._coarseness = coarseness
        self._shape = (models, 2, groups, self.bins)
        self._counts: list[np.ndarray | None] = [None] * parts

    def part(self, part: int) -> np.ndarray:
        """Return the counts of a part: models by labels by groups by bins."""
        counts = self._counts[part]
        if counts is None:
            counts = self._counts[part] = np.zeros(self._shape, np.int32)
        return counts

    def add(self, part: int, group: np.ndarray, label: np.ndarray, bins: Sequence[np.ndarray]) -> None:
        """Add rows of one part.

        :param part: which.
        :param group: of each row.
        :param label: of each row, 0 or 1, integers.
        :param bins: for each model, the bin of each row's score, see :func:`score_bins`.
        """
        _, _, groups, width = self._shape
        row = (label * groups + group) * width
        counts = self.part(part)
        for model, places in enumerate(bins):
            np.add.at(counts[model].reshape(-1), row + places // self._coarseness, 1)

    def merge(self, other: Histograms) -> None:
        """Add what another has counted."""
        for part, counts in enumerate(other._counts):
            if counts is not None:
                self.part(part)[...] += counts


def score_bins(scores: np.ndarray) -> np.ndarray:
    """Return the bin of each probability; a greater one never has a smaller bin.

    The bins are the leading bits of the smaller of p and 1 - p as a float32: fine where probabilities are
    near 0 or 1, as they are where positives are rare. They depend on nothing else, so that counts of
    different runs add up.

    :param scores: from 0 to 1.
    """
    upper = scores > 0.5
    near = np.minimum(scores, 1 - scores).astype(np.float32)
    # 0.5 is the last number that occurs; its bits are 126 << 23.
    step = (near.view(np.int32) >> (23 - _STEPS)).astype(np.intp) - ((126 - _OCTAVES) << _STEPS)
    half = SCORE_BINS // 2
    step = np.clip(step, 0, half - 1)
    return np.where(upper, SCORE_BINS - 1 - step, step)


def bin_centers(bins: int) -> np.ndarray:
    """Return the probability that stands for each bin.

    :param bins: how many there are, :data:`SCORE_BINS` or a fraction of it.
    """
    half = SCORE_BINS // 2
    step = np.arange(half)
    base = 1 + (step & ((1 << _STEPS) - 1)) / (1 << _STEPS) + 1 / (2 << _STEPS)
    center = np.ldexp(base, (step >> _STEPS) - _OCTAVES - 1)
    center[0] = center[0] / 2
    whole = np.concatenate([center, 1 - center[::-1]])
    return whole.reshape(bins, -1).mean(1)
