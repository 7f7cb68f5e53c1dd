"""Wide & Deep from files to a version that serves, on one replica."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from .people import people, write_people

ROWS, TEST = people(1), people(2, 600)


@pytest.fixture
def data(tmp_path):
    write_people(tmp_path / "test.csv", TEST)
    return write_people(tmp_path / "rows.csv", ROWS)


def flags(tmp_path, *more):
    files = ["--train-files", tmp_path / "rows.csv", "--eval-files", tmp_path / "test.csv"]
    return ["train", "--model", "wide-deep", *files, "--label", "bought", *more]


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_values_that_training_never_saw_have_a_place(data):
    import tensorflow as tf
    from trainer.tabular.schema import Column, Schema
    from trainer.wide_deep.features import Features

    columns = (Column("c", "category", ("a", "b"), 3), Column("n", "number", quantiles=(0.0, 1.0, 5.0)))
    features = Features(Schema("y", "binary", ("0", "1"), columns, (("c", "n"),)))
    texts = tf.constant(["a", "b", "new", "", "a", "b"])
    values = tf.constant([0.5, -np.inf, 1e38, np.nan, 1.0, 5.0])
    ids, numbers = features({"c": texts, "n": values})
    category, interval, cross = ids.numpy().T
    assert list(category[[0, 1]]) == [0, 1] and 2 <= category[2] < 5 and category[3] == 5
    assert list(interval - 6) == [0, 0, 2, 3, 1, 2]
    assert numbers.numpy().tolist() == [[-0.5, 0], [-1, 0], [1, 0], [0, 1], [0, 0], [1, 0]]
    assert list(cross - 10) == list(category * 4 + interval - 6)
    assert features.ids == 6 + 4 + 24


def test_a_version_serves_json_csv_and_examples_alike_and_is_evaluated(task, data, tmp_path):
    import tensorflow as tf

    folder = tmp_path / "v"
    code, output, errors = task(
        *flags(tmp_path, "--output-dir", folder, "--export-format", "CSV", "--hypertune"),
        CLOUD_ML_JOB_ID="7", CLOUD_ML_HP_METRIC_FILE=str(tmp_path / "metrics"),
        AIP_TENSORBOARD_LOG_DIR=str(tmp_path / "logs"),
    )  # fmt: skip
    assert (code, errors) == (0, "")
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert {line["severity"] for line in lines} == {"INFO"}
    manifest = manifest_of(folder)
    assert manifest["metrics"]["auc"] > 0.82
    assert manifest["arguments"]["columns"] == {
        "age": "number", "job": "category", "city": "category", "gain": "number",
    }  # fmt: skip
    reports = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    assert float(reports[-1]["training/hptuning/metric"]) == pytest.approx(manifest["metrics"]["auc"])
    assert [p for p in (tmp_path / "logs").iterdir() if "tfevents" in p.name]

    signatures = tf.saved_model.load(str(folder / "saved_model")).signatures
    row = {"age": 80.0, "job": "judge", "city": "東京", "gain": 5.0}
    example = tf.train.Example()
    for name, value in row.items():
        feature = example.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        else:
            feature.float_list.value.append(value)
    told = [
        signatures["json"](**{name: tf.constant([value]) for name, value in row.items()}),
        signatures["csv"](csv_row=tf.constant(["80,judge,東京,5"])),
        signatures["example"](example_proto=tf.constant([example.SerializeToString()])),
        signatures["serving_default"](csv_row=tf.constant(["80, judge ,東京,5"])),
    ]
    assert len({float(answer["logistic"][0]) for answer in told}) == 1
    assert told[0]["classes"].numpy()[0] == b"yes"
    assert told[0]["probabilities"].numpy().sum() == pytest.approx(1)

    evaluation = tmp_path / "evaluation.json"
    command = [
        "evaluate",
        "--challenger",
        folder,
        "--test-file",
        tmp_path / "test.csv",
        "--output",
        evaluation,
    ]
    assert task(*command, "--unit", "city")[0] == 0
    measured = json.loads(evaluation.read_text())["metrics"]
    assert measured["log_loss"]["values"][0] == pytest.approx(manifest["metrics"]["log_loss"], rel=1e-4)
    assert measured["auc"]["values"][0] == pytest.approx(manifest["metrics"]["auc"], abs=0.01)

    command = ["predict", "--model-dir", folder, "--input-files", tmp_path / "test.csv"]
    assert task(*command, "--output", tmp_path / "p")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "p").read_text().splitlines()]
    right = np.mean([row["class"] == truth["bought"] for row, truth in zip(rows, TEST, strict=True)])
    assert right == pytest.approx(manifest["metrics"]["accuracy"], abs=0.005)


def test_columns_may_have_any_name_and_numbers_may_be_missing_or_huge(task, tmp_path):
    path = tmp_path / "rows.json"
    random = np.random.default_rng(0)
    rows = [
        {
            "größe (cm)": float(v),
            "größe [cm]": None if v > 0.9 else "x",
            "nothing": None,
            "label": int(v > 0.5),
        }
        for v in random.random(400)
    ]
    for row in rows:
        row["1e308"] = 1e308 if row["label"] else -1e308
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, errors = task(
        "train", "--model", "wide-deep", "--train-files", path, "--output-dir", tmp_path / "v",
        "--num-epochs", 30, "--train-batch-size", 32,
    )  # fmt: skip
    assert (code, errors) == (0, "")
    assert manifest_of(tmp_path / "v")["metrics"]["auc"] > 0.99


def test_numbers_are_predicted_in_their_own_unit(task, data, tmp_path):
    code, _, errors = task(
        *flags(tmp_path, "--label", "age", "--output-dir", tmp_path / "v", "--train-steps", 200)
    )
    assert (code, errors) == (0, "")
    metrics = manifest_of(tmp_path / "v")["metrics"]
    assert metrics["rmse"] < np.std([row["age"] for row in TEST])
    command = ["predict", "--model-dir", tmp_path / "v", "--input-files", tmp_path / "test.csv"]
    assert task(*command, "--output", tmp_path / "p")[0] == 0
    told = [json.loads(line)["prediction"] for line in (tmp_path / "p").read_text().splitlines()]
    error = np.array(told) - [row["age"] for row in TEST]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(metrics["rmse"], rel=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--strategy", "multi-worker"], "this job has one replica"),
        (["--strategy", "parameter-server"], "needs a chief, workers and parameter servers"),
        (["--embedding-size", "0.5"], "'0.5' is not an integer"),
        (["--learning-rate", "1e9"], "the loss is no number; lower --learning-rate"),
    ],
)
def test_what_can_not_be_done_ends_with_code_2_and_one_line(task, data, tmp_path, more, message):
    code, _, errors = task(*flags(tmp_path, "--output-dir", tmp_path / "v", *more))
    assert code == 2 and message in errors and errors.count("\n") == 1
    assert not (tmp_path / "v").exists()


def test_a_checkpoint_that_was_cut_short_counts_as_none(task, data, tmp_path):
    folder = tmp_path / "job" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "training.npz").write_bytes(b"PK\x03\x04 half of a file")
    code, output, _ = task(*flags(tmp_path, "--job-dir", tmp_path / "job", "--train-steps", 5))
    assert code == 0 and "can't be read" in output and "step 5/5" in output


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_goes_on_to_the_same_result(start, task, data, tmp_path, kill):
    def arguments(name):
        return flags(
            tmp_path, "--job-dir", tmp_path / name, "--checkpoint-every", 0, "--num-epochs", 150,
        )  # fmt: skip

    process = start(*arguments("job"))
    for line in process.stdout:
        if line.startswith("step 44/"):
            break
    process.send_signal(kill)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (143 if kill == signal.SIGTERM else -signal.SIGKILL), errors
    assert not (tmp_path / "job" / "manifest.json").exists()
    code, output, _ = task(*arguments("job"))
    assert code == 0 and "going on after step" in output
    assert task(*arguments("whole"))[0] == 0
    one, other = (manifest_of(tmp_path / name)["metrics"]["log_loss"] for name in ("job", "whole"))
    assert one == pytest.approx(other, rel=1e-5)
