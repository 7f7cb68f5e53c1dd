"""What happens to tasks while Airflow runs, and a DAG for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REGION = "europe-west4"
_DAGS = """
from datetime import timedelta

import pendulum

from airflow_ml_provider.compat import DAG
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.operators import TrainingJobOperator

for name, arguments in {scenarios!r}.items():
    seconds = arguments.pop("execution_timeout", None)
    with DAG(name, schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False) as dag:
        TrainingJobOperator(
            task_id="train",
            job=TrainingJob(image_uri="europe-docker.pkg.dev/demo/chaos/replica:1", args=[{ends!r} + name]),
            region={region!r},
            retries=0 if seconds else 2,
            retry_delay=timedelta(seconds=1),
            poll_interval=3,
            execution_timeout=timedelta(seconds=seconds) if seconds else None,
            **arguments,
        )
    globals()[name] = dag
"""


@dataclass(frozen=True)
class Scenario:
    """A task to which something happens.

    :param deferrable: whether it waits in the triggerer.
    :param execution_timeout: in seconds.
    """

    name: str
    deferrable: bool = False
    execution_timeout: int | None = None


SCENARIOS = (
    Scenario("running_cleared"),
    Scenario("running_marked_failed"),
    Scenario("running_marked_success"),
    Scenario("running_worker_killed"),
    Scenario("running_scheduler_killed"),
    Scenario("deferred_cleared", deferrable=True),
    Scenario("deferred_marked_failed", deferrable=True),
    Scenario("deferred_marked_success", deferrable=True),
    Scenario("deferred_timed_out", deferrable=True, execution_timeout=60),
    Scenario("deferred_paused", deferrable=True),
    Scenario("deferred_triggerer_killed", deferrable=True),
    Scenario("deferred_scheduler_killed", deferrable=True),
)


def write_dags(folder: Path, scenarios: tuple[Scenario, ...], ends: Path) -> None:
    """Write the DAG file.

    :param ends: folder in which a file named like a scenario lets its job end.
    """
    arguments = {}
    for scenario in scenarios:
        arguments[scenario.name] = {"deferrable": True} if scenario.deferrable else {}
        if scenario.execution_timeout:
            arguments[scenario.name]["execution_timeout"] = scenario.execution_timeout
    text = _DAGS.format(scenarios=arguments, region=REGION, ends=f"{ends}/")
    (folder / "scenarios.py").write_text(text)
