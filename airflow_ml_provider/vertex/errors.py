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


class QuotaExceeded(VertexError):
    """The project's quota in the region does not allow the job, now or ever."""

    advice = (
        "Raise the named quota in this region (console: IAM & Admin > Quotas), wait until other jobs have "
        "ended, or ask for fewer or other machines."
    )


class RequestError(VertexError):
    """The service refused a request or could not be reached.

    :param action: what was tried, e.g. ``create a CustomJob in projects/p/locations/r``.
    :param status: the HTTP status, or None if there was no answer.
    :param message: the service's.
    :param retry_after: seconds that the service asks to wait before the next try.
    """

    def __init__(
        self, action: str, status: int | None, message: str, *, retry_after: float | None = None
    ) -> None:
        self.action = action
        self.status = status
        self.message = message
        self.retry_after = retry_after
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


class CreateOverQuota(QuotaExceeded, RequestError):
    """The job was refused for the project's quota (HTTP 429 about quota metrics, not about request rates)."""


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

    advice = (
        "Try later, another region (regions=[...] of the operator) or another accelerator, or FLEX_START, "
        "which waits for machines."
    )


class QueuedTooLong(StockOut):
    """The job had no machines within ``queue_timeout`` and was cancelled."""


class Preempted(JobFailed):
    """Spot machines were taken away more often than the service replaces them."""

    advice = (
        "A retry of the task starts a new job, which goes on from the last checkpoint if the trainer keeps "
        "them; without Spot machines this does not happen."
    )


class JobOverQuota(QuotaExceeded, JobFailed):
    """The job needed more than the project's quota."""


class InternalError(JobFailed):
    """The service failed, after trying again itself; it says to submit the job again."""

    advice = "The fault is the service's, after attempts of its own: submit the job again."


class JobCancelled(JobFailed):
    """Somebody cancelled the job."""

    advice = "It was cancelled; clear the task to run it again."


class JobTimedOut(JobFailed):
    """The job ran longer than its own ``timeout`` allows."""

    permanent = True
    advice = "Raise the job's timeout, or give it faster machines; the next job would take as long."


class ExecutionTimeout(JobFailed):
    """The task's ``execution_timeout`` was over, and the job was cancelled."""

    advice = "Raise execution_timeout, or give the job faster machines."


class UnknownOutcome(VertexError):
    """The job could not be read for too long; it may still be running and billed."""


class JobGone(VertexError):
    """The job does not exist any more: somebody deleted it."""


_BY_MESSAGE: Sequence[tuple[str, type[JobFailed]]] = (
    (r"ran out of memory", OutOfMemory),
    (r"[Pp]reempt", Preempted),
    (r"Resources are insufficient in region|STOCKOUT", StockOut),
    (r"exceed quota limits", JobOverQuota),
    (r"non-zero status of 2\b", BadInput),
    (r"non-zero status of", TrainerFailed),
    (r"Internal error occurred", InternalError),
)


def job_failure(job: Job, log_tail: Sequence[str] = ()) -> JobFailed:
    """Return the error for a job that is over and did not succeed.

    Vertex AI gives a crash of the container and a bad request the same code, so the message decides.
    """
    if job.state == states.CANCELLED and "longer than its timeout" not in job.error_message:
        return JobCancelled(job, log_tail)
    return failure_kind(job)(job, log_tail)


def failure_kind(job: Job) -> type[JobFailed]:
    """Return the class of the error for a job that is over."""
    if job.state == states.EXPIRED or "longer than its timeout" in job.error_message:
        return JobTimedOut
    for pattern, kind in _BY_MESSAGE:
        if re.search(pattern, job.error_message):
            # A Spot job that had machines and lost them for good ends with the message of a stock-out.
            return Preempted if kind is StockOut and job.spot and job.start_time else kind
    return JobFailed


def replica_of_failure(job: Job) -> str | None:
    """Return the replica that the service blames for a job's end, e.g. ``workerpool1-0``, if it names one."""
    found = re.search(r"[Rr]eplica (workerpool\d+-\d+)", job.error_message)
    return found.group(1) if found else None


def request_error(
    action: str,
    status: int,
    body: Mapping[str, Any] | None,
    text: str,
    *,
    retry_after: float | None = None,
) -> RequestError:
    """Return the error for a refused request.

    :param body: the parsed JSON of the answer, if it was JSON.
    :param text: the answer as it came, used when it was not.
    :param retry_after: seconds that the answer asks to wait.
    """
    error = (body or {}).get("error", {})
    message = error.get("message") if isinstance(error, Mapping) else None
    message = str(message or text[:500] or "no message")
    kind = RequestError
    if status == 400:
        kind = InvalidJob
    elif status in (401, 403):
        kind = PermissionDenied
    elif status == 404:
        kind = NotFound
    elif status == 429:
        # One status for two things: quotas on machines, which a minute does not cure, and on requests.
        kind = CreateOverQuota if "exceed quota limits" in message else RateLimited
    elif status in (408, 500, 502, 503, 504):
        kind = Unavailable
    return kind(action, status, message, retry_after=retry_after)
