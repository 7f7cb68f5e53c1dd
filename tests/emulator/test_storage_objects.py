from __future__ import annotations

import gzip
import os
import time

import pytest
import requests
from google.api_core import exceptions

from tests.emulator.storage_fixtures import client, serving


@pytest.fixture
def address(tmp_path):
    with serving(tmp_path / "storage") as address:
        yield address


@pytest.fixture
def storage(address):
    return client(address)


@pytest.fixture
def bucket(storage):
    return storage.create_bucket("my-bucket")


def put(bucket, name, text="x", **conditions):
    blob = bucket.blob(name)
    blob.upload_from_string(text, **conditions)
    return blob


# --- buckets


def test_buckets_are_made_listed_changed_and_deleted(storage):
    bucket = storage.create_bucket("my-bucket", location="europe-west4")
    assert bucket.location == "EUROPE-WEST4"
    bucket.labels = {"team": "ml"}
    bucket.patch()
    assert storage.get_bucket("my-bucket").labels == {"team": "ml"}
    assert storage.get_bucket("my-bucket").metageneration == 2
    assert [b.name for b in storage.list_buckets()] == ["my-bucket"]
    bucket.delete()
    assert storage.lookup_bucket("my-bucket") is None


@pytest.mark.parametrize(
    "name", ["ab", "UPPER-case", "-dash", "dash-", "a..b", "10.0.0.1", "goog-x", "a" * 64]
)
def test_bucket_names_that_google_refuses_are_refused(address, name):
    reply = requests.post(f"{address}/storage/v1/b?project=p", json={"name": name}, timeout=10)
    assert reply.status_code == 400
    assert "Invalid bucket name" in reply.json()["error"]["message"]


def test_a_bucket_that_exists_is_a_conflict_and_one_that_does_not_is_not_found(storage, bucket):
    with pytest.raises(exceptions.Conflict):
        storage.create_bucket("my-bucket")
    with pytest.raises(exceptions.NotFound):
        put(storage.bucket("no-such-bucket"), "a")


def test_a_bucket_with_objects_is_not_deleted(bucket):
    put(bucket, "a")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        bucket.delete()


def test_a_field_that_does_not_exist_is_refused_by_name(address):
    reply = requests.post(
        f"{address}/storage/v1/b?project=p", json={"name": "good-name", "colour": 1}, timeout=10
    )
    assert reply.status_code == 400
    assert "colour" in reply.json()["error"]["message"]


# --- content


@pytest.mark.parametrize("size", [0, 1, 262144, 3_000_001])
def test_content_comes_back_as_it_went_in(bucket, size):
    content = os.urandom(size)
    put(bucket, "a", content)
    resumable = bucket.blob("b", chunk_size=262144)
    with resumable.open("wb", ignore_flush=True) as file:
        file.write(content)
    assert bucket.blob("a").download_as_bytes() == content
    assert bucket.blob("b").download_as_bytes() == content
    a, b = bucket.get_blob("a"), bucket.get_blob("b")
    assert (a.size, a.crc32c, a.md5_hash) == (b.size, b.crc32c, b.md5_hash)


def test_names_keep_their_spaces_slashes_and_letters(bucket):
    for name in ("a b", "x", "x/y", "ü/ж", "a?b#c%20", "a+b", "a//b", "/lead"):
        put(bucket, name, name)
        assert bucket.blob(name).download_as_text() == name
    assert len(list(bucket.list_blobs())) == 8


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(0, 0, b"0"), (2, 4, b"234"), (7, None, b"789"), (8, 99, b"89")]
)
def test_ranges_are_answered(bucket, start, end, expected):
    put(bucket, "digits", "0123456789")
    assert bucket.blob("digits").download_as_bytes(start=start, end=end) == expected


def test_a_head_request_has_the_headers_of_the_content_without_it(address, bucket):
    put(bucket, "digits", "0123456789")
    reply = requests.head(f"{address}/download/storage/v1/b/my-bucket/o/digits?alt=media", timeout=10)
    assert (reply.status_code, reply.content, reply.headers["Content-Length"]) == (200, b"", "10")


def test_a_suffix_range_is_answered_and_one_beyond_the_end_refused(address, bucket):
    put(bucket, "digits", "0123456789")
    url = f"{address}/download/storage/v1/b/my-bucket/o/digits?alt=media"
    reply = requests.get(url, headers={"Range": "bytes=-3"}, timeout=10)
    assert (reply.status_code, reply.content, reply.headers["Content-Range"]) == (206, b"789", "bytes 7-9/10")
    assert requests.get(url, headers={"Range": "bytes=10-"}, timeout=10).status_code == 416


def test_wrong_checksums_are_refused_and_nothing_is_stored(address, bucket):
    url = f"{address}/upload/storage/v1/b/my-bucket/o?uploadType=media&name=a"
    reply = requests.post(url, data=b"hello", headers={"x-goog-hash": "crc32c=AAAAAA=="}, timeout=10)
    assert reply.status_code == 400
    assert not bucket.blob("a").exists()
    blob = bucket.blob("a")
    blob.md5_hash = "1B2M2Y8AsgTpgAmY7PhCfg=="
    with pytest.raises(exceptions.BadRequest):
        blob.upload_from_string("hello")
    assert not bucket.blob("a").exists()


def test_gzip_content_is_unpacked_for_who_does_not_accept_it(address, bucket):
    blob = bucket.blob("a.csv")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(b"plain" * 1000))
    url = f"{address}/storage/v1/b/my-bucket/o/a.csv?alt=media"
    assert requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=10).content == b"plain" * 1000
    packed = requests.get(url, headers={"Accept-Encoding": "gzip"}, timeout=10, stream=True)
    assert gzip.decompress(packed.raw.read()) == b"plain" * 1000
    assert blob.download_as_bytes() == b"plain" * 1000


def test_an_object_that_does_not_exist_is_not_found(bucket):
    with pytest.raises(exceptions.NotFound, match="No such object: my-bucket/a"):
        bucket.blob("a").download_as_bytes()
    with pytest.raises(exceptions.NotFound):
        bucket.blob("a").delete()
    assert not bucket.blob("a").exists()


# --- generations and metadata


def test_generations_rise_with_content_and_metagenerations_with_metadata(bucket):
    blob = put(bucket, "a")
    first = blob.generation
    assert abs(first / 1e6 - time.time()) < 60
    blob.metadata = {"k": "v", "other": "w"}
    blob.patch()
    assert (blob.generation, blob.metageneration) == (first, 2)
    blob.metadata = {"k": None, "other": "w"}
    blob.patch()
    assert bucket.get_blob("a").metadata == {"other": "w"}
    again = put(bucket, "a", "y")
    assert again.generation > first
    assert again.metageneration == 1


def test_an_update_replaces_all_metadata(bucket):
    blob = bucket.blob("a")
    blob.cache_control = "no-store"
    blob.upload_from_string("x", content_type="text/csv")
    blob.cache_control = None
    blob.content_language = "de"
    blob.update()
    blob.reload()
    assert (blob.cache_control, blob.content_language, blob.content_type) == (None, "de", "text/csv")


def test_a_replaced_generation_is_gone_unless_the_bucket_keeps_versions(bucket):
    old = put(bucket, "a", "one").generation
    put(bucket, "a", "two")
    with pytest.raises(exceptions.NotFound):
        bucket.blob("a", generation=old).download_as_bytes()
    bucket.versioning_enabled = True
    bucket.patch()
    kept = bucket.get_blob("a").generation
    put(bucket, "a", "three")
    assert bucket.blob("a", generation=kept).download_as_bytes() == b"two"
    bucket.blob("a").delete()
    assert not bucket.blob("a").exists()
    assert len(list(bucket.list_blobs(versions=True))) == 2


# --- preconditions


def test_create_only_is_refused_where_something_is(address, bucket):
    put(bucket, "a", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        put(bucket, "a", "y", if_generation_match=0)
    url = f"{address}/upload/storage/v1/b/my-bucket/o?uploadType=media&name=a&ifGenerationMatch=0"
    reply = requests.post(url, data=b"y", timeout=10)
    assert reply.status_code == 412
    assert reply.json()["error"]["errors"][0] == {
        "message": "At least one of the pre-conditions you specified did not hold.",
        "domain": "global",
        "reason": "conditionNotMet",
        "locationType": "header",
        "location": "If-Match",
    }
    assert bucket.blob("a").download_as_text() == "x"


@pytest.mark.parametrize("chunk_size", [None, 262144])
def test_every_way_of_uploading_heeds_a_generation(bucket, chunk_size):
    generation = put(bucket, "a").generation
    blob = bucket.blob("a", chunk_size=chunk_size)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("y" * 600_000, if_generation_match=generation - 1)
    blob.upload_from_string("y" * 600_000, if_generation_match=generation)
    assert bucket.get_blob("a").size == 600_000


def test_reads_changes_and_deletes_heed_their_preconditions(bucket):
    blob = put(bucket, "a")
    generation, metageneration = blob.generation, blob.metageneration
    fresh = bucket.blob("a")
    for call in (
        lambda **c: fresh.reload(**c),
        lambda **c: fresh.download_as_bytes(**c),
        lambda **c: fresh.patch(**c),
        lambda **c: fresh.delete(**c),
    ):
        with pytest.raises(exceptions.PreconditionFailed):
            call(if_generation_match=generation + 1)
        with pytest.raises(exceptions.PreconditionFailed):
            call(if_metageneration_match=metageneration + 5)
    fresh.delete(if_generation_match=generation)
    assert not bucket.blob("a").exists()


def test_a_read_of_what_one_has_already_is_not_modified(address, bucket):
    blob = put(bucket, "a")
    url = f"{address}/storage/v1/b/my-bucket/o/a"
    assert requests.get(f"{url}?ifGenerationNotMatch={blob.generation}", timeout=10).status_code == 304
    assert requests.get(f"{url}?ifGenerationNotMatch=5", timeout=10).status_code == 200
    assert requests.get(f"{url}?ifMetagenerationNotMatch=1&alt=media", timeout=10).status_code == 304
    assert requests.delete(f"{url}?ifGenerationNotMatch={blob.generation}", timeout=10).status_code == 412


def test_a_bucket_heeds_its_metageneration(bucket):
    bucket.labels = {"a": "b"}
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.patch(if_metageneration_match=7)
    bucket.patch(if_metageneration_match=1)


# --- copies and compositions


def test_objects_are_copied_rewritten_renamed_and_moved(storage, bucket):
    other = storage.create_bucket("other-bucket")
    blob = bucket.blob("a")
    blob.metadata = {"k": "v"}
    blob.upload_from_string("content", content_type="text/csv")
    copied = bucket.copy_blob(blob, other, "b")
    assert (copied.metadata, copied.content_type, copied.md5_hash) == ({"k": "v"}, "text/csv", blob.md5_hash)
    token, done, total = other.blob("c").rewrite(blob)
    assert (token, done, total) == (None, 7, 7)
    bucket.rename_blob(blob, "d")
    assert not bucket.blob("a").exists()
    moved = bucket.move_blob(bucket.blob("d"), "e")
    assert moved.download_as_text() == "content"
    assert [b.name for b in bucket.list_blobs()] == ["e"]


def test_copies_heed_conditions_of_source_and_destination(bucket):
    blob = put(bucket, "a")
    put(bucket, "b")
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.copy_blob(blob, bucket, "b", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.copy_blob(blob, bucket, "c", if_source_generation_match=blob.generation + 1)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("b").rewrite(blob, if_generation_match=0)


def test_a_copy_survives_its_source(bucket):
    blob = put(bucket, "a", "content")
    copied = bucket.copy_blob(blob, bucket, "b")
    blob.delete()
    assert copied.download_as_text() == "content"


def test_objects_are_composed_in_order(bucket):
    parts = [put(bucket, f"part-{n}", f"{n},") for n in range(5)]
    whole = bucket.blob("whole")
    whole.compose(parts, if_generation_match=0)
    whole.reload()
    assert whole.download_as_text() == "0,1,2,3,4,"
    assert whole.component_count == 5
    assert whole.md5_hash is None
    twice = bucket.blob("twice")
    twice.compose([whole, parts[0]])
    twice.reload()
    assert twice.component_count == 6


def test_compositions_heed_limits_and_conditions(bucket):
    part = put(bucket, "part")
    with pytest.raises(exceptions.BadRequest):
        bucket.blob("whole").compose([part] * 33)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("part").compose([part], if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("whole").compose([part], if_source_generation_match=[5])
    with pytest.raises(exceptions.NotFound):
        bucket.blob("whole").compose([bucket.blob("nothing")])
    assert not bucket.blob("whole").exists()


# --- batches


def test_a_batch_is_answered_part_by_part(storage, bucket):
    for name in ("a", "b"):
        put(bucket, name)
    with storage.batch(raise_exception=False) as batch:
        bucket.blob("a").delete()
        bucket.blob("missing").delete()
        bucket.blob("b").patch()
    assert [reply.status_code for reply in batch._responses] == [204, 404, 200]


def test_a_condition_of_a_bucket_policy_is_its_etag(bucket):
    policy, stale = bucket.get_iam_policy(), bucket.get_iam_policy()
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
    bucket.set_iam_policy(policy)
    assert {b["role"] for b in bucket.get_iam_policy().bindings} >= {"roles/storage.objectViewer"}
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.set_iam_policy(stale)


def test_an_object_under_a_hold_is_neither_deleted_nor_replaced(bucket):
    blob = put(bucket, "a")
    blob.temporary_hold = True
    blob.patch()
    with pytest.raises(exceptions.Forbidden, match="Temporary hold"):
        blob.delete()
    with pytest.raises(exceptions.Forbidden):
        put(bucket, "a", "y")
    blob.temporary_hold = False
    blob.patch()
    blob.delete()


def test_what_can_not_be_changed_is_refused(address, bucket):
    url = f"{address}/storage/v1/b/my-bucket"
    assert requests.patch(url, json={"location": "asia-east1"}, timeout=10).status_code == 400
    assert requests.patch(url, json={"labels": {"Team": "ml"}}, timeout=10).status_code == 400
    assert requests.patch(url, json={"storageClass": "CHEAP"}, timeout=10).status_code == 400
    assert requests.patch(url, json={"billing": {"requesterPays": True}}, timeout=10).status_code == 501


def test_what_the_emulator_does_not_know_is_refused_by_name(address, bucket):
    reply = requests.get(f"{address}/storage/v1/b/my-bucket/notificationConfigs", timeout=10)
    assert reply.status_code == 501
    assert "storage.notifications.list" in reply.json()["error"]["message"]
