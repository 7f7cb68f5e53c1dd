"""Multipart uploads of the XML API, as the client's transfer manager makes them."""

from __future__ import annotations

import os
import re

import pytest
import requests
from google.cloud.storage import transfer_manager

from tests.emulator.storage_fixtures import client, serving

PART = 5 << 20


@pytest.fixture
def address(tmp_path):
    with serving(tmp_path / "storage") as address:
        client(address).create_bucket("my-bucket")
        yield address


@pytest.fixture
def bucket(address):
    return client(address).bucket("my-bucket")


def begin(address, **headers):
    reply = requests.post(f"{address}/my-bucket/big?uploads", headers=headers, timeout=10)
    assert reply.status_code == 200
    return re.search("<UploadId>(.*)</UploadId>", reply.text)[1]


def send(address, upload, number, content, **headers):
    url = f"{address}/my-bucket/big?partNumber={number}&uploadId={upload}"
    return requests.put(url, data=content, headers=headers, timeout=10)


def finish(address, upload, parts, **headers):
    items = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>" for n, e in parts)
    body = f"<CompleteMultipartUpload>{items}</CompleteMultipartUpload>"
    return requests.post(f"{address}/my-bucket/big?uploadId={upload}", data=body, headers=headers, timeout=10)


def code(reply):
    return reply.status_code, re.search("<Code>(.*)</Code>", reply.text)[1]


def test_the_transfer_manager_uploads_in_parts(bucket, tmp_path):
    content = os.urandom(2 * PART + 12345)
    local = tmp_path / "local"
    local.write_bytes(content)
    blob = bucket.blob("a/big file")
    blob.metadata = {"k": "v"}
    transfer_manager.upload_chunks_concurrently(
        str(local), blob, content_type="text/csv", chunk_size=PART, worker_type="thread", max_workers=3
    )
    blob = bucket.get_blob("a/big file")
    assert blob.download_as_bytes(checksum="crc32c") == content
    assert (blob.content_type, blob.metadata, blob.md5_hash) == ("text/csv", {"k": "v"}, None)


def test_parts_go_together_by_number_and_one_sent_again_replaces_the_first(address, bucket):
    upload = begin(address)
    last = send(address, upload, 7, b"tail").headers["ETag"]
    send(address, upload, 2, b"wrong")
    first = send(address, upload, 2, b"x" * PART).headers["ETag"]
    assert finish(address, upload, [(2, first), (7, last)]).status_code == 200
    assert bucket.blob("big").download_as_bytes() == b"x" * PART + b"tail"
    assert code(finish(address, upload, [(2, first)])) == (404, "NoSuchUpload")


def test_parts_survive_a_restart_and_an_upload_that_ends_leaves_no_files(tmp_path):
    folder = tmp_path / "storage"
    with serving(folder) as address:
        client(address).create_bucket("my-bucket")
        upload, other = begin(address), begin(address)
        etag = send(address, upload, 1, b"content").headers["ETag"]
        send(address, other, 1, b"in vain")
    with serving(folder) as address:
        assert (
            "<PartNumber>1</PartNumber>"
            in requests.get(f"{address}/my-bucket/big?uploadId={upload}", timeout=10).text
        )
        assert finish(address, upload, [(1, etag)]).status_code == 200
        assert requests.delete(f"{address}/my-bucket/big?uploadId={other}", timeout=10).status_code == 204
        assert client(address).bucket("my-bucket").blob("big").download_as_bytes() == b"content"
    assert len(list((folder / "content").glob("*/*"))) == 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(1, "{1}"), (3, "{1}")], (400, "InvalidPart")),
        ([(1, "0" * 32)], (400, "InvalidPart")),
        ([(2, "{2}"), (1, "{1}")], (400, "InvalidPartOrder")),
        ([(1, "{1}"), (2, "{2}")], (400, "EntityTooSmall")),
        ([], (400, "MalformedXML")),
    ],
)
def test_a_list_of_parts_that_makes_no_object_is_refused(address, bucket, parts, expected):
    upload = begin(address)
    etags = {n: send(address, upload, n, b"x" * n).headers["ETag"] for n in (1, 2)}
    chosen = [(n, etag.format(None, etags[1], etags[2])) for n, etag in parts]
    assert code(finish(address, upload, chosen)) == expected
    assert not bucket.blob("big").exists()


def test_damaged_parts_and_missing_buckets_are_refused(address):
    upload = begin(address)
    assert code(send(address, upload, 1, b"x", **{"x-goog-hash": "crc32c=AAAAAA=="})) == (400, "CrcMismatch")
    assert code(send(address, upload, 0, b"x")) == (400, "InvalidArgument")
    assert code(send(address, "nonsense", 1, b"x")) == (404, "NoSuchUpload")
    assert requests.post(f"{address}/no-such-bucket/big?uploads", timeout=10).status_code == 404


def test_the_end_of_an_upload_heeds_a_generation(address, bucket):
    bucket.blob("big").upload_from_string("there already")
    upload = begin(address)
    etag = send(address, upload, 1, b"new").headers["ETag"]
    refused = finish(address, upload, [(1, etag)], **{"x-goog-if-generation-match": "0"})
    assert code(refused) == (412, "PreconditionFailed")
    assert bucket.blob("big").download_as_text() == "there already"
