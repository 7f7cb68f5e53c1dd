"""Which strategy trains, and that each of them does, with real replicas as local processes."""

from __future__ import annotations

import json
import socket

import pytest
from trainer.cluster import Cluster, read_cluster
from trainer.errors import InputError
from trainer.strategies import choose

from .people import people, write_people

TWO = Cluster(("a:1", "b:1"))
SERVED = Cluster(("a:1", "b:1"), servers=("p:1",))


@pytest.mark.parametrize(
    ("cluster", "gpus", "wanted", "expected"),
    [
        (Cluster(), 0, "auto", "one-device"),
        (Cluster(), 1, "auto", "one-device"),
        (Cluster(), 4, "auto", "mirrored"),
        (Cluster(), 4, "one-device", "one-device"),
        (TWO, 0, "auto", "multi-worker"),
        (SERVED, 0, "auto", "parameter-server"),
        (SERVED, 0, "multi-worker", "multi-worker"),
    ],
)
def test_the_cluster_and_its_devices_choose_unless_a_flag_does(cluster, gpus, wanted, expected):
    assert choose(cluster, gpus, wanted) == expected


@pytest.mark.parametrize(
    ("cluster", "wanted"),
    [(Cluster(), "multi-worker"), (TWO, "parameter-server"), (TWO, "mirrored"), (TWO, "one-device")],
)
def test_a_strategy_that_the_cluster_can_not_have_is_refused(cluster, wanted):
    with pytest.raises(InputError, match=f"--strategy {wanted}"):
        choose(cluster, 0, wanted)


def test_servers_and_evaluators_are_found_in_both_forms():
    pools = {"workerpool0": ["a:1"], "workerpool1": ["b:1"], "workerpool2": ["p:1", "q:1"]}
    roles = {"chief": ["a:1"], "worker": ["b:1"], "ps": ["p:1", "q:1"]}
    for variable, cluster, kinds in (
        ("CLUSTER_SPEC", pools, ("workerpool2", "workerpool3")),
        ("TF_CONFIG", roles, ("ps", "evaluator")),
    ):
        for kind, role in zip(kinds, ("ps", "evaluator"), strict=True):
            task = {"type": kind, "index": 1 if role == "ps" else 0}
            found = read_cluster({variable: json.dumps({"cluster": cluster, "task": task})})
            assert (found.role, found.index, found.rank) == (role, task["index"], None)
            assert found.servers == ("p:1", "q:1")
    assert found.server_spec() == roles


@pytest.fixture
def data(tmp_path):
    write_people(tmp_path / "test.csv", people(2, 600))
    return write_people(tmp_path / "rows.csv", people(1))


def flags(tmp_path, *more):
    files = ["--train-files", tmp_path / "rows.csv", "--eval-files", tmp_path / "test.csv"]
    return ["train", "--model", "wide-deep", *files, "--label", "bought", "--peer-timeout", 120, *more]


def cluster(**roles):
    """Return for each replica its environment; roles say how many there are of each."""
    with_address = {role: count for role, count in roles.items() if role != "evaluator"}
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(sum(with_address.values()))]
    free = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    spec = {role: [free.pop() for _ in range(count)] for role, count in with_address.items()}
    return [
        {"TF_CONFIG": json.dumps({"cluster": spec, "task": {"type": role, "index": index}})}
        for role, count in roles.items()
        for index in range(count)
    ]


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def until(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
def test_two_devices_and_two_workers_give_the_result_of_one(start, task, data, tmp_path):
    more = ["--train-steps", 60]
    everything = [
        start(*flags(tmp_path, *more, "--output-dir", tmp_path / "mirrored", "--strategy", "mirrored"))
    ]
    for env in cluster(chief=1, worker=1):
        everything.append(start(*flags(tmp_path, *more, "--output-dir", tmp_path / "workers"), **env))
    results = [process.communicate(timeout=240) for process in everything]
    assert [process.returncode for process in everything] == [0, 0, 0], results
    assert task(*flags(tmp_path, *more, "--output-dir", tmp_path / "one"))[0] == 0
    one = manifest_of(tmp_path / "one")["metrics"]["log_loss"]
    for name, strategy in (("mirrored", "mirrored"), ("workers", "multi-worker")):
        manifest = manifest_of(tmp_path / name)
        assert manifest["arguments"]["strategy"] == strategy
        assert manifest["metrics"]["log_loss"] == pytest.approx(one, rel=1e-3)


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_job_which_goes_on_when_it_is_started_again(start, data, tmp_path):
    more = ["--job-dir", tmp_path / "job", "--checkpoint-every", 0]
    envs = cluster(chief=1, worker=1)
    chief, worker = (start(*flags(tmp_path, *more, "--train-steps", 20000), **env) for env in envs)
    until(chief, "step 33/")
    worker.kill()
    _, errors = chief.communicate(timeout=120)
    assert chief.returncode == 1 and "worker 0" in errors
    assert not (tmp_path / "job" / "manifest.json").exists()
    chief, worker = (start(*flags(tmp_path, *more, "--train-steps", 20000), **env) for env in envs)
    until(chief, "going on after step")
    chief.kill()
    worker.communicate(timeout=120)
    assert worker.returncode == 1
    assert not (tmp_path / "job" / "manifest.json").exists()


@pytest.mark.slow
def test_parameter_servers_train_while_an_evaluator_watches_and_a_lost_server_costs_little(
    start, data, tmp_path
):
    more = ["--job-dir", tmp_path / "job", "--checkpoint-every", 0, "--train-steps", 400]
    envs = cluster(chief=1, worker=2, ps=1, evaluator=1)
    first = [start(*flags(tmp_path, *more), **env) for env in envs]
    until(first[0], "step 110/")
    first[3].kill()
    _, errors = first[0].communicate(timeout=120)
    assert first[0].returncode == 1 and "a replica is gone" in errors
    for process in first[1:]:
        process.kill()
        process.communicate()
    everything = [start(*flags(tmp_path, *more), **env) for env in envs]
    results = [process.communicate(timeout=240) for process in everything]
    assert [process.returncode for process in everything] == [0] * 5, results
    assert "going on after step" in results[0][0]
    assert "evaluator: step" in results[4][0]
    manifest = manifest_of(tmp_path / "job")
    assert manifest["arguments"]["strategy"] == "parameter-server"
    assert manifest["metrics"]["auc"] > 0.8
