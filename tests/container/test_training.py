"""Training from files to a finished version, through the command line."""

from __future__ import annotations

import hashlib
import json
import signal

import pytest

from .movies import movies, write_csv, write_u_data

SMALL = movies(5, users=100, items=80, ratings=3000)


@pytest.fixture
def data(tmp_path):
    return write_csv(tmp_path / "ratings.csv", SMALL)


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def cluster(ports, *, vertex=True):
    addresses = [f"127.0.0.1:{port}" for port in ports]
    if vertex:
        pools = {"workerpool0": addresses[:1], "workerpool1": addresses[1:]}
        kinds, variable = ("workerpool0", "workerpool1"), "CLUSTER_SPEC"
    else:
        pools = {"chief": addresses[:1], "worker": addresses[1:]}
        kinds, variable = ("chief", "worker"), "TF_CONFIG"
    return [{variable: json.dumps({"cluster": pools, "task": {"type": kind, "index": 0}})} for kind in kinds]


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def test_a_version_says_what_it_is_and_what_it_came_from(task, data, tmp_path):
    code, output, errors = task(
        "train", "--train-file", data, "--output-dir", tmp_path / "v", "--seed", 3, CLOUD_ML_JOB_ID="42",
        TRAINING_IMAGE_URI="eu/image:1",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    manifest = manifest_of(tmp_path / "v")
    for file in manifest["files"]:
        content = (tmp_path / "v" / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])
    written = {p.relative_to(tmp_path / "v").as_posix() for p in (tmp_path / "v").rglob("*") if p.is_file()}
    assert written == {"manifest.json", *(file["path"] for file in manifest["files"])}
    assert (manifest["schema"], manifest["model"], manifest["seed"]) == (1, "wals", 3)
    assert (manifest["image"], manifest["job"]) == ("eu/image:1", "42")
    assert manifest["data"]["rows"] == len(SMALL[0]) and manifest["data"]["users"] == 100
    assert manifest["data"]["files"] == [
        {"uri": str(data), "size": data.stat().st_size, "generation": None, "crc32c": None}
    ]
    assert manifest["arguments"]["latent_factors"] == 16 and manifest["arguments"]["bias"] is True
    assert 0 < manifest["metrics"]["rmse"] < 2
    lines = [json.loads(line) for line in output.splitlines()]
    assert {line["severity"] for line in lines} == {"INFO"}
    assert [line["iteration"] for line in lines if "iteration" in line] == list(range(1, 21))


def test_u_data_and_the_samples_flags_train_the_samples_model(task, tmp_path):
    data = write_u_data(tmp_path / "u.data", SMALL)
    code, output, _ = task(
        "--train-files", data, "--job-dir", tmp_path / "job", "--data-type", "ratings",
        "--latent_factors", "5.0", "--num_iters=4", "--no-bias",
    )  # fmt: skip
    assert code == 0
    assert "iteration 4/4: loss" in output and "test RMSE" in output
    assert manifest_of(tmp_path / "job")["arguments"]["regularization"] == 0.07


def test_page_views_train_with_log_weights(task, tmp_path):
    path = tmp_path / "views.csv"
    path.write_text(
        "clientId,contentId,timeOnPage\n"
        + "".join(f"{u},{i},{r * 1000:g}\n" for u, i, r in zip(*SMALL, strict=True))
    )
    assert task("--train-file", path, "--data-type", "web_views", "--output-dir", tmp_path / "v")[0] == 0
    arguments = manifest_of(tmp_path / "v")["arguments"]
    assert (arguments["wt_type"], arguments["bias"]) == ("log", False)


def test_a_complete_version_is_never_changed(task, data, tmp_path):
    arguments = ["--train-file", data, "--output-dir", tmp_path / "v", "--num-iters", 1]
    assert task(*arguments, CLOUD_ML_JOB_ID="1")[0] == 0
    before = {p: p.read_bytes() for p in (tmp_path / "v").rglob("*") if p.is_file()}
    code, _, errors = task(*arguments, CLOUD_ML_JOB_ID="2")
    assert code == 2 and "holds a complete version already" in errors and "job 1" in errors
    assert {p: p.read_bytes() for p in (tmp_path / "v").rglob("*") if p.is_file()} == before


def test_the_job_that_completed_a_version_is_done_when_started_again(task, data, tmp_path):
    arguments = ["--train-file", data, "--output-dir", tmp_path / "v", "--num-iters", 1]
    assert task(*arguments, CLOUD_ML_JOB_ID="1")[0] == 0
    created = manifest_of(tmp_path / "v")["created"]
    assert task(*arguments, CLOUD_ML_JOB_ID="1")[0] == 0
    assert manifest_of(tmp_path / "v")["created"] == created


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty (0 bytes)"),
        ("userId,itemId,rating\n", "no rows"),
        ("userId,item,stars\n1,2,3\n", "column rating is missing"),
        ("userId,itemId,rating\n1,2,abc\n", "ratings.csv:2: rating 'abc' is not a number"),
    ],
)
def test_bad_data_ends_with_code_2_and_one_line_and_writes_nothing(task, data, tmp_path, text, message):
    data.write_text(text)
    code, _, errors = task(
        "--train-file", data, "--data-type", "user_ratings", "--output-dir", tmp_path / "v"
    )
    assert code == 2 and message in errors and errors.count("\n") == 1 and errors.startswith("error: ")
    assert not (tmp_path / "v").exists()


def test_a_rank_that_the_data_does_not_allow_is_refused_and_the_default_is_lowered(task, tmp_path):
    data = write_csv(tmp_path / "tiny.csv", ([0, 0, 1, 2], [0, 1, 1, 2], [1, 2, 3, 4]))
    code, _, errors = task("--train-file", data, "--output-dir", tmp_path / "v", "--latent-factors", 4)
    assert code == 2 and "--latent-factors 4: 3 users, 3 items: at most 3" in errors
    assert task("--train-file", data, "--output-dir", tmp_path / "v")[0] == 0
    assert manifest_of(tmp_path / "v")["arguments"]["latent_factors"] == 3
    assert manifest_of(tmp_path / "v")["metrics"].keys() == {"training_rmse"}


def test_a_test_file_is_what_is_measured_with(task, data, tmp_path):
    test = write_csv(tmp_path / "test.csv", ([0, 1, 999], [0, 1, 2], [3, 3, 3]))
    code, output, _ = task("--train-file", data, "--test-file", test, "--output-dir", tmp_path / "v")
    assert code == 0 and "(3 ratings)" in output
    assert manifest_of(tmp_path / "v")["arguments"]["test_files"] == [str(test)]


def test_tuning_gets_its_metric_and_each_trial_its_folder(task, data, tmp_path):
    metrics = tmp_path / "tuning" / "output.metrics"
    code, _, _ = task(
        "--train-file", data, "--job-dir", tmp_path / "job", "--hypertune", "--num_iters", "3.0",
        CLOUD_ML_HP_METRIC_FILE=str(metrics), CLOUD_ML_HP_METRIC_TAG="rmse", CLOUD_ML_TRIAL_ID="7",
    )  # fmt: skip
    assert code == 0
    reports = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [report["global_step"] for report in reports] == ["1", "2", "3", "3"]
    assert all(set(report) == {"timestamp", "trial", "rmse", "global_step"} for report in reports)
    measured = manifest_of(tmp_path / "job" / "7")["metrics"]["rmse"]
    assert float(reports[-1]["rmse"]) == pytest.approx(measured) and reports[-1]["trial"] == "7"


def test_tensorboard_gets_events_where_vertex_ai_says(task, data, tmp_path):
    arguments = ["--train-file", data, "--output-dir", tmp_path / "v", "--num-iters", 1]
    assert task(*arguments, AIP_TENSORBOARD_LOG_DIR=str(tmp_path / "logs"))[0] == 0
    assert [p.name for p in (tmp_path / "logs").iterdir() if "tfevents" in p.name]


def test_an_interrupted_training_goes_on_to_the_same_result(start, data, tmp_path):
    def arguments(name):
        return [
            "--train-file",
            data,
            "--job-dir",
            tmp_path / name,
            "--num-iters",
            1500,
            "--latent-factors",
            40,
        ]

    process = start(*arguments("job"))
    for line in process.stdout:
        if line.startswith("iteration 5/"):
            break
    process.send_signal(signal.SIGTERM)
    code, _, errors = finish(process)
    assert code == 143 and "SIGTERM: leaving; " in errors and "is kept in" in errors
    assert not (tmp_path / "job" / "manifest.json").exists()
    code, output, _ = finish(start(*arguments("job")))
    assert code == 0 and "going on after iteration" in output
    assert finish(start(*arguments("whole")))[0] == 0
    files = [manifest_of(tmp_path / name)["files"] for name in ("job", "whole")]
    variables = [{f["path"]: f["sha256"] for f in entries if "variables" in f["path"]} for entries in files]
    assert variables[0] == variables[1]


@pytest.mark.parametrize("mode", ["--bias", "--no-bias"])
def test_two_replicas_give_the_result_of_one(start, task, data, tmp_path, ports, mode):
    arguments = ["--train-file", data, mode, "--num-iters", 8]
    chief, worker = (
        start(*arguments, "--output-dir", tmp_path / "two", "--job-dir", tmp_path / "job", **env)
        for env in cluster(ports, vertex=mode == "--bias")
    )
    results = [finish(chief), finish(worker)]
    assert [code for code, _, _ in results] == [0, 0], results
    assert task(*arguments, "--output-dir", tmp_path / "one")[0] == 0
    one, two = manifest_of(tmp_path / "one"), manifest_of(tmp_path / "two")
    assert one["metrics"] == pytest.approx(two["metrics"], rel=1e-3, abs=0.01)
    assert one["metrics"].keys() == {"training_rmse", "rmse", "ndcg_at_10", "recall_at_10", "map"}
    assert two["arguments"]["replicas"] == 2
    assert "iteration" not in results[1][1]


def test_replicas_do_not_wait_for_one_that_dies(start, data, tmp_path, ports):
    arguments = ["--train-file", data, "--output-dir", tmp_path / "v", "--num-iters", 1000000]
    chief, worker = (start(*arguments, **env) for env in cluster(ports))
    for line in chief.stdout:
        if line.startswith("iteration 3/"):
            break
    worker.kill()
    code, _, errors = finish(chief)
    assert code == 1 and f"worker 0 (127.0.0.1:{ports[1]}) can't be reached" in errors
    assert not (tmp_path / "v").exists()


def test_a_chief_whose_worker_never_comes_gives_up(start, data, tmp_path, ports):
    chief = start(
        "--train-file", data, "--output-dir", tmp_path / "v", "--peer-timeout", 1, **cluster(ports)[0]
    )
    code, _, errors = finish(chief)
    assert code == 1 and f"worker 0 (127.0.0.1:{ports[1]}) did not come" in errors


def test_replicas_without_a_part_end_at_once(task, data, tmp_path):
    config = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "evaluator", "index": 0}}
    code, output, _ = task("--train-file", data, "--output-dir", tmp_path / "v", TF_CONFIG=json.dumps(config))
    assert code == 0 and "no part in training" in output
