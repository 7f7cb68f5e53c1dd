"""The only place that knows which Airflow this is: 2.11 or 3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    BaseHook,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    Context,
    XCom,
)

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey as TaskInstanceKey

__all__ = [
    "DAG",
    "AirflowException",
    "AirflowFailException",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "XCom",
    "run_of",
    "skip_downstream",
]


def skip_downstream(operator: BaseOperator, context: Context) -> None:
    """End the calling task with success and skip the tasks that directly follow it.

    In Airflow 3 this raises, so it must be the last thing that ``execute`` does.
    """
    tasks = list(operator.downstream_list)
    if not tasks:
        return
    try:
        from airflow.sdk.exceptions import DownstreamTasksSkipped
    except ImportError:
        _skip_in_database(operator, context, tasks)
        return
    raise DownstreamTasksSkipped(tasks=[task.task_id for task in tasks])  # type: ignore[no-untyped-call]


def _skip_in_database(operator: BaseOperator, context: Any, tasks: Iterable[Any]) -> None:
    from airflow.models.skipmixin import SkipMixin  # type: ignore[import-not-found]

    run = context["dag_run"]
    SkipMixin().skip(run, run.execution_date, tasks, map_index=context["ti"].map_index)


def run_of(context: Any, retries: int) -> dict[str, Any]:
    """Return what tells this task instance from every other, and this clear of it from the last.

    The clear generation is ``max_tries - retries``: Airflow raises ``max_tries`` when a person clears a
    task and leaves it alone when it retries one.
    """
    ti = context["ti"]
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index if ti.map_index is not None else -1,
        "generation": max(0, (ti.max_tries or 0) - retries),
        "try_number": ti.try_number,
    }
