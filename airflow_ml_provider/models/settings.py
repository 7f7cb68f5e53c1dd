"""What the gate requires of a new version."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from airflow_ml_provider.models.errors import InvalidSettings


@dataclass(frozen=True)
class GateSettings:
    """What a challenger must show to replace the champion.

    :param metric: the metric that is compared; its direction stands in ``evaluation.json``.
    :param margin: how much worse than the champion is tolerated, at least 0.
    :param margin_kind: ``relative`` to the champion's metric (0.01 is one percent of its absolute value), or
        ``absolute``, in the metric's unit.
    :param mode: ``non_inferior`` promotes what is not worse by more than the margin, for retraining on
        fresh data; ``superior`` promotes only what is better, for a change of the model itself.
    :param alpha: the probability of promoting a challenger that is worse by exactly the margin, and of
        blocking one for harm that it does not do; one-sided, more than 0 and less than 0.5.
    :param ceilings: by metric, what the challenger's must not exceed, champion or not.
    :param floors: by metric, what the challenger's must not fall below, champion or not.
    :param minimum_rows: held-out rows below which nothing is decided.
    :param minimum_units: users below which nothing is decided, counted as if all had equally many rows
        (see :attr:`~airflow_ml_provider.models.evaluation.Metric.effective_units`); at least 10.
    :param minimum_coverage: share of the rows whose user and item the challenger must know, 0 to 1.
    :param guards: other metrics, by name how much worse each may be than the champion's (as ``margin_kind``
        says). They block where harm beyond that is shown, together with the slices.
    :param anchor_alpha: as ``alpha``, for everything that concerns the anchor. The anchor stays for many
        nights, each of which is another chance to err.
    :param slice_margin: how much worse than the champion a slice may be; ``margin`` if None.
    :param slice_alpha: the probability of blocking because of any slice or guard that is not worse.
    :param slice_minimum_rows: slices with fewer rows are not judged.
    :param slice_minimum_units: nor those with fewer users, counted as for ``minimum_units``; at least 10.
    :param maximum_holdout_uses: decisions that may rest on the very same held-out rows; from a third of them
        on, the gate warns.
    :param maximum_latency_ms: 95th percentile of a request for one row; not looked at if None.
    :param maximum_size_mb: of the version's files, in 10^6 bytes; not looked at if None.
    :raises InvalidSettings: one of them is not allowed.
    """

    metric: str = "rmse"
    margin: float = 0.01
    margin_kind: str = "relative"
    mode: str = "non_inferior"
    alpha: float = 0.01
    ceilings: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    minimum_rows: int = 100
    minimum_units: int = 100
    minimum_coverage: float = 0.5
    guards: Mapping[str, float] = field(default_factory=dict)
    anchor_alpha: float = 1e-4
    slice_margin: float | None = None
    slice_alpha: float = 0.05
    slice_minimum_rows: int = 200
    slice_minimum_units: int = 30
    maximum_holdout_uses: int = 30
    maximum_latency_ms: float | None = None
    maximum_size_mb: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise _refusal("metric", self.metric, "must be a metric's name")
        if self.margin_kind not in ("relative", "absolute"):
            raise _refusal("margin_kind", self.margin_kind, "must be 'relative' or 'absolute'")
        if self.mode not in ("non_inferior", "superior"):
            raise _refusal("mode", self.mode, "must be 'non_inferior' or 'superior'")
        self._check_margins()
        for name in ("alpha", "anchor_alpha", "slice_alpha"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value < 0.5:
                raise _refusal(name, value, "must be more than 0 and less than 0.5")
        if not _is_number(self.minimum_coverage) or not 0 <= self.minimum_coverage <= 1:
            raise _refusal("minimum_coverage", self.minimum_coverage, "must be a share from 0 to 1")
        counts = {"minimum_rows": 1, "minimum_units": 10, "slice_minimum_rows": 1, "slice_minimum_units": 10}
        counts["maximum_holdout_uses"] = 1
        for name, least in counts.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise _refusal(name, value, f"must be an integer of at least {least}")
        for name in ("maximum_latency_ms", "maximum_size_mb"):
            value = getattr(self, name)
            if value is not None and (not _is_number(value) or value <= 0):
                raise _refusal(name, value, "must be a number above 0, or None")
        for name in ("ceilings", "floors"):
            bounds = getattr(self, name)
            if not isinstance(bounds, Mapping) or not all(map(_is_number, bounds.values())):
                raise _refusal(name, bounds, "must map metrics to numbers")
            object.__setattr__(self, name, dict(bounds))
        for name in self.ceilings.keys() & self.floors.keys():
            if self.floors[name] > self.ceilings[name]:
                raise _refusal("floors", self.floors[name], f"lies above the ceiling of {name!r}")

    def _check_margins(self) -> None:
        if not isinstance(self.guards, Mapping):
            raise _refusal("guards", self.guards, "must map metrics to margins")
        object.__setattr__(self, "guards", dict(self.guards))
        margins = [("margin", self.margin), *(("guards", margin) for margin in self.guards.values())]
        if self.slice_margin is not None:
            margins.append(("slice_margin", self.slice_margin))
        for name, value in margins:
            if not _is_number(value) or value < 0:
                raise _refusal(name, value, "must be a number of at least 0")
            if self.margin_kind == "relative" and value >= 1:
                raise _refusal(name, value, "relative to the champion it must be below 1; 0.01 is 1 %")
        if self.metric in self.guards:
            raise _refusal("guards", self.metric, "is the metric that is compared anyway")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> GateSettings:
        """Read settings from a DAG's parameters or a file; what is left out has its default.

        :raises InvalidSettings: a key is unknown, or a value is not allowed.
        """
        known = [entry.name for entry in fields(cls)]
        for key in mapping:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
                raise InvalidSettings(f"gate settings: {key!r} is unknown; {hint}")
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """Return them as JSON values, readable by :meth:`from_mapping`."""
        return asdict(self)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refusal(name: str, value: Any, rule: str) -> InvalidSettings:
    return InvalidSettings(f"gate settings: {name} is {value!r}, {rule}")
