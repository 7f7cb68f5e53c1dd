"""The schedules of tests/chaos, played for our operator and for Google's."""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.driver import ACTIVE, Outcome, Performance, theatre
from tests.chaos.schedules import OPERATOR_MODES, PERMANENT, Schedule, schedule

BUILDS = {
    "airflow_ml_provider": "tests.chaos.tasks:build",
    "apache-airflow-providers-google": "benchmarks.vertex.stock:build",
}


def measure(schedules: int, seed: int) -> list[dict[str, object]]:
    """Return a row of counts for each operator and mode.

    :param schedules: how many to play for each.
    :param seed: of the first.
    """
    rows: list[dict[str, object]] = []
    for name, build in BUILDS.items():
        with theatre(Path(tempfile.mkdtemp(prefix="dependability-")), build) as stage:
            for mode in OPERATOR_MODES:
                plans = [schedule(mode, number) for number in range(seed, seed + schedules)]
                with ThreadPoolExecutor(8) as pool:
                    outcomes = list(pool.map(lambda plan: Performance(stage, plan).play(), plans))
                counts: Counter[str] = Counter()
                for plan, outcome in zip(plans, outcomes, strict=True):
                    counts.update(judge(plan, outcome))
                rows.append({"provider": name, "mode": mode.partition("-")[2], "tasks": schedules, **counts})
    return rows


def judge(plan: Schedule, outcome: Outcome) -> Counter[str]:
    """Count what went wrong for one task.

    A job that runs on after its task's end is an orphan. One that ended by itself beyond those that had to
    fail, and the one that had to succeed, is a duplicate: it was billed for nothing.
    """
    ended = outcome.count("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED")
    planned = len(plan.endings) + (not set(plan.endings) & set(PERMANENT))
    orphans = outcome.count(*ACTIVE)
    # What a task may end as: failure only where a job failed for good.
    curable = not set(plan.endings) & set(PERMANENT)
    wrong = (outcome.state == "success") != (outcome.count("JOB_STATE_SUCCEEDED") > 0)
    found = Counter(
        {
            "duplicates": max(0, ended + orphans - planned),
            "orphans": orphans,
            "failed_tasks": int(curable and outcome.state == "failed"),
            "wrong_outcomes": int(wrong),
        }
    )
    found["flawless"] = int(not any(found.values()))
    return found
