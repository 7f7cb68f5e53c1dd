"""The operator and the sensor in the triggerer, driven by hand: defer, run the trigger, resume."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_ml_provider import compat
from airflow_ml_provider.compat import AirflowException, AirflowFailException
from airflow_ml_provider.sensors import TrainingJobSensor
from airflow_ml_provider.triggers.training import TrainingJobFilterTrigger, TrainingJobTrigger
from airflow_ml_provider.vertex import errors
from tests.airflow.test_training_operator import REGION, TaskInstance, jobs, operator

TaskDeferred = compat.task_deferred()


def deferred_by(call, *arguments):
    with pytest.raises(TaskDeferred) as caught:
        call(*arguments)
    return caught.value


def again(trigger):
    """The trigger as another process makes it from what the database holds."""
    _, arguments = trigger.serialize()
    return type(trigger)(**json.loads(json.dumps(arguments)))


async def fire(trigger):
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger fired no event")


def resume(task, deferred, event, ti):
    return task.resume_execution(
        deferred.method_name, {**(deferred.kwargs or {}), "event": event}, {"ti": ti}
    )


def complete(make, ti):
    """Run a task to its end, every deferral in a fresh operator as in a fresh worker; return its XCom."""
    deferred = deferred_by(make().execute, {"ti": ti})
    while True:
        event = asyncio.run(fire(again(deferred.trigger)))
        try:
            return resume(make(), deferred, json.loads(json.dumps(event)), ti)
        except TaskDeferred as another:
            deferred = another


def deferring(**changes):
    return operator(deferrable=True, **changes)


def test_a_deferred_task_ends_with_its_job(emulator, script, capsys, caplog):
    script.write_text("import time; print('hello'); time.sleep(2)")
    ti = TaskInstance()
    with caplog.at_level("INFO"):
        result = complete(deferring, ti)
    assert result["state"] == "JOB_STATE_SUCCEEDED"
    assert ti.pushed["training_job_url"] == result["console_url"]
    # Airflow 3's own logger prints; Airflow 2.11's is Python's.
    assert "[workerpool0-0] hello" in capsys.readouterr().out + caplog.text
    assert len(jobs()) == 1


def test_a_deferred_task_fails_with_its_jobs_message_and_log(emulator, script):
    script.write_text("import time; print('about to fail'); time.sleep(1); raise SystemExit(7)")
    with pytest.raises(AirflowException, match=r"non-zero status of 7(.|\n)*about to fail") as caught:
        complete(deferring, TaskInstance())
    assert isinstance(caught.value.error, errors.TrainerFailed)


def test_a_retry_that_finds_its_job_done_is_not_deferred(emulator, script):
    script.write_text("")
    first = operator().execute({"ti": TaskInstance(try_number=1)})
    assert deferring().execute({"ti": TaskInstance(try_number=2)})["job"] == first["job"]


def test_the_links_work_while_the_task_is_deferred(emulator, script):
    script.write_text("import time; time.sleep(1)")
    ti = TaskInstance()
    deferred_by(deferring().execute, {"ti": ti})
    assert jobs()[0].id in ti.pushed["training_job_url"]


def test_an_error_event_is_a_claim_and_a_job_that_runs_is_waited_for_again(emulator, script):
    script.write_text("import time; time.sleep(5)")
    ti = TaskInstance()
    deferred = deferred_by(deferring().execute, {"ti": ti})
    event = {"status": "unreadable", "message": "503"}
    once_more = deferred_by(resume, deferring(), deferred, event, ti)
    assert once_more.trigger.job == deferred.trigger.job
    assert once_more.kwargs["failures"] == 1
    assert len(jobs()) == 1


def test_a_trigger_that_fails_again_and_again_leaves_the_waiting_to_the_worker(emulator, script):
    script.write_text("import time; time.sleep(2)")
    ti = TaskInstance()
    deferred = deferred_by(deferring().execute, {"ti": ti})
    deferred.kwargs["failures"] = 2
    result = resume(deferring(), deferred, {"status": "unreadable", "message": "503"}, ti)
    assert result["state"] == "JOB_STATE_SUCCEEDED"


def test_execution_timeout_ends_the_job_of_a_deferred_task(emulator, script):
    script.write_text("import time; time.sleep(60)")
    with pytest.raises(AirflowException, match="execution_timeout is over") as caught:
        complete(lambda: deferring(execution_timeout=timedelta(seconds=2)), TaskInstance())
    assert isinstance(caught.value.error, errors.ExecutionTimeout)
    assert jobs()[0].state == "JOB_STATE_CANCELLED"


def test_a_job_that_ended_before_a_late_triggerer_saw_the_deadline_counts(emulator, script):
    script.write_text("")
    ti = TaskInstance()
    deferred = deferred_by(deferring(execution_timeout=timedelta(seconds=1)).execute, {"ti": ti})
    wait_until_over()
    assert asyncio.run(fire(deferred.trigger))["status"] == "over"


def wait_until_over():
    TrainingJobSensor(task_id="wait", job=jobs()[0].name, poke_interval=0.2).execute({"ti": TaskInstance()})


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger/execution timeout"])
def test_if_airflow_itself_ends_the_deferral_for_time_the_job_is_cancelled(emulator, script, error):
    script.write_text("import time; time.sleep(60)")
    ti = TaskInstance()
    deferred_by(deferring().execute, {"ti": ti})
    with pytest.raises(AirflowException, match="execution_timeout is over"):
        deferring().resume_execution("__fail__", {"error": error}, {"ti": ti})
    assert jobs()[0].state == "JOB_STATE_CANCELLED"


def test_if_the_trigger_crashed_the_worker_waits_for_the_job(emulator, script):
    script.write_text("import time; time.sleep(2)")
    ti = TaskInstance()
    deferred_by(deferring().execute, {"ti": ti})
    result = deferring().resume_execution("__fail__", {"error": "Trigger failure"}, {"ti": ti})
    assert result["state"] == "JOB_STATE_SUCCEEDED"
    assert len(jobs()) == 1


def test_a_job_that_gets_no_machines_in_time_is_cancelled(emulator, script, monkeypatch):
    script.write_text("import time; time.sleep(60)")
    ti = TaskInstance()
    deferred = deferred_by(deferring(job={"queue_timeout": 300}).execute, {"ti": ti})
    assert deferred.trigger.queue_deadline is not None
    event = {"status": "queue_timeout", "job": deferred.trigger.job}
    with pytest.raises(AirflowException) as caught:
        resume(deferring(), deferred, event, ti)
    assert isinstance(caught.value.error, errors.StockOut)
    assert jobs()[0].state == "JOB_STATE_CANCELLED"


@pytest.mark.parametrize(
    ("state", "cancelled"),
    [("failed", True), ("success", True), (None, True), ("scheduled", True), ("deferred", False)],
)
def test_a_trigger_that_is_killed_ends_the_job_unless_the_task_is_still_deferred(
    emulator, script, monkeypatch, state, cancelled
):
    script.write_text("import time; time.sleep(4)")
    deferred = deferred_by(deferring().execute, {"ti": TaskInstance()})

    async def task_state(ti):
        return state

    monkeypatch.setattr(compat, "task_state", task_state)
    asyncio.run(killed(again(deferred.trigger)))
    state_of_job = jobs()[0].state
    assert (state_of_job in ("JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED")) == cancelled


async def killed(trigger):
    """What a triggerer does: since 3.3 it says so, before it the trigger has to find out."""
    task = asyncio.create_task(fire(trigger))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if compat.triggers_have_on_kill():
        await trigger.on_kill()


def test_a_trigger_that_may_not_cancel_does_not(emulator, script, monkeypatch):
    script.write_text("import time; time.sleep(4)")
    deferred = deferred_by(deferring(cancel_on_kill=False).execute, {"ti": TaskInstance()})

    async def task_state(ti):
        return "failed"

    monkeypatch.setattr(compat, "task_state", task_state)
    asyncio.run(killed(again(deferred.trigger)))
    assert jobs()[0].state not in ("JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED")


def test_a_deferred_sensor_waits_for_a_job_started_elsewhere(emulator, script):
    script.write_text("import time; time.sleep(2)")
    name = operator(wait_for_completion=False).execute({"ti": TaskInstance()})["job"]
    make = lambda: TrainingJobSensor(task_id="wait", job=name, poke_interval=1, deferrable=True)  # noqa: E731
    assert complete(make, TaskInstance())["job"] == name


def test_a_sensor_waits_for_the_newest_job_that_fits_a_filter(emulator, script):
    script.write_text("import time; time.sleep(2)")
    arguments = {
        "task_id": "wait",
        "filter": "labels.team=ads",
        "region": REGION,
        "poke_interval": 1,
        "deferrable": True,
    }
    ti = TaskInstance()
    deferred = deferred_by(TrainingJobSensor(**arguments).execute, {"ti": ti})
    assert isinstance(deferred.trigger, TrainingJobFilterTrigger)
    started = operator(job={"labels": {"team": "ads"}}, wait_for_completion=False).execute({"ti": ti})
    event = asyncio.run(fire(again(deferred.trigger)))
    assert resume(TrainingJobSensor(**arguments), deferred, event, ti)["job"] == started["job"]


def test_a_deferred_sensor_fails_with_the_jobs_message(emulator, script):
    script.write_text("import time; time.sleep(1); raise SystemExit(3)")
    name = operator(wait_for_completion=False).execute({"ti": TaskInstance()})["job"]
    make = lambda: TrainingJobSensor(task_id="wait", job=name, poke_interval=1, deferrable=True)  # noqa: E731
    with pytest.raises(AirflowFailException, match="non-zero status of 3"):
        complete(make, TaskInstance())


def test_waiting_jobs_share_one_poller(emulator, script):
    script.write_text("import time; time.sleep(3)")
    triggers = []
    for number in range(6):
        ti = TaskInstance(map_index=number)
        triggers.append(deferred_by(deferring().execute, {"ti": ti}).trigger)

    async def all_of_them():
        events = asyncio.gather(*(fire(trigger) for trigger in triggers))
        await asyncio.sleep(1)
        names = [task.get_name() for task in asyncio.all_tasks()]
        return names.count("training-job-poller"), await events

    pollers, events = asyncio.run(all_of_them())
    assert pollers == 1
    assert {event["status"] for event in events} == {"over"}
    assert {event["job"] for event in events} == {job.name for job in jobs()}


def test_a_trigger_survives_serialization_with_every_argument():
    trigger = TrainingJobTrigger(
        job=f"projects/1/locations/{REGION}/customJobs/7",
        created=datetime.now(UTC).isoformat(),
        project_id="my-project",
        gcp_conn_id="other",
        impersonation_chain=["a@b", "c@d"],
        poll_interval=5,
        deadline="2026-11-20T00:00:00+00:00",
        queue_deadline="2026-11-20T00:00:00+00:00",
        cancel_on_kill=False,
    )
    assert again(trigger).serialize() == trigger.serialize()


def test_the_task_of_a_trigger_is_looked_up_in_the_database_or_the_api(monkeypatch):
    asked = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=3)
    monkeypatch.setattr(compat, "_task_state", lambda ti: f"state of {ti.task_id}")
    assert asyncio.run(compat.task_state(asked)) == "state of t"
    with pytest.raises(RuntimeError, match="not told its task"):
        asyncio.run(compat.task_state(None))
