"""Ending training jobs that another task, DAG or person started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import BaseOperator
from airflow_ml_provider.operators.failure import airflow_error

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context


class CancelTrainingJobOperator(BaseOperator):
    """Cancel a Vertex AI CustomJob and wait until it is over.

    A job that is over already, or that does not exist any more, is fine. The successor of
    ``MLEngineTrainingCancelJobOperator``.

    :param job: the job's full name, ``projects/P/locations/R/customJobs/ID``: the ``job`` of what
        :class:`~airflow_ml_provider.operators.training.TrainingJobOperator` returns (templated).
    :param project_id: the connection's project by default (templated).
    :param wait_for_completion: whether to wait until the job is over; it may run on for a while.
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns the job as :class:`~airflow_ml_provider.operators.training.TrainingJobOperator` does, or None if
    it does not exist.
    """

    template_fields: Sequence[str] = ("job", "project_id", "gcp_conn_id", "impersonation_chain")
    ui_color = "#fce8e6"

    def __init__(
        self,
        *,
        job: str,
        project_id: str | None = None,
        wait_for_completion: bool = True,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.project_id = project_id
        self.wait_for_completion = wait_for_completion
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Cancel the job."""
        from airflow_ml_provider.hooks.vertex import VertexHook
        from airflow_ml_provider.vertex.errors import NotFound, VertexError
        from airflow_ml_provider.vertex.requests import job_name

        try:
            region = job_name(self.job).split("/")[3]
        except ValueError as error:
            raise airflow_error(error, permanent=True) from error
        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        client = hook.get_client(region=region, project_id=self.project_id)
        protocol = hook.get_protocol([region], self.project_id)
        try:
            if self.wait_for_completion:
                job = client.run(protocol.cancel_and_wait(self.job))
            else:
                client.cancel(self.job)
                job = client.get(self.job)
        except NotFound:
            self.log.info("%s does not exist any more", self.job)
            return None
        except VertexError as error:
            raise airflow_error(error) from error
        self.log.info("%s: %s", job.name, job.state)
        return job.summary()
