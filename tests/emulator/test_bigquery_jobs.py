from __future__ import annotations

import datetime as dt
import gzip
import json
import time
import uuid
from io import BytesIO
from unittest.mock import MagicMock

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_ml_provider.emulator.discovery import Api

PROJECT = "demo-project"
FIELD = bigquery.SchemaField
SCHEMA = [
    FIELD("userId", "INT64", "REQUIRED"),
    FIELD("name", "STRING"),
    FIELD("rating", "FLOAT64"),
    FIELD("at", "TIMESTAMP"),
]
ROWS = "userId,name,rating,at\n1,a,1.5,2026-01-01 00:00:00 UTC\n"
ROWS += "2,,3,2026-01-02 12:30:00.5 UTC\n9007199254740993,<&>,,\n"


@pytest.fixture
def client(emulator):
    made = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    made.create_dataset("shop")
    return made


def load(client, bucket, content=ROWS, name="in.csv", **options):
    bucket.blob(name).upload_from_string(content)
    config = bigquery.LoadJobConfig(
        **{"source_format": "CSV", "skip_leading_rows": 1, "schema": SCHEMA, **options}
    )
    return client.load_table_from_uri(f"gs://retraining/{name}", "shop.t", job_config=config)


@pytest.fixture
def table(client, bucket):
    load(client, bucket).result()
    return client.get_table("shop.t")


def extracted(client, bucket, uri="gs://retraining/out/part-*.csv", table="shop.t", **options):
    config = bigquery.ExtractJobConfig(**options)
    client.extract_table(table, uri, job_config=config).result()
    return {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix="out/")}


# --- datasets and tables


def test_datasets_and_tables_come_and_go(client):
    with pytest.raises(exceptions.Conflict, match="Already Exists: Dataset demo-project:shop"):
        client.create_dataset("shop")
    client.create_table(bigquery.Table(f"{PROJECT}.shop.empty", SCHEMA))
    assert [table.table_id for table in client.list_tables("shop")] == ["empty"]
    assert client.get_table("shop.empty").num_rows == 0
    with pytest.raises(exceptions.BadRequest, match="still in use"):
        client.delete_dataset("shop")
    client.delete_table("shop.empty")
    with pytest.raises(exceptions.NotFound, match=r"Not found: Table demo-project:shop\.empty"):
        client.get_table("shop.empty")
    client.delete_dataset("shop")
    with pytest.raises(exceptions.NotFound, match="Not found: Dataset demo-project:shop"):
        client.get_dataset("shop")


# --- loads


def test_csv_is_loaded_with_its_types(client, table):
    assert table.num_rows == 3
    rows = [tuple(row) for row in client.list_rows(table)]
    assert rows == [
        (1, "a", 1.5, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (2, None, 3.0, dt.datetime(2026, 1, 2, 12, 30, 0, 500_000, tzinfo=dt.UTC)),
        (9007199254740993, "<&>", None, None),
    ]


def test_loads_append_replace_or_refuse(client, bucket, table):
    load(client, bucket, write_disposition="WRITE_APPEND").result()
    assert client.get_table("shop.t").num_rows == 6
    load(client, bucket, write_disposition="WRITE_TRUNCATE").result()
    assert client.get_table("shop.t").num_rows == 3
    with pytest.raises(exceptions.Conflict):
        load(client, bucket, write_disposition="WRITE_EMPTY").result()


def test_wildcards_gzip_and_json_are_loaded(client, bucket):
    lines = '{"userId": "1", "name": "a", "rating": 2}\n{"userId": 2, "at": "2026-01-01 00:00:00 UTC"}\n'
    for shard in range(2):
        bucket.blob(f"j/part-{shard}.json.gz").upload_from_string(gzip.compress(lines.encode()))
    config = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", schema=SCHEMA)
    client.load_table_from_uri("gs://retraining/j/part-*", "shop.j", job_config=config).result()
    assert client.get_table("shop.j").num_rows == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("userId,name,rating,at\nx,a,1,\n", "Could not parse 'x' as INT64 for field userId"),
        ("userId,name,rating,at\n1,a,good,\n", "Could not parse 'good' as DOUBLE"),
        ("userId,name,rating,at\n1,a\n", "line contains only 2 columns"),
        ("userId,name,rating,at\n1,a,1,,extra\n", "Too many values"),
        ("userId,name,rating,at\n,a,1,\n", "Required column value for column 'userId' is missing"),
    ],
)
def test_a_bad_row_fails_the_load_and_names_the_file(client, bucket, content, message):
    with pytest.raises(exceptions.BadRequest) as caught:
        load(client, bucket, content).result()
    assert message in str(caught.value)
    assert "gs://retraining/in.csv" in str(caught.value)
    with pytest.raises(exceptions.NotFound):
        client.get_table("shop.t")


@pytest.mark.parametrize("rows", [3, 60_000])
def test_a_local_file_is_loaded_in_one_piece_or_many(client, rows):
    content = BytesIO(b"".join(b"%d,name,1.5,\n" % n for n in range(rows)))
    config = bigquery.LoadJobConfig(source_format="CSV", schema=SCHEMA)
    client.load_table_from_file(content, "shop.local", job_config=config).result()
    assert client.get_table("shop.local").num_rows == rows


def test_a_schema_is_detected_when_asked_for(client, bucket):
    text = "id,score,name,at,ok\n1,1.5,a,2026-01-01 00:00:00 UTC,true\n2,,b,,false\n"
    load(client, bucket, text, schema=(), skip_leading_rows=0, autodetect=True).result()
    found = [(field.name, field.field_type) for field in client.get_table("shop.t").schema]
    assert found == [
        ("id", "INTEGER"),
        ("score", "FLOAT"),
        ("name", "STRING"),
        ("at", "TIMESTAMP"),
        ("ok", "BOOLEAN"),
    ]
    assert client.get_table("shop.t").num_rows == 2


def test_tables_are_copied(client, bucket, table):
    config = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    client.copy_table([table.reference, table.reference], "shop.twice", job_config=config).result()
    assert client.get_table("shop.twice").num_rows == 6
    with pytest.raises(exceptions.NotFound):
        client.copy_table("shop.nothing", "shop.copy").result()


def test_missing_files_and_buckets_fail_the_load(client, bucket):
    config = bigquery.LoadJobConfig(schema=SCHEMA)
    for uri in ("gs://retraining/nothing.csv", "gs://retraining/nothing-*", "gs://no-such-bucket/a.csv"):
        with pytest.raises(exceptions.NotFound):
            client.load_table_from_uri(uri, "shop.t", job_config=config).result()


# --- jobs


def test_a_job_id_is_taken_once(client, bucket, table):
    job_id = f"nightly_{uuid.uuid4().hex}"
    client.query("SELECT 1", job_id=job_id, job_retry=None).result()
    config = bigquery.ExtractJobConfig()
    with pytest.raises(exceptions.Conflict, match=f"Already Exists: Job demo-project:US\\.{job_id}"):
        client.extract_table(table, "gs://retraining/x.csv", job_id=job_id, job_config=config)
    assert client.get_job(job_id).state == "DONE"


def test_a_job_that_failed_is_done_with_its_error(client):
    job = client.query("SELECT * FROM shop.nothing")
    with pytest.raises(exceptions.NotFound, match=r"Not found: Table demo-project:shop\.nothing"):
        job.result()
    assert (job.state, job.error_result["reason"]) == ("DONE", "notFound")


# --- queries


def test_tables_are_made_replaced_and_dropped_by_scripts(client, table):
    client.query(
        "CREATE TABLE shop.a AS SELECT userId FROM shop.t;"
        "CREATE OR REPLACE TABLE shop.b AS SELECT * FROM shop.a"
    ).result()
    assert client.get_table("shop.b").num_rows == 3
    with pytest.raises(exceptions.Conflict):
        client.query("CREATE TABLE shop.a AS SELECT 1 AS x").result()
    client.query("DROP TABLE shop.a").result()
    with pytest.raises(exceptions.NotFound):
        client.get_table("shop.a")


def test_views_are_read_and_not_extracted(client, bucket, table):
    client.query("CREATE VIEW shop.v AS SELECT userId AS who, rating FROM shop.t WHERE userId < 3").result()
    made = bigquery.Table(f"{PROJECT}.shop.w")
    made.view_query = "SELECT who FROM shop.v WHERE who = 2"
    client.create_table(made)
    assert client.get_table("shop.w").table_type == "VIEW"
    assert [row.who for row in client.query("SELECT x.who FROM shop.w AS x").result()] == [2]
    load(client, bucket).result()
    assert next(iter(client.query("SELECT COUNT(*) FROM shop.v").result()))[0] == 4
    with pytest.raises(exceptions.BadRequest, match="currently a VIEW"):
        client.extract_table("shop.v", "gs://retraining/x.csv").result()
    client.query("DROP VIEW shop.v").result()
    with pytest.raises(exceptions.NotFound):
        client.query("SELECT * FROM shop.w").result()


def test_an_empty_table_is_made_by_its_columns(client):
    client.query("CREATE TABLE shop.made (id INT64 NOT NULL, name STRING, at TIMESTAMP)").result()
    found = [(f.name, f.field_type, f.mode) for f in client.get_table("shop.made").schema]
    assert found == [
        ("id", "INTEGER", "REQUIRED"),
        ("name", "STRING", "NULLABLE"),
        ("at", "TIMESTAMP", "NULLABLE"),
    ]
    client.query("CREATE TABLE IF NOT EXISTS shop.made (other STRING)").result()
    assert len(client.get_table("shop.made").schema) == 3
    with pytest.raises(exceptions.BadRequest, match="does not know this construct"):
        client.query("CREATE TABLE shop.other (id INT64 DEFAULT 5)").result()


def test_rows_are_inserted_updated_and_deleted(client, table):
    job = client.query("INSERT INTO shop.t (userId, name) VALUES (7, 'x'), (8, 'y')")
    job.result()
    assert job.num_dml_affected_rows == 2
    job = client.query("UPDATE shop.t SET name = 'z' WHERE userId >= 7 AND userId < 9")
    job.result()
    assert job.num_dml_affected_rows == 2
    job = client.query("DELETE FROM shop.t AS old WHERE old.name = 'z'")
    job.result()
    assert (job.num_dml_affected_rows, client.get_table("shop.t").num_rows) == (2, 3)


def test_parameters_are_put_in_their_places(client, table):
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("user", "INT64", 2),
            bigquery.ScalarQueryParameter("since", "TIMESTAMP", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
            bigquery.ArrayQueryParameter("names", "STRING", ["a", "it's"]),
        ]
    )
    query = "SELECT COUNT(*) FROM shop.t WHERE userId <= @user AND at >= @since"
    query += " AND (name IS NULL OR name IN UNNEST(@names))"
    (row,) = client.query(query, job_config=config).result()
    assert row[0] == 2
    with pytest.raises(exceptions.BadRequest, match="Query parameter 'nobody' not found"):
        client.query("SELECT @nobody", job_config=config).result()


def test_a_query_writes_its_destination_as_told(client, table):
    config = bigquery.QueryJobConfig(destination=f"{PROJECT}.shop.out", write_disposition="WRITE_APPEND")
    for expected in (3, 6):
        client.query("SELECT userId FROM shop.t", job_config=config).result()
        assert client.get_table("shop.out").num_rows == expected


def test_the_past_of_a_table_can_be_read(client, bucket, table):
    before = dt.datetime.now(dt.UTC)
    time.sleep(0.01)
    load(client, bucket).result()
    (row,) = client.query(
        f"SELECT COUNT(*) FROM shop.t FOR SYSTEM_TIME AS OF TIMESTAMP '{before.isoformat()}'"
    ).result()
    assert row[0] == 3
    assert next(iter(client.query("SELECT COUNT(*) FROM shop.t").result()))[0] == 6
    with pytest.raises(exceptions.BadRequest, match="before its creation"):
        client.query(
            f"SELECT 1 FROM shop.t FOR SYSTEM_TIME AS OF TIMESTAMP '{before - dt.timedelta(days=1)}'"
        ).result()


def test_results_come_in_pages(client):
    numbers = " UNION ALL ".join(f"SELECT {n} AS x" for n in range(25))
    rows = client.query(numbers).result(page_size=10)
    assert sorted(row.x for row in rows) == list(range(25))


def test_a_dry_run_tells_the_schema_and_makes_nothing(client, table):
    config = bigquery.QueryJobConfig(dry_run=True)
    job = client.query("CREATE TABLE shop.dry AS SELECT userId, rating FROM shop.t", job_config=config)
    assert [field.name for field in job.schema] == ["userId", "rating"]
    with pytest.raises(exceptions.NotFound):
        client.get_table("shop.dry")


# --- extracts


def test_csv_is_written_as_bigquery_writes_it(client, bucket, table):
    files = extracted(client, bucket)
    assert files == {
        "out/part-000000000000.csv": b"userId,name,rating,at\n1,a,1.5,2026-01-01 00:00:00 UTC\n"
        b"2,,3.0,2026-01-02 12:30:00.5 UTC\n9007199254740993,<&>,,\n"
    }


def test_json_has_integers_as_strings_and_no_nulls(client, bucket, table):
    files = extracted(
        client, bucket, "gs://retraining/out/p-*.json", destination_format="NEWLINE_DELIMITED_JSON"
    )
    lines = files["out/p-000000000000.json"].decode().splitlines()
    assert json.loads(lines[0]) == {
        "userId": "1",
        "name": "a",
        "rating": 1.5,
        "at": "2026-01-01 00:00:00 UTC",
    }
    assert lines[2] == '{"userId":"9007199254740993","name":"\\u003c\\u0026\\u003e"}'


def test_files_can_be_compressed_and_have_no_header(client, bucket, table):
    files = extracted(
        client,
        bucket,
        "gs://retraining/out/a.csv.gz",
        compression="GZIP",
        print_header=False,
        field_delimiter="\t",
    )
    assert gzip.decompress(files["out/a.csv.gz"]).startswith(b"1\ta\t1.5\t")


def test_old_shards_stay(client, bucket, table):
    bucket.blob("out/part-000000000001.csv").upload_from_string("old")
    assert set(extracted(client, bucket)) == {"out/part-000000000000.csv", "out/part-000000000001.csv"}


def test_an_empty_table_becomes_a_file_with_a_header(client, bucket):
    client.create_table(bigquery.Table(f"{PROJECT}.shop.empty", SCHEMA))
    assert extracted(client, bucket, table="shop.empty") == {
        "out/part-000000000000.csv": b"userId,name,rating,at\n"
    }


@pytest.mark.parametrize("uri", ["gs://no-such-bucket/a-*.csv", "gs://retraining/a-*-*.csv", "/local/a.csv"])
def test_an_extract_to_nowhere_fails(client, bucket, table, uri):
    with pytest.raises((exceptions.NotFound, exceptions.BadRequest)):
        client.extract_table(table, uri).result()


# --- Airflow


def _context():
    return {
        "ti": MagicMock(stats_tags={}, try_number=1),
        "task": MagicMock(),
        "dag_run": MagicMock(run_after=dt.datetime.now(dt.UTC), start_date=dt.datetime.now(dt.UTC)),
        "logical_date": dt.datetime.now(dt.UTC),
    }


def test_airflows_operators_work_unmodified(client, bucket, table):
    from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
    from airflow.providers.google.cloud.transfers.bigquery_to_gcs import BigQueryToGCSOperator

    context = _context()
    query = {"query": {"query": "CREATE OR REPLACE TABLE shop.n AS SELECT 1 AS x", "useLegacySql": False}}
    BigQueryInsertJobOperator(task_id="select", configuration=query).execute(context)
    uris = ["gs://retraining/out/part-*.csv"]
    export = BigQueryToGCSOperator(
        task_id="export",
        source_project_dataset_table="shop.n",
        destination_cloud_storage_uris=uris,
        force_rerun=True,
    )
    assert export.execute(context) == uris
    assert bucket.blob("out/part-000000000000.csv").download_as_text() == "x\n1\n"


def test_airflows_operators_for_tables_and_loads_work_too(client, bucket):
    from airflow.providers.google.cloud.operators import bigquery as operators
    from airflow.providers.google.cloud.sensors.bigquery import BigQueryTableExistenceSensor
    from airflow.providers.google.cloud.transfers.bigquery_to_bigquery import BigQueryToBigQueryOperator
    from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

    bucket.blob("a.csv").upload_from_string("id,v\n1,a\n2,b\n")
    context = _context()
    GCSToBigQueryOperator(
        task_id="load",
        bucket="retraining",
        source_objects=["a.csv"],
        destination_project_dataset_table="shop.g",
        autodetect=True,
        skip_leading_rows=1,
    ).execute(context)
    query = {"query": {"query": "CREATE TABLE shop.h AS SELECT id FROM shop.g", "useLegacySql": False}}
    operators.BigQueryInsertJobOperator(task_id="select", configuration=query).execute(context)
    copy = BigQueryToBigQueryOperator(
        task_id="copy", source_project_dataset_tables="shop.h", destination_project_dataset_table="shop.i"
    )
    copy.execute(context)
    sensor = BigQueryTableExistenceSensor(task_id="wait", project_id=PROJECT, dataset_id="shop", table_id="i")
    assert sensor.poke(context)
    get = operators.BigQueryGetDataOperator(task_id="get", dataset_id="shop", table_id="i", max_results=5)
    assert get.execute(context) == [("1",), ("2",)]
    operators.BigQueryDeleteTableOperator(task_id="drop", deletion_dataset_table="shop.i").execute(context)
    assert not sensor.poke(context)


# --- the API's own description


def test_replies_are_as_the_discovery_document_says(client, bucket, table, emulator):
    job = client.query("SELECT userId, at FROM shop.t")
    job.result()
    failed = client.query("SELECT 1 / 0")
    with pytest.raises(exceptions.BadRequest):
        failed.result()
    api = Api("bigquery", "v2")
    for schema, path in (
        ("Dataset", "datasets/shop"),
        ("DatasetList", "datasets"),
        ("Table", "datasets/shop/tables/t"),
        ("TableList", "datasets/shop/tables"),
        ("TableDataList", "datasets/shop/tables/t/data"),
        ("Job", f"jobs/{job.job_id}?location=US"),
        ("Job", f"jobs/{failed.job_id}?location=US"),
        ("JobList", "jobs"),
        ("GetQueryResultsResponse", f"queries/{job.job_id}?location=US"),
    ):
        reply = requests.get(f"{emulator}/bigquery/v2/projects/{PROJECT}/{path}", timeout=10).json()
        kept = {name: value for name, value in reply.items() if name != "rows"}
        assert api.message(schema, kept) == kept, path
