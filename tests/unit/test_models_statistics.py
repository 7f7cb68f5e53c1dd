"""How sure the gate is of a difference: by tables, by hand, and by how often it errs."""

import math
import random

import pytest

from airflow_ml_provider.models.evaluation import Metric
from airflow_ml_provider.models.statistics import difference, holm, rows_needed, t_cdf, t_quantile
from tests.evaluations import metric, of_users


def read(content: dict[str, object]) -> Metric:
    fields = {name: value for name, value in content.items() if name != "direction"}
    roles = ("challenger", "champion", "anchor")[: len(content["values"])]  # type: ignore[arg-type]
    return Metric(direction=str(content["direction"]), models=roles, **fields)  # type: ignore[arg-type]


def night(draw: random.Random, users: int) -> dict[str, object]:
    """Squared errors of two models per user; rows of one user share much of the difference."""
    sizes, losses = [], ([], [])  # type: ignore[var-annotated]
    for _ in range(users):
        n, own = draw.randint(2, 30), draw.gauss(0, 0.4)
        noise = [draw.gauss(1, 0.5) for _ in range(n)]
        sizes.append(n)
        losses[0].append(sum(max(0.0, one + own) for one in noise))
        losses[1].append(sum(max(0.0, one - own) for one in noise))
    return of_users(sizes, losses, root=True)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_bounds_miss_the_truth_about_as_often_as_they_say_though_rows_are_clustered(alpha: float) -> None:
    draw = random.Random(3)
    nights = 500
    low = high = 0
    for _ in range(nights):
        found = difference(read(night(draw, 60)), "challenger", "champion", 0.0, relative=False)
        low += found.lower(alpha) > 0
        high += found.upper(alpha) < 0

    # Three standard deviations of what so many nights show when the rate is exactly alpha.
    play = 3 * math.sqrt(alpha * (1 - alpha) / nights)
    assert alpha - play < low / nights < alpha + play
    assert alpha - play < high / nights < alpha + play


def test_more_is_worse_whichever_way_the_metric_runs() -> None:
    for direction, worse in (("lower", 0.2), ("higher", -0.2)):
        content = read(metric([1.2, 1.0], 0.01, direction=direction))
        found = difference(content, "challenger", "champion", 0.1, relative=False)
        assert found.worse == pytest.approx(worse)
        assert found.excess == pytest.approx(worse - 0.1)


@pytest.mark.parametrize("direction", ["lower", "higher"])
@pytest.mark.parametrize("level", [2.0, -2.0])
def test_the_error_of_a_relative_margin_is_that_of_the_whole_expression(direction: str, level: float) -> None:
    draw = random.Random(4)
    spread = [[0.5, 0.3], [0.1, 0.4]]
    pairs = []
    for _ in range(20_000):
        x, y = draw.gauss(0, 1), draw.gauss(0, 1)
        pairs.append(
            (level + spread[0][0] * x + spread[0][1] * y, level + spread[1][0] * x + spread[1][1] * y)
        )
    own = [math.hypot(*row) for row in spread]
    between = math.hypot(spread[0][0] - spread[1][0], spread[0][1] - spread[1][1])
    content = metric([level, level], between, direction=direction)
    content["standard_errors"] = [[own[0], between], [between, own[1]]]
    sign = 1 if direction == "lower" else -1
    excess = [sign * (a - b) - 0.5 * abs(b) for a, b in pairs]
    mean = sum(excess) / len(excess)
    measured = math.sqrt(sum((value - mean) ** 2 for value in excess) / (len(excess) - 1))

    found = difference(read(content), "challenger", "champion", 0.5, relative=True)

    assert found.allowed == 1.0
    assert found.standard_error == pytest.approx(measured, rel=0.03)


def test_equal_models_differ_by_nothing_with_certainty() -> None:
    found = difference(read(metric([1.0, 1.0], 0.0, own=0.1)), "challenger", "champion", 0.0, relative=False)

    assert (found.upper(0.01), found.lower(0.01), found.p_value()) == (0, 0, 1)


def test_a_difference_below_rounding_is_not_taken_for_certain() -> None:
    content = read(metric([1.0 + 1e-12, 1.0], 1e-13, own=0.1))

    assert difference(content, "challenger", "champion", 0.0, relative=False).lower(0.01) < 0


def test_p_value_and_bound_agree() -> None:
    found = difference(read(metric([1.03, 1.0], 0.01)), "challenger", "champion", 0.0, relative=False)

    assert found.lower(found.p_value()) == pytest.approx(0, abs=1e-9)


def test_without_standard_errors_there_is_no_difference_to_speak_of() -> None:
    content = metric([1.0, 1.0], 0.0) | {"standard_errors": None}
    with pytest.raises(ValueError, match="no standard errors"):
        difference(read(content), "challenger", "champion", 0.0, relative=False)


def test_holm_shows_what_stays_clear_of_all_others() -> None:
    assert holm([0.01, 0.02, 0.03, 0.9], 0.05) == [True, False, False, False]
    assert holm([0.9, 0.001, 0.016, 0.02], 0.05) == [False, True, True, True]
    assert holm([], 0.05) == []


def test_holm_rarely_claims_any_harm_where_there_is_none() -> None:
    draw = random.Random(5)
    claimed = sum(any(holm([draw.random() for _ in range(20)], 0.05)) for _ in range(4000))

    assert 0.04 < claimed / 4000 < 0.06


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


@pytest.mark.parametrize(("x", "degrees", "value"), [(0.0, 5, 0.5), (1.0, 1, 0.75), (-2.0, 10, 0.03669)])
def test_probabilities_of_the_t_distribution_match_the_tables(x: float, degrees: float, value: float) -> None:
    assert t_cdf(x, degrees) == pytest.approx(value, rel=1e-3)
    assert t_quantile(t_cdf(x, degrees), degrees) == pytest.approx(x, abs=1e-6)


def test_rows_needed_would_settle_it_with_the_promised_probability() -> None:
    needed = rows_needed(1000, 0.02, 0.03, alpha=0.01)

    assert needed is not None
    # With that error the bound clears the margin in nine nights of ten.
    assert 0.03 / (0.02 / math.sqrt(needed / 1000)) == pytest.approx(2.326 + 1.2816, rel=1e-2)


def test_no_number_of_rows_helps_a_difference_that_is_too_large() -> None:
    assert rows_needed(1000, 0.02, 0.0, alpha=0.01) is None
