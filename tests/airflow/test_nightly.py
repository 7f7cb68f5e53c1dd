"""The nightly DAG, run by Airflow against the emulator, with the real trainer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
TRAINER = REPOSITORY / "container/.venv/bin/python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not TRAINER.exists(), reason="needs the trainer's environment: make container/.venv/ready"
    ),
]


@pytest.fixture
def airflow(emulator, tmp_path, monkeypatch):
    """Return a function that runs Airflow in a home of its own."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.chdir(REPOSITORY)

    def run(*words):
        return subprocess.run(
            [AIRFLOW, *words],
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    assert run("db", "migrate").returncode == 0
    return run


def load(rows):
    """Load ratings, given as CSV rows of user, item, rating and time."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    client = bigquery.Client(project="demo-project", credentials=AnonymousCredentials())
    client.create_dataset("shop", exists_ok=True)
    names = (("userId", "INT64"), ("itemId", "INT64"), ("rating", "FLOAT64"), ("rated_at", "TIMESTAMP"))
    schema = [bigquery.SchemaField(*name) for name in names]
    table = client.create_table(bigquery.Table("demo-project.shop.ratings", schema))
    if rows:
        from io import BytesIO

        config = bigquery.LoadJobConfig(source_format="CSV", schema=schema)
        client.load_table_from_file(BytesIO("\n".join(rows).encode()), table, job_config=config).result()


def nothing_is_left(bucket):
    """No model was promoted, and no job runs."""
    from airflow_ml_provider.hooks.vertex import VertexHook

    jobs = VertexHook().get_client(region="europe-west4").jobs('createTime>"2020-01-01T00:00:00Z"')
    assert all(job.is_over for job in jobs)
    assert not bucket.blob("shop/models/recommender/champion.json").exists()


RATINGS = [f"{u},{i},{(u * i) % 5 + 1},2026-01-01 00:00:00 UTC" for u in range(1, 40) for i in range(1, 30)]


def test_a_missing_rating_stops_the_night_and_is_named_by_file_and_line(airflow, bucket):
    load([*RATINGS, "41,1,,2026-01-01 00:00:00 UTC", "41,2,,2026-01-01 00:00:00 UTC"])
    run = airflow("dags", "test", "recommender_nightly", "2026-01-05T03:00:00+00:00")
    assert run.returncode != 0
    output = run.stdout + run.stderr
    assert "part-000000000000.csv:" in output
    assert "non-zero status of 2" in output
    nothing_is_left(bucket)


def test_an_empty_table_stops_the_night(airflow, bucket):
    load([])
    run = airflow("dags", "test", "recommender_nightly", "2026-01-05T03:00:00+00:00")
    assert run.returncode != 0
    assert "non-zero status of 2" in run.stdout + run.stderr
    nothing_is_left(bucket)


def test_the_demo_promotes_promotes_and_refuses(tmp_path):
    command = [sys.executable, "-m", "airflow_ml_provider.cli", "demo", "--folder", str(tmp_path / "demo")]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=580)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    lines = [line for line in run.stdout.splitlines() if line.startswith("night ")]
    assert [line.split()[2] for line in lines] == ["promoted", "promoted", "refused"]
    assert "worse by" in lines[2]
    paths = [
        Path(line.split()[-1]) for line in run.stdout.splitlines() if line.startswith("  ") and "/" in line
    ]
    assert all(path.exists() for path in paths[-5:])
