"""The REST API: datasets, tables, jobs and their results.

https://cloud.google.com/bigquery/docs/reference/rest
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, State, TableName
from airflow_ml_provider.emulator.bigquery.engine import ANONYMOUS, Engine
from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Handler, Request, Response

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.storage.store import ObjectStore

log = logging.getLogger(__name__)

_JOB_ID = re.compile(r"^[A-Za-z0-9_-]{1,1024}$")
_RANGE = re.compile(r"^bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")
_NAME = re.compile(r"^[A-Za-z0-9_]{1,1024}$")
_PAGE = 10_000
_DATASET_FIELDS = {"description", "friendlyName", "labels", "defaultTableExpirationMs", "location", "access"}
_TABLE_FIELDS = {"description", "friendlyName", "labels", "expirationTime"}


class BigQuery:
    """Answers the REST API.

    :param folder: of everything it keeps.
    :param store: Cloud Storage, for loads and extracts.
    :param project: the emulator's own; every project is answered.
    """

    legacy_errors = True

    def __init__(self, folder: Path, store: ObjectStore, *, project: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.api = Api("bigquery", "v2")
        self._catalog = Catalog(folder / "catalog.db")
        self._engine = Engine(folder, self._catalog, store)
        self._threads: list[threading.Thread] = []
        self._uploads: dict[str, tuple[dict[str, Any], bytearray]] = {}
        self._stop_left_overs()
        self.handlers: Mapping[str, Handler] = {
            "bigquery.datasets.insert": self._insert_dataset,
            "bigquery.datasets.get": self._get_dataset,
            "bigquery.datasets.list": self._list_datasets,
            "bigquery.datasets.patch": self._patch_dataset,
            "bigquery.datasets.update": self._patch_dataset,
            "bigquery.datasets.delete": self._delete_dataset,
            "bigquery.tables.insert": self._insert_table,
            "bigquery.tables.get": self._get_table,
            "bigquery.tables.list": self._list_tables,
            "bigquery.tables.delete": self._delete_table,
            "bigquery.tabledata.list": self._list_rows,
            "bigquery.jobs.insert": self._insert_job,
            "bigquery.jobs.get": self._get_job,
            "bigquery.jobs.list": self._list_jobs,
            "bigquery.jobs.cancel": self._cancel_job,
            "bigquery.jobs.query": self._query,
            "bigquery.jobs.getQueryResults": self._results,
        }

    def undocumented(self, request: Request) -> Response | None:
        """Every path is in the API's document."""
        return None

    def close(self) -> None:
        """Let the jobs that run finish, and close."""
        for thread in self._threads:
            thread.join()
        self._engine.close()
        self._catalog.close()

    # --- datasets

    def _insert_dataset(self, call: Call) -> dict[str, Any]:
        body, project = call.json(), call.params["projectsId"]
        name = body.get("datasetReference", {}).get("datasetId", "")
        if not _NAME.match(name):
            raise ApiError(400, f'Invalid dataset ID "{name}".', reason="invalid")
        fields = {key: value for key, value in body.items() if key in _DATASET_FIELDS}
        self._catalog.put_dataset(project, name, fields, new=True)
        return self._dataset(project, name)

    def _get_dataset(self, call: Call) -> dict[str, Any]:
        return self._dataset(call.params["projectsId"], call.params["datasetsId"])

    def _list_datasets(self, call: Call) -> dict[str, Any]:
        project = call.params["projectsId"]
        names = [name for name in self._catalog.datasets(project) if name != ANONYMOUS]
        items = [
            {
                "kind": "bigquery#dataset",
                "id": f"{project}:{name}",
                "datasetReference": {"projectId": project, "datasetId": name},
                "location": self._catalog.dataset(project, name).get("location", "US"),
            }
            for name in names
        ]
        return {"kind": "bigquery#datasetList", "datasets": items}

    def _patch_dataset(self, call: Call) -> dict[str, Any]:
        project, name = call.params["projectsId"], call.params["datasetsId"]
        old = self._catalog.dataset(project, name)
        old.pop("created")
        new = {key: value for key, value in call.json().items() if key in _DATASET_FIELDS}
        self._catalog.put_dataset(project, name, {**old, **new}, new=False)
        return self._dataset(project, name)

    def _delete_dataset(self, call: Call) -> Response:
        contents = bool(call.params.get("deleteContents", False))
        self._catalog.delete_dataset(call.params["projectsId"], call.params["datasetsId"], contents)
        return Response(204)

    def _dataset(self, project: str, name: str) -> dict[str, Any]:
        found = self._catalog.dataset(project, name)
        created = _millis(found.pop("created"))
        return {
            "kind": "bigquery#dataset",
            "id": f"{project}:{name}",
            "datasetReference": {"projectId": project, "datasetId": name},
            "creationTime": created,
            "lastModifiedTime": created,
            "location": "US",
            **found,
        }

    # --- tables

    def _insert_table(self, call: Call) -> dict[str, Any]:
        body = call.json()
        name = TableName(
            call.params["projectsId"],
            call.params["datasetsId"],
            body.get("tableReference", {}).get("tableId", ""),
        )
        self._catalog.dataset(name.project, name.dataset)
        for unsupported in ("materializedView", "externalDataConfiguration", "snapshotDefinition"):
            if unsupported in body:
                raise ApiError(
                    400, f"The emulator does not know tables with {unsupported}.", reason="invalid"
                )
        if self._catalog.table(name) is not None:
            raise ApiError(409, f"Already Exists: Table {name}", reason="duplicate")
        if "view" in body:
            if body["view"].get("useLegacySql", True):
                raise ApiError(
                    400, "The emulator does not know legacy SQL: set useLegacySql to false", reason="invalid"
                )
            self._engine.create_view(name.project, name, body["view"].get("query", ""))
            return self._table(name)
        fields = types.normalized(body.get("schema", {}).get("fields", []))
        more = {key: value for key, value in body.items() if key in _TABLE_FIELDS}
        self._engine.create(name, fields, more)
        return self._table(name)

    def _get_table(self, call: Call) -> dict[str, Any]:
        return self._table(_table_name(call))

    def _list_tables(self, call: Call) -> dict[str, Any]:
        project, dataset = call.params["projectsId"], call.params["datasetsId"]
        self._catalog.dataset(project, dataset)
        names = [TableName(project, dataset, name) for name in self._catalog.tables(project, dataset)]
        items = [
            {
                "kind": "bigquery#table",
                "id": str(name),
                "tableReference": name.reference,
                "type": "TABLE",
            }
            for name in names
        ]
        return {"kind": "bigquery#tableList", "tables": items, "totalItems": len(items)}

    def _delete_table(self, call: Call) -> Response:
        self._catalog.delete_table(_table_name(call))
        return Response(204)

    def _table(self, name: TableName) -> dict[str, Any]:
        found = self._catalog.require_table(name)
        state = self._catalog.state(name)
        created = _millis(found.pop("created"))
        return {
            "kind": "bigquery#table",
            "id": str(name),
            "tableReference": name.reference,
            "type": "VIEW" if "view" in found else "TABLE",
            "schema": {"fields": list(state.schema)},
            "numRows": str(state.rows),
            "numBytes": str(state.rows * 8 * len(state.schema)),
            "creationTime": created,
            "lastModifiedTime": created,
            "location": self._catalog.dataset(name.project, name.dataset).get("location", "US"),
            **found,
        }

    def _list_rows(self, call: Call) -> dict[str, Any]:
        state = self._catalog.state(_table_name(call))
        start = int(call.params.get("pageToken") or call.params.get("startIndex") or 0)
        return {"kind": "bigquery#tableDataList", **self._page(call, state, start)}

    def _page(self, call: Call, state: State, start: int) -> dict[str, Any]:
        size = min(int(call.params.get("maxResults", _PAGE)), _PAGE)
        micros = bool(call.params.get("formatOptions.useInt64Timestamp", False))
        rows = self._engine.rows(state, start, size)
        shown = [
            {"f": [types.cell(f, v, micros=micros) for f, v in zip(state.schema, row, strict=True)]}
            for row in rows
        ]
        page: dict[str, Any] = {"totalRows": str(state.rows)}
        if shown:
            page["rows"] = shown
        if start + len(rows) < state.rows and rows:
            page["pageToken"] = str(start + len(rows))
        return page

    # --- jobs

    def _insert_job(self, call: Call) -> Response | dict[str, Any]:
        project = call.params.get("projectId") or call.params["projectsId"]
        if not call.upload:
            return self._start(project, call.json(), None)
        if "upload_id" in call.params:
            return self._continue_upload(call, project)
        kind = call.params.get("uploadType")
        if kind == "multipart":
            return self._start(project, *_multipart(call))
        if kind == "resumable":
            upload_id = uuid.uuid4().hex
            self._uploads[upload_id] = (call.json(), bytearray())
            location = f"{call.base_url}/upload/bigquery/v2/projects/{project}/jobs"
            return Response(200, b"", {"Location": f"{location}?uploadType=resumable&upload_id={upload_id}"})
        raise ApiError(400, f"Invalid upload type {kind!r}.", reason="invalid", location="uploadType")

    def _continue_upload(self, call: Call, project: str) -> Response | dict[str, Any]:
        """Take a part of a file that is loaded: https://cloud.google.com/bigquery/docs/reference/api-uploads."""
        upload_id = str(call.params["upload_id"])
        if upload_id not in self._uploads:
            raise ApiError(
                404, "Upload session not found: it never existed, is finished, or was cut by a restart."
            )
        body, received = self._uploads[upload_id]
        found = _RANGE.match(call.headers.get("Content-Range") or "bytes 0-0/*")
        if not found:
            raise ApiError(
                400, f"Failed to parse Content-Range: {call.headers['Content-Range']}", reason="invalid"
            )
        first, total = found.group(1), found.group(3)
        data = call.stream.read()
        if first is not None and call.headers.get("Content-Range"):
            if int(first) > len(received):
                raise ApiError(400, f"{len(received)} bytes were received, not {first}.", reason="invalid")
            received[int(first) :] = data
        elif data:
            received[:] = data
            total = str(len(data))
        if total == "*" or len(received) < int(total):
            headers = {"Range": f"bytes=0-{len(received) - 1}"} if received else {}
            return Response(308, b"", headers)
        del self._uploads[upload_id]
        return self._start(project, body, bytes(received))

    def _start(self, project: str, body: Mapping[str, Any], content: bytes | None) -> dict[str, Any]:
        reference = body.get("jobReference", {})
        job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
        location = reference.get("location") or "US"
        config = body.get("configuration", {})
        kinds = [kind for kind in ("query", "load", "extract", "copy") if kind in config]
        if not _JOB_ID.match(job_id):
            raise ApiError(400, f'Invalid job ID "{job_id}".', reason="invalid")
        if len(kinds) != 1:
            raise ApiError(400, "Required parameter is missing: configuration of one job", reason="required")
        now = _millis(time.time())
        resource: dict[str, Any] = {
            "kind": "bigquery#job",
            "id": f"{project}:{location}.{job_id}",
            "jobReference": {"projectId": project, "jobId": job_id, "location": location},
            "configuration": {**config, "jobType": kinds[0].upper()},
            "status": {"state": "RUNNING"},
            "statistics": {"creationTime": now, "startTime": now},
            "user_email": "emulator@example.com",
        }
        if config.get("dryRun"):
            checked = self._engine.check(project, config["query"])
            resource["status"]["state"] = "DONE"
            resource["statistics"] |= {
                "totalBytesProcessed": "0",
                "query": {"statementType": checked["kind"], "schema": {"fields": checked["schema"]}},
            }
            return resource
        self._claim(project, location, job_id, resource)
        thread = threading.Thread(target=self._run, args=(project, resource, kinds[0], content), daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()
        # Most jobs are brief; a caller that waits a moment rarely has to ask again.
        thread.join(0.02)
        return self._job(project, job_id, location)

    def _claim(self, project: str, location: str, job_id: str, resource: Mapping[str, Any]) -> None:
        with self._catalog.lock:
            sql = "SELECT 1 FROM jobs WHERE project = ? AND location = ? AND id = ?"
            if self._catalog.db.execute(sql, (project, location, job_id)).fetchone():
                message = f"Already Exists: Job {project}:{location}.{job_id}"
                raise ApiError(409, message, reason="duplicate")
            row = (project, location, job_id, time.time(), json.dumps(resource))
            self._catalog.db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?)", row)

    def _run(self, project: str, resource: dict[str, Any], kind: str, content: bytes | None) -> None:
        config, statistics = resource["configuration"][kind], resource["statistics"]
        try:
            if kind == "query":
                outcome = self._engine.query(project, config)
                statistics["query"] = {"statementType": outcome["kind"], "totalBytesProcessed": "0"}
                statistics["totalBytesProcessed"] = "0"
                if "affected" in outcome:
                    statistics["query"]["numDmlAffectedRows"] = str(outcome["affected"])
                if outcome["destination"] is not None:
                    config["destinationTable"] = outcome["destination"].reference
            elif kind == "load":
                statistics["load"] = {"outputRows": str(self._engine.load(config, content))}
            elif kind == "copy":
                self._engine.copy(config)
            else:
                counts = [str(count) for count in self._engine.extract(config)]
                statistics["extract"] = {"destinationUriFileCounts": counts}
        except ApiError as error:
            problem = {"reason": error.reason, "message": error.message}
            if error.location:
                problem["location"] = error.location
            resource["status"] |= {"errorResult": problem, "errors": [problem]}
        except Exception as error:
            # Not internalError: Google's clients would try again for minutes what fails each time.
            log.exception("job %s failed in the emulator", resource["id"])
            problem = {
                "reason": "invalid",
                "message": f"The emulator failed: {type(error).__name__}: {error}",
            }
            resource["status"] |= {"errorResult": problem, "errors": [problem]}
        resource["status"]["state"] = "DONE"
        statistics["endTime"] = _millis(time.time())
        self._save(resource)

    def _save(self, resource: Mapping[str, Any]) -> None:
        reference = resource["jobReference"]
        key = (reference["projectId"], reference["location"], reference["jobId"])
        with self._catalog.lock:
            self._catalog.db.execute(
                "UPDATE jobs SET resource = ? WHERE project = ? AND location = ? AND id = ?",
                (json.dumps(resource), *key),
            )

    def _job(self, project: str, job_id: str, location: str | None) -> dict[str, Any]:
        where = "project = ? AND id = ?" + (" AND location = ?" if location else "")
        key = (project, job_id, location) if location else (project, job_id)
        with self._catalog.lock:
            row = self._catalog.db.execute(f"SELECT resource FROM jobs WHERE {where}", key).fetchone()  # noqa: S608
        if row is None:
            raise ApiError(404, f"Not found: Job {project}:{location or 'US'}.{job_id}", reason="notFound")
        found: dict[str, Any] = json.loads(row[0])
        return found

    def _get_job(self, call: Call) -> dict[str, Any]:
        return self._job(call.params["projectsId"], call.params["jobsId"], call.params.get("location"))

    def _list_jobs(self, call: Call) -> dict[str, Any]:
        with self._catalog.lock:
            rows = self._catalog.db.execute(
                "SELECT resource FROM jobs WHERE project = ? ORDER BY created DESC LIMIT ?",
                (call.params["projectsId"], int(call.params.get("maxResults", 50))),
            ).fetchall()
        jobs = [json.loads(row[0]) for row in rows]
        return {
            "kind": "bigquery#jobList",
            "jobs": [{**job, "state": job["status"]["state"]} for job in jobs],
        }

    def _cancel_job(self, call: Call) -> dict[str, Any]:
        job = self._job(call.params["projectsId"], call.params["jobsId"], call.params.get("location"))
        return {"kind": "bigquery#jobCancelResponse", "job": job}

    def _query(self, call: Call) -> dict[str, Any]:
        body = call.json()
        project = call.params["projectsId"]
        names = ("query", "defaultDataset", "useLegacySql", "queryParameters", "createSession")
        config = {name: body[name] for name in names if name in body}
        job = self._start(project, {"configuration": {"query": config, "dryRun": bool(body.get("dryRun"))},
                                    "jobReference": {"location": body.get("location")}}, None)  # fmt: skip
        reference = job["jobReference"]
        return {
            "kind": "bigquery#queryResponse",
            **self._answer(call, project, reference["jobId"], reference["location"], 10.0),
        }

    def _results(self, call: Call) -> dict[str, Any]:
        params = call.params
        timeout = int(params.get("timeoutMs", 10_000)) / 1000
        answer = self._answer(
            call, params["projectsId"], params["queriesId"], params.get("location"), timeout
        )
        return {"kind": "bigquery#getQueryResultsResponse", **answer}

    def _answer(
        self, call: Call, project: str, job_id: str, location: str | None, timeout: float
    ) -> dict[str, Any]:
        deadline = time.monotonic() + min(timeout, 60)
        while True:
            job = self._job(project, job_id, location)
            if job["status"]["state"] == "DONE" or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        answer: dict[str, Any] = {"jobReference": job["jobReference"]}
        if job["status"]["state"] != "DONE":
            return {**answer, "jobComplete": False}
        problem = job["status"].get("errorResult")
        if problem:
            code = {"notFound": 404, "duplicate": 409}.get(problem["reason"], 400)
            raise ApiError(
                code, problem["message"], reason=problem["reason"], location=problem.get("location")
            )
        answer |= {"jobComplete": True, "totalBytesProcessed": "0", "cacheHit": False, "totalRows": "0"}
        target = job["configuration"]["query"].get("destinationTable")
        if "numDmlAffectedRows" in job["statistics"]["query"]:
            answer["numDmlAffectedRows"] = job["statistics"]["query"]["numDmlAffectedRows"]
        if target is None or job["statistics"]["query"]["statementType"] != "SELECT":
            return {**answer, "schema": {"fields": []}}
        state = self._catalog.state(TableName.of(target))
        start = int(call.params.get("pageToken") or call.params.get("startIndex") or 0)
        return {**answer, "schema": {"fields": list(state.schema)}, **self._page(call, state, start)}

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


def _table_name(call: Call) -> TableName:
    return TableName(call.params["projectsId"], call.params["datasetsId"], call.params["tablesId"])


def _multipart(call: Call) -> tuple[dict[str, Any], bytes]:
    if call.params.get("uploadType") != "multipart":
        raise ApiError(
            501, f"The emulator does not implement uploadType={call.params.get('uploadType')} here."
        )
    head = f"Content-Type: {call.headers.get('Content-Type')}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + call.stream.read())
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if len(parts) != 2:
        raise ApiError(400, "Malformed multipart body: two parts expected.", reason="badContent")
    config, content = (part.get_payload(decode=True) for part in parts)
    assert isinstance(config, bytes)
    assert isinstance(content, bytes)
    return call.message(config), content


def _millis(seconds: float) -> str:
    return str(int(seconds * 1000))
