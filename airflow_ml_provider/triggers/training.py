"""Waiting for a training job in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_ml_provider import compat

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from google.auth.credentials import Credentials

    from airflow_ml_provider.vertex.poller import Poller, Watch

# Airflow fails a task whose trigger fires before the worker's exit was noted:
# https://github.com/apache/airflow/issues/66374
SHORTEST_DEFERRAL = 15.0
# Airflow gives a trigger 30 seconds to end its job.
CANCEL_WITHIN = 20.0


class _OnConnection(BaseTrigger):
    """What triggers on a Google connection share, among them one poller for each project and region."""

    def __init__(
        self,
        *,
        project_id: str,
        region: str,
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None,
        poll_interval: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.project_id = project_id
        self.region = region
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval

    def _poller(self) -> AbstractAsyncContextManager[Poller]:
        from airflow_ml_provider.vertex.poller import shared_poller

        chain = self.impersonation_chain
        who = chain if chain is None or isinstance(chain, str) else tuple(chain)
        key = (self.project_id, self.region, self.gcp_conn_id, who)
        return shared_poller(key, self._make_poller)

    async def _make_poller(self) -> Poller:
        # Both the imports and the connection's credentials would block the event loop.
        credentials = await compat.in_thread(self._credentials)
        from airflow_ml_provider.vertex.async_client import AsyncVertexClient
        from airflow_ml_provider.vertex.calls import Calls
        from airflow_ml_provider.vertex.poller import Poller
        from airflow_ml_provider.vertex.requests import Requests

        requests = Requests(project=self.project_id, region=self.region)
        return Poller(AsyncVertexClient(credentials), Calls(requests))

    def _credentials(self) -> Credentials:
        import airflow_ml_provider.vertex.async_client
        import airflow_ml_provider.vertex.poller  # noqa: F401
        from airflow_ml_provider.hooks.vertex import VertexHook

        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return hook.get_credentials()

    async def _not_before(self, began: float) -> None:
        waited = asyncio.get_running_loop().time() - began
        await asyncio.sleep(max(0.0, min(SHORTEST_DEFERRAL, self.poll_interval) - waited))


class TrainingJobTrigger(_OnConnection):
    """Fires once a CustomJob is over, or should not be waited for any longer.

    All triggers of one project, region and connection in a triggerer share one poller. The event is a claim
    only: ``{"status": …, "job": NAME, "log_turn": SECONDS}`` with status ``over``, ``timeout`` or
    ``queue_timeout`` (the job was cancelled), or ``unreadable`` with a ``message``.

    :param job: its full name.
    :param created: when it was created, ISO 8601.
    :param project_id: the project's id.
    :param gcp_conn_id: Google Cloud connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param poll_interval: seconds between two looks.
    :param deadline: when the task's time is up, ISO 8601, or None.
    :param queue_deadline: until when it may wait for machines, ISO 8601, or None.
    :param cancel_on_kill: whether to cancel the job when a person ends or clears the task.
    """

    def __init__(
        self,
        *,
        job: str,
        created: str,
        project_id: str,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 30.0,
        deadline: str | None = None,
        queue_deadline: str | None = None,
        cancel_on_kill: bool = True,
    ) -> None:
        super().__init__(
            project_id=project_id,
            region=job.split("/")[3],
            gcp_conn_id=gcp_conn_id,
            impersonation_chain=impersonation_chain,
            poll_interval=poll_interval,
        )
        self.job = job
        self.created = created
        self.deadline = deadline
        self.queue_deadline = queue_deadline
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "airflow_ml_provider.triggers.training.TrainingJobTrigger",
            {
                "job": self.job,
                "created": self.created,
                "project_id": self.project_id,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": self.impersonation_chain,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "queue_deadline": self.queue_deadline,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the job's end."""
        began = asyncio.get_running_loop().time()
        try:
            async with self._poller() as poller:
                event = await self._wait(poller)
        except asyncio.CancelledError:
            if not compat.triggers_have_on_kill():
                await self.on_kill()
            raise
        except Exception as error:
            self.log.exception("Could not wait for %s", self.job)
            event = self._event("unreadable", message=f"{type(error).__name__}: {error}")
        await self._not_before(began)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the job if a person ended or cleared the task.

        Airflow calls this on a mere failover to another triggerer too
        (https://github.com/apache/airflow/issues/73454); then the task is still deferred.
        """
        if not self.cancel_on_kill:
            self.log.info("%s runs on: cancel_on_kill is off", self.job)
            return
        try:
            state = await compat.task_state(self.task_instance)
        except Exception:
            self.log.exception("Could not read the task's state: %s runs on", self.job)
            return
        if state == "deferred":
            self.log.info("The task is still deferred, another triggerer has it: %s runs on", self.job)
            return
        self.log.warning("The task is %s: cancelling %s", state, self.job)
        try:
            async with asyncio.timeout(CANCEL_WITHIN), self._poller() as poller:
                await poller.client.run(poller.calls.cancel(self.job))
        except Exception:
            self.log.exception("Could not cancel %s: it may run on", self.job)

    async def _wait(self, poller: Poller) -> dict[str, Any]:
        watch = poller.watch(self.job, datetime.fromisoformat(self.created), self.poll_interval)
        try:
            return await self._follow(poller, watch)
        finally:
            poller.leave(watch)

    async def _follow(self, poller: Poller, watch: Watch) -> dict[str, Any]:
        from airflow_ml_provider.vertex import states
        from airflow_ml_provider.vertex.errors import RequestError
        from airflow_ml_provider.vertex.protocol import Patience

        patience = Patience(self.job, asyncio.get_running_loop().time)
        limits = {"timeout": self.deadline, "queue_timeout": self.queue_deadline}
        due = {name: datetime.fromisoformat(text) for name, text in limits.items() if text}
        while True:
            limit = min(due, key=lambda name: due[name], default=None)
            try:
                try:
                    async with asyncio.timeout(_seconds_until(due[limit]) if limit else None):
                        state = await watch.news()
                except TimeoutError:
                    # The state first, the clock second: a busy triggerer may come late to both.
                    state = (await poller.client.run(poller.calls.get(self.job))).state
                    waits = state in (states.QUEUED, states.PENDING)
                    if limit and state not in states.TERMINAL and (limit == "timeout" or waits):
                        if self.cancel_on_kill or limit == "queue_timeout":
                            await poller.client.run(poller.calls.cancel(self.job))
                        return self._event(limit)
                patience.answered()
            except RequestError as error:
                patience.failed(error)
                self.log.warning("Could not look at %s, will look again: %s", self.job, error)
                if limit and due[limit] <= datetime.now(UTC):
                    await asyncio.sleep(self.poll_interval)
                continue
            if state in states.TERMINAL:
                return self._event("over", log_turn=watch.log_turn)
            if state not in (states.QUEUED, states.PENDING):
                due.pop("queue_timeout", None)

    def _event(self, status: str, **more: Any) -> dict[str, Any]:
        return {"status": status, "job": self.job, **more}


class TrainingJobFilterTrigger(_OnConnection):
    """Fires once the newest job that fits a filter is over.

    Reads by itself, one list an interval. The event is that of :class:`TrainingJobTrigger`.

    :param filter: of ``customJobs.list``.
    :param region: where to look.

    The other arguments are those of :class:`TrainingJobTrigger`.
    """

    def __init__(
        self,
        *,
        filter: str,
        region: str,
        project_id: str,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__(
            project_id=project_id,
            region=region,
            gcp_conn_id=gcp_conn_id,
            impersonation_chain=impersonation_chain,
            poll_interval=poll_interval,
        )
        self.filter = filter

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what another triggerer needs to go on."""
        return (
            "airflow_ml_provider.triggers.training.TrainingJobFilterTrigger",
            {
                "filter": self.filter,
                "region": self.region,
                "project_id": self.project_id,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": self.impersonation_chain,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for a job and its end."""
        began = asyncio.get_running_loop().time()
        try:
            async with self._poller() as poller:
                name = await self._newest_over(poller)
            event = {"status": "over", "job": name}
        except Exception as error:
            self.log.exception("Could not look for %s", self.filter)
            event = {"status": "unreadable", "message": f"{type(error).__name__}: {error}"}
        await self._not_before(began)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _newest_over(self, poller: Poller) -> str:
        from airflow_ml_provider.vertex.errors import RequestError
        from airflow_ml_provider.vertex.protocol import Patience

        patience = Patience(f"The list of {self.filter}", asyncio.get_running_loop().time)
        while True:
            try:
                jobs = await poller.client.run(poller.calls.jobs(self.filter, states_only=True))
                patience.answered()
                if jobs and jobs[-1].is_over:
                    return jobs[-1].name
            except RequestError as error:
                if error.permanent:
                    raise
                patience.failed(error)
            await asyncio.sleep(self.poll_interval)


def _seconds_until(moment: datetime) -> float:
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
