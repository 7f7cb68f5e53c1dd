"""Bringing content in: in one piece, with its metadata, or in parts that survive a restart.

https://cloud.google.com/storage/docs/uploads-downloads
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Response
from airflow_ml_provider.emulator.storage.conditions import Conditions
from airflow_ml_provider.emulator.storage.content import CHUNK, Content, ContentWriter
from airflow_ml_provider.emulator.storage.resources import OBJECT_FIELDS, object_resource, settable
from airflow_ml_provider.emulator.storage.store import ObjectStore

_RANGE = re.compile(r"^bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")
_UNIT = 256 * 1024


class Uploads:
    """Answers ``storage.objects.insert``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def insert(self, call: Call) -> Response | dict[str, Any]:
        """Take content in the way that ``uploadType`` names."""
        kind = call.params.get("uploadType")
        if not call.upload:
            raise ApiError(400, "Objects are uploaded under /upload/storage/v1.", reason="badRequest")
        if "upload_id" in call.params:
            return self._continue(call)
        self._store.require_bucket(call.params["bucket"])
        if kind == "media":
            return self._media(call)
        if kind == "multipart":
            return self._multipart(call)
        if kind == "resumable":
            return self._begin(call)
        raise ApiError(400, f"Invalid upload type {kind!r}.", reason="invalid", location="uploadType")

    def _media(self, call: Call) -> dict[str, Any]:
        fields = {"contentType": call.headers.get("Content-Type") or "application/octet-stream"}
        writer = ContentWriter(self._store.content)
        try:
            writer.write_all(iter(lambda: call.stream.read(CHUNK), b""))
            return self._store_it(call, writer.finish(), fields, _header_checks(call), dict(call.params))
        except BaseException:
            writer.discard()
            raise

    def _multipart(self, call: Call) -> dict[str, Any]:
        found = re.search(r"boundary=(?:\"([^\"]+)\"|([^;\s]+))", call.headers.get("Content-Type") or "")
        if not found:
            raise ApiError(400, "multipart upload without a boundary", reason="badContent")
        head, headers, body = _two_parts(call.stream.read(), (found.group(1) or found.group(2)).encode())
        resource = call.message(head)
        fields = settable(resource, OBJECT_FIELDS.__contains__)
        fields.setdefault("contentType", headers.get("content-type", "application/octet-stream"))
        writer = ContentWriter(self._store.content)
        try:
            writer.write(body)
            checks = {**_header_checks(call), **_resource_checks(resource)}
            params = {**call.params, "name": call.params.get("name") or resource.get("name")}
            return self._store_it(call, writer.finish(), fields, checks, params)
        except BaseException:
            writer.discard()
            raise

    def _begin(self, call: Call) -> Response:
        resource = call.json()
        fields = settable(resource, OBJECT_FIELDS.__contains__)
        content_type = call.headers.get("X-Upload-Content-Type") or "application/octet-stream"
        fields.setdefault("contentType", content_type)
        total = call.headers.get("X-Upload-Content-Length")
        params = {**call.params, "name": call.params.get("name") or resource.get("name")}
        self._conditions_hold(params)
        upload_id = uuid.uuid4().hex
        more = {
            "fields": fields,
            "checks": {**_header_checks(call), **_resource_checks(resource)},
            "total": int(total) if total else None,
        }
        self._store.begin_upload(upload_id, params["bucket"], params, more)
        query = urlencode({"uploadType": "resumable", "name": params["name"], "upload_id": upload_id})
        location = f"{call.base_url}/upload/storage/v1/b/{params['bucket']}/o?{query}"
        return Response(200, b"", {"Location": location, "X-GUploader-UploadID": upload_id})

    def _conditions_hold(self, params: Mapping[str, Any]) -> None:
        if not params["name"]:
            raise ApiError(400, "Required parameter: name", reason="required", location="name")
        old = self._store.find(params["bucket"], params["name"])
        versions = (old.generation, old.metageneration) if old else (0, 0)
        Conditions.of(params).check(*versions)

    def _continue(self, call: Call) -> Response | dict[str, Any]:
        upload_id = str(call.params["upload_id"])
        upload = self._store.upload(upload_id) if re.fullmatch(r"[0-9a-f]{32}", upload_id) else None
        if upload is None:
            raise ApiError(404, "Upload session not found: it never existed, is finished or was cancelled.")
        if call.http_method == "DELETE":
            self._store.end_upload(upload_id)
            return Response(499, b"", {})
        path = self._store.partial / upload_id
        have = path.stat().st_size if path.exists() else 0
        header = call.headers.get("Content-Range")
        length = call.headers.get("Content-Length")
        if header is None:
            first, total, last = 0, None if length is None else int(length), None
        else:
            found = _RANGE.match(header)
            if not found:
                raise ApiError(400, f"Failed to parse Content-Range header: {header}", reason="badRequest")
            total = None if found.group(3) == "*" else int(found.group(3))
            if found.group(1) is None:
                if total is None or have < total:
                    return _incomplete(have)
                first, last = have, have - 1
            else:
                first, last = int(found.group(1)), int(found.group(2))
        if first > have:
            raise ApiError(
                503, f"{have} bytes are stored; continue there, not at {first}.", reason="backendError"
            )
        have = self._append(
            call, path, have - first, last is not None and (total is None or last + 1 < total), last
        )
        known = total if header is not None else have
        if known is None or have < known:
            return _incomplete(have)
        if have > known:
            raise ApiError(400, f"{have} bytes came instead of {known}.", reason="badRequest")
        return self._finish(call, upload_id, upload)

    def _append(self, call: Call, path: Path, skip: int, partial: bool, last: int | None) -> int:
        """Append what was not stored yet; of a part that is not the last, only whole units are kept."""
        while skip > 0:
            dropped = call.stream.read(min(skip, CHUNK))
            if not dropped:
                break
            skip -= len(dropped)
        with path.open("ab") as file:
            try:
                while chunk := call.stream.read(CHUNK):
                    file.write(chunk)
            finally:
                size = file.tell()
                if partial:
                    size -= size % _UNIT
                    file.truncate(size)
        return int(size)

    def _finish(self, call: Call, upload_id: str, upload: Mapping[str, Any]) -> dict[str, Any]:
        writer = ContentWriter(self._store.content)
        try:
            path = self._store.partial / upload_id
            if path.exists():
                with path.open("rb") as file:
                    writer.write_all(iter(lambda: file.read(CHUNK), b""))
            if upload["total"] not in (None, writer.size):
                raise ApiError(
                    400, f"{writer.size} bytes came instead of {upload['total']}.", reason="badRequest"
                )
            checks = {**upload["checks"], **_header_checks(call)}
            made = self._store_it(call, writer.finish(), upload["fields"], checks, upload["params"])
        except BaseException:
            writer.discard()
            self._store.end_upload(upload_id)
            raise
        self._store.end_upload(upload_id)
        return made

    def _store_it(
        self,
        call: Call,
        content: Content,
        fields: Mapping[str, Any],
        checks: Mapping[str, str],
        params: Mapping[str, Any],
    ) -> dict[str, Any]:
        name = params.get("name")
        if not name:
            raise ApiError(400, "Required parameter: name", reason="required", location="name")
        for what, ours in (("crc32c", content.crc32c), ("md5", content.md5)):
            given = checks.get(what)
            if given is not None and given != ours:
                raise ApiError(
                    400,
                    f'Provided {what.upper()} hash "{given}" doesn\'t match calculated hash "{ours}".',
                    reason="invalid",
                )
        all_fields = dict(fields)
        if params.get("contentEncoding"):
            all_fields["contentEncoding"] = params["contentEncoding"]
        made = self._store.put(params["bucket"], name, content, all_fields, Conditions.of(params))
        return object_resource(made, call.base_url)


def _incomplete(have: int) -> Response:
    headers = {"Range": f"bytes=0-{have - 1}"} if have else {}
    return Response(308, b"", headers)


def _header_checks(call: Call) -> dict[str, str]:
    checks = {}
    for header in call.headers.get_all("x-goog-hash") or []:
        for part in header.split(","):
            name, _, value = part.strip().partition("=")
            checks[name] = value
    if call.headers.get("Content-MD5"):
        checks["md5"] = str(call.headers["Content-MD5"])
    return checks


def _resource_checks(resource: Mapping[str, Any]) -> dict[str, str]:
    names = {"md5Hash": "md5", "crc32c": "crc32c"}
    return {names[name]: str(resource[name]) for name in names if resource.get(name)}


def _two_parts(body: bytes, boundary: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """Split a multipart/related body into JSON, and the content with its headers.

    Line ends may be bare line feeds, as gcsfs sends them.
    """
    mark = b"--" + boundary
    begin = body.find(mark)
    parts: list[tuple[dict[str, str], bytes]] = []
    while begin >= 0 and len(parts) < 2:
        begin = body.find(b"\n", begin) + 1
        end = body.find(mark, begin) if len(parts) == 0 else body.rfind(mark)
        if begin == 0 or end < begin:
            break
        blank = re.compile(rb"\r?\n\r?\n").search(body, begin - 1)
        if blank is None or blank.start() > end:
            break
        head = body[begin : blank.start() + 1].decode("latin-1")
        content = body[blank.end() : end]
        content = content[:-2] if content.endswith(b"\r\n") else content.removesuffix(b"\n")
        headers = dict(line.split(":", 1) for line in head.splitlines() if ":" in line)
        parts.append(({k.strip().lower(): v.strip() for k, v in headers.items()}, content))
        begin = end
    if len(parts) != 2:
        raise ApiError(400, "Malformed multipart body: two parts expected.", reason="badContent")
    return parts[0][1], parts[1][0], parts[1][1]
