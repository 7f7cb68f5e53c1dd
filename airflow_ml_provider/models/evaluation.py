"""What the evaluation job measured: both models on the same rows, and how their losses vary by user."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ml_provider.models.document import Document
from airflow_ml_provider.models.errors import InvalidDocument

SCHEMA = 1
# Sums of many floats, added in another order, agree to about this.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Scored:
    """One model's result.

    :param uri: the version's folder, ``gs://BUCKET/…/versions/VERSION/``.
    :param metrics: by name; NaN where a metric could not be computed.
    :param constant: whether it predicted the same value for every row.
    :param coverage: share of the rows whose user and item it knew, 0 to 1.
    """

    uri: str
    metrics: Mapping[str, float]
    constant: bool
    coverage: float

    @property
    def version(self) -> str:
        """The version's name: the last part of its folder."""
        return self.uri.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Metric:
    """How a metric is to be read.

    :param direction: ``lower`` or ``higher``, whichever is better.
    :param loss: the per-row quantity whose sums stand under ``paired``, or None if there is none.
    :param statistic: ``mean`` of that quantity, or its ``root_mean`` (the default for ``rmse``).
    """

    direction: str
    loss: str | None
    statistic: str

    @property
    def sign(self) -> int:
        """1 where more is worse, -1 where more is better."""
        return 1 if self.direction == "lower" else -1


@dataclass(frozen=True)
class Paired:
    """Sums over units (users) of one per-row quantity, for both models on the same rows.

    With n_u rows of unit u, and a_u and b_u the sums of the quantity over them for the challenger and the
    champion: the sums are over all units.

    :param unit: what the rows are clustered by, e.g. ``user``.
    :param units: how many.
    :param n: Σ n_u, the rows.
    :param challenger: Σ a_u.
    :param champion: Σ b_u.
    :param nn: Σ n_u².
    :param nc: Σ n_u·a_u.
    :param np: Σ n_u·b_u.
    :param cc: Σ a_u².
    :param pp: Σ b_u².
    :param cp: Σ a_u·b_u.
    """

    unit: str
    units: int
    n: int
    challenger: float
    champion: float
    nn: float
    nc: float
    np: float
    cc: float
    pp: float
    cp: float

    @property
    def finite(self) -> bool:
        """Whether every sum is a number."""
        sums = (self.challenger, self.champion, self.nn, self.nc, self.np, self.cc, self.pp, self.cp)
        return all(map(math.isfinite, sums))


@dataclass(frozen=True)
class Evaluation:
    """A version's ``evaluation.json``.

    :param uri: the file.
    :param rows: how many were scored.
    :param data: ``files`` and the ``sha256`` of what was scored.
    :param challenger: the version that asks to be promoted.
    :param champion: the version in production, or None if there was none.
    :param metrics: by name, how to read them.
    :param paired: by loss; empty without a champion.
    :param created: RFC 3339.
    :param fingerprint: SHA-256 over all of it but ``created``: equal measurements have equal ones.
    """

    uri: str
    rows: int
    data: Mapping[str, Any]
    challenger: Scored
    champion: Scored | None
    metrics: Mapping[str, Metric]
    paired: Mapping[str, Paired]
    created: str
    fingerprint: str

    @classmethod
    def parse(cls, uri: str, raw: bytes | str) -> Evaluation:
        """Read an evaluation; numbers that are NaN or infinite are kept, for the gate to refuse.

        :param uri: where it stands, for messages.
        :param raw: the file's content.
        :raises InvalidDocument: a field is missing or wrong, or the sums contradict each other, the number
            of rows or the metrics.
        """
        document = Document.parse(uri, raw)
        document.schema(SCHEMA)
        data = document.child("data")
        data.children("files")
        data.text("sha256")
        champion = None if document.is_null("champion") else _scored(document.child("champion"))
        if document.is_null("paired") != (champion is None):
            raise document.refuse("paired", "must be null exactly if champion is null")
        paired: dict[str, Paired] = {}
        if champion is not None:
            sums = document.child("paired")
            paired = {loss: _paired(sums.child(loss)) for loss, _ in sums.items()}
        evaluation = cls(
            uri=uri,
            rows=document.integer("rows"),
            data=dict(data.items()),
            challenger=_scored(document.child("challenger")),
            champion=champion,
            metrics=_metrics(document.child("metrics")),
            paired=paired,
            created=document.time("created"),
            fingerprint=_fingerprint(document),
        )
        _check(evaluation)
        return evaluation


def statistic_value(statistic: str, total: float, n: int) -> float:
    """Return a metric from the sum of its per-row quantity over ``n`` rows.

    :param statistic: ``mean`` or ``root_mean``.
    """
    mean = total / n if n else math.nan
    if statistic == "mean":
        return mean
    return math.sqrt(mean) if mean >= 0 else math.nan


def _scored(document: Document) -> Scored:
    uri = document.text("uri")
    if not uri.startswith("gs://") or not uri.rstrip("/").rpartition("/")[2]:
        raise document.refuse("uri", f"{uri!r} is not a version's folder: expected gs://…/versions/VERSION/")
    return Scored(uri, document.numbers("metrics"), document.boolean("constant"), document.share("coverage"))


def _metrics(document: Document) -> dict[str, Metric]:
    metrics = {}
    for name, _ in document.items():
        spec = document.child(name)
        statistic = "root_mean" if name == "rmse" else "mean"
        if "statistic" in dict(spec.items()):
            statistic = spec.choice("statistic", "mean", "root_mean")
        direction = spec.choice("direction", "lower", "higher")
        metrics[name] = Metric(direction, spec.optional_text("loss"), statistic)
    if not metrics:
        raise document.refuse("", "names no metric")
    return metrics


def _paired(document: Document) -> Paired:
    sums, products = document.child("sums"), document.child("products")
    paired = Paired(
        unit=document.text("unit"),
        units=document.integer("units"),
        n=sums.integer("n"),
        challenger=sums.number("challenger"),
        champion=sums.number("champion"),
        **{name: products.number(name) for name in ("nn", "nc", "np", "cc", "pp", "cp")},
    )
    if paired.finite:
        _check_sums(document, paired)
    return paired


def _check_sums(document: Document, paired: Paired) -> None:
    # What holds for the sums of any real numbers; each failure has been a mix-up of columns or of files.
    n, units = paired.n, paired.units
    if not (units <= n and (units > 0) == (n > 0)):
        raise document.refuse("units", f"is {units}, with {n} rows: every {paired.unit} has at least one row")
    if not (_at_most(n, paired.nn) and _at_most(n * n, units * paired.nn) and _at_most(paired.nn, n * n)):
        raise document.refuse("products.nn", f"is {paired.nn}, impossible for {n} rows of {units} units")
    squares = {"n": paired.nn, "c": paired.cc, "p": paired.pp}
    for name, value in squares.items():
        if value < 0:
            raise document.refuse(
                f"products.{name}{name}", f"is {value}, but a sum of squares is not negative"
            )
    for one, other, value in (("n", "c", paired.nc), ("n", "p", paired.np), ("c", "p", paired.cp)):
        if not _at_most(value * value, squares[one] * squares[other]):
            raise document.refuse(
                f"products.{one}{other}",
                f"is {value}, larger than the sums of squares allow (Cauchy-Schwarz)",
            )
    for name, total, square in (("cc", paired.challenger, paired.cc), ("pp", paired.champion, paired.pp)):
        if not _at_most(total * total, units * square):
            raise document.refuse(f"products.{name}", f"is {square}, too small for a sum of {total}")


def _at_most(small: float, large: float) -> bool:
    return small <= large * (1 + _TOLERANCE) + 1e-300


def _check(evaluation: Evaluation) -> None:
    uri = evaluation.uri
    for loss, paired in evaluation.paired.items():
        if paired.n != evaluation.rows:
            raise InvalidDocument(
                uri,
                f"paired.{loss}.sums.n",
                f"is {paired.n}, but rows is {evaluation.rows}: not the same rows",
            )
    champion = evaluation.champion
    if champion is None:
        return
    for name, metric in evaluation.metrics.items():
        sums = evaluation.paired.get(metric.loss or "")
        if sums is None or not sums.n:
            continue
        sides = (
            ("challenger", evaluation.challenger, sums.challenger),
            ("champion", champion, sums.champion),
        )
        for side, scored, total in sides:
            said = scored.metrics.get(name, math.nan)
            counted = statistic_value(metric.statistic, total, sums.n)
            if math.isfinite(said) and not math.isclose(said, counted, rel_tol=_TOLERANCE, abs_tol=1e-9):
                raise InvalidDocument(
                    uri,
                    f"{side}.metrics.{name}",
                    f"is {said}, but the sums of {metric.loss} over {sums.n} rows give {counted}",
                )


def _fingerprint(document: Document) -> str:
    fields = {name: value for name, value in document.items() if name != "created"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
