"""XGBoost's own collective: a tracker on the chief, which all replicas join.

https://xgboost.readthedocs.io/en/stable/python/python_api.html#module-xgboost.collective
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

from trainer.cluster import Cluster
from trainer.errors import PeerError
from trainer.rendezvous import meet


@contextmanager
def together(cluster: Cluster, timeout: float) -> Iterator[None]:
    """Train inside with all replicas; a single one needs none of it.

    :param cluster: the replicas.
    :param timeout: seconds after which a silent replica is given up.
    :raises PeerError: a replica did not come, or is gone.
    """
    if cluster.size == 1:
        yield
        return
    address = socket.gethostbyname(cluster.addresses[0].rpartition(":")[0].strip("[]"))
    tracker = None
    port = ""
    try:
        if cluster.is_chief:
            # On a port of its own: after a crash the system keeps a tracker's port reserved for a minute.
            tracker = RabitTracker(cluster.size, address, sortby="task", timeout=int(timeout))
            tracker.start()
            port = str(tracker.worker_args()["dmlc_tracker_port"])
        port = meet(cluster, timeout, port)
        with collective.CommunicatorContext(
            dmlc_communicator="rabit",
            dmlc_tracker_uri=address,
            dmlc_tracker_port=int(port),
            dmlc_task_id=f"{cluster.rank:08d}",
            dmlc_timeout=int(timeout),
            dmlc_retry=10,
        ):
            yield
    except xgboost.core.XGBoostError as error:
        lines = (line.strip() for line in str(error).splitlines())
        said = next((line for line in lines if line and not line.startswith(("[bt]", "Stack trace"))), "")
        raise PeerError(f"a replica is gone: {said[:300]}") from error
    if tracker is not None:
        tracker.wait_for(int(timeout))
