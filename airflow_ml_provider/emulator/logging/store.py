"""Log entries of training jobs, on disk."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_ml_provider.emulator.filters import rfc3339
from airflow_ml_provider.emulator.projects import project_number

log = logging.getLogger(__name__)

SEVERITIES = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
# What Python's and others' loggers call them.
_ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL", "ERR": "ERROR", "TRACE": "DEBUG"}
_BATCH = 1000
_FLUSH_SECONDS = 0.2
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# Moved out of a structured line, to the entry's own fields.
# https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
_LABELS = "logging.googleapis.com/labels"
_SPECIAL: dict[str, tuple[str, type]] = {
    "logging.googleapis.com/trace": ("trace", str),
    "logging.googleapis.com/spanId": ("spanId", str),
    "logging.googleapis.com/trace_sampled": ("traceSampled", bool),
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    job TEXT NOT NULL,
    time INTEGER NOT NULL,
    entry TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_job ON entries (job, time, number);
CREATE INDEX IF NOT EXISTS entries_by_time ON entries (time, number);
"""


@dataclass(frozen=True)
class Position:
    """Where a reading stopped: the time and the number of the last entry it saw."""

    time: int
    number: int


class LogStore:
    """All entries of all jobs.

    Lines are written in batches: whoever reads sees every line appended before, whoever kills the process
    loses the last fifth of a second.

    :param folder: where to keep them; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(folder / "entries.sqlite", check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
        self._lock = threading.Lock()
        self._pending: list[tuple[int, str, str, int, str]] = []
        self._number: int = self._database.execute("SELECT ifnull(max(number), 0) FROM entries").fetchone()[0]
        self._time: int = self._database.execute("SELECT ifnull(max(time), 0) FROM entries").fetchone()[0]
        self._closed = threading.Event()
        self._writer = threading.Thread(target=self._write_regularly, name="log-writer", daemon=True)
        self._writer.start()

    def append(
        self,
        job_id: str,
        task_name: str,
        line: str,
        *,
        project: str,
        severity: str = "INFO",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Add one line of output.

        A line that is one JSON object becomes a ``jsonPayload``, with its special fields moved to the entry.

        :param job_id: the job's numeric id.
        :param task_name: the replica, such as ``workerpool0-0``, or ``service``.
        :param line: without its end.
        :param project: id of the job's project.
        :param severity: used unless a JSON line has its own.
        :param labels: the entry's labels.
        """
        entry: dict[str, Any] = {
            "logName": f"projects/{project}/logs/ml.googleapis.com%2F{task_name}",
            "resource": {
                "type": "ml_job",
                "labels": {"job_id": job_id, "project_id": project, "task_name": task_name},
            },
            "severity": severity,
        }
        if labels:
            entry["labels"] = dict(labels)
        structured = _json_object(line)
        if structured is None:
            entry["textPayload"] = line
        else:
            _lift(structured, entry)
        with self._lock:
            if self._closed.is_set():
                log.warning("A line of %s came when the log was closed: %s", task_name, line)
                return
            # Clocks step back; a log does not.
            self._time = max(self._time, time.time_ns())
            self._number += 1
            entry["timestamp"] = entry["receiveTimestamp"] = rfc3339(self._time, digits=9)
            entry["insertId"] = insert_id(self._number)
            self._pending.append((self._number, project, job_id, self._time, json.dumps(entry)))
            if len(self._pending) >= _BATCH:
                self._flush()

    def read(
        self,
        *,
        job_id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: Position | None = None,
        descending: bool = False,
    ) -> Iterator[tuple[Position, str, dict[str, Any]]]:
        """Yield position, project and entry, in order of time, then of insert id.

        :param job_id: of this job alone.
        :param since: from this time on, in nanoseconds since 1970.
        :param until: up to and including this time.
        :param after: beyond this entry, in the order asked for.
        """
        clauses, values = ["1"], list[Any]()
        for clause, value in (("job = ?", job_id), ("time >= ?", since), ("time <= ?", until)):
            if value is not None:
                clauses.append(clause)
                values.append(value)
        order, beyond = ("DESC", "<") if descending else ("ASC", ">")
        while True:
            page_clauses, page_values = list(clauses), list(values)
            if after is not None:
                page_clauses.append(f"(time, number) {beyond} (?, ?)")
                page_values += [after.time, after.number]
            statement = (
                f"SELECT time, number, project, entry FROM entries WHERE {' AND '.join(page_clauses)} "  # noqa: S608
                f"ORDER BY time {order}, number {order} LIMIT {_BATCH}"
            )
            with self._lock:
                self._flush()
                rows = self._database.execute(statement, page_values).fetchall()
            for moment, number, project, text in rows:
                after = Position(moment, number)
                yield after, project, json.loads(text)
            if len(rows) < _BATCH:
                return

    def flush(self) -> None:
        """Write what is pending."""
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Write what is pending and close the file; nothing is kept afterwards."""
        with self._lock:
            if self._closed.is_set():
                return
            self._flush()
            self._closed.set()
        self._writer.join()
        self._database.close()

    def _flush(self) -> None:
        if self._pending:
            with self._database:
                self._database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", self._pending)
            self._pending.clear()

    def _write_regularly(self) -> None:
        while not self._closed.wait(_FLUSH_SECONDS):
            with self._lock:
                if not self._closed.is_set():
                    self._flush()


def insert_id(number: int) -> str:
    """Return an entry's ``insertId``: unique, and in the order of appending."""
    text = ""
    while number:
        number, rest = divmod(number, 36)
        text = _DIGITS[rest] + text
    return text.rjust(13, "0")


def belongs(project: str, name: str) -> bool:
    """Tell whether a project is the one that a caller names by id or by number."""
    return name in (project, project_number(project))


def _json_object(line: str) -> dict[str, Any] | None:
    if not (line.lstrip()[:1] == "{" and line.rstrip()[-1:] == "}"):
        return None
    try:
        value = json.loads(line, parse_constant=str)
        # Half a surrogate pair is valid in JSON and cannot be sent.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lift(structured: dict[str, Any], entry: dict[str, Any]) -> None:
    severity = structured.get("severity")
    if isinstance(severity, str):
        name = _ALIASES.get(severity.upper(), severity.upper())
        if name in SEVERITIES:
            entry["severity"] = name
            del structured["severity"]
    labels = structured.get(_LABELS)
    if isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()):
        entry["labels"] = {**entry.get("labels", {}), **labels}
        del structured[_LABELS]
    for name, (target, kind) in _SPECIAL.items():
        if isinstance(structured.get(name), kind):
            entry[target] = structured.pop(name)
    entry["jsonPayload"] = structured
