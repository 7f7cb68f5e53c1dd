"""A tuning job: a training job that is run again and again with other parameters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_ml_provider.jobs import document
from airflow_ml_provider.jobs.custom_job import custom_job
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.parameters import (
    DOUBLE,
    Parameter,
    flattened,
    parameter_problems,
    parameter_spec,
)
from airflow_ml_provider.jobs.stopping import (
    EarlyStopping,
    StudyStopping,
    early_stopping_spec,
    stopping_problems,
    study_stopping_config,
)
from airflow_ml_provider.jobs.training_job import TrainingJob
from airflow_ml_provider.jobs.values import is_later

GOALS = ("MAXIMIZE", "MINIMIZE")
GRID_SEARCH, RANDOM_SEARCH = ALGORITHMS = ("GRID_SEARCH", "RANDOM_SEARCH")
SELECTIONS = ("LAST_MEASUREMENT", "BEST_MEASUREMENT")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HyperparameterTuningJob:
    """Which parameters of a training job to try, how often, and by which results to judge them.

    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.hyperparameterTuningJobs

    :param trial: what one trial runs; each gets the parameters as flags after ``args``. Its labels, key,
        display name and region are those of the tuning job.
    :param metrics: ``MAXIMIZE`` or ``MINIMIZE`` by the name under which the trainer reports a result with
        ``cloudml-hypertune``. A trial that reports none counts for nothing (it is INFEASIBLE).
    :param parameters: what is tuned.
    :param max_trial_count: how many trials to run.
    :param parallel_trial_count: how many of them at a time; the search learns from those that are over.
    :param max_failed_trial_count: how many may fail before the job does; 0 leaves it to Vertex AI, which
        gives up if the first one fails.
    :param algorithm: ``GRID_SEARCH`` (not with doubles) or ``RANDOM_SEARCH``; Bayesian search by default.
    :param measurement_selection: which of a trial's results counts, ``LAST_MEASUREMENT`` (Vertex AI's
        default) or ``BEST_MEASUREMENT``.
    :param early_stopping: when a trial is given up, see :class:`EarlyStopping`.
    :param study_stopping: when no more trials are begun, see :class:`StudyStopping`.
    :param migration_notes: what :meth:`from_ai_platform` could not translate one to one.
    :raises InvalidTrainingJob: with all problems at once.
    """

    trial: TrainingJob
    metrics: Mapping[str, str]
    parameters: Sequence[Parameter]
    max_trial_count: int | str
    parallel_trial_count: int | str = 1
    max_failed_trial_count: int | str = 0
    algorithm: str | None = None
    measurement_selection: str | None = None
    early_stopping: EarlyStopping | None = None
    study_stopping: StudyStopping | None = None
    migration_notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        found = _problems(self)
        if found:
            raise InvalidTrainingJob(found)
        # Which of two equal flags wins is the trainer's affair, and which comes first is not documented.
        flags = {str(arg).split("=")[0].lstrip("-") for arg in self.trial.args if str(arg).startswith("-")}
        for name in sorted(flags & {parameter.name for parameter in flattened(self.parameters)}):
            log.warning("trial.args: --%s is tuned too, so a trial gets it twice", name)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> HyperparameterTuningJob:
        """Return the job that :meth:`to_dict` gave.

        :raises InvalidTrainingJob: unknown field, or a value that is refused.
        """
        trial = value.get("trial")
        if isinstance(trial, Mapping):
            value = {**value, "trial": TrainingJob.from_dict(trial)}
        return document.build(cls, value)

    @classmethod
    def from_yaml(cls, path: str | Path) -> HyperparameterTuningJob:
        """Return the job in a YAML file, as :meth:`to_yaml` writes it.

        :param path: of the file.
        :raises InvalidTrainingJob: as :meth:`from_dict`, and for a file that can't be read.
        """
        return cls.from_dict(document.load(path))

    @classmethod
    def from_ai_platform(
        cls, source: Mapping[str, Any] | str | Path, trial: TrainingJob | None = None
    ) -> HyperparameterTuningJob:
        """Return the job that AI Platform's ``hyperparameters`` described.

        :param source: a ``trainingInput`` with the block, or what holds one under that key, or the block
            alone: a mapping, or the path of a YAML or JSON file.
        :param trial: what to run, if the source does not say it.
        :return: the job; what is not one to one is in its ``migration_notes``.
        :raises InvalidTrainingJob: every problem at once, and for what has no equivalent what to do instead.
        """
        from airflow_ml_provider.jobs.ai_platform_tuning import tuning_job

        return tuning_job(source, trial)

    @classmethod
    def from_gcloud(
        cls,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
        image_uri: str | None = None,
    ) -> HyperparameterTuningJob:
        """Return the tuning job that ``gcloud ai-platform jobs submit training …`` would have started.

        :param command: as of :meth:`TrainingJob.from_gcloud`, likewise ``env``, ``folder`` and ``image_uri``.
        :raises InvalidTrainingJob: as there.
        """
        from airflow_ml_provider.jobs import gcloud
        from airflow_ml_provider.jobs.ai_platform_tuning import tuning_job

        submission = gcloud.submission(command, env, Path(folder) if folder else None)
        return submission.job_by(lambda job, notes: tuning_job(job, None, notes, image_uri))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain data that Airflow can template."""
        return document.plain(self)

    def to_yaml(self) -> str:
        """Return the job as the text of a YAML file, with the migration notes as comments at its top."""
        return document.dump(self.to_dict(), comments=self.migration_notes)

    def to_hyperparameter_tuning_job(self, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the body of ``hyperparameterTuningJobs.create``.

        :param labels: added to the trial's own.
        """
        body = custom_job(self.trial, labels or {})
        body["trialJobSpec"] = body.pop("jobSpec")
        body["studySpec"] = self._study_spec()
        body["maxTrialCount"] = int(self.max_trial_count)
        body["parallelTrialCount"] = int(self.parallel_trial_count)
        if int(self.max_failed_trial_count):
            body["maxFailedTrialCount"] = int(self.max_failed_trial_count)
        return body

    def _study_spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "metrics": [{"metricId": name, "goal": goal} for name, goal in self.metrics.items()],
            "parameters": [parameter_spec(parameter) for parameter in self.parameters],
        }
        if self.algorithm:
            spec["algorithm"] = self.algorithm
        if self.measurement_selection:
            spec["measurementSelectionType"] = self.measurement_selection
        if self.early_stopping:
            spec |= early_stopping_spec(self.early_stopping)
        if self.study_stopping:
            spec["studyStoppingConfig"] = study_stopping_config(self.study_stopping)
        return spec


def _problems(job: HyperparameterTuningJob) -> list[str]:
    found = []
    if not isinstance(job.trial, TrainingJob):
        found.append(f"trial: {job.trial!r} is no TrainingJob")
    if not job.metrics:
        found.append("metrics: at least one is needed")
    for name, goal in job.metrics.items():
        if not name or any(char.isspace() for char in name):
            found.append(f"metrics: {name!r} must not be empty or hold blanks")
        if not is_later(goal) and goal not in GOALS:
            found.append(f"metrics.{name}: {goal!r} is not one of {list(GOALS)}")
    if not job.parameters:
        found.append("parameters: at least one is needed")
    strange = [item for item in job.parameters if not isinstance(item, Parameter)]
    found += [f"parameters: {item!r} is no Parameter" for item in strange]
    if not strange:
        found += parameter_problems(job.parameters)
    found += _count_problems(job)
    for field_name, value, known in (
        ("algorithm", job.algorithm, ALGORITHMS),
        ("measurement_selection", job.measurement_selection, SELECTIONS),
    ):
        if value is not None and not is_later(value) and value not in known:
            found.append(f"{field_name}: {value!r} is not one of {list(known)}")
    if job.algorithm == GRID_SEARCH and not strange:
        found += [
            f"parameters.{parameter.name}: GRID_SEARCH can't search a DOUBLE; make it DISCRETE"
            for parameter in flattened(job.parameters)
            if parameter.type == DOUBLE
        ]
    return found + list(stopping_problems(job.early_stopping, job.study_stopping))


def _count_problems(job: HyperparameterTuningJob) -> list[str]:
    found = []
    counts: dict[str, int] = {}
    for name, least in (("max_trial_count", 1), ("parallel_trial_count", 1), ("max_failed_trial_count", 0)):
        value = getattr(job, name)
        if is_later(value):
            continue
        if isinstance(value, bool) or not str(value).isdecimal() or int(value) < least:
            found.append(f"{name}: {value!r}; a whole number from {least} on is needed")
        else:
            counts[name] = int(value)
    most = counts.get("max_trial_count")
    found += [
        f"{name}: {count} is more than max_trial_count, {most}"
        for name, count in counts.items()
        if most is not None and count > most
    ]
    return found
