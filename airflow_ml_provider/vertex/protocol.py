"""The protocol of one training job, as steps: find it or create it, wait for its end, say why it failed."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_ml_provider.vertex import states
from airflow_ml_provider.vertex.calls import Calls
from airflow_ml_provider.vertex.errors import (
    JobFailed,
    JobGone,
    NotFound,
    QueuedTooLong,
    RateLimited,
    RequestError,
    Unavailable,
    UnknownOutcome,
    job_failure,
    replica_of_failure,
)
from airflow_ml_provider.vertex.identity import JobIdentity
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.logs import Log, LogFollower, read_tail
from airflow_ml_provider.vertex.ownership import Decision, decide
from airflow_ml_provider.vertex.pacing import wait_for_turn, window_filter
from airflow_ml_provider.vertex.requests import Requests
from airflow_ml_provider.vertex.retry import RetryPolicy
from airflow_ml_provider.vertex.steps import Pause, Steps

# Vertex AI sets a job's error about a minute after its end.
ERROR_DELAY = 90.0
UNREADABLE_FOR = 900.0
# A job that was just created may not be readable everywhere yet.
GONE_FOR = 60.0
LOG_TAIL = 20
LONGEST_LOG_TURN = 60.0
# Vertex AI keeps a job at most 7 days running; a task retried later than this starts anew.
LOOK_BACK = timedelta(days=30)
# After a create without a clear answer, a list may be behind: look again, with growing pauses.
LOOK_AGAIN = (1.0, 2.0, 4.0, 8.0, 15.0)
UNCERTAIN_CREATES = 3
# How long a create waits for its turn under the quota on submissions.
SUBMIT_WITHIN = 1800.0
CANCEL_WITHIN = 300.0


@dataclass(frozen=True)
class Started:
    """A task's job.

    :param adopted: whether an earlier try created it.
    :param uncertain: whether a create had no clear answer, so that another job may still turn up.
    """

    job: Job
    adopted: bool = False
    uncertain: bool = False


@dataclass(frozen=True)
class Hint:
    """What an earlier try noted outside of the service. It may be missing or old.

    :param job: the name of the job that it had.
    :param given_up: names of jobs whose end it asked for.
    """

    job: str | None = None
    given_up: frozenset[str] = frozenset()


class JobProtocol:
    """Runs one job, exactly once per intended run, in one of several regions.

    :param regions: where it may run, in order of preference; all of one project.
    :param log: where progress goes.
    :param policy: when to try a request again.
    :param clock: counts seconds; replaced in tests, as is ``now``.
    """

    def __init__(
        self,
        regions: Sequence[Requests],
        log: Log,
        *,
        policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._clock = clock
        self._now = now
        self._calls = {requests.region: Calls(requests, policy, clock) for requests in regions}
        self._first = regions[0]
        # The last job that was created, known before it is settled whether it is the one to keep.
        self.created: Job | None = None
        self._policy = policy

    def calls_for(self, job: str) -> Calls:
        """Return the operations in the region that a job's name holds."""
        region = job.split("/")[3]
        if region not in self._calls:
            self._calls[region] = Calls(self._first.in_region(region), self._policy, self._clock)
        return self._calls[region]

    def find_or_create(
        self,
        custom_job: Mapping[str, Any],
        identity: JobIdentity,
        hint: Hint | None = None,
        passed_over: Collection[str] = (),
    ) -> Steps[Started]:
        """Return the job of this task: the one that runs already, or a new one.

        A region that had no machines since the task was cleared is passed over as long as there is another.

        :param custom_job: the body of ``customJobs.create``, without the identity's labels.
        :param passed_over: further regions to create it in only if there is no other.
        :raises RequestError: the service refused.
        """
        decision = yield from self.find(identity, hint)
        if decision.adopt is not None:
            self._info(
                "Found this task's job %s (%s)", decision.adopt.name, states.short(decision.adopt.state)
            )
            # A list may leave out what a get tells.
            return Started((yield from self.calls_for(decision.adopt.name).get(decision.adopt.name)), True)
        short = decision.without_machines | set(passed_over)
        regions = [region for region in self._calls if region not in short]
        return (yield from self.create(custom_job, identity, (regions or list(self._calls))[0], hint))

    def find(
        self, identity: JobIdentity, hint: Hint | None = None, created_after: datetime | None = None
    ) -> Steps[Decision]:
        """Return this task's job if it may be adopted, and end what must not run beside it.

        :param created_after: a success created later than this is this try's own.
        """
        hint = hint or Hint()
        jobs = yield from self._with_key(identity)
        if hint.job is not None and all(job.name != hint.job for job in jobs):
            # The list is behind, or the job is not where we look; the labels of the job itself decide.
            try:
                hinted = yield from self.calls_for(hint.job).get(hint.job)
            except NotFound:
                hinted = None
            if hinted is not None and hinted.labels.get("airflow-key") == identity.key:
                jobs.append(hinted)
        jobs = yield from self._with_reasons(jobs)
        decision = decide(jobs, identity, hint.given_up, created_after)
        yield from self._cancel_all(decision.cancel)
        return decision

    def create(
        self, custom_job: Mapping[str, Any], identity: JobIdentity, region: str, hint: Hint | None = None
    ) -> Steps[Started]:
        """Create a job in one region; find it if the reply is lost.

        :raises RequestError: the service refused, or gave no clear answer several times.
        """
        calls = self._calls[region]
        labels = {**custom_job.get("labels", {}), **identity.labels}
        body = {**custom_job, "labels": labels}
        began = self._clock()
        # The service's clock may be a little behind ours.
        created_after = self._now() - timedelta(minutes=1)
        uncertain = 0
        refused = 0
        while True:
            yield from self._await_turn(calls, began)
            try:
                job = self.created = yield from calls.create(body)
                break
            except RateLimited as error:
                # A clear no: there is no job, only too many requests.
                refused += 1
                pause = RetryPolicy(SUBMIT_WITHIN, first=5, longest=60).pause(
                    error, refused, self._clock() - began
                )
                if pause is None:
                    raise
                self._warn("%s; trying again in %.0f s", error, pause)
                yield Pause(pause)
            except Unavailable as error:
                uncertain += 1
                self._warn("%s", error)
                self._warn("The job may exist all the same: looking for it before trying again")
                found = yield from self._look_again(identity, hint, created_after)
                if found is not None:
                    return Started(found, True, True)
                if uncertain >= UNCERTAIN_CREATES:
                    raise
        job = yield from self._settle_race(job, identity, hint or Hint())
        return Started(job, False, uncertain > 0)

    def end_others(self, keep: Job, identity: JobIdentity) -> Steps[None]:
        """Cancel whatever runs for this task beside its job: a lost create that turned up late."""
        try:
            jobs = yield from self._with_key(identity)
            yield from self._cancel_all(
                [job for job in jobs if job.name != keep.name and job.state in states.ADOPTABLE]
            )
        except RequestError as error:
            self._warn("Could not look for other jobs of this task: %s", error)

    def wait(self, job: Job, poll_interval: float, queue_timeout: float | None = None) -> Steps[Job]:
        """Return a job once it has succeeded.

        What the replicas print is logged as it arrives. A failed poll is not a failed job: polling goes on
        for 15 minutes before giving up.

        :param poll_interval: seconds between two looks; a job that has just begun is looked at more often,
            so that a short one is not waited for longer than it runs.
        :param queue_timeout: how many seconds it may wait for machines.
        :raises JobFailed: it ended otherwise; carries the service's message and the last log lines.
        :raises UnknownOutcome: it could not be read for too long.
        """
        name = job.name
        calls = self.calls_for(name)
        follower = LogFollower(calls, job.id, self._log, clock=self._clock, now=self._now)
        patience = Patience(name, self._clock)
        seen = ""
        began = self._clock()
        while True:
            try:
                job = yield from calls.get(name)
                patience.answered()
            except RequestError as error:
                patience.failed(error)
                self._warn("Could not look at %s, will look again: %s", name, error)
            else:
                if job.state != seen:
                    self._info("%s: %s", job.display_name, states.short(job.state))
                    seen = job.state
                if job.is_over:
                    return (yield from self._conclude(job, follower, replay=False))
                if queued_too_long(job, self._now(), queue_timeout):
                    yield from self.give_up_queueing(job)
                elif job.state == states.RUNNING:
                    yield from follower.follow()
            yield Pause(_pause(self._clock() - began, poll_interval))

    def conclude(self, job: Job, log_turn: float = 0.0) -> Steps[Job]:
        """Return a job that is over and succeeded, with its log printed from the beginning.

        :param log_turn: seconds until it is this job's turn to have its log read, where many ended at once. A
            job that succeeded is not kept longer than a minute for it.
        :raises JobFailed: it did not succeed.
        """
        if log_turn > LONGEST_LOG_TURN and job.succeeded:
            self._info("Too many jobs ended at once to read all logs within the quota: %s", job.logs_url)
            return job
        yield Pause(min(log_turn, LONGEST_LOG_TURN))
        follower = LogFollower(self.calls_for(job.name), job.id, self._log, clock=self._clock, now=self._now)
        return (yield from self._conclude(job, follower, replay=True))

    def look(self, name: str) -> Steps[Job]:
        """Read a job, however long that takes, up to 15 minutes.

        :raises UnknownOutcome: it could not be read.
        """
        patience = Patience(name, self._clock)
        while True:
            try:
                return (yield from self.calls_for(name).get(name))
            except RequestError as error:
                patience.failed(error)
                self._warn("Could not look at %s, will look again: %s", name, error)
            yield Pause(random.uniform(5, 15))  # noqa: S311

    def failure(self, job: Job) -> Steps[JobFailed]:
        """Return the error of a job that is over, with the service's reason, which comes late."""
        job = yield from self._with_reason(job)
        replica = replica_of_failure(job)
        return job_failure(job, (yield from read_tail(self.calls_for(job.name), job, replica, LOG_TAIL)))

    def cancel_and_wait(self, name: str) -> Steps[Job]:
        """Cancel a job and return it once it is over: only then another may take its place.

        :raises UnknownOutcome: it did not end within 5 minutes.
        """
        calls = self.calls_for(name)
        yield from calls.cancel(name)
        began = self._clock()
        while True:
            job = yield from calls.get(name)
            if job.is_over:
                return job
            if self._clock() - began > CANCEL_WITHIN:
                raise UnknownOutcome(
                    f"{name} was cancelled {CANCEL_WITHIN / 60:.0f} minutes ago and is still "
                    f"{states.short(job.state)}; look at {job.console_url}"
                )
            yield Pause(_pause(self._clock() - began, 10.0))

    def give_up_queueing(self, job: Job) -> Steps[None]:
        """Cancel a job that waits for machines for too long.

        Returns if it turned out to have run to its end meanwhile.

        :raises QueuedTooLong: it is cancelled.
        """
        self._warn("%s has waited for machines for too long: cancelling it", job.name)
        ended = yield from self.cancel_and_wait(job.name)
        if ended.state == states.CANCELLED:
            waited = f"cancelled after waiting for machines since {job.create_time:%Y-%m-%d %H:%M:%S} UTC"
            raise QueuedTooLong(replace(ended, error_message=waited))

    def _conclude(self, job: Job, follower: LogFollower, *, replay: bool) -> Steps[Job]:
        yield from (follower.replay() if replay else follower.finish())
        if follower.restarts:
            self._warn("The service started the replicas again %d times", follower.restarts)
        if job.succeeded:
            return replace(job, restarts=follower.restarts)
        job = yield from self._with_reason(job)
        replica = replica_of_failure(job)
        tail = follower.tail(replica, LOG_TAIL)
        if not tail:
            tail = yield from read_tail(self.calls_for(job.name), job, replica, LOG_TAIL)
        raise job_failure(job, tail)

    def _with_reasons(self, jobs: Sequence[Job]) -> Steps[list[Job]]:
        known = []
        for job in jobs:
            fresh = job.end_time is None or (self._now() - job.end_time).total_seconds() < ERROR_DELAY
            known.append((yield from self._with_reason(job)) if fresh else job)
        return known

    def _with_reason(self, job: Job) -> Steps[Job]:
        waited = 0.0
        while not job.error_message and job.state == states.FAILED and waited < ERROR_DELAY:
            pause = min(5.0, max(0.5, waited))
            yield Pause(pause)
            waited += pause
            try:
                job = yield from self.calls_for(job.name).get(job.name)
            except RequestError as error:
                self._warn("Could not read why %s failed yet: %s", job.name, error)
        return job

    def _with_key(self, identity: JobIdentity) -> Steps[list[Job]]:
        since = (self._now() - LOOK_BACK).strftime("%Y-%m-%dT%H:%M:%SZ")
        jobs: list[Job] = []
        for calls in list(self._calls.values()):
            jobs += yield from calls.jobs(identity.filter(since))
        return jobs

    def _cancel_all(self, jobs: Sequence[Job]) -> Steps[None]:
        for job in jobs:
            self._warn("Cancelling %s: it belongs to this task but is not its current job", job.name)
            yield from self.calls_for(job.name).cancel(job.name)

    def _look_again(
        self, identity: JobIdentity, hint: Hint | None, created_after: datetime
    ) -> Steps[Job | None]:
        for pause in LOOK_AGAIN:
            yield Pause(pause)
            try:
                decision = yield from self.find(identity, hint, created_after)
            except (Unavailable, RateLimited) as error:
                self._warn("%s", error)
                continue
            if decision.adopt is not None:
                return decision.adopt
        return None

    def _settle_race(self, job: Job, identity: JobIdentity, hint: Hint) -> Steps[Job]:
        """Return the oldest job of this task after a create, and cancel the rest."""
        try:
            jobs = yield from self._with_key(identity)
            if all(other.name != job.name for other in jobs):
                jobs.append(job)
            decision = decide(jobs, identity, hint.given_up)
            yield from self._cancel_all(decision.cancel)
        except RequestError as error:
            self._warn("Could not look for other jobs of this task: %s", error)
            return job
        return decision.adopt or job

    def _await_turn(self, calls: Calls, began: float) -> Steps[None]:
        while self._clock() - began < SUBMIT_WITHIN:
            now = self._now()
            try:
                recent = yield from calls.jobs(window_filter(now), states_only=True, most=300)
            except RequestError as error:
                self._warn("Could not see how many jobs were submitted lately: %s", error)
                return
            pause = wait_for_turn([job.create_time for job in recent], now, random.uniform)
            if pause is None:
                return
            self._info("%d jobs were submitted within a minute: waiting %.0f s", len(recent), pause)
            yield Pause(pause)

    def _info(self, message: str, *args: Any) -> None:
        self._log.log(logging.INFO, message, *args)

    def _warn(self, message: str, *args: Any) -> None:
        self._log.log(logging.WARNING, message, *args)


class Patience:
    """Counts for how long a job could not be read: a failed poll is not a failed job.

    :param name: the job's.
    :param clock: counts seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._since: float | None = None
        self._gone_since: float | None = None

    def answered(self) -> None:
        """Note that the job was read."""
        self._since = self._gone_since = None

    def failed(self, error: RequestError) -> None:
        """Note that it was not.

        :raises JobGone: it has not existed for a minute.
        :raises UnknownOutcome: there has been no answer for 15 minutes.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if isinstance(error, NotFound):
            self._gone_since = now if self._gone_since is None else self._gone_since
            if now - self._gone_since >= GONE_FOR:
                raise JobGone(f"{self._name} does not exist any more: somebody deleted it") from error
        else:
            self._gone_since = None
        if now - self._since > UNREADABLE_FOR:
            raise UnknownOutcome(
                f"{self._name} could not be read for {UNREADABLE_FOR / 60:.0f} minutes and may still be "
                f"running: {error}\nA retry of this task will find it again."
            ) from error


def queued_too_long(job: Job, now: datetime, queue_timeout: float | None) -> bool:
    """Return whether a job has waited for machines longer than it may."""
    waits = job.state in (states.QUEUED, states.PENDING)
    return waits and queue_timeout is not None and (now - job.create_time).total_seconds() > queue_timeout


def _pause(elapsed: float, poll_interval: float) -> float:
    """Return how long to wait for the next look: a tenth of the job's time so far, up to the interval."""
    wanted = min(poll_interval, max(2.0, elapsed / 10))
    return wanted * random.uniform(0.8, 1.2)  # noqa: S311
