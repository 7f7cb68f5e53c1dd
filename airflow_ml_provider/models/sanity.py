"""What the gate asks of a challenger alone, whatever the champion is like."""

from __future__ import annotations

import math

from airflow_ml_provider.models.decision import Check, Outcome, percent, plain
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.settings import GateSettings

PROMOTE, HOLD, BLOCK = Outcome.PROMOTE, Outcome.HOLD, Outcome.BLOCK


def sanity_checks(evaluation: Evaluation, settings: GateSettings, holdout_uses: int) -> list[Check]:
    """Return the checks: rows, metrics, finite, predictions, coverage, limits, hold-out, serving.

    :param evaluation: what was measured.
    :param settings: what is required.
    :param holdout_uses: how many earlier decisions rest on the same held-out rows.
    """
    if not evaluation.paired:
        none = "The image writes metrics.json only, so nothing is known about the rows and the predictions."
        return [
            *_metrics(evaluation, settings),
            *_limits(evaluation, settings),
            *(Check(name, None, none) for name in ("rows", "predictions", "coverage", "holdout", "serving")),
        ]
    rows = evaluation.rows
    if rows == 0:
        text = "No held-out row was scored, so nothing is known about the challenger."
        return [Check("rows", BLOCK, text, {"rows": 0})]
    few = rows < settings.minimum_rows
    text = f"{rows:,} held-out rows were scored; at least {settings.minimum_rows:,} are required."
    numbers = {"rows": rows, "required": settings.minimum_rows}
    return [
        Check("rows", HOLD if few else PROMOTE, text, numbers),
        *_metrics(evaluation, settings),
        *_predictions(evaluation, settings),
        *_limits(evaluation, settings),
        _holdout(settings, holdout_uses),
        *_serving(evaluation, settings),
    ]


def _metrics(evaluation: Evaluation, settings: GateSettings) -> list[Check]:
    challenger = evaluation.challenger
    wanted = {settings.metric, *settings.ceilings, *settings.floors, *settings.guards}
    missing = sorted(name for name in wanted if name not in evaluation.metrics)
    checks = []
    if missing:
        text = (
            f"The evaluation does not say {' and '.join(missing)}, which the gate is set to use; "
            f"it has {', '.join(sorted(evaluation.metrics))}."
        )
        checks.append(Check("metrics", BLOCK, text))
    # A metric that nobody asked for may be undefined, as AUC is where there are no positives.
    broken = [name for name in sorted(wanted - set(missing)) if not math.isfinite(challenger.metrics[name])]
    if broken:
        said = ", ".join(f"{name} is {plain(challenger.metrics[name])}" for name in broken)
        text = f"The challenger's {said}: it diverged, or predicts what is not a number."
        checks.append(Check("finite", BLOCK, text))
    elif not missing:
        checks.append(Check("finite", PROMOTE, "All of the challenger's metrics that count are finite."))
    return checks


def _predictions(evaluation: Evaluation, settings: GateSettings) -> list[Check]:
    challenger = evaluation.challenger
    if challenger.constant:
        text = "The challenger predicts the same value for every row: it has learned nothing."
        checks = [Check("predictions", BLOCK, text)]
    else:
        checks = [Check("predictions", PROMOTE, "The challenger's predictions vary.")]
    low = challenger.coverage < settings.minimum_coverage
    text = (
        f"The challenger knows user and item of {percent(challenger.coverage)} of the rows; "
        f"at least {percent(settings.minimum_coverage)} are required."
    )
    numbers = {"coverage": challenger.coverage, "required": settings.minimum_coverage}
    return [*checks, Check("coverage", BLOCK if low else PROMOTE, text, numbers)]


def _limits(evaluation: Evaluation, settings: GateSettings) -> list[Check]:
    checks = []
    for word, bounds in (("at most", settings.ceilings), ("at least", settings.floors)):
        for name, bound in sorted(bounds.items()):
            value = evaluation.challenger.metrics.get(name, math.nan)
            if not math.isfinite(value):
                continue
            beyond = value > bound if word == "at most" else value < bound
            text = f"The challenger's {name.upper()} is {value:.6g}; {word} {bound:.6g} is required."
            numbers = {"value": value, "required": bound}
            checks.append(Check("limit", BLOCK if beyond else PROMOTE, text, numbers))
    return checks


def _holdout(settings: GateSettings, uses: int) -> Check:
    limit = settings.maximum_holdout_uses
    numbers = {"uses": uses, "allowed": limit}
    if uses == 0:
        return Check("holdout", PROMOTE, "These held-out rows have decided nothing before.", numbers)
    text = f"{uses} earlier decision{'s' if uses > 1 else ''} rest on the very same held-out rows"
    if uses >= limit:
        text += (
            f"; at most {limit} may. Whoever wins on the same rows again and again is flattered by them: "
            "hold out others."
        )
        return Check("holdout", HOLD, text, numbers)
    if 3 * uses >= limit:
        text += f", of {limit} that may: other ones should be held out soon"
    return Check("holdout", PROMOTE, f"{text}.", numbers)


def _serving(evaluation: Evaluation, settings: GateSettings) -> list[Check]:
    serving = evaluation.challenger.serving
    if serving is None:
        text = "Nobody tried to serve the challenger: the evaluation says nothing about it."
        budget = settings.maximum_latency_ms is not None or settings.maximum_size_mb is not None
        return [Check("serving", HOLD if budget else None, text)]
    if not serving.loads:
        text = f"The challenger can't be loaded by a fresh process: {serving.problem or 'it gave no reason'}."
        return [Check("serving", BLOCK, text)]
    checks = [Check("serving", PROMOTE, "A fresh process loads the challenger and gets answers.")]
    if serving.identical is None:
        text = "The version has no canary requests whose answers could be compared."
        checks.append(Check("canary", None, text))
    elif serving.identical:
        text = f"It answers {serving.requests} canary requests as it did when it was trained."
        checks.append(Check("canary", PROMOTE, text, {"requests": serving.requests}))
    else:
        text = (
            f"It does not answer {serving.requests} canary requests as it did when it was trained: "
            f"{serving.problem or 'the answers differ'}."
        )
        checks.append(Check("canary", BLOCK, text, {"requests": serving.requests}))
    size = serving.size_bytes / 1e6
    for name, value, limit, unit, what in (
        ("latency", serving.latency_ms, settings.maximum_latency_ms, "ms", "95 % of requests for a row take"),
        ("size", size, settings.maximum_size_mb, "MB", "The version's files have"),
    ):
        if limit is None:
            said = "unknown" if value is None else f"{value:.3g} {unit}"
            checks.append(Check(name, None, f"{name.capitalize()} is {said}; nothing is required of it."))
        elif value is None:
            checks.append(Check(name, HOLD, f"The evaluation does not say the {name}, which is limited."))
        else:
            text = f"{what} {value:.3g} {unit}; at most {limit:g} {unit} may be."
            numbers = {"value": value, "allowed": limit}
            checks.append(Check(name, BLOCK if value > limit else PROMOTE, text, numbers))
    return checks
