"""Runs nights of the drop-in DAG, one for each line of standard input; importing Airflow takes long, so once.

A line is JSON: ``variables`` for the DAG, fields of its training ``job`` to change, and a ``log``.
The answer is a line of JSON: the run's ``state``, and the state of each of its ``tasks``.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta

FIRST_NIGHT = datetime(2026, 1, 5, 3, tzinfo=UTC)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    from airflow import __version__

    from dags.recommender_nightly import dag

    when = "logical_date" if __version__ >= "3" else "execution_date"
    for task in dag.tasks:
        # A retry would wait for a minute and fail in the same way.
        task.retries = 0
    train = dag.get_task("train")
    ordinary = train.job
    for number, line in enumerate(sys.stdin):
        case = json.loads(line)
        for name, value in case["variables"].items():
            os.environ[f"AIRFLOW_VAR_RETRAINING_{name.upper()}"] = value
        train.job = {**ordinary, **case["job"]}
        log = os.open(case["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.close(log)
        run = dag.test(**{when: FIRST_NIGHT + timedelta(days=number)})
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        tasks = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
        print(json.dumps({"state": str(run.state), "tasks": tasks}), file=answers, flush=True)


if __name__ == "__main__":
    main()
