"""Custom jobs through Google's own client, unmodified, over REST."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.services.job_service.transports.rest import JobServiceRestTransport

from airflow_ml_provider.emulator.cluster import LocalImage, ProcessCluster
from airflow_ml_provider.emulator.http import Application, Server
from airflow_ml_provider.emulator.logging.service import CloudLogging
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.service import VertexAI

PARENT = "projects/proj-x/locations/us-central1"
IMAGE = "europe-docker.pkg.dev/p/r/trainer:1"
QUICK = Pace(queued=0.01, pending=0.01, error=0.3, delete=0.1)
State = aiplatform_v1.JobState
FINISHED = (State.JOB_STATE_SUCCEEDED, State.JOB_STATE_FAILED, State.JOB_STATE_CANCELLED)
SCRIPT = """
import json, os, sys, time
print("args", sys.argv[1:], flush=True)
if "--listen" in sys.argv:
    while True:
        time.sleep(0.05)
time.sleep(float(os.environ.get("SLEEP", "0")))
sys.exit(int(os.environ.get("STATUS", "0")))
"""


class Emulator:
    """Vertex AI and Cloud Logging behind one port."""

    def __init__(self, folder, pace=QUICK, **fields):
        self.logs = LogStore(folder / "logging")
        image = LocalImage("europe-docker.pkg.dev/*", [sys.executable, "replica.py"], folder)
        (folder / "replica.py").write_text(SCRIPT)
        self.cluster = ProcessCluster(folder / "cluster", [image], grace=1)
        self.vertex = VertexAI(
            folder / "vertex", self.cluster, self.logs, project="proj-x", pace=pace, **fields
        )
        self.application = Application([self.vertex, CloudLogging(self.logs)])
        self.server = Server(("127.0.0.1", 0), self.application)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        transport = JobServiceRestTransport(
            host=self.host, url_scheme="http", credentials=AnonymousCredentials()
        )
        self.client = aiplatform_v1.JobServiceClient(transport=transport)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.application.close()

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.host}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def finished(self, name, *, with_error=False):
        for _ in range(1200):
            job = self.client.get_custom_job(name=name)
            if job.state in FINISHED and (job.error.code or not with_error):
                return job
            time.sleep(0.05)
        raise AssertionError(f"{name} is still {job.state.name}")

    def in_state(self, name, state):
        for _ in range(1200):
            if self.client.get_custom_job(name=name).state == state:
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} never was {state.name}")

    def said(self, name, task):
        labels = f'resource.labels.job_id="{name.split("/")[-1]}" AND resource.labels.task_name="{task}"'
        query = {"resourceNames": ["projects/proj-x"], "filter": labels}
        return [e["textPayload"] for e in self.request("POST", "/v2/entries:list", query)[1]["entries"]]


@pytest.fixture
def emulator(tmp_path):
    emulator = Emulator(tmp_path)
    yield emulator
    emulator.close()


def pool(count=1, args=(), **env):
    return {
        "machine_spec": {"machine_type": "n1-standard-4"},
        "replica_count": count,
        "container_spec": {
            "image_uri": IMAGE,
            "args": list(args),
            "env": [{"name": name, "value": value} for name, value in env.items()],
        },
    }


def custom_job(*pools, labels=None, name="nightly", **spec):
    spec["worker_pool_specs"] = list(pools) or [pool()]
    return {"display_name": name, "labels": labels or {}, "job_spec": spec}


def create(emulator, *pools, parent=PARENT, **fields):
    return emulator.client.create_custom_job(parent=parent, custom_job=custom_job(*pools, **fields))


def test_a_job_is_created_queued_under_the_projects_number_and_succeeds(emulator):
    job = create(emulator, pool(args=["--epochs", "3"]), labels={"airflow-key": "a1"})
    project, number, place, region, kind, job_id = job.name.split("/")
    assert (project, place, region, kind) == ("projects", "locations", "us-central1", "customJobs")
    assert number.isdecimal()
    assert len(number) == 12
    assert job_id.isdecimal()
    assert len(job_id) == 19
    assert job.state == State.JOB_STATE_QUEUED
    done = emulator.finished(job.name)
    assert done.state == State.JOB_STATE_SUCCEEDED
    assert done.create_time <= done.start_time <= done.end_time <= done.update_time
    assert not done.error.message
    assert emulator.said(job.name, "workerpool0-0") == ["args ['--epochs', '3']"]
    assert emulator.said(job.name, "service")[-1] == "Job completed successfully."


def test_a_job_is_found_by_project_id_and_by_number(emulator):
    job = create(emulator)
    by_id = job.name.replace(job.name.split("/")[1], "proj-x")
    assert emulator.client.get_custom_job(name=by_id).name == job.name
    numbered = PARENT.replace("proj-x", job.name.split("/")[1])
    assert create(emulator, parent=numbered).name.split("/")[1] == job.name.split("/")[1]
    emulator.finished(job.name)


def test_replies_are_valid_by_the_apis_document_and_have_the_services_defaults(emulator):
    body = {
        "displayName": "d",
        "jobSpec": {
            "workerPoolSpecs": [
                {
                    "machineSpec": {
                        "machineType": "n1-standard-8",
                        "acceleratorType": 5,
                        "acceleratorCount": 1,
                    },
                    "replicaCount": 1,
                    "containerSpec": {"imageUri": IMAGE, "command": [], "args": []},
                },
                {},
                {
                    "machineSpec": {"machineType": "n1-standard-4"},
                    "replicaCount": "2",
                    "containerSpec": {"imageUri": IMAGE},
                },
            ],
            "scheduling": {"strategy": 4, "timeout": "3600s", "disableRetries": True},
            "baseOutputDirectory": {"outputUriPrefix": "gs://bucket/runs/1"},
        },
        "name": "ignored",
        "state": "JOB_STATE_FAILED",
        "createTime": "2001-01-01T00:00:00Z",
        "error": {"code": 3, "message": "ignored"},
    }
    status, job = emulator.request("POST", f"/v1/{PARENT}/customJobs", body)
    assert status == 200
    schema = "GoogleCloudAiplatformV1CustomJob"
    assert emulator.vertex.api.message(schema, job) == job
    assert job["state"] == "JOB_STATE_QUEUED"
    assert not job["createTime"].startswith("2001")
    assert "error" not in job
    first, skipped, third = job["jobSpec"]["workerPoolSpecs"]
    assert first["replicaCount"] == "1"
    assert first["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_T4"
    assert first["diskSpec"] == {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 100}
    assert "args" not in first["containerSpec"]
    assert skipped == {}
    assert third["replicaCount"] == "2"
    assert job["jobSpec"]["scheduling"] == {"strategy": "SPOT", "timeout": "3600s", "disableRetries": True}
    assert job["jobSpec"]["baseOutputDirectory"] == {"outputUriPrefix": "gs://bucket/runs/1/"}
    emulator.finished(job["name"])
    _, listed = emulator.request("GET", f"/v1/{PARENT}/customJobs")
    reply = "GoogleCloudAiplatformV1ListCustomJobsResponse"
    assert emulator.vertex.api.message(reply, listed) == listed
    status, operation = emulator.request("DELETE", f"/v1/{job['name']}")
    assert status == 200
    assert emulator.vertex.api.message("GoogleLongrunningOperation", operation) == operation


def test_every_number_of_an_enum_means_what_it_means_in_googles_protos(emulator):
    for field, enum in (
        ("MachineSpec.acceleratorType", aiplatform_v1.AcceleratorType),
        ("Scheduling.strategy", aiplatform_v1.Scheduling.Strategy),
    ):
        numbers = emulator.vertex.api.enum_numbers[f"GoogleCloudAiplatformV1{field}"]
        assert numbers == {member.value: member.name for member in enum}
    states = emulator.vertex.api.schemas["GoogleCloudAiplatformV1CustomJob"]["properties"]["state"]["enum"]
    assert states == [member.name for member in sorted(State, key=lambda m: m.value)]


def test_a_failing_replica_fails_the_job_with_the_services_message_which_comes_late(emulator):
    job = create(emulator, pool(STATUS="7"))
    failed = emulator.finished(job.name)
    assert failed.state == State.JOB_STATE_FAILED
    assert failed.end_time
    assert not failed.error.message
    told = emulator.finished(job.name, with_error=True)
    number, job_id = job.name.split("/")[1], job.name.split("/")[-1]
    assert told.error.code == 3
    assert told.error.message.startswith(
        "The replica workerpool0-0 exited with a non-zero status of 7. Termination reason: Error."
    )
    assert f"logs/viewer?project={number}&resource=ml_job%2Fjob_id%2F{job_id}" in told.error.message
    assert told.update_time > failed.update_time
    assert emulator.said(job.name, "service")[-1] == "Job failed."


def test_a_worker_that_fails_fails_the_job_and_the_primary_is_stopped(emulator):
    job = create(emulator, pool(args=["--listen"]), pool(count=2, STATUS="1"))
    failed = emulator.finished(job.name, with_error=True)
    assert failed.state == State.JOB_STATE_FAILED
    assert "The replica workerpool1-" in failed.error.message


def test_the_job_succeeds_with_its_primary_while_others_still_run(emulator):
    job = create(emulator, pool(), pool(count=2, args=["--listen"]))
    assert emulator.finished(job.name).state == State.JOB_STATE_SUCCEEDED


def test_running_out_of_memory_has_its_own_message(emulator):
    job = create(emulator, pool(STATUS="137"))
    error = emulator.finished(job.name, with_error=True).error
    assert error.code == 8
    assert error.message.startswith(
        "The replica workerpool0-0 ran out of memory and exited with a non-zero status of 137."
    )


def test_an_image_that_cannot_be_had_fails_the_job_by_its_name(emulator):
    spec = pool()
    spec["container_spec"]["image_uri"] = "gcr.io/nobody/nothing:1"
    job = create(emulator, spec)
    failed = emulator.finished(job.name, with_error=True)
    assert failed.state == State.JOB_STATE_FAILED
    assert "gcr.io/nobody/nothing:1" in failed.error.message
    assert not failed.start_time


def test_cancelling_a_running_job_ends_its_replicas(emulator):
    job = create(emulator, pool(args=["--listen"]))
    emulator.in_state(job.name, State.JOB_STATE_RUNNING)
    emulator.client.cancel_custom_job(name=job.name)
    cancelled = emulator.finished(job.name, with_error=True)
    assert cancelled.state == State.JOB_STATE_CANCELLED
    assert cancelled.error.code == 1
    assert cancelled.end_time


def test_cancelling_a_job_before_it_runs_starts_nothing(tmp_path):
    emulator = Emulator(tmp_path, Pace(queued=30, pending=30, error=0.01))
    try:
        job = create(emulator)
        emulator.client.cancel_custom_job(name=job.name)
        assert emulator.finished(job.name).state == State.JOB_STATE_CANCELLED
        assert "Job is running." not in emulator.said(job.name, "service")
    finally:
        emulator.close()


def test_what_is_over_cannot_be_cancelled_and_what_runs_cannot_be_deleted(emulator):
    job = create(emulator, pool(args=["--listen"]))
    with pytest.raises(exceptions.BadRequest, match="cannot be deleted"):
        emulator.client.delete_custom_job(name=job.name)
    emulator.client.cancel_custom_job(name=job.name)
    emulator.finished(job.name)
    with pytest.raises(exceptions.BadRequest, match="JOB_STATE_CANCELLED"):
        emulator.client.cancel_custom_job(name=job.name)


def test_a_job_is_deleted_by_an_operation_that_takes_its_time(emulator):
    job = create(emulator)
    emulator.finished(job.name)
    operation = emulator.client.delete_custom_job(name=job.name)
    assert not operation.operation.done
    operation.result(timeout=30)
    with pytest.raises(exceptions.NotFound, match="does not exist"):
        emulator.client.get_custom_job(name=job.name)
    with pytest.raises(exceptions.NotFound):
        emulator.client.delete_custom_job(name=job.name)
    assert list(emulator.client.list_custom_jobs(parent=PARENT)) == []


def test_a_job_that_runs_too_long_is_cancelled_by_the_service(emulator):
    job = create(emulator, pool(args=["--listen"]), scheduling={"timeout": {"seconds": 1}})
    cancelled = emulator.finished(job.name, with_error=True)
    assert cancelled.state == State.JOB_STATE_CANCELLED
    assert "timeout of 1s" in cancelled.error.message


def test_the_same_request_twice_makes_two_jobs(emulator):
    first, second = create(emulator), create(emulator)
    assert first.name != second.name
    assert emulator.finished(second.name).state == emulator.finished(first.name).state


def test_a_job_is_not_found_in_another_region_or_project(emulator):
    job = create(emulator)
    for name in (
        job.name.replace("us-central1", "europe-west4"),
        job.name.replace(job.name.split("/")[1], "other-project"),
        job.name[:-1] + "x",
    ):
        with pytest.raises(exceptions.NotFound):
            emulator.client.get_custom_job(name=name)
    emulator.finished(job.name)


def test_closing_the_emulator_fails_its_jobs_and_says_so_after_a_restart(tmp_path):
    emulator = Emulator(tmp_path)
    done = create(emulator)
    emulator.finished(done.name)
    job = create(emulator, pool(args=["--listen"]))
    emulator.in_state(job.name, State.JOB_STATE_RUNNING)
    emulator.close()
    emulator = Emulator(tmp_path)
    try:
        assert emulator.client.get_custom_job(name=done.name).state == State.JOB_STATE_SUCCEEDED
        lost = emulator.client.get_custom_job(name=job.name)
        assert lost.state == State.JOB_STATE_FAILED
        assert "the emulator was shut down while this job was not over" in lost.error.message
        assert emulator.said(job.name, "service")[-1] == "Job failed."
    finally:
        emulator.close()


KILLABLE = """
    import sys, threading
    from pathlib import Path
    from airflow_ml_provider.emulator.cluster import LocalImage, ProcessCluster
    from airflow_ml_provider.emulator.http import Application, Server
    from airflow_ml_provider.emulator.logging.store import LogStore
    from airflow_ml_provider.emulator.vertex.service import VertexAI
    folder = Path(sys.argv[1])
    logs = LogStore(folder / "logging")
    image = LocalImage("europe-docker.pkg.dev/*", [sys.executable, "replica.py"], folder)
    vertex = VertexAI(folder / "vertex", ProcessCluster(folder / "cluster", [image]), logs, project="proj-x")
    server = Server(("127.0.0.1", 0), Application([vertex]))
    print(server.server_address[1], flush=True)
    server.serve_forever()
    """


def test_jobs_of_an_emulator_that_was_killed_are_failed_with_a_message_that_says_so(tmp_path):
    (tmp_path / "replica.py").write_text(SCRIPT)
    arguments = [sys.executable, "-c", textwrap.dedent(KILLABLE), str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    host = f"127.0.0.1:{process.stdout.readline().strip()}"
    transport = JobServiceRestTransport(host=host, url_scheme="http", credentials=AnonymousCredentials())
    client = aiplatform_v1.JobServiceClient(transport=transport)
    job = client.create_custom_job(parent=PARENT, custom_job=custom_job(pool(args=["--listen"])))
    while client.get_custom_job(name=job.name).state != State.JOB_STATE_RUNNING:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    emulator = Emulator(tmp_path)
    try:
        lost = emulator.client.get_custom_job(name=job.name)
        assert lost.state == State.JOB_STATE_FAILED
        assert "the emulator was killed while this job was not over" in lost.error.message
        assert lost.end_time
        assert emulator.finished(create(emulator).name).state == State.JOB_STATE_SUCCEEDED
    finally:
        emulator.close()


def test_methods_that_are_not_emulated_are_refused_by_name(emulator):
    status, reply = emulator.request("GET", f"/v1/{PARENT}/hyperparameterTuningJobs")
    assert status == 501
    assert "aiplatform.projects.locations.hyperparameterTuningJobs.list" in reply["error"]["message"]
    assert reply["error"]["status"] == "UNIMPLEMENTED"
