from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from airflow_ml_provider.vertex import errors, states
from airflow_ml_provider.vertex.identity import JobIdentity
from airflow_ml_provider.vertex.protocol import Hint, JobProtocol
from tests.unit.vertex_service import REGIONS, START, Service, entry, unavailable

FIRST_TRY = JobIdentity("abc", generation=0, try_number=1)
RETRY = JobIdentity("abc", generation=0, try_number=2)
CLEARED = JobIdentity("abc", generation=3, try_number=3)
BODY = {"displayName": "nightly"}


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def protocol(service):
    return runner(service)


def runner(service, regions=1):
    return JobProtocol(
        service.regions(regions), logging.getLogger("test"), clock=service.clock, now=lambda: service.now
    )


def start(service, protocol, identity, hint=None, **more):
    return service.run(protocol.find_or_create(BODY, identity, hint, **more)).job


def wait(service, protocol, name, **more):
    job = service.run(protocol.look(name))
    return service.run(protocol.wait(job, 30, **more))


def change(service, name, **fields):
    def apply(request):
        service.jobs[name] |= fields

    return apply


def test_the_first_try_creates_a_job_with_its_identity_and_the_users_labels(protocol, service):
    job = service.run(protocol.find_or_create({"displayName": "x", "labels": {"mine": "1"}}, FIRST_TRY)).job
    assert job.labels == {"mine": "1", "airflow-key": "abc", "airflow-gen": "0", "airflow-try": "1"}


@pytest.mark.parametrize("state", [states.QUEUED, states.PENDING, states.RUNNING, states.SUCCEEDED])
def test_a_retry_adopts_the_job_that_runs_or_succeeded(protocol, service, state):
    earlier = service.add(state)
    assert start(service, protocol, RETRY).name == earlier
    assert len(service.jobs) == 1


@pytest.mark.parametrize("state", [states.FAILED, states.CANCELLED, states.CANCELLING])
def test_a_retry_after_a_failed_or_cancelled_job_creates_a_new_one(protocol, service, state):
    earlier = service.add(state, endTime=START.isoformat())
    service.sleep(3600)
    assert start(service, protocol, RETRY).name != earlier
    assert service.cancelled == []


def test_a_retry_does_not_bill_again_what_failed_for_good_while_nobody_looked(protocol, service):
    name = service.add(states.FAILED)
    late = {"code": 3, "message": "The replica workerpool0-0 exited with a non-zero status of 2."}
    service.script["get"] = [None, change(service, name, error=late)]
    job = start(service, protocol, RETRY)
    assert job.name == name
    with pytest.raises(errors.BadInput):
        service.run(protocol.wait(job, 30))
    assert service.count("create") == 0


def test_a_cleared_task_tries_again_what_failed_for_good(protocol, service):
    name = service.add()
    service.fail(name, "The replica workerpool0-0 exited with a non-zero status of 2.")
    assert start(service, protocol, CLEARED).name != name


def test_a_cleared_task_gets_a_new_job_once_the_old_one_is_cancelled(protocol, service):
    earlier = service.add(states.RUNNING)
    assert start(service, protocol, CLEARED).name != earlier
    kinds = [kind for kind, _ in service.requests]
    assert kinds.index("cancel") < kinds.index("create")
    assert service.cancelled == [earlier]


def test_a_cleared_task_does_not_take_the_old_success(protocol, service):
    earlier = service.add(states.SUCCEEDED)
    assert start(service, protocol, CLEARED).name != earlier


def test_a_run_that_was_deleted_and_made_again_does_not_take_the_old_success(protocol, service):
    earlier = service.add(states.SUCCEEDED)
    assert start(service, protocol, FIRST_TRY).name != earlier


def test_of_two_jobs_the_oldest_stays(protocol, service):
    younger = service.add(age=1)
    older = service.add(age=2)
    assert start(service, protocol, RETRY).name == older
    assert service.cancelled == [younger]


def test_a_left_over_try_joins_the_job_of_a_newer_generation_instead_of_starting_one(protocol, service):
    newer = service.add(states.RUNNING, generation=3)
    assert start(service, protocol, FIRST_TRY).name == newer
    assert service.cancelled == []


def test_a_create_whose_reply_was_lost_is_found_again(protocol, service):
    service.script["create"] = [service.lost]
    assert start(service, protocol, FIRST_TRY).name in service.jobs
    assert len(service.jobs) == 1


def test_a_lost_create_that_succeeded_at_once_is_found_again_on_a_first_try(protocol, service):
    def lost(request):
        error = service.lost(request)
        next(iter(service.jobs.values()))["state"] = states.SUCCEEDED
        return error

    service.script["create"] = [lost]
    assert start(service, protocol, FIRST_TRY).succeeded
    assert len(service.jobs) == 1


def test_a_lost_create_is_found_though_lists_are_behind(protocol, service):
    service.list_lag = 20
    service.script["create"] = [service.lost]
    start(service, protocol, FIRST_TRY)
    assert len(service.jobs) == 1


def test_a_create_that_did_not_arrive_is_sent_again(protocol, service):
    service.script["create"] = [unavailable("create")]
    start(service, protocol, FIRST_TRY)
    assert len(service.jobs) == 1


def test_a_lost_create_that_turns_up_after_the_second_one_leaves_one_job(protocol, service):
    service.list_lag = 3600
    service.script["create"] = [service.lost]
    started = service.run(protocol.find_or_create(BODY, FIRST_TRY))
    lost, second = service.jobs
    assert (started.job.name, started.uncertain) == (second, True)
    assert service.cancelled == []
    # What a task does at its end if it is not sure.
    service.list_lag = 0
    service.run(protocol.end_others(started.job, FIRST_TRY))
    assert service.cancelled == [lost]


def test_of_a_lost_create_and_a_second_one_the_first_is_kept_if_both_are_seen_at_once(protocol, service):
    def appears(request):
        service.list_lag = 0

    service.list_lag = 3600
    service.script["create"] = [service.lost, appears]
    started = service.run(protocol.find_or_create(BODY, FIRST_TRY))
    lost, second = service.jobs
    assert started.job.name == lost
    assert service.cancelled == [second]


def test_a_create_refused_for_its_rate_is_a_clear_no_and_is_sent_again(protocol, service):
    service.script["create"] = [errors.RateLimited("create", 429, "rate", retry_after=30)] * 2
    start(service, protocol, FIRST_TRY)
    assert service.count("create") == 3
    assert service.seconds >= 60


def test_a_create_refused_for_a_quota_is_not_sent_again(protocol, service):
    refused = errors.CreateOverQuota("create", 429, "exceed quota limits: nvidia_l4_gpus")
    service.script["create"] = [refused]
    with pytest.raises(errors.QuotaExceeded, match="Raise the named quota"):
        start(service, protocol, FIRST_TRY)
    assert service.count("create") == 1


def test_two_tries_that_create_at_the_same_moment_end_with_the_older_job(protocol, service):
    def rival(request):
        service.add(states.QUEUED, age=0.001)

    service.script["create"] = [rival]
    job = start(service, protocol, FIRST_TRY)
    assert job.name.endswith("/1")
    assert [name[-2:] for name in service.cancelled] == ["/2"]


def test_a_hint_leads_to_a_job_that_the_list_leaves_out(protocol, service):
    earlier = service.add(states.RUNNING, age=0)
    service.list_lag = 1e6
    assert start(service, protocol, RETRY, Hint(earlier)).name == earlier


def test_a_hint_to_another_tasks_job_is_not_believed(protocol, service):
    other = service.add(states.RUNNING, key="other")
    assert start(service, protocol, RETRY, Hint(other)).name != other
    assert service.cancelled == []


def test_a_job_whose_end_was_asked_for_is_not_adopted_though_it_still_runs(protocol, service):
    earlier = service.add(states.RUNNING)
    hint = Hint(earlier, frozenset({earlier}))
    assert start(service, protocol, RETRY, hint).name != earlier
    assert service.cancelled == [earlier]


def test_a_job_in_any_of_the_regions_is_found(service):
    protocol = runner(service, regions=2)
    earlier = service.add(states.RUNNING, region=REGIONS[1])
    assert start(service, protocol, RETRY).name == earlier


def test_a_region_without_machines_is_passed_over_by_the_next_try(service):
    protocol = runner(service, regions=2)
    service.fail(service.add(), "Resources are insufficient in region: europe-west4. Try another")
    assert start(service, protocol, RETRY).region == REGIONS[1]


def test_if_no_region_has_machines_the_next_try_begins_with_the_first(service):
    protocol = runner(service, regions=2)
    for region in REGIONS:
        service.fail(service.add(region=region), "Resources are insufficient in region: x")
    assert start(service, protocol, RETRY).region == REGIONS[0]


def test_submissions_wait_for_their_turn_under_the_quota(protocol, service):
    for _ in range(50):
        service.add(key="others", age=0)
    start(service, protocol, FIRST_TRY)
    assert service.seconds >= 60


def test_waiting_outlives_failed_polls(protocol, service):
    name = service.add(states.PENDING)
    gone = errors.NotFound("read", 404, "not yet")
    denied = errors.PermissionDenied("read", 403, "not yet")
    job = service.run(protocol.look(name))
    service.script["get"] = [
        *[unavailable()] * 30,
        gone,
        denied,
        change(service, name, state=states.SUCCEEDED),
    ]
    assert service.run(protocol.wait(job, 30)).succeeded


def test_a_job_that_can_not_be_read_for_long_is_named_and_not_cancelled(protocol, service):
    name = service.add()
    job = service.run(protocol.look(name))
    service.script["get"] = [unavailable()] * 5000
    with pytest.raises(
        errors.UnknownOutcome, match=r"customJobs/1 could not be read for 15 minutes"
    ) as caught:
        service.run(protocol.wait(job, 30))
    assert not caught.value.permanent
    assert 900 < service.seconds < 1100
    assert service.cancelled == []


def test_a_job_that_was_deleted_is_said_to_be_gone(protocol, service):
    name = service.add()
    job = service.run(protocol.look(name))
    del service.jobs[name]
    with pytest.raises(errors.JobGone, match="somebody deleted it"):
        service.run(protocol.wait(job, 30))


def test_a_failure_waits_for_its_reason_which_comes_late_and_shows_the_replica_that_failed(protocol, service):
    reason = "The replica workerpool1-0 exited with a non-zero status of 7."
    name = service.add(states.FAILED)
    service.entries = [
        entry(1, "boom", 1, "workerpool1-0", "ERROR"),
        *[entry(n, f"line {n}", 2) for n in range(2, 60)],
    ]
    late = change(service, name, error={"code": 3, "message": reason})
    service.script["get"] = [None, None, None, unavailable(), late]
    with pytest.raises(errors.TrainerFailed) as caught:
        wait(service, protocol, name)
    text = str(caught.value)
    assert reason in text
    assert "[workerpool1-0] boom" in text
    assert "line 59" not in text
    assert "https://console.cloud.google.com/" in text


def test_a_failure_without_a_reason_is_reported_all_the_same(protocol, service):
    with pytest.raises(errors.JobFailed, match="the service gave no reason"):
        wait(service, protocol, service.add(states.FAILED))


def test_an_unreadable_log_does_not_hide_the_failure(protocol, service):
    name = service.add()
    service.fail(name, "The replica workerpool0-0 ran out of memory and exited")
    service.script["log"] = [errors.PermissionDenied("read the log", 403, "no")] * 10
    with pytest.raises(errors.OutOfMemory, match="the log could not be read"):
        wait(service, protocol, name)


def test_a_job_without_machines_is_cancelled_when_its_time_to_wait_is_over(protocol, service):
    name = service.add(states.QUEUED, age=0)
    with pytest.raises(errors.QueuedTooLong, match="after waiting for machines since") as caught:
        wait(service, protocol, name, queue_timeout=600)
    assert isinstance(caught.value, errors.StockOut)
    assert service.cancelled == [name]
    assert 600 < service.seconds < 700


def test_a_job_that_started_in_time_may_run_as_long_as_it_likes(protocol, service):
    name = service.add(states.RUNNING, age=0)
    job = service.run(protocol.look(name))
    service.script["get"] = [*[None] * 50, change(service, name, state=states.SUCCEEDED)]
    assert service.run(protocol.wait(job, 30, queue_timeout=60)).succeeded
    assert service.seconds > 600


@pytest.mark.parametrize("state", [states.EXPIRED, states.PARTIALLY_SUCCEEDED, states.CANCELLED])
def test_no_end_is_waited_for_for_ever_nor_taken_for_success(protocol, service, state):
    with pytest.raises(errors.JobFailed):
        wait(service, protocol, service.add(state))


@pytest.mark.parametrize("state", [states.SUCCEEDED, None])
def test_cancelling_a_job_that_is_over_or_gone_is_fine(protocol, service, state):
    name = service.add(state or states.RUNNING)
    if state is None:
        del service.jobs[name]
    service.run(protocol.calls_for(name).cancel(name))


def test_a_cancelled_job_is_over_before_another_may_take_its_place(protocol, service):
    name = service.add()

    def slowly(request):
        service.jobs[name]["state"] = states.CANCELLING
        service.script["cancel"] = []

    service.script["get"] = [slowly, None, change(service, name, state=states.CANCELLED)]
    assert service.run(protocol.cancel_and_wait(name)).state == states.CANCELLED


def test_the_identity_of_tasks_that_differ_differs():
    base = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    keys = {
        JobIdentity.of_task(**{**base, **change}, generation=0, try_number=1).key
        for change in (
            {},
            {"dag_id": "e"},
            {"run_id": "s"},
            {"task_id": "u"},
            {"map_index": 0},
            {"loop": "2"},
        )
    }
    assert len(keys) == 6


def printed(caplog):
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith(("[workerpool", "[service"))]


def test_each_line_is_shown_once_in_order_per_replica_and_with_its_severity(protocol, service, caplog):
    name = service.add(states.RUNNING, age=0)
    job = service.run(protocol.look(name))
    service.entries = [entry(1, "one", 10), entry(3, "three", 13, severity="ERROR")]
    service.sleep(14)

    def late(request):
        # Visible only now, though printed between the two.
        service.entries.append(entry(2, "two", 12))
        service.entries.append(entry(4, "other", 11, "workerpool1-0"))

    service.script["log"] = [None, late]
    service.script["get"] = [*[None] * 12, change(service, name, state=states.SUCCEEDED)]
    with caplog.at_level(logging.DEBUG, logger="test"):
        service.run(protocol.wait(job, 30))
    mine = [line for line in printed(caplog) if "workerpool0-0" in line]
    # The first read was at second 14: what is younger than 5 seconds was held back for late lines.
    assert mine == ["[workerpool0-0] one", "[workerpool0-0] two", "[workerpool0-0] three"]
    assert len(printed(caplog)) == 4
    levels = {record.getMessage(): record.levelno for record in caplog.records}
    assert levels["[workerpool0-0] three"] == logging.ERROR
    assert levels["[workerpool0-0] one"] == logging.INFO


def test_lines_that_arrive_after_the_jobs_end_are_shown(protocol, service, caplog):
    name = service.add(states.RUNNING, age=0)
    job = service.run(protocol.look(name))

    def late(request):
        service.entries.append(entry(1, "the last line", 1))
        service.entries.append(entry(2, "Job completed successfully.", 2, "service"))

    service.script["get"] = [change(service, name, state=states.SUCCEEDED)]
    service.script["log"] = [None, late]
    with caplog.at_level(logging.INFO, logger="test"):
        service.run(protocol.wait(job, 30))
    assert printed(caplog) == ["[workerpool0-0] the last line", "[service] Job completed successfully."]


def test_a_flood_of_lines_is_shown_to_its_end(protocol, service, caplog):
    name = service.add(states.RUNNING, age=0)
    job = service.run(protocol.look(name))
    # More than one read takes, within the time that reads overlap.
    service.entries = [entry(n, f"line {n}", n / 100) for n in range(8000)]
    service.script["get"] = [change(service, name, state=states.SUCCEEDED)]
    with caplog.at_level(logging.INFO, logger="test"):
        service.run(protocol.wait(job, 30))
    assert printed(caplog) == [f"[workerpool0-0] line {n}" for n in range(8000)]


def test_a_log_that_can_not_be_read_does_not_fail_a_job_that_runs(protocol, service):
    name = service.add(states.RUNNING)
    job = service.run(protocol.look(name))
    service.script["log"] = [errors.RateLimited("read the log", 429, "60 a minute")] * 40
    service.script["get"] = [None, None, change(service, name, state=states.SUCCEEDED)]
    assert service.run(protocol.wait(job, 30)).succeeded


def test_logs_are_read_less_often_the_more_jobs_run(protocol, service):
    for _ in range(99):
        service.add(key="others")
    name = service.add(states.RUNNING, age=0)
    job = service.run(protocol.look(name))
    service.script["get"] = [*[None] * 60, change(service, name, state=states.SUCCEEDED)]
    service.run(protocol.wait(job, 30))
    minutes = service.seconds / 60
    # 100 jobs at this rate stay below 60 reads a minute.
    assert (service.count("log") - 3) / minutes * 100 < 60


def test_the_log_of_a_job_waited_for_elsewhere_is_printed_from_its_beginning(protocol, service, caplog):
    name = service.add(states.SUCCEEDED)
    service.entries = [
        entry(0, "Job is running.", 0, "service"),
        entry(1, "one", 1),
        entry(2, "Job is running.", 2, "service"),
        entry(3, "two", 3),
    ]
    with caplog.at_level(logging.INFO, logger="test"):
        job = service.run(protocol.conclude(service.run(protocol.look(name))))
    assert [line for line in printed(caplog) if "workerpool" in line] == [
        "[workerpool0-0] one",
        "[workerpool0-0] two",
    ]
    assert job.restarts == 1


def test_where_many_jobs_end_at_once_a_success_does_not_wait_for_its_log(protocol, service):
    job = service.run(protocol.look(service.add(states.SUCCEEDED)))
    assert service.run(protocol.conclude(job, log_turn=300)).succeeded
    assert service.count("log") == 0
    assert service.seconds == 0


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
        ("The following quota metrics exceed quota limits: x", errors.JobOverQuota, False),
        ("Internal error occurred for the current attempt", errors.InternalError, False),
        ("The VM was preempted", errors.Preempted, False),
        ("something new", errors.JobFailed, False),
    ],
)
def test_failures_are_told_apart_by_their_message(protocol, service, message, kind, permanent):
    name = service.add()
    service.fail(name, message)
    failure = errors.job_failure(service.run(protocol.look(name)))
    assert type(failure) is kind
    assert failure.permanent is permanent


def test_a_spot_job_that_had_machines_and_lost_them_was_preempted(protocol, service):
    spec = {"scheduling": {"strategy": "SPOT"}}
    name = service.add(jobSpec=spec, startTime="2026-11-20T00:00:00Z")
    service.fail(name, "Resources are insufficient in region: europe-west4")
    assert errors.failure_kind(service.run(protocol.look(name))) is errors.Preempted


def test_a_summary_is_small_and_counts_accelerator_hours(protocol, service):
    pool = {"machineSpec": {"machineType": "n1-standard-8", "acceleratorCount": 2}, "replicaCount": "1"}
    workers = {**pool, "replicaCount": "3"}
    name = service.add(
        states.SUCCEEDED,
        age=2,
        startTime=service.now.isoformat(),
        endTime=(service.now + timedelta(hours=2)).isoformat(),
        jobSpec={
            "workerPoolSpecs": [pool, workers],
            "baseOutputDirectory": {"outputUriPrefix": "gs://b/jobs/1/"},
            "tensorboard": "projects/p/locations/europe-west4/tensorboards/9",
        },
    )
    job = service.run(protocol.look(name))
    summary = job.summary()
    assert summary["accelerator_hours"] == 16
    assert summary["replica_hours"] == 8
    assert (summary["queue_seconds"], summary["run_seconds"]) == (7200, 7200)
    assert summary["model_dir"] == "gs://b/jobs/1/model/"
    assert summary["job_id"] == job.id
    assert job.tensorboard_url == (
        "https://europe-west4.tensorboard.googleusercontent.com/experiment/"
        "projects+p+locations+europe-west4+tensorboards+9+experiments+1"
    )
