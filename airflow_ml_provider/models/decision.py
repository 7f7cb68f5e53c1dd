"""A decision on a version, with its reasons."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from airflow_ml_provider.models.document import Document
from airflow_ml_provider.models.settings import GateSettings

SCHEMA = 1


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
    :param outcome: PROMOTE if it holds, otherwise what its failure leads to.
    :param text: a sentence with the numbers.
    """

    name: str
    outcome: Outcome
    text: str


@dataclass(frozen=True)
class Comparison:
    """Challenger against champion in one metric, on the same rows.

    :param metric: its name.
    :param direction: ``lower`` or ``higher``, whichever is better.
    :param challenger: its metric.
    :param champion: its metric.
    :param difference: challenger minus champion.
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
class Decision:
    """What was decided, from which numbers, under which settings.

    :param outcome: the worst of what the checks lead to.
    :param kind: ``comparison``, or ``bootstrap`` where there was no champion to compare with.
    :param challenger: the version that was decided on.
    :param champion: the version that it was compared with, or None.
    :param value: the challenger's metric; None if it has none.
    :param rows: rows that were scored.
    :param checks: all that was required, in order.
    :param comparison: the numbers of the comparison, if there was one.
    :param settings: what was required.
    :param fingerprint: of the evaluation.
    """

    outcome: Outcome
    kind: str
    challenger: str
    champion: str | None
    value: float | None
    rows: int
    checks: tuple[Check, ...]
    comparison: Comparison | None
    settings: GateSettings
    fingerprint: str

    @property
    def reasons(self) -> list[str]:
        """Return the sentences that explain the outcome, the gravest first."""
        if self.outcome is Outcome.PROMOTE:
            decisive = [check for check in self.checks if check.name in ("comparison", "bootstrap")]
            return [check.text for check in decisive]
        failed = [check for check in self.checks if check.outcome is not Outcome.PROMOTE]
        return [check.text for check in sorted(failed, key=lambda check: check.outcome is Outcome.HOLD)]

    @property
    def summary(self) -> str:
        """Return one line for logs and the history."""
        return f"{self.outcome.value}: {' '.join(self.reasons)}"

    def to_mapping(self) -> dict[str, Any]:
        """Return it as JSON values, readable by :meth:`parse`; what is not finite becomes null."""
        mapping = {"schema": SCHEMA, **asdict(self), "reasons": self.reasons}
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
            kind=document.choice("kind", "bootstrap", "comparison"),
            challenger=document.text("challenger"),
            champion=document.optional_text("champion"),
            value=None if document.is_null("value") else document.number("value"),
            rows=document.integer("rows"),
            checks=tuple(
                Check(check.text("name"), Outcome(check.choice("outcome", *outcomes)), check.text("text"))
                for check in document.children("checks")
            ),
            comparison=None if document.is_null("comparison") else _comparison(document.child("comparison")),
            settings=GateSettings.from_mapping(dict(document.child("settings").items())),
            fingerprint=document.text("fingerprint"),
        )


def _comparison(document: Document) -> Comparison:
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
