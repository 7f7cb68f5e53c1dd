from __future__ import annotations

import json

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from requests.adapters import BaseAdapter

from airflow_ml_provider.vertex import errors
from airflow_ml_provider.vertex.client import VertexClient
from airflow_ml_provider.vertex.requests import Requests, endpoint

NAME = "projects/123/locations/europe-west4/customJobs/77"
JOB = {
    "name": NAME,
    "displayName": "nightly",
    "state": "JOB_STATE_RUNNING",
    "createTime": "2026-11-20T01:02:03.123456789Z",
    "labels": {"a": "b"},
    "jobSpec": {"baseOutputDirectory": {"outputUriPrefix": "gs://b/jobs/1/"}},
}


class Replies(BaseAdapter):
    """Answers requests from a list: (status, body) or an exception."""

    def __init__(self, *replies):
        super().__init__()
        self.replies = list(replies)
        self.seen = []

    def send(self, request, **kwargs):
        self.seen.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        status, body = reply
        response = requests.Response()
        response.status_code = status
        response._content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        response.url = request.url
        return response

    def close(self):
        pass


def client(*replies):
    slept = []
    made = VertexClient(
        Requests(
            project="my-project", region="europe-west4", vertex="http://vertex", logging="http://logging"
        ),
        AnonymousCredentials(),
        sleep=slept.append,
    )
    adapter = Replies(*replies)
    made._session.mount("http://", adapter)
    return made, adapter, slept


def error(code, message):
    return code, {"error": {"code": code, "message": message, "status": "X"}}


def test_a_job_is_read_with_its_times_and_output():
    vertex, adapter, _ = client((200, JOB))
    job = vertex.get(NAME)
    assert (job.id, job.region, job.project) == ("77", "europe-west4", "my-project")
    assert job.create_time.isoformat() == "2026-11-20T01:02:03.123456+00:00"
    assert job.output_dir == "gs://b/jobs/1/"
    assert not job.is_over
    assert "project=my-project" in job.console_url
    assert adapter.seen[0].url == f"http://vertex/v1/{NAME}"


def test_reading_is_repeated_after_what_passes():
    vertex, adapter, slept = client(
        error(503, "later"), requests.ConnectionError("reset"), error(429, "rate"), (200, JOB)
    )
    assert vertex.get(NAME).id == "77"
    assert len(adapter.seen) == 4
    assert len(slept) == 3


def test_a_create_is_sent_once():
    vertex, adapter, _ = client(error(503, "later"))
    with pytest.raises(errors.Unavailable):
        vertex.create({"displayName": "x"})
    assert len(adapter.seen) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "permanent"),
    [
        (error(400, "Machine type n9 is not supported."), errors.InvalidJob, True),
        (error(403, "denied"), errors.PermissionDenied, True),
        (error(401, "who"), errors.PermissionDenied, True),
        (error(404, "no"), errors.NotFound, True),
        (
            error(
                429, "The following quota metrics exceed quota limits: custom_model_training_nvidia_l4_gpus"
            ),
            errors.QuotaExceeded,
            False,
        ),
        ((418, "<html>teapot</html>"), errors.RequestError, False),
    ],
)
def test_refusals_are_told_apart(reply, kind, permanent):
    vertex, adapter, _ = client(reply)
    with pytest.raises(kind) as caught:
        vertex.get(NAME)
    assert caught.value.permanent is permanent
    assert NAME in str(caught.value)
    assert len(adapter.seen) == 1


def test_a_proxy_page_is_not_an_answer():
    vertex, _, _ = client(*[(200, "<html>login</html>")] * 50)
    with pytest.raises(errors.Unavailable, match="not JSON"):
        vertex.create({"displayName": "x"})


def test_listing_follows_every_page_and_sorts_by_age():
    older = {**JOB, "name": NAME[:-2] + "11", "createTime": "2026-11-19T00:00:00Z"}
    vertex, adapter, _ = client(
        (200, {"customJobs": [JOB], "nextPageToken": "t"}), (200, {"customJobs": [older]})
    )
    assert [job.id for job in vertex.jobs("labels.k=v")] == ["11", "77"]
    assert "pageToken=t" in adapter.seen[1].url
    assert "filter=labels.k%3Dv" in adapter.seen[0].url


def test_the_log_tail_is_oldest_first_and_names_the_replica():
    entries = [
        {"textPayload": "two\n", "resource": {"labels": {"task_name": "workerpool1-0"}}},
        {"jsonPayload": {"message": "one\nmore"}, "resource": {"labels": {"task_name": "workerpool0-0"}}},
    ]
    vertex, adapter, _ = client((200, {"entries": entries}))
    assert vertex.log_tail("77", 20) == ["[workerpool0-0] one", "[workerpool0-0] more", "[workerpool1-0] two"]
    sent = json.loads(adapter.seen[0].body)
    assert sent["resourceNames"] == ["projects/my-project"]
    assert sent["filter"] == 'resource.type="ml_job" AND resource.labels.job_id="77"'


def test_the_emulator_is_reached_through_the_environment(monkeypatch):
    monkeypatch.setenv("VERTEX_AI_EMULATOR_HOST", "127.0.0.1:9000/")
    monkeypatch.setenv("CLOUD_LOGGING_EMULATOR_HOST", "http://127.0.0.1:9001")
    requests = Requests(project="my-project", region="europe-west4")
    assert requests.vertex == "http://127.0.0.1:9000"
    assert requests.logging == "http://127.0.0.1:9001"


def test_without_an_emulator_the_regional_host_is_used(monkeypatch):
    monkeypatch.delenv("VERTEX_AI_EMULATOR_HOST", raising=False)
    assert (
        Requests(project="123", region="us-central1").vertex
        == "https://us-central1-aiplatform.googleapis.com"
    )
    assert endpoint("NO_SUCH_VARIABLE", "https://x") == "https://x"


@pytest.mark.parametrize(
    ("project", "region"), [("", "us-central1"), ("P", "us-central1"), ("my-project", "moon")]
)
def test_impossible_projects_and_regions_are_refused(project, region):
    with pytest.raises(ValueError, match="is not a"):
        Requests(project=project, region=region)


@pytest.mark.parametrize("name", ["", "77", "projects/p/locations/r/customJobs/x", NAME + "/../1"])
def test_what_is_no_job_name_is_not_sent(name):
    vertex, adapter, _ = client()
    with pytest.raises(ValueError, match="customJobs"):
        vertex.get(name)
    assert not adapter.seen
