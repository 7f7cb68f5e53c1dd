"""The blocking client, for workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_ml_provider.vertex.calls import Calls
from airflow_ml_provider.vertex.errors import PermissionDenied, RequestError, Unavailable
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.logs import lines_of
from airflow_ml_provider.vertex.replies import reply_of
from airflow_ml_provider.vertex.requests import ApiRequest, Requests
from airflow_ml_provider.vertex.retry import RetryPolicy
from airflow_ml_provider.vertex.steps import Steps, carry_out

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

Result = TypeVar("Result")


class VertexClient:
    """Carries out steps with ``requests``; the plain operations on jobs are methods.

    :param requests: the project and region, see :class:`Requests`.
    :param credentials: of ``google.auth``; anonymous ones for the emulator.
    :param sleep: lets time pass between tries and looks.
    :param policy: when to try again.
    """

    def __init__(
        self,
        requests: Requests,
        credentials: Credentials,
        *,
        sleep: Callable[[float], None] = time.sleep,
        policy: RetryPolicy | None = None,
    ) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self.requests = requests
        self.calls = Calls(requests, policy)
        self._session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        # A signal handler must not touch a session that the interrupted code may be in the middle of.
        self._spare_session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        self._sleep = sleep

    def run(self, steps: Steps[Result]) -> Result:
        """Carry out steps and return their result."""
        return carry_out(steps, self._send, self._sleep)

    def create(self, custom_job: Mapping[str, Any]) -> Job:
        """Create a job; see :meth:`Calls.create`."""
        return self.run(self.calls.create(custom_job))

    def get(self, name: str) -> Job:
        """Read a job by its full name."""
        return self.run(self.calls.get(name))

    def cancel(self, name: str) -> None:
        """Ask for a job's end; see :meth:`Calls.cancel`."""
        self.run(self.calls.cancel(name))

    def jobs(self, filter: str) -> list[Job]:
        """Return the jobs that a filter names, oldest first."""
        return self.run(self.calls.jobs(filter))

    def log_tail(self, job_id: str, lines: int) -> list[str]:
        """Return the last lines of a job's log, oldest first."""
        entries = self.run(self.calls.log_entries(job_id, newest_first=True, size=min(lines, 1000)))
        return [line.text for line in lines_of(entries)][-lines:]

    def cancel_within(self, name: str, seconds: float) -> RequestError | None:
        """Ask for a job's end once, from inside a signal handler.

        :param seconds: to wait for the answer; the request goes on in its thread if it comes later.
        :return: what went wrong, or None.
        """
        request = self.requests.cancel_job(name)
        outcome: list[RequestError | None] = []

        def send() -> None:
            try:
                self._send_once(self._spare_session, request, seconds)
                outcome.append(None)
            except RequestError as error:
                outcome.append(error)

        thread = threading.Thread(target=send, name="cancel-training-job", daemon=True)
        thread.start()
        thread.join(seconds)
        return outcome[0] if outcome else Unavailable(request.action, None, f"no answer in {seconds:g} s")

    def _send(self, request: ApiRequest) -> dict[str, Any]:
        return self._send_once(self._session, request, request.deadline)

    def _send_once(self, session: Any, request: ApiRequest, deadline: float) -> dict[str, Any]:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from requests.exceptions import RequestException

        try:
            reply = session.request(
                request.method,
                request.url,
                params=dict(request.params),
                json=request.body,
                timeout=deadline,
                max_allowed_time=deadline,
            )
        except (RequestException, TransportError) as error:
            raise Unavailable(request.action, None, f"{type(error).__name__}: {error}") from error
        except GoogleAuthError as error:
            raise PermissionDenied(request.action, 401, f"the credentials were refused: {error}") from error
        return reply_of(request, reply.status_code, reply.headers, reply.text)
