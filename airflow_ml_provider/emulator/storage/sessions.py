"""Resumable uploads: content that comes in parts, over broken connections and restarts.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Response, json_response
from airflow_ml_provider.emulator.storage.content import CHUNK, ContentWriter
from airflow_ml_provider.emulator.storage.resources import object_resource
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.emulator.storage.target import Target, hashes_in

# Of a part that is not the last, whole units are kept.
UNIT = 256 * 1024
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


@dataclass
class _Session:
    id: str
    target: Target
    writer: ContentWriter
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class _Part:
    """What a request says of its body.

    :param first: position of its first byte; None if it has none.
    :param end: position after its last byte, if known.
    :param total: size of the whole, if known.
    """

    first: int | None
    end: int | None
    total: int | None

    @property
    def is_all(self) -> bool:
        """Whether the request has no ``Content-Range``: then its body is the whole object."""
        return self.first is not None and self.end is None


class Sessions:
    """The resumable uploads that are not finished, and the replies to those that are."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: dict[str, _Session] = {}

    def begin(self, call: Call) -> Response:
        """Open a session; its address is in the reply's ``Location``."""
        resource = call.json()
        target = Target.of(call, resource, call.headers.get("X-Upload-Content-Type"))
        target.check_conditions(self._store)
        length = call.headers.get("X-Upload-Content-Length")
        if length is not None:
            target = replace(target, size=int(length))
        session = _Session(uuid.uuid4().hex, target, ContentWriter(self._store.content))
        with self._store.transaction() as db:
            row = (session.id, time.time(), target.to_json(), session.writer.file, None)
            db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", row)
        with self._lock:
            self._open[session.id] = session
        query = urlencode({"uploadType": "resumable", "name": target.name, "upload_id": session.id})
        location = f"{call.base_url}/upload/storage/v1/b/{target.bucket}/o?{query}"
        return Response(200, b"", {"Location": location, "X-GUploader-UploadID": session.id})

    def go_on(self, call: Call) -> Response | dict[str, Any]:
        """Take a part, tell how far it is, or cancel."""
        with self._session(str(call.params["upload_id"])) as session:
            if isinstance(session, Response):
                return session
            if call.http_method == "DELETE":
                self._end(session)
                return Response(499)
            part = _part(call)
            self._take(call, session, part)
            have = session.writer.size
            total = have if part.is_all else part.total
            if total is not None and have > total:
                raise ApiError(400, f"{have} bytes are stored, more than {total}.", reason="badRequest")
            if total is None or have < total:
                headers = {"Range": f"bytes=0-{have - 1}"} if have else {}
                return Response(308, b"", {**headers, "X-GUploader-UploadID": session.id})
            return self._finish(call, session)

    @contextmanager
    def _session(self, id_: str) -> Iterator[_Session | Response]:
        """Return a session that nobody else uses meanwhile, or the reply to one that is finished."""
        with self._lock:
            session = self._open.get(id_) or self._restored(id_)
            if isinstance(session, _Session):
                self._open[id_] = session
        if isinstance(session, Response):
            yield session
            return
        with session.lock:
            # It may have ended while another request held the lock.
            with self._lock:
                ended = self._open.get(id_) is not session
                current = self._restored(id_) if ended else session
            try:
                yield current
            finally:
                session.writer.pause()

    def _restored(self, id_: str) -> _Session | Response:
        with self._store.transaction() as db:
            row = db.execute("SELECT target, file, result FROM uploads WHERE id = ?", (id_,)).fetchone()
        if row is None or (row[1] is None and row[2] is None):
            raise ApiError(404, "Upload session not found: it never existed or was cancelled.")
        if row[2] is not None:
            return json_response(200, json.loads(row[2]))
        path = self._store.content / row[1]
        size = path.stat().st_size if path.exists() else 0
        writer = ContentWriter(self._store.content, row[1], keep=size - size % UNIT)
        return _Session(id_, Target.from_json(row[0]), writer)

    def _take(self, call: Call, session: _Session, part: _Part) -> None:
        """Append what of a part is not there yet."""
        if part.first is None:
            return
        have = session.writer.size
        if part.first > have:
            message = f"{have} bytes are stored; continue there, not at {part.first}."
            raise ApiError(503, message, reason="backendError")
        skip = have - part.first
        while skip and (dropped := call.stream.read(min(skip, CHUNK))):
            skip -= len(dropped)
        while data := call.stream.read(CHUNK):
            end = session.writer.size + len(data)
            if part.end is not None and end > part.end:
                raise ApiError(
                    400, f"More bytes came than {call.headers['Content-Range']}.", reason="badRequest"
                )
            if len(data) % UNIT and part.end is not None and end != part.total:
                data = data[: len(data) - len(data) % UNIT]
            session.writer.write(data)

    def _finish(self, call: Call, session: _Session) -> dict[str, Any]:
        target = session.target
        target = replace(target, hashes={**target.hashes, **hashes_in(call.headers)})
        try:
            content = session.writer.finish()
            target.accept(content)
            with self._store.transaction() as db:
                made = self._store.put(target.bucket, target.name, content, target.fields, target.conditions)
                resource = object_resource(made, call.base_url)
                # Who asks again, since the reply was lost, gets it again.
                done = (json.dumps(resource), session.id)
                db.execute("UPDATE uploads SET file = NULL, result = ? WHERE id = ?", done)
        except ApiError:
            self._end(session)
            raise
        with self._lock:
            self._open.pop(session.id, None)
        return resource

    def _end(self, session: _Session) -> None:
        session.writer.pause()
        with self._lock:
            self._open.pop(session.id, None)
        with self._store.transaction() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (session.id,))
            self._store.abandon(session.writer.file)


def _part(call: Call) -> _Part:
    header = call.headers.get("Content-Range")
    if header is None:
        return _Part(0, None, None)
    found = _RANGE.fullmatch(header.strip())
    if not found or (found[1] is not None and int(found[2]) < int(found[1])):
        raise ApiError(400, f"Failed to parse Content-Range header: {header}", reason="badRequest")
    total = None if found[3] == "*" else int(found[3])
    if found[1] is None:
        return _Part(None, None, total)
    return _Part(int(found[1]), int(found[2]) + 1, total)
