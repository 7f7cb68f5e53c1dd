"""When a tuning job gives up a trial, or stops looking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_ml_provider.jobs.scheduling import duration
from airflow_ml_provider.jobs.validation import number_problems

MEDIAN, DECAY_CURVE, CONVEX = RULES = ("MEDIAN", "DECAY_CURVE", "CONVEX")
_SPECS = {
    MEDIAN: "medianAutomatedStoppingSpec",
    DECAY_CURVE: "decayCurveStoppingSpec",
    CONVEX: "convexAutomatedStoppingSpec",
}
_CONVEX_COUNTS = ("max_step_count", "min_step_count", "min_measurement_count")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """How Vertex AI sees that a trial is not worth going on with.

    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/StudySpec

    :param rule: ``MEDIAN``: its best result so far is worse than the median of the others at that point;
        ``DECAY_CURVE``: its predicted final result is unlikely to be the best; ``CONVEX``: likewise, by
        another model.
    :param use_elapsed_duration: whether progress is counted in seconds instead of steps.
    :param max_step_count: with ``CONVEX``: steps that a trial may take.
    :param min_step_count: with ``CONVEX``: steps before it may be stopped.
    :param min_measurement_count: with ``CONVEX``: results before it may be stopped.
    :param learning_rate_parameter_name: with ``CONVEX``: the parameter that is the learning rate.
    """

    rule: str = MEDIAN
    use_elapsed_duration: bool = False
    max_step_count: int | None = None
    min_step_count: int | None = None
    min_measurement_count: int | None = None
    learning_rate_parameter_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudyStopping:
    """When no more trials are begun, before ``max_trial_count`` is reached.

    :param min_num_trials: not before this many.
    :param max_num_trials: after this many.
    :param max_num_trials_no_progress: after this many without a better result.
    :param max_duration_no_progress: after this long without a better result, in seconds or as timedelta.
    :param minimum_runtime: not before this long, in seconds or as timedelta.
    :param maximum_runtime: after this long, in seconds or as timedelta.
    :param should_stop_asap: whether trials that run are stopped too.
    """

    min_num_trials: int | None = None
    max_num_trials: int | None = None
    max_num_trials_no_progress: int | None = None
    max_duration_no_progress: float | str | timedelta | None = None
    minimum_runtime: float | str | timedelta | None = None
    maximum_runtime: float | str | timedelta | None = None
    should_stop_asap: bool = False


def stopping_problems(early: Any, study: Any) -> Iterator[str]:
    """Yield what is wrong with either."""
    if isinstance(early, EarlyStopping):
        yield from _early_problems(early)
    elif early is not None:
        yield f"early_stopping: {early!r} is no EarlyStopping"
    if isinstance(study, StudyStopping):
        for name in ("min_num_trials", "max_num_trials", "max_num_trials_no_progress"):
            value = getattr(study, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                yield f"study_stopping.{name}: {value!r}; a whole number from 1 on is needed"
        for name in ("max_duration_no_progress", "minimum_runtime", "maximum_runtime"):
            yield from number_problems(f"study_stopping.{name}", getattr(study, name), "seconds")
    elif study is not None:
        yield f"study_stopping: {study!r} is no StudyStopping"


def _early_problems(early: EarlyStopping) -> Iterator[str]:
    if early.rule not in RULES:
        yield f"early_stopping.rule: {early.rule!r} is not one of {list(RULES)}"
    for name in (*_CONVEX_COUNTS, "learning_rate_parameter_name"):
        value = getattr(early, name)
        if value is not None and early.rule != CONVEX:
            yield f"early_stopping.{name}: only with the rule CONVEX"
        elif value is not None and name in _CONVEX_COUNTS and (not isinstance(value, int) or value < 0):
            yield f"early_stopping.{name}: {value!r}; a whole number from 0 on is needed"


def early_stopping_spec(early: EarlyStopping) -> dict[str, Any]:
    """Return the field of ``StudySpec`` for a rule."""
    fields = {
        "useElapsedDuration": early.use_elapsed_duration,
        "maxStepCount": None if early.max_step_count is None else str(early.max_step_count),
        "minStepCount": None if early.min_step_count is None else str(early.min_step_count),
        "minMeasurementCount": None
        if early.min_measurement_count is None
        else str(early.min_measurement_count),
        "learningRateParameterName": early.learning_rate_parameter_name,
    }
    return {_SPECS[early.rule]: {name: value for name, value in fields.items() if value}}


def study_stopping_config(study: StudyStopping) -> dict[str, Any]:
    """Return Vertex AI's ``StudyStoppingConfig``."""
    config: dict[str, Any] = {}
    if study.should_stop_asap:
        config["shouldStopAsap"] = True
    for name, field in (
        ("min_num_trials", "minNumTrials"),
        ("max_num_trials", "maxNumTrials"),
        ("max_num_trials_no_progress", "maxNumTrialsNoProgress"),
    ):
        if getattr(study, name) is not None:
            config[field] = getattr(study, name)
    if study.max_duration_no_progress is not None:
        config["maxDurationNoProgress"] = duration(study.max_duration_no_progress)
    for name, field in (
        ("minimum_runtime", "minimumRuntimeConstraint"),
        ("maximum_runtime", "maximumRuntimeConstraint"),
    ):
        if getattr(study, name) is not None:
            config[field] = {"maxDuration": duration(getattr(study, name))}
    return config
