"""A CustomJob as the service reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow_ml_provider.vertex import states

_CONSOLE = "https://console.cloud.google.com"


@dataclass(frozen=True)
class Job:
    """One CustomJob.

    :param name: ``projects/NUMBER/locations/REGION/customJobs/ID``.
    :param project: the project's id, as the caller named it: the name holds its number.
    :param state: e.g. ``JOB_STATE_RUNNING``.
    :param error_message: why it failed; the service sets it up to a minute after the job's end.
    :param output_dir: its base output directory, or None.
    :param replicas: how many machines it has.
    :param accelerators: how many it has, over all replicas.
    :param spot: whether its machines are Spot machines.
    :param tensorboard: the TensorBoard instance that shows it, or None.
    :param restarts: how often the service started its replicas again; None if its log was not read.
    """

    name: str
    project: str
    display_name: str
    state: str
    create_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    error_code: int | None = None
    error_message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    output_dir: str | None = None
    replicas: int = 0
    accelerators: int = 0
    spot: bool = False
    tensorboard: str | None = None
    restarts: int | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any], project: str) -> Job:
        """Read the JSON of ``customJobs.get``."""
        error = value.get("error", {})
        spec = value.get("jobSpec", {})
        pools = [pool for pool in spec.get("workerPoolSpecs", []) if pool.get("machineSpec")]
        return cls(
            name=value["name"],
            project=project,
            display_name=value.get("displayName", ""),
            state=str(value.get("state", "JOB_STATE_UNSPECIFIED")),
            create_time=parse_time(value["createTime"]),
            start_time=parse_time(value["startTime"]) if value.get("startTime") else None,
            end_time=parse_time(value["endTime"]) if value.get("endTime") else None,
            error_code=error.get("code"),
            error_message=error.get("message", ""),
            labels=dict(value.get("labels", {})),
            output_dir=spec.get("baseOutputDirectory", {}).get("outputUriPrefix"),
            replicas=sum(int(pool.get("replicaCount", 0)) for pool in pools),
            accelerators=sum(
                int(pool.get("replicaCount", 0)) * int(pool["machineSpec"].get("acceleratorCount", 0))
                for pool in pools
            ),
            spot=spec.get("scheduling", {}).get("strategy") == "SPOT",
            tensorboard=spec.get("tensorboard"),
        )

    @property
    def id(self) -> str:
        """The number at the end of its name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def region(self) -> str:
        """The region it runs in."""
        return self.name.split("/")[3]

    @property
    def is_over(self) -> bool:
        """Whether it reached a state that it will not leave."""
        return self.state in states.TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was for."""
        return self.state == states.SUCCEEDED

    @property
    def console_url(self) -> str:
        """Its page in the Cloud console."""
        path = f"vertex-ai/locations/{self.region}/training/{self.id}/cpu"
        return f"{_CONSOLE}/{path}?project={quote(self.project)}"

    @property
    def logs_url(self) -> str:
        """Its log in the Cloud console."""
        query = quote(log_filter(self.id), safe="")
        return f"{_CONSOLE}/logs/query;query={query}?project={quote(self.project)}"

    @property
    def tensorboard_url(self) -> str | None:
        """Its page in TensorBoard, if it has an instance. As in Google's SDK, ``console_utils``."""
        if self.tensorboard is None:
            return None
        experiment = f"{self.tensorboard}/experiments/{self.id}".replace("/", "+")
        return f"https://{self.region}.tensorboard.googleusercontent.com/experiment/{experiment}"

    @property
    def queue_seconds(self) -> float | None:
        """How long it waited for machines; None as long as it waits."""
        return (self.start_time - self.create_time).total_seconds() if self.start_time else None

    @property
    def run_seconds(self) -> float | None:
        """How long it ran; None as long as it runs, 0 if it never did."""
        if self.end_time is None:
            return None
        return (self.end_time - self.start_time).total_seconds() if self.start_time else 0.0

    def summary(self) -> dict[str, Any]:
        """Return what downstream tasks want to know, as JSON.

        ``job_id`` is the number that AI Platform's operators called so, for templates from that time.
        """
        run = self.run_seconds
        return {
            "job": self.name,
            "job_id": self.id,
            "display_name": self.display_name,
            "state": self.state,
            "labels": dict(self.labels),
            "output_dir": self.output_dir,
            "model_dir": f"{self.output_dir.rstrip('/')}/model/" if self.output_dir else None,
            "create_time": self.create_time.isoformat(),
            "start_time": self.start_time.isoformat() if self.start_time else None,
            "end_time": self.end_time.isoformat() if self.end_time else None,
            "queue_seconds": self.queue_seconds,
            "run_seconds": run,
            "replica_hours": None if run is None else round(self.replicas * run / 3600, 6),
            "accelerator_hours": None if run is None else round(self.accelerators * run / 3600, 6),
            "restarts": self.restarts,
            "console_url": self.console_url,
        }


def log_filter(job_id: str) -> str:
    """Return the Cloud Logging filter of a job's replicas, the one that gcloud uses."""
    return f'resource.type="ml_job" AND resource.labels.job_id="{job_id}"'


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time, to the microsecond."""
    whole, dot, fraction = text.replace("Z", "+00:00").partition(".")
    if not dot:
        return datetime.fromisoformat(whole)
    digits, sign, offset = fraction.partition("+")
    return datetime.fromisoformat(f"{whole}.{digits[:6]:0<6}{sign}{offset}")
