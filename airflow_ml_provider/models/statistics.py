"""How sure one can be of the difference between two models that scored the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from airflow_ml_provider.models.evaluation import Metric

# Standard errors below this part of the values' own are rounding.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Difference:
    """How much worse a model is than another, beyond what is allowed.

    In all numbers more is worse, whichever way the metric runs.

    :param worse: how much worse it is, in the metric's unit.
    :param allowed: how much worse it may be.
    :param standard_error: of ``worse - allowed``, from the variation between units.
    :param degrees: of freedom of it.
    :param skewness: of ``worse - allowed``.
    """

    worse: float
    allowed: float
    standard_error: float
    degrees: float
    skewness: float

    @property
    def excess(self) -> float:
        """How far it lies beyond what is allowed."""
        return self.worse - self.allowed

    def upper(self, alpha: float) -> float:
        """Return the bound above which the true excess lies with a probability of at most ``alpha``."""
        return self.excess + self._reach(alpha, self.skewness) * self.standard_error

    def lower(self, alpha: float) -> float:
        """Return the bound below which the true excess lies with a probability of at most ``alpha``."""
        return self.excess - self._reach(alpha, -self.skewness) * self.standard_error

    def p_value(self) -> float:
        """Return how probable such an excess would be if it were truly nothing."""
        if self.standard_error == 0:
            return 0.0 if self.excess > 0 else 1.0
        reach = self.excess / self.standard_error
        bend = _bend(-self.skewness)
        if bend > 0:
            # The quantile that reaches so far: q + bend (2q² + 1) = reach; below q = 0 nothing is shown.
            reach = (math.sqrt(1 + 8 * bend * (reach - bend)) - 1) / (4 * bend) if reach > bend else 0.0
        return t_cdf(-reach, self.degrees)

    def _reach(self, alpha: float, skewness: float) -> float:
        quantile = t_quantile(1 - alpha, self.degrees)
        return quantile + _bend(skewness) * (2 * quantile**2 + 1)


def _bend(skewness: float) -> float:
    """Return how much further a bound must reach on the side of the long tail.

    The first term of the Edgeworth expansion of Student's ratio, skewness · (2q² + 1) / 6 (Hall, *On the
    removal of skewness by transformation*, 1992), half as much again, as samples of skewed quantities look
    less skewed than they are. On the side of the short tail, where it would allow more, it is left out.
    """
    return 1.5 * max(skewness, 0.0) / 6


def difference(metric: Metric, model: str, other: str, margin: float, *, relative: bool) -> Difference:
    """Return how much worse a model is than another, beyond a margin.

    A margin relative to the other's value is as uncertain as that value, which is taken into account: with s
    the metric's sign and k the margin's part of the other's value, the excess is s(a - b) - kb.

    :param metric: with standard errors.
    :param model: the one that is judged, a role such as ``challenger``.
    :param other: what it is compared with.
    :param margin: at least 0; a part of the other's absolute value, or in the metric's unit.
    :param relative: which of both.
    :raises ValueError: the metric has no standard errors, or not these models.
    """
    if metric.standard_errors is None:
        raise ValueError("the metric has no standard errors")
    one, two = metric.models.index(model), metric.models.index(other)
    a, b = metric.values[one], metric.values[two]
    errors = metric.standard_errors
    between, own = errors[one][two], errors[two][two]
    if 0 < between < _ROUNDING * own:
        between = _ROUNDING * own
    allowed = margin * abs(b) if relative else margin
    variance = between**2
    if relative and between:
        k = math.copysign(margin, b)
        # cov(a - b, b), from var a = var (a - b) + var b + 2 cov(a - b, b).
        shared = (errors[one][one] ** 2 - between**2 - own**2) / 2
        variance += k * k * own**2 - 2 * metric.sign * k * shared
    return Difference(
        worse=metric.sign * (a - b),
        allowed=allowed,
        standard_error=math.sqrt(max(variance, 0.0)),
        degrees=metric.degrees[one][two],
        skewness=metric.sign * metric.skewness[one][two],
    )


def rows_needed(rows: int, error: float, room: float, alpha: float, power: float = 0.9) -> int | None:
    """Return how many rows would settle that the true difference stays within bounds.

    Assumes that the difference stays what it was and that new rows come from as many more units.

    :param rows: that there are.
    :param error: the standard error with them.
    :param room: how far the measured difference lies inside the bound to be shown; in the metric's unit.
    :param alpha: one-sided.
    :param power: the probability to succeed with that many rows.
    :return: None where the measured difference is out of bounds, so that no number of rows would do.
    """
    if room <= 0:
        return None
    normal = NormalDist()
    reach = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * error
    return max(1, math.ceil(rows * (reach / room) ** 2))


def holm(p_values: list[float], alpha: float) -> list[bool]:
    """Return which of several harms are shown, so that none is claimed wrongly with probability 1 - alpha.

    Holm, *A simple sequentially rejective multiple test procedure* (1979).

    :param p_values: of each.
    :param alpha: for all of them together.
    """
    shown = [False] * len(p_values)
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[at] > alpha / (len(p_values) - rank):
            break
        shown[at] = True
    return shown


def t_cdf(x: float, degrees: float) -> float:
    """Return the probability that Student's t is at most ``x``.

    :param degrees: of freedom, more than 0.
    """
    tail = _incomplete_beta(degrees / (degrees + x * x), degrees / 2, 0.5) / 2
    return 1 - tail if x > 0 else tail


@lru_cache(maxsize=1024)
def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution.

    :param probability: between 0 and 1.
    :param degrees: of freedom, more than 0.
    """
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    tail = 1 - probability
    low, high = 0.0, max(NormalDist().inv_cdf(probability), 1.0)
    while t_cdf(-high, degrees) > tail:
        low, high = high, 2 * high
    # Regula falsi on the tail's logarithm, which is nearly straight; halving where one end would stay.
    below, above = (math.log(t_cdf(-x, degrees) / tail) for x in (low, high))
    x = high
    for _ in range(60):
        x = high - above * (high - low) / (above - below) if above != below else (low + high) / 2
        value = math.log(t_cdf(-x, degrees) / tail)
        if abs(value) < 1e-12 or high - low < 1e-13 * high:
            break
        if value > 0:
            low, below, above = x, value, above / 2
        else:
            high, above, below = x, value, below / 2
    return x


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by https://dlmf.nist.gov/8.17#SS5."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    fraction = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + term * d, tiny)
            c = _away_from_zero(1 + term / c, tiny)
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * fraction / a


def _away_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
