"""The gate: whether a new version may replace the one in production."""

from __future__ import annotations

import math

from airflow_ml_provider.models.comparison import against_anchor, against_champion, against_slices
from airflow_ml_provider.models.decision import Check, Comparison, Decision, Outcome, SliceFinding, plain
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.sanity import sanity_checks
from airflow_ml_provider.models.settings import GateSettings

__all__ = ["Check", "Comparison", "Decision", "GateSettings", "Outcome", "decide"]

PROMOTE, HOLD, BLOCK = Outcome.PROMOTE, Outcome.HOLD, Outcome.BLOCK


def decide(
    evaluation: Evaluation, settings: GateSettings | None = None, *, holdout_uses: int = 0
) -> Decision:
    """Decide from what was measured; the same arguments always give the same decision.

    First the challenger alone: enough rows, finite metrics, predictions that vary, coverage, ceilings and
    floors, held-out rows that were not used too often, serving. Then against the champion: it is promoted if
    the unfavourable bound of the true difference stays within the margin, blocked if even the favourable one
    lies beyond it, and held where the data can't tell; the same against the anchor, so that small steps down
    don't add up; and no slice may be shown to be harmed. Without a champion, the first part decides.

    :param evaluation: of the challenger, the champion and the anchor on the same rows.
    :param settings: what is required; the defaults if None.
    :param holdout_uses: how many earlier decisions on this model rest on the same held-out rows.
    """
    settings = settings or GateSettings()
    checks = sanity_checks(evaluation, settings, holdout_uses)
    comparison = anchor_comparison = None
    champion, anchor = evaluation.champion, evaluation.challenger.version
    slices: list[SliceFinding] = []
    if champion is None:
        sound = all(check.result != "fail" for check in checks)
        checks.append(_bootstrap(evaluation, settings, sound=sound))
        none = "There is no champion yet."
        checks += [Check(name, None, none) for name in ("comparison", "anchor", "slices")]
    else:
        check, comparison = against_champion(evaluation, settings)
        checks.append(check)
        check, anchor_comparison, proven = against_anchor(evaluation, settings, comparison)
        checks.append(check)
        if not proven:
            anchor = (evaluation.anchor or champion).version
        check, slices = against_slices(evaluation, settings)
        checks.append(check)
    outcomes = {check.outcome for check in checks}
    value = evaluation.challenger.metrics.get(settings.metric, math.nan)
    kind = "bootstrap" if champion is None else "comparison" if evaluation.paired else "numbers"
    return Decision(
        outcome=BLOCK if BLOCK in outcomes else HOLD if HOLD in outcomes else PROMOTE,
        kind=kind,
        challenger=evaluation.challenger.version,
        champion=champion.version if champion else None,
        anchor=anchor,
        value=value if math.isfinite(value) else None,
        rows=evaluation.rows,
        holdout=evaluation.holdout,
        checks=tuple(checks),
        comparison=comparison,
        anchor_comparison=anchor_comparison,
        slices=tuple(slices),
        settings=settings,
        fingerprint=evaluation.fingerprint,
    )


def _bootstrap(evaluation: Evaluation, settings: GateSettings, *, sound: bool) -> Check:
    value = evaluation.challenger.metrics.get(settings.metric, math.nan)
    text = "There is no champion yet to compare with."
    if sound:
        where = f" on {evaluation.rows:,} rows" if evaluation.paired else ""
        text = (
            f"Bootstrap: there is no champion yet, and the challenger's {settings.metric.upper()} "
            f"{plain(value)}{where} meets every requirement on its own."
        )
    return Check("bootstrap", PROMOTE, text)
