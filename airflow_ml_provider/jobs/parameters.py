"""What a tuning job tries out: parameters, their ranges, and which of them depend on others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeGuard

DOUBLE, INTEGER, CATEGORICAL, DISCRETE = TYPES = ("DOUBLE", "INTEGER", "CATEGORICAL", "DISCRETE")
SCALES = ("UNIT_LINEAR_SCALE", "UNIT_LOG_SCALE", "UNIT_REVERSE_LOG_SCALE")
MAX_DISCRETE_VALUES = 1000
# Values that are closer are the same to Vertex AI.
_APART = 1e-10


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter that is tuned; a trial gets it as the flag ``--NAME=VALUE``.

    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/StudySpec#ParameterSpec

    :param name: the flag's name, without dashes.
    :param type: ``DOUBLE``, ``INTEGER``, ``CATEGORICAL`` or ``DISCRETE``. Whole numbers reach a trial as
        ``80.0`` at times.
    :param min_value: least value of a double or integer.
    :param max_value: greatest value of a double or integer.
    :param values: the texts of a categorical parameter, or the numbers of a discrete one, in increasing
        order, at most 1000.
    :param scale_type: ``UNIT_LINEAR_SCALE``, ``UNIT_LOG_SCALE`` or ``UNIT_REVERSE_LOG_SCALE``; not for
        categorical parameters, and the logarithmic ones only for values above 0.
    :param conditional: parameters that matter only for some values of this one.
    """

    name: str
    type: str
    min_value: float | None = None
    max_value: float | None = None
    values: Sequence[float | str] = ()
    scale_type: str | None = None
    conditional: Sequence[ConditionalParameter] = ()


@dataclass(frozen=True, kw_only=True)
class ConditionalParameter:
    """A parameter that matters only for some values of its parent.

    :param parent_values: these values; they must be possible ones of the parent, which is no double.
    :param parameter: what is tuned then.
    """

    parent_values: Sequence[float | str]
    parameter: Parameter


def flattened(parameters: Sequence[Parameter]) -> Iterator[Parameter]:
    """Yield parameters, and those that depend on them."""
    for parameter in parameters:
        yield parameter
        yield from flattened([condition.parameter for condition in parameter.conditional])


def parameter_spec(parameter: Parameter) -> dict[str, Any]:
    """Return Vertex AI's ``ParameterSpec`` of a valid parameter."""
    spec: dict[str, Any] = {"parameterId": parameter.name, **_value_spec(parameter)}
    if parameter.scale_type:
        spec["scaleType"] = parameter.scale_type
    if parameter.conditional:
        spec["conditionalParameterSpecs"] = [
            {**_condition(parameter, condition), "parameterSpec": parameter_spec(condition.parameter)}
            for condition in parameter.conditional
        ]
    return spec


def _value_spec(parameter: Parameter) -> dict[str, Any]:
    least, greatest = parameter.min_value or 0, parameter.max_value or 0
    if parameter.type == DOUBLE:
        return {"doubleValueSpec": {"minValue": float(least), "maxValue": float(greatest)}}
    if parameter.type == INTEGER:
        return {"integerValueSpec": {"minValue": str(int(least)), "maxValue": str(int(greatest))}}
    if parameter.type == CATEGORICAL:
        return {"categoricalValueSpec": {"values": [str(value) for value in parameter.values]}}
    return {"discreteValueSpec": {"values": [float(value) for value in parameter.values]}}


def _condition(parent: Parameter, condition: ConditionalParameter) -> dict[str, Any]:
    if parent.type == CATEGORICAL:
        return {"parentCategoricalValues": {"values": [str(value) for value in condition.parent_values]}}
    if parent.type == INTEGER:
        return {"parentIntValues": {"values": [str(int(value)) for value in condition.parent_values]}}
    return {"parentDiscreteValues": {"values": [float(value) for value in condition.parent_values]}}


def parameter_problems(parameters: Sequence[Parameter], where: str = "parameters") -> list[str]:
    """Return what is wrong with parameters.

    :param where: what the messages begin with.
    """
    found = []
    names = [parameter.name for parameter in parameters]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        found.append(f"{where}: {name!r} comes twice")
    for parameter in parameters:
        found += _own_problems(f"{where}.{parameter.name}", parameter)
    return found


def _own_problems(where: str, parameter: Parameter) -> Iterator[str]:
    name = parameter.name
    if not isinstance(name, str) or not name or any(char.isspace() or char == "=" for char in name):
        yield f"{where}: a name without blanks and '=' is needed"
    if parameter.type not in TYPES:
        yield f"{where}.type: {parameter.type!r} is not one of {list(TYPES)}"
        return
    if parameter.type in (DOUBLE, INTEGER):
        yield from _range_problems(where, parameter)
    else:
        yield from _value_problems(where, parameter)
    if parameter.scale_type is not None:
        yield from _scale_problems(where, parameter)
    yield from _condition_problems(where, parameter)


def _range_problems(where: str, parameter: Parameter) -> Iterator[str]:
    if parameter.values:
        yield f"{where}.values: only for CATEGORICAL and DISCRETE; use min_value and max_value"
    bounds = (parameter.min_value, parameter.max_value)
    for field, value in zip(("min_value", "max_value"), bounds, strict=True):
        if not _is_number(value):
            yield f"{where}.{field}: {value!r} is not a number"
        elif parameter.type == INTEGER and value != int(value):
            yield f"{where}.{field}: {value!r} is not a whole number"
    if _is_number(bounds[0]) and _is_number(bounds[1]) and bounds[0] > bounds[1]:
        yield f"{where}: min_value {bounds[0]} is greater than max_value {bounds[1]}"


def _value_problems(where: str, parameter: Parameter) -> Iterator[str]:
    if parameter.min_value is not None or parameter.max_value is not None:
        yield f"{where}: {parameter.type} has values, not min_value and max_value"
    values = parameter.values
    if isinstance(values, str) or not values:
        yield f"{where}.values: a list of values is needed"
    elif parameter.type == CATEGORICAL:
        texts = [str(value) for value in values]
        if len(set(texts)) < len(texts):
            yield f"{where}.values: a value comes twice"
    elif not all(_is_number(value) for value in values):
        yield f"{where}.values: {list(values)} are not all numbers"
    else:
        numbers = [float(value) for value in values]
        if any(after - before < _APART for before, after in pairwise(numbers)):
            yield f"{where}.values: must be in increasing order, at least 1e-10 apart"
        if len(numbers) > MAX_DISCRETE_VALUES:
            yield f"{where}.values: {len(numbers)} values, at most {MAX_DISCRETE_VALUES} allowed"


def _scale_problems(where: str, parameter: Parameter) -> Iterator[str]:
    scale = parameter.scale_type
    if scale not in SCALES:
        yield f"{where}.scale_type: {scale!r} is not one of {list(SCALES)}"
    elif parameter.type == CATEGORICAL:
        yield f"{where}.scale_type: not for CATEGORICAL"
    elif scale != "UNIT_LINEAR_SCALE":
        least = (
            parameter.min_value if parameter.type in (DOUBLE, INTEGER) else next(iter(parameter.values), 1)
        )
        if _is_number(least) and least <= 0:
            yield f"{where}.scale_type: {scale} needs values above 0"


def _condition_problems(where: str, parameter: Parameter) -> Iterator[str]:
    if parameter.conditional and parameter.type == DOUBLE:
        yield f"{where}.conditional: nothing can depend on the values of a DOUBLE"
        return
    seen: dict[str, set[Any]] = {}
    for condition in parameter.conditional:
        child = condition.parameter
        if not condition.parent_values:
            yield f"{where}.conditional.{child.name}: parent_values are needed"
        for value in condition.parent_values:
            if not _is_possible(parameter, value):
                yield f"{where}.conditional.{child.name}: {value!r} is no value of {parameter.name}"
        values = set(condition.parent_values)
        if values & seen.setdefault(child.name, set()):
            yield f"{where}.conditional: {child.name!r} comes twice for the same value of {parameter.name}"
        seen[child.name] |= values
        yield from _own_problems(f"{where}.conditional.{child.name}", child)


def _is_possible(parameter: Parameter, value: Any) -> bool:
    if parameter.type == INTEGER:
        least, greatest = parameter.min_value, parameter.max_value
        if not (_is_number(value) and _is_number(least) and _is_number(greatest)):
            return False
        return value == int(value) and least <= value <= greatest
    if parameter.type == CATEGORICAL:
        return str(value) in [str(other) for other in parameter.values]
    return _is_number(value) and any(
        _is_number(other) and abs(float(other) - value) < _APART for other in parameter.values
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def typed_value(parameter: Parameter, value: Any) -> int | float | str:
    """Return a trial's value as its type: Vertex AI tells whole numbers as ``80.0``."""
    if parameter.type == CATEGORICAL:
        return str(value)
    number = float(value)
    whole = parameter.type == INTEGER or all(float(other).is_integer() for other in parameter.values)
    return int(number) if whole and parameter.type != DOUBLE else number


def typed_values(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> dict[str, int | float | str]:
    """Return a trial's values by name, typed; names that are no parameters are left out.

    :param parameters: of the tuning job.
    :param values: as the trial has them.
    """
    known = {parameter.name: parameter for parameter in flattened(parameters)}
    return {name: typed_value(known[name], value) for name, value in values.items() if name in known}
