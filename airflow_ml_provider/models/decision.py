"""A decision on a version, with its reasons."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from airflow_ml_provider.models.document import Document
from airflow_ml_provider.models.settings import GateSettings

SCHEMA = 2


class Outcome(StrEnum):
    """What happens to a version."""

    PROMOTE = "PROMOTE"
    """It may become the champion."""
    HOLD = "HOLD"
    """The evidence does not suffice: the champion stays, and nobody needs to hurry."""
    BLOCK = "BLOCK"
    """It is worse, or its evaluation is invalid: the champion stays, and somebody should look."""


@dataclass(frozen=True)
class Check:
    """One thing that was required.

    :param name: a word for it, e.g. ``coverage``.
    :param outcome: PROMOTE if it holds, otherwise what its failure leads to; None if it is not applicable.
    :param text: a sentence with the numbers.
    :param numbers: the same numbers by name.
    """

    name: str
    outcome: Outcome | None
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """``pass``, ``fail`` or ``not applicable``."""
        if self.outcome is None:
            return "not applicable"
        return "pass" if self.outcome is Outcome.PROMOTE else "fail"


@dataclass(frozen=True)
class Comparison:
    """Challenger against another version in one metric, on the same rows.

    :param metric: its name.
    :param direction: ``lower`` or ``higher``, whichever is better.
    :param challenger: its metric.
    :param champion: the other version's metric; that of the anchor where it is compared with the anchor.
    :param difference: challenger minus the other.
    :param low: lower bound of the true difference, see ``confidence``.
    :param high: upper bound of it.
    :param confidence: of each bound alone, 1 - alpha.
    :param standard_error: of the difference.
    :param margin: how much worse is tolerated, in the metric's unit.
    :param rows: rows that both scored.
    :param unit: what the rows are clustered by, e.g. ``user``.
    :param units: how many of them.
    :param effective_units: as many units with equally many rows would be worth the same.
    :param rows_needed: how many rows would settle a HOLD if the difference stays; None where it is settled,
        or where no number of rows would.
    """

    metric: str
    direction: str
    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    confidence: float
    standard_error: float
    margin: float
    rows: int
    unit: str
    units: int
    effective_units: float
    rows_needed: int | None


@dataclass(frozen=True)
class SliceFinding:
    """Challenger against champion in one slice or guarded metric; more is worse in all numbers.

    :param column: the slice's column; empty where a guarded metric is looked at on all rows.
    :param value: the slice's value; empty likewise.
    :param metric: the metric's name.
    :param rows: of the slice.
    :param units: about how many units (users) they belong to.
    :param worse: how much worse the challenger is, in the metric's unit; None if it is not known.
    :param low: lower bound of it, at ``slice_alpha`` for this slice alone.
    :param high: upper bound likewise.
    :param allowed: how much worse it may be.
    :param p_value: how probable such harm would be if there were none beyond what is allowed.
    :param harmed: whether harm is shown, all slices considered; None if the slice is too small to be judged.
    """

    column: str
    value: str
    metric: str
    rows: int
    units: int
    worse: float | None
    low: float | None
    high: float | None
    allowed: float | None
    p_value: float | None
    harmed: bool | None

    @property
    def name(self) -> str:
        """What sentences call it."""
        return f"{self.column} = {self.value}" if self.column else self.metric.upper()


@dataclass(frozen=True)
class Decision:
    """What was decided, from which numbers, under which settings.

    :param outcome: the worst of what the checks lead to.
    :param kind: ``comparison``; ``numbers`` where only ``metrics.json`` files were compared; or ``bootstrap``
        where there was no champion to compare with.
    :param challenger: the version that was decided on.
    :param champion: the version that it was compared with, or None.
    :param anchor: the version that is the anchor once the challenger is promoted: itself if it is proven
        better than the anchor before it.
    :param value: the challenger's metric; None if it has none.
    :param rows: rows that were scored.
    :param holdout: their hash; empty if unknown.
    :param checks: all that was required, in order.
    :param comparison: the numbers of the comparison with the champion, if there was one.
    :param anchor_comparison: the same with the anchor; None if it is the champion.
    :param slices: what was found in each slice and guarded metric.
    :param settings: what was required.
    :param fingerprint: of the evaluation.
    """

    outcome: Outcome
    kind: str
    challenger: str
    champion: str | None
    anchor: str
    value: float | None
    rows: int
    holdout: str
    checks: tuple[Check, ...]
    comparison: Comparison | None
    anchor_comparison: Comparison | None
    slices: tuple[SliceFinding, ...]
    settings: GateSettings
    fingerprint: str

    @property
    def reasons(self) -> list[str]:
        """Return the sentences that explain the outcome, the gravest first."""
        if self.outcome is Outcome.PROMOTE:
            decisive = [check for check in self.checks if check.name in ("comparison", "bootstrap")]
            return [check.text for check in decisive]
        failed = [check for check in self.checks if check.result == "fail"]
        return [check.text for check in sorted(failed, key=lambda check: check.outcome is Outcome.HOLD)]

    @property
    def summary(self) -> str:
        """Return one line for logs and the history."""
        return f"{self.outcome.value}: {' '.join(self.reasons)}"

    def to_mapping(self) -> dict[str, Any]:
        """Return it as JSON values, readable by :meth:`parse`; what is not finite becomes null."""
        mapping = {"schema": SCHEMA, **asdict(self), "reasons": self.reasons}
        for entry, check in zip(mapping["checks"], self.checks, strict=True):
            entry["result"] = check.result
        mapping["settings"] = self.settings.to_mapping()
        checked: dict[str, Any] = _json_values(mapping)
        return checked

    def evidence(self) -> dict[str, Any]:
        """Return the numbers that the history keeps: small, and equal for equal measurements."""
        evidence = {
            "outcome": self.outcome.value,
            "kind": self.kind,
            "metric": self.settings.metric,
            "challenger": self.value,
            "rows": self.rows,
            "evaluation": self.fingerprint,
            "holdout": self.holdout,
        }
        if self.comparison is not None:
            chosen = ("champion", "difference", "low", "high", "confidence", "margin", "units")
            evidence |= {name: getattr(self.comparison, name) for name in chosen}
        finite: dict[str, Any] = _json_values(evidence)
        return finite

    @classmethod
    def parse(cls, uri: str, raw: bytes | str) -> Decision:
        """Read a ``decision.json``.

        :param uri: where it stands, for messages.
        :param raw: the file's content.
        :raises InvalidDocument: a field is missing or wrong.
        :raises InvalidSettings: its settings are not allowed.
        """
        document = Document.parse(uri, raw)
        document.schema(SCHEMA)
        outcomes = [outcome.value for outcome in Outcome]
        return cls(
            outcome=Outcome(document.choice("outcome", *outcomes)),
            kind=document.choice("kind", "bootstrap", "comparison", "numbers"),
            challenger=document.text("challenger"),
            champion=document.optional_text("champion"),
            anchor=document.text("anchor"),
            value=None if document.is_null("value") else document.number("value"),
            rows=document.integer("rows"),
            holdout=str(document.raw("holdout")),
            checks=tuple(_check(check) for check in document.children("checks")),
            comparison=_comparison(document, "comparison"),
            anchor_comparison=_comparison(document, "anchor_comparison"),
            slices=tuple(_slice(finding) for finding in document.children("slices")),
            settings=GateSettings.from_mapping(dict(document.child("settings").items())),
            fingerprint=document.text("fingerprint"),
        )


def _check(document: Document) -> Check:
    outcome = None
    if not document.is_null("outcome"):
        outcome = Outcome(document.choice("outcome", *(outcome.value for outcome in Outcome)))
    return Check(document.text("name"), outcome, document.text("text"), document.numbers("numbers"))


def _slice(document: Document) -> SliceFinding:
    return SliceFinding(
        column=str(document.raw("column")),
        value=str(document.raw("value")),
        metric=document.text("metric"),
        rows=document.integer("rows"),
        units=document.integer("units"),
        **{
            name: None if document.is_null(name) else document.number(name)
            for name in ("worse", "low", "high", "allowed", "p_value")
        },
        harmed=None if document.is_null("harmed") else document.boolean("harmed"),
    )


def _comparison(parent: Document, name: str) -> Comparison | None:
    if parent.is_null(name):
        return None
    document = parent.child(name)
    numbers = (
        "challenger",
        "champion",
        "difference",
        "low",
        "high",
        "confidence",
        "standard_error",
        "margin",
    )
    return Comparison(
        metric=document.text("metric"),
        direction=document.choice("direction", "lower", "higher"),
        **{name: document.number(name) for name in numbers},
        rows=document.integer("rows"),
        unit=document.text("unit"),
        units=document.integer("units"),
        effective_units=document.number("effective_units"),
        rows_needed=document.optional_integer("rows_needed"),
    )


def _json_values(value: Any) -> Any:
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _json_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(item) for item in value]
    return value


def to_json(mapping: dict[str, Any]) -> bytes:
    """Return a mapping as the text of a file that people read too."""
    return (json.dumps(mapping, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def plain(value: float) -> str:
    """Return a number for a sentence, or in words what is none."""
    return f"{value:.4g}" if math.isfinite(value) else "not a number" if math.isnan(value) else "infinite"


def percent(share: float) -> str:
    """Return a share for a sentence: 0.015 is ``1.5 %``."""
    value = share * 100
    return f"{value:.3g} %" if value < 100 else f"{value:,.0f} %"
