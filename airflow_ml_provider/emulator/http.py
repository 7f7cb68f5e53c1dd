"""The HTTP side of the emulator: one port, requests routed to the service whose API has the method."""

from __future__ import annotations

import io
import json
import logging
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Protocol
from urllib.parse import parse_qs, urlsplit

from airflow_ml_provider.emulator.discovery import Api, Method
from airflow_ml_provider.emulator.errors import ApiError

log = logging.getLogger(__name__)

CHUNK = 1 << 20


@dataclass
class Response:
    """What a handler answers when a JSON object with status 200 is not it.

    :param status: the HTTP status.
    :param body: bytes, or an iterable of them (then ``headers`` must hold ``Content-Length``).
    :param headers: to send beside the usual ones.
    """

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """One request, after its method was found and its parameters were checked.

    :param method: the API's method, e.g. the one with id ``storage.objects.insert``.
    :param http_method: as sent; differs from ``method.http_method`` in a resumable upload.
    :param params: path and query parameters by their documented name, in their documented type.
    :param headers: case-insensitive.
    :param stream: the body, readable once and to its end.
    :param base_url: scheme, host and port by which the caller reached the emulator.
    :param upload: whether it came under the API's ``/upload`` path.
    """

    api: Api
    method: Method
    http_method: str
    params: dict[str, Any]
    headers: Message
    stream: BinaryIO
    base_url: str
    upload: bool = False

    def json(self) -> dict[str, Any]:
        """Return the body, checked against the schema of the method's request.

        :raises ApiError: 400 where the API would refuse it.
        """
        return self.message(self.stream.read())

    def patch(self) -> dict[str, Any]:
        """Return the body, checked likewise, with its nulls, which mean removal."""
        raw = self.stream.read()
        self.message(raw)
        value: dict[str, Any] = json.loads(raw) if raw.strip() else {}
        return value

    def message(self, raw: bytes) -> dict[str, Any]:
        """Return JSON text as the method's request message, see :meth:`Api.message`."""
        try:
            value = json.loads(raw) if raw.strip() else {}
        except ValueError as error:
            raise ApiError(400, f"Invalid JSON payload received. {error}", reason="parseError") from None
        if self.method.request is None:
            return {}
        return self.api.message(self.method.request, value)


Handler = Callable[[Call], "Response | dict[str, Any]"]


class Service(Protocol):
    """One emulated Google service.

    ``legacy_errors`` tells whether it reports errors as Cloud Storage and BigQuery do, or as the newer
    APIs do. ``handlers`` maps method ids to what answers them. ``undocumented`` answers what is not in the
    discovery document: it returns None for what is not its own.
    """

    api: Api
    legacy_errors: bool
    handlers: Mapping[str, Handler]

    def undocumented(self, request: Request) -> Response | None:
        """Answer a request that the API's document does not describe, or return None."""

    def close(self) -> None:
        """Stop what runs and put state away."""


@dataclass
class Request:
    """A request as it came in.

    :param path: percent-encoded, without the query.
    """

    http_method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    stream: BinaryIO
    base_url: str


class Application:
    """The services behind one address."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.services = list(services)

    def dispatch(self, request: Request) -> Response:
        """Answer a request; every failure becomes an error in the shape of the API that was called."""
        owner: Service | None = None
        try:
            for service in self.services:
                answered = service.undocumented(request)
                if answered is not None:
                    return answered
                match = service.api.match(request.http_method, request.path)
                if match is None:
                    continue
                owner = service
                handler = service.handlers.get(match.method.id)
                if handler is None:
                    raise ApiError(501, f"The emulator does not implement {match.method.id}.")
                params = service.api.parameters(match, request.query)
                call = Call(
                    api=service.api,
                    method=match.method,
                    http_method=request.http_method,
                    params=params,
                    headers=request.headers,
                    stream=request.stream,
                    base_url=request.base_url,
                    upload=match.upload,
                )
                answer = handler(call)
                if isinstance(answer, Response):
                    return answer
                return json_response(200, select(answer, params.get("fields")))
            raise ApiError(404, f"No method of the emulated APIs is {request.http_method} {request.path}.")
        except ApiError as error:
            return error_response(error, legacy=owner is None or owner.legacy_errors)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            log.exception("%s %s failed in the emulator", request.http_method, request.path)
            failure = ApiError(500, f"The emulator failed: {type(error).__name__}: {error}")
            return error_response(failure, legacy=owner is None or owner.legacy_errors)

    def close(self) -> None:
        """Close every service, in the order in which they were given."""
        for service in self.services:
            service.close()


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, body, {"Content-Type": "application/json; charset=UTF-8", **(headers or {})})


def error_response(error: ApiError, *, legacy: bool) -> Response:
    """Return an error's answer in one of Google's two shapes."""
    return json_response(error.code, error.legacy() if legacy else error.canonical())


def select(value: dict[str, Any], fields: str | None) -> dict[str, Any]:
    """Keep what a ``fields`` parameter names: ``items(name,owner/id),nextPageToken``.

    https://cloud.google.com/storage/docs/json_api#partial-response
    """
    if not fields or fields == "*":
        return value
    tree, rest = _parse_fields(fields, 0)
    if rest != len(fields):
        raise ApiError(400, f"Invalid field selection {fields}", reason="invalidParameter", location="fields")
    kept = _keep(value, tree)
    return kept if isinstance(kept, dict) else {}


_Tree = dict[str, "_Tree"]


def _parse_fields(text: str, at: int) -> tuple[_Tree, int]:
    tree: _Tree = {}
    node, name = tree, ""
    while at <= len(text):
        char = text[at] if at < len(text) else ","
        if char in ",)/(":
            if name:
                node = node.setdefault(name, {})
                name = ""
            if char == "(":
                inner, at = _parse_fields(text, at + 1)
                node.update(inner)
                if at >= len(text) or text[at] != ")":
                    raise ApiError(400, f"Invalid field selection {text}", location="fields")
            elif char == ",":
                node = tree
            elif char == ")":
                return tree, at
        else:
            name += char
        at += 1
    return tree, len(text)


def _keep(value: Any, tree: _Tree) -> Any:
    if not tree or ("*" in tree and not tree["*"]):
        return value
    if isinstance(value, list):
        return [_keep(item, tree) for item in value]
    if isinstance(value, dict):
        return {
            name: _keep(item, tree.get(name, tree.get("*", {})))
            for name, item in value.items()
            if name in tree or "*" in tree
        }
    return value


class _Body:
    """A request's body: as many bytes as were announced, or chunks."""

    def __init__(self, raw: io.BufferedIOBase, headers: Message) -> None:
        self._raw = raw
        self._chunked = "chunked" in (headers.get("Transfer-Encoding") or "").lower()
        self._left = 0 if self._chunked else int(headers.get("Content-Length") or 0)
        self._ended = not self._chunked and self._left == 0

    def read(self, size: int = -1) -> bytes:
        parts: list[bytes] = []
        wanted = size if size >= 0 else sys.maxsize
        while wanted > 0 and not self._ended:
            if self._left == 0:
                self._next_chunk()
                continue
            piece = self._raw.read(min(self._left, wanted, CHUNK))
            if not piece:
                raise ConnectionError("the client closed the connection before the end of the body")
            parts.append(piece)
            wanted -= len(piece)
            self._left -= len(piece)
            if self._left == 0:
                if self._chunked:
                    self._raw.readline()
                else:
                    self._ended = True
        return b"".join(parts)

    def _next_chunk(self) -> None:
        self._left = int(self._raw.readline().split(b";")[0].strip() or b"0", 16)
        if self._left == 0:
            while self._raw.readline().strip():
                pass
            self._ended = True

    def drain(self) -> None:
        while self.read(CHUNK):
            pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "airflow-ml-emulator"
    wbufsize = 1 << 16
    timeout = 600
    server: Server

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        body = _Body(self.rfile, self.headers)
        host = self.headers.get("Host") or "{}:{}".format(*self.server.server_address[:2])
        request = Request(
            # HEAD is GET without the body.
            http_method="GET" if self.command == "HEAD" else self.command,
            path=parts.path,
            query=parse_qs(parts.query, keep_blank_values=True),
            headers=self.headers,
            stream=body,  # type: ignore[arg-type]
            base_url=f"http://{host}",
        )
        try:
            response = self.server.application.dispatch(request)
        except ConnectionResetError:
            # Closed at once, so that the client sees a reset instead of an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
        body.drain()
        self._send(response)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _send(self, response: Response) -> None:
        headers = dict(response.headers)
        if isinstance(response.body, bytes):
            headers["Content-Length"] = str(len(response.body))
        self.send_response(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and response.status not in (204, 304):
            for piece in _pieces(response.body):
                self.wfile.write(piece)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %s", self.address_string(), format % args)


def _pieces(body: bytes | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
    else:
        yield from body


class Server(ThreadingHTTPServer):
    """The emulator's server.

    :param address: host and port; port 0 takes a free one.
    :raises OSError: the port is in use.
    """

    daemon_threads = True
    # Without it a second emulator would silently share the port on some systems.
    allow_reuse_port = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], application: Application) -> None:
        self.application = application
        super().__init__(address, _Handler)

    def serve_forever(self, poll_interval: float = 0.05) -> None:
        """Serve until :meth:`shutdown`, which waits for ``poll_interval`` seconds at most."""
        super().serve_forever(poll_interval)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, answering small replies at once."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that broke; the client knows already."""
        log.debug("connection from %s broke", client_address, exc_info=True)
