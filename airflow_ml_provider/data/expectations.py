"""What is expected of training data, declared as YAML, as a mapping or in Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class InvalidExpectations(ValueError):
    """Expectations that contradict themselves or name something unknown."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bounds(_Strict):
    """A range; either end may be open.

    :param minimum: the least that is allowed.
    :param maximum: the most that is allowed.
    """

    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is more than maximum {self.maximum}")
        return self


class ColumnExpectation(_Strict):
    """What is expected of one column; what is not given is not looked at.

    :param type: ``integer``, ``number``, ``boolean``, ``timestamp`` or ``string``.
    :param nulls: the largest share of missing values, 0 to 1.
    :param values: the range that numbers lie in.
    :param distinct: how many different values there are.
    :param categories: the values that there may be.
    :param drift: whether it is compared with the data of the model in production.
    """

    type: Literal["integer", "number", "boolean", "timestamp", "string"] | None = None
    nulls: float | None = Field(default=None, ge=0, le=1)
    values: Bounds | None = None
    distinct: Bounds | None = None
    categories: tuple[str, ...] | None = None
    drift: bool = True


class Freshness(_Strict):
    """How old the newest row may be.

    :param column: of timestamps.
    :param hours: before the end of the run's data interval.
    """

    column: str
    hours: float = Field(gt=0)


class Drift(_Strict):
    """From which distance to the data of the model in production on somebody is told.

    The distance of a column is the Jensen-Shannon divergence (base 2) of its values' shares, where there are
    few values, and otherwise the population stability index of numbers over the tenths of the other data. The
    usual marks are 0.1 and 0.25.

    :param warn: the distance that is worth a look.
    :param stop: the distance that stops the run; for the label, ``warn`` does.
    :param vanished: a value that had at least this share and has lost nine tenths of it stops the run: one
        tenant, country or class is missing.
    """

    warn: float = Field(default=0.1, gt=0)
    stop: float = Field(default=0.25, gt=0)
    vanished: float = Field(default=0.01, gt=0, le=1)


class Expectations(_Strict):
    """What is expected of a dataset.

    :param rows: how many; at least one by default.
    :param columns: by name. Each must be there.
    :param other_columns: what a column means that is not named, where any is: ``allow``, ``warn``, ``stop``.
    :param label: the column to learn; a label with a single value stops the run.
    :param newest: how fresh the data must be.
    :param duplicates: the largest share of rows that repeat another, 0 to 1.
    :param size: allowed rows, as a multiple of those of the model in production.
    :param drift: allowed distance to those.
    """

    rows: Bounds = Bounds(minimum=1)
    columns: Mapping[str, ColumnExpectation] = Field(default_factory=dict)
    other_columns: Literal["allow", "warn", "stop"] = "warn"
    label: str | None = None
    newest: Freshness | None = None
    duplicates: float = Field(default=0.2, ge=0, le=1)
    size: Bounds = Bounds(minimum=0.5, maximum=2)
    drift: Drift = Drift()

    @classmethod
    def read(cls, source: Expectations | Mapping[str, Any] | str | Path | None) -> Expectations:
        """Return expectations however they are given.

        :param source: a mapping, a path of a YAML file, expectations, or None for the defaults.
        :raises InvalidExpectations: naming each field that is wrong.
        """
        if isinstance(source, Expectations):
            return source
        if isinstance(source, (str, Path)):
            import yaml

            try:
                value = yaml.safe_load(Path(source).read_text())
            except (OSError, yaml.YAMLError) as error:
                raise InvalidExpectations(f"{source}: {error}") from error
        else:
            value = source or {}
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()]
            raise InvalidExpectations(
                "Invalid expectations:\n" + "\n".join(f"  - {line}" for line in lines)
            ) from None
