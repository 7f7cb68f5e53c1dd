"""Google's own operator, aimed at the emulator."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.google.cloud.hooks.vertex_ai.custom_job import CustomJobAsyncHook, CustomJobHook
from airflow.providers.google.cloud.operators.vertex_ai.custom_job import CreateCustomJobOperator
from google.auth.aio.credentials import AnonymousCredentials as AsyncAnonymousCredentials
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.services.job_service.transports.rest import JobServiceRestTransport
from google.cloud.aiplatform_v1.services.job_service.transports.rest_asyncio import (
    AsyncJobServiceRestTransport,
)

REGION = "us-central1"


def aim_at_emulator() -> None:
    """Give Google's hooks clients that speak REST with ``VERTEX_AI_EMULATOR_HOST``; nothing else changes."""

    def host() -> str:
        return os.environ["VERTEX_AI_EMULATOR_HOST"].removeprefix("http://")

    def client(self: Any, region: str | None = None) -> aiplatform_v1.JobServiceClient:
        transport = JobServiceRestTransport(
            host=host(), url_scheme="http", credentials=AnonymousCredentials()
        )
        return aiplatform_v1.JobServiceClient(transport=transport)

    async def async_client(self: Any, region: str | None = None) -> aiplatform_v1.JobServiceAsyncClient:
        transport = AsyncJobServiceRestTransport(
            host=host(), url_scheme="http", credentials=AsyncAnonymousCredentials()
        )
        return aiplatform_v1.JobServiceAsyncClient(transport=transport)

    CustomJobHook.get_job_service_client = client
    CustomJobAsyncHook.get_job_service_client = async_client


aim_at_emulator()


def build(command: dict[str, Any]) -> CreateCustomJobOperator:
    """Return the operator for a command of ``tests/chaos``, with the job that ours starts for it."""
    pool = {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": 1,
        "container_spec": {
            "image_uri": "europe-docker.pkg.dev/demo/chaos/replica:1",
            "args": command["args"],
        },
    }
    job = {"display_name": command["run_id"], "job_spec": {"worker_pool_specs": [pool]}}
    return CreateCustomJobOperator(
        task_id="train",
        region=REGION,
        project_id=command["project"],
        custom_job=job,
        poll_interval=5,
        deferrable=command["mode"].endswith("deferrable"),
        retries=command["retries"],
    )
