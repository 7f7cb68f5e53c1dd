"""Load jobs whose file comes with the request: multipart, or in parts.

https://cloud.google.com/bigquery/docs/reference/api-uploads
"""

from __future__ import annotations

import re
import uuid
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from airflow_ml_provider.emulator.bigquery.jobs import Jobs
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Response

_RANGE = re.compile(r"^bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")


class Uploads:
    """Takes files in, and starts their jobs.

    :param jobs: that runs them.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._sessions: dict[str, tuple[dict[str, Any], bytearray]] = {}

    def insert(self, call: Call, project: str) -> Response | dict[str, Any]:
        """Answer ``jobs.insert`` under ``/upload``.

        :raises ApiError: 400 or 404.
        """
        if "upload_id" in call.params:
            return self._continue(call, project)
        kind = call.params.get("uploadType")
        if kind == "multipart":
            return self._jobs.start(project, *_multipart(call))
        if kind == "resumable":
            upload_id = uuid.uuid4().hex
            self._sessions[upload_id] = (call.json(), bytearray())
            location = f"{call.base_url}/upload/bigquery/v2/projects/{project}/jobs"
            return Response(200, b"", {"Location": f"{location}?uploadType=resumable&upload_id={upload_id}"})
        raise ApiError(400, f"Invalid upload type {kind!r}.", reason="invalid", location="uploadType")

    def _continue(self, call: Call, project: str) -> Response | dict[str, Any]:
        """Take a part of a file that is loaded."""
        upload_id = str(call.params["upload_id"])
        if upload_id not in self._sessions:
            raise ApiError(
                404, "Upload session not found: it never existed, is finished, or was cut by a restart."
            )
        body, received = self._sessions[upload_id]
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
        del self._sessions[upload_id]
        return self._jobs.start(project, body, bytes(received))


def _multipart(call: Call) -> tuple[dict[str, Any], bytes]:
    head = f"Content-Type: {call.headers.get('Content-Type')}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + call.stream.read())
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if len(parts) != 2:
        raise ApiError(400, "Malformed multipart body: two parts expected.", reason="badContent")
    config, content = (part.get_payload(decode=True) for part in parts)
    assert isinstance(config, bytes)
    assert isinstance(content, bytes)
    return call.message(config), content
