from __future__ import annotations

from pathlib import Path

import pytest

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
    assert set(bag.dags) == {path.stem for path in DAGS}


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_can_be_read_in_a_minute(path: Path):
    assert len(path.read_text().splitlines()) < 60


def test_the_nightly_dag_leads_from_export_to_promotion(bag):
    dag = bag.dags["recommender_nightly"]
    chain = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert chain == {
        "select_train": {"export_train"},
        "export_train": {"train"},
        "select_holdout": {"export_holdout"},
        "export_holdout": {"evaluate"},
        "train": {"evaluate"},
        "evaluate": {"gate"},
        "gate": {"promote"},
        "promote": set(),
    }


def test_every_task_of_the_nightly_dag_may_be_retried(bag):
    for task in bag.dags["recommender_nightly"].tasks:
        assert task.retries >= 1
