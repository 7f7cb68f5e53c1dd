"""The protocol of one training job: find it or create it, wait for its end, say why it failed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_ml_provider.vertex import states
from airflow_ml_provider.vertex.client import VertexClient
from airflow_ml_provider.vertex.errors import (
    JobFailed,
    NotFound,
    RateLimited,
    RequestError,
    Unavailable,
    UnknownOutcome,
    job_failure,
)
from airflow_ml_provider.vertex.identity import JobIdentity, generation_of
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.logs import LogFollower

# Vertex AI sets a job's error about a minute after its end.
ERROR_DELAY = 90.0
UNREADABLE_FOR = 900.0
LOG_TAIL = 20
# Vertex AI keeps a job at most 7 days running; a task retried later than this starts anew.
LOOK_BACK = timedelta(days=30)


class Log(Protocol):
    """Where progress goes: any logger."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Say what happens."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Say what is not as it should be."""


class JobRunner:
    """Runs one job, exactly once per intended run.

    :param client: for the job's project and region.
    :param logger: where progress goes.
    :param sleep: replaced in tests, as is ``clock``, which counts seconds.
    """

    def __init__(
        self,
        client: VertexClient,
        logger: Log,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.log = logger
        self._sleep = sleep
        self._clock = clock

    def find_or_create(self, custom_job: Mapping[str, Any], identity: JobIdentity) -> Job:
        """Return the job of this task: the one that runs already, or a new one.

        A job of the same generation that is active or succeeded is adopted, the oldest if there are
        several; the others, and active ones of an older generation, are cancelled.

        :param custom_job: the body of ``customJobs.create``, without the identity's labels.
        :raises RequestError: the service refused.
        """
        found = self.find(identity)
        if found is not None:
            return found
        labels = {**custom_job.get("labels", {}), **identity.labels}
        body = {**custom_job, "labels": labels}
        try:
            return self.client.create(body)
        except (Unavailable, RateLimited) as error:
            self.log.warning("%s", error)
            self.log.warning("The job may exist all the same: looking for it before trying again")
            self._sleep(random.uniform(1, 3))  # noqa: S311
        found = self.find(identity)
        return found if found is not None else self.client.create(body)

    def find(self, identity: JobIdentity) -> Job | None:
        """Return this task's job if it may be adopted, and end what must not run beside it."""
        since = (datetime.now(UTC) - LOOK_BACK).strftime("%Y-%m-%dT%H:%M:%SZ")
        jobs = self.client.jobs(identity.filter(since))
        current = [job for job in jobs if generation_of(job.labels) == identity.generation]
        # On a first try, a success belongs to a run of the same name that was deleted.
        usable = [
            job
            for job in current
            if job.state in states.ADOPTABLE or (job.succeeded and identity.try_number > 1)
        ]
        keep = usable[0] if usable else None
        for job in jobs:
            superseded = generation_of(job.labels) <= identity.generation
            if job != keep and superseded and job.state in states.ADOPTABLE:
                self.log.warning(
                    "Cancelling %s: it belongs to this task but is not its current job", job.name
                )
                self.client.cancel(job.name)
        if keep is not None:
            self.log.info("Found this task's job %s (%s)", keep.name, states.short(keep.state))
        return keep

    def wait(self, name: str, poll_interval: float) -> Job:
        """Return a job once it has succeeded.

        What the replicas print is logged as it arrives. A failed poll is not a failed job: polling goes on
        for 15 minutes before giving up.

        :param poll_interval: seconds between two looks; a job that has just begun is looked at more often,
            so that a short one is not waited for longer than it runs.
        :raises JobFailed: it ended otherwise; carries the service's message and the last log lines.
        :raises UnknownOutcome: it could not be read for too long.
        """
        seen = ""
        began = self._clock()
        unreadable_since: float | None = None
        log = LogFollower(self.client, name.rsplit("/", 1)[-1], self._clock)
        while True:
            try:
                job = self.client.get(name)
            except (Unavailable, RateLimited) as error:
                if unreadable_since is None:
                    unreadable_since = self._clock()
                if self._clock() - unreadable_since > UNREADABLE_FOR:
                    raise UnknownOutcome(
                        f"{name} could not be read for {UNREADABLE_FOR / 60:.0f} minutes and may still be "
                        f"running: {error}\nA retry of this task will find it again."
                    ) from error
                self.log.warning("Could not look at %s, will look again: %s", name, error)
                self._sleep(_pause(self._clock() - began, poll_interval))
                continue
            unreadable_since = None
            if job.state != seen:
                self.log.info("%s: %s", job.display_name, states.short(job.state))
                seen = job.state
            if job.state == states.RUNNING or job.is_over:
                for line in log.new_lines(now=job.is_over):
                    self.log.info("%s", line)
            if job.succeeded:
                return job
            if job.is_over:
                raise self.failure(job)
            self._sleep(_pause(self._clock() - began, poll_interval))

    def failure(self, job: Job) -> JobFailed:
        """Return the error of a job that is over, with the service's reason, which comes late."""
        waited = 0.0
        while not job.error_message and job.state == states.FAILED and waited < ERROR_DELAY:
            pause = min(5.0, max(0.5, waited))
            self._sleep(pause)
            waited += pause
            try:
                job = self.client.get(job.name)
            except (Unavailable, RateLimited) as error:
                self.log.warning("Could not read why %s failed yet: %s", job.name, error)
        return job_failure(job, self._log_tail(job))

    def _log_tail(self, job: Job) -> list[str]:
        try:
            return self.client.log_tail(job.id, LOG_TAIL)
        except RequestError as error:
            # The job's own error matters more than its log.
            return [f"(the log could not be read: {error})"]

    def cancel(self, name: str) -> None:
        """Ask for a job's end; a job that is gone or over is fine."""
        try:
            self.client.cancel(name)
        except NotFound:
            self.log.info("%s does not exist any more", name)


def _pause(elapsed: float, poll_interval: float) -> float:
    """Return how long to wait for the next look: a tenth of the job's time so far, up to the interval."""
    wanted = min(poll_interval, max(2.0, elapsed / 10))
    return wanted * random.uniform(0.8, 1.2)  # noqa: S311
