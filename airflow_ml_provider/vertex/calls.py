"""The operations of Vertex AI and Cloud Logging in one project and region, as steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from airflow_ml_provider.vertex.errors import InvalidJob, NotFound, RequestError
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.requests import ApiRequest, Requests
from airflow_ml_provider.vertex.retry import RetryPolicy
from airflow_ml_provider.vertex.steps import Call, Pause, Steps

log = logging.getLogger(__name__)

# An empty page may carry a token; a service that never stops giving them must not keep a task for ever.
MOST_PAGES = 1000


class Calls:
    """Reads, cancels and creates CustomJobs; what is safe to repeat is repeated.

    :param requests: the project and region.
    :param policy: when to try again.
    :param clock: counts seconds; replaced in tests.
    """

    def __init__(
        self,
        requests: Requests,
        policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = requests
        self.policy = policy or RetryPolicy()
        self._clock = clock

    def create(self, custom_job: Mapping[str, Any]) -> Steps[Job]:
        """Create a job. Sent once, since Vertex AI has no request id.

        :raises Unavailable: there was no clear answer; the job may exist.
        :raises RequestError: the service refused it.
        """
        return self._job((yield Call(self.requests.create_job(custom_job))))

    def get(self, name: str) -> Steps[Job]:
        """Read a job by its full name."""
        return self._job((yield from self._repeat(self.requests.get_job(name))))

    def cancel(self, name: str) -> Steps[None]:
        """Ask for a job's end; it comes later, and the job may still end otherwise.

        A job that is over, or that is gone, is fine.
        """
        try:
            yield from self._repeat(self.requests.cancel_job(name))
        except NotFound:
            log.info("%s does not exist any more", name)
        except InvalidJob as error:
            # The service's way to say that a job is over: FAILED_PRECONDITION.
            job = yield from self.get(name)
            if not job.is_over:
                raise error

    def jobs(
        self,
        filter: str,
        *,
        states_only: bool = False,
        most: int | None = None,
        on_page: Callable[[list[Job]], None] | None = None,
    ) -> Steps[list[Job]]:
        """Return the jobs that a filter names, oldest first.

        :param states_only: leave out all but name, state, labels and creation time; makes pages small.
        :param most: stop once there are so many, newest first.
        :param on_page: is told of each page as it comes.
        """
        jobs: list[Job] = []
        token = ""
        for _ in range(MOST_PAGES):
            request = self.requests.list_jobs(filter, token, states_only=states_only)
            page = yield from self._repeat(request)
            jobs += (found := [self._job(item) for item in page.get("customJobs", [])])
            if on_page is not None:
                on_page(found)
            token = page.get("nextPageToken", "")
            if not token or (most is not None and len(jobs) >= most):
                break
        return sorted(jobs, key=lambda job: (job.create_time, job.id))

    def log_entries(
        self,
        job_id: str,
        *,
        after: datetime | None = None,
        newest_first: bool = False,
        replica: str | None = None,
        size: int = 1000,
        pages: int = 1,
    ) -> Steps[list[dict[str, Any]]]:
        """Return entries of a job's log, oldest first.

        Each page is one of the 60 reads a minute that Cloud Logging allows a project.

        :param after: only entries from this time on.
        :param newest_first: read from the end of the log.
        :param replica: only this one's, e.g. ``workerpool0-0``.
        :param size: of a page, at most 1000.
        :param pages: read at most so many.
        """
        entries: list[dict[str, Any]] = []
        token = ""
        for _ in range(pages):
            request = self.requests.log_entries(
                job_id, size, after=after, newest_first=newest_first, replica=replica, page_token=token
            )
            page = yield from self._repeat(request)
            entries += page.get("entries", [])
            token = page.get("nextPageToken", "")
            if not token:
                break
        return entries[::-1] if newest_first else entries

    def _job(self, value: Mapping[str, Any]) -> Job:
        return Job.from_json(value, self.requests.project)

    def _repeat(self, request: ApiRequest) -> Steps[dict[str, Any]]:
        failures = 0
        began = self._clock()
        while True:
            try:
                reply: dict[str, Any] = yield Call(request)
                return reply
            except RequestError as error:
                failures += 1
                if failures == 1:
                    began = self._clock()
                pause = self.policy.pause(error, failures, self._clock() - began)
                if pause is None:
                    raise
                log.warning("%s; trying again in %.1f s", error, pause)
            yield Pause(pause)
