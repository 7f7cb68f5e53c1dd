"""Multipart uploads of the XML API, which ``transfer_manager.upload_chunks_concurrently`` uses.

https://cloud.google.com/storage/docs/multipart-uploads
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from email.message import Message
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Request, Response
from airflow_ml_provider.emulator.storage.conditions import Conditions
from airflow_ml_provider.emulator.storage.content import CHUNK, Content, ContentWriter, read
from airflow_ml_provider.emulator.storage.names import check_metadata, checked_object
from airflow_ml_provider.emulator.storage.resources import object_fields
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.emulator.storage.target import Target, hashes_in

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_MIN_PART = 5 << 20
_MAX_PARTS = 10_000
_MAX_LIST = 4 << 20
_FIELDS = {
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
    "contentType": "Content-Type",
    "customTime": "X-Goog-Custom-Time",
    "storageClass": "X-Goog-Storage-Class",
}
_CODES = {400: "InvalidArgument", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"}


class XmlUploads:
    """Answers ``?uploads`` and ``?uploadId=…`` of ``/BUCKET/OBJECT``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def answer(self, request: Request) -> Response | None:
        """Answer a request, or return None if it is not of a multipart upload."""
        place = re.fullmatch(r"/([^/]+)/(.+)", request.path)
        if not place or not ({"uploads", "uploadId"} & request.query.keys()):
            return None
        bucket, name = unquote(place[1]), unquote(place[2])
        try:
            return self._answer(request, bucket, name)
        except ApiError as error:
            return _refusal(error)

    def _answer(self, request: Request, bucket: str, name: str) -> Response:
        if "uploads" in request.query:
            if request.http_method != "POST":
                raise ApiError(501, f"The emulator does not implement {request.http_method} ?uploads.")
            return self._begin(request.headers, bucket, name)
        id_ = request.query["uploadId"][-1]
        target = self._target(id_, bucket, name)
        if request.http_method == "PUT":
            return self._take(request, id_)
        if request.http_method == "POST":
            return self._finish(request, id_, target)
        if request.http_method == "DELETE":
            self._end(id_)
            return Response(204)
        return self._list(id_, target)

    def _begin(self, headers: Message, bucket: str, name: str) -> Response:
        self._store.require_bucket(bucket)
        fields = {field: headers[header] for field, header in _FIELDS.items() if headers.get(header)}
        mark = "x-goog-meta-"
        metadata = {k.lower().removeprefix(mark): v for k, v in headers.items() if k.lower().startswith(mark)}
        check_metadata(metadata)
        fields = {"contentType": "application/octet-stream", **object_fields(fields)}
        if metadata:
            fields["metadata"] = metadata
        target = Target(bucket, checked_object(name), fields, Conditions())
        id_ = uuid.uuid4().hex
        with self._store.transaction() as db:
            row = (id_, time.time(), target.to_json(), None, None)
            db.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", row)
        return _xml("InitiateMultipartUploadResult", {"Bucket": bucket, "Key": name, "UploadId": id_})

    def _target(self, id_: str, bucket: str, name: str) -> Target:
        with self._store.transaction() as db:
            row = db.execute("SELECT target FROM uploads WHERE id = ? AND file IS NULL", (id_,)).fetchone()
        target = Target.from_json(row[0]) if row else None
        if target is None or (target.bucket, target.name) != (bucket, name):
            raise _Refused(404, "NoSuchUpload", "The requested upload was not found.")
        return target

    def _take(self, request: Request, id_: str) -> Response:
        number = request.query.get("partNumber", [""])[-1]
        if not number.isdecimal() or not 1 <= int(number) <= _MAX_PARTS:
            raise ApiError(400, f"Part number must be an integer between 1 and {_MAX_PARTS}, not {number!r}.")
        writer = ContentWriter(self._store.content)
        try:
            writer.write_all(iter(lambda: request.stream.read(CHUNK), b""))
            content = writer.finish()
            _accept(content, hashes_in(request.headers))
            with self._store.transaction() as db:
                key = (id_, int(number))
                old = db.execute("SELECT file FROM parts WHERE upload = ? AND number = ?", key).fetchone()
                row = (*key, content.file, content.size, content.md5, content.crc32c)
                db.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)", row)
                if old:
                    self._store.abandon(old[0])
        except BaseException:
            writer.discard()
            raise
        hashes = f"crc32c={content.crc32c},md5={content.md5}"
        return Response(200, b"", {"ETag": _etag(content), "X-Goog-Hash": hashes})

    def _finish(self, request: Request, id_: str, target: Target) -> Response:
        parts = self._parts(id_)
        chosen = []
        for number, etag in _wanted(request.stream.read(_MAX_LIST)):
            content = parts.get(number)
            if content is None or etag not in (None, _etag(content).strip('"')):
                raise _Refused(400, "InvalidPart", f"Part {number} was not found, or its ETag is another.")
            chosen.append(content)
        if any(content.size < _MIN_PART for content in chosen[:-1]):
            message = f"A part but the last is smaller than {_MIN_PART} bytes."
            raise _Refused(400, "EntityTooSmall", message)
        conditions = _conditions(request.headers)
        # It has no MD5, as a composed object has none.
        made = self._store.write_object(
            target.bucket, target.name, self._content(chosen), target.fields, conditions, whole=False
        )
        self._end(id_)
        values = {"Bucket": target.bucket, "Key": target.name, "ETag": f'"{made.generation}"'}
        headers = {
            "X-Goog-Generation": str(made.generation),
            "X-Goog-Metageneration": str(made.metageneration),
            "X-Goog-Hash": f"crc32c={made.content.crc32c}",
        }
        return _xml("CompleteMultipartUploadResult", values, headers=headers)

    def _content(self, parts: list[Content]) -> Iterator[bytes]:
        for part in parts:
            yield from read((self._store.content / part.file).open("rb"), 0, part.size)

    def _list(self, id_: str, target: Target) -> Response:
        inner = "".join(
            _element("Part", {"PartNumber": str(number), "ETag": _etag(part), "Size": str(part.size)})
            for number, part in self._parts(id_).items()
        )
        values = {"Bucket": target.bucket, "Key": target.name, "UploadId": id_, "IsTruncated": "false"}
        return _xml("ListPartsResult", values, inner)

    def _parts(self, id_: str) -> dict[int, Content]:
        with self._store.transaction() as db:
            sql = "SELECT number, file, size, md5, crc32c FROM parts WHERE upload = ? ORDER BY number"
            return {row[0]: Content(*row[1:]) for row in db.execute(sql, (id_,))}

    def _end(self, id_: str) -> None:
        with self._store.transaction() as db:
            for (file,) in db.execute("SELECT file FROM parts WHERE upload = ?", (id_,)).fetchall():
                self._store.abandon(file)
            db.execute("DELETE FROM parts WHERE upload = ?", (id_,))
            db.execute("DELETE FROM uploads WHERE id = ?", (id_,))


class _Refused(ApiError):
    """A refusal with a code of the XML API."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, message)
        self.xml_code = code


def _wanted(body: bytes) -> list[tuple[int, str | None]]:
    """Return the numbers and etags of the parts that an upload is to consist of."""
    malformed = _Refused(400, "MalformedXML", "The list of parts is not well-formed.")
    if b"<!" in body:
        # No entities, so nothing can be made to grow.
        raise malformed
    try:
        root = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError:
        raise malformed from None
    wanted = []
    for part in root.iterfind("{*}Part"):
        number, etag = part.findtext("{*}PartNumber", ""), part.findtext("{*}ETag")
        if not number.isdecimal():
            raise malformed
        wanted.append((int(number), etag.strip('"') if etag else None))
    numbers = [number for number, _ in wanted]
    if not numbers:
        raise malformed
    if numbers != sorted(set(numbers)):
        raise _Refused(400, "InvalidPartOrder", "The parts are not in ascending order.")
    return wanted


def _accept(content: Content, hashes: dict[str, str]) -> None:
    for what, code in (("crc32c", "CrcMismatch"), ("md5", "BadDigest")):
        given, ours = hashes.get(what), getattr(content, what)
        if given not in (None, ours):
            raise _Refused(400, code, f"The {what} that you gave, {given}, is not the content's, {ours}.")


def _conditions(headers: Message) -> Conditions:
    def number(name: str) -> int | None:
        text = headers.get(f"X-Goog-If-{name}-Match")
        if text is not None and not text.isdecimal():
            raise ApiError(400, f"X-Goog-If-{name}-Match: {text!r} is no number.")
        return int(text) if text is not None else None

    return Conditions(generation_match=number("Generation"), metageneration_match=number("Metageneration"))


def _etag(content: Content) -> str:
    return f'"{content.md5}"'


def _element(name: str, values: dict[str, str], inner: str = "") -> str:
    fields = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in values.items())
    return f"<{name}>{fields}{inner}</{name}>"


def _xml(
    name: str,
    values: dict[str, str],
    inner: str = "",
    *,
    status: int = 200,
    namespace: str = _NAMESPACE,
    headers: dict[str, str] | None = None,
) -> Response:
    text = _element(name, values, inner)
    if namespace:
        text = text.replace(f"<{name}>", f"<{name} xmlns='{namespace}'>", 1)
    body = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
    return Response(status, body, {"Content-Type": "application/xml; charset=UTF-8", **(headers or {})})


def _refusal(error: ApiError) -> Response:
    code = error.xml_code if isinstance(error, _Refused) else _CODES.get(error.code, "InternalError")
    values = {"Code": code, "Message": error.message, "Details": error.message}
    return _xml("Error", values, status=error.code, namespace="")
