from __future__ import annotations

import http.client
import json
import threading

import pytest

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Application, Response, Server, select


class Buckets:
    """A service with two methods, one of which fails."""

    legacy_errors = True

    def __init__(self):
        self.api = Api("storage", "v1")
        self.handlers = {"storage.buckets.insert": self.insert, "storage.buckets.get": self.get}
        self.closed = False

    def insert(self, call):
        return {"received": call.json(), "project": call.params["project"], "base": call.base_url}

    def get(self, call):
        name = call.params["bucket"]
        if name == "broken":
            raise RuntimeError("a bug")
        if name == "stream":
            return Response(200, iter([b"ab", b"cd"]), {"Content-Length": "4"})
        raise ApiError(404, f"no bucket {name}")

    def undocumented(self, request):
        return Response(200, b"batch") if request.path == "/batch" else None

    def close(self):
        self.closed = True


@pytest.fixture
def connection():
    server = Server(("127.0.0.1", 0), Application([Buckets()]))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made = http.client.HTTPConnection(*server.server_address)
    yield made
    made.close()
    server.shutdown()
    server.server_close()


def ask(connection, method, path, body=None, **headers):
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    text = reply.read()
    try:
        return reply.status, json.loads(text)
    except ValueError:
        return reply.status, text


def test_a_call_is_checked_and_answered(connection):
    status, answer = ask(connection, "POST", "/storage/v1/b?project=p", b'{"name": "b"}')
    assert status == 200
    assert answer["received"] == {"name": "b"}
    assert answer["base"] == f"http://127.0.0.1:{connection.port}"


def test_a_chunked_body_is_understood(connection):
    connection.request("POST", "/storage/v1/b?project=p", iter([b'{"name"', b': "b"}']), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["received"] == {"name": "b"}


def test_a_connection_survives_a_refused_body(connection):
    assert ask(connection, "POST", "/storage/v1/b?nonsense=1", b"x" * 100_000)[0] == 400
    assert ask(connection, "GET", "/storage/v1/b/x")[0] == 404


def test_errors_have_googles_shape(connection):
    status, answer = ask(connection, "GET", "/storage/v1/b/x")
    assert status == 404
    assert answer["error"]["errors"][0] == {
        "message": "no bucket x",
        "domain": "global",
        "reason": "notFound",
    }


def test_a_method_without_a_handler_is_refused_by_name(connection):
    status, answer = ask(connection, "GET", "/storage/v1/b/x/notificationConfigs")
    assert status == 501
    assert "storage.notifications.list" in answer["error"]["message"]


def test_an_unknown_path_is_refused_by_name(connection):
    status, answer = ask(connection, "GET", "/compute/v1/zones")
    assert status == 404
    assert "/compute/v1/zones" in answer["error"]["message"]


def test_a_bug_becomes_an_internal_error(connection):
    status, answer = ask(connection, "GET", "/storage/v1/b/broken")
    assert (status, answer["error"]["errors"][0]["reason"]) == (500, "internalError")


def test_text_that_is_not_json_is_a_parse_error(connection):
    status, answer = ask(connection, "POST", "/storage/v1/b?project=p", b"{")
    assert (status, answer["error"]["errors"][0]["reason"]) == (400, "parseError")


def test_bodies_can_be_streamed_and_undocumented_paths_answered(connection):
    assert ask(connection, "GET", "/storage/v1/b/stream") == (200, b"abcd")
    assert ask(connection, "GET", "/batch") == (200, b"batch")


def test_a_port_in_use_is_an_error():
    server = Server(("127.0.0.1", 0), Application([]))
    with pytest.raises(OSError, match="in use"):
        Server(server.server_address, Application([]))
    server.server_close()


VALUE = {"items": [{"name": "a", "size": 1, "owner": {"id": 5, "kind": "k"}}], "next": "t", "kind": "list"}


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (None, VALUE),
        ("*", VALUE),
        ("next", {"next": "t"}),
        ("items(name,owner/id),next", {"items": [{"name": "a", "owner": {"id": 5}}], "next": "t"}),
        ("items/name", {"items": [{"name": "a"}]}),
        ("items", {"items": VALUE["items"]}),
        ("nothing", {}),
    ],
)
def test_a_field_selection_keeps_what_it_names(fields, kept):
    assert select(VALUE, fields) == kept


@pytest.mark.parametrize("fields", ["items(name", "items)name"])
def test_a_broken_field_selection_is_refused(fields):
    with pytest.raises(ApiError, match="field selection"):
        select(VALUE, fields)
