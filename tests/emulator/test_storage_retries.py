"""What the official client does when calls fail: the cases of Google's retry conformance tests.

https://github.com/googleapis/conformance-tests/blob/main/storage/v1/retry_tests.json,
for the methods that the emulator has.
"""

from __future__ import annotations

import io
import itertools
import os

import pytest
import requests
from google.api_core import exceptions, retry
from google.auth.exceptions import InvalidOperation
from google.cloud.storage.retry import DEFAULT_RETRY

from airflow_ml_provider.emulator.faults.rules import Rule, Rulebook
from tests.emulator.storage_fixtures import client, serving

UNAVAILABLE, RESET = "503", "reset"
CHUNK = 256 * 1024
numbers = itertools.count()


@pytest.fixture(scope="module")
def rules():
    return Rulebook()


@pytest.fixture(scope="module")
def address(tmp_path_factory, rules):
    with serving(tmp_path_factory.mktemp("storage"), rules) as address:
        yield address


@pytest.fixture
def storage(address, rules, monkeypatch):
    """Return a client that retries without waiting."""
    monkeypatch.setattr(retry.retry_unary.time, "sleep", lambda seconds: None)
    yield client(address)
    rules.remove()


@pytest.fixture
def bucket(storage):
    return storage.create_bucket(f"bucket-{next(numbers)}")


@pytest.fixture
def blob(bucket):
    blob = bucket.blob("object")
    blob.upload_from_string("content")
    return blob


def fail(rules, method, *instructions):
    """Let a method's next calls fail, in this order."""
    for instruction in instructions:
        if instruction == RESET:
            rules.add(Rule("reset", method=method, count=1))
        else:
            rules.add(Rule("status", method=method, status=int(instruction), count=1))


def struck(rules):
    return sum(rule["struck"] for rule in rules.describe())


ALWAYS = {
    "storage.buckets.delete": lambda bucket, blob: blob.delete() or bucket.delete(),
    "storage.buckets.get": lambda bucket, blob: bucket.reload(),
    "storage.buckets.getIamPolicy": lambda bucket, blob: bucket.get_iam_policy(),
    "storage.buckets.insert": lambda bucket, blob: bucket.client.create_bucket(f"bucket-{next(numbers)}"),
    "storage.buckets.list": lambda bucket, blob: list(bucket.client.list_buckets()),
    "storage.buckets.testIamPermissions": lambda bucket, blob: bucket.test_iam_permissions(
        ["storage.objects.get"]
    ),
    "storage.objects.get": lambda bucket, blob: blob.reload(),
    "storage.objects.list": lambda bucket, blob: list(bucket.list_blobs()),
    "storage.projects.serviceAccount.get": lambda bucket, blob: bucket.client.get_service_account_email(),
}
DOWNLOADS = {
    "in one piece": lambda blob: blob.download_as_bytes(),
    "in chunks": lambda blob: blob.bucket.blob(blob.name, chunk_size=CHUNK).download_as_bytes(),
    "as a file": lambda blob: blob.open("rb").read(),
}


def set_policy(bucket, etag):
    policy = bucket.get_iam_policy()
    if not etag:
        policy.etag = None
    bucket.set_iam_policy(policy)


def upload(bucket, content, chunk_size=None):
    """Upload in one piece, or in chunks of a session, as the client does where it does not know the size."""
    blob = bucket.blob("new", chunk_size=chunk_size)
    size = None if chunk_size else len(content)
    blob.upload_from_file(io.BytesIO(content), size=size, if_generation_match=0, retry=DEFAULT_RETRY)


IF_CONDITIONAL = {
    "storage.buckets.patch": lambda bucket, blob, safe: bucket.patch(
        **({"if_metageneration_match": bucket.metageneration} if safe else {})
    ),
    "storage.buckets.update": lambda bucket, blob, safe: bucket.update(
        **({"if_metageneration_match": bucket.metageneration} if safe else {})
    ),
    "storage.buckets.setIamPolicy": lambda bucket, blob, safe: set_policy(bucket, safe),
    "storage.objects.compose": lambda bucket, blob, safe: bucket.blob("new").compose(
        [blob], **({"if_generation_match": 0} if safe else {})
    ),
    "storage.objects.copy": lambda bucket, blob, safe: bucket.copy_blob(
        blob, bucket, "new", **({"if_generation_match": 0} if safe else {})
    ),
    "storage.objects.delete": lambda bucket, blob, safe: bucket.blob(blob.name).delete(
        **({"if_generation_match": blob.generation} if safe else {})
    ),
    "storage.objects.patch": lambda bucket, blob, safe: bucket.blob(blob.name).patch(
        **({"if_metageneration_match": blob.metageneration} if safe else {})
    ),
    "storage.objects.update": lambda bucket, blob, safe: blob.update(
        **({"if_metageneration_match": blob.metageneration} if safe else {})
    ),
    "storage.objects.rewrite": lambda bucket, blob, safe: bucket.blob("new").rewrite(
        blob, **({"if_generation_match": 0} if safe else {})
    ),
}
# Version 3 of the client repeats these whether or not there is a condition.
ANYWAY = ("storage.objects.delete", "storage.objects.patch")
TWICE = [(UNAVAILABLE, UNAVAILABLE), (RESET, RESET), (RESET, UNAVAILABLE)]


@pytest.mark.parametrize("instructions", TWICE)
@pytest.mark.parametrize("method", ALWAYS)
def test_calls_that_may_be_repeated_succeed_in_the_end(rules, bucket, blob, method, instructions):
    fail(rules, method, *instructions)
    ALWAYS[method](bucket, blob)
    assert struck(rules) == 2


@pytest.mark.parametrize("instructions", TWICE)
@pytest.mark.parametrize("method", IF_CONDITIONAL)
def test_changes_with_a_condition_succeed_in_the_end(rules, bucket, blob, method, instructions):
    fail(rules, method, *instructions)
    IF_CONDITIONAL[method](bucket, blob, True)
    assert struck(rules) == 2


@pytest.mark.parametrize("instruction", [UNAVAILABLE, RESET])
@pytest.mark.parametrize("method", [method for method in IF_CONDITIONAL if method not in ANYWAY])
def test_changes_without_a_condition_are_not_repeated(rules, bucket, blob, method, instruction):
    fail(rules, method, instruction)
    with pytest.raises((exceptions.ServiceUnavailable, requests.ConnectionError)):
        IF_CONDITIONAL[method](bucket, blob, False)
    assert struck(rules) == 1


@pytest.mark.parametrize(("status", "error"), [(400, exceptions.BadRequest), (401, InvalidOperation)])
@pytest.mark.parametrize("method", {**ALWAYS, **IF_CONDITIONAL})
def test_what_would_fail_again_is_not_repeated(rules, bucket, blob, method, status, error):
    fail(rules, method, str(status))
    with pytest.raises(error):
        ALWAYS[method](bucket, blob) if method in ALWAYS else IF_CONDITIONAL[method](bucket, blob, True)
    assert struck(rules) == 1


@pytest.mark.parametrize("instructions", TWICE)
@pytest.mark.parametrize("how", DOWNLOADS)
def test_downloads_succeed_in_the_end(rules, bucket, blob, how, instructions):
    content = os.urandom(3 * CHUNK)
    blob.upload_from_string(content)
    fail(rules, "storage.objects.get", *instructions)
    assert DOWNLOADS[how](blob) == content
    assert struck(rules) == 2


@pytest.mark.parametrize("instructions", TWICE)
@pytest.mark.parametrize("chunk_size", [None, CHUNK])
def test_uploads_with_a_condition_succeed_in_the_end(rules, bucket, chunk_size, instructions):
    fail(rules, "storage.objects.insert", *instructions)
    content = os.urandom(3 * CHUNK)
    upload(bucket, content, chunk_size)
    assert bucket.blob("new").download_as_bytes() == content
    assert struck(rules) == 2


@pytest.mark.parametrize("fault", ["reset", "status", "lost-reply"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_upload_in_chunks_recovers_wherever_it_breaks(rules, bucket, after, fault):
    content = os.urandom(3 * CHUNK + 100)
    rules.add(Rule(fault, method="storage.objects.insert", after=after, count=1))
    upload(bucket, content, CHUNK)
    assert bucket.blob("new").download_as_bytes() == content
    assert struck(rules) == 1


def test_a_create_whose_reply_was_lost_is_told_by_the_condition(rules, bucket):
    rules.add(Rule("lost-reply", method="storage.objects.insert", count=1))
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("new").upload_from_string("mine", if_generation_match=0)
    assert bucket.blob("new").download_as_text() == "mine"
