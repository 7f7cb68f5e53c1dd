"""The gate's interval: by hand, by bootstrap, and by how often it errs on simulated nights."""

import math
import random

import pytest

from airflow_ml_provider.models.evaluation import Paired, statistic_value
from airflow_ml_provider.models.statistics import paired_difference, rows_needed, t_quantile


def sums(users: list[tuple[int, float, float]]) -> Paired:
    def product(one: int, other: int) -> float:
        return math.fsum(user[one] * user[other] for user in users)

    return Paired(
        unit="user",
        units=len(users),
        n=sum(n for n, _, _ in users),
        challenger=math.fsum(a for _, a, _ in users),
        champion=math.fsum(b for _, _, b in users),
        nn=product(0, 0),
        nc=product(0, 1),
        np=product(0, 2),
        cc=product(1, 1),
        pp=product(2, 2),
        cp=product(1, 2),
    )


def night(
    draw: random.Random, *, users: int = 150, spread: float = 0.4, worse: float = 0.0
) -> list[tuple[int, float, float]]:
    """Squared errors of two models per user; rows of one user share much of the difference."""
    found = []
    for _ in range(users):
        n, own = draw.randint(2, 30), draw.gauss(0, spread)
        a = b = 0.0
        for _ in range(n):
            noise = draw.gauss(1, 0.5)
            a += max(0.0, noise + own + worse)
            b += max(0.0, noise - own)
        found.append((n, a, b))
    return found


@pytest.mark.parametrize("statistic", ["mean", "root_mean"])
def test_standard_error_from_sums_equals_the_one_from_influences(statistic: str) -> None:
    users = night(random.Random(1))
    n = sum(rows for rows, _, _ in users)
    mean_a, mean_b = sum(a for _, a, _ in users) / n, sum(b for _, _, b in users) / n
    slope_a = 1 if statistic == "mean" else 1 / (2 * math.sqrt(mean_a))
    slope_b = 1 if statistic == "mean" else 1 / (2 * math.sqrt(mean_b))
    influences = [(a - mean_a * rows) * slope_a - (b - mean_b * rows) * slope_b for rows, a, b in users]
    variance = sum(z * z for z in influences) / n**2 * len(users) / (len(users) - 1)

    difference = paired_difference(sums(users), statistic)

    assert difference.standard_error == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert difference.value == pytest.approx(
        statistic_value(statistic, mean_a * n, n) - statistic_value(statistic, mean_b * n, n)
    )


def test_standard_error_agrees_with_a_bootstrap_over_users() -> None:
    draw = random.Random(2)
    users = night(draw, users=300)
    values = []
    for _ in range(2000):
        again = draw.choices(users, k=len(users))
        n = sum(rows for rows, _, _ in again)
        values.append(math.sqrt(sum(a for _, a, _ in again) / n) - math.sqrt(sum(b for _, _, b in again) / n))
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))

    # A bootstrap of 2,000 draws knows its own standard deviation to about 1.6 %.
    assert paired_difference(sums(users), "root_mean").standard_error == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_bounds_miss_the_truth_about_as_often_as_they_say_though_rows_are_clustered(alpha: float) -> None:
    draw = random.Random(3)
    nights = 1500
    low = high = naive = 0
    for _ in range(nights):
        users = night(draw, users=80)
        difference = paired_difference(sums(users), "root_mean")
        half = difference.half_width(alpha)
        low += difference.value - half > 0
        high += difference.value + half < 0
        # As if rows were independent: the differences of one user's rows, all alike, counted n times.
        n = difference.rows
        squares = sum(((a - b) / rows - 0.0) ** 2 * rows for rows, a, b in users)
        slope = 1 / (2 * math.sqrt(sum(b for _, _, b in users) / n))
        naive += difference.value > 2.33 * slope * math.sqrt(squares) / n

    # Three standard deviations of what so many nights show when the rate is exactly alpha.
    play = 3 * math.sqrt(alpha * (1 - alpha) / nights)
    assert alpha - play < low / nights < alpha + play
    assert alpha - play < high / nights < alpha + play
    assert naive / nights > 0.1


def test_equal_models_differ_by_nothing_with_certainty() -> None:
    users = [(n, a, a) for n, a, _ in night(random.Random(4))]

    difference = paired_difference(sums(users), "root_mean")

    assert difference.value == 0
    assert difference.standard_error == 0


def test_a_difference_below_rounding_is_not_taken_for_certain() -> None:
    users = [(n, a, a * (1 + 1e-9)) for n, a, _ in night(random.Random(5))]

    assert paired_difference(sums(users), "root_mean").standard_error > 0


def test_a_model_without_any_error_can_be_compared() -> None:
    users = [(n, 0.0, b) for n, _, b in night(random.Random(6))]

    difference = paired_difference(sums(users), "root_mean")

    assert difference.challenger == 0
    assert difference.value < 0
    assert difference.standard_error > 0


def test_one_user_with_most_rows_leaves_few_effective_units() -> None:
    users = night(random.Random(7), users=100)
    users[0] = (100_000, 90_000.0, 91_000.0)

    difference = paired_difference(sums(users), "root_mean")

    assert difference.units == 100
    assert difference.effective_units < 1.1


def test_users_with_equally_many_rows_are_all_effective() -> None:
    users = [(5, a, b) for _, a, b in night(random.Random(8), users=64)]

    assert paired_difference(sums(users), "mean").effective_units == pytest.approx(64)


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    # Tables of Student's distribution.
    [
        (0.99, 9, 2.8214),
        (0.99, 29, 2.4620),
        (0.99, 100, 2.3642),
        (0.95, 9, 1.8331),
        (0.995, 29, 2.7564),
        (0.99, 1e9, 2.3263),
    ],
)
def test_quantiles_of_the_t_distribution_match_the_tables(
    probability: float, degrees: float, value: float
) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(value, rel=1e-3)


def test_rows_needed_would_settle_it_with_the_promised_probability() -> None:
    draw = random.Random(9)
    difference = paired_difference(sums(night(draw, users=60, spread=0.1)), "mean")
    margin = difference.value + 1.5 * difference.standard_error
    needed = rows_needed(difference, margin - difference.value, alpha=0.01)

    assert needed is not None
    factor = needed / difference.rows
    error = difference.standard_error / math.sqrt(factor)
    # With that error the bound clears the margin in nine nights of ten.
    assert (margin - difference.value) / error == pytest.approx(2.326 + 1.2816, rel=1e-2)


def test_no_number_of_rows_helps_a_difference_that_is_too_large() -> None:
    difference = paired_difference(sums(night(random.Random(10))), "mean")

    assert rows_needed(difference, 0.0, alpha=0.01) is None


def test_one_unit_tells_nothing_about_variation() -> None:
    with pytest.raises(ValueError, match="at least two"):
        paired_difference(sums([(10, 5.0, 6.0)]), "mean")
