from __future__ import annotations

import pytest
import requests

from tests.emulator.storage_fixtures import client, serving

NAMES = ["a/1", "a/2", "a/b/1", "a/b/2", "a/c/1", "a", "b", "b/", "c.csv"]
NAMES += ["part-000000000000.csv", "part-000000000001.csv"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("storage")) as address:
        bucket = client(address).create_bucket("my-bucket")
        for name in NAMES:
            bucket.blob(name).upload_from_string(name)
        yield address


@pytest.fixture
def bucket(address):
    return client(address).bucket("my-bucket")


def listed(bucket, **options):
    pages = bucket.list_blobs(**options)
    names = [blob.name for blob in pages]
    return names, sorted(pages.prefixes)


def test_names_come_in_the_order_of_their_bytes(bucket):
    assert listed(bucket)[0] == sorted(NAMES, key=str.encode)


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
def test_a_delimiter_folds_names_into_folders_on_pages_of_any_size(bucket, page_size):
    names, prefixes = listed(bucket, delimiter="/", page_size=page_size)
    assert names == ["a", "b", "c.csv", "part-000000000000.csv", "part-000000000001.csv"]
    assert prefixes == ["a/", "b/"]
    assert listed(bucket, prefix="a/", delimiter="/", page_size=page_size) == (
        ["a/1", "a/2"],
        ["a/b/", "a/c/"],
    )


@pytest.mark.parametrize("page_size", [1, 4, 100])
def test_pages_lose_and_repeat_nothing(bucket, page_size):
    assert listed(bucket, page_size=page_size)[0] == sorted(NAMES)


def test_a_folder_placeholder_is_listed_when_asked_for(bucket):
    assert listed(bucket, prefix="b", delimiter="/", include_trailing_delimiter=True) == (["b", "b/"], ["b/"])


def test_offsets_bound_the_names(bucket):
    assert listed(bucket, start_offset="a/b/2", end_offset="b/")[0] == ["a/b/2", "a/c/1", "b"]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("part-*.csv", ["part-000000000000.csv", "part-000000000001.csv"]),
        ("a/*", ["a/1", "a/2"]),
        ("a/**", ["a/1", "a/2", "a/b/1", "a/b/2", "a/c/1"]),
        ("a/[12]", ["a/1", "a/2"]),
        ("{a,b}", ["a", "b"]),
        ("a/?/1", ["a/b/1", "a/c/1"]),
    ],
)
def test_globs_match_as_documented(bucket, glob, expected):
    assert listed(bucket, match_glob=glob)[0] == expected


def test_at_most_so_many_results_are_given(bucket):
    assert listed(bucket, max_results=3)[0] == sorted(NAMES)[:3]


def test_an_empty_listing_has_no_items(address):
    reply = requests.get(f"{address}/storage/v1/b/my-bucket/o?prefix=zzz", timeout=10).json()
    assert reply == {"kind": "storage#objects"}


def test_fields_can_be_selected(address):
    query = "prefix=a/&maxResults=1&fields=items(name,size),nextPageToken"
    reply = requests.get(f"{address}/storage/v1/b/my-bucket/o?{query}", timeout=10).json()
    assert reply["items"] == [{"name": "a/1", "size": "3"}]
    assert set(reply) == {"items", "nextPageToken"}


@pytest.mark.parametrize("query", ["pageToken=nonsense!", "maxResults=-1", "nonsense=1"])
def test_a_listing_that_makes_no_sense_is_refused(address, query):
    assert requests.get(f"{address}/storage/v1/b/my-bucket/o?{query}", timeout=10).status_code == 400


def test_a_bucket_that_does_not_exist_is_not_an_empty_one(address):
    assert requests.get(f"{address}/storage/v1/b/no-such-bucket/o", timeout=10).status_code == 404
