"""The training loop: steps over rows in memory, the same under every strategy with synchronous replicas.

Keras' own ``fit`` fails under ``MultiWorkerMirroredStrategy`` (Keras 3, TensorFlow 2.21), and costs more a
step than the step itself for small batches. Here many steps run in one call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

_PREDICTED = 1 << 15


@dataclass(frozen=True)
class Examples:
    """What the network takes, in memory.

    :param ids: int32, one row each.
    :param numbers: float32, one row each.
    :param targets: float32.
    """

    ids: np.ndarray
    numbers: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> Examples:
        """Return some of the rows."""
        return Examples(self.ids[rows], self.numbers[rows], self.targets[rows])


@dataclass(frozen=True)
class Plan:
    """Which rows a step takes.

    :param rows: of the training data.
    :param batch_size: rows of a step, over all replicas.
    :param steps: in all.
    :param seed: of the order.
    """

    rows: int
    batch_size: int
    steps: int
    seed: int

    @property
    def steps_in_epoch(self) -> int:
        """How many steps see every row once; the rows that fill no batch wait for another epoch's order."""
        return max(1, self.rows // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the epoch's order, one row of the result for each step."""
        return _order(self, epoch)


@functools.lru_cache(maxsize=1)
def _order(plan: Plan, epoch: int) -> np.ndarray:
    order = np.random.default_rng([plan.seed, 3, epoch]).permutation(plan.rows).astype(np.int32)
    if plan.rows < plan.batch_size:
        order = np.resize(order, plan.batch_size)
    return order[: plan.steps_in_epoch * plan.batch_size].reshape(-1, plan.batch_size)


def losses(task: str) -> keras.losses.Loss:
    """Return a loss that gives one value a row."""
    if task == "binary":
        return keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)
    return keras.losses.MeanSquaredError(reduction=None)


def optimizer(learning_rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer: Adam, whose rate falls to zero at the last step."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))


class Synchronous:
    """Trains on all replicas of a strategy, each with its part of each batch.

    :param strategy: one device, mirrored or multi-worker.
    :param build: makes the network.
    :param task: ``binary`` or ``regression``.
    :param learning_rate: at the start.
    :param plan: of the steps.
    :param examples: the training data.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        build: Callable[[], keras.Model],
        task: str,
        learning_rate: float,
        plan: Plan,
        examples: Examples,
    ) -> None:
        self._strategy, self._plan = strategy, plan
        with strategy.scope():
            self.model = build()
            self._optimizer = optimizer(learning_rate, plan.steps)
            self._optimizer.build(self.model.trainable_variables)
        self._loss = losses(task)
        with tf.device("CPU:0"):
            self._data = [tf.constant(a) for a in (examples.ids, examples.numbers, examples.targets)]
        self._run = tf.function(self._steps, reduce_retracing=True)

    def run(self, first: int, count: int) -> float:
        """Do some steps of one epoch; return the mean loss.

        :param first: the number of the first one, counted from 0.
        :param count: how many.
        """
        epoch, at = divmod(first, self._plan.steps_in_epoch)
        with tf.device("CPU:0"):
            rows = tf.constant(self._plan.order(epoch)[at : at + count])
        return float(self._run(rows)) / count

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that training goes on from."""
        return variables_of(self.model, self._optimizer)

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` gave."""
        assign(self.model, self._optimizer, state)

    def _steps(self, rows: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for step in tf.range(tf.shape(rows)[0]):
            loss = self._strategy.run(self._step, args=(rows[step],))
            total += self._strategy.reduce("SUM", loss, axis=None)
        return total

    def _step(self, rows: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context()
        with tf.device("CPU:0"):
            mine = rows[replica.replica_id_in_sync_group :: replica.num_replicas_in_sync]
            ids, numbers, targets = (tf.gather(data, mine) for data in self._data)
        return apply_gradients(
            self.model, self._optimizer, self._loss, (ids, numbers, targets), self._plan.batch_size
        )


def apply_gradients(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss,
    batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    batch_size: int,
) -> tf.Tensor:
    """Do one step on a replica's part of a batch; return its part of the batch's mean loss."""
    ids, numbers, targets = batch
    with tf.GradientTape() as tape:
        outputs = model([ids, numbers], training=True)
        part = tf.reduce_sum(loss(targets[:, None], outputs)) / batch_size
    gradients = tape.gradient(part, model.trainable_variables)
    dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
    optimizer.apply(dense, model.trainable_variables)
    return part


def predictor(model: keras.Model) -> Callable[[Examples], np.ndarray]:
    """Return a function that gives a network's output for some rows, float64."""
    call = tf.function(lambda ids, numbers: model([ids, numbers], training=False), reduce_retracing=True)

    def predict(examples: Examples) -> np.ndarray:
        parts = []
        for start in range(0, len(examples), _PREDICTED):
            part = slice(start, start + _PREDICTED)
            outputs = call(tf.constant(examples.ids[part]), tf.constant(examples.numbers[part]))
            parts.append(outputs.numpy()[:, 0])
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)

    return predict


def variables_of(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, np.ndarray]:
    """Return the values of all variables of a model and its optimizer, by their place."""
    everything = [*model.variables, *optimizer.variables]
    return {f"variable_{at}": np.asarray(v.value.read_value()) for at, v in enumerate(everything)}


def assign(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, state: Mapping[str, np.ndarray]
) -> None:
    """Set all variables to what :func:`variables_of` gave."""
    for at, variable in enumerate([*model.variables, *optimizer.variables]):
        variable.assign(state[f"variable_{at}"])
