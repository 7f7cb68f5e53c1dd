"""Bodies of two parts, ``multipart/related``: JSON, and content, which is passed on as it comes.

https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.storage.content import CHUNK

_MAX_HEAD = 1 << 20
_BLANK = re.compile(rb"\r?\n\r?\n")


def split_related(stream: BinaryIO, content_type: str) -> tuple[bytes, dict[str, str], Iterator[bytes]]:
    """Return the JSON text, the content's own headers in lower case, and the content.

    Lines end with CRLF, or with bare line feeds throughout, as gcsfs sends them.

    :param stream: the body.
    :param content_type: of the request; names the boundary.
    :raises ApiError: 400 if the body is not of that form; raised by the content where its end is missing.
    """
    found = re.search(r"boundary=(?:\"([^\"]+)\"|([^;\s]+))", content_type)
    if not found:
        raise ApiError(400, "A multipart upload without a boundary.", reason="badContent")
    mark = b"--" + (found[1] or found[2]).encode()
    head = stream.read(CHUNK)
    first = re.compile(rb"(?:^|\n)" + re.escape(mark) + rb"[ \t]*(\r?\n)").search(head)
    if not first:
        raise _malformed()
    line_end = first[1]
    delimiter = line_end + mark
    head, at = _until(head, stream, delimiter, first.end() - len(line_end))
    # The part's headers may be none: then the blank line follows the boundary.
    text = _after_headers(head[first.end() - len(line_end) : at])[1]
    head, begin = _until(head, stream, line_end * 2, at + len(delimiter))
    headers, _ = _after_headers(head[at + len(delimiter) : begin + 2 * len(line_end)])
    rest = head[begin + 2 * len(line_end) :]
    return text, headers, _content(rest, stream, delimiter)


def _until(head: bytes, stream: BinaryIO, wanted: bytes, start: int) -> tuple[bytes, int]:
    """Read on until something comes; return what was read so far, and where it is."""
    while (at := head.find(wanted, start)) < 0:
        more = stream.read(CHUNK)
        if not more or len(head) > 2 * _MAX_HEAD:
            raise _malformed()
        head += more
    return head, at


def _after_headers(part: bytes) -> tuple[dict[str, str], bytes]:
    blank = _BLANK.search(part)
    if blank is None:
        raise _malformed()
    lines = part[: blank.start()].decode("latin-1").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}, part[blank.end() :]


def _content(rest: bytes, stream: BinaryIO, delimiter: bytes) -> Iterator[bytes]:
    # Empty content: the blank line's second end is the delimiter's as well.
    if rest.startswith(delimiter.lstrip()):
        return
    while (at := rest.find(delimiter)) < 0:
        keep = len(rest) - len(delimiter)
        if keep > 0:
            yield rest[:keep]
            rest = rest[keep:]
        more = stream.read(CHUNK)
        if not more:
            raise _malformed()
        rest += more
    yield rest[:at]


def _malformed() -> ApiError:
    return ApiError(400, "Malformed multipart body: two parts expected.", reason="badContent")
