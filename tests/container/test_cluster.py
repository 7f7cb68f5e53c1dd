"""Who this replica is, from the variables that Vertex AI and AI Platform set; and meeting the others."""

from __future__ import annotations

import json
import threading

import pytest
from trainer.cluster import Cluster, read_cluster
from trainer.errors import InputError, PeerError
from trainer.rendezvous import meet


def spec(cluster, kind, index=0, **task):
    return json.dumps(
        {"cluster": cluster, "task": {"type": kind, "index": index, **task}, "environment": "cloud"}
    )


POOLS = {"workerpool0": ["a:2222"], "workerpool1": ["b:2222", "c:2222"], "workerpool3": ["e:2222"]}
ROLES = {"chief": ["a:2222"], "worker": ["b:2222", "c:2222"], "ps": ["p:2222"]}


@pytest.mark.parametrize(
    ("variable", "value", "rank"),
    [
        ("CLUSTER_SPEC", spec(POOLS, "workerpool0"), 0),
        ("CLUSTER_SPEC", spec(POOLS, "workerpool1", 1, trial="3"), 2),
        ("CLUSTER_SPEC", spec(POOLS, "workerpool3"), None),
        ("TF_CONFIG", spec(ROLES, "chief"), 0),
        ("TF_CONFIG", spec(ROLES, "worker", 0, cloud="x"), 1),
        ("TF_CONFIG", spec(ROLES, "ps"), None),
        ("TF_CONFIG", spec(ROLES, "evaluator"), None),
        ("TF_CONFIG", spec({"master": ["a:2222"], "worker": ["b:2222", "c:2222"]}, "master"), 0),
        ("TF_CONFIG", spec({"worker": ["a:2222", "b:2222", "c:2222"]}, "worker", 0), 0),
        ("TF_CONFIG", spec({"worker": ["a:2222", "b:2222", "c:2222"]}, "worker", 2), 2),
    ],
)
def test_every_documented_form_is_understood(variable, value, rank):
    cluster = read_cluster({variable: value})
    assert (cluster.addresses, cluster.rank) == (("a:2222", "b:2222", "c:2222"), rank)


def test_a_single_replica_is_the_chief():
    for env in ({}, {"TF_CONFIG": "{}"}, {"CLUSTER_SPEC": spec({"chief": ["a:2222"]}, "chief")}):
        cluster = read_cluster(env)
        assert (cluster.size, cluster.is_chief) == (1, True)


def test_the_trial_is_found():
    assert read_cluster({"CLUSTER_SPEC": spec({"chief": ["a:1"]}, "chief", trial="7")}).trial == "7"
    assert read_cluster({"CLOUD_ML_TRIAL_ID": "8"}).trial == "8"


def test_tensorflow_is_told_only_of_those_who_train():
    told = json.loads(read_cluster({"CLUSTER_SPEC": spec(POOLS, "workerpool1", 1)}).tf_config())
    assert told["cluster"] == {"chief": ["a:2222"], "worker": ["b:2222", "c:2222"]}
    assert told["task"] == {"type": "worker", "index": 1}


@pytest.mark.parametrize(
    "value",
    [
        "no json",
        "[]",
        spec({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 5),
        spec({"chief": ["a:1", "b:1"]}, "chief"),
        spec({"chief": ["no port"]}, "chief"),
    ],
)
def test_what_is_no_cluster_is_refused(value):
    with pytest.raises(InputError, match="TF_CONFIG"):
        read_cluster({"TF_CONFIG": value})


def test_replicas_meet_in_whatever_order_they_come(ports):
    addresses = tuple(f"127.0.0.1:{port}" for port in (*ports, ports[1]))
    met = []

    def come(rank):
        meet(Cluster(addresses, rank), 20)
        met.append(rank)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in (2, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(met) == [0, 1, 2]


@pytest.mark.parametrize(("rank", "missing"), [(0, "worker 0"), (1, "chief")])
def test_a_replica_that_never_comes_is_named(ports, rank, missing):
    cluster = Cluster(tuple(f"127.0.0.1:{port}" for port in ports), rank)
    with pytest.raises(PeerError, match=rf"gave up after 0.5 s: {missing} \(127.0.0.1:\d+\) did not come"):
        meet(cluster, 0.5)
