"""The gate's rules beyond the comparison: anchor, slices, hold-out, serving, and plain metrics."""

import json
import math
from typing import Any

import pytest

from airflow_ml_provider.models.decision import Check, Decision
from airflow_ml_provider.models.errors import InvalidDocument, InvalidSettings
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.gate import GateSettings, Outcome, decide
from tests.evaluations import ROOT, document, metric

VERSIONS = {"challenger": "v3", "champion": "v2", "anchor": "v1"}


def measured(
    *values: float, error: float = 0.001, slices: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    """An evaluation of up to three models, their error measure around 1."""
    versions = dict(list(VERSIONS.items())[: len(values)])
    metrics = {"rmse": metric(values, error), **more}
    return document(metrics, versions, rows=1000, units=400, slices=slices or [])


def part(
    value: str, *values: float, error: float = 0.001, rows: int = 1000, units: float = 400
) -> dict[str, Any]:
    found = {"rmse": metric(values, error, rows=rows, units=units)}
    return {"column": "country", "value": value, "rows": rows, "units": int(units), "metrics": found}


def decided(content: dict[str, Any], *, holdout_uses: int = 0, **settings: Any) -> Decision:
    evaluation = Evaluation.parse(f"{ROOT}/v3/evaluation.json", json.dumps(content))
    return decide(evaluation, GateSettings(**settings), holdout_uses=holdout_uses)


def check(decision: Decision, name: str) -> Check:
    (found,) = [check for check in decision.checks if check.name == name]
    return found


# --- the anchor


def test_the_first_version_is_its_own_anchor() -> None:
    assert decided(measured(1.0)).anchor == "v3"


def test_where_the_champion_is_the_anchor_there_is_nothing_more_to_compare() -> None:
    decision = decided(measured(1.0, 1.0))

    assert check(decision, "anchor").result == "not applicable"
    assert decision.anchor == "v2"


def test_a_version_proven_better_than_the_anchor_becomes_the_anchor() -> None:
    assert decided(measured(0.95, 1.0)).anchor == "v3"
    assert decided(measured(0.95, 1.0, 1.0)).anchor == "v3"
    assert decided(measured(0.997, 1.0, 1.0)).anchor == "v1"


def test_many_small_steps_down_do_not_add_up() -> None:
    # Half a margin below the champion, which is itself most of a margin below the anchor.
    decision = decided(measured(1.005, 1.0, 0.992))

    assert check(decision, "comparison").result == "pass"
    assert decision.outcome is Outcome.HOLD
    assert "against anchor v1" in decision.reasons[0]
    assert "together they must not exceed the margin" in decision.reasons[0]
    assert decision.anchor_comparison is not None
    assert decision.anchor_comparison.confidence == pytest.approx(0.9999)


def test_far_below_the_anchor_people_are_told() -> None:
    assert decided(measured(1.005, 1.0, 0.98)).outcome is Outcome.BLOCK


def test_close_to_the_anchor_a_small_step_down_is_fine() -> None:
    decision = decided(measured(1.003, 1.0, 1.0))

    assert decision.outcome is Outcome.PROMOTE
    assert decision.anchor == "v1"


def test_a_step_back_up_passes_however_deep_the_champion_is() -> None:
    decision = decided(measured(1.03, 1.04, 1.0))

    assert decision.outcome is Outcome.PROMOTE
    assert "leads back up" in check(decision, "anchor").text
    assert decision.anchor == "v1"


def test_an_anchor_that_can_not_score_the_rows_holds() -> None:
    content = measured(1.0, 1.0, math.nan)

    assert decided(content).outcome is Outcome.HOLD


# --- slices


def test_a_slice_that_is_shown_to_be_harmed_blocks_and_is_named() -> None:
    content = measured(1.0, 1.0, slices=[part("DE", 1.0, 1.0), part("FR", 1.05, 1.0)])
    decision = decided(content)

    assert decision.outcome is Outcome.BLOCK
    assert "country = FR: RMSE worse by 0.05" in decision.reasons[0]
    assert [finding.harmed for finding in decision.slices] == [False, True]


def test_a_slice_need_not_prove_its_innocence() -> None:
    content = measured(1.0, 1.0, slices=[part("DE", 1.02, 1.0, error=0.05)])

    assert decided(content).outcome is Outcome.PROMOTE


def test_the_more_slices_the_more_evidence_is_asked_of_one() -> None:
    harmed = part("FR", 1.0125, 1.0, error=0.001)
    alone = measured(1.0, 1.0, slices=[harmed])
    crowd = measured(1.0, 1.0, slices=[harmed, *(part(f"c{at}", 1.0, 1.0) for at in range(60))])

    assert decided(alone).outcome is Outcome.BLOCK
    assert decided(crowd).outcome is Outcome.PROMOTE


@pytest.mark.parametrize("small", [{"rows": 150}, {"units": 20.0}])
def test_a_slice_that_is_too_small_is_not_judged(small: dict[str, Any]) -> None:
    decision = decided(measured(1.0, 1.0, slices=[part("FR", 2.0, 1.0, **small)]))

    assert decision.outcome is Outcome.PROMOTE
    assert check(decision, "slices").result == "not applicable"
    assert decision.slices[0].harmed is None


def test_a_guarded_metric_may_not_be_harmed_either() -> None:
    content = measured(0.9, 1.0, auc=metric([0.6, 0.8], 0.001, direction="higher"))

    assert decided(content).outcome is Outcome.PROMOTE
    decision = decided(content, guards={"auc": 0.01})
    assert decision.outcome is Outcome.BLOCK
    assert "AUC: AUC worse by 0.2" in decision.reasons[0]


def test_a_margin_of_slices_of_its_own_is_used() -> None:
    content = measured(1.0, 1.0, slices=[part("FR", 1.05, 1.0)])

    assert decided(content, slice_margin=0.1).outcome is Outcome.PROMOTE


# --- the hold-out


@pytest.mark.parametrize(
    ("uses", "result", "words"),
    [
        (0, "pass", "decided nothing before"),
        (3, "pass", "3 earlier decisions rest"),
        (10, "pass", "should be held out soon"),
        (30, "fail", "at most 30 may"),
    ],
)
def test_rows_that_have_decided_often_are_used_up(uses: int, result: str, words: str) -> None:
    decision = decided(measured(0.9, 1.0), holdout_uses=uses)

    assert check(decision, "holdout").result == result
    assert words in check(decision, "holdout").text
    assert decision.outcome is (Outcome.PROMOTE if result == "pass" else Outcome.HOLD)


# --- serving


def served(**changes: Any) -> dict[str, Any]:
    content = measured(0.9, 1.0)
    content["models"]["challenger"]["serving"] = {
        "loads": True,
        "problem": None,
        "identical": True,
        "requests": 20,
        "latency_ms": 12.0,
        "size_bytes": 5_000_000,
        **changes,
    }
    return content


def test_a_model_that_serves_well_passes_every_serving_rule() -> None:
    decision = decided(served(), maximum_latency_ms=20, maximum_size_mb=10)

    assert decision.outcome is Outcome.PROMOTE
    assert {check(decision, n).result for n in ("serving", "canary", "latency", "size")} == {"pass"}


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"loads": False, "problem": "no signature"}, {}, "can't be loaded by a fresh process: no signature"),
        (
            {"identical": False, "problem": "row 3 differs"},
            {},
            "as it did when it was trained: row 3 differs",
        ),
        ({}, {"maximum_latency_ms": 10}, "12 ms; at most 10 ms"),
        ({}, {"maximum_size_mb": 4}, "5 MB; at most 4 MB"),
    ],
)
def test_a_model_that_serves_badly_is_blocked(
    changes: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    decision = decided(served(**changes), **settings)

    assert decision.outcome is Outcome.BLOCK
    assert words in decision.reasons[0]


def test_without_canary_requests_that_rule_does_not_apply() -> None:
    decision = decided(served(identical=None, requests=0))

    assert decision.outcome is Outcome.PROMOTE
    assert check(decision, "canary").result == "not applicable"


def test_a_budget_that_nobody_measured_against_holds() -> None:
    assert decided(measured(0.9, 1.0), maximum_latency_ms=10).outcome is Outcome.HOLD
    assert decided(served(latency_ms=None), maximum_latency_ms=10).outcome is Outcome.HOLD


def test_other_latencies_of_the_same_model_are_the_same_measurement() -> None:
    assert decided(served(latency_ms=1.0)).evidence() == decided(served(latency_ms=2.0)).evidence()


# --- metrics.json alone


def plain(challenger: dict[str, Any], champion: dict[str, Any] | None) -> Evaluation:
    def given(version: str, numbers: dict[str, Any]) -> tuple[str, str, bytes]:
        folder = f"{ROOT}/{version}/"
        return folder, f"{folder}metrics.json", json.dumps(numbers).encode()

    other = None if champion is None else given("v2", champion)
    return Evaluation.of_metrics(given("v3", challenger), other, "2026-11-20T03:00:00Z")


@pytest.mark.parametrize(
    ("metric_name", "challenger", "outcome"),
    [
        ("rmse", 1.005, Outcome.PROMOTE),
        ("rmse", 1.02, Outcome.HOLD),
        ("auc", 0.995, Outcome.PROMOTE),
        ("auc", 0.98, Outcome.HOLD),
        ("ndcg@10", 1.1, Outcome.PROMOTE),
    ],
)
def test_plain_metrics_are_compared_by_a_weaker_rule_that_says_so(
    metric_name: str, challenger: float, outcome: Outcome
) -> None:
    decision = decide(plain({metric_name: challenger}, {metric_name: 1.0}), GateSettings(metric=metric_name))

    assert (decision.outcome, decision.kind) == (outcome, "numbers")
    assert "This is the weaker rule" in decision.reasons[0]


def test_plain_metrics_of_the_first_version_must_hold_the_limits() -> None:
    found = plain({"rmse": 1.4}, None)

    assert decide(found).outcome is Outcome.PROMOTE
    assert decide(found, GateSettings(ceilings={"rmse": 1.2})).outcome is Outcome.BLOCK


@pytest.mark.parametrize("value", [None, "NaN"])
def test_a_plain_metric_that_is_no_number_blocks(value: Any) -> None:
    assert decide(plain({"rmse": value}, {"rmse": 1.0})).outcome is Outcome.BLOCK


def test_plain_metrics_that_are_no_numbers_are_refused_with_their_field() -> None:
    with pytest.raises(InvalidDocument, match=r"v3/metrics\.json: rmse: must be a number"):
        plain({"rmse": {"value": 1.0}}, None)


# --- what every decision says


def test_every_rule_says_pass_fail_or_not_applicable() -> None:
    decision = decided(measured(1.0, 1.0))
    content = decision.to_mapping()

    results = {entry["name"]: entry["result"] for entry in content["checks"]}
    assert results == {
        "rows": "pass",
        "finite": "pass",
        "predictions": "pass",
        "coverage": "pass",
        "holdout": "pass",
        "serving": "not applicable",
        "comparison": "pass",
        "anchor": "not applicable",
        "slices": "not applicable",
    }
    assert Decision.parse("gs://b/decision.json", json.dumps(content)) == decision


def test_a_decision_with_anchor_and_slices_survives_being_written_and_read() -> None:
    content = measured(
        1.005, 1.0, 0.992, slices=[part("DE", 1.0, 1.0, 1.0), part("FR", 1.0, 1.0, 1.0, rows=5)]
    )
    decision = decided(content)

    assert Decision.parse("gs://b/d.json", json.dumps(decision.to_mapping(), allow_nan=False)) == decision


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guards", {"auc": -0.1}),
        ("guards", {"rmse": 0.1}),
        ("guards", [1]),
        ("slice_margin", 1.0),
        ("slice_alpha", 0.0),
        ("anchor_alpha", 0.7),
        ("slice_minimum_rows", 0),
        ("slice_minimum_units", 2),
        ("maximum_holdout_uses", 0),
        ("maximum_latency_ms", 0),
        ("maximum_size_mb", "big"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidSettings, match=f"gate settings: {name} is"):
        GateSettings.from_mapping({name: value})
