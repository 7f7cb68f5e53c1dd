"""Cloud Logging's entries:list over what replicas print."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import textwrap
import threading
from email.message import Message

import pytest

from airflow_ml_provider.emulator.filters import FilterError, nanoseconds, rfc3339
from airflow_ml_provider.emulator.http import Application, Request
from airflow_ml_provider.emulator.logging.service import CloudLogging
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.projects import project_number

JOB = "3793775725299892224"
GCLOUD = f'resource.type="ml_job" AND resource.labels.job_id="{JOB}"'


@pytest.fixture
def logs(tmp_path):
    return LogStore(tmp_path / "logging")


@pytest.fixture
def service(logs):
    service = CloudLogging(logs)
    yield service
    service.close()


@pytest.fixture
def ask(service):
    application = Application([service])

    def ask(**body):
        body.setdefault("resourceNames", ["projects/proj-x"])
        request = Request(
            "POST",
            "/v2/entries:list",
            {},
            Message(),
            io.BytesIO(json.dumps(body).encode()),
            "http://localhost",
        )
        response = application.dispatch(request)
        return response.status, json.loads(response.body)

    return ask


@pytest.fixture
def filled(logs):
    for i in range(3):
        logs.append(JOB, "workerpool0-0", f"step {i}", project="proj-x")
    logs.append(JOB, "workerpool1-0", "Disk is FULL", project="proj-x", severity="ERROR")
    logs.append(JOB, "service", "Job failed.", project="proj-x")
    logs.append("42", "workerpool0-0", "of another job", project="proj-x")
    logs.append("43", "workerpool0-0", "of another project", project="proj-y")
    logs.append(
        JOB,
        "workerpool0-0",
        '{"severity": "WARNING", "message": "careful", "epoch": 3, "ok": true, "tags": ["a", "b"]}',
        project="proj-x",
        labels={"ml.googleapis.com/trial_id": "7"},
    )


def payloads(reply):
    return [e.get("textPayload") or e["jsonPayload"]["message"] for e in reply.get("entries", [])]


def test_gclouds_query_finds_a_jobs_entries_in_order(ask, filled):
    status, reply = ask(filter=GCLOUD, orderBy="timestamp asc", pageSize=1000)
    assert status == 200
    assert payloads(reply) == ["step 0", "step 1", "step 2", "Disk is FULL", "Job failed.", "careful"]
    assert "nextPageToken" not in reply
    ids = [e["insertId"] for e in reply["entries"]]
    assert ids == sorted(set(ids))


def test_a_reply_is_valid_by_the_apis_document(ask, filled, service):
    _, reply = ask(filter=GCLOUD)
    assert service.api.message("ListLogEntriesResponse", reply) == reply
    entry = reply["entries"][0]
    assert entry["logName"] == "projects/proj-x/logs/ml.googleapis.com%2Fworkerpool0-0"
    assert entry["resource"] == {
        "type": "ml_job",
        "labels": {"job_id": JOB, "project_id": "proj-x", "task_name": "workerpool0-0"},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["timestamp"])
    assert entry["severity"] == "INFO"


def test_a_line_of_json_becomes_a_structured_entry(ask, filled):
    entry = ask(filter=f"{GCLOUD} AND jsonPayload:*")[1]["entries"][0]
    assert entry["severity"] == "WARNING"
    assert entry["jsonPayload"] == {"message": "careful", "epoch": 3, "ok": True, "tags": ["a", "b"]}
    assert "textPayload" not in entry
    assert entry["labels"] == {"ml.googleapis.com/trial_id": "7"}


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("[1, 2]", "INFO"),
        ("{not json}", "INFO"),
        ('{"a": 1} and more', "INFO"),
        ('{"half": "\\ud800"}', "INFO"),
        ("", "INFO"),
    ],
)
def test_what_is_not_one_json_object_stays_text(ask, logs, line, severity):
    logs.append(JOB, "workerpool0-0", line, project="proj-x")
    (entry,) = ask()[1]["entries"]
    assert entry["textPayload"] == line
    assert entry["severity"] == severity


@pytest.mark.parametrize(
    ("given", "severity", "left"),
    [
        ("error", "ERROR", {"m": 1}),
        ("WARN", "WARNING", {"m": 1}),
        ("fatal", "CRITICAL", {"m": 1}),
        ("loud", "INFO", {"m": 1, "severity": "loud"}),
        (3, "INFO", {"m": 1, "severity": 3}),
    ],
)
def test_a_structured_lines_severity_is_lifted(ask, logs, given, severity, left):
    logs.append(JOB, "workerpool0-0", json.dumps({"m": 1, "severity": given}), project="proj-x")
    (entry,) = ask()[1]["entries"]
    assert (entry["severity"], entry["jsonPayload"]) == (severity, left)


def test_special_fields_and_impossible_numbers_of_a_structured_line(ask, logs, service):
    line = '{"logging.googleapis.com/labels": {"a": "b"}, "logging.googleapis.com/trace": "t", "loss": NaN}'
    logs.append(JOB, "workerpool0-0", line, project="proj-x")
    _, reply = ask()
    (entry,) = reply["entries"]
    assert (entry["labels"], entry["trace"], entry["jsonPayload"]) == ({"a": "b"}, "t", {"loss": "NaN"})
    assert service.api.message("ListLogEntriesResponse", reply) == reply


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('resource.labels.task_name="workerpool0-0"', ["step 0", "step 1", "step 2", "careful"]),
        ('resource.labels.task_name=("workerpool1-0" OR "service")', ["Disk is FULL", "Job failed."]),
        ("severity>=WARNING", ["Disk is FULL", "careful"]),
        ("severity>=400 AND severity<500", ["careful"]),
        ("severity=error", ["Disk is FULL"]),
        ("severity!=INFO", ["Disk is FULL", "careful"]),
        ("textPayload:full", ["Disk is FULL"]),
        ('textPayload="disk is full"', ["Disk is FULL"]),
        ("NOT textPayload:step", ["Disk is FULL", "Job failed.", "careful"]),
        ("-textPayload:step severity=INFO", ["Job failed."]),
        ('textPayload=~"^step [12]$"', ["step 1", "step 2"]),
        ('textPayload!~"^step"', ["Disk is FULL", "Job failed."]),
        ("textPayload:*", ["step 0", "step 1", "step 2", "Disk is FULL", "Job failed."]),
        ('labels."ml.googleapis.com/trial_id"="7"', ["careful"]),
        ("jsonPayload.epoch=3", ["careful"]),
        ("jsonPayload.epoch>2.5 jsonPayload.ok=true", ["careful"]),
        ("jsonPayload.epoch>3", []),
        ("jsonPayload.tags=b", ["careful"]),
        ("jsonPayload:care", ["careful"]),
        ("jsonPayload.missing!=1", []),
        (
            "NOT jsonPayload.missing=1",
            ["step 0", "step 1", "step 2", "Disk is FULL", "Job failed.", "careful"],
        ),
        ('"step 1" OR "FAILED"', ["step 1", "Job failed."]),
        ("textPayload:0 OR textPayload:1 AND severity=INFO", ["step 0", "step 1"]),
        ("(textPayload:0 OR (textPayload:1 AND severity=ERROR))", ["step 0"]),
        ("textPayload:step -- a comment\nAND textPayload:2", ["step 2"]),
        ('logName="projects/proj-x/logs/ml.googleapis.com%2Fservice"', ["Job failed."]),
        ("resource.type=gce_instance", []),
        ('timestamp>="2099-01-01T00:00:00Z"', []),
        ('timestamp<"9999-12-31T23:59:59Z" AND textPayload:full', ["Disk is FULL"]),
    ],
)
def test_a_query_selects_entries(ask, filled, query, found):
    status, reply = ask(filter=f"{GCLOUD} AND ({query}\n)")
    assert status == 200, reply
    assert payloads(reply) == found


def test_entries_are_followed_from_the_last_one_seen_as_gcloud_does(ask, filled, logs):
    seen = ask(filter=GCLOUD)[1]["entries"][3]
    at, last = seen["timestamp"], seen["insertId"]
    cursor = f'(timestamp>"{at}" OR (timestamp="{at}" AND insertId>"{last}"))'
    assert payloads(ask(filter=f"{GCLOUD} AND {cursor}")[1]) == ["Job failed.", "careful"]
    logs.append(JOB, "workerpool0-0", "late", project="proj-x")
    assert payloads(ask(filter=f'{GCLOUD} AND timestamp>="{at}"')[1])[-1] == "late"


def test_newest_first_and_in_pages(ask, filled):
    found, token = [], None
    while True:
        extra = {"pageToken": token} if token else {}
        _, reply = ask(filter=GCLOUD, orderBy="timestamp desc", pageSize=4, **extra)
        found.append(payloads(reply))
        token = reply.get("nextPageToken")
        if not token:
            break
    assert found == [["careful", "Job failed.", "Disk is FULL", "step 2"], ["step 1", "step 0"]]


def test_fifty_entries_are_a_page_unless_asked_and_a_thousand_the_most(ask, logs):
    for i in range(2500):
        logs.append(JOB, "workerpool0-0", f"{i}", project="proj-x")
    assert len(ask()[1]["entries"]) == 50
    _, first = ask(pageSize=5000)
    assert len(first["entries"]) == 1000
    _, second = ask(pageSize=5000, pageToken=first["nextPageToken"])
    _, third = ask(pageSize=5000, pageToken=second["nextPageToken"])
    assert "nextPageToken" not in third
    texts = [e["textPayload"] for page in (first, second, third) for e in page["entries"]]
    assert texts == [str(i) for i in range(2500)]


def test_a_project_sees_its_own_entries_by_id_number_and_view(ask, filled):
    assert payloads(ask(resourceNames=["projects/proj-y"])[1]) == ["of another project"]
    assert payloads(ask(resourceNames=[f"projects/{project_number('proj-y')}"])[1]) == ["of another project"]
    assert payloads(ask(resourceNames=[], projectIds=["proj-y"])[1]) == ["of another project"]
    view = "projects/proj-y/locations/global/buckets/_Default/views/_AllLogs"
    assert payloads(ask(resourceNames=[view])[1]) == ["of another project"]
    assert ask(resourceNames=["projects/proj-z"]) == (200, {})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"resourceNames": []}, "resource_names"),
        ({"resourceNames": ["folders/1"]}, "folders/1"),
        ({"resourceNames": ["proj-x"]}, "proj-x"),
        ({"pageSize": -1}, "page_size"),
        ({"orderBy": "severity"}, "severity"),
        ({"pageToken": "nonsense"}, "page_token"),
        ({"filter": "x" * 20001}, "20000"),
        ({"filters": ""}, "filters"),
        ({"filter": "textpayload:x"}, "'textpayload'"),
        ({"filter": "resource.label.job_id=1"}, "'resource.label.job_id'"),
        ({"filter": "severity>=LOUD"}, "LOUD"),
        ({"filter": "timestamp>yesterday"}, "yesterday"),
        ({"filter": 'textPayload=~"("'}, "regular expression"),
        ({"filter": "sample(insertId, 0.1)"}, "sample()"),
        ({"filter": "a=b AND"}, "the end"),
    ],
)
def test_what_the_api_does_not_know_is_refused_by_name(ask, filled, body, text):
    status, reply = ask(**body)
    assert (status, reply["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert text in reply["error"]["message"]


def test_a_page_token_belongs_to_its_query(ask, filled):
    token = ask(filter=GCLOUD, pageSize=1)[1]["nextPageToken"]
    assert ask(filter=GCLOUD, pageSize=2, pageToken=token)[0] == 200
    assert ask(filter="", pageSize=1, pageToken=token)[0] == 400


def test_snake_case_is_understood(ask, filled):
    status, reply = ask(resource_names=["projects/proj-x"], page_size=1, order_by="timestamp desc")
    assert status == 200
    assert payloads(reply) == ["careful"]


def test_entries_survive_a_restart_and_new_ones_come_after_them(tmp_path):
    logs = LogStore(tmp_path)
    logs.append(JOB, "workerpool0-0", "before", project="p")
    logs.close()
    logs.append(JOB, "workerpool0-0", "lost", project="p")
    logs = LogStore(tmp_path)
    logs.append(JOB, "workerpool0-0", "after", project="p")
    found = [(position, entry["textPayload"]) for position, _, entry in logs.read(job_id=JOB)]
    logs.close()
    assert [text for _, text in found] == ["before", "after"]
    assert found[0][0].time <= found[1][0].time
    assert found[0][0].number < found[1][0].number


def test_what_was_read_survives_a_kill(tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from airflow_ml_provider.emulator.logging.store import LogStore
        logs = LogStore(Path(sys.argv[1]))
        for i in range(1500):
            logs.append("1", "workerpool0-0", str(i), project="p")
        assert len(list(logs.read(job_id="1"))) == 1500
        os.kill(os.getpid(), signal.SIGKILL)
        """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)])
    assert done.returncode == -9
    logs = LogStore(tmp_path)
    assert len(list(logs.read(job_id="1"))) == 1500
    logs.close()


def test_many_writers_lose_nothing_and_readers_see_order(logs):
    def write(task):
        for i in range(500):
            logs.append(JOB, task, str(i), project="p")

    writers = [threading.Thread(target=write, args=(f"workerpool1-{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = [(p, e) for p, _, e in logs.read(job_id=JOB)]
    logs.close()
    assert [p.time for p, _ in entries] == sorted(p.time for p, _ in entries)
    for n in range(4):
        mine = [e for _, e in entries if e["resource"]["labels"]["task_name"] == f"workerpool1-{n}"]
        assert [e["textPayload"] for e in mine] == [str(i) for i in range(500)]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-20T00:00:00.123456789Z", "2026-11-20T00:00:00.123456789Z"),
        ("2026-11-20T02:00:00.5+02:00", "2026-11-20T00:00:00.500000000Z"),
        ("2026-11-20", "2026-11-20T00:00:00.000000000Z"),
    ],
)
def test_times_keep_their_nanoseconds(text, same):
    assert rfc3339(nanoseconds(text), digits=9) == same


@pytest.mark.parametrize("text", ["", "now", "2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z", "20261120"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(FilterError, match="Invalid timestamp"):
        nanoseconds(text)
