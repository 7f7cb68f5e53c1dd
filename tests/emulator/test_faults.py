"""Faults on request, seen by clients as they would see Google's."""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.error
import urllib.request

import pytest

from airflow_ml_provider.emulator.cluster import LocalImage
from airflow_ml_provider.emulator.server import Settings, running
from tests.conftest import IMAGE

JOBS = "/v1/projects/demo-project/locations/us-central1/customJobs"


class Client:
    def __init__(self, address):
        self.address = address

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            self.headers = error.headers
            return error.code, json.load(error)

    def order(self, **rule):
        status, added = self.ask("POST", "/emulator/faults", rule)
        assert status == 200, added
        return added["id"]

    def faults(self):
        return self.ask("GET", "/emulator/faults")[1]["faults"]

    def create(self, name="train", seconds=0):
        spec = {
            "machineSpec": {"machineType": "n1-standard-4"},
            "replicaCount": "1",
            "containerSpec": {"imageUri": IMAGE, "args": [str(seconds)]},
        }
        return self.ask("POST", JOBS, {"displayName": name, "jobSpec": {"workerPoolSpecs": [spec]}})

    def names(self, query=""):
        return [job["name"] for job in self.ask("GET", JOBS + query)[1].get("customJobs", [])]

    def ended(self, name):
        for _ in range(400):
            job = self.ask("GET", f"/v1/{name}")[1]
            if "endTime" in job and ("error" in job or job["state"] == "JOB_STATE_SUCCEEDED"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"{job} did not end")


@pytest.fixture
def client(tmp_path):
    image = LocalImage("*/replica", ("/bin/sleep",), tmp_path)
    settings = Settings(data=tmp_path / "emulator", images=(image,), pace=0.05, faults=True)
    with running(settings) as address:
        yield Client(address)


def test_nobody_can_order_faults_where_they_were_not_asked_for(tmp_path):
    with running(Settings(data=tmp_path)) as address:
        assert Client(address).ask("POST", "/emulator/faults", {"fault": "reset"})[0] == 404


def test_a_lost_reply_leaves_the_job_that_was_created(client):
    client.order(fault="lost-reply", method="*.customJobs.create", count=1)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected, urllib.error.URLError)):
        client.create()
    assert len(client.names()) == 1


def test_a_reset_comes_before_anything_is_done(client):
    client.order(fault="reset", method="*.customJobs.create", count=1)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected, urllib.error.URLError)):
        client.create()
    assert client.names() == []
    assert client.create()[0] == 200


def test_a_burst_of_refusals_ends_and_says_when_to_come_again(client):
    client.order(fault="status", status=429, retry_after=7, count=2, resource="*/customJobs")
    for _ in range(2):
        status, answer = client.ask("GET", JOBS)
        assert (status, answer["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        assert client.headers["Retry-After"] == "7"
    assert client.ask("GET", JOBS)[0] == 200


def test_each_service_refuses_in_its_own_words(client):
    client.order(fault="status", status=503)
    assert client.ask("GET", "/storage/v1/b?project=p")[1]["error"]["errors"][0]["reason"] == "backendError"
    assert "errors" in client.ask("GET", "/bigquery/v2/projects/p/datasets")[1]["error"]
    for method, path in (("GET", JOBS), ("POST", "/v2/entries:list")):
        status, answer = client.ask(method, path, {} if method == "POST" else None)
        assert (status, answer["error"]["status"]) == (503, "UNAVAILABLE")


def test_some_calls_pass_first(client):
    client.order(fault="status", after=2, count=1)
    assert [client.ask("GET", JOBS)[0] for _ in range(4)] == [200, 200, 503, 200]


def test_the_same_seed_strikes_the_same_calls(client):
    struck = []
    for _ in range(2):
        client.ask("DELETE", "/emulator/faults")
        client.order(fault="status", probability=0.5, seed=7)
        struck.append([client.ask("GET", JOBS)[0] for _ in range(20)])
    assert struck[0] == struck[1]
    assert {200, 503} == set(struck[0])


def test_a_slow_answer_is_the_right_one(client):
    client.order(fault="slow", seconds=0.3, method="*.customJobs.list")
    began = time.monotonic()
    assert client.ask("GET", JOBS) == (200, {})
    assert time.monotonic() - began >= 0.3


def test_a_stale_list_does_not_show_what_is_new(client):
    number = client.order(fault="stale-list", seconds=60)
    name = client.create()[1]["name"]
    assert client.names("?readMask=name") == []
    assert client.ask("GET", f"/v1/{name}")[0] == 200
    assert client.ask("DELETE", f"/emulator/faults/{number}")[0] == 200
    assert client.names() == [name]


def test_an_empty_page_leads_to_the_full_one(client):
    client.create("a")
    client.create("b")
    client.order(fault="empty-page", count=1)
    first = client.ask("GET", f"{JOBS}?pageSize=1")[1]
    assert list(first) == ["nextPageToken"]
    second = client.ask("GET", f"{JOBS}?pageSize=1&pageToken={first['nextPageToken']}")[1]
    third = client.ask("GET", f"{JOBS}?pageSize=1&pageToken={second['nextPageToken']}")[1]
    assert [page["customJobs"][0]["displayName"] for page in (second, third)] == ["b", "a"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("stock-out", "Resources are insufficient in region: us-central1"),
        ("out-of-memory", "ran out of memory"),
        ("preemption", "STOCKOUT"),
        ("internal-error", "Internal error occurred"),
    ],
)
def test_a_job_ends_as_ordered_and_the_next_as_it_should(client, fault, words):
    client.order(fault=fault, resource="train*", count=1)
    first = client.ended(client.create(seconds=30)[1]["name"])
    assert first["state"] == "JOB_STATE_FAILED"
    assert words in first["error"]["message"]
    assert client.ended(client.create()[1]["name"])["state"] == "JOB_STATE_SUCCEEDED"


def test_a_job_stays_queued_until_it_is_cancelled(client):
    client.order(fault="stuck-queued")
    name = client.create()[1]["name"]
    time.sleep(0.3)
    assert client.ask("GET", f"/v1/{name}")[1]["state"] == "JOB_STATE_QUEUED"
    client.ask("POST", f"/v1/{name}:cancel", {})
    assert client.ended(name)["state"] == "JOB_STATE_CANCELLED"


def test_an_error_can_come_late(client):
    client.order(fault="late-error", seconds=1)
    name = client.create(seconds="nonsense")[1]["name"]
    while "endTime" not in (job := client.ask("GET", f"/v1/{name}")[1]):
        time.sleep(0.02)
    assert job["state"] == "JOB_STATE_FAILED"
    assert "error" not in job
    assert "non-zero status" in client.ended(name)["error"]["message"]


def test_rules_are_counted_and_lifted(client):
    client.order(fault="status", count=1)
    client.ask("GET", JOBS)
    client.ask("GET", JOBS)
    (rule,) = client.faults()
    assert (rule["matched"], rule["struck"]) == (2, 1)
    client.ask("DELETE", "/emulator/faults")
    assert client.faults() == []
    assert client.ask("DELETE", "/emulator/faults/9")[0] == 404


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "fault is missing"),
        ({"fault": "flood"}, "lost-reply"),
        ({"fault": "slow"}, "slow needs seconds"),
        ({"fault": "reset", "when": 1}, "unknown fields ['when']"),
        ({"fault": "reset", "count": "1"}, "wrong type"),
        ({"fault": "stock-out", "method": "*.create"}, "leave method out"),
        ({"fault": "status", "status": 200}, "from 400 to 599"),
    ],
)
def test_a_rule_that_can_not_be_is_refused_with_the_reason(client, rule, words):
    status, answer = client.ask("POST", "/emulator/faults", rule)
    assert status == 400
    assert words in answer["error"]["message"]


def test_the_command_says_where_faults_are_ordered(tmp_path):
    import subprocess

    command = [sys.executable, "-m", "airflow_ml_provider.cli", "emulator", "--faults", "--port", "0"]
    process = subprocess.Popen([*command, "--data", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        lines = []
        while not lines or not lines[-1].startswith("# Serving"):
            lines.append(process.stdout.readline())
        assert any(line.startswith("# Faults on request: http://127.0.0.1:") for line in lines)
    finally:
        process.terminate()
        process.wait()
