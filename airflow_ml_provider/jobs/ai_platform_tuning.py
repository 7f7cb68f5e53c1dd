"""Reading AI Platform Training's ``hyperparameters``.

Its fields: ``GoogleCloudMlV1__HyperparameterSpec`` of ml.googleapis.com v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_ml_provider.jobs import ai_platform, document
from airflow_ml_provider.jobs.ai_platform_input import enum, read, text
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.hyperparameter_tuning_job import HyperparameterTuningJob
from airflow_ml_provider.jobs.parameters import Parameter
from airflow_ml_provider.jobs.stopping import EarlyStopping
from airflow_ml_provider.jobs.training_job import TrainingJob

_FIELDS = {
    "algorithm",
    "enableTrialEarlyStopping",
    "goal",
    "hyperparameterMetricTag",
    "maxFailedTrials",
    "maxParallelTrials",
    "maxTrials",
    "params",
    "resumePreviousJobId",
}
_PARAMETER_FIELDS = {
    "categoricalValues",
    "discreteValues",
    "maxValue",
    "minValue",
    "parameterName",
    "scaleType",
    "type",
}
DEFAULT_METRIC = "training/hptuning/metric"


def tuning_job(
    source: Mapping[str, Any] | str | Path,
    trial: TrainingJob | None,
    notes: Sequence[str] = (),
    image_uri: str | None = None,
) -> HyperparameterTuningJob:
    """Return the job that a block described, see :meth:`HyperparameterTuningJob.from_ai_platform`.

    :param notes: come first among the job's.
    """
    value = dict(source) if isinstance(source, Mapping) else document.load(source)
    alone = "params" in value
    job = read({"trainingInput": {"hyperparameters": value}} if alone else value)
    given = dict(job["trainingInput"])
    block = given.pop("hyperparameters", None)
    if not block:
        raise InvalidTrainingJob(["hyperparameters: no such block; it describes a TrainingJob"])
    reader = _Reader(block)
    fields = reader.fields()
    try:
        run, trial_notes = _trial(job, given, trial, image_uri)
    except InvalidTrainingJob as error:
        raise InvalidTrainingJob([*reader.problems, *error.problems]) from None
    if reader.problems:
        raise InvalidTrainingJob(reader.problems)
    all_notes = dict.fromkeys([*notes, *trial_notes, *reader.notes])
    return HyperparameterTuningJob(trial=run, migration_notes=tuple(all_notes), **fields)


def any_job(
    job: Mapping[str, Any], notes: Sequence[str] = (), image_uri: str | None = None
) -> TrainingJob | HyperparameterTuningJob:
    """Return whichever job AI Platform's API had: a tuning job if it says what to tune.

    :param job: as :func:`read` takes it.
    :param notes: come first among the job's.
    :param image_uri: what runs a Python package that ran in one of Google's images.
    :raises InvalidTrainingJob: with all problems at once.
    """
    whole = read(job)
    if whole["trainingInput"].get("hyperparameters"):
        return tuning_job(whole, None, notes, image_uri)
    return ai_platform.training_job(whole, notes, image_uri)


def _trial(
    job: Mapping[str, Any], given: Mapping[str, Any], trial: TrainingJob | None, image_uri: str | None
) -> tuple[TrainingJob, Sequence[str]]:
    if trial is not None:
        left = [f"{name}: not read; the trial that was given decides" for name in sorted(given)]
        return trial, [*trial.migration_notes, *left]
    if not given and not job.get("jobId") and image_uri is None:
        raise InvalidTrainingJob(
            ["trainingInput: only hyperparameters in it; give the TrainingJob that a trial runs as trial"]
        )
    made = ai_platform.training_job({**job, "trainingInput": given}, image_uri=image_uri)
    return made, made.migration_notes


class _Reader:
    """Translates one block, collecting problems and notes on the way."""

    def __init__(self, block: Mapping[str, Any]) -> None:
        self.block = block
        self.problems: list[str] = []
        self.notes: list[str] = []

    def fields(self) -> dict[str, Any]:
        block = self.block
        unknown = sorted(set(block) - _FIELDS)
        self.problems += [f"hyperparameters.{name}: no such field" for name in unknown]
        if block.get("resumePreviousJobId"):
            self.problems.append(
                "hyperparameters.resumePreviousJobId: no equivalent; start a new tuning job, with params "
                "narrowed to where the best trials of that one were"
            )
        fields: dict[str, Any] = {
            "metrics": {self._metric(): self._goal()},
            "parameters": self._parameters(),
            "max_trial_count": block.get("maxTrials", 1),
            "parallel_trial_count": block.get("maxParallelTrials", 1),
            "max_failed_trial_count": block.get("maxFailedTrials", 0),
            "algorithm": self._algorithm(),
        }
        if block.get("enableTrialEarlyStopping"):
            fields["early_stopping"] = EarlyStopping()
            self.notes.append(
                "hyperparameters.enableTrialEarlyStopping: became the rule MEDIAN; which one AI Platform "
                "had is not known"
            )
        return fields

    def _metric(self) -> str:
        tag = str(self.block.get("hyperparameterMetricTag") or DEFAULT_METRIC)
        self.notes.append(
            "hyperparameters.hyperparameterMetricTag: Vertex AI reads no TensorFlow summaries; report "
            f"{tag!r} with cloudml-hypertune, or a trial counts for nothing"
        )
        name = "_".join(tag.split())
        if name != tag:
            self.notes.append(
                f"hyperparameters.hyperparameterMetricTag: {tag!r} became {name!r}, since blanks are not "
                "allowed; report it under that name"
            )
        return name

    def _goal(self) -> str:
        goal = enum(self.block.get("goal") or "MAXIMIZE")
        return "MAXIMIZE" if goal == "GOAL_TYPE_UNSPECIFIED" else goal

    def _algorithm(self) -> str | None:
        algorithm = enum(self.block.get("algorithm") or "ALGORITHM_UNSPECIFIED")
        return None if algorithm == "ALGORITHM_UNSPECIFIED" else algorithm

    def _parameters(self) -> list[Parameter]:
        params = self.block.get("params") or []
        return [self._parameter(number, item) for number, item in enumerate(params)]

    def _parameter(self, number: int, item: Mapping[str, Any]) -> Parameter:
        where = f"hyperparameters.params[{number}]"
        self.problems += [f"{where}.{name}: no such field" for name in sorted(set(item) - _PARAMETER_FIELDS)]
        kind = enum(item.get("type") or "")
        values = item.get("categoricalValues" if kind == "CATEGORICAL" else "discreteValues") or ()
        scale = enum(item.get("scaleType") or "NONE")
        if kind == "CATEGORICAL" and scale != "NONE":
            self.notes.append(f"{where}.scaleType: dropped; categories have no scale")
            scale = "NONE"
        return Parameter(
            name=str(item.get("parameterName", "")),
            type=kind,
            min_value=self._number(f"{where}.minValue", item.get("minValue")),
            max_value=self._number(f"{where}.maxValue", item.get("maxValue")),
            values=[text(value) for value in values] if kind == "CATEGORICAL" else list(values),
            scale_type=None if scale in ("NONE", "SCALE_TYPE_UNSPECIFIED") else scale,
        )

    def _number(self, where: str, value: Any) -> float | None:
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        try:
            number = float(str(value))
        except ValueError:
            self.problems.append(f"{where}: {value!r} is not a number")
            return None
        return int(number) if number.is_integer() and "." not in str(value) else number
