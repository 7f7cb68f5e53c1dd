"""The async client against a server, beside the blocking one: the same meaning of every answer."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.auth.credentials import AnonymousCredentials, Credentials

from airflow_ml_provider.vertex import errors
from airflow_ml_provider.vertex.async_client import AsyncVertexClient
from airflow_ml_provider.vertex.calls import Calls
from airflow_ml_provider.vertex.client import VertexClient
from airflow_ml_provider.vertex.replies import retry_after
from airflow_ml_provider.vertex.requests import Requests
from airflow_ml_provider.vertex.retry import RetryPolicy

NAME = "projects/1/locations/europe-west4/customJobs/7"
JOB = {"name": NAME, "state": "JOB_STATE_RUNNING", "createTime": "2026-11-20T00:00:00Z"}


class Server(ThreadingHTTPServer):
    """Answers from a list: status, headers, body, and seconds to think."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[tuple] = []
        self.seen: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        status, headers, body, *_ = self.server.replies.pop(0)
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(data)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


class Tokens(Credentials):
    """Credentials whose first token is not accepted any more."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "stale"
        self.threads: list[str] = []

    def refresh(self, request):
        self.threads.append(threading.current_thread().name)
        self.token = "fresh"


def get(kind, server, credentials=None, policy=None):
    address = f"http://127.0.0.1:{server.server_address[1]}"
    requests = Requests(project="my-project", region="europe-west4", vertex=address, logging=address)
    calls = Calls(requests, policy or RetryPolicy(first=0.001, longest=0.001))
    credentials = credentials or AnonymousCredentials()
    if kind == "sync":
        return VertexClient(requests, credentials).run(calls.get(NAME))

    async def run():
        client = AsyncVertexClient(credentials)
        try:
            return await client.run(calls.get(NAME))
        finally:
            await client.close()

    return asyncio.run(run())


def error(code, message, **headers):
    return code, headers, {"error": {"code": code, "message": message}}


BOTH = pytest.mark.parametrize("kind", ["sync", "async"])


@BOTH
def test_what_passes_is_tried_again(kind, server):
    page = (200, {}, "<html>a proxy's page</html>")
    gone = (None, {}, "")
    server.replies = [error(503, "later"), error(429, "rate"), page, gone, (200, {}, JOB)]
    assert get(kind, server).id == "7"
    assert len(server.seen) == 5


@BOTH
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error(400, "bad"), errors.InvalidJob),
        (error(403, "no"), errors.PermissionDenied),
        (error(404, "no"), errors.NotFound),
        (error(429, "The following quota metrics exceed quota limits: x"), errors.QuotaExceeded),
        (error(418, "tea"), errors.RequestError),
    ],
)
def test_what_does_not_pass_is_not(kind, server, reply, expected):
    server.replies = [reply]
    with pytest.raises(expected):
        get(kind, server)
    assert len(server.seen) == 1


@BOTH
def test_the_servers_wish_to_wait_is_known(kind, server):
    server.replies = [error(429, "rate", **{"Retry-After": 7})]
    with pytest.raises(errors.RateLimited) as caught:
        get(kind, server, policy=RetryPolicy(patience=0))
    assert caught.value.retry_after == 7


@BOTH
def test_a_token_that_is_refused_is_refreshed_once(kind, server):
    credentials = Tokens()
    server.replies = [error(401, "expired"), (200, {}, JOB)]
    assert get(kind, server, credentials).id == "7"
    assert [token for _, token in server.seen] == ["Bearer stale", "Bearer fresh"]
    if kind == "async":
        assert credentials.threads != ["MainThread"]


@BOTH
def test_credentials_that_are_refused_for_good_are_said_to_be(kind, server):
    server.replies = [error(401, "who are you?")] * 3
    with pytest.raises(errors.PermissionDenied):
        get(kind, server)


def test_the_pause_before_another_try_is_full_jitter_above_what_the_server_asks():
    policy = RetryPolicy(patience=60, first=1, longest=8, draw=lambda low, high: high)
    slow = errors.Unavailable("read", 503, "later")
    assert [policy.pause(slow, n, 0) for n in (1, 2, 3, 4, 5)] == [1, 2, 4, 8, 8]
    asked = errors.RateLimited("read", 429, "rate", retry_after=30)
    assert policy.pause(asked, 1, 0) == 31
    assert policy.pause(asked, 1, 45) is None
    assert policy.pause(errors.NotFound("read", 404, "no"), 1, 0) is None


def test_retry_after_may_be_seconds_or_a_date():
    from datetime import UTC, datetime

    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert retry_after("5") == 5
    assert retry_after("Fri, 20 Nov 2026 12:00:30 GMT", now) == 30
    assert retry_after("Fri, 20 Nov 2026 11:00:00 GMT", now) == 0
    assert retry_after("86400") == 120
    assert retry_after("soon") is None
    assert retry_after(None) is None
