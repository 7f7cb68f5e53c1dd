"""A job's log in Cloud Logging: its lines, and following them within the quota.

Cloud Logging allows a project 60 reads a minute, which can't be raised. A follower reads its job's log every
``INTERVAL`` seconds, and less often the more jobs there are beside it: all of them together stay below
``READS_A_MINUTE``. Whoever is told 429 all the same halves its rate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_ml_provider.vertex.calls import Calls
from airflow_ml_provider.vertex.errors import RateLimited, RequestError
from airflow_ml_provider.vertex.job import Job, parse_time
from airflow_ml_provider.vertex.steps import Pause, Steps

INTERVAL = 10.0
READS_A_MINUTE = 30
# Of jobs that were waited for in the triggerer, which are read once, at their end.
REPLAYS_A_MINUTE = 20
LONGEST_INTERVAL = 1800.0
# Entries may become visible late and out of order.
OVERLAP = timedelta(minutes=2)
# Lines younger than this are held back, so that late ones still come in order.
HOLD_BACK = timedelta(seconds=5)
PAGES_PER_READ = 3
# At a job's end, beyond the last regular read.
CATCH_UP_READS = 5
# After a job's end, until the service's last words are there.
LATE_LINES = (2.0, 5.0)
REPLAY_PAGES = 3
_LAST_WORDS = ("Job completed successfully.", "Job failed.", "Job cancelled.", "Job was cancelled")
_STARTED = "Job is running."
_LEVELS = {
    "DEBUG": logging.DEBUG,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "ALERT": logging.CRITICAL,
    "EMERGENCY": logging.CRITICAL,
}


class Log(Protocol):
    """Where progress goes: any logger."""

    def log(self, level: int, message: str, /, *args: Any) -> Any:
        """Say something at one of :mod:`logging`'s levels."""


@dataclass(frozen=True)
class Line:
    """One line that a replica printed, or that the service says of the job.

    :param replica: e.g. ``workerpool0-0``, or ``service``.
    :param level: of :mod:`logging`.
    :param message: without the replica.
    :param time: when it was printed.
    :param id: of the entry; one entry may hold several lines.
    """

    replica: str
    level: int
    message: str
    time: datetime
    id: str

    @property
    def text(self) -> str:
        """Replica and message."""
        return f"[{self.replica}] {self.message}"


def lines_of(entries: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Return log entries as lines."""
    lines = []
    for entry in entries:
        text = entry.get("textPayload")
        if text is None:
            text = (entry.get("jsonPayload") or {}).get("message", "")
        replica = entry.get("resource", {}).get("labels", {}).get("task_name", "service")
        level = _LEVELS.get(str(entry.get("severity", "")), logging.INFO)
        moment = entry.get("timestamp")
        time = parse_time(moment) if moment else datetime.fromtimestamp(0, UTC)
        key = str(entry.get("insertId"))
        lines += [Line(replica, level, line, time, key) for line in str(text).rstrip("\n").split("\n")]
    return lines


def interval(followers: int, slowdown: float = 1.0) -> float:
    """Return the seconds between two reads of one log.

    :param followers: how many logs are followed in the project, this one included.
    :param slowdown: grows when Cloud Logging refuses reads.
    """
    return min(max(INTERVAL, followers * 60 / READS_A_MINUTE) * slowdown, LONGEST_INTERVAL)


class LogFollower:
    """Prints the lines of a job's log, each once and in order per replica.

    :param calls: for the job's project and region.
    :param job_id: the number at the end of the job's name.
    :param log: where lines go.
    :param clock: counts seconds; replaced in tests.
    """

    def __init__(
        self,
        calls: Calls,
        job_id: str,
        log: Log,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._calls = calls
        self._job_id = job_id
        self._log = log
        self._clock = clock
        self._now = now
        self._next_read = 0.0
        self._slowdown = 1.0
        self._newest: datetime | None = None
        self._seen: dict[str, datetime] = {}
        self._held: list[Line] = []
        self._tail: list[Line] = []
        self._complete = False
        self._behind = False
        self.starts = 0

    def follow(self) -> Steps[None]:
        """Print new lines, if the log was not read a moment ago.

        A log that can't be read is no reason to fail: the job's state decides.
        """
        if self._clock() < self._next_read:
            return
        yield from self._read()
        self._print(until=self._now() - HOLD_BACK)
        followers = yield from self._followers()
        self._next_read = self._clock() + interval(followers, self._slowdown)

    def finish(self) -> Steps[None]:
        """Print the rest of the log of a job that is over, late lines included."""
        for pause in (*LATE_LINES, 0.0):
            yield from self._read()
            for _ in range(CATCH_UP_READS):
                if not self._behind:
                    break
                yield from self._read()
            if self._complete or not pause:
                break
            yield Pause(pause)
        self._print(until=None)

    def replay(self) -> Steps[None]:
        """Print the log of a job that is over from its beginning; the end of it if it is very long."""
        most = REPLAY_PAGES * 1000
        try:
            entries = yield from self._calls.log_entries(self._job_id, newest_first=True, pages=REPLAY_PAGES)
        except RequestError as error:
            self._log.log(logging.WARNING, "The log could not be read: %s", error)
            return
        if len(entries) >= most:
            self._log.log(logging.INFO, "(the last %d lines; the link leads to all of them)", most)
        self._take(entries)
        self._print(until=None)

    def tail(self, replica: str | None, count: int) -> list[str]:
        """Return the last lines that were printed: of one replica, or of all if it printed none."""
        of_replica = [line for line in self._tail if line.replica == replica]
        return [line.text for line in (of_replica or self._tail)[-count:]]

    @property
    def restarts(self) -> int:
        """How often the service started the replicas again, as far as the log was read."""
        return max(0, self.starts - 1)

    def _read(self) -> Steps[None]:
        # Whoever is behind must not read the same full pages again and again.
        overlap = timedelta(0) if self._behind else OVERLAP
        after = self._newest - overlap if self._newest else None
        try:
            entries = yield from self._calls.log_entries(self._job_id, after=after, pages=PAGES_PER_READ)
        except RequestError as error:
            if isinstance(error, RateLimited):
                self._slowdown *= 2
            self._log.log(logging.WARNING, "The log could not be read, will try again: %s", error)
            return
        self._behind = len(entries) >= PAGES_PER_READ * 1000
        self._take(entries)

    def _take(self, entries: Sequence[Mapping[str, Any]]) -> None:
        new = [line for line in lines_of(entries) if line.id not in self._seen]
        for line in new:
            self._seen[line.id] = line.time
            self._newest = max(self._newest or line.time, line.time)
            if line.replica == "service":
                self._complete = self._complete or line.message.startswith(_LAST_WORDS)
                self.starts += line.message == _STARTED
        if self._newest and len(self._seen) > 20_000:
            oldest = self._newest - 2 * OVERLAP
            self._seen = {key: time for key, time in self._seen.items() if time >= oldest}
        self._held += new

    def _print(self, until: datetime | None) -> None:
        # The sort is stable: lines of one moment stay as the service orders them.
        lines = sorted(self._held, key=lambda line: line.time)
        ready = [line for line in lines if until is None or line.time <= until]
        self._held = lines[len(ready) :]
        for line in ready:
            self._log.log(line.level, "%s", line.text)
        self._tail = (self._tail + ready)[-500:]

    def _followers(self) -> Steps[int]:
        """Return how many of our jobs run here now: nobody else knows how many followers there are."""
        try:
            jobs = yield from self._calls.jobs(
                'labels.airflow-key:* AND state="JOB_STATE_RUNNING"', states_only=True, most=300
            )
        except RequestError:
            return 1
        return max(1, len(jobs))


def read_tail(calls: Calls, job: Job, replica: str | None, count: int) -> Steps[list[str]]:
    """Return the last lines of one replica's output, or of the whole log if it printed nothing."""
    try:
        entries = yield from calls.log_entries(job.id, newest_first=True, replica=replica, size=count)
        if not entries and replica is not None:
            entries = yield from calls.log_entries(job.id, newest_first=True, size=count)
    except RequestError as error:
        # The job's own error matters more than its log.
        return [f"(the log could not be read: {error})"]
    return [line.text for line in lines_of(entries)][-count:]
