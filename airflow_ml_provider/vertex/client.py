"""The synchronous client for Vertex AI jobs and their logs."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.vertex.errors import PermissionDenied, RateLimited, Unavailable, request_error
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.requests import ApiRequest, Requests, log_lines

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

log = logging.getLogger(__name__)

CALL_TIMEOUT = 60.0
RETRY_FOR = 60.0
_FIRST_DELAY = 0.5
_MAX_DELAY = 10.0


class VertexClient:
    """Creates, reads and cancels CustomJobs in one project and region.

    What is safe to repeat is repeated for a minute with full jitter, on the statuses that AIP-194 and the
    service's quota page allow; a create is sent once, since Vertex AI has no request id.

    :param requests: the project and region, see :class:`Requests`.
    :param credentials: of ``google.auth``; anonymous ones for the emulator.
    :param sleep: replaced in tests.
    """

    def __init__(
        self, requests: Requests, credentials: Credentials, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self.requests = requests
        self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        self._sleep = sleep

    def create(self, custom_job: Mapping[str, Any]) -> Job:
        """Create a job.

        :raises Unavailable: there was no clear answer; the job may exist.
        :raises RequestError: the service refused it.
        """
        return self._job(self._send(self.requests.create_job(custom_job)))

    def get(self, name: str) -> Job:
        """Read a job by its full name."""
        return self._job(self._send(self.requests.get_job(name)))

    def cancel(self, name: str) -> None:
        """Ask for a job's end. It comes later, and the job may still end otherwise."""
        self._send(self.requests.cancel_job(name))

    def jobs(self, filter: str) -> list[Job]:
        """Return the jobs that a filter names, oldest first."""
        jobs: list[Job] = []
        token = ""
        while True:
            page = self._send(self.requests.list_jobs(filter, token))
            jobs += [self._job(item) for item in page.get("customJobs", [])]
            token = page.get("nextPageToken", "")
            if not token:
                return sorted(jobs, key=lambda job: (job.create_time, job.id))

    def log_tail(self, job_id: str, lines: int) -> list[str]:
        """Return the last lines of a job's log, oldest first."""
        page = self._send(self.requests.log_entries(job_id, min(lines, 1000), newest_first=True))
        return log_lines(list(reversed(page.get("entries", []))))[-lines:]

    def log_entries(self, job_id: str, *, after: datetime | None, pages: int) -> list[dict[str, Any]]:
        """Return entries of a job's log, oldest first.

        :param after: only entries from this time on.
        :param pages: at most so many pages of 1000.
        """
        entries: list[dict[str, Any]] = []
        token = ""
        for _ in range(pages):
            page = self._send(self.requests.log_entries(job_id, 1000, after=after, page_token=token))
            entries += page.get("entries", [])
            token = page.get("nextPageToken", "")
            if not token:
                break
        return entries

    def _job(self, value: Mapping[str, Any]) -> Job:
        return Job.from_json(value, self.requests.project)

    def _send(self, request: ApiRequest) -> dict[str, Any]:
        deadline = time.monotonic() + (RETRY_FOR if request.idempotent else 0)
        delay = _FIRST_DELAY
        while True:
            try:
                return self._send_once(request)
            except (Unavailable, RateLimited) as error:
                pause = random.uniform(0, delay)  # noqa: S311
                if time.monotonic() + pause >= deadline:
                    raise
                log.warning("%s; trying again in %.1f s", error, pause)
                self._sleep(pause)
                delay = min(delay * 2, _MAX_DELAY)

    def _send_once(self, request: ApiRequest) -> dict[str, Any]:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from requests.exceptions import RequestException

        try:
            reply = self._session.request(  # type: ignore[no-untyped-call]
                request.method,
                request.url,
                params=dict(request.params),
                json=request.body,
                timeout=CALL_TIMEOUT,
                max_allowed_time=CALL_TIMEOUT,
            )
        except (RequestException, TransportError) as error:
            raise Unavailable(request.action, None, f"{type(error).__name__}: {error}") from error
        except GoogleAuthError as error:
            raise PermissionDenied(request.action, 401, f"the credentials were refused: {error}") from error
        body: Any = None
        try:
            body = reply.json()
        except ValueError:
            log.debug("not JSON: %s", reply.text[:200])
        if reply.status_code >= 400:
            refused = body if isinstance(body, dict) else None
            raise request_error(request.action, reply.status_code, refused, reply.text)
        if not isinstance(body, dict):
            # A proxy's page with status 200 is no answer of the service.
            raise Unavailable(request.action, reply.status_code, f"not JSON: {reply.text[:200]}")
        return body
