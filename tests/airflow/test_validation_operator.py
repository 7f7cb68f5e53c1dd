"""Exports in Cloud Storage that may be trained on, and ones that must not."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_ml_provider.compat import AirflowFailException
from airflow_ml_provider.operators import ValidateTrainingDataOperator
from tests.airflow.test_promotion_operators import PREFIX, ROOT, context, promoted

FOLDER = "shop/datasets/ratings/night_1"
NIGHT = datetime(2026, 11, 20, 3, tzinfo=UTC)


def csv(rows=400, first=0, header="userId,itemId,rating,rated_at", until=NIGHT):
    """Write ratings as BigQuery exports them."""
    lines = [
        f"{n % 97},{n % 61},{n % 5 + 1},{until - timedelta(minutes=n + 1):%Y-%m-%d %H:%M:%S} UTC"
        for n in range(first, first + rows)
    ]
    return "\n".join([header, *lines, ""])


def put(bucket, name, content, folder=FOLDER):
    bucket.blob(f"{folder}/{name}").upload_from_string(content)


def validate(uri=f"gs://retraining/{FOLDER}/part-*.csv", until=NIGHT, **changes):
    task = ValidateTrainingDataOperator(task_id="check", uri=uri, **changes)
    return task.execute(context(until))


def test_an_export_is_described_beside_its_files(bucket):
    put(bucket, "part-000000000000.csv", csv(400))
    put(bucket, "part-000000000001.csv", csv(300, first=400))
    expectations = {
        "columns": {"rating": {"type": "integer", "values": {"minimum": 1, "maximum": 5}}},
        "other_columns": "allow",
        "newest": {"column": "rated_at", "hours": 1},
    }
    result = validate([f"gs://retraining/{FOLDER}/part-*.csv"], expectations=expectations)
    assert result == {
        "outcome": "pass",
        "dataset": f"gs://retraining/{FOLDER}/dataset.json",
        "rows": 700,
        "shards": 2,
        "warnings": [],
    }
    written = json.loads(bucket.blob(f"{FOLDER}/dataset.json").download_as_bytes())
    assert [shard["rows"] for shard in written["shards"]] == [400, 300]
    assert all(shard["generation"] and shard["crc32c"] for shard in written["shards"])
    assert written["profile"]["columns"]["rated_at"]["type"] == "timestamp"


def test_an_export_that_was_described_is_not_read_again(bucket):
    put(bucket, "part-0.csv", csv())
    validate()
    blob = bucket.blob(f"{FOLDER}/dataset.json")
    changed = json.loads(blob.download_as_bytes())
    changed["profile"] |= {"rows": 12345, "distinct_rows": 12345}
    blob.upload_from_string(json.dumps(changed))
    assert validate()["rows"] == 12345
    put(bucket, "part-0.csv", csv(500))
    assert validate()["rows"] == 500, "another generation of the file is another export"


def test_every_format_that_bigquery_exports_is_read_alike(bucket):
    rows = [
        {"userId": str(n), "rating": n % 5 + 0.5, "at": f"2026-11-{n % 9 + 1:02} 03:00:00 UTC"}
        for n in range(90)
    ]
    put(bucket, "a/part-0.json", "\n".join(map(json.dumps, rows)))
    put(bucket, "b/part-0.json.gz", gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    text = "userId,rating,at\n" + "\n".join(f"{r['userId']},{r['rating']},{r['at']}" for r in rows)
    put(bucket, "c/part-0.csv.gz", gzip.compress(text.encode()))
    table = pa.table(
        {
            "userId": pa.array([int(r["userId"]) for r in rows]),
            "rating": [r["rating"] for r in rows],
            "at": pa.array([r["at"].removesuffix(" UTC") for r in rows]).cast(pa.timestamp("us")),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    put(bucket, "d/part-0.parquet", buffer.getvalue())
    profiles = []
    for folder, suffix in {"a": "json", "b": "json.gz", "c": "csv.gz", "d": "parquet"}.items():
        validate(f"gs://retraining/{FOLDER}/{folder}/part-*.{suffix}")
        written = json.loads(bucket.blob(f"{FOLDER}/{folder}/dataset.json").download_as_bytes())
        profiles.append(written["profile"])
    assert [c["type"] for c in profiles[0]["columns"].values()] == ["integer", "number", "timestamp"]
    for other in profiles[1:]:
        assert other == profiles[0]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "there is no such file"),
        ({"part-0.csv": csv(), "part-1.csv": ""}, "part-1.csv: has 0 bytes"),
        (
            {"part-0.csv": csv(), "part-1.csv": "userId,itemId,rating\n1,2,3\n"},
            "part-1.csv: lacks rated_at, unlike the files before it",
        ),
        (
            {"part-0.csv": csv() + "1,2,three,2026-11-20 03:00:00 UTC\n"},
            "Row #402: CSV conversion error to int64: invalid value 'three'",
        ),
        ({"part-0.csv": csv() + "1,2\n"}, "Expected 4 columns, got 2"),
        ({"part-0.csv": "userId,itemId,rating,rated_at\n"}, "0 rows, expected at least 1"),
    ],
)
def test_an_export_that_must_not_be_trained_on_fails_for_good_and_says_why(bucket, files, told):
    for name, content in files.items():
        put(bucket, name, content)
    with pytest.raises(AirflowFailException, match=r"must not be trained on") as failed:
        validate(expectations={"columns": {"rating": {"type": "integer"}}, "other_columns": "allow"})
    assert told in str(failed.value)


def test_a_bucket_that_does_not_exist_is_named(bucket):
    with pytest.raises(AirflowFailException, match="no bucket 'no-such-bucket'"):
        validate("gs://no-such-bucket/part-*.csv")


def test_an_expectation_that_nobody_knows_fails_before_anything_is_read(bucket):
    with pytest.raises(AirflowFailException, match="colums"):
        validate(expectations={"colums": {}})


def test_the_data_is_compared_with_that_of_the_model_in_production(bucket):
    put(bucket, "part-0.csv", csv(2000), folder="shop/datasets/ratings/night_0")
    validate("gs://retraining/shop/datasets/ratings/night_0/part-*.csv")
    promoted(bucket, "v1")
    blob = bucket.blob(f"{PREFIX}/versions/v1/manifest.json")
    manifest = json.loads(blob.download_as_bytes())
    uri = "gs://retraining/shop/datasets/ratings/night_0/part-0.csv"
    manifest["data"]["files"] = [{"uri": uri, "size": 1, "generation": "1", "crc32c": "x"}]
    blob.upload_from_string(json.dumps(manifest))
    production = {"root": ROOT, "model": "recommender"}

    put(bucket, "part-0.csv", csv(1900))
    assert validate(**production)["outcome"] == "pass"
    put(bucket, "part-0.csv", csv(300))
    with pytest.raises(AirflowFailException, match="times the 2,000 rows of production"):
        validate(**production)


def test_root_and_model_belong_together():
    with pytest.raises(ValueError, match="root and model together"):
        ValidateTrainingDataOperator(task_id="check", uri="gs://b/x.csv", root=ROOT)
