from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from airflow_ml_provider.compat import AirflowException, AirflowFailException
from airflow_ml_provider.hooks.vertex import VertexHook
from airflow_ml_provider.jobs import Replicas, TrainingJob
from airflow_ml_provider.operators import CancelTrainingJobOperator, TrainingJobOperator
from airflow_ml_provider.sensors import TrainingJobSensor
from tests.conftest import IMAGE, REPOSITORY

REGION = "europe-west4"


class TaskInstance(SimpleNamespace):
    """A task instance as operators see it, keeping what is pushed."""

    def __init__(self, try_number=1, max_tries=2, map_index=-1):
        super().__init__(
            dag_id="nightly",
            task_id="train",
            run_id="manual__1",
            map_index=map_index,
            try_number=try_number,
            max_tries=max_tries,
        )
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


def operator(**changes):
    job = TrainingJob(**{"image_uri": IMAGE, **changes.pop("job", {})})
    arguments = {"region": REGION, "retries": 2, "poll_interval": 1, **changes}
    return TrainingJobOperator(task_id="train", job=job, **arguments)


def jobs(filter='createTime>"2020-01-01T00:00:00Z"'):
    return VertexHook().get_client(region=REGION).jobs(filter)


def test_a_job_runs_to_its_end_and_says_where_it_is(emulator, script):
    script.write_text("import sys; print('hello', sys.argv[1:])")
    ti = TaskInstance()
    result = operator(job={"args": ["--a", 1], "labels": {"version": "v1"}}).execute({"ti": ti})
    assert result["state"] == "JOB_STATE_SUCCEEDED"
    assert result["labels"]["version"] == "v1"
    assert ti.pushed["training_job_url"] == result["console_url"]
    tail = VertexHook().get_client(region=REGION).log_tail(result["job_id"], 20)
    assert "[workerpool0-0] hello ['--a', '1']" in tail
    json.dumps(result)


def test_every_replica_learns_the_image_it_runs(emulator, script):
    script.write_text("import os; print('IMAGE', os.environ['TRAINING_IMAGE_URI'])")
    result = operator(job={"workers": Replicas(count=1)}).execute({"ti": TaskInstance()})
    tail = VertexHook().get_client(region=REGION).log_tail(result["job_id"], 50)
    assert f"[workerpool0-0] IMAGE {IMAGE}" in tail


def test_a_crash_fails_the_task_with_the_message_and_the_end_of_the_log(emulator, script):
    script.write_text("print('about to fail'); raise SystemExit(7)")
    with pytest.raises(AirflowException) as caught:
        operator().execute({"ti": TaskInstance()})
    assert not isinstance(caught.value, AirflowFailException)
    text = str(caught.value)
    assert "exited with a non-zero status of 7" in text
    assert "[workerpool0-0] about to fail" in text
    assert "https://console.cloud.google.com" in text


def test_bad_data_is_not_tried_again(emulator, script):
    script.write_text("import sys; print('ratings.csv:17: no number', file=sys.stderr); raise SystemExit(2)")
    with pytest.raises(AirflowFailException, match=r"ratings\.csv:17: no number"):
        operator().execute({"ti": TaskInstance()})


def test_what_the_service_refuses_is_not_tried_again(emulator, script):
    with pytest.raises(AirflowFailException, match="n9-standard-4"):
        operator(job={"machine_type": "n9-standard-4"}).execute({"ti": TaskInstance()})
    assert jobs() == []


def test_an_unknown_image_fails_the_task_and_names_the_image(emulator, script):
    with pytest.raises(AirflowException, match="example/unknown:3"):
        operator(job={"image_uri": "gcr.io/example/unknown:3"}).execute({"ti": TaskInstance()})


def test_a_job_is_checked_again_once_its_templates_are_rendered(emulator):
    task = operator(job={"image_uri": "{{ var.value.image }}"})
    task.job["image_uri"] = "not an image"
    with pytest.raises(AirflowFailException, match="image_uri"):
        task.execute({"ti": TaskInstance()})


def test_a_retry_goes_on_waiting_for_the_job_that_runs(emulator, script):
    script.write_text("import time; time.sleep(3)")
    started = operator(wait_for_completion=False).execute({"ti": TaskInstance(try_number=1)})
    result = operator().execute({"ti": TaskInstance(try_number=2)})
    assert result["job"] == started["job"]
    assert len(jobs()) == 1


def test_a_cleared_task_trains_again_and_the_old_job_is_cancelled(emulator, script):
    script.write_text("import time; time.sleep(2)")
    old = operator(wait_for_completion=False).execute({"ti": TaskInstance(try_number=1, max_tries=2)})
    new = operator().execute({"ti": TaskInstance(try_number=2, max_tries=3)})
    assert new["job"] != old["job"]
    states = {job.name: job.state for job in jobs()}
    assert states[new["job"]] == "JOB_STATE_SUCCEEDED"
    assert states[old["job"]] == "JOB_STATE_CANCELLED"


def test_killing_the_task_cancels_its_job(emulator, script):
    script.write_text("import time; time.sleep(60)")
    task = operator(wait_for_completion=False)
    name = task.execute({"ti": TaskInstance()})["job"]
    task.on_kill()
    with pytest.raises(AirflowException, match="CANCELLED"):
        wait_for(name)


def wait_for(name):
    return TrainingJobSensor(task_id="wait", job=name, poke_interval=1).execute({"ti": TaskInstance()})


def test_a_worker_killed_while_it_waits_leaves_a_job_that_its_retry_finds(emulator, script):
    script.write_text("import time; time.sleep(8)")
    code = (
        "from tests.airflow.test_training_operator import *\n"
        "operator().execute({'ti': TaskInstance(try_number=1)})\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, env={**os.environ})
    deadline = time.monotonic() + 60
    while not jobs():
        assert time.monotonic() < deadline, "the worker started no job"
        time.sleep(0.2)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    result = operator().execute({"ti": TaskInstance(try_number=2)})
    assert [job.name for job in jobs()] == [result["job"]]


def test_a_sensor_waits_for_a_job_started_elsewhere(emulator, script):
    script.write_text("import time; time.sleep(1)")
    name = operator(wait_for_completion=False).execute({"ti": TaskInstance()})["job"]
    sensor = TrainingJobSensor(task_id="wait", job=name, poke_interval=0.5, timeout=60)
    assert sensor.execute({"ti": TaskInstance()})["state"] == "JOB_STATE_SUCCEEDED"


def test_a_sensor_fails_with_the_jobs_own_message(emulator, script):
    script.write_text("raise SystemExit(3)")
    name = operator(wait_for_completion=False).execute({"ti": TaskInstance()})["job"]
    sensor = TrainingJobSensor(task_id="wait", job=name, poke_interval=0.5, timeout=60)
    with pytest.raises(AirflowFailException, match="non-zero status of 3"):
        sensor.execute({"ti": TaskInstance()})


@pytest.mark.parametrize(
    ("name", "message"),
    [("77", "is not projects"), ("projects/p/locations/europe-west4/customJobs/77", "404")],
)
def test_a_sensor_refuses_a_job_that_does_not_exist(emulator, name, message):
    with pytest.raises(AirflowFailException, match=message):
        wait_for(name)


def test_importing_the_operators_pulls_in_nothing_heavy():
    code = (
        "import sys, airflow_ml_provider.operators, airflow_ml_provider.sensors\n"
        "heavy = {'google.auth', 'google.cloud.aiplatform', 'google.cloud.storage', 'pandas', 'duckdb'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("cancel", [True, False])
def test_a_worker_that_is_told_to_stop_fails_and_ends_its_job_at_once(emulator, script, cancel):
    script.write_text("import time; time.sleep(30)")
    code = (
        "import signal\n"
        "from tests.airflow.test_training_operator import *\n"
        f"task = operator(cancel_on_kill={cancel})\n"
        # As Airflow's task runner does: the handler returns, and execute goes on.
        "signal.signal(signal.SIGTERM, lambda *_: task.on_kill())\n"
        "try:\n"
        "    task.execute({'ti': TaskInstance(try_number=1)})\n"
        "except AirflowException as error:\n"
        "    print('STOPPED', error)\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, env={**os.environ}, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not any(job.state == "JOB_STATE_RUNNING" for job in jobs()):
        assert time.monotonic() < deadline, "the worker started no job"
        time.sleep(0.2)
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=30)
    assert "STOPPED The task was told to stop (SIGTERM)" in output
    assert jobs()[0].name in output
    over = jobs()[0].state in ("JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED")
    assert over is cancel


def test_a_cancel_operator_ends_a_job_and_is_content_with_one_that_is_over_or_gone(emulator, script):
    script.write_text("import time; time.sleep(60)")
    name = operator(wait_for_completion=False).execute({"ti": TaskInstance()})["job"]
    cancel = CancelTrainingJobOperator(task_id="cancel", job=name)
    assert cancel.execute({"ti": TaskInstance()})["state"] == "JOB_STATE_CANCELLED"
    assert cancel.execute({"ti": TaskInstance()})["state"] == "JOB_STATE_CANCELLED"
    gone = CancelTrainingJobOperator(task_id="cancel", job=name[:-4] + "0000")
    assert gone.execute({"ti": TaskInstance()}) is None


def test_a_dry_run_prints_the_request_and_sends_nothing(emulator, capsys):
    operator(job={"args": ["--a", "1"]}).dry_run()
    shown = json.loads(capsys.readouterr().out)
    assert shown["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"] == ["--a", "1"]
    assert jobs() == []


def test_a_task_needs_a_region():
    with pytest.raises(AirflowFailException, match="No region"):
        TrainingJobOperator(task_id="train", job=TrainingJob(image_uri=IMAGE)).execute({"ti": TaskInstance()})
    with pytest.raises(ValueError, match="not both"):
        TrainingJobOperator(task_id="t", job=TrainingJob(image_uri=IMAGE), region=REGION, regions=[REGION])
