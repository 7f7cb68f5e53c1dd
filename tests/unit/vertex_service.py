"""Vertex AI and Cloud Logging as clients see them: answers from memory, which can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_ml_provider.vertex import errors, states
from airflow_ml_provider.vertex.requests import ApiRequest, Requests
from airflow_ml_provider.vertex.steps import carry_out

REGIONS = ("europe-west4", "us-central1")
START = datetime(2026, 11, 20, tzinfo=UTC)


def unavailable(action: str = "read") -> errors.Unavailable:
    return errors.Unavailable(action, 503, "later")


class Service:
    """One project. Time passes only when a client sleeps."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.cancelled: list[str] = []
        self.seconds = 0.0
        self.entries: list[dict[str, Any]] = []
        # What the next requests of a kind meet, in order: an error, a change to jobs, or None.
        self.script: dict[str, list[Any]] = {"create": [], "get": [], "list": [], "cancel": [], "log": []}
        self.requests: list[tuple[str, ApiRequest]] = []
        # Jobs younger than this are missing from lists.
        self.list_lag = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.on_sleep()

    def run(self, steps):
        return carry_out(steps, self.send, self.sleep)

    def regions(self, count: int = 1) -> list[Requests]:
        return [
            Requests(project="my-project", region=region, vertex=f"http://{region}", logging="http://logging")
            for region in REGIONS[:count]
        ]

    def add(
        self,
        state=states.RUNNING,
        *,
        key="abc",
        generation=0,
        try_number=1,
        age=1.0,
        region=REGIONS[0],
        **more,
    ) -> str:
        """Add a job that is ``age`` hours old; return its name."""
        name = f"projects/1/locations/{region}/customJobs/{len(self.jobs) + 1}"
        labels = {"airflow-key": key, "airflow-gen": str(generation), "airflow-try": str(try_number)}
        self.jobs[name] = {
            "name": name,
            "displayName": "nightly",
            "state": state,
            "createTime": (self.now - timedelta(hours=age)).isoformat().replace("+00:00", "Z"),
            "labels": labels,
            **more,
        }
        return name

    def fail(self, name: str, message: str) -> None:
        self.jobs[name] |= {"state": states.FAILED, "error": {"code": 3, "message": message}}

    def count(self, kind: str) -> int:
        return sum(1 for seen, _ in self.requests if seen == kind)

    def send(self, request: ApiRequest) -> dict[str, Any]:
        kind = request.action.split()[0] if not request.url.endswith("entries:list") else "log"
        kind = {"read": "get"}.get(kind, kind)
        self.requests.append((kind, request))
        met = self.script[kind].pop(0) if self.script[kind] else None
        if callable(met):
            met = met(request)
        if isinstance(met, Exception):
            raise met
        return getattr(self, f"_{kind}")(request)

    def _create(self, request: ApiRequest) -> dict[str, Any]:
        assert request.body is not None
        body = dict(request.body)
        region = request.url.split("/locations/")[1].split("/")[0]
        name = self.add(states.QUEUED, age=0, region=region)
        self.jobs[name] |= body
        return self.jobs[name]

    def lost(self, request: ApiRequest) -> Exception:
        """A create that arrives, and whose reply does not."""
        self._create(request)
        return unavailable("create")

    def _get(self, request: ApiRequest) -> dict[str, Any]:
        name = request.url.split("/v1/")[1]
        if name not in self.jobs:
            raise errors.NotFound("read", 404, "no such job")
        return self.jobs[name]

    def _cancel(self, request: ApiRequest) -> dict[str, Any]:
        name = request.url.split("/v1/")[1].removesuffix(":cancel")
        if name not in self.jobs:
            raise errors.NotFound("cancel", 404, "no such job")
        if self.jobs[name]["state"] in states.TERMINAL:
            raise errors.InvalidJob("cancel", 400, "it is over")
        self.cancelled.append(name)
        self.jobs[name]["state"] = states.CANCELLED
        return {}

    def _list(self, request: ApiRequest) -> dict[str, Any]:
        region = request.url.split("/locations/")[1].split("/")[0]
        filter = request.params["filter"]
        found = []
        for name, job in self.jobs.items():
            created = datetime.fromisoformat(job["createTime"])
            if f"/{region}/" not in name or (self.now - created).total_seconds() < self.list_lag:
                continue
            if (
                "labels.airflow-key=" in filter
                and f"airflow-key={job['labels']['airflow-key']} " not in filter
            ):
                continue
            if filter.startswith("createTime>") and created < self.now - timedelta(minutes=1):
                continue
            if 'state="JOB_STATE_RUNNING"' in filter and job["state"] != states.RUNNING:
                continue
            found.append(job)
        return {"customJobs": found}

    def _log(self, request: ApiRequest) -> dict[str, Any]:
        assert request.body is not None
        after = request.body["filter"].partition('timestamp>="')[2].rstrip('"')
        replica = request.body["filter"].partition('task_name="')[2].partition('"')[0]
        entries = [
            entry
            for entry in self.entries
            if (not after or entry["timestamp"] >= after)
            and (not replica or entry["resource"]["labels"]["task_name"] == replica)
        ]
        entries.sort(key=lambda entry: entry["timestamp"], reverse="desc" in request.body["orderBy"])
        first = int(request.body.get("pageToken", 0))
        last = first + request.body["pageSize"]
        more = {"nextPageToken": str(last)} if last < len(entries) else {}
        return {"entries": entries[first:last], **more}


def entry(number: int, text: str, seconds: float, replica: str = "workerpool0-0", severity: str = "INFO"):
    return {
        "insertId": str(number),
        "textPayload": text,
        "timestamp": (START + timedelta(seconds=seconds)).isoformat(),
        "severity": severity,
        "resource": {"labels": {"task_name": replica}},
    }
