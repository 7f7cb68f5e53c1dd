"""The environment of a replica, as Vertex AI sets it.

https://cloud.google.com/vertex-ai/docs/training/distributed-training#cluster-variables. What the page does
not say (the single replica's ``chief``, ``open_ports``, PyTorch's variables) is as seen in jobs' logs and in
Google's samples.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_ml_provider.emulator.cluster.replicas import Job, Replica

_TF_ROLES = ("chief", "worker", "ps", "evaluator")
_REFERENCE = re.compile(r"\$(\$|\([^)]*\))")


@dataclass(frozen=True)
class Addresses:
    """Where the replicas of a job listen.

    :param hosts: ``host:port`` by replica name.
    :param open_port: one more port that the code may use.
    """

    hosts: Mapping[str, str]
    open_port: int


def host_name(job: Job, replica: Replica) -> str:
    """Return a replica's host name: ``cmle-training-workerpool0-669872baaf-0``."""
    suffix = hashlib.sha256(job.id.encode()).hexdigest()[:10]
    return f"cmle-training-workerpool{replica.pool}-{suffix}-{replica.index}"


def service_environment(job: Job, replica: Replica, addresses: Addresses) -> dict[str, str]:
    """Return the variables that Vertex AI sets for a replica."""
    env = {
        "CLOUD_ML_JOB_ID": job.id,
        "CLOUD_ML_PROJECT_ID": job.project_number,
        "CLUSTER_SPEC": _json(cluster_spec(job, replica, addresses)),
        **job.env,
    }
    if len(job.replicas) > 1:
        host, _, port = addresses.hosts[job.replicas[0].name].rpartition(":")
        env |= {
            "TF_CONFIG": _json(tf_config(job, replica, addresses)),
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "WORLD_SIZE": str(len(job.replicas)),
            "RANK": str(job.replicas.index(replica)),
        }
    return env


def cluster_spec(job: Job, replica: Replica, addresses: Addresses) -> dict[str, Any]:
    """Return what ``CLUSTER_SPEC`` says; a job of one replica has another form than a cluster."""
    if len(job.replicas) == 1:
        return {
            "cluster": {"chief": [addresses.hosts[replica.name]]},
            "environment": "cloud",
            "task": {"type": "chief", "index": 0},
            "job": job.spec,
        }
    return {
        "cluster": {f"workerpool{pool}": hosts for pool, hosts in _pools(job, addresses).items()},
        "environment": "cloud",
        "task": {"type": f"workerpool{replica.pool}", "index": replica.index},
        "job": job.spec,
        "open_ports": [addresses.open_port],
    }


def tf_config(job: Job, replica: Replica, addresses: Addresses) -> dict[str, Any]:
    """Return what ``TF_CONFIG`` says; an evaluator is a task, but not part of the cluster."""
    return {
        "cluster": {
            _TF_ROLES[pool]: hosts for pool, hosts in sorted(_pools(job, addresses).items()) if pool != 3
        },
        "environment": "cloud",
        "job": job.spec,
        "task": {"type": _TF_ROLES[replica.pool], "index": replica.index},
    }


def expand(value: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does: unknown names stay, ``$$(NAME)`` means ``$(NAME)``."""

    def replace(found: re.Match[str]) -> str:
        text = found.group(1)
        return "$" if text == "$" else env.get(text[1:-1], found.group(0))

    return _REFERENCE.sub(replace, value)


def with_user_environment(env: Mapping[str, str], user: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the environment with the user's variables, each able to refer to those before it."""
    complete = dict(env)
    for name, value in user:
        complete[name] = expand(value, complete)
    return complete


def _pools(job: Job, addresses: Addresses) -> dict[int, list[str]]:
    pools: dict[int, list[str]] = {}
    for replica in job.replicas:
        pools.setdefault(replica.pool, []).append(addresses.hosts[replica.name])
    return pools


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
