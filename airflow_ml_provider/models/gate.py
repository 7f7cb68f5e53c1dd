"""The gate: whether a new version may replace the one in production."""

from __future__ import annotations

import math

from airflow_ml_provider.models.decision import Check, Comparison, Decision, Outcome
from airflow_ml_provider.models.evaluation import Evaluation, Metric
from airflow_ml_provider.models.settings import GateSettings
from airflow_ml_provider.models.statistics import Difference, paired_difference, rows_needed

__all__ = ["Check", "Comparison", "Decision", "GateSettings", "Outcome", "decide"]

PROMOTE, HOLD, BLOCK = Outcome.PROMOTE, Outcome.HOLD, Outcome.BLOCK


def decide(evaluation: Evaluation, settings: GateSettings | None = None) -> Decision:
    """Decide from what was measured; the same evaluation and settings always give the same decision.

    First the challenger alone: enough rows, finite metrics, predictions that vary, coverage, ceilings and
    floors. Then the challenger against the champion: it is promoted if the unfavourable bound of the true
    difference stays within the margin, blocked if even the favourable one lies beyond it, and held where
    the data can't tell. Without a champion, the first part decides.

    :param evaluation: of the challenger and the champion on the same rows.
    :param settings: what is required; the defaults if None.
    """
    settings = settings or GateSettings()
    checks = _sanity(evaluation, settings)
    comparison = None
    if evaluation.champion is None:
        sound = all(check.outcome is PROMOTE for check in checks)
        checks.append(_bootstrap(evaluation, settings, sound=sound))
    else:
        check, comparison = _compare(evaluation, settings)
        checks.append(check)
    outcomes = {check.outcome for check in checks}
    value = evaluation.challenger.metrics.get(settings.metric, math.nan)
    return Decision(
        outcome=BLOCK if BLOCK in outcomes else HOLD if HOLD in outcomes else PROMOTE,
        kind="bootstrap" if evaluation.champion is None else "comparison",
        challenger=evaluation.challenger.version,
        champion=evaluation.champion.version if evaluation.champion else None,
        value=value if math.isfinite(value) else None,
        rows=evaluation.rows,
        checks=tuple(checks),
        comparison=comparison,
        settings=settings,
        fingerprint=evaluation.fingerprint,
    )


def _sanity(evaluation: Evaluation, settings: GateSettings) -> list[Check]:
    challenger, rows = evaluation.challenger, evaluation.rows
    if rows == 0:
        text = "No held-out row was scored, so nothing is known about the challenger."
        return [Check("rows", BLOCK, text)]
    few = rows < settings.minimum_rows
    text = f"{rows:,} held-out rows were scored; at least {settings.minimum_rows:,} are required."
    checks = [Check("rows", HOLD if few else PROMOTE, text)]

    wanted = {settings.metric, *settings.ceilings, *settings.floors}
    missing = sorted(name for name in wanted if name not in challenger.metrics)
    missing += sorted({settings.metric} & challenger.metrics.keys() - evaluation.metrics.keys())
    if missing:
        text = (
            f"The evaluation does not say {' and '.join(missing)}, which the gate is set to use; "
            f"it has {', '.join(sorted(evaluation.metrics))}."
        )
        checks.append(Check("metrics", BLOCK, text))
    broken = [name for name, value in sorted(challenger.metrics.items()) if not math.isfinite(value)]
    if broken:
        said = ", ".join(f"{name} is {_plain(challenger.metrics[name])}" for name in broken)
        text = f"The challenger's {said}: it diverged, or predicts what is not a number."
        checks.append(Check("finite", BLOCK, text))
    elif not missing:
        checks.append(Check("finite", PROMOTE, "All of the challenger's metrics are finite."))

    if challenger.constant:
        text = "The challenger predicts the same value for every row: it has learned nothing."
        checks.append(Check("predictions", BLOCK, text))
    else:
        checks.append(Check("predictions", PROMOTE, "The challenger's predictions vary."))
    low = challenger.coverage < settings.minimum_coverage
    text = (
        f"The challenger knows user and item of {_percent(challenger.coverage)} of the rows; "
        f"at least {_percent(settings.minimum_coverage)} are required."
    )
    checks.append(Check("coverage", BLOCK if low else PROMOTE, text))
    return checks + _bounds(evaluation, settings)


def _bounds(evaluation: Evaluation, settings: GateSettings) -> list[Check]:
    checks = []
    for word, bounds in (("at most", settings.ceilings), ("at least", settings.floors)):
        for name, bound in sorted(bounds.items()):
            value = evaluation.challenger.metrics.get(name, math.nan)
            if not math.isfinite(value):
                continue
            beyond = value > bound if word == "at most" else value < bound
            text = f"The challenger's {name.upper()} is {value:.6g}; {word} {bound:.6g} is required."
            checks.append(Check("limit", BLOCK if beyond else PROMOTE, text))
    return checks


def _bootstrap(evaluation: Evaluation, settings: GateSettings, *, sound: bool) -> Check:
    value = evaluation.challenger.metrics.get(settings.metric, math.nan)
    text = "There is no champion yet to compare with."
    if sound:
        text = (
            f"Bootstrap: there is no champion yet, and the challenger's {settings.metric.upper()} "
            f"{_plain(value)} on {evaluation.rows:,} rows meets every requirement on its own."
        )
    return Check("bootstrap", PROMOTE, text)


def _compare(evaluation: Evaluation, settings: GateSettings) -> tuple[Check, Comparison | None]:
    metric = evaluation.metrics.get(settings.metric)
    champion = evaluation.champion
    if evaluation.rows == 0 or metric is None or champion is None:
        return Check("comparison", BLOCK, "The two models can't be compared without rows and metric."), None
    value = champion.metrics.get(settings.metric, math.nan)
    if not math.isfinite(value):
        text = (
            f"The champion's {settings.metric} is {_plain(value)} on these rows, so there is nothing to "
            "compare with: it can't score them, and should be rolled back or replaced by hand."
        )
        return Check("comparison", HOLD, text), None
    paired = evaluation.paired.get(metric.loss or "")
    if paired is None or not paired.finite:
        what = f"finite sums of {metric.loss!r}" if metric.loss else "a per-row loss"
        text = f"The evaluation has no {what} for {settings.metric}, so its uncertainty is unknown."
        return Check("comparison", BLOCK, text), None
    if paired.units < 2:
        text = f"All rows belong to one {paired.unit}, so nothing tells how sure the difference is."
        return Check("comparison", HOLD, text), None
    difference = paired_difference(paired, metric.statistic)
    if difference.effective_units < settings.minimum_units:
        text = (
            f"The rows belong to {paired.units:,} {paired.unit}s, worth {difference.effective_units:.1f} "
            f"that have equally many; at least {settings.minimum_units} are required to judge the difference."
        )
        return Check("comparison", HOLD, text), None
    return _verdict(evaluation, settings, metric, difference, paired.unit)


def _verdict(
    evaluation: Evaluation, settings: GateSettings, metric: Metric, difference: Difference, unit: str
) -> tuple[Check, Comparison]:
    half = difference.half_width(settings.alpha)
    margin = settings.allowance(difference.champion)
    # From here on more is worse, whichever way the metric runs.
    worse = metric.sign * difference.value
    superior = settings.mode == "superior"
    if worse - half > margin:
        outcome = BLOCK
    elif worse + half < 0 if superior else worse + half <= margin:
        outcome = PROMOTE
    else:
        outcome = HOLD
    needed = None
    if outcome is HOLD:
        room = (0.0 if superior else margin) - worse
        needed = rows_needed(difference, room, settings.alpha)
    comparison = Comparison(
        metric=settings.metric,
        direction=metric.direction,
        challenger=difference.challenger,
        champion=difference.champion,
        difference=difference.value,
        low=difference.value - half,
        high=difference.value + half,
        confidence=1 - settings.alpha,
        standard_error=difference.standard_error,
        margin=margin,
        rows=difference.rows,
        unit=unit,
        units=difference.units,
        effective_units=difference.effective_units,
        rows_needed=needed,
    )
    return Check("comparison", outcome, _sentence(comparison, settings, outcome, worse)), comparison


def _sentence(numbers: Comparison, settings: GateSettings, outcome: Outcome, worse: float) -> str:
    scale = min((x for x in (numbers.standard_error, numbers.margin) if x > 0), default=1e-3)
    digits = max(3, min(9, 1 - math.floor(math.log10(scale))))
    name = numbers.metric.upper()
    text = (
        f"Challenger {name} {numbers.challenger:.{digits}f} against champion {numbers.champion:.{digits}f} "
        f"on the same {numbers.rows:,} rows: "
    )
    if worse == 0 and numbers.standard_error == 0:
        text += "no difference in any row"
    else:
        text += f"{'worse' if worse > 0 else 'better'} by {abs(worse):.{digits}f}"
        if numbers.champion:
            text += f" ({_percent(abs(worse / numbers.champion))})"
        low, high = sorted((_signed(numbers.low, worse, numbers), _signed(numbers.high, worse, numbers)))
        text += f"; {numbers.confidence * 100:g} % bounds {low:.{digits}f}…{high:.{digits}f}"
    if settings.mode == "superior":
        text += "; it must be better"
    else:
        text += f"; allowed {numbers.margin:.{digits}f}"
        if settings.margin_kind == "relative":
            text += f" ({_percent(settings.margin)} of the champion's)"
    text += "."
    if outcome is HOLD and numbers.rows_needed is not None:
        text += f" If the difference stays, about {numbers.rows_needed:,} rows would settle it."
    elif outcome is HOLD and settings.mode == "superior":
        text += " No improvement was measured."
    elif outcome is HOLD:
        text += " The measured difference is more than that, but may be chance."
    return text


def _signed(bound: float, worse: float, numbers: Comparison) -> float:
    """Return a bound of the difference in the direction in which the sentence states it."""
    sign = 1 if numbers.direction == "lower" else -1
    return bound * sign if worse > 0 else -bound * sign


def _plain(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not a number" if math.isnan(value) else "infinite"


def _percent(share: float) -> str:
    percent = share * 100
    return f"{percent:.3g} %" if percent < 100 else f"{percent:,.0f} %"
