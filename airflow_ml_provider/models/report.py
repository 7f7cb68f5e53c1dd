"""The report on a decision: one HTML file that a browser shows anywhere, with nothing to load."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from airflow_ml_provider.models.chart import comparison_chart, history_chart
from airflow_ml_provider.models.decision import Decision, Outcome
from airflow_ml_provider.models.evaluation import Evaluation, Scored
from airflow_ml_provider.models.manifest import Manifest
from airflow_ml_provider.models.record import Record
from airflow_ml_provider.models.style import STYLE

# A page from a bucket must run nothing and load nothing, whatever a file put into it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_VERDICT = {
    Outcome.PROMOTE: ("good", "Promoted", "It may replace the champion."),
    Outcome.HOLD: ("wait", "Held", "The evidence does not suffice; the champion stays."),
    Outcome.BLOCK: ("bad", "Blocked", "It must not replace the champion; somebody should look."),
}
_CHECK = {
    Outcome.PROMOTE: ("good", "passed"),
    Outcome.HOLD: ("wait", "hold"),
    Outcome.BLOCK: ("bad", "block"),
    None: ("soft", "not applicable"),
}


def render(
    decision: Decision,
    evaluation: Evaluation,
    manifest: Manifest,
    history: Sequence[Record] = (),
    *,
    model: str,
    before: Manifest | None = None,
) -> str:
    """Return the report as an HTML page without scripts, images or anything else to load.

    :param decision: what was decided.
    :param evaluation: from which measurements.
    :param manifest: of the version that it is about.
    :param history: earlier records of the model, oldest first.
    :param model: the model's name.
    :param before: the manifest of the champion that it was compared with, where that is still there.
    """
    title = f"{model} {decision.challenger}"
    parts = [
        _header(decision, evaluation, model),
        _verdict(decision),
        _measured(decision, evaluation),
        _past(decision, history),
        _checks(decision),
        _changes(manifest, before),
        _way_back(decision, manifest, model),
        _origin(evaluation, manifest),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(title)}: {_VERDICT[decision.outcome][1].lower()}</title><style>{STYLE}</style>"
        f"</head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _header(decision: Decision, evaluation: Evaluation, model: str) -> str:
    versus = f"against {_text(decision.champion)}" if decision.champion else "the first version"
    return (
        f'<header><div><p class="soft">{_text(model)}</p><h1>{_text(decision.challenger)}</h1></div>'
        f'<p class="soft">{versus}, evaluated {_when(evaluation.created)}</p></header>'
    )


def _verdict(decision: Decision) -> str:
    tone, word, meaning = _VERDICT[decision.outcome]
    word = "Cleared for promotion" if decision.outcome is Outcome.PROMOTE else word
    reasons = "".join(f'<p class="reason">{_text(reason)}</p>' for reason in decision.reasons)
    return f'<section class="verdict {tone}"><strong>{word}</strong>{meaning}{reasons}</section>'


def _measured(decision: Decision, evaluation: Evaluation) -> str:
    numbers = decision.comparison
    name = decision.settings.metric.upper()
    figures = [(_number(decision.value), f"challenger {name}")]
    if numbers is not None:
        worse = numbers.difference * (1 if numbers.direction == "lower" else -1)
        share = f" ({abs(worse / numbers.champion):.1%})" if numbers.champion else ""
        word = "worse" if worse > 0 else "better" if worse < 0 else "difference"
        figures += [
            (_number(numbers.champion), f"champion {name}"),
            (f"{abs(worse):.4g}", f"{word}{share}"),
        ]
    figures.append((f"{evaluation.rows:,}", "held-out rows"))
    tiles = "".join(
        f"<div><b>{_text(value)}</b><span>{_text(label)}</span></div>" for value, label in figures
    )
    chart = ""
    if numbers is not None:
        tone = _VERDICT[decision.outcome][0]
        chart = comparison_chart(numbers, mode=decision.settings.mode, tone=tone)
        chart += (
            f'<p class="note">The bar spans the {numbers.confidence * 100:g} % bounds of the true difference '
            f"(from the variation between {numbers.units:,} {_text(numbers.unit)}s).</p>"
        )
    return f'<section><h2>On the same held-out rows</h2><div class="figures">{tiles}</div>{chart}</section>'


def _past(decision: Decision, history: Sequence[Record]) -> str:
    metric = decision.settings.metric
    nights = [
        (record.version, record.act, record.evidence["challenger"], record.at)
        for record in history
        if record.evidence
        and record.evidence.get("metric") == metric
        and isinstance(record.evidence.get("challenger"), int | float)
        # A retried gate finds its own record.
        and record.evidence.get("evaluation") != decision.fingerprint
    ]
    act = "promoted" if decision.outcome is Outcome.PROMOTE else "refused"
    if decision.value is not None:
        nights.append((decision.challenger, act, decision.value, ""))
    if len(nights) < 2:
        return ""
    return (
        f"<section><h2>{_text(metric.upper())} of every challenger, night by night</h2>"
        f"{history_chart(nights)}"
        '<p class="note">Each night is measured on that night\'s held-out rows, so levels may drift with the '
        "data; the gate compares within a night only.</p></section>"
    )


def _checks(decision: Decision) -> str:
    rows = []
    for check in decision.checks:
        tone, word = _CHECK[check.outcome]
        badge = f'<span class="badge {tone}">{word}</span>'
        rows.append(f"<tr><td>{badge}</td><th>{_text(check.name)}</th><td>{_text(check.text)}</td></tr>")
    return f"<section><h2>What was required</h2><table>{''.join(rows)}</table></section>"


def _changes(manifest: Manifest, before: Manifest | None) -> str:
    if before is None:
        return ""
    old, new = _facts(before), _facts(manifest)
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_code(old.get(name))}</td><td>{_code(new.get(name))}</td></tr>"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    )
    head = "<tr><th></th><th>Champion</th><th>Challenger</th></tr>"
    table = f"<table>{head}{rows}</table>" if rows else '<p class="note">Nothing that is known.</p>'
    return f"<section><h2>What changed since the champion</h2>{table}</section>"


def _facts(manifest: Manifest) -> dict[str, Any]:
    data = manifest.data
    return {
        "Image": manifest.image,
        "Seed": manifest.seed,
        "Data": ", ".join(str(file.get("uri")) for file in data.files[:3]) or None,
        "Files of data": len(data.files) or None,
        "Rows trained on": data.rows,
        "Users": data.users,
        "Items": data.items,
        "Bytes of the model": manifest.size,
        **{f"Argument {name}": value for name, value in sorted(manifest.arguments.items())},
        **{str(name): version for name, version in sorted(manifest.framework.items())},
    }


def _way_back(decision: Decision, manifest: Manifest, model: str) -> str:
    if decision.outcome is not Outcome.PROMOTE or decision.champion is None:
        return ""
    root = manifest.uri.rpartition(f"/models/{model}/")[0]
    command = f'airflow-ml models rollback {model} --root {root} --to {decision.champion} --why "…"'
    return (
        "<section><h2>How to roll back</h2><p>Once it is promoted, this returns production to the champion "
        f"that it replaces, in seconds, and keeps this version out:</p><p>{_code(command)}</p></section>"
    )


def _origin(evaluation: Evaluation, manifest: Manifest) -> str:
    arguments = " ".join(f"{name}={value}" for name, value in sorted(manifest.arguments.items()))
    framework = ", ".join(f"{name} {value}" for name, value in sorted(manifest.framework.items()))
    data = manifest.data
    facts = [
        ("Trained", _when(manifest.created)),
        ("Image", _code(manifest.image)),
        ("Job", _code(manifest.job)),
        ("Seed", _code(manifest.seed)),
        ("Arguments", _code(arguments or None)),
        ("Trained on", _text(_counts(rows=data.rows, users=data.users, items=data.items))),
        ("Framework", _text(framework or "unknown")),
        ("Size", f"{manifest.size:,} bytes in {len(manifest.files)} files"),
        ("Evaluated on", _code(evaluation.holdout or None)),
        ("Evaluation", _code(evaluation.uri)),
    ]
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts)
    return (
        f"{_metrics(evaluation)}<section><h2>Where it comes from</h2><table>{rows}</table></section>"
        f"<footer>Decided from evaluation <code>{_text(evaluation.fingerprint[:16])}</code>; the same "
        "evaluation and settings always give the same decision. All numbers stand in decision.json.</footer>"
    )


def _metrics(evaluation: Evaluation) -> str:
    sides = [("Challenger", evaluation.challenger)]
    if evaluation.champion is not None:
        sides.append(("Champion", evaluation.champion))
    names = sorted({name for _, scored in sides for name in scored.metrics})
    head = "".join(f'<th class="num">{side}</th>' for side, _ in sides)
    body = "".join(
        f"<tr><th>{_text(name.upper())}{_direction(evaluation, name)}</th>{_cells(sides, name)}</tr>"
        for name in names
    )
    coverage = "".join(f'<td class="num">{scored.coverage:.1%}</td>' for _, scored in sides)
    body += f"<tr><th>rows whose user and item it knew</th>{coverage}</tr>"
    return f"<section><h2>All metrics</h2><table><tr><th></th>{head}</tr>{body}</table></section>"


def _cells(sides: Sequence[tuple[str, Scored]], name: str) -> str:
    return "".join(f'<td class="num">{_number(scored.metrics.get(name))}</td>' for _, scored in sides)


def _direction(evaluation: Evaluation, name: str) -> str:
    metric = evaluation.metrics.get(name)
    return f", {metric.direction} is better" if metric else ""


def _counts(**counts: int | None) -> str:
    known = [f"{count:,} {name}" for name, count in counts.items() if count is not None]
    return ", ".join(known) or "unknown"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.5g}"


def _when(time: str) -> str:
    return _text(time.replace("T", " ").replace("+00:00", " UTC").replace("Z", " UTC"))


def _code(value: Any) -> str:
    return "unknown" if value is None else f"<code>{_text(value)}</code>"


def _text(value: Any) -> str:
    # A percent sign stays with its number.
    return html.escape(str(value)).replace(" %", "&nbsp;%")
