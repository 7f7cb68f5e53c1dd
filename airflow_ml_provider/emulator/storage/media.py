"""Downloads: whole objects, ranges of them, and gzip content unpacked for who does not accept it.

https://cloud.google.com/storage/docs/transcoding, https://cloud.google.com/storage/docs/downloading-objects
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from email.message import Message
from email.utils import formatdate
from typing import IO

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Response, error_response
from airflow_ml_provider.emulator.storage.content import CHUNK, read
from airflow_ml_provider.emulator.storage.records import StoredObject
from airflow_ml_provider.emulator.storage.resources import object_etag

_SHOWN = {
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentLanguage": "Content-Language",
}


def media(found: StoredObject, file: IO[bytes], headers: Message) -> Response:
    """Return an object's content, or the range of it that was asked for.

    :param file: the content, open; it is closed when it was sent.
    :param headers: of the request.
    """
    size, fields = found.content.size, found.fields
    answer = _described(found)
    encoding = fields.get("contentEncoding")
    if encoding == "gzip" and not _accepts_gzip(headers) and "no-transform" not in _cache_control(found):
        # The whole object, whatever range was asked for: a range of what is unpacked can't be known.
        answer["Transfer-Encoding"] = "chunked"
        answer["Warning"] = "214 UploadServer gunzipped"
        return Response(200, _unpacked(file), answer)
    if encoding:
        answer["Content-Encoding"] = str(encoding)
    wanted = _range(headers.get("Range"), size)
    if wanted is None:
        answer["Content-Length"] = str(size)
        return Response(200, read(file, 0, size), answer)
    start, end = wanted
    if start >= size:
        file.close()
        refused = error_response(
            ApiError(
                416,
                f"The requested range cannot be satisfied: {headers.get('Range')} of {size} bytes.",
                location="range",
                location_type="header",
            ),
            legacy=True,
        )
        return Response(416, refused.body, {**refused.headers, "Content-Range": f"bytes */{size}"})
    answer["Content-Length"] = str(end - start + 1)
    answer["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Response(206, read(file, start, end - start + 1), answer)


def _described(found: StoredObject) -> dict[str, str]:
    content, fields = found.content, found.fields
    answer = {
        "Content-Type": str(fields.get("contentType", "application/octet-stream")),
        "ETag": object_etag(found),
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(found.updated, usegmt=True),
        "Vary": "Origin, X-Origin, Accept-Encoding",
        "X-Goog-Generation": str(found.generation),
        "X-Goog-Metageneration": str(found.metageneration),
        "X-Goog-Storage-Class": str(fields.get("storageClass", "STANDARD")),
        "X-Goog-Stored-Content-Length": str(content.size),
        "X-Goog-Stored-Content-Encoding": str(fields.get("contentEncoding", "identity")),
        "X-Goog-Hash": f"crc32c={content.crc32c}" + (f",md5={content.md5}" if content.md5 else ""),
        "Cache-Control": "private, max-age=0",
    }
    if found.components is not None:
        answer["X-Goog-Component-Count"] = str(found.components)
    return answer | {header: str(fields[field]) for field, header in _SHOWN.items() if fields.get(field)}


def _cache_control(found: StoredObject) -> str:
    return str(found.fields.get("cacheControl", "")).lower()


def _accepts_gzip(headers: Message) -> bool:
    for coding in (headers.get("Accept-Encoding") or "").lower().split(","):
        name, _, quality = coding.partition(";")
        if name.strip() == "gzip":
            return re.fullmatch(r"q=0(\.0*)?", quality.strip()) is None
    return False


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return first and last byte; None if all is wanted, as it is where several ranges are asked for."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = int(found[2])
        if size == 0 and length > 0:
            return None
        return (max(0, size - length) if length else size), size - 1
    if found[2] and int(found[2]) < int(found[1]):
        return None
    return int(found[1]), min(int(found[2] or size), size - 1)


def _unpacked(packed: IO[bytes]) -> Iterator[bytes]:
    with packed, gzip.GzipFile(fileobj=packed) as file:
        while chunk := file.read(CHUNK):
            yield f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
    yield b"0\r\n\r\n"
