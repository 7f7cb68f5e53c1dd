"""Which ``tf.distribute`` strategy trains: chosen from the cluster and its devices, or by a flag.

https://www.tensorflow.org/guide/distributed_training
"""

from __future__ import annotations

from trainer.cluster import Cluster
from trainer.errors import InputError

STRATEGIES = ("auto", "one-device", "mirrored", "multi-worker", "parameter-server")


def choose(cluster: Cluster, gpus: int, wanted: str = "auto") -> str:
    """Return the strategy.

    :param cluster: the replicas of the job.
    :param gpus: of this replica.
    :param wanted: one of :data:`STRATEGIES`.
    :raises InputError: the cluster is not one that the wanted strategy can use.
    """
    if wanted == "auto":
        if cluster.servers:
            return "parameter-server"
        if cluster.size > 1:
            return "multi-worker"
        return "mirrored" if gpus > 1 else "one-device"
    if wanted == "parameter-server" and not (cluster.servers and cluster.size > 1):
        raise InputError(
            f"--strategy {wanted}: needs a chief, workers and parameter servers; this job has "
            f"{cluster.size - 1} workers and {len(cluster.servers)} parameter servers"
        )
    if wanted == "multi-worker" and cluster.size == 1:
        raise InputError(f"--strategy {wanted}: this job has one replica; give it workers")
    if wanted in ("one-device", "mirrored") and cluster.size > 1:
        raise InputError(f"--strategy {wanted}: this job has {cluster.size} replicas; use multi-worker")
    return wanted
