"""Requests to Vertex AI and Cloud Logging, as data: who sends them and how is another matter."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from airflow_ml_provider.vertex.job import log_filter

_REGION = re.compile(r"^[a-z]+(-[a-z]+)+\d+$")
_PROJECT = re.compile(r"^(\d+|([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,61}[a-z0-9])$")
_JOB_NAME = re.compile(r"^projects/[^/]+/locations/[^/]+/customJobs/\d+$")


@dataclass(frozen=True)
class ApiRequest:
    """One HTTP request.

    :param action: what it does, for error messages: "create a CustomJob in …".
    :param deadline: seconds after which an answer is not waited for any more.
    """

    action: str
    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    deadline: float = 60.0


@dataclass(frozen=True)
class Requests:
    """Builds the requests for one project and region.

    :param project: project id or number.
    :param region: e.g. ``europe-west4``.
    :param vertex: scheme and host of Vertex AI; by default the region's, or ``VERTEX_AI_EMULATOR_HOST``.
    :param logging: of Cloud Logging; by default Google's, or ``CLOUD_LOGGING_EMULATOR_HOST``.
    :raises ValueError: a project or region that can't exist.
    """

    project: str
    region: str
    vertex: str = ""
    logging: str = ""

    def __post_init__(self) -> None:
        if not _PROJECT.match(self.project or ""):
            raise ValueError(f"{self.project!r} is not a Google Cloud project id; set it on the connection")
        if not _REGION.match(self.region or ""):
            raise ValueError(f"{self.region!r} is not a region such as europe-west4")
        host = _regional_host(self.region)
        object.__setattr__(self, "vertex", self.vertex or endpoint("VERTEX_AI_EMULATOR_HOST", host))
        host = "https://logging.googleapis.com"
        object.__setattr__(self, "logging", self.logging or endpoint("CLOUD_LOGGING_EMULATOR_HOST", host))

    def in_region(self, region: str) -> Requests:
        """Return the same for another region."""
        regional = self.vertex == _regional_host(self.region)
        return replace(self, region=region, vertex="" if regional else self.vertex)

    @property
    def parent(self) -> str:
        """``projects/PROJECT/locations/REGION``."""
        return f"projects/{self.project}/locations/{self.region}"

    def create_job(self, custom_job: Mapping[str, Any]) -> ApiRequest:
        """Create a CustomJob. Vertex AI takes no request id, so sending it twice makes two."""
        url = f"{self.vertex}/v1/{self.parent}/customJobs"
        action = f"create a CustomJob in {self.parent}"
        return ApiRequest(action, "POST", url, body=custom_job)

    def get_job(self, name: str) -> ApiRequest:
        """Read a CustomJob."""
        return ApiRequest(f"read {job_name(name)}", "GET", f"{self.vertex}/v1/{name}")

    def cancel_job(self, name: str) -> ApiRequest:
        """Ask for a CustomJob's end; it comes later."""
        return ApiRequest(f"cancel {job_name(name)}", "POST", f"{self.vertex}/v1/{name}:cancel", body={})

    def list_jobs(self, filter: str, page_token: str = "", *, states_only: bool = False) -> ApiRequest:
        """List CustomJobs, 100 a page.

        :param states_only: leave out all but name, state, labels and creation time.
        """
        params = {"filter": filter, "pageSize": "100"}
        if states_only:
            params["readMask"] = "name,state,labels,createTime"
        if page_token:
            params["pageToken"] = page_token
        action = f"list the CustomJobs in {self.parent} with {filter}"
        return ApiRequest(action, "GET", f"{self.vertex}/v1/{self.parent}/customJobs", params)

    def log_entries(
        self,
        job_id: str,
        page_size: int,
        *,
        after: datetime | None = None,
        newest_first: bool = False,
        replica: str | None = None,
        page_token: str = "",
    ) -> ApiRequest:
        """List entries of a job's log.

        :param page_size: at most 1000.
        :param after: only entries from this time on.
        :param replica: only this one's, e.g. ``workerpool0-0``.
        """
        text = log_filter(job_id)
        if replica is not None:
            text += f' AND resource.labels.task_name="{replica}"'
        if after is not None:
            text += f' AND timestamp>="{after.isoformat()}"'
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self.project}"],
            "filter": text,
            "orderBy": "timestamp desc" if newest_first else "timestamp asc",
            "pageSize": page_size,
        }
        if page_token:
            body["pageToken"] = page_token
        return ApiRequest(
            f"read the log of job {job_id}", "POST", f"{self.logging}/v2/entries:list", body=body
        )


def endpoint(variable: str, default: str) -> str:
    """Return the address in an ``*_EMULATOR_HOST`` variable, with or without scheme, or the default."""
    host = os.environ.get(variable, "").rstrip("/")
    if not host:
        return default
    return host if "://" in host else f"http://{host}"


def _regional_host(region: str) -> str:
    return f"https://{region}-aiplatform.googleapis.com"


def job_name(name: str) -> str:
    """Return a job's name if it is one.

    :raises ValueError: it is not.
    """
    if not _JOB_NAME.match(name):
        raise ValueError(f"{name!r} is not projects/PROJECT/locations/REGION/customJobs/ID")
    return name
