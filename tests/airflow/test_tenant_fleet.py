"""The fleet's DAG, run by Airflow against the emulator: tasks that are mapped, deferred and independent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

AIRFLOW = str(Path(sys.executable).with_name("airflow"))
# Airflow runs mapped tasks one after the other here; they need not wait long for the triggerer.
RUN = """
from datetime import UTC, datetime
from airflow import __version__
from dags.tenant_fleet import dag
dag.get_task("train").partial_kwargs["poll_interval"] = 1
when = "logical_date" if __version__ >= "3" else "execution_date"
dag.test(**{when: datetime(2026, 1, 5, 4, tzinfo=UTC)})
"""
TENANTS = ["apple", "bad-data", "cherry", "dormant"]


@pytest.mark.slow
def test_a_tenant_that_fails_does_not_stop_the_others(emulator, script, tmp_path, monkeypatch):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    from airflow_ml_provider.hooks.vertex import VertexHook

    script.write_text(
        "import sys, time; time.sleep(1); raise SystemExit(2 if 'bad-data' in str(sys.argv) else 0)"
    )
    warehouse = bigquery.Client(project="demo-project", credentials=AnonymousCredentials())
    warehouse.create_dataset("shop")
    values = ", ".join(f"('{name}', 'gs://b/{name}.csv', {name != 'dormant'})" for name in TENANTS)
    warehouse.query("CREATE TABLE shop.tenants (tenant STRING, train_file STRING, active BOOL)").result()
    warehouse.query(f"INSERT INTO shop.tenants (tenant, train_file, active) VALUES {values}").result()
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_VAR_RETRAINING_IMAGE": "europe-docker.pkg.dev/demo-project/retraining/replica:1",
    }
    subprocess.run([AIRFLOW, "db", "migrate"], env=environment, check=True, capture_output=True)
    run = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    output = run.stdout + run.stderr
    assert "1 of 3 tenants: bad_data" in output, output[-4000:]
    jobs = VertexHook().get_client(region="europe-west4").jobs('createTime>"2020-01-01T00:00:00Z"')
    ended = {job.labels["tenant"].rsplit("_", 1)[0]: job.state for job in jobs}
    assert ended == {
        "apple": "JOB_STATE_SUCCEEDED",
        "bad_data": "JOB_STATE_FAILED",
        "cherry": "JOB_STATE_SUCCEEDED",
    }
    assert len({job.labels["airflow-key"] for job in jobs}) == 3
