"""A metric of several models, and how sure one can be of it and of each difference.

From what the metric is when each group of users is left out (the jackknife), or of resamples that draw each
group Poisson-many times. Both treat the user, not the row, as what varies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A metric of all models on the same rows.

    :param values: one for each model.
    :param rows: that it is of; for a metric of rankings the users.
    :param effective_units: Kish's number, (Σ n)² / Σ n² over the groups: as many units with equally many rows
        would be worth the same.
    :param errors: standard errors of each difference between two models (of each value, on the diagonal);
        None where too few groups vary.
    :param degrees: of freedom of each difference between two models (of each value, on the diagonal): as many
        units that contribute equally would give as good an estimate of its spread.
    :param skewness: of each difference, over all units: Σ z³ / (Σ z²)^1.5 of the units' influences z.
    """

    values: np.ndarray
    rows: int
    effective_units: float
    errors: np.ndarray | None
    degrees: np.ndarray
    skewness: np.ndarray

    def resource(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "values": self.values.tolist(),
            "rows": self.rows,
            "effective_units": self.effective_units,
            "standard_errors": None if self.errors is None else self.errors.tolist(),
            "degrees": self.degrees.tolist(),
            "skewness": self.skewness.tolist(),
        }


def estimate(
    values: np.ndarray, left_out: np.ndarray, sizes: np.ndarray, replicates: np.ndarray | None = None
) -> Estimate:
    """Return the estimate.

    :param values: of each model on all rows.
    :param left_out: what they are without each group that has rows: models by groups.
    :param sizes: how many rows these groups have.
    :param replicates: what they are in resamples, models by replicates; without them, the jackknife's
        covariance is used, which for means and their roots is exact to first order, and free.
    """
    models, groups = left_out.shape
    rows = float(sizes.sum())
    effective = rows * rows / float(np.square(sizes).sum()) if rows else 0.0
    none = np.zeros((models, models))
    defined = np.isfinite(left_out).all(0)
    if groups < 2 or not defined.any() or not np.isfinite(values).all():
        return Estimate(values, round(rows), effective, None, none, none)
    # A group without which the metric does not exist (it has all the positives) can't be left out.
    influence = np.where(defined, left_out[:, defined].mean(1, keepdims=True) - left_out, 0)
    influence *= np.sqrt((groups - 1) / groups)
    drawn = None
    if replicates is not None:
        drawn = replicates[:, np.isfinite(replicates).all(0)]
        if drawn.shape[1] < replicates.shape[1] / 2:
            return Estimate(values, round(rows), effective, None, none, none)
    errors, degrees, skewness = none.copy(), none.copy(), none.copy()
    for one in range(models):
        for other in range(models):
            part = influence[one] - influence[other] if one != other else influence[one]
            degrees[one, other], skewness[one, other] = _shape(part, effective)
            variance = float(part @ part)
            if drawn is not None:
                part = drawn[one] - drawn[other] if one != other else drawn[one]
                variance = float(np.var(part, ddof=1)) * groups / (groups - 1)
            errors[one, other] = np.sqrt(variance)
    return Estimate(values, round(rows), effective, errors, degrees, skewness)


def _shape(influence: np.ndarray, effective: float) -> tuple[float, float]:
    """Return the degrees of freedom of Σ z², and the skewness of Σ z.

    If unit u's z is normal with variance v_u, Σ z² has about (Σ v)² / Σ v² degrees of freedom
    (Satterthwaite), and Σ z⁴ estimates 3 Σ v². Heavier tails give fewer, as they should.
    """
    squares = float(np.square(influence).sum())
    if squares == 0:
        return max(effective - 1, 1.0), 0.0
    fourth = float(np.square(np.square(influence / np.sqrt(squares))).sum())
    third = float(((influence / np.sqrt(squares)) ** 3).sum())
    return max(min(3 / fourth, effective - 1, len(influence) - 1), 1.0), third
