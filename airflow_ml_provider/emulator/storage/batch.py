"""Several requests in one: ``multipart/mixed`` batches.

https://cloud.google.com/storage/docs/batch
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from email.parser import BytesHeaderParser, BytesParser
from email.policy import HTTP
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Request, Response

_MAX_CALLS = 100


def answer_batch(request: Request, dispatch: Callable[[Request], Response]) -> Response:
    """Answer each part of a batch, in order.

    :param dispatch: answers one request.
    :raises ApiError: 400 if it is no batch, or too long.
    """
    head = f"Content-Type: {request.headers.get('Content-Type')}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.stream.read())
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if not 1 <= len(parts) <= _MAX_CALLS:
        raise ApiError(400, f"A batch has 1 to {_MAX_CALLS} calls, not {len(parts)}.", reason="badRequest")
    boundary = f"batch_{uuid.uuid4().hex}"
    body = b""
    for part in parts:
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        answer = dispatch(_inner(payload, request.base_url))
        name = (part.get("Content-ID") or "").strip("<>")
        content = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        lines = [f"--{boundary}", "Content-Type: application/http", f"Content-ID: <response-{name}>", ""]
        lines.append(f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}")
        lines += [f"{key}: {value}" for key, value in answer.headers.items() if key != "Content-Length"]
        lines += [f"Content-Length: {len(content)}", "", ""]
        body += "\r\n".join(lines).encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return Response(200, body, {"Content-Type": f"multipart/mixed; boundary={boundary}"})


def _inner(payload: bytes, base_url: str) -> Request:
    line, _, rest = payload.lstrip().partition(b"\n")
    words = line.decode("latin-1").split()
    if len(words) < 2:
        raise ApiError(400, "A part of the batch is no HTTP request.", reason="badRequest")
    rest = rest.replace(b"\r\n", b"\n")
    head, _, content = rest.partition(b"\n\n")
    headers = BytesHeaderParser().parsebytes(head + b"\n\n")
    target = urlsplit(words[1])
    return Request(
        http_method=words[0],
        path=target.path,
        query=parse_qs(target.query, keep_blank_values=True),
        headers=headers,
        stream=io.BytesIO(content),
        base_url=base_url,
    )
