"""Weighted alternating least squares, the objective of AI Platform's recommender sample.

With ``x`` a user's and ``y`` an item's factors, ``c_j`` an item's weight and ``w0`` the weight of what was
not observed, it minimises::

    Σ_observed (w0 + c_j)(r - x·y)² + w0 Σ_unobserved (x·y)² + regularization (|X|² + |Y|²)

by solving for all users with the items fixed, then the other way round. The sum over everything that was not
observed costs nothing: ``w0 Σ_all y yᵀ`` is one matrix for all users.
https://ieeexplore.ieee.org/document/4781121 (Hu, Koren, Volinsky 2008)
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from trainer.batches import Side
from trainer.replicas import Replicas

_MATRIX = tf.TensorSpec([None, None], tf.float32)
_VECTOR = tf.TensorSpec([None], tf.float32)
_SCALAR = tf.TensorSpec([], tf.float32)
_COLUMNS = tf.TensorSpec([None, None], tf.int32)


def item_weights(items: np.ndarray, count: int, arguments: dict[str, object]) -> np.ndarray:
    """Return the weight of each item's observations.

    :param items: the item of each observation.
    :param count: how many items there are.
    :param arguments: ``wt_type``: ``linear`` for feature_wt_factor / n, ``log`` for (1 / n) ^ feature_wt_exp,
        n being the item's number of observations.
    """
    n = np.bincount(items, minlength=count).astype(np.float64)
    share = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
    if arguments["wt_type"] == "log":
        weights = np.power(share, arguments["feature_wt_exp"], out=np.zeros_like(n), where=n > 0)
    else:
        weights = share * arguments["feature_wt_factor"]
    return weights.astype(np.float32)


class Wals:
    """The factors, and one iteration after the other.

    :param users: this replica's part of the users' half-step.
    :param items: this replica's part of the items' half-step.
    :param weights: of each item's observations.
    :param w0: weight of what was not observed.
    :param regularization: see the module.
    :param replicas: that share the work.
    :param factors: the items' first factors, one row for each item.
    """

    def __init__(
        self,
        users: Side,
        items: Side,
        weights: np.ndarray,
        w0: float,
        regularization: float,
        replicas: Replicas,
        factors: np.ndarray,
    ) -> None:
        self._sides = (users, items)
        self._weights = (tf.ones([len(users.places)]), tf.constant(weights))
        self._w0, self._regularization = tf.constant(w0, tf.float32), tf.constant(regularization, tf.float32)
        self._replicas = replicas
        self._x = tf.zeros([len(users.places), factors.shape[1]])
        self._y = tf.constant(factors, tf.float32)

    def iterate(self, what: str) -> dict[str, float]:
        """Solve for the users, then for the items; return the objective's value and the squared error.

        :param what: is being done, for messages.
        """
        self._x, _ = self._solve(0, self._y, what)
        self._y, statistics = self._solve(1, self._x, what)
        squared_error, observed = self._replicas.sum(statistics, what)
        w0, regularization = float(self._w0), float(self._regularization)
        x, y = (np.asarray(factors, np.float64) for factors in (self._x, self._y))
        everything = w0 * float(((x.T @ x) * (y.T @ y)).sum()) + regularization * float(
            (x**2).sum() + (y**2).sum()
        )
        return {"loss": float(observed) + everything, "squared_error": float(squared_error)}

    def state(self) -> dict[str, np.ndarray]:
        """Return what makes an interrupted training go on as if nothing had happened."""
        return {"x": np.asarray(self._x), "y": np.asarray(self._y)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` returned."""
        self._x, self._y = tf.constant(state["x"]), tf.constant(state["y"])

    def _solve(self, which: int, factors: tf.Tensor, what: str) -> tuple[tf.Tensor, tf.Tensor]:
        side, own, other = self._sides[which], self._weights[which], self._weights[1 - which]
        table = tf.concat([tf.concat([factors, other[:, None]], 1), tf.zeros([1, factors.shape[1] + 1])], 0)
        everywhere = self._w0 * tf.matmul(factors, factors, transpose_a=True)
        everywhere += self._regularization * tf.eye(factors.shape[1])
        solved, statistics = [tf.zeros([0, factors.shape[1]])], tf.zeros([2], tf.float64)
        for batch in side.batches:
            rows, sums = _SOLVERS[which](
                table, everywhere, self._w0, tf.gather(own, batch.rows), batch.columns, batch.values
            )
            solved.append(rows)
            statistics += sums
        mine = tf.concat(solved, 0)
        mine = tf.pad(mine, [[0, side.share - len(mine)], [0, 0]])
        return tf.gather(self._replicas.gather(mine, what), side.places), statistics


def _solve_batch(
    table: tf.Tensor,
    everywhere: tf.Tensor,
    w0: tf.Tensor,
    own: tf.Tensor,
    columns: tf.Tensor,
    values: tf.Tensor,
    measured: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    entries = tf.gather(table, columns)
    y, weights = entries[:, :, :-1], entries[:, :, -1] * own[:, None]
    left = everywhere[None] + tf.matmul(y, y * weights[:, :, None], transpose_a=True)
    right = tf.matmul(y, (values * (w0 + weights))[:, :, None], transpose_a=True)
    x = tf.linalg.cholesky_solve(tf.linalg.cholesky(left), right)
    if not measured:
        return x[:, :, 0], tf.zeros([2], tf.float64)
    predicted = tf.matmul(y, x)[:, :, 0]
    squared = tf.square(values - predicted)
    observed = (w0 + weights) * squared - w0 * tf.square(predicted)
    sums = [tf.reduce_sum(tf.cast(part, tf.float64)) for part in (squared, observed)]
    return x[:, :, 0], tf.stack(sums)


# The users' half-step, and the items', after which it is measured how far the iteration has come.
_SOLVERS = tuple(
    tf.function(
        functools.partial(_solve_batch, measured=measured),
        input_signature=[_MATRIX, _MATRIX, _SCALAR, _VECTOR, _COLUMNS, _MATRIX],
        autograph=False,
    )
    for measured in (False, True)
)
