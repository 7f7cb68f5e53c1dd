"""A job as AI Platform Training's API took it, read from where people keep it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_ml_provider.jobs import document
from airflow_ml_provider.jobs.errors import InvalidTrainingJob

ROLES = ("master", "worker", "parameterServer", "evaluator")
_MAPPINGS = {
    *(f"{role}Config" for role in ROLES),
    "acceleratorConfig",
    "diskConfig",
    "encryptionConfig",
    "hyperparameters",
    "labels",
    "scheduling",
    "trainingInput",
}
_LISTS = {
    "args",
    "categoricalValues",
    "containerArgs",
    "containerCommand",
    "discreteValues",
    "packageUris",
    "params",
}


def read(source: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Return a job as AI Platform's API has it: ``jobId``, ``labels``, ``trainingInput``.

    :param source: such a job, or its ``trainingInput`` alone: a mapping, or the path of a YAML or JSON file.
    :raises InvalidTrainingJob: the file can't be read; what must be a list or a mapping is none.
    """
    value = dict(source) if isinstance(source, Mapping) else document.load(source)
    outer = {_camel(name): item for name, item in value.items()}
    if "predictionInput" in outer:
        raise InvalidTrainingJob(["predictionInput: a batch prediction; only training can be read"])
    whole = outer if "trainingInput" in outer else {"trainingInput": value}
    job = {**whole, "trainingInput": _spelled(whole["trainingInput"])}
    wrong = list(_wrong_shapes("", job))
    if wrong:
        raise InvalidTrainingJob(wrong)
    return job


def _wrong_shapes(where: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        field = f"{where}{name}"
        if name == "trainingInput" and item is None:
            yield f"{field}: empty"
        elif name in _MAPPINGS and not isinstance(item, Mapping | None):
            yield f"{field}: {item!r} is not a mapping"
        elif name in _LISTS and not isinstance(item, list | tuple | None):
            yield f"{field}: {item!r} is not a list"
        elif isinstance(item, Mapping) and name != "labels":
            yield from _wrong_shapes(f"{field}.".removeprefix("trainingInput."), item)
        elif name == "params":
            for number, param in enumerate(item or ()):
                if isinstance(param, Mapping):
                    yield from _wrong_shapes(f"{field}[{number}].", param)
                else:
                    yield f"{field}[{number}]: {param!r} is not a mapping"


def _camel(name: Any) -> Any:
    """Return a field's name as JSON has it; YAML may have it in snake case, as the API takes it too."""
    return re.sub(r"_([a-z])", lambda found: found.group(1).upper(), name) if isinstance(name, str) else name


def _spelled(value: Any) -> Any:
    """Return a mapping, and those in it, with the fields' names as JSON has them."""
    if isinstance(value, Mapping):
        return {_camel(name): _spelled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    return value


def enum(value: Any) -> str:
    """Return an enum's value as the API spells it; gcloud's flags have it in small letters."""
    return str(value).strip().upper().replace("-", "_")


def text(value: Any) -> str:
    """Return a word as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
