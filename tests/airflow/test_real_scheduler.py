"""The operator under a real scheduler and triggerer: what people do, and what dies.

All tasks run in one Airflow, since starting one takes longer than most of what happens in it.
"""

from __future__ import annotations

import os
import signal

import pytest

from airflow_ml_provider.emulator.cluster import LocalImage
from airflow_ml_provider.emulator.server import Settings, exports, running
from tests.airflow.deployment.deployment import VERSION_3, Deployment
from tests.airflow.deployment.postgres import binaries, postgres
from tests.airflow.deployment.scenarios import REGION, SCENARIOS, write_dags

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(binaries() is None, reason="needs PostgreSQL: apt-get install postgresql"),
]
ACTIVE = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING")


class Night:
    """The deployment, the jobs, and what may be done to both."""

    def __init__(self, deployment, address, ends):
        self.airflow = deployment
        self.address = address
        self.ends = ends

    def jobs(self, name):
        """Return a scenario's jobs, oldest first."""
        from google.auth.credentials import AnonymousCredentials

        from airflow_ml_provider.vertex.client import VertexClient
        from airflow_ml_provider.vertex.requests import Requests

        requests = Requests("demo-project", REGION, vertex=self.address, logging=self.address)
        client = VertexClient(requests, AnonymousCredentials())
        return client.jobs(f'displayName:"{name}.*"')

    def states(self, name):
        return [job.state for job in self.jobs(name)]

    def state(self, name):
        return self.airflow.task(name)["state"]

    def let_end(self, name):
        (self.ends / name).write_text("0")

    def wait_for(self, condition, what, seconds=120):
        return self.airflow.wait_for(condition, what, seconds)

    def wait_until_it_waits(self, scenario):
        state = "deferred" if scenario.deferrable else "running"

        def waits():
            return self.states(scenario.name) == ["JOB_STATE_RUNNING"] and self.state(scenario.name) == state

        self.wait_for(waits, f"{scenario.name} to wait for its job", 240)

    def ends_as(self, name, state):
        """Wait for the task's end; return its jobs."""
        final = ("success", "failed")
        self.wait_for(lambda: self.state(name) in final, f"the end of {name}", 180)
        assert self.state(name) == state, self.airflow.task_logs(name)[-6000:]
        self.wait_for(lambda: not set(self.states(name)) & set(ACTIVE), f"the jobs of {name} to end")
        return self.jobs(name)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    ends = folder / "ends"
    ends.mkdir()
    shell = ("/bin/sh", "-c", 'until [ -e "$1" ]; do sleep 0.3; done; exit "$(cat "$1")"', "replica")
    image = LocalImage("*/replica", shell, folder)
    settings = Settings(data=folder / "emulator", images=(image,))
    with running(settings) as address, postgres() as database:
        deployment = Deployment(folder / "airflow", database, exports(address, settings.project))
        write_dags(deployment.dags, SCENARIOS, ends)
        try:
            deployment.start()
            made = Night(deployment, address, ends)
            for scenario in SCENARIOS:
                made.wait_for(lambda name=scenario.name: made.airflow.ask("GET", f"/dags/{name}"), "the DAGs")
            timed = [scenario for scenario in SCENARIOS if scenario.execution_timeout is not None]
            others = [scenario for scenario in SCENARIOS if scenario not in timed]
            for scenario in others:
                made.airflow.trigger(scenario.name)
            for scenario in others:
                made.wait_until_it_waits(scenario)
            # Their time runs from their start: not while all others start.
            for scenario in timed:
                made.airflow.trigger(scenario.name)
            yield made
        finally:
            deployment.stop()


def kinds(*names):
    """Run a test for the tasks of these names."""
    return pytest.mark.parametrize("name", names)


@kinds("running_marked_failed", "deferred_marked_failed")
def test_a_task_marked_failed_cancels_its_job(night, name):
    night.airflow.mark(name, "failed")
    night.wait_for(
        lambda: night.states(name) == ["JOB_STATE_CANCELLED"], f"the job of {name} to be cancelled"
    )
    assert night.state(name) == "failed"


@kinds("running_marked_success", "deferred_marked_success")
def test_a_task_marked_success_cancels_its_job(night, name):
    night.airflow.mark(name, "success")
    night.wait_for(
        lambda: night.states(name) == ["JOB_STATE_CANCELLED"], f"the job of {name} to be cancelled"
    )
    assert night.state(name) == "success"


@kinds("running_cleared", "deferred_cleared")
def test_a_task_that_is_cleared_cancels_its_job_and_starts_another(night, name):
    night.airflow.clear(name)
    wanted = ["JOB_STATE_CANCELLED", "JOB_STATE_RUNNING"]
    night.wait_for(lambda: night.states(name) == wanted, f"{name} to start its second job")
    night.let_end(name)
    old, new = night.ends_as(name, "success")
    assert (old.state, new.state) == ("JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED")
    assert night.airflow.result(name)["job_id"] == new.id


@kinds("deferred_timed_out")
def test_an_execution_timeout_cancels_the_job_of_a_deferred_task(night, name):
    def given_up():
        return night.state(name) == "failed" and not set(night.states(name)) & set(ACTIVE)

    night.wait_for(given_up, f"{name} to time out for good", 240)
    assert set(night.states(name)) == {"JOB_STATE_CANCELLED"}


@kinds("deferred_paused")
def test_a_paused_dag_keeps_its_job_and_learns_its_end_when_it_goes_on(night, name):
    night.airflow.pause(name, True)
    night.let_end(name)
    night.wait_for(lambda: night.states(name) == ["JOB_STATE_SUCCEEDED"], f"the job of {name} to end")
    night.airflow.pause(name, False)
    (job,) = night.ends_as(name, "success")
    assert night.airflow.result(name)["job_id"] == job.id


@kinds("running_worker_killed")
def test_a_killed_worker_leaves_its_job_to_the_retry(night, name):
    os.kill(int(night.airflow.task(name)["pid"]), signal.SIGKILL)
    night.wait_for(
        lambda: (t := night.airflow.task(name))["try_number"] == 2 and t["state"] == "running",
        "the second try",
        180,
    )
    night.let_end(name)
    (job,) = night.ends_as(name, "success")
    assert night.airflow.result(name)["job_id"] == job.id


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
@kinds("deferred_triggerer_killed")
def test_a_triggerer_that_restarts_leaves_the_job_alone(night, name, number):
    night.airflow.end("triggerer", number)
    night.airflow.launch("triggerer")
    health = "/monitor/health" if VERSION_3 else "/health"
    night.wait_for(
        lambda: night.airflow.ask("GET", health)["triggerer"]["status"] == "healthy", "the new triggerer"
    )
    assert night.states(name) == ["JOB_STATE_RUNNING"]
    assert night.state(name) == "deferred"
    if number == signal.SIGTERM:
        night.let_end(name)
        (job,) = night.ends_as(name, "success")
        assert night.airflow.result(name)["job_id"] == job.id


@kinds("running_scheduler_killed", "deferred_scheduler_killed")
def test_a_scheduler_that_restarts_leaves_the_job_alone(night, name):
    if "running" in name:
        night.airflow.end("scheduler", signal.SIGKILL, group=False)
        night.airflow.launch("scheduler")
    assert night.states(name) == ["JOB_STATE_RUNNING"]
    night.let_end(name)
    (job,) = night.ends_as(name, "success")
    assert night.airflow.result(name)["job_id"] == job.id
