"""The environment that describes the cluster to its replicas."""

from __future__ import annotations

import json

import pytest

from airflow_ml_provider.emulator.cluster import Job, Replica
from airflow_ml_provider.emulator.cluster.environment import (
    Addresses,
    expand,
    host_name,
    service_environment,
    with_user_environment,
)

SPEC = {"workerPoolSpecs": [{"replicaCount": "1"}]}


def environment(replica, *replicas, env=None):
    job = Job("1234567890123456789", "123456789012", replicas, SPEC, env or {})
    hosts = {r.name: f"{host_name(job, r)}:2222" for r in replicas}
    return hosts, service_environment(job, replica, Addresses(hosts, 3333))


def test_a_single_replica_is_told_as_chief_without_tf_config():
    replica = Replica(0, 0, "image")
    hosts, env = environment(replica, replica)
    assert json.loads(env["CLUSTER_SPEC"]) == {
        "cluster": {"chief": [hosts["workerpool0-0"]]},
        "environment": "cloud",
        "task": {"type": "chief", "index": 0},
        "job": SPEC,
    }
    assert env["CLOUD_ML_JOB_ID"] == "1234567890123456789"
    assert env["CLOUD_ML_PROJECT_ID"] == "123456789012"
    assert not {"TF_CONFIG", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK"} & set(env)


CLUSTER = (
    Replica(0, 0, "i"),
    Replica(1, 0, "i"),
    Replica(1, 1, "i"),
    Replica(2, 0, "i"),
    Replica(3, 0, "i"),
)


def test_every_replica_of_a_cluster_is_told_of_all_pools():
    hosts, env = environment(CLUSTER[2], *CLUSTER)
    assert json.loads(env["CLUSTER_SPEC"]) == {
        "cluster": {
            "workerpool0": [hosts["workerpool0-0"]],
            "workerpool1": [hosts["workerpool1-0"], hosts["workerpool1-1"]],
            "workerpool2": [hosts["workerpool2-0"]],
            "workerpool3": [hosts["workerpool3-0"]],
        },
        "environment": "cloud",
        "task": {"type": "workerpool1", "index": 1},
        "job": SPEC,
        "open_ports": [3333],
    }
    assert json.loads(env["TF_CONFIG"]) == {
        "cluster": {
            "chief": [hosts["workerpool0-0"]],
            "worker": [hosts["workerpool1-0"], hosts["workerpool1-1"]],
            "ps": [hosts["workerpool2-0"]],
        },
        "environment": "cloud",
        "job": SPEC,
        "task": {"type": "worker", "index": 1},
    }
    assert f"{env['MASTER_ADDR']}:{env['MASTER_PORT']}" == hosts["workerpool0-0"]
    assert (env["WORLD_SIZE"], env["RANK"]) == ("5", "2")


def test_an_evaluator_is_a_task_of_tensorflows_but_not_in_its_cluster():
    _, env = environment(CLUSTER[4], *CLUSTER)
    config = json.loads(env["TF_CONFIG"])
    assert config["task"] == {"type": "evaluator", "index": 0}
    assert "evaluator" not in config["cluster"]


def test_a_pool_that_is_skipped_is_not_in_the_cluster():
    _, env = environment(CLUSTER[0], CLUSTER[0], CLUSTER[3])
    assert sorted(json.loads(env["CLUSTER_SPEC"])["cluster"]) == ["workerpool0", "workerpool2"]
    assert sorted(json.loads(env["TF_CONFIG"])["cluster"]) == ["chief", "ps"]


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("$(A)", "one"),
        ("x$(A)y$(A)", "xoneyone"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("a$$b", "a$b"),
    ],
)
def test_references_are_expanded_as_in_kubernetes(value, expanded):
    assert expand(value, {"A": "one"}) == expanded


def test_a_variable_can_refer_to_earlier_ones_and_the_services_only():
    env = with_user_environment({"S": "service"}, [("A", "$(S) $(B)"), ("B", "$(A)"), ("S", "mine")])
    assert env == {"S": "mine", "A": "service $(B)", "B": "service $(B)"}
