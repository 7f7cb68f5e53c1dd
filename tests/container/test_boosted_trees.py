"""XGBoost from files to a version that is evaluated and predicts."""

from __future__ import annotations

import json
import signal

import joblib
import numpy as np
import pytest
import xgboost

from .people import people, write_people

ROWS, TEST = people(1), people(2, 600)


@pytest.fixture
def data(tmp_path):
    write_people(tmp_path / "test.csv", TEST)
    return write_people(tmp_path / "rows.csv", ROWS)


def flags(tmp_path, *more):
    return [
        "train",
        "--model",
        "xgboost",
        "--train-files",
        tmp_path / "rows.csv",
        "--label",
        "bought",
        "--nthread",
        1,
        *more,
    ]


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_version_predicts_the_same_from_its_trees_and_from_its_pickled_pipeline(task, data, tmp_path):
    folder = tmp_path / "v"
    code, output, errors = task(
        *flags(tmp_path, "--eval-files", tmp_path / "test.csv", "--output-dir", folder)
    )
    assert (code, errors) == (0, "")
    manifest = manifest_of(folder)
    assert manifest["model"] == "xgboost" and manifest["metrics"]["auc"] > 0.8
    assert {f["path"] for f in manifest["files"]} == {"model.bst", "model.joblib", "schema.json"}
    assert "round 300/300: test log_loss" in output
    (tmp_path / "new.csv").write_text(
        "city,job,age,gain\nOslo,cook,80,9\n東京,unseen,,\nOslo,,1e308,-1e308\n"
    )
    told = []
    for more in ([], ["--pipeline", "model.joblib"]):
        command = ["predict", "--model-dir", folder, "--input-files", tmp_path / "new.csv"]
        assert task(*command, "--output", tmp_path / "p", *more)[0] == 0
        told.append([json.loads(line) for line in (tmp_path / "p").read_text().splitlines()])
    assert [row["prediction"] for row in told[0]] == pytest.approx([row["prediction"] for row in told[1]])
    assert told[0][0]["class"] == "yes"


def test_the_exported_files_work_without_this_package(start, task, data, tmp_path):
    assert task(*flags(tmp_path, "--output-dir", tmp_path / "v", "--num-boost-round", "5.0"))[0] == 0
    pipeline = joblib.load(tmp_path / "v" / "model.joblib")
    modules = {type(step).__module__.split(".")[0] for _, step in pipeline.steps}
    assert modules == {"sklearn", "xgboost"} and b"trainer" not in (tmp_path / "v/model.joblib").read_bytes()
    booster = xgboost.Booster(model_file=bytearray((tmp_path / "v" / "model.bst").read_bytes()))
    assert booster.num_boosted_rounds() == 5


def test_evaluation_never_unpickles(task, data, tmp_path):
    folder = tmp_path / "v"
    assert task(*flags(tmp_path, "--output-dir", folder))[0] == 0
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "unpickled").encode() + b"'\ntR."
    manifest = manifest_of(folder)
    (folder / "model.joblib").write_bytes(evil)
    import hashlib

    for file in manifest["files"]:
        if file["path"] == "model.joblib":
            file |= {"size": len(evil), "sha256": hashlib.sha256(evil).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    code, _, errors = task(
        "evaluate", "--challenger", folder, "--champion", folder, "--test-file", tmp_path / "test.csv",
        "--output", tmp_path / "evaluation.json", "--slice", "job",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["rows"] == 600
    assert evaluation["metrics"]["auc"]["values"][0] > 0.8
    assert evaluation["metrics"]["auc"]["values"][0] == evaluation["metrics"]["auc"]["values"][1]
    assert {part["value"] for part in evaluation["slices"]} == {"nurse", "cook", "judge", "clerk"}
    assert not (tmp_path / "unpickled").exists()


def test_numbers_are_predicted_as_numbers(task, data, tmp_path):
    code, _, errors = task(
        *flags(tmp_path, "--output-dir", tmp_path / "v", "--label", "age", "--num-boost-round", 20)
    )
    assert (code, errors) == (0, "")
    manifest = manifest_of(tmp_path / "v")
    assert manifest["arguments"]["task"] == "regression"
    assert manifest["metrics"]["rmse"] < np.std([row["age"] for row in ROWS])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label", "sold"], "--label sold: there is no such column; the files have age, job"),
        (["--positive-label", "maybe"], "--positive-label maybe: the labels are no and yes"),
        (["--device", "cuda"], "--device cuda: "),
        (["--eval-files", "sold.csv"], "sold.csv: no such file"),
    ],
)
def test_what_can_not_be_done_ends_with_code_2_and_one_line(task, data, tmp_path, more, message):
    code, _, errors = task(*flags(tmp_path, "--output-dir", tmp_path / "v", *more))
    assert code == 2 and message in errors and errors.count("\n") == 1
    assert not (tmp_path / "v").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_grows_the_trees_that_it_would_have_grown(start, task, data, tmp_path, kill):
    def arguments(name):
        return flags(
            tmp_path, "--job-dir", tmp_path / name, "--checkpoint-every", 0, "--num-boost-round", 400,
            "--max-depth", 6, "--subsample", 1, "--colsample-bytree", 1,
        )  # fmt: skip

    process = start(*arguments("job"))
    for line in process.stdout:
        if line.startswith("round 40/"):
            break
    process.send_signal(kill)
    process.communicate(timeout=120)
    assert process.returncode == (143 if kill == signal.SIGTERM else -signal.SIGKILL)
    assert not (tmp_path / "job" / "manifest.json").exists()
    code, output, _ = task(*arguments("job"))
    assert code == 0 and "going on after round" in output
    assert task(*arguments("whole"))[0] == 0
    one, other = (manifest_of(tmp_path / name)["metrics"]["log_loss"] for name in ("job", "whole"))
    assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.slow
def test_two_replicas_train_together_about_as_one(start, task, data, tmp_path, ports):
    def cluster(kind):
        pools = {"workerpool0": [f"127.0.0.1:{ports[0]}"], "workerpool1": [f"127.0.0.1:{ports[1]}"]}
        return {"CLUSTER_SPEC": json.dumps({"cluster": pools, "task": {"type": kind, "index": 0}})}

    more = ["--eval-files", tmp_path / "test.csv", "--num-boost-round", 60]
    arguments = flags(tmp_path, *more, "--output-dir", tmp_path / "two", "--peer-timeout", 120)
    both = [start(*arguments, **cluster(kind)) for kind in ("workerpool0", "workerpool1")]
    results = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert task(*flags(tmp_path, *more, "--output-dir", tmp_path / "one"))[0] == 0
    one, two = manifest_of(tmp_path / "one"), manifest_of(tmp_path / "two")
    assert two["arguments"]["replicas"] == 2
    assert one["metrics"]["auc"] == pytest.approx(two["metrics"]["auc"], abs=0.01)
    assert "round" not in results[1][0]


@pytest.mark.slow
def test_a_replica_that_dies_ends_the_others_and_the_job_goes_on_when_it_is_started_again(
    start, data, tmp_path, ports
):
    more = ["--job-dir", tmp_path / "job", "--checkpoint-every", 0, "--peer-timeout", 60]

    def replicas():
        pools = {"chief": [f"127.0.0.1:{ports[0]}"], "worker": [f"127.0.0.1:{ports[1]}"]}
        for kind in ("chief", "worker"):
            config = json.dumps({"cluster": pools, "task": {"type": kind, "index": 0}})
            yield start(*flags(tmp_path, *more, "--num-boost-round", 400), TF_CONFIG=config)

    chief, worker = replicas()
    for line in chief.stdout:
        if line.startswith("round 40/"):
            break
    worker.kill()
    _, errors = chief.communicate(timeout=200)
    assert chief.returncode == 1 and "a replica is gone" in errors, errors
    assert not (tmp_path / "job" / "manifest.json").exists()
    chief, worker = replicas()
    output, _ = chief.communicate(timeout=200)
    worker.communicate(timeout=200)
    assert (chief.returncode, worker.returncode) == (0, 0)
    assert "going on after round" in output
