"""The tasks that the chaos is for."""

from __future__ import annotations

# What a worker has imported when it starts a task, and a child shall not import anew.
import requests  # noqa: F401

import airflow_ml_provider.hooks.vertex
import airflow_ml_provider.vertex.protocol  # noqa: F401
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.operators import TrainingJobOperator
from airflow_ml_provider.sensors import TrainingJobSensor

REGION = "us-central1"


def build(command):
    """Return the operator or sensor of a command, made anew as every worker does."""
    what, _, how = command["mode"].partition("-")
    if what == "operator":
        job = TrainingJob(
            image_uri="europe-docker.pkg.dev/demo/chaos/replica:1",
            args=command["args"],
            display_name=command["run_id"],
        )
        more = {"deferrable": True} if how == "deferrable" else {}
        return TrainingJobOperator(
            task_id="train",
            job=job,
            region=REGION,
            project_id=command["project"],
            retries=command["retries"],
            poll_interval=5,
            **more,
        )
    more = {"deferrable": True} if how == "deferrable" else {"mode": how}
    return TrainingJobSensor(
        task_id="train",
        job=command.get("job"),
        filter=command.get("filter"),
        region=REGION if "filter" in command else None,
        project_id=command["project"],
        retries=command["retries"],
        poke_interval=5,
        timeout=3600,
        **more,
    )
