"""Which replica this process is, out of which.

``CLUSTER_SPEC`` and ``TF_CONFIG`` as Vertex AI and AI Platform set them:
https://cloud.google.com/vertex-ai/docs/training/distributed-training#cluster-variables
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.errors import InputError

# For each role what Vertex AI's pools and AI Platform's tasks of it are called.
_KEYS = {
    "chief": ("workerpool0", "chief", "master"),
    "worker": ("workerpool1", "worker"),
    "ps": ("workerpool2", "ps"),
    "evaluator": ("workerpool3", "evaluator"),
}


@dataclass(frozen=True)
class Cluster:
    """The replicas that train, and this one among them.

    :param addresses: ``host:port`` of each, the chief's first.
    :param rank: this replica's place in ``addresses``; None if this replica has no part in training (a
        parameter server or evaluator).
    :param trial: of a hyperparameter tuning job, or None.
    :param servers: ``host:port`` of each parameter server.
    :param role: ``chief``, ``worker``, ``ps`` or ``evaluator``.
    :param index: this replica's place among those of its role.
    """

    addresses: tuple[str, ...] = ("localhost:0",)
    rank: int | None = 0
    trial: str | None = None
    servers: tuple[str, ...] = ()
    role: str = "chief"
    index: int = 0

    @property
    def size(self) -> int:
        """How many replicas train."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this replica writes the results."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """This replica, for messages."""
        return f"{self.role} {self.index}" if self.rank is None else self.name_of(self.rank)

    def name_of(self, rank: int) -> str:
        """Return a replica's name with its address, for messages."""
        role = "chief" if rank == 0 else f"worker {rank - 1}"
        return f"{role} ({self.addresses[rank]})"

    def tf_config(self) -> str:
        """Return ``TF_CONFIG`` as ``tf.distribute`` reads it, without the replicas that do not train."""
        assert self.rank is not None
        cluster = {"chief": [self.addresses[0]], "worker": list(self.addresses[1:])}
        task = {"type": "worker", "index": self.rank - 1} if self.rank else {"type": "chief", "index": 0}
        return json.dumps({"cluster": {k: v for k, v in cluster.items() if v}, "task": task})

    def server_spec(self) -> dict[str, list[str]]:
        """Return the cluster as TensorFlow's servers read it, with the parameter servers."""
        spec = {
            "chief": [self.addresses[0]],
            "worker": list(self.addresses[1:]),
            "ps": list(self.servers),
        }
        return {role: addresses for role, addresses in spec.items() if addresses}


def read_cluster(env: Mapping[str, str]) -> Cluster:
    """Read the cluster from the environment; without any, this process is the only replica.

    :raises InputError: a variable is not what Vertex AI sets.
    """
    for variable in ("CLUSTER_SPEC", "TF_CONFIG"):
        if not env.get(variable, "").strip():
            continue
        try:
            spec = json.loads(env[variable])
            if not spec.get("cluster"):
                trial = (spec.get("task") or {}).get("trial")
                if variable == "TF_CONFIG":
                    return Cluster(trial=trial or env.get("CLOUD_ML_TRIAL_ID") or None)
                continue
            return _read(variable, spec, env)
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise InputError(f"{variable} is not a cluster description: {error}") from error
    return Cluster(trial=env.get("CLOUD_ML_TRIAL_ID") or None)


def _read(variable: str, spec: Mapping[str, Any], env: Mapping[str, str]) -> Cluster:
    cluster, task = spec["cluster"], spec.get("task") or {}
    chief, workers, servers = (
        next((cluster[key] for key in _KEYS[role] if cluster.get(key)), [])
        for role in ("chief", "worker", "ps")
    )
    kind, index = str(task.get("type", "chief")), int(task.get("index", 0))
    role = next((role for role, keys in _KEYS.items() if kind in keys), kind)
    if not chief:
        # TensorFlow's own form: the first worker is the chief.
        chief, workers = list(workers[:1]), list(workers[1:])
        if role == "worker":
            role, index = ("chief", 0) if index == 0 else (role, index - 1)
    addresses = (*chief, *workers)
    if len(chief) != 1 or not all(isinstance(a, str) and ":" in a for a in (*addresses, *servers)):
        raise InputError(f"{variable}: expected one chief and addresses as host:port, found {dict(cluster)}")
    rank = 0 if role == "chief" else index + 1 if role == "worker" else None
    missing = not 0 <= rank < len(addresses) if rank is not None else role == "ps" and index >= len(servers)
    if missing:
        raise InputError(f"{variable}: this replica is {kind} {index}, but the cluster has no such replica")
    trial = task.get("trial") or env.get("CLOUD_ML_TRIAL_ID")
    return Cluster(addresses, rank, str(trial) if trial else None, tuple(servers), role, index)
