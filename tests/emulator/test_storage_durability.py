from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.api_core import exceptions

from airflow_ml_provider.emulator.discovery import Api
from tests.conftest import REPOSITORY
from tests.emulator.storage_fixtures import client, serving


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "storage"


@pytest.fixture
def address(folder):
    with serving(folder) as address:
        yield address


@pytest.fixture
def bucket(address):
    return client(address).create_bucket("my-bucket")


# --- races


def test_of_many_who_create_one_wins(address, bucket):
    def create(number):
        try:
            blob = client(address).bucket("my-bucket").blob(f"round-{number % 5}")
            blob.upload_from_string(str(number), if_generation_match=0)
        except exceptions.PreconditionFailed:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(40))) == 5


def test_a_counter_kept_by_compare_and_set_loses_no_step(address, bucket):
    bucket.blob("counter").upload_from_string("0")

    def add(_):
        mine = client(address).bucket("my-bucket")
        while True:
            blob = mine.get_blob("counter")
            try:
                value = int(blob.download_as_text(if_generation_match=blob.generation))
                mine.blob("counter").upload_from_string(str(value + 1), if_generation_match=blob.generation)
            except (exceptions.PreconditionFailed, exceptions.NotFound):
                continue
            return

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add, range(30)))
    assert bucket.blob("counter").download_as_text() == "30"


def test_a_reader_keeps_what_it_began_to_read(bucket):
    bucket.blob("a").upload_from_string("x" * 5_000_000)
    with bucket.blob("a").open("rb") as file:
        first = file.read(1000)
        bucket.blob("b").upload_from_string("y")
        assert first == b"x" * 1000
        assert len(file.read()) == 4_999_000


def test_a_write_whose_reply_was_lost_is_refused_when_repeated_and_stands(address, bucket):
    """The phantom 412: the first request took effect, and its repetition is told so by the condition."""
    url = f"{address}/upload/storage/v1/b/my-bucket/o?uploadType=media&name=pointer&ifGenerationMatch=0"
    assert requests.post(url, data=b"mine", timeout=10).status_code == 200
    assert requests.post(url, data=b"mine", timeout=10).status_code == 412
    assert bucket.blob("pointer").download_as_text() == "mine"


# --- resumable uploads


def begin(address, **query):
    params = {"uploadType": "resumable", "name": "big", **query}
    reply = requests.post(f"{address}/upload/storage/v1/b/my-bucket/o", params=params, json={}, timeout=10)
    assert reply.status_code == 200
    return reply.headers["Location"]


def send(url, data, content_range):
    return requests.put(url, data=data, headers={"Content-Range": content_range}, timeout=10)


UNIT = 262144


def test_an_upload_goes_on_where_it_stopped_also_after_a_restart(folder):
    content = os.urandom(2 * UNIT + 100)
    with serving(folder) as address:
        client(address).create_bucket("my-bucket")
        url = begin(address)
        reply = send(url, content[:UNIT], f"bytes 0-{UNIT - 1}/*")
        assert (reply.status_code, reply.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")
    with serving(folder) as address:
        url = address + url[url.index("/upload") :]
        reply = send(url, b"", "bytes */*")
        assert (reply.status_code, reply.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")
        reply = send(url, content[UNIT:], f"bytes {UNIT}-{len(content) - 1}/{len(content)}")
        assert reply.status_code == 200
        assert client(address).bucket("my-bucket").blob("big").download_as_bytes() == content


def test_a_finished_upload_says_so_again_also_after_a_restart(folder):
    with serving(folder) as address:
        client(address).create_bucket("my-bucket")
        url = begin(address)
        first = send(url, b"content", "bytes 0-6/7").json()
    with serving(folder) as address:
        url = address + url[url.index("/upload") :]
        again = send(url, b"", "bytes */7")
        assert (again.status_code, again.json()["generation"]) == (200, first["generation"])


def test_a_connection_that_breaks_inside_a_part_keeps_whole_units(address, bucket):
    import socket

    content = os.urandom(9 * UNIT + 7)
    url = begin(address)
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        target = url.removeprefix(address)
        raw.sendall(f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        raw.sendall(content[: 6 * UNIT + 5])
    while not (stored := send(url, b"", "bytes */*").headers.get("Range")):
        pass
    have = int(stored.rpartition("-")[2]) + 1
    assert have % UNIT == 0
    reply = send(url, content[have:], f"bytes {have}-{len(content) - 1}/{len(content)}")
    assert reply.status_code == 200
    assert bucket.blob("big").download_as_bytes() == content


def test_bytes_sent_twice_are_stored_once(address, bucket):
    content = os.urandom(2 * UNIT)
    url = begin(address)
    send(url, content[:UNIT], f"bytes 0-{UNIT - 1}/*")
    assert send(url, content, f"bytes 0-{len(content) - 1}/{len(content)}").status_code == 200
    assert bucket.blob("big").download_as_bytes() == content


def test_a_partial_unit_is_not_kept(address, bucket):
    reply = send(begin(address), b"x" * (UNIT + 5), f"bytes 0-{UNIT + 4}/*")
    assert (reply.status_code, reply.headers["Range"]) == (308, f"bytes=0-{UNIT - 1}")


def test_an_empty_upload_can_be_finished(address, bucket):
    assert send(begin(address), b"", "bytes */0").status_code == 200
    assert bucket.get_blob("big").size == 0


def test_a_cancelled_or_unknown_upload_is_gone(address, bucket):
    url = begin(address)
    assert requests.delete(url, timeout=10).status_code == 499
    assert send(url, b"x", "bytes 0-0/1").status_code == 404
    assert send(url.replace("upload_id=", "upload_id=0"), b"x", "bytes 0-0/1").status_code == 404


def test_the_condition_holds_when_the_upload_ends(address, bucket):
    url = begin(address, ifGenerationMatch=0)
    bucket.blob("big").upload_from_string("somebody was faster")
    assert send(url, b"x", "bytes 0-0/1").status_code == 412
    assert bucket.blob("big").download_as_text() == "somebody was faster"


# --- what clients send that is not to the letter


def test_a_multipart_body_with_bare_line_feeds_is_understood(address, bucket):
    body = b'--b\nContent-Type: application/json\n\n{"name": "a"}\n'
    body += b"--b\nContent-Type: text/plain\n\nhel\nlo\n--b--\n"
    url = f"{address}/upload/storage/v1/b/my-bucket/o?uploadType=multipart"
    headers = {"Content-Type": 'multipart/related; boundary="b"'}
    assert requests.post(url, data=body, headers=headers, timeout=10).status_code == 200
    assert bucket.blob("a").download_as_text() == "hel\nlo"


@pytest.mark.parametrize("body", [b"", b"--b\r\n", b"--b\r\nContent-Type: a/b\r\n\r\n{}\r\n--b--"])
def test_a_broken_multipart_body_is_refused(address, bucket, body):
    url = f"{address}/upload/storage/v1/b/my-bucket/o?uploadType=multipart"
    headers = {"Content-Type": "multipart/related; boundary=b"}
    assert requests.post(url, data=body, headers=headers, timeout=10).status_code == 400


# --- killed


def test_what_was_acknowledged_survives_a_kill_and_nothing_is_half_written(folder, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.emulator.storage_fixtures import serving\n"
        "with serving(Path(sys.argv[1])) as address:\n"
        "    print(address, flush=True); sys.stdin.read()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    address = server.stdout.readline().strip()
    bucket = client(address).create_bucket("my-bucket")
    acknowledged = []
    enough = threading.Event()

    def write():
        try:
            for number in range(10_000):
                url = f"{address}/upload/storage/v1/b/my-bucket/o?uploadType=media&name=a/{number % 50}"
                requests.post(url, data=str(number) * 2000, timeout=10).raise_for_status()
                acknowledged.append(number)
                if number == 120:
                    enough.set()
        except requests.RequestException:
            return

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(60)
    server.send_signal(signal.SIGKILL)
    server.wait()
    writer.join()
    with serving(folder) as address:
        bucket = client(address).bucket("my-bucket")
        newest = {number % 50: number for number in acknowledged}
        for place, number in newest.items():
            content = bucket.blob(f"a/{place}").download_as_text()
            assert content in (str(number) * 2000, str(number + 50) * 2000)


def test_content_that_a_killed_emulator_left_is_removed(folder):
    with serving(folder) as address:
        client(address).create_bucket("my-bucket").blob("a").upload_from_string("x")
    stray = folder / "content" / "zz" / "stray"
    stray.parent.mkdir()
    stray.write_bytes(b"half")
    with serving(folder) as address:
        assert not stray.exists()
        assert client(address).bucket("my-bucket").blob("a").download_as_text() == "x"


# --- the API's own description


def test_replies_are_as_the_discovery_document_says(address, bucket):
    api = Api("storage", "v1")
    blob = bucket.blob("a")
    blob.metadata = {"k": "v"}
    blob.upload_from_string("x")
    bucket.blob("whole").compose([blob])
    for schema, path in (
        ("Bucket", "b/my-bucket"),
        ("Buckets", "b?project=my-project"),
        ("Object", "b/my-bucket/o/a"),
        ("Object", "b/my-bucket/o/whole"),
        ("Objects", "b/my-bucket/o"),
        ("Policy", "b/my-bucket/iam"),
        ("TestIamPermissionsResponse", "b/my-bucket/iam/testPermissions?permissions=storage.objects.get"),
    ):
        reply = requests.get(f"{address}/storage/v1/{path}", timeout=10).json()
        assert api.message(schema, reply) == reply


# --- Airflow


def test_airflows_hook_works_unmodified(address, bucket, monkeypatch, tmp_path):
    from airflow.providers.google.cloud.hooks.gcs import GCSHook

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    connection = '{"conn_type": "google_cloud_platform", "extra": {"is_anonymous": true, "project": "p"}}'
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", connection)
    hook = GCSHook()
    local = tmp_path / "a.csv"
    local.write_text("1,2\n")
    hook.upload("my-bucket", "in/a.csv", filename=str(local))
    hook.upload("my-bucket", "in/b.csv", data="3,4\n")
    assert hook.download("my-bucket", "in/a.csv") == b"1,2\n"
    assert sorted(hook.list("my-bucket", prefix="in/")) == ["in/a.csv", "in/b.csv"]
    hook.copy("my-bucket", "in/a.csv", "my-bucket", "out/a.csv")
    hook.rewrite("my-bucket", "in/b.csv", "my-bucket", "out/b.csv")
    hook.compose("my-bucket", ["out/a.csv", "out/b.csv"], "all.csv")
    assert hook.download("my-bucket", "all.csv") == b"1,2\n3,4\n"
    assert hook.exists("my-bucket", "all.csv")
    hook.delete("my-bucket", "all.csv")
    assert not hook.exists("my-bucket", "all.csv")
    assert hook.get_size("my-bucket", "out/a.csv") == 4
