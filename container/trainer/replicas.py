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
from collections.abc import Iterator
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
    """

    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self.cluster = cluster
        self.strategy = tf.distribute.get_strategy()
        self._timeout = timeout
        self._doing = ""
        self._deadline: float | None = None
        self._gather = self._sum = lambda value: value
        gpus = tf.config.list_physical_devices("GPU")
        if len(gpus) > 1:
            log.warning(
                f"{len(gpus)} GPUs found, one is used: give each replica one GPU and use more replicas"
            )
            tf.config.set_visible_devices(gpus[:1], "GPU")
        if cluster.size > 1:
            meet(cluster, timeout)
            threading.Thread(target=self._watch, daemon=True).start()
            # TensorFlow holds Python's lock while it connects: only this timer, which is native, can end it.
            faulthandler.dump_traceback_later(timeout, exit=True)
            with self.bounded("starting together"):
                self._connect("AUTO" if gpus else "RING")
            faulthandler.cancel_dump_traceback_later()

    def gather(self, rows: tf.Tensor, what: str) -> tf.Tensor:
        """Return the rows of all replicas, the chief's first.

        :param rows: this replica's, float32; as many as every other replica's.
        :param what: is being done, for messages.
        """
        with self.bounded(what):
            return self._gather(rows)

    def sum(self, values: Any, what: str) -> np.ndarray:
        """Return the sums over all replicas of a vector's entries, float64.

        :param values: this replica's.
        :param what: is being done, for messages.
        """
        with self.bounded(what):
            return np.asarray(self._sum(tf.convert_to_tensor(values, tf.float64)))

    def from_chief(self, values: np.ndarray, what: str) -> np.ndarray:
        """Return the chief's float32 array; the others pass one of the same shape."""
        if self.cluster.size == 1:
            return values
        mine = tf.reshape(tf.convert_to_tensor(values, tf.float32), [1, -1])
        return np.asarray(self.gather(mine, what))[0].reshape(values.shape)

    def _connect(self, implementation: str) -> None:
        os.environ["TF_CONFIG"] = self.cluster.tf_config()
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation[implementation]
        )
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
        self.strategy = strategy
        device = strategy.extended.worker_devices[0]

        # The strategy finds out by the tensor's device where it is, which a traced argument lacks.
        def gather(value: tf.Tensor) -> tf.Tensor:
            with tf.device(device):
                value = tf.identity(value)
            return strategy.gather(value, axis=0)

        def total(value: tf.Tensor) -> tf.Tensor:
            with tf.device(device):
                value = tf.identity(value)
            return strategy.reduce("SUM", value, axis=None)

        self._gather = tf.function(gather, input_signature=[tf.TensorSpec([None, None], tf.float32)])
        self._sum = tf.function(total, input_signature=[tf.TensorSpec([None], tf.float64)])
        self._sum(tf.zeros([1], tf.float64))

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
