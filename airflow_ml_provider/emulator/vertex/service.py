"""Vertex AI's ``customJobs``, and the operations that delete them.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_ml_provider.emulator.cluster.replicas import Cluster
from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.faults.rules import Rulebook
from airflow_ml_provider.emulator.filters import FilterError, parse, rfc3339
from airflow_ml_provider.emulator.http import (
    Call,
    Handler,
    Request,
    Response,
    error_response,
    json_response,
)
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.vertex.listing import check, matches
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.resource import ENUM_NUMBERS, masked, normalized
from airflow_ml_provider.emulator.vertex.runner import CANCELLING, TERMINAL, JobRunner, id_of
from airflow_ml_provider.emulator.vertex.store import JobStore, Operation, Place, is_over
from airflow_ml_provider.emulator.vertex.validation import check_job, seconds

_JOBS = "aiplatform.projects.locations.customJobs"
_PAGE = _LARGEST_PAGE = 100
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9.:-]{0,61}[a-z0-9])?", re.ASCII)
# Of the API's places, those that are no regions; jobs need one.
_MULTI_REGIONS = frozenset({"us", "eu"})
_OPERATION_GETTERS = ("aiplatform.projects.locations.operations.get", f"{_JOBS}.operations.get")
_LONGEST_WAIT = 30.0


class VertexAI:
    """Answers for custom jobs, and runs them.

    Jobs that ran when an emulator in the same folder was killed are FAILED, with an error that says so.

    :param folder: where to keep the jobs; made if missing.
    :param cluster: runs them; closed with the service.
    :param logs: for their output. Close it, or Cloud Logging, after this service.
    :param project: id of the project that people use; others are accepted too.
    :param pace: the service's delays.
    :param rules: which jobs go wrong, and how; none if None.
    :param bucket_exists: tells whether a Cloud Storage bucket exists: a job's ``baseOutputDirectory`` must be
        in one, which the service checks as it creates the job. Unchecked if None.
    """

    legacy_errors = False

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        logs: LogStore,
        *,
        project: str,
        pace: Pace | None = None,
        bucket_exists: Callable[[str], bool] | None = None,
        rules: Rulebook | None = None,
    ) -> None:
        self.api = Api("aiplatform", "v1", enum_numbers=ENUM_NUMBERS, snake_case=True)
        self.handlers: Mapping[str, Handler] = {
            f"{_JOBS}.create": self._create,
            f"{_JOBS}.get": self._get,
            f"{_JOBS}.list": self._list,
            f"{_JOBS}.cancel": self._cancel,
            f"{_JOBS}.delete": self._delete,
            "aiplatform.projects.locations.operations.get": self._get_operation,
            "aiplatform.projects.locations.operations.wait": self._wait_for_operation,
            f"{_JOBS}.operations.get": self._get_operation,
            f"{_JOBS}.operations.wait": self._wait_for_operation,
        }
        self._states: list[str] = self.api.schemas["GoogleCloudAiplatformV1CustomJob"]["properties"]["state"][
            "enum"
        ]
        self._pace = pace or Pace()
        self._bucket_exists = bucket_exists
        self._cluster = cluster
        self._store = JobStore(folder)
        self._store.learn_project(project)
        self._runner = JobRunner(self._store, cluster, logs, self._pace, rules)

    def undocumented(self, request: Request) -> Response | None:
        """Answer for an operation under ``/ui/``, where Google's own clients look for it over REST."""
        path = request.path.replace("/ui/", "/v1/", 1)
        if path == request.path or request.http_method != "GET":
            return None
        match = self.api.match("GET", path)
        if match is None or match.method.id not in _OPERATION_GETTERS:
            return None
        try:
            operation = self._operation(self._place(match.path_params), match.path_params["operationsId"])
        except ApiError as error:
            return error_response(error, legacy=False)
        return json_response(200, _resource(operation))

    def close(self) -> None:
        """End all jobs and the cluster."""
        self._runner.close()
        self._cluster.close()
        self._store.close()

    def _create(self, call: Call) -> dict[str, Any]:
        place = self._place(call.params)
        body = call.json()
        check_job(body, place.region)
        job = normalized(body)
        self._check_bucket(job)
        created = self._store.create(place, job)
        self._runner.submit(created)
        return created

    def _get(self, call: Call) -> dict[str, Any]:
        return self._job(self._place(call.params), call)

    def _list(self, call: Call) -> dict[str, Any]:
        place = self._place(call.params)
        size = call.params.get("pageSize", 0)
        if size < 0:
            raise ApiError(400, f"page_size must not be negative, but is {size}.", location="pageSize")
        size = min(size or _PAGE, _LARGEST_PAGE)
        text = call.params.get("filter", "")
        try:
            tree = parse(text)
            check(tree, self._states)
        except FilterError as error:
            raise ApiError(400, f"Invalid filter: {error}", location="filter") from None
        question = hashlib.sha256(f"{place.parent} {text}".encode()).hexdigest()[:16]
        token = call.params.get("pageToken")
        before = _position(token, question) if token else None
        mask = call.params.get("readMask")

        jobs: list[dict[str, Any]] = []
        last = 0
        reply: dict[str, Any] = {}
        masked({}, mask, self.api)
        for created, job in self._store.newest_first(place, before):
            if not matches(tree, job):
                continue
            if len(jobs) == size:
                reply["nextPageToken"] = _token(last, question)
                break
            jobs.append(masked(job, mask, self.api))
            last = created
        if jobs:
            reply["customJobs"] = jobs
        return reply

    def _cancel(self, call: Call) -> dict[str, Any]:
        call.json()
        place = self._place(call.params)
        job_id = id_of(self._job(place, call))

        def begin(job: dict[str, Any]) -> None:
            if job["state"] in TERMINAL:
                raise _precondition(
                    f'The CustomJob "{job["name"]}" cannot be canceled: it is in state {job["state"]}.'
                )
            job["state"] = CANCELLING

        self._store.change(job_id, begin)
        self._runner.cancel(job_id)
        return {}

    def _delete(self, call: Call) -> dict[str, Any]:
        place = self._place(call.params)
        job = self._job(place, call)
        if job["state"] not in TERMINAL:
            raise _precondition(
                f'The CustomJob "{job["name"]}" cannot be deleted: it is in state {job["state"]}. '
                "Cancel it first."
            )
        return _resource(self._store.delete(place, id_of(job), self._pace.delete))

    def _get_operation(self, call: Call) -> dict[str, Any]:
        return _resource(self._found_operation(call))

    def _wait_for_operation(self, call: Call) -> dict[str, Any]:
        operation = self._found_operation(call)
        patience = min(seconds(call.params.get("timeout", "30s")), _LONGEST_WAIT)
        deadline = time.monotonic() + patience
        while not is_over(operation) and time.monotonic() < deadline:
            time.sleep(0.02)
        return _resource(operation)

    def _found_operation(self, call: Call) -> Operation:
        return self._operation(self._place(call.params), call.params["operationsId"])

    def _operation(self, place: Place, operation_id: str) -> Operation:
        operation = self._store.operation(place, operation_id)
        if operation is None:
            raise ApiError(404, f'The operation "{place.parent}/operations/{operation_id}" does not exist.')
        return operation

    def _place(self, params: Mapping[str, Any]) -> Place:
        project, region = params["projectsId"], params["locationsId"]
        if not _PROJECT.fullmatch(project):
            raise ApiError(400, f'Invalid resource field value in the request: "{project}" is no project.')
        if region not in self.api.locations - _MULTI_REGIONS:
            raise ApiError(
                400,
                f'Unsupported region "{region}" for custom jobs, use one of '
                f"{', '.join(sorted(self.api.locations - _MULTI_REGIONS))}.",
            )
        return Place(self._store.learn_project(project), region)

    def _job(self, place: Place, call: Call) -> dict[str, Any]:
        job_id = call.params["customJobsId"]
        job = self._store.get(place, job_id)
        if job is None:
            raise ApiError(404, f'The CustomJob "{place.parent}/customJobs/{job_id}" does not exist.')
        return job

    def _check_bucket(self, job: Mapping[str, Any]) -> None:
        directory = job["jobSpec"].get("baseOutputDirectory")
        if directory is None or self._bucket_exists is None:
            return
        uri = directory["outputUriPrefix"]
        if not self._bucket_exists(uri.removeprefix("gs://").partition("/")[0]):
            raise _precondition(f"The Cloud Storage bucket of `{uri}` does not exist.")


def _precondition(message: str) -> ApiError:
    return ApiError(400, message, status="FAILED_PRECONDITION")


def _resource(operation: Operation) -> dict[str, Any]:
    done = is_over(operation)
    reply: dict[str, Any] = {
        "name": f"{operation.place.parent}/operations/{operation.id}",
        "metadata": {
            "@type": "type.googleapis.com/google.cloud.aiplatform.v1.DeleteOperationMetadata",
            "genericMetadata": {
                "createTime": rfc3339(operation.created),
                "updateTime": rfc3339(operation.done if done else operation.created),
            },
        },
    }
    if done:
        reply |= {"done": True, "response": {"@type": "type.googleapis.com/google.protobuf.Empty"}}
    return reply


def _token(created: int, question: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([created, question]).encode()).decode()


def _position(token: str, question: str) -> int:
    try:
        created, asked = json.loads(base64.urlsafe_b64decode(token.encode()))
        before = min(int(created), 2**62)
    except (ValueError, TypeError, binascii.Error):
        raise ApiError(
            400, "page_token is not one that a previous reply contained.", location="pageToken"
        ) from None
    if asked != question:
        raise ApiError(
            400,
            "page_token does not fit the request: repeat its parent and filter with it.",
            location="pageToken",
        )
    return before
