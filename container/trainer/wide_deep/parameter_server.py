"""Training with parameter servers: a coordinator hands steps to workers, the variables live on servers.

The chief reads the rows and sends each worker its batches with the steps; workers hold no state of their own,
so that one that is lost costs the steps it was at, which the coordinator gives to another.
https://www.tensorflow.org/tutorials/distribute/parameter_server_training
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import log, version
from trainer.cluster import Cluster
from trainer.errors import PeerError
from trainer.wide_deep.training import (
    Examples,
    Plan,
    apply_gradients,
    assign,
    losses,
    optimizer,
    variables_of,
)

# Steps that a worker is handed at a time.
_HANDED = 10
_LOOK = 2.0
_GONE = 5


def serve(cluster: Cluster, output: str, timeout: float) -> None:
    """Be a worker or parameter server until the chief has completed the version.

    :param cluster: the replicas.
    :param output: folder of the version.
    :param timeout: seconds to wait for the chief.
    :raises PeerError: the chief did not come, or left before the version was complete.
    """
    log.info(f"{cluster.name} serves")
    tf.distribute.Server(
        tf.train.ClusterSpec(cluster.server_spec()), cluster.role, cluster.index, protocol="grpc", start=True
    )
    seen, missed, began = False, 0, time.monotonic()
    while True:
        time.sleep(_LOOK)
        if _reached(cluster.addresses[0]):
            seen, missed = True, 0
            continue
        missed += 1
        late = not seen and time.monotonic() - began > timeout
        if late or (seen and missed >= _GONE):
            if version.read_manifest(output) is not None:
                log.info("the version is complete")
                return
            what = "left before the version was complete" if seen else f"did not come within {timeout:g} s"
            raise PeerError(f"{cluster.name_of(0)} {what}")


def connect(cluster: Cluster, timeout: float) -> tf.distribute.ParameterServerStrategy:
    """Connect the chief with its workers and servers.

    :param cluster: the replicas.
    :param timeout: seconds to wait for them.
    :raises PeerError: one did not come.
    """
    deadline = time.monotonic() + timeout
    others = {f"worker {at} ({a})": a for at, a in enumerate(cluster.addresses[1:])}
    others |= {f"ps {at} ({a})": a for at, a in enumerate(cluster.servers)}
    for name, address in others.items():
        while not _reached(address):
            if time.monotonic() > deadline:
                raise PeerError(f"gave up after {timeout:g} s: {name} did not come")
            time.sleep(0.2)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.server_spec()), task_type="chief", task_id=0, rpc_layer="grpc"
    )
    with _bounded("connecting with workers and parameter servers", timeout):
        return tf.distribute.ParameterServerStrategy(resolver)


class Coordinated:
    """Trains through a coordinator; steps run asynchronously on whichever worker is free.

    :param strategy: of :func:`connect`.
    :param cluster: the replicas.
    :param timeout: seconds after which steps that do not end are given up.
    :param build: makes the network.
    :param task: ``binary`` or ``regression``.
    :param learning_rate: at the start.
    :param plan: of the steps.
    :param examples: the training data.
    """

    def __init__(
        self,
        strategy: tf.distribute.ParameterServerStrategy,
        cluster: Cluster,
        timeout: float,
        build: Callable[[], keras.Model],
        task: str,
        learning_rate: float,
        plan: Plan,
        examples: Examples,
    ) -> None:
        self._plan, self._examples, self._timeout = plan, examples, timeout
        with strategy.scope():
            self.model = build()
            self._optimizer = optimizer(learning_rate, plan.steps)
            self._optimizer.build(self.model.trainable_variables)
        self._loss = losses(task)
        self._strategy = strategy
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        self._run = tf.function(self._steps, reduce_retracing=True)

    def run(self, first: int, count: int) -> float:
        """Do some steps of one epoch; return the mean loss.

        :raises PeerError: a parameter server is gone, or no worker is left.
        """
        epoch, at = divmod(first, self._plan.steps_in_epoch)
        order = self._plan.order(epoch)[at : at + count]
        with _bounded(f"steps {first + 1} to {first + count}", self._timeout):
            try:
                results = []
                for start in range(0, count, _HANDED):
                    rows = order[start : start + _HANDED]
                    batch = (
                        self._examples.ids[rows],
                        self._examples.numbers[rows],
                        self._examples.targets[rows],
                    )
                    results.append(self._coordinator.schedule(self._run, args=tuple(map(tf.constant, batch))))
                self._coordinator.join()
                return float(sum(result.fetch() for result in results)) / count
            except tf.errors.OpError as error:
                reason = str(error.message).splitlines()[0][:200] if error.message else repr(error)
                raise PeerError(
                    f"steps {first + 1} to {first + count}: a replica is gone: {reason}"
                ) from error

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that training goes on from."""
        return variables_of(self.model, self._optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` gave."""
        assign(self.model, self._optimizer, state)

    def _steps(self, ids: tf.Tensor, numbers: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for step in tf.range(tf.shape(ids)[0]):
            total += self._strategy.run(self._step, args=(ids[step], numbers[step], targets[step]))
        return total

    def _step(self, ids: tf.Tensor, numbers: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return apply_gradients(
            self.model, self._optimizer, self._loss, (ids, numbers, targets), self._plan.batch_size
        )


def _reached(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return False
    return True


@contextmanager
def _bounded(what: str, timeout: float) -> Iterator[None]:
    def give_up() -> None:
        log.fatal(f"{what}: gave up after {timeout:g} s: no worker answers")
        os._exit(1)

    timer: Any = threading.Timer(timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
