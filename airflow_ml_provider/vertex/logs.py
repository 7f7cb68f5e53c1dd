"""Following a job's log in Cloud Logging, within its quota."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow_ml_provider.vertex.client import VertexClient
from airflow_ml_provider.vertex.errors import RequestError
from airflow_ml_provider.vertex.job import parse_time
from airflow_ml_provider.vertex.requests import log_lines

# Cloud Logging allows 60 reads a minute in a whole project, and the limit can't be raised.
SECONDS_BETWEEN_READS = 10.0
# Entries may become visible late and out of order.
OVERLAP = timedelta(minutes=2)
PAGES_PER_READ = 3


class LogFollower:
    """Returns the lines of a job's log that it has not returned before.

    :param client: for the job's project.
    :param job_id: the number at the end of the job's name.
    :param clock: counts seconds; replaced in tests.
    """

    def __init__(self, client: VertexClient, job_id: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._job_id = job_id
        self._clock = clock
        self._next_read = 0.0
        self._newest: datetime | None = None
        self._seen: dict[str, datetime] = {}

    def new_lines(self, *, now: bool = False) -> list[str]:
        """Return new lines, oldest first; none if the log was read a moment ago.

        A log that can't be read is no reason to fail: the job's state decides.

        :param now: whether to read even so.
        """
        if not now and self._clock() < self._next_read:
            return []
        self._next_read = self._clock() + SECONDS_BETWEEN_READS
        after = self._newest - OVERLAP if self._newest else None
        try:
            entries = self._client.log_entries(self._job_id, after=after, pages=PAGES_PER_READ)
        except RequestError as error:
            self._next_read += 5 * SECONDS_BETWEEN_READS
            return [f"(the log could not be read: {error})"]
        return log_lines([entry for entry in entries if self._is_new(entry)])

    def _is_new(self, entry: Mapping[str, Any]) -> bool:
        key = str(entry.get("insertId"))
        if key in self._seen:
            return False
        time = parse_time(entry["timestamp"])
        self._newest = max(self._newest or time, time)
        self._seen[key] = time
        if len(self._seen) > 20_000:
            oldest = self._newest - 2 * OVERLAP
            self._seen = {k: t for k, t in self._seen.items() if t >= oldest}
        return True
