"""Training on Vertex AI as an Airflow task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_ml_provider import links
from airflow_ml_provider.compat import AirflowException, AirflowFailException, BaseOperator, run_of
from airflow_ml_provider.jobs import InvalidTrainingJob, TrainingJob
from airflow_ml_provider.jobs.validation import MAX_DISPLAY_NAME

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.vertex.job import Job
    from airflow_ml_provider.vertex.runner import JobRunner


class TrainingJobOperator(BaseOperator):
    """Train in a container image on Vertex AI, and succeed when the job does.

    A retry of the task finds the job that an earlier try started and goes on waiting for it; a job that
    failed, or a task that a person cleared, gets a new one. Bad input, and whatever would fail the same
    way again, fails the task without further retries.

    :param job: what to run (templated). :class:`TrainingJob`, or the mapping that its ``to_dict`` gives.
    :param region: where to run it, e.g. ``europe-west4`` (templated).
    :param project_id: the connection's project by default (templated).
    :param wait_for_completion: whether to wait for the job's end; if not, a
        :class:`~airflow_ml_provider.sensors.training.TrainingJobSensor` can.
    :param poll_interval: seconds between two looks at the job, once it has run for a while.
    :param cancel_on_kill: whether to cancel the job when the task is killed.
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns the job as a small mapping: ``job`` (its name), ``job_id``, ``state``, ``labels``,
    ``output_dir``, times and ``console_url``.
    """

    template_fields: Sequence[str] = ("job", "region", "project_id", "gcp_conn_id", "impersonation_chain")
    template_fields_renderers = {"job": "json"}
    operator_extra_links = (links.TrainingJobLink(), links.TrainingLogsLink())
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: TrainingJob | Mapping[str, Any],
        region: str,
        project_id: str | None = None,
        wait_for_completion: bool = True,
        poll_interval: float = 30,
        cancel_on_kill: bool = True,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_interval <= 0:
            raise ValueError(f"poll_interval must be more than 0 seconds, not {poll_interval!r}")
        # As a mapping, Airflow can template it, find XComArgs in it and show it.
        self.job = job.to_dict() if isinstance(job, TrainingJob) else job
        self.region = region
        self.project_id = project_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._runner: JobRunner | None = None
        self._job_name: str | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job, or find the one that runs already."""
        return self._run(TrainingJob.from_dict(self.job), context).summary()

    def _run(self, job: TrainingJob, context: Context) -> Job:
        from airflow_ml_provider.vertex.errors import JobFailed, RequestError, VertexError
        from airflow_ml_provider.vertex.identity import JobIdentity

        run = run_of(context, self.retries or 0)
        runner = self._get_runner()
        # The container writes it into the manifest of what it trains.
        job = replace(job, env={"TRAINING_IMAGE_URI": job.image_uri, **job.env})
        body = job.to_custom_job()
        if job.display_name is None:
            body["displayName"] = f"{run['dag_id']}.{run['task_id']} {run['run_id']}"[:MAX_DISPLAY_NAME]
        try:
            started = runner.find_or_create(body, JobIdentity.of_task(**run))
            self._job_name = started.name
            links.persist(context, started)
            self.log.info("Job %s\n%s", started.name, started.console_url)
            if not self.wait_for_completion:
                return started
            return runner.wait(started.name, self.poll_interval)
        except (JobFailed, RequestError) as error:
            if error.permanent:
                raise AirflowFailException(str(error)) from error
            raise AirflowException(str(error)) from error
        except VertexError as error:
            raise AirflowException(str(error)) from error

    def _get_runner(self) -> JobRunner:
        from airflow_ml_provider.hooks.vertex import VertexHook

        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        self._runner = hook.get_runner(region=self.region, project_id=self.project_id)
        return self._runner

    def on_kill(self) -> None:
        """Cancel the job that this task waits for."""
        if self.cancel_on_kill and self._runner is not None and self._job_name is not None:
            self.log.warning("Cancelling %s", self._job_name)
            self._runner.cancel(self._job_name)


__all__ = ["InvalidTrainingJob", "TrainingJob", "TrainingJobOperator"]
