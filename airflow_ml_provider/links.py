"""Buttons on a task's page that open the training job and its log in the Cloud console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow_ml_provider.compat import BaseOperator, TaskInstanceKey
    from airflow_ml_provider.vertex.job import Job


class _JobLink(BaseOperatorLink):
    key = ""

    @property
    def xcom_key(self) -> str:
        """Where Airflow 3 finds the address."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task pushed, or "" as long as there is no job."""
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""


class TrainingJobLink(_JobLink):
    """The job's page."""

    name = "Vertex AI job"
    key = "training_job_url"


class TrainingLogsLink(_JobLink):
    """The job's log in Cloud Logging."""

    name = "Job log"
    key = "training_logs_url"


class TrainingTensorBoardLink(_JobLink):
    """The job in TensorBoard, if it has an instance."""

    name = "TensorBoard"
    key = "training_tensorboard_url"


def persist(context: Any, job: Job) -> None:
    """Make the buttons of a task lead to its job, as soon as there is one."""
    context["ti"].xcom_push(key=TrainingJobLink.key, value=job.console_url)
    context["ti"].xcom_push(key=TrainingLogsLink.key, value=job.logs_url)
    # Also if there is none: Airflow 3 logs an error for a link whose XCom is missing.
    context["ti"].xcom_push(key=TrainingTensorBoardLink.key, value=job.tensorboard_url or "")
