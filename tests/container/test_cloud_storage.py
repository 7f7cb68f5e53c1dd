"""The same through Cloud Storage: an emulated one, spoken to by the official client."""

from __future__ import annotations

import json

import pytest
from trainer import files
from trainer.errors import InputError

from .movies import movies

SMALL = movies(5, users=60, items=50, ratings=1500)


@pytest.fixture
def bucket(storage):
    return storage.create_bucket("retraining")


def shards(bucket, count=3):
    lines = [f"{u},{i},{r:g}\n" for u, i, r in zip(*SMALL, strict=True)]
    for n in range(count):
        text = "userId,itemId,rating\n" + "".join(lines[n::count])
        bucket.blob(f"data/part-{n:012d}.csv").upload_from_string(text)


def test_training_evaluation_and_prediction_read_and_write_objects(task, bucket):
    shards(bucket)
    root = "gs://retraining/models/shop/versions/v1"
    code, _, errors = task("--train-file", "gs://retraining/data/part-*.csv", "--output-dir", f"{root}/")
    assert (code, errors) == (0, "")
    manifest = json.loads(bucket.blob("models/shop/versions/v1/manifest.json").download_as_bytes())
    blobs = {blob.name: blob for blob in bucket.list_blobs()}
    assert [file["uri"] for file in manifest["data"]["files"]] == [
        f"gs://retraining/data/part-{n:012d}.csv" for n in range(3)
    ]
    for file in manifest["data"]["files"]:
        blob = blobs[file["uri"].removeprefix("gs://retraining/")]
        assert (file["generation"], file["crc32c"], file["size"]) == (
            str(blob.generation),
            blob.crc32c,
            blob.size,
        )
    for file in manifest["files"]:
        assert blobs[f"models/shop/versions/v1/{file['path']}"].size == file["size"]
    assert max(blobs.values(), key=lambda blob: blob.updated).name.endswith("v1/manifest.json")

    test = "gs://retraining/data/part-000000000000.csv"
    code, _, errors = task(
        "evaluate", "--challenger", f"{root}/", "--champion", root, "--test-file", test, "--output",
        f"{root}/evaluation.json",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    evaluation = json.loads(bucket.blob("models/shop/versions/v1/evaluation.json").download_as_bytes())
    challenger, champion = (evaluation["models"][name] for name in ("challenger", "champion"))
    # Only a challenger is tried as a server.
    assert challenger.pop("serving")["identical"] and champion.pop("serving") is None
    assert challenger == champion and challenger["uri"] == f"{root}/"

    bucket.blob("users.txt").upload_from_string("1\n2\n")
    users = ["--users-file", "gs://retraining/users.txt", "--output", "gs://retraining/best.ndjson"]
    assert task("predict", "--model-dir", root, *users)[0] == 0
    assert len(bucket.blob("best.ndjson").download_as_bytes().splitlines()) == 2

    before = bucket.get_blob("models/shop/versions/v1/manifest.json").generation
    code, _, errors = task("--train-file", "gs://retraining/data/part-*.csv", "--output-dir", root)
    assert code == 2 and "holds a complete version already" in errors
    assert bucket.get_blob("models/shop/versions/v1/manifest.json").generation == before


def test_a_bad_row_is_named_by_object_and_line(task, bucket):
    shards(bucket)
    bucket.blob("data/part-000000000003.csv").upload_from_string("userId,itemId,rating\n1,2,3\n1,3,abc\n")
    code, _, errors = task("--train-file", "gs://retraining/data/*", "--output-dir", "gs://retraining/v")
    assert code == 2
    assert errors == "error: gs://retraining/data/part-000000000003.csv:3: rating 'abc' is not a number\n"
    assert not list(bucket.list_blobs(prefix="v/"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gs://retraining/none.csv", "no such file"),
        ("gs://retraining/none-*.csv", "nothing matches"),
        ("gs://elsewhere/a.csv", "bucket elsewhere does not exist"),
        ("gs://elsewhere/a-*.csv", "bucket elsewhere does not exist"),
        ("gs://retraining/data/", "is a folder; name its files"),
        ("gs:///x", "names no bucket"),
    ],
)
def test_what_is_not_there_is_named(bucket, path, message):
    with pytest.raises(InputError) as error:
        files.find([path])
    assert path in str(error.value) and message in str(error.value)


def test_a_bucket_to_write_to_is_looked_for_before_training(task, bucket):
    shards(bucket)
    code, output, errors = task("--train-file", "gs://retraining/data/*", "--output-dir", "gs://elsewhere/v")
    assert code == 2 and "bucket elsewhere does not exist" in errors and "iteration" not in output


def test_wildcards_stop_at_slashes_and_two_do_not(bucket):
    for name in ("a/1.csv", "a/b/2.csv", "a/3.txt"):
        bucket.blob(name).upload_from_string("x")
    names = {
        p: [f.uri for f in files.find([f"gs://retraining/{p}"])] for p in ("a/*.csv", "a/**.csv", "a/?.*")
    }
    assert names == {
        "a/*.csv": ["gs://retraining/a/1.csv"],
        "a/**.csv": ["gs://retraining/a/1.csv", "gs://retraining/a/b/2.csv"],
        "a/?.*": ["gs://retraining/a/1.csv", "gs://retraining/a/3.txt"],
    }


def test_an_object_is_created_once(bucket):
    assert files.create("gs://retraining/one.json", b"1")
    assert not files.create("gs://retraining/one.json", b"2")
    assert files.create("gs://retraining/one.json", b"1")
    assert files.read("gs://retraining/one.json") == b"1"


def test_an_object_replaced_after_it_was_found_is_not_read(bucket):
    bucket.blob("data.csv").upload_from_string("old")
    (found,) = files.find(["gs://retraining/data.csv"])
    bucket.blob("data.csv").upload_from_string("new")
    with pytest.raises(InputError, match=f"generation {found.generation} is gone"), files.local_copy(found):
        pass
