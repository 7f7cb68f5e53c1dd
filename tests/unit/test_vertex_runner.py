from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airflow_ml_provider.vertex import errors, states
from airflow_ml_provider.vertex.identity import JobIdentity
from airflow_ml_provider.vertex.job import Job
from airflow_ml_provider.vertex.runner import JobRunner

FIRST_TRY = JobIdentity("abc", generation=0, try_number=1)
RETRY = JobIdentity("abc", generation=0, try_number=2)
CLEARED = JobIdentity("abc", generation=3, try_number=3)
UNAVAILABLE = errors.Unavailable("read", 503, "later")


class Service:
    """Vertex AI as the runner sees it: jobs in memory, and replies that can be made to fail."""

    def __init__(self):
        self.stored: dict[str, Job] = {}
        self.cancelled: list[str] = []
        self.created = 0
        self.create_outcomes: list[str] = []
        self.polls: list = []
        self.log = ["[workerpool0-0] boom"]
        self.entries = []

    def add(self, state=states.RUNNING, generation=0, age=1.0):
        self.created += 1
        name = f"projects/1/locations/europe-west4/customJobs/{self.created}"
        self.stored[name] = Job(
            name=name,
            project="my-project",
            display_name="nightly",
            state=state,
            create_time=datetime.now(UTC) - timedelta(hours=age),
            labels={"airflow-key": "abc", "airflow-gen": str(generation), "airflow-try": "1"},
        )
        return self.stored[name]

    def jobs(self, filter):
        assert "labels.airflow-key=abc AND createTime>" in filter
        return sorted(self.stored.values(), key=lambda job: job.create_time)

    def create(self, body):
        outcome = self.create_outcomes.pop(0) if self.create_outcomes else "ok"
        if outcome != "refused":
            job = self.add(generation=int(body["labels"]["airflow-gen"]), age=0)
        if outcome != "ok":
            raise UNAVAILABLE
        return job

    def get(self, name):
        if self.polls:
            step = self.polls.pop(0)
            if isinstance(step, Exception):
                raise step
            self.stored[name] = replace(self.stored[name], **step)
        return self.stored[name]

    def cancel(self, name):
        self.cancelled.append(name)

    def log_entries(self, job_id, *, after, pages):
        if isinstance(self.log, Exception):
            raise self.log
        return [e for e in self.entries if after is None or e["timestamp"] >= after.isoformat()]

    def log_tail(self, job_id, lines):
        if isinstance(self.log, Exception):
            raise self.log
        return self.log


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def runner(service):
    clock = [0.0]

    def sleep(seconds):
        clock[0] += seconds

    return JobRunner(service, logging.getLogger("test"), sleep=sleep, clock=lambda: clock[0])


def test_the_first_try_creates_a_job_with_its_identity(runner, service):
    job = runner.find_or_create({"displayName": "x", "labels": {"mine": "1"}}, FIRST_TRY)
    assert service.created == 1
    assert job.labels["airflow-key"] == "abc"


@pytest.mark.parametrize("state", [states.QUEUED, states.PENDING, states.RUNNING, states.SUCCEEDED])
def test_a_retry_adopts_the_job_that_runs_or_succeeded(runner, service, state):
    earlier = service.add(state)
    assert runner.find_or_create({}, RETRY) == earlier
    assert service.created == 1


@pytest.mark.parametrize("state", [states.FAILED, states.CANCELLED, states.CANCELLING, states.EXPIRED])
def test_a_retry_after_a_failed_or_cancelled_job_creates_a_new_one(runner, service, state):
    earlier = service.add(state)
    assert runner.find_or_create({}, RETRY) != earlier
    assert service.cancelled == []


def test_a_cleared_task_gets_a_new_job_and_the_old_one_is_cancelled(runner, service):
    earlier = service.add(states.RUNNING, generation=0)
    assert runner.find_or_create({}, CLEARED) != earlier
    assert service.cancelled == [earlier.name]


def test_a_cleared_task_does_not_take_the_old_success(runner, service):
    earlier = service.add(states.SUCCEEDED, generation=0)
    assert runner.find_or_create({}, CLEARED) != earlier


def test_a_run_that_was_deleted_and_made_again_does_not_take_the_old_success(runner, service):
    earlier = service.add(states.SUCCEEDED)
    assert runner.find_or_create({}, FIRST_TRY) != earlier


def test_of_two_jobs_the_oldest_stays(runner, service):
    younger = service.add(age=1)
    older = service.add(age=2)
    assert runner.find_or_create({}, RETRY) == older
    assert service.cancelled == [younger.name]


def test_a_left_over_try_does_not_touch_the_job_of_a_newer_generation(runner, service):
    service.add(states.RUNNING, generation=3)
    runner.find_or_create({}, FIRST_TRY)
    assert service.cancelled == []


def test_a_create_whose_reply_was_lost_is_found_again(runner, service):
    service.create_outcomes = ["lost"]
    runner.find_or_create({}, FIRST_TRY)
    assert service.created == 1


def test_a_create_that_did_not_arrive_is_sent_again(runner, service):
    service.create_outcomes = ["refused"]
    runner.find_or_create({}, FIRST_TRY)
    assert service.created == 1


def test_waiting_outlives_failed_polls(runner, service):
    job = service.add(states.PENDING)
    service.polls = [
        UNAVAILABLE,
        {"state": states.RUNNING},
        UNAVAILABLE,
        UNAVAILABLE,
        {"state": states.SUCCEEDED},
    ]
    assert runner.wait(job.name, 30).succeeded


def test_a_job_that_can_not_be_read_for_long_is_named_and_not_cancelled(runner, service):
    job = service.add()
    service.polls = [UNAVAILABLE] * 1000
    with pytest.raises(
        errors.UnknownOutcome, match=r"customJobs/1 could not be read for 15 minutes"
    ) as caught:
        runner.wait(job.name, 30)
    assert not caught.value.permanent
    assert service.cancelled == []


def test_a_failure_waits_for_its_reason_which_comes_late(runner, service):
    job = service.add()
    reason = "The replica workerpool0-0 exited with a non-zero status of 7."
    service.polls = [
        {"state": states.FAILED},
        {},
        {},
        UNAVAILABLE,
        {"error_message": reason, "error_code": 3},
    ]
    with pytest.raises(errors.TrainerFailed) as caught:
        runner.wait(job.name, 30)
    text = str(caught.value)
    assert reason in text
    assert "[workerpool0-0] boom" in text
    assert "https://console.cloud.google.com/" in text


def test_a_failure_without_a_reason_is_reported_all_the_same(runner, service):
    job = service.add(states.FAILED)
    with pytest.raises(errors.JobFailed, match="the service gave no reason"):
        runner.wait(job.name, 30)


def test_an_unreadable_log_does_not_hide_the_failure(runner, service):
    job = service.add()
    service.log = errors.PermissionDenied("read the log", 403, "no")
    service.polls = [{"state": states.FAILED, "error_message": "The replica X ran out of memory and exited"}]
    with pytest.raises(errors.OutOfMemory, match="the log could not be read"):
        runner.wait(job.name, 30)


@pytest.mark.parametrize(
    ("message", "kind", "permanent"),
    [
        ("The replica workerpool0-0 exited with a non-zero status of 2.", errors.BadInput, True),
        ("The replica workerpool0-0 exited with a non-zero status of 20.", errors.TrainerFailed, False),
        (
            "The replica workerpool1-0 ran out of memory and exited with a non-zero status of 137.",
            errors.OutOfMemory,
            True,
        ),
        ("Resources are insufficient in region: us-central1. Try a different region", errors.StockOut, False),
        ("The following quota metrics exceed quota limits: x", errors.QuotaDenied, False),
        ("Internal error occurred for the current attempt", errors.InternalError, False),
        ("something new", errors.JobFailed, False),
    ],
)
def test_failures_are_told_apart_by_their_message(service, message, kind, permanent):
    job = replace(service.add(states.FAILED), error_message=message)
    failure = errors.job_failure(job)
    assert type(failure) is kind
    assert failure.permanent is permanent


@pytest.mark.parametrize("state", [states.EXPIRED, states.PARTIALLY_SUCCEEDED, states.CANCELLED])
def test_no_end_is_waited_for_for_ever_nor_taken_for_success(runner, service, state):
    job = service.add(state)
    with pytest.raises(errors.JobFailed):
        runner.wait(job.name, 30)


def test_cancelling_a_job_that_is_gone_is_fine(runner, service, monkeypatch):
    def gone(name):
        raise errors.NotFound("cancel", 404, "no")

    monkeypatch.setattr(service, "cancel", gone)
    runner.cancel("projects/1/locations/europe-west4/customJobs/1")


def test_the_identity_of_tasks_that_differ_differs():
    base = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    keys = {
        JobIdentity.of_task(**{**base, **change}, generation=0, try_number=1).key
        for change in ({}, {"dag_id": "e"}, {"run_id": "s"}, {"task_id": "u"}, {"map_index": 0})
    }
    assert len(keys) == 5


def entry(number, text, seconds):
    return {
        "insertId": str(number),
        "textPayload": text,
        "timestamp": f"2026-11-20T00:00:{seconds:02}+00:00",
        "resource": {"labels": {"task_name": "workerpool0-0"}},
    }


def test_each_line_of_the_log_is_shown_once_also_late_ones(runner, service, caplog):
    job = service.add(states.PENDING)
    later = [entry(1, "one", 10), entry(3, "three", 30)]

    class Log(list):
        """The log as it grows from read to read; the second entry becomes visible last."""

        def __iter__(self):
            content = [*later] if self.reads == 0 else [later[0], entry(2, "late", 20), *later[1:]]
            self.reads += 1
            return iter(content)

    service.entries = Log()
    service.entries.reads = 0
    service.polls = [{"state": states.RUNNING}, *[{}] * 12, {"state": states.SUCCEEDED}]
    with caplog.at_level(logging.INFO, logger="test"):
        runner.wait(job.name, 30)
    shown = [r.getMessage() for r in caplog.records if r.getMessage().startswith("[workerpool")]
    assert shown == ["[workerpool0-0] one", "[workerpool0-0] three", "[workerpool0-0] late"]
    assert service.entries.reads < 12


def test_a_log_that_can_not_be_read_does_not_fail_a_job_that_runs(runner, service):
    job = service.add(states.RUNNING)
    service.log = errors.RateLimited("read the log", 429, "60 a minute")
    service.polls = [{}, {}, {"state": states.SUCCEEDED}]
    assert runner.wait(job.name, 30).succeeded
