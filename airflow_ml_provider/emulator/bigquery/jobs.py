"""Jobs: started once, run in threads of their own, kept with their outcome.

https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from airflow_ml_provider.emulator.bigquery.catalog import Catalog, TableName
from airflow_ml_provider.emulator.bigquery.extracts import Extracts
from airflow_ml_provider.emulator.bigquery.loads import Loads
from airflow_ml_provider.emulator.bigquery.queries import Outcome, Queries
from airflow_ml_provider.emulator.bigquery.tables import Tables
from airflow_ml_provider.emulator.errors import ApiError

log = logging.getLogger(__name__)

_JOB_ID = re.compile(r"^[A-Za-z0-9_-]{1,1024}$")
_KINDS = ("query", "load", "extract", "copy")
# What would change an answer, and is not there.
_UNSUPPORTED = {
    "query": (
        "tableDefinitions",
        "userDefinedFunctionResources",
        "createSession",
        "connectionProperties",
        "destinationEncryptionConfiguration",
    ),
    "load": ("destinationEncryptionConfiguration",),
    "copy": ("destinationEncryptionConfiguration",),
    "extract": (),
}


class Jobs:
    """Runs jobs.

    :param catalog: keeps them.
    """

    def __init__(
        self, catalog: Catalog, tables: Tables, queries: Queries, loads: Loads, extracts: Extracts
    ) -> None:
        self._catalog = catalog
        self._tables = tables
        self._queries = queries
        self._loads = loads
        self._extracts = extracts
        self._threads: list[threading.Thread] = []
        # Why jobs that run are to stop.
        self._stopping: dict[str, str] = {}
        self._running: set[str] = set()
        self._stop_left_overs()

    def close(self) -> None:
        """Stop the jobs that run, a moment after what is brief has ended."""
        for thread in self._threads:
            thread.join(1)
        for name in list(self._running):
            self._stop(name, "The emulator was stopped while the job ran.")
        for thread in self._threads:
            thread.join()

    def start(self, project: str, body: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
        """Start a job, or answer a dry run.

        :param body: a ``Job``.
        :param content: of an upload.
        :return: the job.
        :raises ApiError: 409 if the id is taken; 400 if no such job can be.
        """
        reference = body.get("jobReference", {})
        config = body.get("configuration", {})
        kinds = [kind for kind in _KINDS if kind in config]
        job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        if not _JOB_ID.match(job_id):
            raise ApiError(400, f'Invalid job ID "{job_id}".', reason="invalid")
        if len(kinds) != 1:
            raise ApiError(400, "Required parameter is missing: configuration of one job", reason="required")
        (kind,) = kinds
        for name in _UNSUPPORTED[kind]:
            if config[kind].get(name):
                raise ApiError(400, f"The emulator does not know {name} of a {kind} job.", reason="invalid")
        location = reference.get("location") or self._location(project, kind, config[kind])
        now = millis(time.time())
        resource: dict[str, Any] = {
            "kind": "bigquery#job",
            "etag": uuid.uuid4().hex,
            "id": f"{project}:{location}.{job_id}",
            "selfLink": f"https://bigquery.googleapis.com/bigquery/v2/projects/{project}/jobs/{job_id}?location={location}",
            "jobReference": {"projectId": project, "jobId": job_id, "location": location},
            "configuration": {**config, "jobType": kind.upper()},
            "status": {"state": "RUNNING"},
            "statistics": {"creationTime": now, "startTime": now},
            "user_email": "emulator@example.com",
        }
        if config.get("dryRun"):
            return self._dry(project, resource, kind, location)
        self._claim(project, location, job_id, resource)
        thread = threading.Thread(target=self._run, args=(project, resource, kind, content), daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()
        # Most jobs are brief; a caller that waits a moment rarely has to ask again.
        thread.join(0.02)
        return self.get(project, job_id, location)

    def _location(self, project: str, kind: str, config: Mapping[str, Any]) -> str:
        """Return where a job runs that does not say it: where its data is."""
        names = []
        for key in ("destinationTable", "sourceTable", "defaultDataset"):
            if config.get(key):
                names.append((config[key].get("projectId", project), config[key].get("datasetId", "")))
        if kind == "query":
            text = config.get("query") or ""
            known = set(self._catalog.datasets(project))
            named = re.findall(r"([A-Za-z0-9_]+)`?\s*\.", text)
            names += [(project, name) for name in named if name in known]
        for owner, name in names:
            try:
                return str(self._catalog.dataset(owner, name).get("location", "US"))
            except ApiError as error:
                if error.code != 404:
                    raise
        return "US"

    def _dry(self, project: str, resource: dict[str, Any], kind: str, location: str) -> dict[str, Any]:
        resource["status"]["state"] = "DONE"
        resource["configuration"]["dryRun"] = True
        del resource["jobReference"]["jobId"]
        if kind == "query":
            checked = self._queries.check(project, resource["configuration"]["query"], location)
            resource["statistics"] |= _query_statistics(checked)
            resource["statistics"]["query"]["schema"] = {"fields": checked.fields}
        return resource

    def _claim(self, project: str, location: str, job_id: str, resource: Mapping[str, Any]) -> None:
        with self._catalog.lock:
            sql = "SELECT 1 FROM jobs WHERE project = ? AND location = ? AND id = ?"
            if self._catalog.db.execute(sql, (project, location, job_id)).fetchone():
                message = f"Already Exists: Job {project}:{location}.{job_id}"
                raise ApiError(409, message, reason="duplicate")
            row = (project, location, job_id, time.time(), json.dumps(resource))
            self._catalog.db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?)", row)

    def _run(self, project: str, resource: dict[str, Any], kind: str, content: bytes | None) -> None:
        name, timer = resource["id"], None
        self._running.add(name)
        limit = int(resource["configuration"].get("jobTimeoutMs") or 0)
        if limit:
            why = f"Job execution was cancelled: Job timed out after {limit / 1000:g}s"
            timer = threading.Timer(limit / 1000, self._stop, args=(name, why))
            timer.start()
        try:
            with self._tables.working(name):
                if name in self._stopping:
                    raise ApiError(499, self._stopping[name], reason="stopped")
                self._work(project, resource, kind, content)
                if name in self._stopping:
                    raise ApiError(499, self._stopping[name], reason="stopped")
        except ApiError as error:
            problem = {"reason": error.reason, "message": self._stopping.get(name, error.message)}
            if error.location:
                problem["location"] = error.location
            resource["status"] |= {"errorResult": problem, "errors": [problem]}
        except Exception as error:
            # Not internalError: Google's clients would try again for minutes what fails each time.
            log.exception("job %s failed in the emulator", name)
            problem = {
                "reason": "invalid",
                "message": f"The emulator failed: {type(error).__name__}: {error}",
            }
            resource["status"] |= {"errorResult": problem, "errors": [problem]}
        finally:
            if timer is not None:
                timer.cancel()
            self._stopping.pop(name, None)
            self._running.discard(name)
        resource["status"]["state"] = "DONE"
        resource["statistics"]["endTime"] = millis(time.time())
        self._save(resource)

    def _work(self, project: str, resource: dict[str, Any], kind: str, content: bytes | None) -> None:
        config, statistics = resource["configuration"][kind], resource["statistics"]
        if kind == "query":
            outcome = self._queries.run(project, config, resource["jobReference"]["location"])
            statistics |= _query_statistics(outcome)
            if outcome.destination is not None and (outcome.kind != "SCRIPT" or outcome.result):
                config["destinationTable"] = outcome.destination.reference
        elif kind == "load":
            loaded = self._loads.load(config, content)
            statistics["load"] = {
                "inputFiles": str(loaded.files),
                "inputFileBytes": str(loaded.size),
                "outputRows": str(loaded.rows),
                "badRecords": str(loaded.bad),
            }
        elif kind == "copy":
            self._loads.copy(config)
        else:
            counts = [str(count) for count in self._extracts.extract(config)]
            statistics["extract"] = {"destinationUriFileCounts": counts}

    def _stop(self, name: str, why: str) -> None:
        """Have a job stop; a query that is still being planned has to be told again."""
        self._stopping[name] = why

        def insist() -> None:
            while name in self._stopping:
                self._tables.interrupt(name)
                time.sleep(0.05)

        threading.Thread(target=insist, daemon=True).start()

    def _save(self, resource: Mapping[str, Any]) -> None:
        reference = resource["jobReference"]
        key = (reference["projectId"], reference["location"], reference["jobId"])
        with self._catalog.lock:
            self._catalog.db.execute(
                "UPDATE jobs SET resource = ? WHERE project = ? AND location = ? AND id = ?",
                (json.dumps(resource), *key),
            )

    def get(self, project: str, job_id: str, location: str | None) -> dict[str, Any]:
        """Return a job.

        :raises ApiError: 404.
        """
        where = "project = ? AND id = ?" + (" AND location = ?" if location else "")
        key = (project, job_id, location) if location else (project, job_id)
        with self._catalog.lock:
            row = self._catalog.db.execute(f"SELECT resource FROM jobs WHERE {where}", key).fetchone()
        if row is None:
            raise ApiError(404, f"Not found: Job {project}:{location or 'US'}.{job_id}", reason="notFound")
        found: dict[str, Any] = json.loads(row[0])
        return found

    def list(
        self, project: str, states: set[str], earliest: int, latest: int, start: int, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return jobs, the newest first, and whether there are more.

        :param states: in small letters; empty for all.
        :param earliest: least creation time, in milliseconds since the epoch.
        :param latest: greatest creation time.
        """
        with self._catalog.lock:
            rows = self._catalog.db.execute(
                "SELECT resource FROM jobs WHERE project = ? AND created >= ? AND created <= ? "
                "ORDER BY created DESC, id",
                (project, earliest / 1000, latest / 1000),
            ).fetchall()
        found = [json.loads(row[0]) for row in rows]
        found = [job for job in found if not states or job["status"]["state"].lower() in states]
        return found[start : start + limit], len(found) > start + limit

    def cancel(self, project: str, job_id: str, location: str | None) -> dict[str, Any]:
        """Ask a job to stop; one that is done stays as it is.

        :raises ApiError: 404.
        """
        job = self.get(project, job_id, location)
        if job["status"]["state"] != "DONE":
            self._stop(job["id"], "Job execution was cancelled: User requested cancellation")
        return self.get(project, job_id, location)

    def delete(self, project: str, job_id: str, location: str | None) -> None:
        """Forget a job that is done.

        :raises ApiError: 404, or 400 for one that runs.
        """
        job = self.get(project, job_id, location)
        if job["status"]["state"] != "DONE":
            raise ApiError(400, f"Job {job['id']} is running; cancel it first.", reason="invalid")
        with self._catalog.lock:
            self._catalog.db.execute("DELETE FROM jobs WHERE project = ? AND id = ?", (project, job_id))

    def finished(self, project: str, job_id: str, location: str | None, timeout: float) -> dict[str, Any]:
        """Return a job once it is done, or as it is after a time.

        :param timeout: in seconds.
        :raises ApiError: 404.
        """
        deadline = time.monotonic() + timeout
        while True:
            job = self.get(project, job_id, location)
            if job["status"]["state"] == "DONE" or time.monotonic() >= deadline:
                return job
            time.sleep(0.02)

    def _stop_left_overs(self) -> None:
        """End jobs that ran when an emulator before this one was stopped."""
        with self._catalog.lock:
            rows = self._catalog.db.execute("SELECT resource FROM jobs").fetchall()
        for (text,) in rows:
            job = json.loads(text)
            if job["status"]["state"] != "DONE":
                problem = {"reason": "stopped", "message": "The emulator was stopped while the job ran."}
                job["status"] = {"state": "DONE", "errorResult": problem, "errors": [problem]}
                self._save(job)


def _query_statistics(outcome: Outcome) -> dict[str, Any]:
    query: dict[str, Any] = {
        "statementType": outcome.kind,
        "totalBytesProcessed": "0",
        "totalBytesBilled": "0",
        "cacheHit": False,
        "referencedTables": [name.reference for name in outcome.referenced],
    }
    if outcome.changes is not None:
        query["numDmlAffectedRows"] = str(sum(outcome.changes.values()))
        query["dmlStats"] = {name: str(count) for name, count in outcome.changes.items()}
    if outcome.operation:
        query["ddlOperationPerformed"] = outcome.operation
        if outcome.destination is not None:
            query["ddlTargetTable"] = outcome.destination.reference
    return {"totalBytesProcessed": "0", "query": query}


def has_result(job: Mapping[str, Any]) -> bool:
    """Return whether a query job has rows to show."""
    kind = job["statistics"].get("query", {}).get("statementType")
    return kind in ("SELECT", "SCRIPT") and "destinationTable" in job["configuration"]["query"]


def result_of(job: Mapping[str, Any]) -> TableName:
    """Return the table with a query job's result."""
    return TableName.of(job["configuration"]["query"]["destinationTable"])


def millis(seconds: float) -> str:
    """Return a time as the REST API writes it."""
    return str(int(seconds * 1000))
