"""Custom jobs on disk."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_ml_provider.emulator.filters import rfc3339
from airflow_ml_provider.emulator.projects import project_number

_MICROSECOND = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS projects (number TEXT PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    number TEXT NOT NULL,
    region TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL,
    error TEXT,
    deleted INTEGER
);
CREATE INDEX IF NOT EXISTS jobs_by_place ON jobs (number, region, created);
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY,
    number TEXT NOT NULL,
    region TEXT NOT NULL,
    created INTEGER NOT NULL,
    done INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Place:
    """Where a job lives.

    :param number: of its project.
    :param region: e.g. ``us-central1``.
    """

    number: str
    region: str

    @property
    def parent(self) -> str:
        """Its resource name."""
        return f"projects/{self.number}/locations/{self.region}"


@dataclass(frozen=True)
class Operation:
    """A deletion.

    :param created: in nanoseconds since 1970, as ``done``, when it is over.
    """

    id: str
    place: Place
    created: int
    done: int


class JobStore:
    """All jobs of all projects.

    A job's ``error`` is set when it ends, and shown later: what is not shown yet is kept beside it.

    :param folder: where to keep them; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "jobs.sqlite", check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
        with self._database:
            self._database.execute("DELETE FROM jobs WHERE deleted <= ?", (_now(),))
        self._lock = threading.RLock()
        self._created: int = self._database.execute("SELECT ifnull(max(created), 0) FROM jobs").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def learn_project(self, project: str) -> str:
        """Remember a project's id, if this is one, and return its number."""
        number = project_number(project)
        if number != project:
            with self._lock, self._database:
                self._database.execute("INSERT OR IGNORE INTO projects VALUES (?, ?)", (number, project))
        return number

    def project_id(self, number: str) -> str:
        """Return the id of a project, or its number where nobody has told the id."""
        with self._lock:
            row = self._database.execute("SELECT id FROM projects WHERE number = ?", (number,)).fetchone()
        return row[0] if row else number

    def create(self, place: Place, body: dict[str, Any]) -> dict[str, Any]:
        """Add a job and return it, named and dated."""
        with self._lock, self._database:
            self._created = max(self._created + _MICROSECOND, _now())
            job_id = _new_id()
            moment = rfc3339(self._created)
            body = {
                "name": f"{place.parent}/customJobs/{job_id}",
                **body,
                "state": "JOB_STATE_QUEUED",
                "createTime": moment,
                "updateTime": moment,
            }
            self._database.execute(
                "INSERT INTO jobs (id, number, region, created, body) VALUES (?, ?, ?, ?, ?)",
                (job_id, place.number, place.region, self._created, json.dumps(body)),
            )
        return body

    def get(self, place: Place, job_id: str) -> dict[str, Any] | None:
        """Return a job, or None if there is none such at this place."""
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM jobs WHERE id = ? AND number = ? AND region = ? AND ifnull(deleted, ?) > ?",
                (job_id, place.number, place.region, 2**62, _now()),
            ).fetchone()
        return json.loads(row[0]) if row else None

    def newest_first(self, place: Place, before: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield creation time and body of a place's jobs.

        :param before: only those created before, in nanoseconds since 1970.
        """
        while True:
            with self._lock:
                rows = self._database.execute(
                    "SELECT created, body FROM jobs WHERE number = ? AND region = ? AND created < ? "
                    "AND ifnull(deleted, ?) > ? ORDER BY created DESC LIMIT 200",
                    (place.number, place.region, 2**62 if before is None else before, 2**62, _now()),
                ).fetchall()
            for created, text in rows:
                before = created
                yield created, json.loads(text)
            if not rows:
                return

    def unfinished(self, terminal: frozenset[str]) -> list[str]:
        """Return the ids of the jobs that are in none of these states."""
        with self._lock:
            rows = self._database.execute("SELECT id, body FROM jobs WHERE deleted IS NULL").fetchall()
        return [job_id for job_id, text in rows if json.loads(text)["state"] not in terminal]

    def change(self, job_id: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Change a job in place, date the change, and return the job."""
        with self._lock, self._database:
            (text,) = self._database.execute("SELECT body FROM jobs WHERE id = ?", (job_id,)).fetchone()
            body: dict[str, Any] = json.loads(text)
            before = json.dumps(body)
            change(body)
            if json.dumps(body) != before:
                body["updateTime"] = rfc3339(_now())
                self._database.execute("UPDATE jobs SET body = ? WHERE id = ?", (json.dumps(body), job_id))
        return body

    def hold_error(self, job_id: str, error: dict[str, Any]) -> None:
        """Keep a job's error until it is shown."""
        with self._lock, self._database:
            self._database.execute("UPDATE jobs SET error = ? WHERE id = ?", (json.dumps(error), job_id))

    def show_errors(self, job_id: str | None = None) -> None:
        """Show the error that is kept for a job, or for all of them."""
        with self._lock, self._database:
            rows = self._database.execute(
                "SELECT id, error FROM jobs WHERE error IS NOT NULL AND id = ifnull(?, id)", (job_id,)
            ).fetchall()
            for found, text in rows:
                self.change(found, lambda body, text=text: body.update(error=json.loads(text)))  # type: ignore[misc]
                self._database.execute("UPDATE jobs SET error = NULL WHERE id = ?", (found,))

    def delete(self, place: Place, job_id: str, delay: float) -> Operation:
        """Delete a job.

        :param delay: seconds until it is gone and the operation done.
        """
        created = _now()
        operation = Operation(_new_id(), place, created, created + int(delay * 1e9))
        with self._lock, self._database:
            self._database.execute("UPDATE jobs SET deleted = ? WHERE id = ?", (operation.done, job_id))
            self._database.execute(
                "INSERT INTO operations VALUES (?, ?, ?, ?, ?)",
                (operation.id, place.number, place.region, created, operation.done),
            )
        return operation

    def operation(self, place: Place, operation_id: str) -> Operation | None:
        """Return a deletion, or None if there is none such at this place."""
        with self._lock:
            row = self._database.execute(
                "SELECT created, done FROM operations WHERE id = ? AND number = ? AND region = ?",
                (operation_id, place.number, place.region),
            ).fetchone()
        return Operation(operation_id, place, *row) if row else None


def is_over(operation: Operation) -> bool:
    """Tell whether a deletion is done."""
    return operation.done <= _now()


def _now() -> int:
    return time.time_ns() // _MICROSECOND * _MICROSECOND


def _new_id() -> str:
    return str(random.randrange(10**18, 9 * 10**18))  # noqa: S311
