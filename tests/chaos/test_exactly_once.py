"""A training job exists exactly once, whatever dies.

``pytest tests/chaos --schedules N --seed S`` plays N schedules for each kind of task, from seed S on; what
fails names the seed that repeats it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos.driver import ACTIVE, Performance, theatre
from tests.chaos.schedules import CONTROL, MODES, PERMANENT, schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
AT_ONCE = 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with theatre(tmp_path_factory.mktemp("chaos")) as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
def test_one_job_is_billed_to_its_end_and_the_task_tells_its_outcome(stage, mode, request):
    first, count = request.config.getoption("--seed"), request.config.getoption("--schedules")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = list(pool.map(lambda seed: report(stage, mode, seed), range(first, first + count)))
    failures = [text for text in reports if text]
    assert not failures, f"{len(failures)} of {count} schedules:\n" + "\n".join(failures[:10])


def test_the_suite_notices_a_task_that_does_not_look_for_its_job(stage):
    seeds = range(1, 21, 2)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = list(pool.map(lambda seed: report(stage, CONTROL, seed), seeds))
    assert any("billed to their end" in text for text in reports)


def report(stage, mode, seed):
    """Play a schedule; return what is wrong about its end, or ""."""
    plan = schedule(mode, seed)
    performance = Performance(stage, plan)
    try:
        outcome = performance.play()
        wrong = problems(plan, outcome)
        jobs = [f"{job['name'].split('/')[-1]} {job['state']} {job.get('labels')}" for job in outcome.jobs]
    except AssertionError as error:
        wrong, jobs = [str(error)], []
    if not wrong:
        return ""
    lines = [f"--seed {seed} --schedules 1, {mode}: {'; '.join(wrong)}", f"  {plan}"]
    return "\n".join([*lines, *(f"  {line}" for line in (*performance.history, *jobs))])


def problems(plan, outcome):
    """Return every way in which the end of a task is not as promised."""
    found = []
    if outcome.count(*ACTIVE):
        found.append("a job runs on without its task")
    succeeded = [job["name"] for job in outcome.jobs if job["state"] == "JOB_STATE_SUCCEEDED"]
    ended = len(succeeded) + outcome.count("JOB_STATE_FAILED")
    planned = len(plan.endings) + (not set(plan.endings) & set(PERMANENT))
    if plan.mode.startswith("sensor"):
        planned = 1
    if ended > planned:
        found.append(f"{ended} jobs were billed to their end, {planned} at most were to be")
    if outcome.state == "success":
        if len(succeeded) != 1:
            found.append(f"success with {len(succeeded)} jobs that succeeded")
        elif outcome.result["job"].split("/")[-1] != succeeded[0].split("/")[-1]:
            found.append(f"the XCom names {outcome.result['job']}, not {succeeded[0]}")
    else:
        if succeeded:
            found.append("the task failed, and its job did not")
        if not plan.endings:
            found.append(f"the task failed without a reason: {outcome.result}")
    return found
