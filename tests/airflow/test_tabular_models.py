"""Models of tables, trained, evaluated, gated and promoted like the recommender, with the real trainer."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest

from airflow_ml_provider.hooks.vertex import VertexHook
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.operators import (
    EvaluateModelOperator,
    ModelGateOperator,
    PromoteModelOperator,
    TrainingJobOperator,
)
from tests.airflow.test_training_operator import TaskInstance
from tests.conftest import REPOSITORY

ROOT = "gs://retraining/shop"
MODEL = {"root": ROOT, "model": "buyers"}
IMAGE = "europe-docker.pkg.dev/demo-project/retraining/trainer:1"
DATA = f"{ROOT}/datasets/buyers"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (REPOSITORY / "container/.venv/bin/python").exists(),
        reason="needs the trainer's environment: make container/.venv/ready",
    ),
]


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    from airflow_ml_provider.emulator.server import Settings, default_images, exports, running

    settings = Settings(data=tmp_path / "emulator", images=default_images(REPOSITORY), pace=0.05)
    with running(settings) as address:
        for name, value in exports(address, settings.project).items():
            monkeypatch.setenv(name, value)
        client = storage.Client(project="demo-project", credentials=AnonymousCredentials())
        yield client.create_bucket("retraining")


def rows(seed, count):
    random = np.random.default_rng(seed)
    age, shop = random.integers(18, 90, count), random.choice(["北", "Süd", "east"], count)
    odds = (age - 50) / 8 + 2.0 * (shop == "Süd") - 1
    bought = np.where(random.random(count) < 1 / (1 + np.exp(-odds)), "yes", "no")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["age", "shop", "label"])
    writer.writerows(zip(age.tolist(), shop, bought, strict=True))
    return text.getvalue()


def night(version, *args):
    """Train, evaluate, decide, promote; return what was measured, the decision, and the champion."""
    where = f"{ROOT}/models/buyers/versions/{version}"
    args = ["train", *args, f"--train-files={DATA}/train-*.csv", f"--output-dir={where}"]
    common = {"region": "europe-west4", "poll_interval": 1}

    def context(task_id):
        ti = TaskInstance()
        ti.task_id, ti.run_id = task_id, version
        return {"ti": ti, "dag_run": SimpleNamespace(data_interval_end=None)}

    job = TrainingJob(image_uri=IMAGE, args=[*args, f"--job-dir={ROOT}/jobs/{version}"])
    TrainingJobOperator(task_id="train", job=job, **common).execute(context("train"))
    job = TrainingJob(image_uri=IMAGE, args=["evaluate"])
    evaluate = EvaluateModelOperator(
        task_id="evaluate", job=job, version=version, data=f"{DATA}/holdout.csv", **MODEL, **common
    )
    measured = evaluate.execute(context("evaluate"))
    gate = ModelGateOperator(
        task_id="gate", version=version, settings={"metric": "log_loss", "floors": {"auc": 0.7}}, **MODEL
    )
    told = context("gate")
    gate.execute(told)
    promoted = PromoteModelOperator(task_id="promote", version=version, **MODEL).execute(context("promote"))
    return measured, told["ti"].pushed["decision"], promoted["champion"]


def test_xgboost_is_promoted_and_then_a_better_wide_and_deep(bucket):
    for shard in range(2):
        bucket.blob(f"shop/datasets/buyers/train-{shard}.csv").upload_from_string(rows(shard, 800))
    bucket.blob("shop/datasets/buyers/holdout.csv").upload_from_string(rows(9, 2000))
    measured, decision, champion = night("v1", "--model=xgboost", "--num-boost-round=3")
    assert measured["rows"] == 2000 and measured["champion"] is None
    assert measured["challenger_metrics"]["auc"] > 0.8
    assert (decision["outcome"], champion) == ("PROMOTE", "v1")

    measured, decision, champion = night("v2", "--model=wide-deep", "--train-batch-size=64")
    assert measured["champion"] == "v1"
    assert measured["challenger_metrics"]["log_loss"] < measured["champion_metrics"]["log_loss"]
    assert (decision["outcome"], champion) == ("PROMOTE", "v2")
    store = VertexHook().get_store(ROOT, "buyers")
    assert [record.act for record in store.history()] == ["promoted", "promoted"]
