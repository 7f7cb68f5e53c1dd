"""The official client, unmodified: tables, rows, files, queries and jobs."""

from __future__ import annotations

import datetime as dt
import io
import json
import time
from decimal import Decimal

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_ml_provider.emulator.discovery import Api

PROJECT = "demo-project"
FIELD = bigquery.SchemaField
NESTED = [
    FIELD("id", "INT64"),
    FIELD("at", "TIMESTAMP"),
    FIELD("item", "RECORD", fields=[FIELD("k", "STRING"), FIELD("n", "INT64", "REPEATED")]),
    FIELD("price", "NUMERIC"),
    FIELD("day", "DATE"),
]
# Seconds of work for one thread.
SLOW = """SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 300000)) AS a, UNNEST(GENERATE_ARRAY(1, 5000)) AS b
WHERE MOD(a * b, 7) = 3"""


@pytest.fixture
def client(emulator):
    made = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    made.create_dataset("shop")
    return made


def rows(client, query, **config):
    return [tuple(row) for row in client.query(query, job_config=bigquery.QueryJobConfig(**config)).result()]


# --- tables and rows


def test_a_table_keeps_its_partitions_clusters_labels_and_new_columns(client):
    table = bigquery.Table(f"{PROJECT}.shop.t", NESTED)
    table.time_partitioning = bigquery.TimePartitioning(field="at", type_="MONTH")
    table.clustering_fields = ["id"]
    table.labels = {"team": "ml"}
    client.create_table(table)
    made = client.get_table("shop.t")
    assert (made.time_partitioning.field, made.time_partitioning.type_) == ("at", "MONTH")
    assert (made.clustering_fields, made.labels) == (["id"], {"team": "ml"})
    made.description, made.schema = "Ratings", [*made.schema, FIELD("extra", "INT64")]
    assert client.update_table(made, ["description", "schema"]).description == "Ratings"
    assert client.get_table("shop.t").schema[-1].name == "extra"
    made.schema = made.schema[1:]
    with pytest.raises(exceptions.BadRequest, match="Field id is missing"):
        client.update_table(made, ["schema"])
    table = bigquery.Table(f"{PROJECT}.shop.u", [FIELD("d", "DATE")])
    table.time_partitioning = bigquery.TimePartitioning()
    with pytest.raises(exceptions.BadRequest, match="ingestion time"):
        client.create_table(table)


def test_rows_are_streamed_in_and_bad_ones_named(client):
    client.create_table(bigquery.Table(f"{PROJECT}.shop.t", NESTED))
    first = {
        "id": "1",
        "at": "2026-01-01 00:00:00",
        "item": {"k": "a", "n": [1, 2]},
        "price": "1.5",
        "day": "2026-01-01",
    }
    assert client.insert_rows_json("shop.t", [first, {"id": 2, "at": 1767225600.5}]) == []
    # The same row again, as after a lost reply.
    for _ in range(2):
        assert client.insert_rows_json("shop.t", [{"id": 3}], row_ids=["three"]) == []
    problems = client.insert_rows_json("shop.t", [{"id": 4}, {"id": "x"}, {"nothing": 1}])
    assert [(p["index"], p["errors"][0]["reason"]) for p in problems] == [
        (1, "invalid"),
        (2, "invalid"),
        (0, "stopped"),
    ]
    assert "Could not parse 'x' as INT64 for field id" in problems[0]["errors"][0]["message"]
    assert (
        client.insert_rows_json("shop.t", [{"id": 4}, {"id": "x"}], skip_invalid_rows=True)[0]["index"] == 1
    )
    found = [tuple(row) for row in client.list_rows("shop.t")]
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert found[0] == (1, moment, {"k": "a", "n": [1, 2]}, Decimal("1.5"), dt.date(2026, 1, 1))
    assert [row[0] for row in found] == [1, 2, 3, 4]
    assert found[1][1] == moment + dt.timedelta(milliseconds=500)


def test_rows_are_listed_in_pages_and_by_columns(client):
    client.query(
        "CREATE TABLE shop.t AS SELECT x, x * 2 AS y FROM UNNEST(GENERATE_ARRAY(1, 25)) AS x"
    ).result()
    listed = client.list_rows("shop.t", page_size=10, start_index=3, selected_fields=[FIELD("y", "INT64")])
    assert sorted(row.y for row in listed) == [2 * n for n in range(4, 26)]
    assert len(list(client.list_rows("shop.t", max_results=7))) == 7


# --- loads and extracts


def test_a_data_frame_goes_in_and_comes_out(client):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "a": [1, 2],
            "b": ["x", None],
            "t": pandas.to_datetime(["2026-01-01", "2026-01-02"], utc=True),
            "l": [[1.5], [2.5, 3.0]],
        }
    )
    assert client.load_table_from_dataframe(frame, "shop.f").result().output_rows == 2
    found = [(f.name, f.field_type, f.mode) for f in client.get_table("shop.f").schema]
    assert [kind for _, kind, _ in found] == ["INTEGER", "STRING", "TIMESTAMP", "FLOAT"]
    assert found[3][2] == "REPEATED"
    back = client.query("SELECT a, t FROM shop.f ORDER BY a").to_dataframe(create_bqstorage_client=False)
    assert list(back["a"]) == [1, 2]
    assert list(back["t"]) == list(frame["t"])


def test_nested_json_is_loaded_with_a_schema_or_without(client, bucket):
    given = [
        {"id": 1, "item": {"k": "a", "n": [1, 2]}, "at": "2026-01-01T00:00:00Z", "flag": True},
        {"id": 2, "item": {"k": "b", "n": []}, "at": None, "flag": None},
    ]
    client.load_table_from_json(given, "shop.j").result()
    found = {field.name: field for field in client.get_table("shop.j").schema}
    assert [found[name].field_type for name in ("id", "item", "at", "flag")] == [
        "INTEGER",
        "RECORD",
        "TIMESTAMP",
        "BOOLEAN",
    ]
    assert [(f.name, f.field_type, f.mode) for f in found["item"].fields] == [
        ("k", "STRING", "NULLABLE"),
        ("n", "INTEGER", "REPEATED"),
    ]
    assert rows(
        client, "SELECT t.item.k, (SELECT SUM(n) FROM UNNEST(t.item.n) AS n) FROM shop.j AS t ORDER BY 1"
    ) == [
        ("a", 3),
        ("b", None),
    ]
    bad = '{"id": 1, "item": {"k": "a", "n": ["x"]}}\n'
    bucket.blob("bad.json").upload_from_string(bad)
    config = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", schema=NESTED)
    with pytest.raises(exceptions.BadRequest, match=r"in line 1.*Could not parse 'x' as INT64 for field n"):
        client.load_table_from_uri("gs://retraining/bad.json", "shop.n", job_config=config).result()


def test_empty_texts_are_told_from_nulls_in_csv(client, bucket):
    config = bigquery.LoadJobConfig(source_format="CSV", schema=[FIELD("a", "INT64"), FIELD("b", "STRING")])
    content = b'1,""\n2,\n3,"x,""y"\n'
    client.load_table_from_file(io.BytesIO(content), "shop.c", job_config=config).result()
    assert rows(client, "SELECT * FROM shop.c ORDER BY a") == [(1, ""), (2, None), (3, 'x,"y')]
    client.extract_table("shop.c", "gs://retraining/c.csv").result()
    assert bucket.blob("c.csv").download_as_bytes() == b'a,b\n1,""\n2,\n3,"x,""y"\n'


@pytest.mark.parametrize(
    ("kind", "compression"),
    [("AVRO", "NONE"), ("AVRO", "SNAPPY"), ("AVRO", "DEFLATE"), ("PARQUET", "SNAPPY")],
)
def test_nested_tables_are_extracted_and_loaded_again(client, bucket, kind, compression):
    client.query(
        "CREATE TABLE shop.t AS SELECT 1 AS id, TIMESTAMP '2026-01-01 00:00:00.5+00' AS at, "
        "STRUCT('a' AS k, [1, 2] AS n) AS item, NUMERIC '1.5' AS price, b'x' AS raw"
    ).result()
    config = bigquery.ExtractJobConfig(destination_format=kind, compression=compression)
    client.extract_table("shop.t", "gs://retraining/out/t-*", job_config=config).result()
    load = bigquery.LoadJobConfig(source_format=kind)
    client.load_table_from_uri("gs://retraining/out/t-*", "shop.back", job_config=load).result()
    assert rows(client, "SELECT * FROM shop.back") == rows(client, "SELECT * FROM shop.t")
    assert client.get_table("shop.back").schema == client.get_table("shop.t").schema


def test_settings_that_would_change_what_is_read_are_refused(client):
    config = bigquery.LoadJobConfig(time_partitioning=bigquery.TimePartitioning())
    with pytest.raises(exceptions.BadRequest, match="ingestion time"):
        client.load_table_from_json([{"a": 1}], "shop.t", job_config=config).result()
    config = bigquery.QueryJobConfig(connection_properties=[bigquery.ConnectionProperty("time_zone", "CET")])
    with pytest.raises(exceptions.BadRequest, match="connectionProperties"):
        client.query("SELECT 1", job_config=config).result()
    with pytest.raises(exceptions.BadRequest, match="decorator"):
        client.load_table_from_json([{"a": 1}], "shop.t$20260101").result()


def test_export_data_writes_files_and_overwrites_only_when_told(client, bucket):
    export = "EXPORT DATA OPTIONS(uri = 'gs://retraining/e/x-*.json', format = 'JSON'{more}) AS SELECT 1 AS a"
    client.query(export.format(more="")).result()
    assert bucket.blob("e/x-000000000000.json").download_as_bytes() == b'{"a":"1"}\n'
    with pytest.raises(exceptions.BadRequest, match="overwrite=true"):
        client.query(export.format(more="")).result()
    client.query(export.format(more=", overwrite = true")).result()


# --- statements


def test_merge_inserts_updates_and_deletes_at_once(client):
    client.query("CREATE TABLE shop.m (id INT64, v STRING)").result()
    client.query("INSERT shop.m VALUES (1, 'a'), (2, 'b'), (3, 'c')").result()
    merge = """MERGE shop.m AS t
    USING (SELECT 2 AS id, 'new' AS v UNION ALL SELECT 4, 'd') AS s ON t.id = s.id
    WHEN MATCHED THEN UPDATE SET v = CONCAT(t.v, s.v)
    WHEN NOT MATCHED THEN INSERT (id, v) VALUES (id, v)
    WHEN NOT MATCHED BY SOURCE AND t.id = 3 THEN DELETE"""
    job = client.query(merge)
    job.result()
    assert job.num_dml_affected_rows == 3
    stats = job.dml_stats
    assert (stats.inserted_row_count, stats.updated_row_count, stats.deleted_row_count) == (1, 1, 1)
    assert rows(client, "SELECT * FROM shop.m ORDER BY id") == [(1, "a"), (2, "bnew"), (4, "d")]
    with pytest.raises(exceptions.BadRequest, match="must match at most one source row"):
        client.query("UPDATE shop.m SET v = 'x' FROM UNNEST([1, 1]) AS s WHERE id = s").result()


def test_snapshots_and_clones_keep_what_was(client):
    client.query("CREATE TABLE shop.t AS SELECT 1 AS x").result()
    before = dt.datetime.now(dt.UTC)
    time.sleep(0.01)
    client.query("INSERT shop.t VALUES (2)").result()
    client.query(
        f"CREATE SNAPSHOT TABLE shop.s CLONE shop.t FOR SYSTEM_TIME AS OF TIMESTAMP '{before.isoformat()}'"
    ).result()
    client.query("CREATE TABLE shop.c CLONE shop.t").result()
    config = bigquery.CopyJobConfig(operation_type="SNAPSHOT")
    client.copy_table("shop.t", "shop.copied", job_config=config).result()
    assert rows(client, "SELECT x FROM shop.s") == [(1,)]
    assert client.get_table("shop.s").table_type == client.get_table("shop.copied").table_type == "SNAPSHOT"
    with pytest.raises(exceptions.BadRequest, match="SNAPSHOT"):
        client.query("INSERT shop.s VALUES (3)").result()
    client.query("INSERT shop.c VALUES (3)").result()
    assert [len(rows(client, f"SELECT * FROM shop.{name}")) for name in ("t", "c")] == [2, 3]
    with pytest.raises(exceptions.Conflict):
        client.query("CREATE SNAPSHOT TABLE shop.s CLONE shop.t").result()
    client.query("DROP SNAPSHOT TABLE shop.s").result()


def test_tables_of_one_prefix_are_read_as_one(client):
    client.query("CREATE TABLE shop.events_20260101 AS SELECT 1 AS x").result()
    client.query("CREATE TABLE shop.events_20260102 AS SELECT 2 AS x, 'new' AS y").result()
    query = "SELECT x, y, _TABLE_SUFFIX FROM `shop.events_*` WHERE _TABLE_SUFFIX {} ORDER BY x"
    both = [(1, None, "20260101"), (2, "new", "20260102")]
    assert rows(client, query.format("BETWEEN '20260101' AND '20260102'")) == both
    assert rows(client, query.format("= '20260102'")) == both[1:]
    assert rows(client, "SELECT * FROM `demo-project.shop.events_2026*` ORDER BY x") == [
        row[:2] for row in both
    ]
    with pytest.raises(exceptions.BadRequest, match="does not match any table"):
        client.query("SELECT * FROM `shop.other_*`").result()


def test_ddl_sets_what_a_table_shows(client):
    client.query(
        """CREATE TABLE shop.t (id INT64 NOT NULL OPTIONS(description = 'the user'), at TIMESTAMP)
        PARTITION BY DATE(at) CLUSTER BY id
        OPTIONS(description = 'Ratings', labels = [('team', 'ml')],
                expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))"""
    ).result()
    table = client.get_table("shop.t")
    assert (table.time_partitioning.field, table.clustering_fields, table.description) == (
        "at",
        ["id"],
        "Ratings",
    )
    assert (table.labels, table.schema[0].mode, table.schema[0].description) == (
        {"team": "ml"},
        "REQUIRED",
        "the user",
    )
    assert table.expires > dt.datetime.now(dt.UTC)
    with pytest.raises(exceptions.BadRequest, match="Required field id cannot be null"):
        client.query("INSERT shop.t (at) VALUES (CURRENT_TIMESTAMP())").result()
    columns = "SELECT column_name, data_type, is_partitioning_column FROM shop.INFORMATION_SCHEMA.COLUMNS"
    assert rows(client, f"{columns} ORDER BY 1") == [("at", "TIMESTAMP", "YES"), ("id", "INT64", "NO")]
    client.query("CREATE SCHEMA IF NOT EXISTS other OPTIONS(location = 'EU')").result()
    assert client.get_dataset("other").location == "EU"


# --- jobs


def test_a_script_answers_with_its_last_select(client):
    job = client.query(
        "DECLARE n INT64 DEFAULT 2; CREATE TABLE shop.t AS SELECT n AS x; SELECT x + n AS y FROM shop.t;"
    )
    assert [row.y for row in job.result()] == [4]
    assert job.statement_type == "SCRIPT"


def test_parameters_of_all_kinds_are_taken(client):
    config = {
        "query_parameters": [
            bigquery.StructQueryParameter(
                "s",
                bigquery.ScalarQueryParameter("x", "INT64", 1),
                bigquery.ScalarQueryParameter("y", "STRING", "b"),
            ),
            bigquery.ArrayQueryParameter("l", "FLOAT64", [1.5, 2]),
            bigquery.ScalarQueryParameter("n", "NUMERIC", Decimal("1.5")),
            bigquery.ScalarQueryParameter("b", "BYTES", b"ab"),
            bigquery.ScalarQueryParameter("none", "DATE", None),
        ]
    }
    assert rows(client, "SELECT @s.x, @s.y, ARRAY_LENGTH(@l), @n * 2, @b, @none", **config) == [
        (1, "b", 2, Decimal(3), b"ab", None)
    ]
    config = {"query_parameters": [bigquery.ScalarQueryParameter(None, "INT64", n) for n in (5, 3)]}
    assert rows(client, "SELECT ? - ? AS d, '?' AS q", **config) == [(2, "?")]


def test_a_query_that_takes_too_long_or_is_cancelled_is_stopped(client):
    job = client.query(SLOW, job_config=bigquery.QueryJobConfig(job_timeout_ms=200))
    with pytest.raises(
        (exceptions.BadRequest, exceptions.GoogleAPICallError), match=r"timed out after 0\.2s"
    ):
        job.result()
    job.reload()
    assert (job.state, job.error_result["reason"]) == ("DONE", "stopped")
    job = client.query(SLOW)
    assert job.cancel()
    with pytest.raises(exceptions.GoogleAPICallError, match="cancel"):
        job.result()
    assert rows(client, "SELECT 1") == [(1,)]


def test_jobs_are_listed_and_forgotten(client):
    config = bigquery.QueryJobConfig(labels={"run": "nightly"})
    made = [client.query(f"SELECT {n}", job_config=config) for n in range(3)]
    for job in made:
        job.result()
    assert [job.job_id for job in client.list_jobs(max_results=2, state_filter="done")] == [
        job.job_id for job in reversed(made[1:])
    ]
    assert len(list(client.list_jobs(page_size=1))) == 3
    assert client.get_job(made[0].job_id).labels == {"run": "nightly"}
    client.delete_job_metadata(made[0].job_id, location="US")
    with pytest.raises(exceptions.NotFound):
        client.get_job(made[0].job_id)


def test_a_job_runs_where_its_data_is(client):
    dataset = bigquery.Dataset(f"{PROJECT}.eu")
    dataset.location = "EU"
    client.create_dataset(dataset)
    client.query("CREATE TABLE eu.t AS SELECT 1 AS x").result()
    job = client.query("SELECT * FROM eu.t")
    job.result()
    assert job.location == "EU"
    with pytest.raises(exceptions.NotFound, match="was not found in location US"):
        client.query("SELECT * FROM eu.t", location="US").result()


def test_a_dry_run_refuses_what_the_query_would(client):
    config = bigquery.QueryJobConfig(dry_run=True)
    with pytest.raises(exceptions.BadRequest, match="Unrecognized name: nothing"):
        client.query("SELECT nothing FROM (SELECT 1 AS x)", job_config=config)
    assert [f.name for f in client.query("SELECT 1 AS x", job_config=config).schema] == ["x"]
    assert list(client.list_jobs()) == []


# --- the API's own description


def test_requests_and_replies_are_as_the_discovery_document_says(client, emulator):
    client.create_table(bigquery.Table(f"{PROJECT}.shop.t", NESTED))
    client.query("CREATE SNAPSHOT TABLE shop.s CLONE shop.t").result()
    api = Api("bigquery", "v2")
    base = f"{emulator}/bigquery/v2/projects/{PROJECT}"
    insert = {"kind": "x", "rows": [{"json": {"id": "no"}}]}
    for schema, method, path, body in (
        ("TableDataInsertAllResponse", "post", "datasets/shop/tables/t/insertAll", insert),
        ("QueryResponse", "post", "queries", {"query": "SELECT 1 AS x", "useLegacySql": False}),
        (
            "QueryResponse",
            "post",
            "queries",
            {"query": "SELECT 1 AS x", "useLegacySql": False, "dryRun": True},
        ),
        (
            "QueryResponse",
            "post",
            "queries",
            {"query": "INSERT shop.t (id) VALUES (1)", "useLegacySql": False},
        ),
        ("Table", "patch", "datasets/shop/tables/t", {"description": "new"}),
        ("Table", "get", "datasets/shop/tables/s", None),
        ("TableList", "get", "datasets/shop/tables?maxResults=1", None),
        ("JobList", "get", "jobs?maxResults=1", None),
    ):
        reply = requests.request(method, f"{base}/{path}", json=body, timeout=30).json()
        kept = {name: value for name, value in reply.items() if name != "rows"}
        assert api.message(schema, kept) == kept, (schema, path, json.dumps(reply))
    refused = requests.post(f"{base}/queries", json={"query": "SELECT 1", "nothing": 1}, timeout=30)
    assert refused.status_code == 400
    assert 'Unknown name "nothing"' in refused.json()["error"]["message"]
