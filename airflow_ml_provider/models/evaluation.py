"""What the evaluation job measured: all models on the same rows, and how sure their differences are."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_ml_provider.models.document import Document

SCHEMA = 2
ROLES = ("challenger", "champion", "anchor")
# Numbers that were computed in another order agree to about this.
_TOLERANCE = 1e-6
# The direction of metrics that stand in a plain metrics.json, by the word that they begin or end with.
_HIGHER = ("accuracy", "auc", "pr_auc", "ndcg", "recall", "precision", "map", "f1", "r2")


@dataclass(frozen=True)
class Serving:
    """How a version behaved when a fresh process loaded it as a server would.

    :param loads: whether it could be loaded and answered.
    :param problem: why not, or what differed; None if nothing did.
    :param identical: whether it answered the canary requests as it did when it was trained; None if the
        version has none.
    :param requests: how many were answered.
    :param latency_ms: 95th percentile of a request for a single row, in milliseconds; None if unknown.
    :param size_bytes: of all its files.
    """

    loads: bool
    problem: str | None
    identical: bool | None
    requests: int
    latency_ms: float | None
    size_bytes: int


@dataclass(frozen=True)
class Scored:
    """One model's result.

    :param uri: the version's folder, ``gs://BUCKET/…/versions/VERSION/``.
    :param metrics: by name; NaN where a metric could not be computed.
    :param constant: whether it predicted the same value for every row.
    :param coverage: share of the rows whose user and item it knew, 0 to 1.
    :param serving: what a fresh process found; None if nothing was tried.
    """

    uri: str
    metrics: Mapping[str, float]
    constant: bool
    coverage: float
    serving: Serving | None = None

    @property
    def version(self) -> str:
        """The version's name: the last part of its folder."""
        return self.uri.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True)
class Metric:
    """A metric of all models on the same rows.

    The matrices are indexed by two models: what they say is of the first's value minus the second's, or of
    the value itself where both are the same.

    :param direction: ``lower`` or ``higher``, whichever is better.
    :param models: in the order of everything that follows.
    :param values: of each model; NaN where it could not be computed.
    :param rows: that it is of (for a ranking, users).
    :param effective_units: Kish's number, (Σ n)² / Σ n² over groups of units: as many units with equally many
        rows would be worth the same.
    :param standard_errors: from the variation between units; None where it is unknown.
    :param degrees: of freedom of the standard errors.
    :param skewness: Σ z³ / (Σ z²)^1.5 over the units' influences z.
    """

    direction: str
    models: tuple[str, ...]
    values: tuple[float, ...]
    rows: int
    effective_units: float
    standard_errors: tuple[tuple[float, ...], ...] | None
    degrees: tuple[tuple[float, ...], ...]
    skewness: tuple[tuple[float, ...], ...]

    @property
    def sign(self) -> int:
        """1 where more is worse, -1 where more is better."""
        return 1 if self.direction == "lower" else -1

    def value(self, model: str) -> float:
        """Return a model's value; NaN if it was not scored."""
        return self.values[self.models.index(model)] if model in self.models else math.nan


@dataclass(frozen=True)
class Slice:
    """The rows that have one value in one column.

    :param column: its name.
    :param value: the value, as text.
    :param rows: how many.
    :param units: about how many units (users) they belong to.
    :param metrics: by name, as for all rows.
    """

    column: str
    value: str
    rows: int
    units: int
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Evaluation:
    """A version's ``evaluation.json``.

    :param uri: the file.
    :param rows: how many were scored.
    :param unit: what the rows are clustered by, e.g. ``user``.
    :param units: about how many of them there are.
    :param holdout: a hash of the rows, whatever their order; empty if unknown.
    :param challenger: the version that asks to be promoted.
    :param champion: the version in production, or None if there was none.
    :param anchor: the version that was last proven better than its anchor; None if there was none, or if the
        champion is that version.
    :param metrics: by name.
    :param slices: of the rows.
    :param created: RFC 3339.
    :param fingerprint: SHA-256 over all of it but ``created`` and times: equal measurements have equal ones.
    :param paired: False if all that is known are the numbers of ``metrics.json``, each version's on rows of
        its own.
    """

    uri: str
    rows: int
    unit: str
    units: int
    holdout: str
    challenger: Scored
    champion: Scored | None
    anchor: Scored | None
    metrics: Mapping[str, Metric]
    slices: tuple[Slice, ...]
    created: str
    fingerprint: str
    paired: bool = field(default=True)

    @classmethod
    def parse(cls, uri: str, raw: bytes | str) -> Evaluation:
        """Read an evaluation; numbers that are NaN or infinite are kept, for the gate to refuse.

        :param uri: where it stands, for messages.
        :param raw: the file's content.
        :raises InvalidDocument: a field is missing or wrong, or the numbers contradict each other.
        """
        document = Document.parse(uri, raw)
        document.schema(SCHEMA)
        models = document.child("models")
        roles = tuple(name for name, _ in models.items())
        if roles not in {ROLES[:1], ROLES[:2], ROLES}:
            raise document.refuse("models", f"are {', '.join(roles)}; expected challenger, champion, anchor")
        rows = document.integer("rows")
        holdout = document.child("holdout")
        holdout.children("files")
        metrics = _metrics(document.child("metrics"), roles, rows)
        if not metrics:
            raise document.refuse("metrics", "names no metric")
        scored = {role: _scored(models.child(role), role, metrics) for role in roles}
        return cls(
            uri=uri,
            rows=rows,
            unit=document.text("unit"),
            units=document.integer("units"),
            holdout=holdout.text("hash"),
            challenger=scored["challenger"],
            champion=scored.get("champion"),
            anchor=scored.get("anchor"),
            metrics=metrics,
            slices=tuple(_slice(child, roles, rows) for child in document.children("slices")),
            created=document.time("created"),
            fingerprint=_fingerprint(document),
        )

    @classmethod
    def of_metrics(
        cls,
        challenger: tuple[str, str, bytes],
        champion: tuple[str, str, bytes] | None,
        created: str,
    ) -> Evaluation:
        """Make do with the ``metrics.json`` of versions whose image writes nothing else.

        Each is a flat object of names and numbers. Nothing is known of rows, users and uncertainty, and the
        two need not be of the same rows: the gate then applies a weaker rule, and says so.

        :param challenger: its folder, the file's URI and its content.
        :param champion: the same of the version in production, or None.
        :param created: when the version was made, RFC 3339.
        :raises InvalidDocument: a file is not as expected.
        """
        given = {"challenger": challenger} | ({} if champion is None else {"champion": champion})
        documents = {role: Document.parse(uri, raw) for role, (_, uri, raw) in given.items()}
        numbers = {
            role: {name: document.number(name) for name, _ in document.items()}
            for role, document in documents.items()
        }
        roles = tuple(numbers)
        zeros = tuple((0.0,) * len(roles) for _ in roles)
        metrics = {}
        for name in numbers["challenger"]:
            values = tuple(numbers[role].get(name, math.nan) for role in roles)
            direction = "higher" if name.lower().replace("@", "_").startswith(_HIGHER) else "lower"
            metrics[name] = Metric(direction, roles, values, 0, 0.0, None, zeros, zeros)
        if not metrics:
            raise documents["challenger"].refuse("", "names no metric")
        scored = {role: Scored(given[role][0], numbers[role], False, 1.0) for role in roles}
        text = json.dumps({role: sorted(values.items()) for role, values in numbers.items()})
        return cls(
            uri=challenger[1],
            rows=0,
            unit="row",
            units=0,
            holdout="",
            challenger=scored["challenger"],
            champion=scored.get("champion"),
            anchor=None,
            metrics=metrics,
            slices=(),
            created=created,
            fingerprint=hashlib.sha256(text.encode()).hexdigest(),
            paired=False,
        )


def _scored(document: Document, role: str, metrics: Mapping[str, Metric]) -> Scored:
    uri = document.text("uri")
    if not uri.startswith("gs://") or not uri.rstrip("/").rpartition("/")[2]:
        raise document.refuse("uri", f"{uri!r} is not a version's folder: expected gs://…/versions/VERSION/")
    values = {name: metric.value(role) for name, metric in metrics.items()}
    serving = None if document.is_null("serving") else _serving(document.child("serving"))
    return Scored(uri, values, document.boolean("constant"), document.share("coverage"), serving)


def _serving(document: Document) -> Serving:
    latency = document.number("latency_ms")
    return Serving(
        loads=document.boolean("loads"),
        problem=document.optional_text("problem"),
        identical=None if document.is_null("identical") else document.boolean("identical"),
        requests=document.integer("requests"),
        latency_ms=latency if math.isfinite(latency) else None,
        size_bytes=document.integer("size_bytes"),
    )


def _slice(document: Document, roles: tuple[str, ...], rows: int) -> Slice:
    part = document.integer("rows")
    if part > rows:
        raise document.refuse("rows", f"is {part}, but only {rows} rows were scored")
    return Slice(
        column=document.text("column"),
        value=str(document.raw("value")),
        rows=part,
        units=document.integer("units"),
        metrics=_metrics(document.child("metrics"), roles, part),
    )


def _metrics(document: Document, roles: tuple[str, ...], rows: int) -> dict[str, Metric]:
    return {name: _metric(document.child(name), roles, rows) for name, _ in document.items()}


def _metric(document: Document, roles: tuple[str, ...], rows: int) -> Metric:
    values = _vector(document, "values", len(roles))
    count = document.integer("rows")
    if count > rows:
        raise document.refuse("rows", f"is {count}, but only {rows} rows were scored")
    errors = None
    if not document.is_null("standard_errors"):
        errors = _matrix(document, "standard_errors", len(roles))
        _check_errors(document, errors)
    return Metric(
        direction=document.choice("direction", "lower", "higher"),
        models=roles,
        values=values,
        rows=count,
        effective_units=document.number("effective_units"),
        standard_errors=errors,
        degrees=_matrix(document, "degrees", len(roles)),
        skewness=_matrix(document, "skewness", len(roles)),
    )


def _vector(document: Document, name: str, length: int) -> tuple[float, ...]:
    values = document.raw(name)
    if not isinstance(values, list) or len(values) != length:
        raise document.refuse(name, f"must be a list of {length} numbers, one for each model")
    entries = Document(document.uri, {f"[{at}]": value for at, value in enumerate(values)}, document.path)
    return tuple(entries.number(f"[{at}]") for at in range(length))


def _matrix(document: Document, name: str, length: int) -> tuple[tuple[float, ...], ...]:
    rows = document.raw(name)
    if not isinstance(rows, list) or len(rows) != length:
        raise document.refuse(name, f"must be {length} lists of {length} numbers, one for each model")
    entries = Document(document.uri, {f"{name}[{at}]": row for at, row in enumerate(rows)}, document.path)
    return tuple(_vector(entries, f"{name}[{at}]", length) for at in range(length))


def _check_errors(document: Document, errors: tuple[tuple[float, ...], ...]) -> None:
    # What holds for the standard errors of any estimates; each failure would be a mix-up of columns.
    for one, row in enumerate(errors):
        for other, error in enumerate(row):
            if not (math.isfinite(error) and error >= 0):
                raise document.refuse("standard_errors", f"hold {error}, which is no standard error")
            if not math.isclose(error, errors[other][one], rel_tol=_TOLERANCE, abs_tol=1e-300):
                raise document.refuse("standard_errors", "differ by the order of the two models")
            low, high = sorted((row[one], errors[other][other]))
            slack = _TOLERANCE * (low + high)
            if one != other and not high - low - slack <= error <= high + low + slack:
                raise document.refuse(
                    "standard_errors",
                    f"say {error} of a difference between values with {low} and {high}: impossible",
                )


def _fingerprint(document: Document) -> str:
    fields = {name: value for name, value in document.items() if name != "created"}
    models: dict[str, Any] = fields["models"]
    # How long an answer took is another time in every run.
    fields["models"] = {
        role: {key: entry for key, entry in scored.items() if key != "serving"}
        for role, scored in models.items()
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
