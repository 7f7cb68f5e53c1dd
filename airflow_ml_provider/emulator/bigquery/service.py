"""The REST API: datasets, tables, jobs and their results.

https://cloud.google.com/bigquery/docs/reference/rest
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, State, TableName
from airflow_ml_provider.emulator.bigquery.extracts import Extracts
from airflow_ml_provider.emulator.bigquery.jobs import Jobs, has_result, millis, result_of
from airflow_ml_provider.emulator.bigquery.loads import Loads
from airflow_ml_provider.emulator.bigquery.queries import Queries
from airflow_ml_provider.emulator.bigquery.restrictions import require_name, require_partition_field
from airflow_ml_provider.emulator.bigquery.streaming import Streaming
from airflow_ml_provider.emulator.bigquery.tables import Tables
from airflow_ml_provider.emulator.bigquery.uploads import Uploads
from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Handler, Request, Response

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.storage.store import ObjectStore

_NAME = re.compile(r"^[A-Za-z0-9_]{1,1024}$")
_PAGE = 10_000
_DATASET_FIELDS = {"description", "friendlyName", "labels", "defaultTableExpirationMs", "location", "access"}
_TABLE_FIELDS = {"description", "friendlyName", "labels", "expirationTime", "clustering"}
_TABLE_FIELDS |= {"timePartitioning", "rangePartitioning"}
_NO_TABLES = (
    "materializedView",
    "externalDataConfiguration",
    "snapshotDefinition",
    "cloneDefinition",
    "biglakeConfiguration",
)
# Of a query request, what is a job's own and what is the query's.
_QUERY_FIELDS = frozenset(
    {"query", "defaultDataset", "useLegacySql", "queryParameters", "parameterMode", "createSession"}
    | {"maximumBytesBilled", "useQueryCache", "connectionProperties"}
)
_JOB_FIELDS = ("labels", "jobTimeoutMs", "dryRun")


class BigQuery:
    """Answers the REST API.

    :param folder: of everything it keeps.
    :param store: Cloud Storage, for loads and extracts.
    :param project: the emulator's own; every project is answered.
    """

    legacy_errors = True

    def __init__(self, folder: Path, store: ObjectStore, *, project: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.api = Api("bigquery", "v2", numbers_as_text=True)
        self._catalog = Catalog(folder / "catalog.db")
        self._tables = Tables(folder, self._catalog)
        extracts = Extracts(self._catalog, self._tables, store)
        self._queries = Queries(self._catalog, self._tables, extracts)
        loads = Loads(self._catalog, self._tables, store)
        self._jobs = Jobs(self._catalog, self._tables, self._queries, loads, extracts)
        self._uploads = Uploads(self._jobs)
        self._streaming = Streaming(self._catalog, self._tables)
        self._requests: dict[tuple[str, str], dict[str, Any]] = {}
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
            "bigquery.tables.patch": self._patch_table,
            "bigquery.tables.update": self._patch_table,
            "bigquery.tables.delete": self._delete_table,
            "bigquery.tabledata.list": self._list_rows,
            "bigquery.tabledata.insertAll": self._insert_rows,
            "bigquery.jobs.insert": self._insert_job,
            "bigquery.jobs.get": self._get_job,
            "bigquery.jobs.list": self._list_jobs,
            "bigquery.jobs.cancel": self._cancel_job,
            "bigquery.jobs.delete": self._delete_job,
            "bigquery.jobs.query": self._query,
            "bigquery.jobs.getQueryResults": self._results,
        }

    def undocumented(self, request: Request) -> Response | None:
        """Every path is in the API's document."""
        return None

    def close(self) -> None:
        """Let the jobs that run finish, and close."""
        self._jobs.close()
        self._tables.close()
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
        names = [name for name in self._catalog.datasets(project) if call.params.get("all") or name[0] != "_"]
        page, more = _page(call, names)
        items = []
        for name in page:
            found = self._dataset(project, name)
            kept = ("id", "datasetReference", "location", "friendlyName", "labels")
            items.append({"kind": "bigquery#dataset", **{key: found[key] for key in kept if key in found}})
        return {"kind": "bigquery#datasetList", "datasets": items, **more}

    def _patch_dataset(self, call: Call) -> dict[str, Any]:
        project, name = call.params["projectsId"], call.params["datasetsId"]
        old = self._catalog.dataset(project, name)
        old.pop("created")
        new = {key: value for key, value in call.json().items() if key in _DATASET_FIELDS}
        if new.get("location", old.get("location", "US")) != old.get("location", "US"):
            raise ApiError(400, "A dataset's location can't be changed.", reason="invalid")
        self._catalog.put_dataset(project, name, {**old, **new}, new=False)
        return self._dataset(project, name)

    def _delete_dataset(self, call: Call) -> Response:
        contents = bool(call.params.get("deleteContents", False))
        self._catalog.delete_dataset(call.params["projectsId"], call.params["datasetsId"], contents)
        return Response(204)

    def _dataset(self, project: str, name: str) -> dict[str, Any]:
        found = self._catalog.dataset(project, name)
        created = millis(found.pop("created"))
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
        require_name(name)
        self._catalog.dataset(name.project, name.dataset)
        for unsupported in _NO_TABLES:
            if unsupported in body:
                raise ApiError(
                    400, f"The emulator does not know tables with {unsupported}.", reason="invalid"
                )
        if self._catalog.table(name) is not None:
            raise ApiError(409, f"Already Exists: Table {name}", reason="duplicate")
        more = _settings(body)
        if "view" in body:
            if body["view"].get("useLegacySql", True):
                raise ApiError(
                    400, "The emulator does not know legacy SQL: set useLegacySql to false", reason="invalid"
                )
            self._queries.create_view(name.project, name, body["view"].get("query", ""), more)
            return self._table(name)
        fields = types.normalized(body.get("schema", {}).get("fields", []))
        self._tables.create(name, fields, more)
        return self._table(name)

    def _get_table(self, call: Call) -> dict[str, Any]:
        return self._table(_table_name(call))

    def _list_tables(self, call: Call) -> dict[str, Any]:
        project, dataset = call.params["projectsId"], call.params["datasetsId"]
        self._catalog.dataset(project, dataset)
        names = [TableName(project, dataset, name) for name in self._catalog.tables(project, dataset)]
        page, more = _page(call, names)
        kept = {*_TABLE_FIELDS, "id", "tableReference", "type", "creationTime"} - {"description"}
        items = []
        for name in page:
            found = self._table(name)
            items.append({"kind": "bigquery#table", **{key: found[key] for key in kept if key in found}})
        return {"kind": "bigquery#tableList", "tables": items, "totalItems": len(names), **more}

    def _patch_table(self, call: Call) -> dict[str, Any]:
        """Change a table's description, labels and the like, and add columns to its schema."""
        name, body = _table_name(call), call.json()
        old = self._catalog.require_table(name)
        if "schema" in body:
            fields = types.normalized(body["schema"].get("fields", []))
            if fields != list(self._catalog.state(name).schema):
                self._tables.change_schema(name, fields)
        if "view" in body and body["view"].get("query") != (old.get("view") or {}).get("query"):
            self._queries.create_view(name.project, name, body["view"]["query"], old)
            old = self._catalog.require_table(name)
        self._catalog.patch_table(name, {**old, **_settings(body)})
        return self._table(name)

    def _delete_table(self, call: Call) -> Response:
        self._catalog.delete_table(_table_name(call))
        return Response(204)

    def _table(self, name: TableName) -> dict[str, Any]:
        found = self._catalog.require_table(name)
        state = self._catalog.state(name)
        created = millis(found.pop("created"))
        kind = "VIEW" if "view" in found else "SNAPSHOT" if "snapshotDefinition" in found else "TABLE"
        return {
            "kind": "bigquery#table",
            "etag": state.physical,
            "id": f"{name.project}:{name.dataset}.{name.table}",
            "tableReference": name.reference,
            "type": kind,
            "schema": {"fields": list(state.schema)},
            "numRows": str(state.rows),
            "numBytes": str(state.rows * 8 * len(state.schema)),
            "creationTime": created,
            "lastModifiedTime": created,
            "location": self._catalog.dataset(name.project, name.dataset).get("location", "US"),
            **found,
        }

    # --- rows

    def _list_rows(self, call: Call) -> dict[str, Any]:
        state = self._catalog.state(_table_name(call))
        start = int(call.params.get("pageToken") or call.params.get("startIndex") or 0)
        return {"kind": "bigquery#tableDataList", **self._rows(call, state, start)}

    def _rows(self, call: Call, state: State, start: int) -> dict[str, Any]:
        given = call.params.get("maxResults")
        size = _PAGE if given is None else min(int(given), _PAGE)
        micros = bool(call.params.get("formatOptions.useInt64Timestamp", False))
        rows = self._tables.rows(state, start, size)
        wanted = {
            each.strip().lower() for each in str(call.params.get("selectedFields") or "").split(",") if each
        }
        if any("." in each for each in wanted):
            raise ApiError(
                400, "The emulator does not know selectedFields of nested fields.", reason="invalid"
            )
        places = [n for n, f in enumerate(state.schema) if not wanted or f["name"].lower() in wanted]
        shown = [{"f": [types.cell(state.schema[n], row[n], micros=micros) for n in places]} for row in rows]
        page: dict[str, Any] = {"totalRows": str(state.rows)}
        if shown:
            page["rows"] = shown
        if start + len(rows) < state.rows and rows:
            page["pageToken"] = str(start + len(rows))
        return page

    def _insert_rows(self, call: Call) -> dict[str, Any]:
        return self._streaming.insert(_table_name(call), call.json())

    # --- jobs

    def _insert_job(self, call: Call) -> Response | dict[str, Any]:
        project = call.params.get("projectId") or call.params["projectsId"]
        if call.upload:
            return self._uploads.insert(call, project)
        return self._jobs.start(project, call.json(), None)

    def _get_job(self, call: Call) -> dict[str, Any]:
        return self._jobs.get(call.params["projectsId"], call.params["jobsId"], call.params.get("location"))

    def _list_jobs(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("parentJobId"):
            return {"kind": "bigquery#jobList", "jobs": []}
        states = {state.lower() for state in params.get("stateFilter") or ()}
        start = int(params.get("pageToken") or 0)
        limit = int(params.get("maxResults", 50))
        earliest, latest = int(params.get("minCreationTime", 0)), int(params.get("maxCreationTime", 1 << 53))
        jobs, more = self._jobs.list(params["projectsId"], states, earliest, latest, start, limit)
        reply: dict[str, Any] = {"kind": "bigquery#jobList"}
        single = ("etag", "selfLink")
        reply["jobs"] = [
            {
                **{key: value for key, value in job.items() if key not in single},
                "state": job["status"]["state"],
            }
            for job in jobs
        ]
        if more:
            reply["nextPageToken"] = str(start + limit)
        return reply

    def _cancel_job(self, call: Call) -> dict[str, Any]:
        job = self._jobs.cancel(call.params["projectsId"], call.params["jobsId"], call.params.get("location"))
        return {"kind": "bigquery#jobCancelResponse", "job": job}

    def _delete_job(self, call: Call) -> Response:
        self._jobs.delete(call.params["projectsId"], call.params["jobsId"], call.params.get("location"))
        return Response(204)

    def _query(self, call: Call) -> dict[str, Any]:
        body, project = call.json(), call.params["projectsId"]
        key = (project, str(body.get("requestId") or ""))
        job = self._requests.get(key) if key[1] else None
        if job is None:
            config: dict[str, Any] = {"query": {name: body[name] for name in _QUERY_FIELDS if name in body}}
            config |= {name: body[name] for name in _JOB_FIELDS if name in body}
            reference = {"location": body["location"]} if body.get("location") else {}
            job = self._jobs.start(project, {"configuration": config, "jobReference": reference}, None)
            if key[1] and not body.get("dryRun"):
                self._requests[key] = job
        if body.get("dryRun"):
            query = job["statistics"]["query"]
            shown = {"schema": query["schema"], "totalBytesProcessed": "0", "cacheHit": False}
            return {
                "kind": "bigquery#queryResponse",
                "jobReference": job["jobReference"],
                "jobComplete": True,
                **shown,
            }
        limits = {"maxResults": body["maxResults"]} if "maxResults" in body else {}
        stamps = (body.get("formatOptions") or {}).get("useInt64Timestamp", False)
        call.params.update({**limits, "formatOptions.useInt64Timestamp": stamps})
        timeout = int(body.get("timeoutMs", 10_000)) / 1000
        return {"kind": "bigquery#queryResponse", **self._answer(call, job["jobReference"], timeout)}

    def _results(self, call: Call) -> dict[str, Any]:
        params = call.params
        timeout = int(params.get("timeoutMs", 10_000)) / 1000
        reference = {
            "projectId": params["projectsId"],
            "jobId": params["queriesId"],
            "location": params.get("location"),
        }
        return {"kind": "bigquery#getQueryResultsResponse", **self._answer(call, reference, timeout)}

    def _answer(self, call: Call, reference: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        key = (reference["projectId"], reference["jobId"], reference.get("location"))
        job = self._jobs.finished(*key, min(timeout, 60))
        if "query" not in job["configuration"]:
            raise ApiError(
                400, f"Cannot list results of a job that is no query: {job['id']}", reason="invalid"
            )
        answer: dict[str, Any] = {"jobReference": job["jobReference"]}
        if job["status"]["state"] != "DONE":
            return {**answer, "jobComplete": False}
        problem = job["status"].get("errorResult")
        if problem:
            code = {"notFound": 404, "duplicate": 409}.get(problem["reason"], 400)
            raise ApiError(
                code,
                problem["message"],
                reason=problem["reason"],
                location=problem.get("location"),
                location_type="other",
            )
        answer |= {"jobComplete": True, "totalBytesProcessed": "0", "cacheHit": False}
        if "numDmlAffectedRows" in job["statistics"]["query"]:
            answer["numDmlAffectedRows"] = job["statistics"]["query"]["numDmlAffectedRows"]
        if not has_result(job):
            return {**answer, "schema": {"fields": []}, "totalRows": "0"}
        state = self._catalog.state(result_of(job))
        start = int(call.params.get("pageToken") or call.params.get("startIndex") or 0)
        return {**answer, "schema": {"fields": list(state.schema)}, **self._rows(call, state, start)}


def _table_name(call: Call) -> TableName:
    return TableName(call.params["projectsId"], call.params["datasetsId"], call.params["tablesId"])


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a table that are kept as they are.

    :raises ApiError: 400: one that would change what queries answer.
    """
    require_partition_field(body)
    return {key: value for key, value in body.items() if key in _TABLE_FIELDS}


def _page(call: Call, items: Sequence[Any]) -> tuple[Sequence[Any], dict[str, str]]:
    """Return a page of a list, and the token of the next one if there is one."""
    start, size = int(call.params.get("pageToken") or 0), int(call.params.get("maxResults", 1000))
    more = {"nextPageToken": str(start + size)} if start + size < len(items) else {}
    return items[start : start + size], more
