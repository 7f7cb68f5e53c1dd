"""What the gate decides, and how it says so."""

import copy
import json
import math
import random
from typing import Any

import pytest

from airflow_ml_provider.models.decision import Decision
from airflow_ml_provider.models.errors import InvalidDocument, InvalidSettings
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.gate import GateSettings, Outcome, decide
from tests.evaluations import ROOT, document, metric, of_users


def measured(
    challenger: float = 1.0,
    champion: float | None = 1.0,
    anchor: float | None = None,
    *,
    users: int = 200,
    noise: float = 0.02,
    direction: str = "lower",
    metric: str = "rmse",
    negate: bool = False,
    seed: int = 1,
) -> dict[str, Any]:
    """An evaluation in which each model's errors are about as large as asked for."""
    draw = random.Random(seed)
    levels = [level for level in (challenger, champion, anchor) if level is not None]
    sizes = [draw.randint(2, 12) for _ in range(users)]
    losses: list[list[float]] = [[] for _ in levels]
    for n in sizes:
        common = sum(draw.uniform(0.5, 1.5) for _ in range(n))
        for sums, level in zip(losses, levels, strict=True):
            value = common * (level**2 if metric == "rmse" else level) * (1 + draw.gauss(0, noise))
            sums.append(-value if negate else value)
    found = of_users(sizes, losses, root=metric == "rmse", direction=direction)
    versions = dict(
        zip(("challenger", "champion", "anchor"), ("v3", "v2", "v1")[: len(levels)], strict=False)
    )
    return document({metric: found}, versions, rows=sum(sizes), units=users)


def read(content: dict[str, Any]) -> Evaluation:
    return Evaluation.parse(f"{ROOT}/v3/evaluation.json", json.dumps(content))


def decided(content: dict[str, Any], **settings: Any) -> Decision:
    return decide(read(content), GateSettings(**settings))


# --- challenger against champion


def test_a_better_challenger_is_promoted() -> None:
    decision = decided(measured(0.9))

    assert decision.outcome is Outcome.PROMOTE
    assert decision.kind == "comparison"
    assert (decision.challenger, decision.champion) == ("v3", "v2")
    assert "better by" in decision.reasons[0]


def test_an_equal_challenger_is_promoted_because_its_data_is_fresher() -> None:
    assert decided(measured(1.0)).outcome is Outcome.PROMOTE


def test_an_equal_challenger_is_held_where_it_must_be_superior() -> None:
    assert decided(measured(1.0), mode="superior").outcome is Outcome.HOLD


def test_a_better_challenger_is_superior() -> None:
    assert decided(measured(0.9), mode="superior").outcome is Outcome.PROMOTE


def test_a_worse_challenger_is_blocked_and_the_sentence_has_the_numbers() -> None:
    decision = decided(measured(1.412, 0.921))

    assert decision.outcome is Outcome.BLOCK
    (reason,) = decision.reasons
    assert decision.comparison is not None
    numbers = decision.comparison
    rows = f"{numbers.rows:,}"
    assert reason.startswith(
        f"Challenger RMSE {numbers.challenger:.4f} against champion {numbers.champion:.4f} "
    )
    assert f"on the same {rows} rows: worse by {numbers.difference:.4f} (5" in reason
    assert f"99 % bounds {numbers.low:.4f}…{numbers.high:.4f}" in reason
    assert f"allowed {0.01 * numbers.champion:.4f} (1 % of the champion's)" in reason


def test_a_challenger_that_is_a_little_worse_is_held_with_the_rows_that_would_settle_it() -> None:
    decision = decided(measured(1.005, noise=0.08))

    assert decision.outcome is Outcome.HOLD
    assert decision.comparison is not None
    assert decision.comparison.rows_needed is not None
    assert decision.comparison.rows_needed > decision.rows
    assert f"about {decision.comparison.rows_needed:,} rows would settle it" in decision.reasons[0]


def test_a_difference_beyond_the_margin_that_may_be_chance_is_held() -> None:
    decision = decided(measured(1.03, noise=0.2, users=60), minimum_units=30)

    assert decision.outcome is Outcome.HOLD
    assert decision.comparison is not None
    assert decision.comparison.rows_needed is None
    assert "more than that, but may be chance" in decision.reasons[0]


def test_an_identical_model_is_promoted_under_non_inferiority_even_without_margin() -> None:
    content = measured(1.0, noise=0.0)

    assert decided(content).outcome is Outcome.PROMOTE
    assert decided(content, margin=0.0).outcome is Outcome.PROMOTE
    assert "no difference in any row" in decided(content).reasons[0]
    assert decided(content, mode="superior").outcome is Outcome.HOLD


@pytest.mark.parametrize(
    ("challenger", "outcome"), [(0.9, Outcome.BLOCK), (1.0, Outcome.PROMOTE), (1.1, Outcome.PROMOTE)]
)
def test_more_is_better_where_the_metric_says_higher(challenger: float, outcome: Outcome) -> None:
    decision = decided(measured(challenger, metric="hits", direction="higher"), metric="hits")

    assert decision.outcome is outcome
    if outcome is Outcome.BLOCK:
        assert "worse by 0." in decision.reasons[0]
        assert decision.comparison is not None
        assert f"bounds {-decision.comparison.high:.4f}…{-decision.comparison.low:.4f}" in decision.reasons[0]


@pytest.mark.parametrize(("challenger", "outcome"), [(0.5, Outcome.PROMOTE), (1.5, Outcome.BLOCK)])
def test_a_relative_margin_of_a_negative_baseline_is_still_a_tolerance(
    challenger: float, outcome: Outcome
) -> None:
    # A log-likelihood of -1: -0.5 is better, -1.5 worse, and one percent is 0.01.
    content = measured(challenger, metric="log_likelihood", direction="higher", negate=True)
    decision = decided(content, metric="log_likelihood")

    assert decision.comparison is not None
    assert decision.comparison.champion < 0
    assert decision.comparison.margin == pytest.approx(-0.01 * decision.comparison.champion)
    assert decision.outcome is outcome


def test_a_relative_margin_of_a_perfect_champion_tolerates_nothing() -> None:
    content = measured(1.0)
    content["metrics"]["rmse"] = metric([1.0, 0.0], 0.01)

    decision = decided(content)

    assert decision.outcome is Outcome.BLOCK
    assert decision.comparison is not None
    assert decision.comparison.margin == 0


def test_a_relative_margin_is_as_uncertain_as_the_champion_is() -> None:
    # The models differ by exactly half the margin in every row, but 1 % of what is not known well.
    content = measured(1.0)
    content["metrics"]["rmse"] = metric([1.0 - 0.001, 1.0], 1e-9, own=0.5)

    assert decided(content, margin=0.0).outcome is Outcome.PROMOTE
    assert decided(content, margin=0.1, alpha=0.001).outcome is Outcome.HOLD


def test_an_absolute_margin_is_in_the_metric_s_unit() -> None:
    content = measured(1.1)

    assert decided(content, margin=0.2, margin_kind="absolute").outcome is Outcome.PROMOTE
    assert decided(content, margin=0.02, margin_kind="absolute").outcome is Outcome.BLOCK


def test_a_stricter_alpha_turns_a_promotion_into_a_hold() -> None:
    content = measured(1.002, noise=0.05)

    assert decided(content, alpha=0.2).outcome is Outcome.PROMOTE
    assert decided(content, alpha=0.0001).outcome is Outcome.HOLD


def test_a_challenger_that_is_worse_by_the_margin_passes_as_rarely_as_alpha_says() -> None:
    nights = 250
    passed = blocked = 0
    for seed in range(nights):
        decision = decided(measured(1.01, noise=0.1, users=60, seed=seed), alpha=0.05, minimum_units=30)
        passed += decision.outcome is Outcome.PROMOTE
        blocked += decision.outcome is Outcome.BLOCK

    # Three standard deviations around 5 % in so many nights.
    assert 0.008 < passed / nights < 0.092
    assert 0.008 < blocked / nights < 0.092


def test_few_users_are_held_however_many_rows_they_have() -> None:
    decision = decided(measured(2.0, users=12), minimum_rows=10)

    assert decision.outcome is Outcome.HOLD
    assert "12 users" in decision.reasons[0]


def test_one_user_who_dominates_the_rows_is_held() -> None:
    content = measured(1.0)
    content["metrics"]["rmse"]["effective_units"] = 1.02

    decision = decided(content)

    assert decision.outcome is Outcome.HOLD
    assert "worth 1.0" in decision.reasons[0]


def test_one_user_alone_is_held() -> None:
    content = measured(1.0, users=1)

    assert decided(content, minimum_rows=1).outcome is Outcome.HOLD


# --- the challenger alone


def test_the_first_version_is_promoted_as_bootstrap() -> None:
    decision = decided(measured(1.0, None))

    assert decision.outcome is Outcome.PROMOTE
    assert decision.kind == "bootstrap"
    assert decision.champion is None
    assert decision.comparison is None
    assert "no champion yet" in decision.reasons[0]


def test_the_first_version_must_hold_its_ceiling() -> None:
    decision = decided(measured(1.4, None), ceilings={"rmse": 1.2})

    assert decision.outcome is Outcome.BLOCK
    assert decision.reasons[0].endswith("at most 1.2 is required.")


def test_a_challenger_better_than_the_champion_must_hold_its_floor_too() -> None:
    content = measured(1.0, 0.5, metric="hits", direction="higher")

    assert decided(content, metric="hits", floors={"hits": 0.9}).outcome is Outcome.PROMOTE
    assert decided(content, metric="hits", floors={"hits": 1.2}).outcome is Outcome.BLOCK


@pytest.mark.parametrize("champion", [1.0, None])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "NaN", "Infinity"])
def test_a_metric_that_is_no_number_blocks(value: Any, champion: float | None) -> None:
    content = measured(1.0, champion)
    content["metrics"]["rmse"]["values"][0] = value
    content["metrics"]["rmse"]["standard_errors"] = None

    decision = decided(content)

    assert decision.outcome is Outcome.BLOCK
    assert "diverged" in decision.reasons[0]
    assert decision.value is None
    json.dumps(decision.to_mapping(), allow_nan=False)


def test_a_metric_that_nobody_asked_for_may_be_undefined() -> None:
    content = measured(0.9)
    content["metrics"]["auc"] = metric([math.nan, math.nan], 0.0, direction="higher") | {
        "standard_errors": None
    }

    assert decided(content).outcome is Outcome.PROMOTE
    assert decided(content, floors={"auc": 0.5}).outcome is Outcome.BLOCK


def test_constant_predictions_block() -> None:
    content = measured(0.9)
    content["models"]["challenger"]["constant"] = True

    decision = decided(content)

    assert decision.outcome is Outcome.BLOCK
    assert "same value for every row" in decision.reasons[0]


def test_zero_rows_block() -> None:
    content = measured(1.0)
    content["rows"] = content["units"] = content["metrics"]["rmse"]["rows"] = 0
    content["metrics"]["rmse"] |= {"values": [None, None], "standard_errors": None}

    decision = decided(content)

    assert decision.outcome is Outcome.BLOCK
    assert "No held-out row" in decision.reasons[0]


def test_zero_rows_block_the_first_version_as_well() -> None:
    content = measured(1.0, None)
    content["rows"] = content["metrics"]["rmse"]["rows"] = 0

    assert decided(content).outcome is Outcome.BLOCK


def test_few_rows_are_held() -> None:
    decision = decided(measured(1.0, None), minimum_rows=1_000_000)

    assert decision.outcome is Outcome.HOLD
    assert "at least 1,000,000 are required" in decision.reasons[0]


def test_low_coverage_blocks() -> None:
    content = measured(1.0)
    content["models"]["challenger"]["coverage"] = 0.3

    assert decided(content).outcome is Outcome.BLOCK
    assert decided(content, minimum_coverage=0.2).outcome is Outcome.PROMOTE


@pytest.mark.parametrize(
    "settings", [{"metric": "ndcg"}, {"ceilings": {"ndcg": 1.0}}, {"floors": {"ndcg": 0.1}}]
)
@pytest.mark.parametrize("champion", [1.0, None])
def test_a_metric_that_the_evaluation_lacks_blocks(settings: dict[str, Any], champion: float | None) -> None:
    decision = decided(measured(0.9, champion), **settings)

    assert decision.outcome is Outcome.BLOCK
    assert "does not say ndcg" in decision.reasons[0]


def test_a_champion_that_can_t_score_the_rows_is_not_replaced_unseen() -> None:
    content = measured(0.9)
    content["metrics"]["rmse"] |= {"values": [0.9, math.nan], "standard_errors": None}

    decision = decided(content)

    assert decision.outcome is Outcome.HOLD
    assert "nothing to compare with" in decision.reasons[0]


def test_blocks_come_before_holds_in_the_reasons() -> None:
    content = measured(1.0)
    content["models"]["challenger"]["coverage"] = 0.1

    decision = decided(content, minimum_rows=100_000)

    assert decision.outcome is Outcome.BLOCK
    assert "knows user and item" in decision.reasons[0]
    assert "held-out rows were scored" in decision.reasons[1]


# --- the decision as a file


@pytest.mark.parametrize("champion", [1.0, None])
def test_a_decision_survives_being_written_and_read(champion: float | None) -> None:
    decision = decided(measured(1.4, champion), ceilings={"rmse": 2.0})

    again = Decision.parse("gs://b/decision.json", json.dumps(decision.to_mapping(), allow_nan=False))

    assert again == decision


def test_the_same_measurements_give_the_same_decision_and_evidence() -> None:
    later = measured(0.9)
    later["created"] = "2026-11-21T03:00:00Z"

    assert decided(later) == decided(measured(0.9))
    assert decided(later).evidence() == decided(measured(0.9)).evidence()
    assert decided(measured(0.91)).evidence() != decided(measured(0.9)).evidence()


def test_the_evidence_is_small() -> None:
    assert len(json.dumps(decided(measured(1.4)).evidence(), indent=1)) < 1000


# --- settings


def test_settings_survive_being_written_and_read() -> None:
    settings = GateSettings(metric="mae", margin=0.5, margin_kind="absolute", ceilings={"mae": 2})

    assert GateSettings.from_mapping(settings.to_mapping()) == settings
    assert copy.deepcopy(settings) == settings


def test_an_unknown_setting_is_refused_with_the_likely_one() -> None:
    with pytest.raises(InvalidSettings, match="'margn' is unknown; did you mean 'margin'"):
        GateSettings.from_mapping({"margn": 0.1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metric", ""),
        ("margin", -0.1),
        ("margin", math.nan),
        ("margin", 1.0),
        ("margin", "0.01"),
        ("margin", True),
        ("margin_kind", "percent"),
        ("alpha", 0),
        ("alpha", 0.5),
        ("mode", "better"),
        ("ceilings", {"rmse": math.inf}),
        ("ceilings", [1]),
        ("floors", {"rmse": None}),
        ("minimum_rows", 0),
        ("minimum_rows", 10.5),
        ("minimum_units", 2),
        ("minimum_coverage", 1.5),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidSettings, match=f"gate settings: {name} is"):
        GateSettings.from_mapping({name: value})


def test_a_floor_above_the_ceiling_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="above the ceiling"):
        GateSettings(ceilings={"rmse": 1.0}, floors={"rmse": 2.0})


# --- the evaluation as a file


def broken(path: str, value: Any) -> dict[str, Any]:
    content = measured(1.0)
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 1),
        ("schema", ...),
        ("schema", True),
        ("rows", -1),
        ("rows", 1.5),
        ("rows", ...),
        ("unit", ...),
        ("units", -1),
        ("models", {}),
        ("models.challenger", ...),
        ("models.challenger.uri", "/local/v2"),
        ("models.challenger.constant", 0),
        ("models.challenger.coverage", 1.2),
        ("models.challenger.coverage", None),
        ("models.challenger.serving", ...),
        ("models.challenger.serving", {"loads": True}),
        ("metrics", {}),
        ("metrics.rmse.direction", "down"),
        ("metrics.rmse.values", [1.0]),
        ("metrics.rmse.values", [1.0, "high"]),
        ("metrics.rmse.standard_errors", ...),
        ("metrics.rmse.standard_errors", [[0.1, 0.1]]),
        ("metrics.rmse.standard_errors", [[0.1, -0.1], [-0.1, 0.1]]),
        ("metrics.rmse.standard_errors", [[0.1, math.nan], [math.nan, 0.1]]),
        ("metrics.rmse.standard_errors", [[0.1, 0.1], [0.05, 0.1]]),
        ("metrics.rmse.standard_errors", [[0.1, 0.3], [0.3, 0.1]]),
        ("metrics.rmse.degrees", [[1.0], [1.0]]),
        ("slices", ...),
        ("metrics.rmse.rows", 10**9),
        ("holdout", ...),
        ("holdout.hash", ...),
        ("created", "yesterday"),
        ("created", "2026-11-20T03:00:00"),
    ],
)
def test_a_field_that_is_wrong_is_refused_with_file_and_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read(broken(field, value))

    assert str(refused.value).startswith(f"{ROOT}/v3/evaluation.json: ")
    assert refused.value.field.split(".")[0] == field.split(".")[0]


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b"\xff\xfe", b'{"schema": 2, "schema": 2}', b"[" * 100_000]
)
def test_a_file_that_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDocument, match=r"gs://b/e\.json"):
        Evaluation.parse("gs://b/e.json", raw)


def test_a_slice_with_more_rows_than_there_are_is_refused() -> None:
    content = measured(1.0)
    content["slices"] = [{"column": "country", "value": "DE", "rows": 10**9, "units": 1, "metrics": {}}]

    with pytest.raises(InvalidDocument, match=r"slices\[0\]\.rows: is 1000000000"):
        read(content)


def test_fields_that_this_version_does_not_know_are_left_alone() -> None:
    content = measured(0.9)
    content["weather"] = {"country": {}}

    assert decided(content).outcome is Outcome.PROMOTE
