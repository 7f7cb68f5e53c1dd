"""Weighted alternating least squares, the objective of AI Platform's recommender sample.

With ``x`` a user's and ``y`` an item's factors, ``c_j`` an item's weight and ``w0`` the weight of what was
not observed, it minimises::

    Σ_observed (w0 + c_j)(r - x·y)² + w0 Σ_unobserved (x·y)² + regularization (|X|² + |Y|²)

by solving for all users with the items fixed, then the other way round, exactly. The sum over everything that
was not observed costs nothing: ``E = w0 Σ_all y yᵀ + regularization`` is one matrix for all users.
https://ieeexplore.ieee.org/document/4781121 (Hu, Koren, Volinsky 2008)

A row's equations are ``(E + ZᵀZ) x = Zᵀs``, where each of its observations is a row ``√c_j y_j`` of ``Z``
and an entry ``s_j = r (w0 + c_j) / √c_j`` of ``s``. Where there are fewer observations than factors, the
system of their number is smaller: ``x = E⁻¹Zᵀ (1 + Z E⁻¹ Zᵀ)⁻¹ s``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.batches import STEP, Batch
from trainer.halfstep import Solver, half_steps
from trainer.normal import solve
from trainer.recommender import FoldIn
from trainer.replicas import Replicas

# A weight of nothing would have to be divided by; this is as good as nothing.
_LEAST_WEIGHT = 1e-30


def item_weights(items: np.ndarray, count: int, arguments: dict[str, object]) -> np.ndarray:
    """Return the weight of each item's observations.

    :param items: the item of each observation.
    :param count: how many items there are.
    :param arguments: ``wt_type``: ``linear`` for feature_wt_factor / n, ``log`` for (1 / n) ^ feature_wt_exp,
        n being the item's number of observations; ``none`` for 1.
    """
    if arguments["wt_type"] == "none":
        return np.ones(count, np.float32)
    n = np.bincount(items, minlength=count).astype(np.float64)
    share = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
    if arguments["wt_type"] == "log":
        weights = np.power(share, arguments["feature_wt_exp"], out=np.zeros_like(n), where=n > 0)
    else:
        weights = share * arguments["feature_wt_factor"]
    return weights.astype(np.float32)


class Wals:
    """The factors, and one iteration after the other.

    :param user: of each observation.
    :param item: of each observation.
    :param rating: of each observation.
    :param shape: numbers of users and items.
    :param weights: of each item's observations.
    :param w0: weight of what was not observed.
    :param regularization: see the module.
    :param replicas: that share the work.
    :param factors: the items' first factors, one row for each item.
    """

    def __init__(
        self,
        user: np.ndarray,
        item: np.ndarray,
        rating: np.ndarray,
        shape: tuple[int, int],
        weights: np.ndarray,
        w0: float,
        regularization: float,
        replicas: Replicas,
        factors: np.ndarray,
    ) -> None:
        rank = factors.shape[1]
        # Without regularisation E may have no inverse.
        self._short = rank // STEP * STEP if regularization > 0 else 0

        def need(places: int) -> int:
            return rank * (places if places <= self._short else max(places, rank))

        weights = np.maximum(weights, _LEAST_WEIGHT).astype(np.float32)
        values = rating * ((w0 + weights) / np.sqrt(weights)).astype(np.float32)[item]
        self._sides = half_steps(user, item, values, shape, need, self._short, replicas)
        self._weights = weights
        self._w0, self._regularization = w0, regularization
        self._replicas = replicas
        self._x = tf.zeros([shape[0], rank])
        self._y = tf.constant(factors, tf.float32)

    def iterate(self, what: str) -> dict[str, float]:
        """Solve for the users, then for the items; return the objective's value and the squared error.

        :param what: is being done, for messages.
        """
        self._x, _ = self._solve(0, self._y, what)
        self._y, sums = self._solve(1, self._x, what)
        squared_error, observed = self._replicas.sum(sums, what)
        loss = observed + self._regularization * float(np.square(self._x, dtype=np.float64).sum())
        return {"loss": float(loss), "squared_error": float(squared_error)}

    def fold_in(self) -> FoldIn:
        """Return the equations of one more user."""
        y = np.asarray(self._y, np.float64)
        rank = y.shape[1]
        precision = np.eye(rank + 1) * 1e30
        # Without regularisation a user with few ratings has no single solution, but is to get an answer.
        precision[:rank, :rank] = self._w0 * (y.T @ y) + (self._regularization or 1e-6) * np.eye(rank)
        variance = np.zeros((len(y), rank + 1), np.float32)
        return FoldIn(precision, np.zeros(rank + 1), self._weights, self._weights + self._w0, variance)

    def state(self) -> dict[str, np.ndarray]:
        """Return what makes an interrupted training go on as if nothing had happened."""
        return {"x": np.asarray(self._x), "y": np.asarray(self._y)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` returned."""
        self._x, self._y = tf.constant(state["x"]), tf.constant(state["y"])

    def _solve(self, which: int, factors: tf.Tensor, what: str) -> tuple[tf.Tensor, np.ndarray]:
        rank = factors.shape[1]
        everywhere = self._w0 * tf.matmul(factors, factors, transpose_a=True).numpy().astype(np.float64)
        everywhere += self._regularization * np.eye(rank)
        inverse = np.eye(rank)
        if self._short:
            inverse = np.linalg.inv(np.linalg.cholesky(everywhere))
        root = np.sqrt(self._weights)
        solvers = []
        for device in self._replicas.devices:
            with tf.device(device):
                table = factors if which else factors * root[:, None]
                table = tf.concat([table, tf.zeros([1, rank])], 0)
                inverse_ = tf.constant(inverse, tf.float32)
                changed = tf.matmul(table, inverse_, transpose_b=True) if self._short else table
                constants = (tf.constant(everywhere, tf.float32), inverse_, tf.constant(self._w0, tf.float32))
                own = tf.constant(self._weights if which else np.ones(len(self._weights), np.float32))
                solvers.append(self._solver(which, table, changed, constants, own))
        return self._sides[which](solvers, rank, what)

    def _solver(
        self,
        which: int,
        table: tf.Tensor,
        changed: tf.Tensor,
        constants: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
        own: tf.Tensor,
    ) -> Solver:
        def solver(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
            places = batch.columns.shape[1]
            short = places if places <= self._short else 0
            function = _solver(table.shape[1], short, bool(which))
            return function(changed if short else table, *constants, own, *vars(batch).values())

        return solver


def _combined(values: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    # As a row times a matrix, which is much faster than a matrix times a column.
    return tf.matmul(values[:, None], z)[:, 0]


@functools.cache
def _solver(rank: int, short: int, measured: bool) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Return what solves a batch, of rows with so many places or, if that is 0, with any number."""

    def function(
        table: tf.Tensor,
        everywhere: tf.Tensor,
        inverse: tf.Tensor,
        w0: tf.Tensor,
        own: tf.Tensor,
        rows: tf.Tensor,
        columns: tf.Tensor,
        values: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z = tf.gather(table, columns)
        # Of the items' half only: the users' has the weights in the table.
        weight = tf.gather(own, rows)[:, None] if measured else tf.ones([])
        left = tf.matmul(z, z, transpose_a=not short, transpose_b=bool(short))
        left = (left * weight[:, :, None] if measured else left) + (tf.eye(short) if short else everywhere)
        if short:
            x = tf.sqrt(weight) * _combined(solve(left, values[:, :, None], short)[:, :, 0], z)
        else:
            right = tf.sqrt(weight) * _combined(values, z)
            x = solve(left, right[:, :, None], rank)[:, :, 0]
        factors = tf.matmul(x, inverse) if short else x
        if not measured:
            return factors, tf.zeros([2], tf.float64)
        rating = values * tf.sqrt(weight) / (w0 + weight)
        predicted = tf.matmul(x[:, None], z, transpose_b=True)[:, 0]
        # The objective's part at the solution of a row's equations: Σ (w0 + c) r² - x·Zᵀs.
        observed = values * (tf.sqrt(weight) * (rating - predicted))
        sums = [
            tf.reduce_sum(tf.cast(part, tf.float64)) for part in (tf.square(rating - predicted), observed)
        ]
        return factors, tf.stack(sums)

    matrix, vector = tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.float32)
    places = short or None
    traced = tf.function(
        function,
        input_signature=[
            tf.TensorSpec([None, rank], tf.float32),
            tf.TensorSpec([rank, rank], tf.float32),
            matrix,
            tf.TensorSpec([], tf.float32),
            vector,
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, places], tf.int32),
            tf.TensorSpec([None, places], tf.float32),
        ],
        autograph=False,
    )
    return traced.get_concrete_function()  # type: ignore[no-any-return]
