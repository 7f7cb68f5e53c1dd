"""What the operator does where the region has no machines, with the emulator's faults."""

from __future__ import annotations

import json
import sys
import urllib.request

import pytest

from airflow_ml_provider.compat import AirflowException
from airflow_ml_provider.emulator.cluster import LocalImage
from airflow_ml_provider.emulator.server import Settings, exports, running
from airflow_ml_provider.hooks.vertex import VertexHook
from airflow_ml_provider.vertex import errors
from tests.airflow.test_training_deferred import complete
from tests.airflow.test_training_operator import REGION, TaskInstance, operator

SECOND = "us-central1"
BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])


@pytest.fixture
def fault(tmp_path, script, monkeypatch):
    """An emulator that can be told what to do wrong."""
    script.write_text("import time; time.sleep(1)")
    image = LocalImage("*/replica", (sys.executable, str(script)), tmp_path)
    settings = Settings(data=tmp_path / "emulator", images=(image,), pace=0.05, faults=True)
    with running(settings) as address:
        for name, value in exports(address, settings.project).items():
            monkeypatch.setenv(name, value)

        def add(**rule):
            data = json.dumps(rule).encode()
            urllib.request.urlopen(f"{address}/emulator/faults", data, timeout=10).close()

        yield add


def train(deferrable, **changes):
    def make():
        return operator(regions=[REGION, SECOND], region=None, deferrable=deferrable, **changes)

    ti = TaskInstance()
    return complete(make, ti) if deferrable else make().execute({"ti": ti})


def states_of_all():
    every = 'createTime>"2020-01-01T00:00:00Z"'
    found = [job for region in (REGION, SECOND) for job in VertexHook().get_client(region=region).jobs(every)]
    return [(job.region, job.state.removeprefix("JOB_STATE_")) for job in found]


@BOTH
def test_a_job_goes_to_the_next_region_where_one_has_no_machines(fault, deferrable):
    fault(fault="stock-out", count=1)
    assert f"/{SECOND}/" in train(deferrable)["job"]
    assert states_of_all() == [(REGION, "FAILED"), (SECOND, "SUCCEEDED")]


@BOTH
def test_a_job_that_waits_too_long_for_machines_goes_to_the_next_region(fault, deferrable):
    fault(fault="stuck-queued", count=1)
    assert f"/{SECOND}/" in train(deferrable, job={"queue_timeout": 3})["job"]
    assert states_of_all() == [(REGION, "CANCELLED"), (SECOND, "SUCCEEDED")]


@BOTH
def test_if_no_region_has_machines_the_task_fails_and_leaves_nothing_behind(fault, deferrable):
    fault(fault="stock-out", count=2)
    with pytest.raises(AirflowException, match="Resources are insufficient") as caught:
        train(deferrable)
    assert isinstance(caught.value.error, errors.StockOut)
    assert states_of_all() == [(REGION, "FAILED"), (SECOND, "FAILED")]
