from __future__ import annotations

from pathlib import Path

import pytest

from airflow_ml_provider.compat import people_can_be_asked
from tests.conftest import REPOSITORY

DAGS = sorted((REPOSITORY / "dags").glob("*.py"))


@pytest.fixture(scope="module")
def bag():
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    return DagBag(dag_folder=str(REPOSITORY / "dags"))


def test_every_dag_parses(bag):
    assert bag.import_errors == {}
    absent = set() if people_can_be_asked() else {"recommender_approved"}
    assert set(bag.dags) == {path.stem for path in DAGS} - absent


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_can_be_read_in_a_minute(path: Path):
    assert len(path.read_text().splitlines()) < 60


def test_the_nightly_dag_leads_from_export_to_promotion(bag):
    dag = bag.dags["recommender_nightly"]
    chain = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert chain == {
        "export_train": {"check"},
        "check": {"train"},
        "export_holdout": {"evaluate"},
        "train": {"evaluate"},
        "evaluate": {"gate"},
        "gate": {"promote"},
        "promote": set(),
    }


def test_every_task_of_the_nightly_dag_may_be_retried(bag):
    for task in bag.dags["recommender_nightly"].tasks:
        assert task.retries >= 1


@pytest.mark.skipif(not people_can_be_asked(), reason="tasks that wait for a person came with Airflow 3.1")
def test_a_person_is_asked_after_the_gate_and_before_the_promotion(bag):
    dag = bag.dags["recommender_approved"]
    assert dag.get_task("gate").downstream_task_ids == {"approve"}
    approve = dag.get_task("approve")
    assert approve.downstream_task_ids == {"promote"}
    assert approve.defaults == ["Reject"]
