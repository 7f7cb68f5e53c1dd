"""The challenger against the champion, the anchor, and the champion in every slice."""

from __future__ import annotations

import math

from airflow_ml_provider.models.decision import Check, Comparison, Outcome, SliceFinding, percent, plain
from airflow_ml_provider.models.evaluation import Evaluation, Metric
from airflow_ml_provider.models.settings import GateSettings
from airflow_ml_provider.models.statistics import Difference, difference, holm, rows_needed

PROMOTE, HOLD, BLOCK = Outcome.PROMOTE, Outcome.HOLD, Outcome.BLOCK
_SHOWN_SLICES = 3


def against_champion(evaluation: Evaluation, settings: GateSettings) -> tuple[Check, Comparison | None]:
    """Hold the challenger against the champion.

    :param evaluation: with a champion.
    :param settings: margin, mode and alpha.
    """
    metric = evaluation.metrics.get(settings.metric)
    champion = evaluation.champion
    if metric is None or champion is None or (evaluation.paired and evaluation.rows == 0):
        return Check("comparison", BLOCK, "The two models can't be compared without rows and metric."), None
    value = champion.metrics.get(settings.metric, math.nan)
    if not math.isfinite(value):
        text = (
            f"The champion's {settings.metric} is {plain(value)} on these rows, so there is nothing to "
            "compare with: it can't score them, and should be rolled back or replaced by hand."
        )
        return Check("comparison", HOLD, text), None
    if not math.isfinite(evaluation.challenger.metrics[settings.metric]):
        text = f"The challenger's {settings.metric} is no number, so it can't be compared."
        return Check("comparison", BLOCK, text), None
    if not evaluation.paired:
        return _numbers_alone(metric, settings), None
    if metric.standard_errors is None:
        text = f"All rows belong to one {evaluation.unit}, so nothing tells how sure the difference is."
        return Check("comparison", HOLD, text), None
    if metric.effective_units < settings.minimum_units:
        text = (
            f"The rows belong to {evaluation.units:,} {evaluation.unit}s, worth {metric.effective_units:.1f} "
            f"that have equally many; at least {settings.minimum_units} are required to judge the difference."
        )
        numbers = {"effective_units": metric.effective_units, "required": settings.minimum_units}
        return Check("comparison", HOLD, text, numbers), None
    relative, superior = settings.margin_kind == "relative", settings.mode == "superior"
    beyond = difference(metric, "challenger", "champion", settings.margin, relative=relative)
    better = difference(metric, "challenger", "champion", 0.0, relative=False)
    if beyond.lower(settings.alpha) > 0:
        outcome = BLOCK
    elif better.upper(settings.alpha) < 0 if superior else beyond.upper(settings.alpha) <= 0:
        outcome = PROMOTE
    else:
        outcome = HOLD
    needed = None
    if outcome is HOLD:
        shown = better if superior else beyond
        needed = rows_needed(evaluation.rows, shown.standard_error, -shown.excess, settings.alpha)
    comparison = _comparison(evaluation, settings.metric, "champion", beyond, settings.alpha, needed)
    text = _sentence(comparison, settings, outcome, "champion", evaluation.unit)
    return Check("comparison", outcome, text, _numbers(comparison)), comparison


def _numbers_alone(metric: Metric, settings: GateSettings) -> Check:
    challenger, champion = metric.value("challenger"), metric.value("champion")
    worse = metric.sign * (challenger - champion)
    allowed = settings.margin * abs(champion) if settings.margin_kind == "relative" else settings.margin
    good = worse < 0 if settings.mode == "superior" else worse <= allowed
    text = (
        f"Challenger {settings.metric.upper()} {challenger:.5g} against champion {champion:.5g}: "
        f"{'worse' if worse > 0 else 'better'} by {abs(worse):.4g}; "
        + ("it must be better" if settings.mode == "superior" else f"allowed {allowed:.4g}")
        + ". This is the weaker rule: there are only the numbers of metrics.json, each perhaps of other "
        "rows, so that chance is not told from change, and slices and the anchor are not looked at."
    )
    numbers = {"challenger": challenger, "champion": champion, "worse": worse, "allowed": allowed}
    return Check("comparison", PROMOTE if good else HOLD, text, numbers)


def against_anchor(
    evaluation: Evaluation, settings: GateSettings, comparison: Comparison | None
) -> tuple[Check, Comparison | None, bool]:
    """Hold the challenger against the anchor, and tell whether it is to be the next one.

    A year of challengers, each a little worse but within the margin, would end many margins down. So none may
    be worse than the anchor by more than the margin either. The anchor is the last version that was proven
    better than the anchor before it; it is scored every night anew, so that the data may drift. As it stays
    for many nights, all that concerns it is asked with ``anchor_alpha``. A challenger that is proven better
    than the champion leads back up, and passes.

    :param evaluation: with a champion.
    :param settings: margin and alphas.
    :param comparison: with the champion; None if there was none to be made.
    """
    metric = evaluation.metrics.get(settings.metric)
    if comparison is None or metric is None:
        text = "The challenger can't be compared with the champion, and so neither with the anchor."
        return Check("anchor", None, text), None, False
    alpha, relative = settings.anchor_alpha, settings.margin_kind == "relative"
    better = difference(metric, "challenger", "champion", 0.0, relative=False).upper(alpha) < 0
    if evaluation.anchor is None:
        text = "The champion is the anchor itself"
        text += "; the challenger is proven better, and will be the next." if better else "."
        return Check("anchor", None, text), None, better
    value = metric.value("anchor")
    if not math.isfinite(value):
        text = (
            f"The anchor's {settings.metric} is {plain(value)} on these rows, so nothing tells how far the "
            f"champions have come down from it. Promoting a version by hand makes that one the anchor."
        )
        return Check("anchor", HOLD, text), None, False
    beyond = difference(metric, "challenger", "anchor", settings.margin, relative=relative)
    proven = difference(metric, "challenger", "anchor", 0.0, relative=False).upper(alpha) < 0
    if beyond.upper(alpha) <= 0 or better:
        outcome = PROMOTE
    else:
        outcome = BLOCK if beyond.lower(alpha) > 0 else HOLD
    needed = None
    if outcome is HOLD:
        needed = rows_needed(evaluation.rows, beyond.standard_error, -beyond.excess, alpha)
    numbers = _comparison(evaluation, settings.metric, "anchor", beyond, alpha, needed)
    text = _sentence(numbers, settings, outcome, f"anchor {evaluation.anchor.version}", evaluation.unit)
    if beyond.upper(alpha) > 0 and better:
        text += " It is proven better than the champion, so it leads back up."
    elif outcome is not PROMOTE:
        text += " Every step may have been small, but together they must not exceed the margin."
    return Check("anchor", outcome, text, _numbers(numbers)), numbers, proven


def against_slices(evaluation: Evaluation, settings: GateSettings) -> tuple[Check, list[SliceFinding]]:
    """Look for slices and guarded metrics that are shown to be harmed.

    They need not prove their innocence, which no twenty slices could do in one night; harm must be shown,
    with Holm's correction for how many were looked at.

    :param evaluation: with a champion.
    :param settings: ``guards`` and those of slices.
    """
    margin = settings.margin if settings.slice_margin is None else settings.slice_margin
    asked = [
        ("", "", name, evaluation.rows, evaluation.units, evaluation.metrics.get(name), allowed)
        for name, allowed in sorted(settings.guards.items())
    ]
    asked += [
        (part.column, part.value, name, part.rows, part.units, part.metrics.get(name), allowed)
        for part in evaluation.slices
        for name, allowed in ((settings.metric, margin), *sorted(settings.guards.items()))
    ]
    relative = settings.margin_kind == "relative"
    found: list[tuple[SliceFinding, Difference | None]] = []
    for column, value, name, rows, units, metric, allowed in asked:
        judged = None
        if metric is not None and _judgeable(metric, rows, settings):
            judged = difference(metric, "challenger", "champion", allowed, relative=relative)
        finding = SliceFinding(column, value, name, rows, units, None, None, None, None, None, None)
        found.append((finding, judged))
    tested = [judged for _, judged in found if judged is not None]
    shown = iter(holm([judged.p_value() for judged in tested], settings.slice_alpha))
    findings = [
        finding if judged is None else _found(finding, judged, settings.slice_alpha, next(shown))
        for finding, judged in found
    ]
    return _slices_check(findings, settings), findings


def _judgeable(metric: Metric, rows: int, settings: GateSettings) -> bool:
    values = (metric.value("challenger"), metric.value("champion"))
    return (
        metric.standard_errors is not None
        and all(map(math.isfinite, values))
        and rows >= settings.slice_minimum_rows
        and metric.effective_units >= settings.slice_minimum_units
    )


def _found(finding: SliceFinding, judged: Difference, alpha: float, harmed: bool) -> SliceFinding:
    return SliceFinding(
        finding.column,
        finding.value,
        finding.metric,
        finding.rows,
        finding.units,
        worse=judged.worse,
        low=judged.lower(alpha) + judged.allowed,
        high=judged.upper(alpha) + judged.allowed,
        allowed=judged.allowed,
        p_value=judged.p_value(),
        harmed=harmed,
    )


def _slices_check(findings: list[SliceFinding], settings: GateSettings) -> Check:
    tested = [finding for finding in findings if finding.harmed is not None]
    harmed = sorted((f for f in tested if f.harmed), key=lambda f: f.p_value or 0.0)
    small = len(findings) - len(tested)
    numbers = {"tested": len(tested), "harmed": len(harmed), "too_small": small}
    if not findings:
        return Check("slices", None, "The evaluation has no slices, and no metric is guarded.", numbers)
    left = f"; {small} with too few rows or users were not judged" if small else ""
    if not tested:
        text = f"None of {len(findings)} slices has enough rows and users to be judged."
        return Check("slices", None, text, numbers)
    if not harmed:
        text = f"No harm is shown in any of {len(tested)} slices{left}."
        return Check("slices", PROMOTE, text, numbers)
    said = "; ".join(
        f"{finding.name}: {finding.metric.upper()} worse by {finding.worse:.4g} on {finding.rows:,} rows, "
        f"allowed {finding.allowed:.4g} (p = {finding.p_value:.2g})"
        for finding in harmed[:_SHOWN_SLICES]
    )
    more = f"; and {len(harmed) - _SHOWN_SLICES} more" if len(harmed) > _SHOWN_SLICES else ""
    text = (
        f"The challenger harms {len(harmed)} of {len(tested)} slices{left}. {said}{more}. "
        f"Shown with {percent(1 - settings.slice_alpha)} confidence for all slices together."
    )
    return Check("slices", BLOCK, text, numbers)


def _comparison(
    evaluation: Evaluation, name: str, other: str, beyond: Difference, alpha: float, needed: int | None
) -> Comparison:
    metric = evaluation.metrics[name]
    bounds = sorted(
        metric.sign * (bound + beyond.allowed) for bound in (beyond.lower(alpha), beyond.upper(alpha))
    )
    return Comparison(
        metric=name,
        direction=metric.direction,
        challenger=metric.value("challenger"),
        champion=metric.value(other),
        difference=metric.value("challenger") - metric.value(other),
        low=bounds[0],
        high=bounds[1],
        confidence=1 - alpha,
        standard_error=beyond.standard_error,
        margin=beyond.allowed,
        rows=metric.rows,
        unit=evaluation.unit,
        units=evaluation.units,
        effective_units=metric.effective_units,
        rows_needed=needed,
    )


def _numbers(comparison: Comparison) -> dict[str, float]:
    names = ("challenger", "champion", "difference", "low", "high", "margin", "standard_error")
    return {name: getattr(comparison, name) for name in names}


def _sentence(numbers: Comparison, settings: GateSettings, outcome: Outcome, other: str, unit: str) -> str:
    scale = min((x for x in (numbers.standard_error, numbers.margin) if x > 0), default=1e-3)
    digits = max(3, min(9, 1 - math.floor(math.log10(scale))))
    sign = 1 if numbers.direction == "lower" else -1
    worse = sign * numbers.difference
    superior = settings.mode == "superior" and other == "champion"
    text = (
        f"Challenger {numbers.metric.upper()} {numbers.challenger:.{digits}f} against {other} "
        f"{numbers.champion:.{digits}f} on the same {numbers.rows:,} rows: "
    )
    if worse == 0 and numbers.standard_error == 0:
        text += "no difference in any row"
    else:
        text += f"{'worse' if worse > 0 else 'better'} by {abs(worse):.{digits}f}"
        if numbers.champion:
            text += f" ({percent(abs(worse / numbers.champion))})"
        # In the direction in which the sentence states it.
        side = sign if worse > 0 else -sign
        low, high = sorted((side * numbers.low, side * numbers.high))
        text += f"; {numbers.confidence * 100:g} % bounds {low:.{digits}f}…{high:.{digits}f}"
    if superior:
        text += "; it must be better"
    else:
        text += f"; allowed {numbers.margin:.{digits}f}"
        if settings.margin_kind == "relative":
            text += f" ({percent(settings.margin)} of the {other.partition(' ')[0]}'s)"
    text += "."
    if outcome is HOLD and numbers.rows_needed is not None:
        text += f" If the difference stays, about {numbers.rows_needed:,} rows would settle it."
    elif outcome is HOLD and superior:
        text += " No improvement was measured."
    elif outcome is HOLD:
        text += " The measured difference is more than that, but may be chance."
    return text
