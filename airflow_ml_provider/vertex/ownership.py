"""Which of the jobs that bear a task's key are the task's, as a pure decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airflow_ml_provider.vertex import states
from airflow_ml_provider.vertex.errors import StockOut, failure_kind
from airflow_ml_provider.vertex.identity import JobIdentity, generation_of
from airflow_ml_provider.vertex.job import Job


@dataclass(frozen=True)
class Decision:
    """What a task does with the jobs that it found.

    :param adopt: the job to go on with, or None to create one.
    :param cancel: jobs that must not run beside it.
    :param without_machines: regions that had no machines for this task since it was last cleared.
    """

    adopt: Job | None
    cancel: tuple[Job, ...] = ()
    without_machines: frozenset[str] = field(default_factory=frozenset)


def decide(
    jobs: Sequence[Job],
    identity: JobIdentity,
    given_up: Collection[str] = (),
    created_after: datetime | None = None,
) -> Decision:
    """Decide about all jobs with a task's key.

    Adopted is the oldest job that is active, or, where this is a retry, that succeeded, or failed for a
    reason that the next job would meet too: had a try told Airflow of that, there would be no further one.
    Jobs of a newer generation count as current: this try is then a leftover, or ``retries`` was edited;
    either way a second job would be wrong. All other active jobs are superseded.

    :param jobs: in any order.
    :param given_up: names of jobs whose end an earlier try asked for; never adopted.
    :param created_after: a success created later than this is this try's own.
    """
    ordered = sorted(jobs, key=lambda job: (job.create_time, job.id))
    current = [job for job in ordered if generation_of(job.labels) >= identity.generation]

    def usable(job: Job) -> bool:
        if job.name in given_up:
            return False
        # On a first try, an older success belongs to a run of the same name that was deleted.
        own = identity.try_number > 1 or (created_after is not None and job.create_time > created_after)
        return job.state in states.ADOPTABLE or (own and (job.succeeded or failed_for_good(job)))

    adopt = next(filter(usable, current), None)
    cancel = tuple(job for job in ordered if job != adopt and job.state in states.ADOPTABLE)
    short = (job for job in current if job.state == states.FAILED and issubclass(failure_kind(job), StockOut))
    return Decision(adopt, cancel, frozenset(job.region for job in short))


def failed_for_good(job: Job) -> bool:
    """Return whether a job failed in a way that another one would too."""
    return job.state in (states.FAILED, states.EXPIRED) and failure_kind(job).permanent
