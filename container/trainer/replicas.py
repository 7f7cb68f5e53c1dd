"""What the replicas of a job exchange, through ``tf.distribute``.

Every collective operation is bounded: a peer that never comes, dies or stops ends this process with a message
that names it, instead of leaving the others waiting for ever.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import log
from trainer.cluster import Cluster
from trainer.errors import PeerError
from trainer.rendezvous import meet


class Replicas:
    """The replicas that train together; a single one exchanges nothing.

    :param cluster: who they are.
    :param timeout: seconds after which a peer that does not answer is given up.
    :param devices: of a single replica, each of which takes part like a replica of its own; by default its
        GPUs, or its processor.
    """

    def __init__(self, cluster: Cluster, timeout: float, devices: Sequence[str] = ()) -> None:
        self.cluster = cluster
        self.strategy = tf.distribute.get_strategy()
        self._timeout = timeout
        self._doing = ""
        self._deadline: float | None = None
        self.devices: tuple[str, ...] = ("/device:CPU:0",)
        gpus = tf.config.list_physical_devices("GPU")
        if cluster.size == 1:
            self.devices = tuple(devices or [f"/device:GPU:{n}" for n in range(len(gpus))]) or self.devices
            if len(self.devices) > 1:
                self._use(tf.distribute.MirroredStrategy(self.devices))
        else:
            meet(cluster, timeout)
            threading.Thread(target=self._watch, daemon=True).start()
            # TensorFlow holds Python's lock while it connects: only this timer, which is native, can end it.
            faulthandler.dump_traceback_later(timeout, exit=True)
            with self.bounded("starting together"):
                self._connect("AUTO" if gpus else "RING")
            faulthandler.cancel_dump_traceback_later()

    @property
    def size(self) -> int:
        """How many devices all replicas have."""
        return self.cluster.size * len(self.devices)

    @property
    def ranks(self) -> range:
        """The places of this replica's devices among all."""
        first = (self.cluster.rank or 0) * len(self.devices)
        return range(first, first + len(self.devices))

    def gather(self, rows: Sequence[tf.Tensor], what: str) -> tf.Tensor:
        """Return the rows of all devices of all replicas, the chief's first.

        :param rows: of each of this replica's devices, float32; as many as on every other device.
        :param what: is being done, for messages.
        """
        if self.size == 1:
            return rows[0]
        with self.bounded(what):
            return self._gather(self._distributed(rows))

    def sum(self, values: Any, what: str) -> np.ndarray:
        """Return the sums over all replicas of a vector's entries, float64.

        :param values: this replica's.
        :param what: is being done, for messages.
        """
        mine = tf.convert_to_tensor(values, tf.float64)
        if self.cluster.size == 1:
            return np.asarray(mine)
        nothing = [tf.zeros_like(mine)] * (len(self.devices) - 1)
        with self.bounded(what):
            return np.asarray(self._sum(self._distributed([mine, *nothing])))

    def from_chief(self, values: np.ndarray, what: str) -> np.ndarray:
        """Return the chief's float32 array; the others pass one of the same shape."""
        if self.cluster.size == 1:
            return values
        mine = tf.reshape(tf.convert_to_tensor(values, tf.float32), [1, -1])
        return np.asarray(self.gather([mine] * len(self.devices), what))[0].reshape(values.shape)

    def _connect(self, implementation: str) -> None:
        os.environ["TF_CONFIG"] = self.cluster.tf_config()
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation[implementation]
        )
        self._use(tf.distribute.MultiWorkerMirroredStrategy(communication_options=options))
        self._sum(self._distributed([tf.zeros([1], tf.float64)] * len(self.devices)))

    def _use(self, strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        self.devices = tuple(strategy.extended.worker_devices)
        self._gather = tf.function(lambda values: strategy.gather(values, axis=0), autograph=False)
        self._sum = tf.function(lambda values: strategy.reduce("SUM", values, axis=None), autograph=False)

    def _distributed(self, values: Sequence[tf.Tensor]) -> tf.distribute.DistributedValues:
        """Return one value for each of this replica's devices, as the strategy takes them."""
        return self.strategy.experimental_distribute_values_from_function(
            lambda replica: values[replica.replica_id_in_sync_group - self.ranks[0]]
        )

    @contextmanager
    def bounded(self, what: str) -> Iterator[None]:
        """End this process if what is done inside takes longer than a silent peer is given.

        :param what: is being done, for messages.
        """
        if self.cluster.size == 1:
            yield
            return
        self._doing, self._deadline = what, time.monotonic() + self._timeout
        try:
            yield
        except tf.errors.OpError as error:
            raise PeerError(
                f"{what}: {self._silent()}: {str(error.message).splitlines()[-1][:200]}"
            ) from error
        finally:
            self._deadline = None

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                log.fatal(f"{self._doing}: gave up after {self._timeout:g} s: {self._silent()}")
                os._exit(1)

    def _silent(self) -> str:
        """Say which peers can't be reached."""
        gone = []
        for rank, address in enumerate(self.cluster.addresses):
            if rank == self.cluster.rank:
                continue
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=3).close()
            except OSError as error:
                gone.append(f"{self.cluster.name_of(rank)} can't be reached ({error})")
        return "; ".join(gone) or "a replica does not answer, though all can be reached"
