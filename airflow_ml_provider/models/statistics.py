"""How sure one can be of the difference between two models that scored the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from airflow_ml_provider.models.evaluation import Paired, statistic_value

# Products of sums are known to about this relative precision; below it, a variance is rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Difference:
    """Challenger minus champion in one metric.

    :param challenger: its metric.
    :param champion: its metric.
    :param value: challenger minus champion.
    :param standard_error: of ``value``, from the variation between units.
    :param rows: rows that both scored.
    :param units: how many units (users) they belong to.
    :param effective_units: Kish's number, (Σ n_u)² / Σ n_u²: as many units of equal size would be worth
        the same.
    """

    challenger: float
    champion: float
    value: float
    standard_error: float
    rows: int
    units: int
    effective_units: float

    def half_width(self, alpha: float) -> float:
        """Return how far each one-sided bound lies from ``value``.

        :param alpha: the probability that the truth lies beyond one bound.
        """
        return t_quantile(1 - alpha, self.effective_units - 1) * self.standard_error


def paired_difference(paired: Paired, statistic: str) -> Difference:
    """Return the difference of two models in a mean or root mean, clustered by unit.

    The delta method: with z_u the influence of unit u on the difference, its variance is
    Σ z_u² / N² · U / (U - 1). For a mean, z_u = (a_u - ā·n_u) - (b_u - b̄·n_u); for a root mean each
    bracket is divided by twice the metric. Expanded, Σ z_u² needs only the sums of products. Units are
    independent, rows of one unit need not be: Deng, Knoblich, Lu, *Applying the Delta Method in Metric
    Analytics* (KDD 2018), https://arxiv.org/abs/1803.06336.

    :param paired: finite sums over at least two units.
    :param statistic: ``mean`` or ``root_mean``.
    :raises ValueError: fewer than two units, or sums that are not finite.
    """
    if paired.units < 2 or not paired.finite:
        raise ValueError("the variation between units needs finite sums over at least two of them")
    n, units = paired.n, paired.units
    challenger = statistic_value(statistic, paired.challenger, n)
    champion = statistic_value(statistic, paired.champion, n)
    a, b = _slope(statistic, challenger), _slope(statistic, champion)
    c = a * paired.challenger / n - b * paired.champion / n
    terms = (
        a * a * paired.cc,
        b * b * paired.pp,
        c * c * paired.nn,
        -2 * a * b * paired.cp,
        -2 * a * c * paired.nc,
        2 * b * c * paired.np,
    )
    # Equal models leave exactly nothing; anything else is not trusted below the rounding of its terms.
    identical = paired.cc == paired.pp == paired.cp and paired.challenger == paired.champion
    squares = 0.0 if identical else max(math.fsum(terms), _ROUNDING * math.fsum(map(abs, terms)))
    return Difference(
        challenger=challenger,
        champion=champion,
        value=challenger - champion,
        standard_error=math.sqrt(squares * units / (units - 1)) / n,
        rows=n,
        units=units,
        effective_units=min(n * n / paired.nn, units),
    )


def _slope(statistic: str, value: float) -> float:
    if statistic == "mean":
        return 1.0
    # A root mean of zero comes from losses that are all zero: they vary by nothing.
    return 1 / (2 * value) if value > 0 else 0.0


def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution.

    By the expansion around the normal quantile (Abramowitz and Stegun 26.7.5), good to 0.1 % at 99 % from
    ten degrees of freedom on.

    :param probability: between 0 and 1.
    :param degrees: of freedom, more than 0.
    """
    z = NormalDist().inv_cdf(probability)
    v = degrees
    return math.fsum(
        (
            z,
            (z**3 + z) / (4 * v),
            (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2),
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3),
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4),
        )
    )


def rows_needed(difference: Difference, room: float, alpha: float, power: float = 0.9) -> int | None:
    """Return how many rows would settle that the true difference stays within bounds.

    Assumes that the difference stays what it was and that new rows come from as many more units.

    :param room: how far the measured difference lies inside the bound to be shown; in the metric's unit.
    :param alpha: one-sided.
    :param power: the probability to succeed with that many rows.
    :return: None where the measured difference is out of bounds, so that no number of rows would do.
    """
    if room <= 0:
        return None
    normal = NormalDist()
    reach = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * difference.standard_error
    return math.ceil(difference.rows * (reach / room) ** 2)
