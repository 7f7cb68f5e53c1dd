"""How a training job's error reaches Airflow: with or without further tries, and typed for callbacks."""

from __future__ import annotations

from airflow_ml_provider.compat import AirflowException, AirflowFailException


class TrainingFailed(AirflowException):
    """A task failed for a reason that another try may not meet.

    In ``on_failure_callback`` it is ``context["exception"]``.

    :param error: what happened: one of :mod:`airflow_ml_provider.vertex.errors`.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class TrainingFailedForGood(AirflowFailException):
    """A task failed for a reason that every try would meet and bill: Airflow makes no further one.

    :param error: as of :class:`TrainingFailed`.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def airflow_error(
    error: Exception, *, permanent: bool | None = None
) -> TrainingFailed | TrainingFailedForGood:
    """Return what to raise for an error of :mod:`airflow_ml_provider.vertex`.

    :param permanent: whether to make no further try; by default what the error says itself.
    """
    for_good = bool(getattr(error, "permanent", False)) if permanent is None else permanent
    return TrainingFailedForGood(error) if for_good else TrainingFailed(error)
