"""The only place that knows which Airflow this is: 2.11 or 3."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    Asset,
    BaseHook,
    BaseNotifier,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    Context,
    TaskGroup,
    XCom,
    conf,
)

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey as TaskInstanceKey

log = logging.getLogger(__name__)

Result = TypeVar("Result")

__all__ = [
    "DAG",
    "AirflowException",
    "AirflowFailException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "TaskGroup",
    "XCom",
    "approval_operator",
    "data_interval_end",
    "default_deferrable",
    "deferral_errors",
    "in_thread",
    "notes_of",
    "people_can_be_asked",
    "run_of",
    "skip_downstream",
    "task_state",
    "triggers_have_on_kill",
]


def default_deferrable() -> bool:
    """Return whether operators shall wait in the triggerer: ``operators.default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def triggers_have_on_kill() -> bool:
    """Return whether Airflow tells a trigger that its task was killed: since 3.3."""
    from airflow.triggers.base import BaseTrigger

    return hasattr(BaseTrigger, "on_kill") and "on_kill" in vars(BaseTrigger)


def deferral_errors() -> tuple[type[Exception], ...]:
    """Return what a task raises that Airflow resumes because its trigger failed or was out of time."""
    from airflow import exceptions

    try:
        from airflow.sdk import exceptions as sdk_exceptions
    except ImportError:
        return _named(exceptions)
    # Airflow 3.1 has an SDK, and these still elsewhere.
    return _named(sdk_exceptions) or _named(exceptions)


def _named(module: ModuleType) -> tuple[type[Exception], ...]:
    names = ("TaskDeferralError", "TaskDeferralTimeout")
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def task_deferred() -> type[BaseException]:
    """Return what a task raises to be deferred."""
    from airflow.providers.common.compat.sdk import TaskDeferred

    return TaskDeferred


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call what blocks, such as Airflow's connections, from the triggerer's event loop."""
    from asgiref.sync import sync_to_async

    return await sync_to_async(function)(*arguments)


async def task_state(ti: Any) -> str | None:
    """Return the state in the database of a trigger's task, e.g. ``deferred``; None if it has none.

    :raises Exception: it can't be read.
    """
    if ti is None:
        raise RuntimeError("the trigger was not told its task")
    return await in_thread(_task_state, ti)


def _task_state(ti: Any) -> str | None:
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        state = _task_state_in_database(ti)
    else:
        found = RuntimeTaskInstance.get_task_states(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        tasks = found.get(ti.run_id, {})
        state = tasks.get(f"{ti.task_id}_{ti.map_index}", tasks.get(ti.task_id))
    return None if state is None else str(getattr(state, "value", state))


def _task_state_in_database(ti: Any) -> Any:
    from airflow.models import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        return (
            session.query(TaskInstance.state)
            .filter_by(dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)
            .scalar()
        )


def people_can_be_asked() -> bool:
    """Return whether there are tasks that wait for a person's decision: since Airflow 3.1."""
    try:
        from airflow.providers.standard.operators import hitl  # noqa: F401
    except ImportError:
        return False
    return True


def approval_operator(
    *,
    task_id: str,
    subject: str,
    body: str | None,
    hours: float,
    notifiers: Sequence[Any],
    assigned_users: Sequence[Mapping[str, str]] | None,
) -> BaseOperator:
    """Return a task that waits for a person's consent and skips what follows without it. Since Airflow 3.1.

    :param hours: after which it counts as rejected.
    :raises AirflowException: this Airflow has no tasks that wait for a person.
    """
    if not people_can_be_asked():
        raise AirflowException("Approval by a person needs Airflow 3.1 or later")
    import inspect

    from airflow.providers.standard.operators.hitl import ApprovalOperator

    # In older versions the task's own timeout is that of the answer.
    limit = inspect.signature(ApprovalOperator.__mro__[1]).parameters
    name = "response_timeout" if "response_timeout" in limit else "execution_timeout"
    timeout: dict[str, Any] = {name: timedelta(hours=hours)}
    return ApprovalOperator(
        task_id=task_id,
        subject=subject,
        body=body,
        defaults=ApprovalOperator.REJECT,
        notifiers=list(notifiers),
        assigned_users=[dict(user) for user in assigned_users] if assigned_users else None,
        **timeout,
    )


class Notes:
    """What a task notes for its next try, in Airflow's task state store (3.3); elsewhere nothing is kept.

    :param store: the store in the task's context, or None.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self, key: str) -> Any:
        """Return what was noted, or None. A store that can't be read is as good as an empty one."""
        try:
            return self._store.get(key) if self._store is not None else None
        except Exception:
            log.warning("Could not read the task state store", exc_info=True)
            return None

    def write(self, key: str, value: Any) -> None:
        """Note something. It is a hint only, so a failure is no reason to fail the task."""
        try:
            if self._store is not None:
                self._store.set(key, value)
        except Exception:
            log.warning("Could not write to the task state store", exc_info=True)


def notes_of(context: Any) -> Notes:
    """Return the notes of the task in a context."""
    return Notes(context.get("task_state_store"))


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
        "loop": str(getattr(ti, "region_id", None) or ""),
    }


def data_interval_end(context: Any) -> datetime | None:
    """Return the end of the run's data interval, None where it has none: an Airflow 3 run without a date."""
    end: datetime | None = context.get("data_interval_end") or context["dag_run"].data_interval_end
    return end
