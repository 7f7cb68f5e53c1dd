"""Waiting for a training job that another task, DAG or person started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_ml_provider import links
from airflow_ml_provider.compat import AirflowException, AirflowFailException, BaseSensorOperator

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context


class TrainingJobSensor(BaseSensorOperator):
    """Wait until a Vertex AI CustomJob has succeeded; fail with its own message if it did not.

    :param job: the job's full name, ``projects/P/locations/R/customJobs/ID``: the ``job`` of what
        :class:`~airflow_ml_provider.operators.training.TrainingJobOperator` returns (templated).
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    ``poke_interval``, ``timeout`` and ``mode`` are those of every sensor. Returns what the operator does.
    """

    template_fields: Sequence[str] = ("job", "project_id", "gcp_conn_id", "impersonation_chain")
    operator_extra_links = (links.TrainingJobLink(), links.TrainingLogsLink())
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: str,
        project_id: str | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._result: dict[str, Any] | None = None

    def poke(self, context: Context) -> bool:
        """Look at the job once.

        :raises AirflowFailException: the job ended otherwise than with success, or can't be read.
        """
        from airflow_ml_provider.hooks.vertex import VertexHook
        from airflow_ml_provider.vertex.errors import RateLimited, RequestError, Unavailable
        from airflow_ml_provider.vertex.requests import job_name
        from airflow_ml_provider.vertex.states import short

        try:
            name = job_name(self.job)
        except ValueError as error:
            raise AirflowFailException(str(error)) from error
        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        runner = hook.get_runner(region=name.split("/")[3], project_id=self.project_id)
        try:
            job = runner.client.get(name)
        except (Unavailable, RateLimited) as error:
            self.log.warning("Could not look at the job, will look again: %s", error)
            return False
        except RequestError as error:
            kind = AirflowFailException if error.permanent else AirflowException
            raise kind(str(error)) from error
        links.persist(context, job)
        self.log.info("%s: %s", job.display_name, short(job.state))
        if job.is_over and not job.succeeded:
            # The job is over for good: another try of the sensor would see the same.
            raise AirflowFailException(str(runner.failure(job)))
        self._result = job.summary()
        return job.is_over

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Poke until the job is over; return it."""
        super().execute(context)
        return self._result
