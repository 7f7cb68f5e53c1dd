"""Waiting for a training job that another task, DAG or person started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_ml_provider import links
from airflow_ml_provider.compat import BaseSensorOperator, default_deferrable
from airflow_ml_provider.operators.failure import airflow_error

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.vertex.client import VertexClient
    from airflow_ml_provider.vertex.job import Job
    from airflow_ml_provider.vertex.protocol import JobProtocol


class TrainingJobSensor(BaseSensorOperator):
    """Wait until a Vertex AI CustomJob has succeeded; fail with its own message if it did not.

    :param job: the job's full name, ``projects/P/locations/R/customJobs/ID``: the ``job`` of what
        :class:`~airflow_ml_provider.operators.training.TrainingJobOperator` returns (templated).
    :param filter: instead of ``job``: a filter of ``customJobs.list`` such as
        ``labels.team=ads AND createTime>"{{ data_interval_start.isoformat() }}"``. Waits until there is a job
        that fits, then for the end of the newest (templated).
    :param region: with ``filter``: where to look, e.g. ``europe-west4`` (templated).
    :param project_id: the connection's project by default (templated).
    :param deferrable: whether to wait in the triggerer; by default ``operators.default_deferrable``.
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    ``poke_interval``, ``timeout`` and ``mode`` are those of every sensor. It never cancels the job. Returns
    what the operator does.
    """

    template_fields: Sequence[str] = (
        "job",
        "filter",
        "region",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    operator_extra_links = (
        links.TrainingJobLink(),
        links.TrainingLogsLink(),
        links.TrainingTensorBoardLink(),
    )
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: str | None = None,
        filter: str | None = None,
        region: str | None = None,
        project_id: str | None = None,
        deferrable: bool | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (job is None) == (filter is None) or (filter is not None) != (region is not None):
            raise ValueError("Give job, or filter and region")
        self.job = job
        self.filter = filter
        self.region = region
        self.project_id = project_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._result: dict[str, Any] | None = None
        self._connected: tuple[VertexClient, JobProtocol] | None = None

    def poke(self, context: Context) -> bool:
        """Look once.

        :raises TrainingFailedForGood: the job ended otherwise than with success, or can't be read.
        """
        job = self._look(context)
        if job is None or not job.is_over:
            return False
        self._result = self._conclude(job)
        return True

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Wait until the job is over; return it."""
        if not self.deferrable:
            super().execute(context)
            return self._result
        job = self._look(context)
        if job is not None and job.is_over:
            return self._conclude(job)
        self._defer(job)
        return None

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after the triggerer's wait. Its event is a claim: the job is read again."""
        client, protocol = self._connect()
        name = event.get("job") or self.job
        if name is None:
            raise airflow_error(RuntimeError(f"Could not look for {self.filter}: {event.get('message')}"))
        job = client.run(protocol.look(str(name)))
        links.persist(context, job)
        if not job.is_over:
            self.log.warning("%s still runs, waiting on: %s", job.name, event.get("message"))
            self._defer(job)
        return self._conclude(job, float(event.get("log_turn", 0.0)))

    def _look(self, context: Context) -> Job | None:
        from airflow_ml_provider.vertex.errors import RateLimited, RequestError, Unavailable
        from airflow_ml_provider.vertex.states import short

        client, _ = self._connect()
        try:
            if self.job is not None:
                job = client.get(self.job)
            else:
                found = client.jobs(str(self.filter))
                if not found:
                    self.log.info("No job yet fits %s", self.filter)
                    return None
                job = found[-1]
        except (Unavailable, RateLimited) as error:
            self.log.warning("Could not look at the job, will look again: %s", error)
            return None
        except RequestError as error:
            raise airflow_error(error) from error
        links.persist(context, job)
        self.log.info("%s: %s", job.display_name, short(job.state))
        return job

    def _conclude(self, job: Job, log_turn: float = 0.0) -> dict[str, Any]:
        from airflow_ml_provider.vertex.errors import VertexError

        client, protocol = self._connect()
        try:
            return client.run(protocol.conclude(job, log_turn)).summary()
        except VertexError as error:
            # The job is over for good: another try of the sensor would see the same.
            raise airflow_error(error, permanent=True) from error

    def _defer(self, job: Job | None) -> None:
        from airflow_ml_provider.triggers.training import TrainingJobFilterTrigger, TrainingJobTrigger

        client, _ = self._connect()
        connection: dict[str, Any] = {
            "gcp_conn_id": self.gcp_conn_id,
            "impersonation_chain": self.impersonation_chain,
        }
        trigger: TrainingJobTrigger | TrainingJobFilterTrigger
        if job is not None:
            trigger = TrainingJobTrigger(
                job=job.name,
                created=job.create_time.isoformat(),
                project_id=job.project,
                poll_interval=self.poke_interval,
                cancel_on_kill=False,
                **connection,
            )
        else:
            trigger = TrainingJobFilterTrigger(
                filter=str(self.filter),
                region=str(self.region),
                project_id=client.requests.project,
                poll_interval=self.poke_interval,
                **connection,
            )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def _connect(self) -> tuple[VertexClient, JobProtocol]:
        if self._connected is None:
            from airflow_ml_provider.hooks.vertex import VertexHook
            from airflow_ml_provider.vertex.requests import job_name

            try:
                region = self.region or job_name(str(self.job)).split("/")[3]
            except ValueError as error:
                raise airflow_error(error, permanent=True) from error
            hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
            client = hook.get_client(region=region, project_id=self.project_id)
            self._connected = client, hook.get_protocol([region], self.project_id)
        return self._connected
