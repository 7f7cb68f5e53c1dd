"""The report's drawings, as SVG that takes its colours from the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from airflow_ml_provider.models.decision import Comparison

_WIDTH = 860.0


def comparison_chart(numbers: Comparison, *, mode: str, tone: str) -> str:
    """Return the difference with its bounds, against the margin: right is worse.

    :param numbers: the comparison.
    :param mode: the gate's; with ``superior``, what is allowed ends at no difference.
    :param tone: the class that gives the verdict's colour.
    """
    sign = 1 if numbers.direction == "lower" else -1
    low, high = sorted((sign * numbers.low, sign * numbers.high))
    worse, limit = sign * numbers.difference, 0.0 if mode == "superior" else numbers.margin
    reach = max(abs(low), abs(high), abs(limit), 1e-12) * 1.25
    left, right = 10.0, _WIDTH - 10

    def x(value: float) -> float:
        return left + (right - left) * (value + reach) / (2 * reach)

    name = numbers.metric.upper()
    label = (
        f"{name}: {'worse' if worse > 0 else 'better'} by {abs(worse):.4g}, bounds {low:.4g} to {high:.4g}"
    )
    marks = [
        f'<rect x="{left}" y="34" width="{x(limit) - left:.1f}" height="64" rx="6" fill="var(--good-bg)"/>',
        _line(left, 98, right, 98, "var(--line)"),
        _line(x(0), 34, x(0), 98, "var(--faint)", 'stroke-dasharray="2 3"'),
        f'<text x="{left + 10}" y="26">← better than the champion</text>',
        f'<text x="{right - 10}" y="26" text-anchor="end">worse →</text>',
        f'<rect x="{x(low):.1f}" y="59" width="{max(x(high) - x(low), 3):.1f}" height="14" rx="7" '
        'fill="var(--tone)" opacity=".35"/>',
        _circle(x(worse), 66, 7, 'fill="var(--tone)" stroke="var(--card)" stroke-width="2"'),
    ]
    marks += [_tick(x(value), value) for value in _ticks(-reach, reach) if left + 20 < x(value) < right - 20]
    if limit:
        at = x(limit)
        side, shift = ("end", -6) if at > _WIDTH * 0.8 else ("start", 6)
        marks.append(_line(at, 34, at, 98, "var(--good)", 'stroke-width="1.5"'))
        marks.append(
            f'<text class="strong" x="{at + shift:.1f}" y="48" text-anchor="{side}">'
            f"allowed {limit:.3g}</text>"
        )
    return (
        f'<svg class="{html.escape(tone)}" viewBox="0 0 {_WIDTH:g} 122" role="img" '
        f'aria-label="{html.escape(label)}">{"".join(marks)}</svg>'
    )


def history_chart(nights: Sequence[tuple[str, str, float, str]]) -> str:
    """Return one dot per night, the last one named.

    :param nights: version, ``promoted`` or ``refused``, the metric, and when; oldest first, at least two.
    """
    values = [value for _, _, value, _ in nights]
    low, high = min(values), max(values)
    pad = (high - low) * 0.15 or abs(high) * 0.05 or 1.0
    low, high = low - pad, high + pad
    left, right, top, bottom = 56.0, _WIDTH - 24, 30.0, 170.0

    def x(index: int) -> float:
        return left + 16 + (right - left - 16) * index / (len(nights) - 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    marks = []
    for value in _ticks(low, high, most=4):
        if low <= value <= high:
            marks.append(_line(left, y(value), _WIDTH, y(value), "var(--line)"))
            marks.append(f'<text x="{left - 10}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    line = [
        f"{x(index):.1f},{y(value):.1f}"
        for index, (_, act, value, _) in enumerate(nights)
        if act != "refused"
    ]
    if len(line) > 1:
        marks.append(
            f'<polyline points="{" ".join(line)}" fill="none" stroke="var(--good)" stroke-width="2" '
            'opacity=".5"/>'
        )
    radius = 6 if len(nights) <= 30 else 4
    for index, (version, act, value, at) in enumerate(nights):
        title = html.escape(f"{version}: {value:.5g}, {act} {at}".strip())
        marks.append(_dot(x(index), y(value), radius, act, title))
    value = values[-1]
    marks.append(_circle(x(len(nights) - 1), y(value), radius + 5, 'fill="none" stroke="var(--soft)"'))
    marks.append(
        f'<text class="strong" x="{_WIDTH:g}" y="16" text-anchor="end">this version {value:.4g}</text>'
    )
    marks.append(
        f'{_dot(left + 20, 12, 5, "promoted", "")}<text x="{left + 32}" y="16">promoted</text>'
        f'{_dot(left + 150, 12, 5, "refused", "")}<text x="{left + 162}" y="16">refused</text>'
    )
    label = f"{len(nights)} nights; the last one {value:.4g}"
    return f'<svg viewBox="0 0 {_WIDTH:g} 190" role="img" aria-label="{label}">{"".join(marks)}</svg>'


def _dot(x: float, y: float, radius: float, act: str, title: str) -> str:
    # Told apart by shape as well, for those who don't see the colours.
    hint = f"<title>{title}</title>" if title else ""
    if act == "refused":
        return _circle(x, y, radius - 1, 'fill="var(--card)" stroke="var(--bad)" stroke-width="2.5"', hint)
    return _circle(x, y, radius, 'fill="var(--good)" stroke="var(--card)" stroke-width="2"', hint)


def _circle(x: float, y: float, radius: float, look: str, inner: str = "") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {look}>{inner}</circle>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, look: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {look}/>'


def _tick(at: float, value: float) -> str:
    text = "0" if value == 0 else f"{value:+g}"
    return f'<text x="{at:.1f}" y="116" text-anchor="middle">{text}</text>'


def _ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return round values from ``low`` to ``high``."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [float(f"{index * step:.10g}") for index in range(first, math.floor(high / step) + 1)]
