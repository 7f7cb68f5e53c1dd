"""One half of an iteration: solving for every row of one side, on all devices of all replicas."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from trainer.batches import Batch, Side, cut
from trainer.replicas import Replicas

# Batches that a GPU is given before the last one is done.
_AHEAD_ON_GPU = 2

Solver = Callable[[Batch], tuple[tf.Tensor, tf.Tensor]]


def use_cores_for_batches() -> None:
    """Have each operation use one core, since as many batches as there are cores are solved at once.

    TensorFlow takes this only before its first operation; a process that is beyond that stays as it is.
    """
    if not context.context()._initialized:
        tf.config.threading.set_intra_op_parallelism_threads(1)


class HalfStep:
    """The rows of one side, in batches on this replica's devices.

    :param sides: each device's part.
    :param replicas: that share the work.
    """

    def __init__(self, sides: Sequence[Side], replicas: Replicas) -> None:
        self._replicas = replicas
        self._places, self._share = sides[0].places, sides[0].share
        self._batches = []
        for device, side in zip(replicas.devices, sides, strict=True):
            with tf.device(device):
                self._batches.append([_on_device(batch) for batch in side.batches])
        # The longest rows first, so that all are done at about the same time.
        self._order = [
            (device, at)
            for at in range(max(map(len, self._batches)) - 1, -1, -1)
            for device in range(len(self._batches))
            if at < len(self._batches[device])
        ]

    def __call__(self, solvers: Sequence[Solver], width: int, what: str) -> tuple[tf.Tensor, np.ndarray]:
        """Solve for all rows.

        :param solvers: each device's: takes a batch; returns a row for each of its rows, and two sums.
        :param width: of the returned rows.
        :param what: is being done, for messages.
        :returns: the rows of all replicas, in their order; and the sums over this replica's batches.
        """
        solved: list[list[tf.Tensor]] = [[tf.zeros([0, width])] * len(batches) for batches in self._batches]
        sums = np.zeros((len(self._order), 2))

        def solve(job: int) -> None:
            device, at = self._order[job]
            with tf.device(self._replicas.devices[device]):
                solved[device][at], part = solvers[device](self._batches[device][at])
                sums[job] = part.numpy()

        with ThreadPoolExecutor(_workers(self._replicas.devices)) as pool:
            list(pool.map(solve, range(len(self._order))))
        parts = []
        for device, rows in zip(self._replicas.devices, solved, strict=True):
            with tf.device(device):
                mine = tf.concat([*rows, tf.zeros([0, width])], 0)
                parts.append(tf.pad(mine, [[0, self._share - len(mine)], [0, 0]]))
        return tf.gather(self._replicas.gather(parts, what), self._places), sums.sum(0)


def half_steps(
    user: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    shape: tuple[int, int],
    need: Callable[[int], int],
    short: int,
    replicas: Replicas,
) -> tuple[HalfStep, HalfStep]:
    """Return the users' half-step, and the items'.

    :param user: of each observation.
    :param item: of each observation.
    :param value: of each observation.
    :param shape: numbers of users and items.
    :param need: see :func:`trainer.batches.cut`.
    :param short: see :func:`trainer.batches.cut`.
    :param replicas: that share the work.
    """

    def half(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> HalfStep:
        sides = [cut(row, column, value, shape, need, short, rank, replicas.size) for rank in replicas.ranks]
        return HalfStep(sides, replicas)

    return half(user, item, shape), half(item, user, (shape[1], shape[0]))


def _on_device(batch: Batch) -> Batch:
    return Batch(tf.constant(batch.rows), tf.constant(batch.columns), tf.constant(batch.values))


def _workers(devices: Sequence[str]) -> int:
    return len(devices) * _AHEAD_ON_GPU if "GPU" in devices[0] else len(os.sched_getaffinity(0))
