from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import pytest

from airflow_ml_provider.assets import champion_asset
from airflow_ml_provider.compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseNotifier,
)
from airflow_ml_provider.hooks.vertex import VertexHook
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.operators import (
    EvaluateModelOperator,
    ModelGateOperator,
    PromoteModelOperator,
    RollbackModelOperator,
)
from tests.airflow.test_training_operator import TaskInstance
from tests.conftest import IMAGE
from tests.evaluations import document, metric

ROOT = "gs://retraining/shop"
MODEL = {"root": ROOT, "model": "recommender"}
PREFIX = "shop/models/recommender"


def add_version(bucket, version):
    """Write a complete version, as a trainer does."""
    content = version.encode()
    bucket.blob(f"{PREFIX}/versions/{version}/model.bin").upload_from_string(content)
    manifest = {
        "schema": 1,
        "model": "wals",
        "files": [{"path": "model.bin", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}],
        "arguments": {},
        "seed": 1,
        "data": {"files": [], "rows": None, "users": None, "items": None},
        "image": IMAGE,
        "job": None,
        "metrics": {},
        "framework": {},
        "created": "2026-11-20T00:00:00+00:00",
    }
    bucket.blob(f"{PREFIX}/versions/{version}/manifest.json").upload_from_string(json.dumps(manifest))


def evaluation(challenger, rmse, champion=None, champion_rmse=1.0, anchor=None):
    """Return what an evaluation job measured: every user much alike, so that the interval is narrow."""
    versions = {"challenger": challenger} | ({"champion": champion} if champion else {})
    versions |= {"anchor": anchor} if anchor else {}
    values = [rmse, champion_rmse, champion_rmse][: len(versions)]
    root = f"{ROOT}/models/recommender/versions"
    holdout = hashlib.sha256(challenger.encode()).hexdigest()[:32]
    return document(
        {"rmse": metric(values, 0.0005)}, versions, rows=8000, units=400, root=root, holdout=holdout
    )


def add_evaluation(bucket, version, *args):
    text = json.dumps(evaluation(version, *args))
    bucket.blob(f"{PREFIX}/versions/{version}/evaluation.json").upload_from_string(text)


@pytest.fixture
def store(bucket):
    return VertexHook().get_store(ROOT, "recommender")


def gate(version, **changes):
    """Run the gate; return its decision and whether what follows it is skipped."""
    from airflow_ml_provider.compat import DAG

    with DAG("d", schedule=None):
        task = ModelGateOperator(task_id="gate", version=version, **MODEL, **changes)
        task >> PromoteModelOperator(task_id="promote", version=version, **MODEL)
    ti = TaskInstance()
    # How Airflow skips differs between 2 and 3; that it does is seen in the nights of test_nightly.py.
    with patch("airflow_ml_provider.operators.promotion.skip_downstream") as skip:
        task.execute({"ti": ti, "dag": task.dag})
    skipped = skip.called
    return ti.pushed["decision"], skipped


def context(until=None, run_id="manual__1", **fields):
    ti = TaskInstance()
    ti.run_id = run_id
    return {"ti": ti, "dag_run": SimpleNamespace(data_interval_end=until), **fields}


def promote(version, until=None, **changes):
    task = PromoteModelOperator(task_id="promote", version=version, **MODEL, **changes)
    return task.execute(context(until))


def test_the_first_version_is_promoted(bucket, store):
    add_version(bucket, "v1")
    add_evaluation(bucket, "v1", 1.0)
    decision, skipped = gate("v1")
    assert (decision["outcome"], skipped) == ("PROMOTE", False)
    assert promote("v1")["champion"] == "v1"
    assert store.champion().version == "v1"
    assert [record.act for record in store.history()] == ["promoted"]


def test_promoting_twice_changes_nothing(bucket, store):
    add_version(bucket, "v1")
    add_evaluation(bucket, "v1", 1.0)
    gate("v1")
    assert promote("v1") == promote("v1")
    assert len(store.history()) == 1


def test_a_worse_version_is_refused_and_what_follows_is_skipped(bucket, store):
    for version in ("v1", "v2"):
        add_version(bucket, version)
    add_evaluation(bucket, "v1", 1.0)
    gate("v1")
    promote("v1")
    add_evaluation(bucket, "v2", 1.4, "v1", 1.0)
    decision, skipped = gate("v2")
    assert (decision["outcome"], skipped) == ("BLOCK", True)
    assert "1.4" in decision["reasons"][0]
    assert store.champion().version == "v1"
    assert [record.act for record in store.history()] == ["promoted", "refused"]
    assert bucket.blob(f"{PREFIX}/versions/v2/report.html").download_as_text().startswith("<!")


def test_a_refusal_is_told_to_everybody_even_if_one_can_not_be_reached(bucket, store):
    class Page(BaseNotifier):
        template_fields = ("text",)

        def __init__(self, text):
            super().__init__()
            self.text = text

        def notify(self, context):
            told.append(self.text)

    def unreachable(context):
        raise OSError("no such host")

    told = []
    tell = [unreachable, Page("{{ decision.outcome }}: {{ decision.report }}")]
    add_version(bucket, "v1")
    add_evaluation(bucket, "v1", 1.0)
    gate("v1", on_refused=tell)
    assert told == []
    gate("v1", on_refused=tell, settings={"ceilings": {"rmse": 0.5}})
    (text,) = told
    assert text.startswith(("BLOCK: gs://", "HOLD: gs://"))


def test_a_refused_version_can_not_be_promoted_by_running_the_task_alone(bucket, store):
    for version in ("v1", "v2"):
        add_version(bucket, version)
    add_evaluation(bucket, "v1", 1.0)
    gate("v1")
    promote("v1")
    add_evaluation(bucket, "v2", 1.4, "v1", 1.0)
    gate("v2")
    with pytest.raises(AirflowFailException, match="BLOCK"):
        promote("v2")
    assert store.champion().version == "v1"


def test_a_decision_about_a_former_champion_is_not_carried_out(bucket, store):
    for version in ("v1", "v2", "v3"):
        add_version(bucket, version)
    add_evaluation(bucket, "v1", 1.0)
    gate("v1")
    promote("v1")
    for version in ("v2", "v3"):
        add_evaluation(bucket, version, 0.9, "v1", 1.0)
        gate(version)
    promote("v2")
    with pytest.raises(AirflowFailException, match="the champion is v2"):
        promote("v3")
    assert store.champion().version == "v2"


def test_running_the_gate_again_records_a_refusal_once(bucket, store):
    for version in ("v1", "v2"):
        add_version(bucket, version)
    add_evaluation(bucket, "v1", 1.0)
    gate("v1")
    promote("v1")
    add_evaluation(bucket, "v2", 1.4, "v1", 1.0)
    gate("v2")
    gate("v2")
    assert [record.act for record in store.history()] == ["promoted", "refused"]


def test_settings_that_contradict_themselves_fail_the_task(bucket):
    add_version(bucket, "v1")
    add_evaluation(bucket, "v1", 1.0)
    with pytest.raises(AirflowFailException, match="margin"):
        gate("v1", settings={"margin": -1})
    with pytest.raises(AirflowFailException, match="marginn"):
        gate("v1", settings={"marginn": 0.1})


@pytest.mark.parametrize("content", [None, "", "{", '{"schema": 99}'])
def test_a_missing_or_broken_evaluation_promotes_nothing(bucket, store, content):
    add_version(bucket, "v1")
    if content is not None:
        bucket.blob(f"{PREFIX}/versions/v1/evaluation.json").upload_from_string(content)
    with pytest.raises(AirflowFailException, match=r"evaluation\.json"):
        gate("v1")
    assert store.champion() is None


def test_a_bucket_that_does_not_exist_is_named(emulator):
    task = ModelGateOperator(task_id="gate", root="gs://no-such-bucket/x", model="m", version="v1")
    with pytest.raises(AirflowException, match="no-such-bucket"):
        task.execute({"ti": TaskInstance()})


SCORER = """
import json, os, sys
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
print("ARGS", sys.argv[1:])
flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
client = storage.Client(project="p", credentials=AnonymousCredentials())
text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "evaluation.json")).read()
client.bucket("retraining").blob(flags["--output"].removeprefix("gs://retraining/")).upload_from_string(text)
"""


def evaluate(version, **changes):
    job = TrainingJob(image_uri=IMAGE, args=["evaluate"])
    arguments = {"data": "gs://retraining/holdout/part-*.csv", "version": version, **MODEL, **changes}
    task = EvaluateModelOperator(
        task_id="evaluate", job=job, region="europe-west4", poll_interval=1, **arguments
    )
    return task.execute({"ti": TaskInstance()})


def test_challenger_and_champion_are_scored_in_one_job(bucket, script, store):
    script.write_text(SCORER)
    for version in ("v1", "v2"):
        add_version(bucket, version)
    script.with_name("evaluation.json").write_text(json.dumps(evaluation("v1", 1.0)))
    first = evaluate("v1")
    assert (first["champion"], first["rows"]) == (None, 8000)
    gate("v1")
    promote("v1")
    script.with_name("evaluation.json").write_text(json.dumps(evaluation("v2", 0.9, "v1", 1.0)))
    second = evaluate("v2", model="recommender")
    assert (second["champion"], second["challenger_metrics"], second["champion_metrics"]) == (
        "v1",
        {"rmse": 0.9},
        {"rmse": 1.0},
    )
    tail = VertexHook().get_client(region="europe-west4").log_tail(second["job_id"], 20)
    sent = next(line for line in tail if "ARGS" in line)
    base = f"{ROOT}/models/recommender/versions"
    assert f"'--champion', '{base}/v1/'" in sent
    assert f"'--challenger', '{base}/v2/'" in sent
    assert f"'--output', '{base}/v2/evaluation.json'" in sent


def test_a_version_without_a_manifest_is_not_evaluated(bucket, script):
    bucket.blob(f"{PREFIX}/versions/v1/model.bin").upload_from_string("half")
    with pytest.raises(AirflowFailException, match=r"manifest\.json"):
        evaluate("v1")
    assert VertexHook().get_client(region="europe-west4").jobs('createTime>"2020-01-01T00:00:00Z"') == []


def test_an_evaluation_job_that_writes_nothing_fails_the_task(bucket, script):
    script.write_text("print('done')")
    add_version(bucket, "v1")
    with pytest.raises(AirflowFailException, match=r"evaluation\.json"):
        evaluate("v1")


NIGHT = datetime(2026, 11, 20, 3, tzinfo=UTC)


def promoted(bucket, *versions, until=NIGHT, **changes):
    """Train, evaluate and promote versions, one a night."""
    champion = None
    for night, version in enumerate(versions):
        add_version(bucket, version)
        add_evaluation(bucket, version, 1.0 - night / 10, *([champion, 1.1, champion] if champion else []))
        assert gate(version)[0]["outcome"] == "PROMOTE"
        champion = promote(version, until + timedelta(days=night), **changes)["champion"]
        assert champion == version


def roll_back(run_id="manual__1", **changes):
    task = RollbackModelOperator(task_id="rollback", why="sold-out items", **MODEL, **changes)
    return task.execute(context(run_id=run_id))


def test_a_backfill_of_an_older_night_is_skipped_and_recorded(bucket, store):
    promoted(bucket, "v1", "v2")
    add_version(bucket, "old")
    add_evaluation(bucket, "old", 0.5, "v2", 0.9, "v2")
    gate("old")
    with pytest.raises(AirflowSkipException, match="trained on data until 2026-11-19"):
        promote("old", NIGHT - timedelta(days=1))
    assert [record.act for record in store.history()] == ["promoted", "promoted", "refused"]
    assert promote("old", NIGHT - timedelta(days=1), allow_older_data=True)["champion"] == "old"


def test_old_models_are_removed_after_a_promotion_that_asks_for_it(bucket, store):
    for version in ("w1", "w2", "w3"):
        add_version(bucket, version)
        bucket.blob(f"{PREFIX}/versions/{version}/decision.json").upload_from_string("{}")
    promoted(bucket, "v1", keep_last=2)
    names = {blob.name for blob in bucket.list_blobs(prefix=f"{PREFIX}/versions/w")}
    assert f"{PREFIX}/versions/w1/model.bin" not in names
    assert f"{PREFIX}/versions/w1/manifest.removed.json" in names
    assert f"{PREFIX}/versions/w3/model.bin" in names


def test_a_rollback_returns_to_the_champion_before_and_bars_the_one_it_leaves(bucket, store):
    promoted(bucket, "v1", "v2", "v3")
    result = roll_back()
    assert result == {"champion": "v2", "previous": "v3", "uri": f"{ROOT}/models/recommender/versions/v2/"}
    record = store.history()[-1]
    assert (record.act, record.why, record.blocked) == ("rolled_back", "sold-out items", ("v3",))
    with pytest.raises(AirflowFailException):
        promote("v3", NIGHT + timedelta(days=9))


def test_a_retried_rollback_does_not_go_back_twice_whatever_came_between(bucket, store):
    promoted(bucket, "v1", "v2", "v3")
    roll_back("manual__7")
    assert roll_back("manual__7")["champion"] == "v2"
    store.promote("v3", by="anna", why="it was the catalogue", expected="v2", force=True)
    assert roll_back("manual__7")["champion"] == "v3"
    assert roll_back("manual__8")["champion"] == "v2"


def test_a_rollback_can_name_where_to_go_and_what_to_leave(bucket, store):
    promoted(bucket, "v1", "v2", "v3")
    with pytest.raises(AirflowFailException, match="v1 was decided on with v2 as champion"):
        roll_back(version="v1", leaving="v2")
    assert roll_back(version="v1", leaving="v3")["champion"] == "v1"


def test_a_rollback_without_anything_to_return_to_fails_for_good(bucket):
    with pytest.raises(AirflowFailException, match="no champion to roll back from"):
        roll_back()


def test_promotion_and_rollback_are_events_of_the_models_asset(bucket):
    promoted(bucket, "v1", "v2")
    asset = champion_asset("recommender")
    for make in (
        lambda: PromoteModelOperator(task_id="promote", version="v2", **MODEL),
        lambda: RollbackModelOperator(task_id="rollback", why="sold out", **MODEL),
    ):
        task = make()
        assert task.outlets == [asset]
        event = SimpleNamespace(extra={})
        events = MagicMock()
        events.__getitem__.return_value = event
        task.execute(context(NIGHT + timedelta(days=1), outlet_events=events))
        events.__getitem__.assert_called_once_with(asset)
        assert event.extra["uri"] == f"{ROOT}/models/recommender/versions/{event.extra['version']}/"
    assert (event.extra["act"], event.extra["version"]) == ("rolled_back", "v1")
    assert json.loads(json.dumps(event.extra)) == event.extra


def test_a_model_whose_name_is_a_template_has_no_asset_of_its_own():
    task = PromoteModelOperator(task_id="promote", version="v1", root=ROOT, model="{{ params.model }}")
    assert not task.outlets


def test_the_anchor_is_scored_as_well_once_it_is_not_the_champion(bucket, script, store):
    script.write_text(SCORER)
    for version in ("v1", "v2", "v3"):
        add_version(bucket, version)
    add_evaluation(bucket, "v1", 1.0)
    gate("v1")
    promote("v1")
    # As good as v1, not proven better: v1 stays the anchor.
    add_evaluation(bucket, "v2", 1.0, "v1", 1.0)
    gate("v2")
    promote("v2")
    assert store.champion().record.anchor == "v1"
    script.with_name("evaluation.json").write_text(
        json.dumps(evaluation("v3", 1.004, "v2", 1.0, anchor="v1"))
    )
    result = evaluate("v3")
    tail = VertexHook().get_client(region="europe-west4").log_tail(result["job_id"], 20)
    sent = next(line for line in tail if "ARGS" in line)
    assert f"'--anchor', '{ROOT}/models/recommender/versions/v1/'" in sent
    decision, skipped = gate("v3")
    assert (decision["outcome"], decision["anchor"], skipped) == ("PROMOTE", "v1", False)


def test_a_version_with_plain_metrics_alone_is_decided_by_the_weaker_rule(bucket, store):
    for version, rmse in (("v1", 1.0), ("v2", 1.005), ("v3", 1.2)):
        add_version(bucket, version)
        blob = bucket.blob(f"{PREFIX}/versions/{version}/metrics.json")
        blob.upload_from_string(json.dumps({"rmse": rmse}))
    assert gate("v1")[0]["kind"] == "bootstrap"
    promote("v1")
    decision, skipped = gate("v2")
    assert (decision["outcome"], decision["kind"], skipped) == ("PROMOTE", "numbers", False)
    assert "weaker rule" in decision["reasons"][0]
    promote("v2")
    assert gate("v3")[0]["outcome"] == "HOLD"


def test_rows_that_decide_every_night_are_counted(bucket, store):
    for at in range(4):
        add_version(bucket, f"v{at}")
        champion = store.champion()
        content = evaluation(f"v{at}", 1.0 - at / 10, champion.version if champion else None, 1.1 - at / 10)
        content["holdout"]["hash"] = "f" * 32
        bucket.blob(f"{PREFIX}/versions/v{at}/evaluation.json").upload_from_string(json.dumps(content))
        decision, _ = gate(f"v{at}", settings={"maximum_holdout_uses": 3})
        if at < 3:
            promote(f"v{at}")
    assert decision["outcome"] == "HOLD"
    assert "3 earlier decisions rest on the very same held-out rows" in decision["reasons"][0]
