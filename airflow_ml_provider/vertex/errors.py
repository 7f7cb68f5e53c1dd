"""What can go wrong between us and Vertex AI, told apart by what a person has to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ml_provider.vertex import states
from airflow_ml_provider.vertex.job import Job


class VertexError(Exception):
    """Base of the errors below.

    ``permanent`` tells whether the same call or job would fail the same way again.
    """

    permanent = False
    advice = ""


class RequestError(VertexError):
    """The service refused a request or could not be reached.

    :param action: what was tried, e.g. ``create a CustomJob in projects/p/locations/r``.
    :param status: the HTTP status, or None if there was no answer.
    :param message: the service's.
    """

    def __init__(self, action: str, status: int | None, message: str) -> None:
        self.action = action
        self.status = status
        self.message = message
        code = f"HTTP {status}" if status else "no answer"
        text = f"Could not {action}: {code}: {message}"
        super().__init__(f"{text}\n{self.advice}" if self.advice else text)


class InvalidJob(RequestError):
    """The service refused what was sent (HTTP 400)."""

    permanent = True
    advice = "Correct the job's specification; the same request will be refused again."


class PermissionDenied(RequestError):
    """The caller may not do this (HTTP 401 or 403)."""

    permanent = True
    advice = (
        "Grant the caller roles/aiplatform.user, and roles/iam.serviceAccountUser on the service account "
        "that the job runs as."
    )


class NotFound(RequestError):
    """There is no such resource (HTTP 404)."""

    permanent = True


class QuotaExceeded(RequestError):
    """The project's quota does not allow the job (HTTP 429 about quota metrics)."""

    advice = "Raise the named quota in this region, or ask for fewer or other machines."


class RateLimited(RequestError):
    """Too many requests a minute (HTTP 429)."""


class Unavailable(RequestError):
    """The service did not answer, or said to come again (HTTP 408, 5xx, connection trouble)."""


class JobFailed(VertexError):
    """A job ended otherwise than with success.

    :param job: as last read.
    :param log_tail: the last lines of its replicas' output, oldest first.
    """

    advice = "Read the log; the error is the container's own."

    def __init__(self, job: Job, log_tail: Sequence[str] = ()) -> None:
        self.job = job
        lines = [
            f"{job.display_name} ({job.name}) ended {states.short(job.state)}: "
            f"{job.error_message or 'the service gave no reason'}",
            self.advice,
            f"Job: {job.console_url}",
            f"Log: {job.logs_url}",
        ]
        if log_tail:
            lines += [f"Last {len(log_tail)} lines of its log:", *(f"  {line}" for line in log_tail)]
        super().__init__("\n".join(lines))


class TrainerFailed(JobFailed):
    """The container exited non-zero."""


class BadInput(TrainerFailed):
    """The container exited with 2: bad arguments or bad data, which a retry can't cure."""

    permanent = True
    advice = "Exit status 2 means bad arguments or bad data; correct what the log names."


class OutOfMemory(JobFailed):
    """A replica ran out of memory."""

    permanent = True
    advice = "Use a machine type with more memory, or smaller batches."


class StockOut(JobFailed):
    """The region had no such machines to give."""

    advice = "Try later, another region or another accelerator, or FLEX_START."


class QuotaDenied(JobFailed):
    """The job needed more than the project's quota."""

    advice = QuotaExceeded.advice


class InternalError(JobFailed):
    """The service failed; it says to submit the job again."""

    advice = "The fault is the service's: submit the job again."


class JobCancelled(JobFailed):
    """Somebody cancelled the job."""

    advice = "It was cancelled; clear the task to run it again."


class UnknownOutcome(VertexError):
    """The job could not be read for too long; it may still be running and billed."""


_BY_MESSAGE: Sequence[tuple[str, type[JobFailed]]] = (
    (r"ran out of memory", OutOfMemory),
    (r"Resources are insufficient in region|STOCKOUT", StockOut),
    (r"exceed quota limits", QuotaDenied),
    (r"non-zero status of 2\b", BadInput),
    (r"non-zero status of", TrainerFailed),
    (r"Internal error occurred", InternalError),
)


def job_failure(job: Job, log_tail: Sequence[str] = ()) -> JobFailed:
    """Return the error for a job that is over and did not succeed.

    Vertex AI gives a crash of the container and a bad request the same code, so the message decides.
    """
    if job.state == states.CANCELLED:
        return JobCancelled(job, log_tail)
    for pattern, kind in _BY_MESSAGE:
        if re.search(pattern, job.error_message):
            return kind(job, log_tail)
    return JobFailed(job, log_tail)


def request_error(action: str, status: int, body: Mapping[str, Any] | None, text: str) -> RequestError:
    """Return the error for a refused request.

    :param body: the parsed JSON of the answer, if it was JSON.
    :param text: the answer as it came, used when it was not.
    """
    error = (body or {}).get("error", {})
    message = error.get("message") if isinstance(error, Mapping) else None
    message = str(message or text[:500] or "no message")
    if status == 400:
        return InvalidJob(action, status, message)
    if status in (401, 403):
        return PermissionDenied(action, status, message)
    if status == 404:
        return NotFound(action, status, message)
    if status == 429:
        kind = QuotaExceeded if "exceed quota limits" in message else RateLimited
        return kind(action, status, message)
    if status in (408, 500, 502, 503, 504):
        return Unavailable(action, status, message)
    return RequestError(action, status, message)
