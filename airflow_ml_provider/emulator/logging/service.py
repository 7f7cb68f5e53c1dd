"""Cloud Logging's ``entries:list``.

https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.filters import Comparison, FilterError, nanoseconds, parse, required
from airflow_ml_provider.emulator.http import Call, Handler, Request, Response
from airflow_ml_provider.emulator.logging.query import check, matches
from airflow_ml_provider.emulator.logging.store import LogStore, Position, belongs

_LONGEST_FILTER = 20_000
_PAGE, _LARGEST_PAGE = 50, 1000
_LATEST = 2**63 - 1
_RESOURCE = re.compile(r"projects/([^/]+)(?:/locations/[^/]+/buckets/[^/]+/views/[^/]+)?")


class CloudLogging:
    """Answers for the entries in a store.

    :param logs: where the cluster and Vertex AI write; closed with the service.
    """

    legacy_errors = False

    def __init__(self, logs: LogStore) -> None:
        self.api = Api("logging", "v2", snake_case=True)
        self.handlers: Mapping[str, Handler] = {"logging.entries.list": self._list}
        self._logs = logs

    def undocumented(self, request: Request) -> Response | None:
        """Answer nothing: all that is emulated is documented."""

    def close(self) -> None:
        """Write pending entries."""
        self._logs.close()

    def _list(self, call: Call) -> dict[str, Any]:
        body = call.json()
        projects = _projects(body)
        size = int(body.get("pageSize", 0))
        if size < 0:
            raise ApiError(400, f"page_size must not be negative, but is {size}.", location="pageSize")
        size = min(size or _PAGE, _LARGEST_PAGE)
        descending = _descending(body.get("orderBy", ""))
        text = body.get("filter", "")
        if len(text) > _LONGEST_FILTER:
            raise ApiError(
                400,
                f"The filter is {len(text)} characters long, at most {_LONGEST_FILTER} are allowed.",
                location="filter",
            )
        try:
            tree = parse(text)
            check(tree, self.api)
        except FilterError as error:
            raise ApiError(400, f"Unparseable filter: {error}", location="filter") from None
        question = _fingerprint(projects, text, descending)
        after = _position(body["pageToken"], question) if body.get("pageToken") else None

        job_id, since, until = _narrowed(list(required(tree)))
        entries: list[dict[str, Any]] = []
        last: Position | None = None
        reply: dict[str, Any] = {}
        for position, project, entry in self._logs.read(
            job_id=job_id, since=since, until=until, after=after, descending=descending
        ):
            if not any(belongs(project, name) for name in projects) or not matches(tree, entry):
                continue
            if len(entries) == size and last is not None:
                reply["nextPageToken"] = _token(last, question)
                break
            entries.append(entry)
            last = position
        if entries:
            reply["entries"] = entries
        return reply


def _projects(body: Mapping[str, Any]) -> list[str]:
    names = list(body.get("resourceNames", [])) + [f"projects/{p}" for p in body.get("projectIds", [])]
    if not names:
        raise ApiError(400, "At least one resource name must be given in resource_names.")
    if len(names) > 100:
        raise ApiError(400, f"At most 100 resource names may be given, not {len(names)}.")
    projects = []
    for name in names:
        found = _RESOURCE.fullmatch(name)
        if not found:
            raise ApiError(
                400,
                f"{name!r} in resource_names is not projects/[PROJECT_ID]; the emulator keeps no logs of "
                "folders, organizations or billing accounts.",
                location="resourceNames",
            )
        projects.append(found.group(1))
    return projects


def _descending(order: str) -> bool:
    normal = " ".join(order.split())
    if normal not in ("", "timestamp", "timestamp asc", "timestamp desc"):
        raise ApiError(
            400, f'order_by must be "timestamp asc" or "timestamp desc", not {order!r}.', location="orderBy"
        )
    return normal == "timestamp desc"


def _narrowed(comparisons: list[Comparison]) -> tuple[str | None, int | None, int | None]:
    """Return job id and range of time outside of which nothing can match."""
    job_id: str | None = None
    since: int | None = None
    until: int | None = None
    for comparison in comparisons:
        field, operator, value = comparison.field, comparison.operator, comparison.value.text
        if field == "resource.labels.job_id" and operator == "=":
            job_id = value
        elif field == "timestamp" and operator in (">", ">=", "="):
            since = max(since or 0, min(nanoseconds(value), _LATEST))
        if field == "timestamp" and operator in ("<", "<=", "="):
            moment = max(0, min(nanoseconds(value), _LATEST))
            until = moment if until is None else min(until, moment)
    return job_id, since, until


def _fingerprint(projects: list[str], text: str, descending: bool) -> str:
    return hashlib.sha256(json.dumps([projects, text, descending]).encode()).hexdigest()[:16]


def _token(position: Position, question: str) -> str:
    raw = json.dumps([position.time, position.number, question])
    return base64.urlsafe_b64encode(raw.encode()).decode()


def _position(token: str, question: str) -> Position:
    try:
        moment, number, asked = json.loads(base64.urlsafe_b64decode(token.encode()))
        position = Position(min(int(moment), _LATEST), min(int(number), _LATEST))
    except (ValueError, TypeError, binascii.Error):
        raise ApiError(
            400, "page_token is not one that a previous reply contained.", location="pageToken"
        ) from None
    if asked != question:
        raise ApiError(
            400,
            "page_token doesn't match arguments from the request: repeat them with it.",
            location="pageToken",
        )
    return position
