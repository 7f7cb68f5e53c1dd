"""The chain in one call: its shape, its parts replaced and left out, and what its templates become."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise

import pytest

from airflow_ml_provider.compat import DAG, BaseOperator
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.models.settings import GateSettings
from airflow_ml_provider.operators import TrainingJobOperator
from airflow_ml_provider.retraining import (
    Export,
    Files,
    Promote,
    Retraining,
    RetrainingTaskGroup,
    retraining_dag,
)
from tests.conftest import REPOSITORY

JOB = TrainingJob(image_uri="europe-docker.pkg.dev/p/r/trainer:1", args=["--epochs=3"])
START = datetime(2026, 1, 1)


def settings(**changes):
    data = Export(train="SELECT 1", holdout="SELECT 2")
    return Retraining(**{"model": "shop", "root": "gs://bucket/ml", "data": data, "train": JOB, **changes})


def chain(dag):
    return {task.task_id: task.downstream_task_ids for task in dag.tasks}


def dag_of(**changes):
    return retraining_dag("nightly", settings(**changes), schedule=None, start_date=START)


def test_the_whole_chain_is_one_call():
    dag = dag_of()
    assert chain(dag) == {
        "export_train": {"check"},
        "export_holdout": {"evaluate"},
        "check": {"train"},
        "train": {"evaluate"},
        "evaluate": {"gate"},
        "gate": {"promote"},
        "promote": set(),
    }
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert all(task.retries == 2 for task in dag.tasks)


def test_arguments_of_the_dag_are_airflows_own():
    arguments = {"default_args": {"retries": 5, "owner": "ml"}, "max_active_runs": 3, "tags": ["nightly"]}
    dag = retraining_dag("nightly", settings(), schedule="@daily", start_date=START, **arguments)
    assert dag.max_active_runs == 3
    assert set(dag.tags) == {"nightly"}
    assert {(task.retries, task.owner) for task in dag.tasks} == {(5, "ml")}


@pytest.mark.parametrize("step", ["check", "evaluate", "promote"])
def test_a_step_that_is_left_out_is_bridged(step):
    dag = dag_of(**{step: None})
    assert step not in dag.task_ids
    order = [name for name in ("check", "train", "evaluate", "gate", "promote") if name != step]
    assert all(after in dag.get_task(task).downstream_task_ids for task, after in pairwise(order))


def test_without_an_evaluation_nothing_is_held_out():
    assert "export_holdout" not in dag_of(evaluate=None).task_ids


def test_without_a_gate_nothing_is_promoted_by_accident():
    with pytest.raises(ValueError, match="promote=None"):
        settings(gate=None)
    assert "gate" not in dag_of(gate=None, promote=None).task_ids


def test_files_that_are_there_are_not_exported():
    dag = dag_of(data=Files(train="gs://data/train-*.csv", holdout="gs://data/test.csv"))
    assert set(dag.task_ids) == {"check", "train", "evaluate", "gate", "promote"}
    assert dag.get_task("check").uri == "gs://data/train-*.csv"
    assert "--train-file=gs://data/train-*.csv" in dag.get_task("train").job["args"]
    assert dag.get_task("evaluate").data == "gs://data/test.csv"


def test_a_step_of_ones_own_takes_the_place_and_knows_the_names():
    def train(names):
        job = TrainingJob(
            image_uri="mine:1",
            args=[f"--in={names.train_data}", f"--out={names.output_dir}"],
            labels={"version": names.new_version},
        )
        return TrainingJobOperator(task_id="train", job=job, region="us-east1")

    dag = dag_of(train=train, evaluate=TrainingJob(image_uri="mine:1", args=["compare"]))
    assert chain(dag) == chain(dag_of())
    assert dag.get_task("train").job["args"] == [
        "--in={{ ti.xcom_pull('export_train')[0] }}",
        "--out=gs://bucket/ml/models/shop/versions/{{ run_id | slug }}_{{ ti.try_number }}",
    ]


def test_a_training_of_ones_own_needs_to_say_what_evaluates():
    with pytest.raises(ValueError, match="Give evaluate"):
        settings(train=lambda names: BaseOperator(task_id="train"))


def test_settings_reach_their_steps():
    gate = GateSettings(metric="auc", margin=0.002, margin_kind="absolute")
    connection = {"gcp_conn_id": "other", "project_id": "project"}
    dag = dag_of(
        gate=gate,
        promote=Promote(keep_last=5),
        check={"label": "y"},
        region="europe-west4",
        connection=connection,
    )
    assert dag.get_task("gate").settings is gate
    assert dag.get_task("promote").keep_last == 5
    assert dag.get_task("check").expectations == {"label": "y"}
    assert dag.get_task("train").region == dag.get_task("evaluate").region == "europe-west4"
    assert {(task.gcp_conn_id, task.project_id) for task in dag.tasks} == {("other", "project")}


def test_groups_in_one_dag_do_not_meet():
    with DAG("all_shops", schedule=None, start_date=START) as dag:
        for shop in ("north", "south"):
            RetrainingTaskGroup(shop, settings(model=shop))
    assert chain(dag)["north.train"] == {"north.evaluate"}
    train, evaluate = dag.get_task("south.train"), dag.get_task("south.evaluate")
    assert "--train-file={{ ti.xcom_pull('south.export_train')[0] }}" in train.job["args"]
    assert "--job-dir=gs://bucket/ml/jobs/south/{{ run_id | slug }}" in train.job["args"]
    assert evaluate.version == "{{ ti.xcom_pull('south.train').labels.version }}"
    assert "/datasets/south/" in dag.get_task("south.export_train").uri


def test_the_filter_of_the_templates_is_offered_beside_the_dags_own():
    with DAG("mine", schedule=None, start_date=START, user_defined_filters={"twice": lambda x: 2 * x}) as dag:
        RetrainingTaskGroup("retrain", settings())
    env = dag.get_template_env()
    name = env.from_string("{{ run_id | slug }}").render(run_id="manual__2026-01-05T03:00:00+00:00")
    assert name.startswith("manual_2026_01_05")
    assert env.from_string("{{ 2 | twice }}").render() == "4"


def test_another_filter_of_that_name_is_refused():
    with (
        DAG("mine", schedule=None, start_date=START, user_defined_filters={"slug": str}),
        pytest.raises(ValueError, match="another filter 'slug'"),
    ):
        RetrainingTaskGroup("retrain", settings())


def test_a_row_is_held_out_by_its_key_and_scored_a_day_later():
    export = Export.by_hash("shop.ratings", columns=["u", "v", "r"], key=["u", "v"], time="at", percent=5)
    values = "COALESCE(CAST(u AS STRING), ''), ':', COALESCE(CAST(v AS STRING), '')"
    side = f"ABS(MOD(FARM_FINGERPRINT(CONCAT({values})), 100))"
    night = "TIMESTAMP '{{ dag_run.data_interval_end or dag_run.run_after }}'"
    select = "SELECT u, v, r FROM shop.ratings WHERE"
    assert export.train == f"{select} {side} >= 5 AND at < {night}"
    assert export.holdout == f"{select} {side} < 5 AND at < TIMESTAMP_SUB({night}, INTERVAL 24 HOUR)"


@pytest.mark.parametrize(
    "wrong",
    [{"columns": ["a, (SELECT 1)"]}, {"key": []}, {"time": "at; DROP"}, {"percent": 0}, {"percent": 100}],
)
def test_what_can_not_be_a_column_never_becomes_sql(wrong):
    with pytest.raises(ValueError, match=r"Export\.by_hash"):
        Export.by_hash("shop.ratings", **{"columns": ["u"], "key": ["u"], "time": "at", **wrong})


def test_who_is_told_of_a_promotion_is_told_by_its_task():
    told = []
    dag = dag_of(on_promoted=told.append, on_refused=[told.append, print])
    callbacks = dag.get_task("promote").on_success_callback
    assert callbacks in (told.append, [told.append])
    assert dag.get_task("gate").on_refused == [told.append, print]


def test_the_code_of_the_documentation_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/retraining.md").read_text(), re.S):
        exec(block, names)
    assert set(names["dag"].task_ids) == set(dag_of().task_ids)
    for name in ("mine", "told"):
        dag = retraining_dag(name, names[name], schedule=None, start_date=START)
        assert set(dag.task_ids) == set(dag_of().task_ids)
