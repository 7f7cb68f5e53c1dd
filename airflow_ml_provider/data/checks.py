"""Whether training data may be trained on: a pure function of its profile and of what is expected."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise

from airflow_ml_provider.data.expectations import Bounds, ColumnExpectation, Expectations
from airflow_ml_provider.data.profile import PERCENTILES, Column, Profile

_BINS = 10
# Keeps an empty bin from making the index infinite.
_LEAST_SHARE = 1e-4


class Outcome(Enum):
    """What a check means for the run, in rising order of concern."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    STOP = "stop"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    :param outcome: of this check.
    :param where: the column, or ``rows``.
    :param text: what was seen and what was expected, with numbers.
    """

    outcome: Outcome
    where: str
    text: str


def check(
    profile: Profile,
    expectations: Expectations,
    *,
    until: datetime | None = None,
    reference: Profile | None = None,
) -> list[Finding]:
    """Return what the data is like, check by check.

    :param profile: of the data.
    :param expectations: see :class:`~airflow_ml_provider.data.expectations.Expectations`.
    :param until: the end of the run's data interval, with its zone; freshness is not looked at without it.
    :param reference: of the data that the model in production was trained on, if there is any.
    """
    return [
        *_rows(profile, expectations, reference),
        *_columns(profile, expectations),
        *_freshness(profile, expectations, until),
        *(_drifts(profile, reference, expectations) if reference else ()),
    ]


def worst(findings: Sequence[Finding]) -> Outcome:
    """Return the outcome of all checks together."""
    order = list(Outcome)
    return max((finding.outcome for finding in findings), key=order.index, default=Outcome.PASS)


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as lines for a log, the worst first."""
    order = list(Outcome)
    lines = sorted(findings, key=lambda finding: -order.index(finding.outcome))
    width = max((len(finding.where) for finding in lines), default=0)
    return "\n".join(f"{f.outcome.value:4}  {f.where:{width}}  {f.text}" for f in lines)


def _rows(profile: Profile, expectations: Expectations, reference: Profile | None) -> Iterator[Finding]:
    yield _within("rows", "rows", profile.rows, expectations.rows)
    if reference is not None and reference.rows:
        times = profile.rows / reference.rows
        yield _within("rows", f"times the {reference.rows:,} rows of production", times, expectations.size)
    share = profile.duplicates
    text = f"{share:.1%} repeat another row, at most {expectations.duplicates:.1%} are expected"
    yield Finding(_stop_if(share > expectations.duplicates), "rows", text)


def _columns(profile: Profile, expectations: Expectations) -> Iterator[Finding]:
    named = set(expectations.columns) | ({expectations.label} if expectations.label else set())
    for name in sorted(named - set(profile.columns)):
        yield Finding(Outcome.STOP, name, f"is missing; there are {', '.join(profile.columns)}")
    if expectations.columns and expectations.other_columns != "allow":
        for name in profile.columns:
            if name not in named:
                yield Finding(Outcome(expectations.other_columns), name, "is not expected")
    for name, column in profile.columns.items():
        if name in expectations.columns:
            yield from _column(name, column, expectations.columns[name], profile.rows)
    label = profile.columns.get(expectations.label or "")
    if label is not None and profile.rows:
        text = f"the label has {label.distinct:,} different values and {label.nulls:,} missing ones"
        yield Finding(_stop_if(label.distinct < 2 or label.nulls > 0), str(expectations.label), text)


def _column(name: str, column: Column, expected: ColumnExpectation, rows: int) -> Iterator[Finding]:
    if expected.type is not None:
        # Whole numbers are numbers, too.
        fits = column.type == expected.type or (column.type, expected.type) == ("integer", "number")
        yield Finding(_stop_if(not fits), name, f"holds {column.type}, expected {expected.type}")
    if expected.nulls is not None and rows:
        share = column.nulls / rows
        text = f"{share:.1%} are missing, at most {expected.nulls:.1%} are expected"
        yield Finding(_stop_if(share > expected.nulls), name, text)
    if expected.values is not None:
        for word, value in (("least", column.minimum), ("greatest", column.maximum)):
            if isinstance(value, float):
                yield _within(name, f"is the {word} value", value, expected.values)
    if expected.distinct is not None:
        yield _within(name, "different values", column.distinct, expected.distinct)
    if expected.categories is not None:
        if column.counts is None:
            text = f"has {column.distinct:,} different values, expected {len(expected.categories)} categories"
            yield Finding(Outcome.STOP, name, text)
        else:
            more = [value for value in column.counts if value not in expected.categories]
            text = f"also holds {', '.join(map(repr, more[:5]))}" if more else "holds the expected categories"
            yield Finding(_stop_if(bool(more)), name, text)


def _freshness(profile: Profile, expectations: Expectations, until: datetime | None) -> Iterator[Finding]:
    expected = expectations.newest
    if expected is None:
        return
    column = profile.columns.get(expected.column)
    if column is None or column.type != "timestamp" or not isinstance(column.maximum, str):
        text = "holds no timestamps, so nobody knows how fresh the data is"
        yield Finding(Outcome.STOP, expected.column, text)
    elif until is not None:
        hours = (until - datetime.fromisoformat(column.maximum)).total_seconds() / 3600
        text = f"the newest row is {hours:.1f} hours older than {until.isoformat(timespec='minutes')}"
        text += f", at most {expected.hours:g} are expected"
        yield Finding(_stop_if(hours > expected.hours), expected.column, text)


def _drifts(profile: Profile, reference: Profile, expectations: Expectations) -> Iterator[Finding]:
    for name, before in reference.columns.items():
        now = profile.columns.get(name)
        expected = expectations.columns.get(name)
        if now is None:
            yield Finding(Outcome.STOP, name, "is missing; production was trained with it")
        elif expected is None or expected.drift:
            yield from _drift(name, now, before, expectations)


def _drift(name: str, now: Column, before: Column, expectations: Expectations) -> Iterator[Finding]:
    limits = expectations.drift
    if now.counts and before.counts:
        shares, old = _shares(now.counts), _shares(before.counts)
        distance, measure = jensen_shannon(shares, old), "Jensen-Shannon divergence"
        gone = [
            value
            for value, share in old.items()
            if share >= limits.vanished and shares.get(value, 0.0) < share / 10
        ]
        if gone:
            share = sum(old[value] for value in gone)
            text = f"{', '.join(map(repr, gone[:5]))} had {share:.1%} of production's rows and is gone"
            yield Finding(Outcome.STOP, name, text)
    elif now.percentiles and before.percentiles:
        distance = population_stability(now.percentiles, before.percentiles)
        measure = (
            f"population stability index (KS {kolmogorov_smirnov(now.percentiles, before.percentiles):.2f})"
        )
    else:
        return
    stop = limits.warn if name == expectations.label else limits.stop
    outcome = Outcome.STOP if distance >= stop else Outcome.WARN if distance >= limits.warn else Outcome.PASS
    yield Finding(outcome, name, f"{measure} to production's data {distance:.3f}, warns from {limits.warn:g}")


def jensen_shannon(left: Mapping[str, float], right: Mapping[str, float]) -> float:
    """Return the Jensen-Shannon divergence of two distributions, 0 to 1.

    Lin, Divergence measures based on the Shannon entropy, 1991.

    :param left: share of each value; they add up to 1.
    :param right: likewise.
    """
    total = 0.0
    for value in {*left, *right}:
        p, q = left.get(value, 0.0), right.get(value, 0.0)
        middle = (p + q) / 2
        total += sum(share * math.log2(share / middle) for share in (p, q) if share) / 2
    return max(0.0, total)


def population_stability(now: Sequence[float], before: Sequence[float]) -> float:
    """Return the population stability index of numbers over the tenths of the numbers before.

    :param now: percentiles, from the least to the greatest.
    :param before: likewise.
    """
    step = (PERCENTILES - 1) // _BINS
    edges = sorted(set(before[step : PERCENTILES - 1 : step]))
    total = 0.0
    for p, q in zip(_in_bins(now, edges), _in_bins(before, edges), strict=True):
        p, q = max(p, _LEAST_SHARE), max(q, _LEAST_SHARE)
        total += (p - q) * math.log(p / q)
    return total


def kolmogorov_smirnov(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the greatest distance of two distributions' cumulative shares, within a percentage point.

    :param left: percentiles, from the least to the greatest.
    :param right: likewise.
    """
    return max(abs(_below(left, value) - _below(right, value)) for value in {*left, *right})


def _in_bins(percentiles: Sequence[float], edges: Sequence[float]) -> list[float]:
    below = [0.0, *(_below(percentiles, edge) for edge in edges), 1.0]
    return [after - before for before, after in pairwise(below)]


def _below(percentiles: Sequence[float], value: float) -> float:
    """Return the share of numbers up to a value."""
    at = bisect_right(percentiles, value)
    if at in (0, len(percentiles)):
        return float(at > 0)
    least, greatest = percentiles[at - 1], percentiles[at]
    return (at - 1 + (value - least) / (greatest - least)) / (len(percentiles) - 1)


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {value: count / total for value, count in counts.items()}


def _within(where: str, what: str, value: float, bounds: Bounds) -> Finding:
    least, most = bounds.minimum, bounds.maximum
    outside = (least is not None and value < least) or (most is not None and value > most)
    wanted = [
        f"{word} {_number(bound)}"
        for word, bound in (("at least", least), ("at most", most))
        if bound is not None
    ]
    expected = f", expected {' and '.join(wanted)}" if wanted else ""
    return Finding(_stop_if(outside), where, f"{_number(value)} {what}{expected}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _stop_if(condition: bool) -> Outcome:
    return Outcome.STOP if condition else Outcome.PASS
