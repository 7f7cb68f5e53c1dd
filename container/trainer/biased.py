"""Matrix factorisation with user and item biases, regularised by what the data says.

A rating is ``μ + b_user + b_item + x·y`` and noise. Every unknown has a normal prior; the noise, the spread
of the biases, the mean item bias and the spread of each factor are estimated along with them (variational
Bayes, with a diagonal covariance), so there is nothing to tune: a factor that the data does not support
vanishes, and a user with few ratings stays close to the average.
Lim, Teh: Variational Bayesian Approach to Movie Rating Prediction, KDD Cup 2007.

It is solved like WALS, row by row with the other side fixed. ``--regularization`` adds to what was
estimated, ``--unobs_weight`` adds ``w0 Σ_all (x·y)²``, and item weights, if asked for, multiply the
observations' weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer.halfstep import Solver, half_steps
from trainer.normal import solve
from trainer.recommender import FoldIn
from trainer.replicas import Replicas

_FIRST_SPREAD = 0.1
_BIAS_ROUNDS = 5


@dataclass
class _Unknowns:
    """Means and variances of one side: factors, and the bias as the last column."""

    mean: np.ndarray
    variance: np.ndarray
    prior_mean: np.ndarray
    prior_variance: np.ndarray


class BiasedFactors:
    """The unknowns, and one iteration after the other.

    :param observations: user, item and rating less the mean, of all observations.
    :param shape: numbers of users and items.
    :param weights: of each item's observations, of mean 1 over the observations.
    :param w0: see the module.
    :param regularization: see the module.
    :param replicas: that share the work.
    :param start: the items' first factors, of standard deviation 1.
    """

    def __init__(
        self,
        observations: tuple[np.ndarray, np.ndarray, np.ndarray],
        shape: tuple[int, int],
        weights: np.ndarray,
        w0: float,
        regularization: float,
        replicas: Replicas,
        start: np.ndarray,
    ) -> None:
        width = start.shape[1] + 1
        self._sides = half_steps(
            *observations, shape, lambda places: width * max(2 * places, width), 0, replicas
        )
        self._weights = (np.ones(shape[0], np.float32), weights)
        self._total = len(observations[2])
        self._w0, self._regularization = w0, regularization
        self._replicas = replicas
        factors = start.shape[1]
        biases, self._noise = _biases(*observations, *shape)
        self._unknowns = []
        for which, (mean, variance, prior_mean, prior_variance) in enumerate(biases):
            count = len(mean)
            spread = (1.0, _FIRST_SPREAD**2 * self._noise)[which]
            first = np.zeros((count, factors)) if which == 0 else start * np.sqrt(spread)
            self._unknowns.append(
                _Unknowns(
                    np.concatenate([first, mean[:, None]], 1).astype(np.float32),
                    np.concatenate([np.zeros((count, factors)), variance[:, None]], 1).astype(np.float32),
                    np.append(np.zeros(factors), prior_mean),
                    np.append(np.full(factors, spread), prior_variance),
                )
            )

    def iterate(self, what: str) -> dict[str, float]:
        """Solve for the users, then for the items, then estimate the spreads.

        :param what: is being done, for messages.
        :returns: ``loss``, which never rises: the negative lower bound of the data's log probability, in
            nats; and the ``squared_error`` of the means.
        """
        self._solve(0, what)
        squared_error, expected = self._replicas.sum(self._solve(1, what), what)
        self._noise = max(float(expected) / self._total, 1e-12)
        for which, side in enumerate(self._unknowns):
            if which == 1:
                side.prior_mean[-1] = side.mean[:, -1].mean(dtype=np.float64)
            deviation = np.square(side.mean - side.prior_mean, dtype=np.float64) + side.variance
            # Users' factors keep the spread 1: only the product with the items' factors means something.
            estimated = slice(None) if which == 1 else slice(-1, None)
            floor = 1e-6 * self._noise
            side.prior_variance[estimated] = np.maximum(deviation.mean(0), floor)[estimated]
        return {"loss": self._negative_bound(float(expected)), "squared_error": float(squared_error)}

    @property
    def mean_item_bias(self) -> float:
        """What is expected of an item that nobody rated."""
        return float(self._unknowns[1].prior_mean[-1])

    def state(self) -> dict[str, np.ndarray]:
        """Return what makes an interrupted training go on as if nothing had happened."""
        state = {"noise": np.array([self._noise])}
        for name, side in zip(("user", "item"), self._unknowns, strict=True):
            state |= {f"{name}_{field}": value for field, value in vars(side).items()}
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` returned."""
        self._noise = float(state["noise"][0])
        fields = ("mean", "variance", "prior_mean", "prior_variance")
        self._unknowns = [
            _Unknowns(*(state[f"{name}_{field}"] for field in fields)) for name in ("user", "item")
        ]

    def fold_in(self) -> FoldIn:
        """Return the equations of one more user."""
        variance = self._unknowns[1].variance.copy()
        variance[:, -1] = 0
        return FoldIn(*self._prior(0), self._weights[1], self._weights[1], variance)

    def _prior(self, which: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the equations of a row have without any observation: the matrix, and the right side."""
        own, other = self._unknowns[which], self._unknowns[1 - which]
        factors = own.mean.shape[1] - 1
        precision = self._noise / own.prior_variance
        precision[:factors] += self._regularization
        everywhere = np.diag(precision)
        if self._w0:
            y = other.mean[:, :factors].astype(np.float64)
            everywhere[:factors, :factors] += self._w0 * (
                y.T @ y + np.diag(other.variance[:, :factors].sum(0, dtype=np.float64))
            )
        return everywhere, self._noise / own.prior_variance * own.prior_mean

    def _negative_bound(self, expected: float) -> float:
        bound = 0.5 * (self._total * np.log(2 * np.pi * self._noise) + expected / self._noise)
        for side in self._unknowns:
            variance = side.variance.astype(np.float64)
            second = np.square(side.mean - side.prior_mean) + variance
            bound += 0.5 * float(
                (second / side.prior_variance - 1 - np.log(variance / side.prior_variance)).sum()
            )
            square = (np.square(side.mean, dtype=np.float64) + variance)[:, :-1]
            bound += 0.5 * self._regularization / self._noise * float(square.sum())
        return float(bound)

    def _solve(self, which: int, what: str) -> np.ndarray:
        own, other = self._unknowns[which], self._unknowns[1 - which]
        columns = [
            other.mean,
            other.variance,
            self._weights[1 - which][:, None],
            np.ones((len(other.mean), 1)),
        ]
        table = np.concatenate(columns, 1, dtype=np.float32)
        table = tf.constant(np.concatenate([table, np.zeros((1, table.shape[1]), np.float32)]))
        factors = own.mean.shape[1] - 1
        precision, pull = self._prior(which)
        everywhere, pull = tf.constant(precision, tf.float32), tf.constant(pull, tf.float32)
        noise = tf.constant(self._noise, tf.float32)
        solvers = []
        for device in self._replicas.devices:
            with tf.device(device):
                constants = [tf.identity(constant) for constant in (table, everywhere, pull, noise)]
                solvers.append(_solver(bool(which), *constants, tf.constant(self._weights[which])))
        solved, statistics = self._sides[which](solvers, 2 * factors + 2, what)
        gathered = solved.numpy()
        own.mean, own.variance = gathered[:, : factors + 1], gathered[:, factors + 1 :]
        return statistics


def _solver(measured: bool, *constants: tf.Tensor) -> Solver:
    function = _function(measured, constants[0].shape[1])
    return lambda batch: function(*constants, batch.rows, batch.columns, batch.values)


@functools.cache
def _function(measured: bool, width: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    vector = tf.TensorSpec([None], tf.float32)
    traced = tf.function(
        functools.partial(_solve_batch, measured=measured),
        input_signature=[
            tf.TensorSpec([None, width], tf.float32),
            tf.TensorSpec([None, None], tf.float32),
            vector,
            tf.TensorSpec([], tf.float32),
            vector,
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
        ],
        autograph=False,
    )
    return traced.get_concrete_function()  # type: ignore[no-any-return]


def _solve_batch(
    table: tf.Tensor,
    everywhere: tf.Tensor,
    pull: tf.Tensor,
    noise: tf.Tensor,
    own: tf.Tensor,
    rows: tf.Tensor,
    columns: tf.Tensor,
    values: tf.Tensor,
    measured: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    size = table.shape[1] // 2 - 1
    entries = tf.gather(table, columns)
    exists = entries[:, :, -1]
    weights = entries[:, :, -2] * tf.gather(own, rows)[:, None]
    mean, variance = entries[:, :, :size], entries[:, :, size : 2 * size]
    # The other side's bias is no factor of this side's unknowns: it is taken off the rating, and in its
    # column stands the 1 that this side's bias is multiplied with.
    y = tf.concat([mean[:, :, :-1], exists[:, :, None]], 2)
    y_variance = tf.concat([variance[:, :, :-1], tf.zeros_like(variance[:, :, :1])], 2)
    rest = values - mean[:, :, -1]
    left = everywhere[None] + tf.matmul(y, y * weights[:, :, None], transpose_a=True)
    left = tf.linalg.set_diag(
        left,
        tf.linalg.diag_part(left) + tf.matmul(y_variance, weights[:, :, None], transpose_a=True)[:, :, 0],
    )
    right = pull[None] + tf.matmul(y, (rest * weights)[:, :, None], transpose_a=True)[:, :, 0]
    x = solve(left, right[:, :, None], size)
    x_variance = noise / tf.linalg.diag_part(left)
    solved = tf.concat([x[:, :, 0], x_variance], 1)
    if not measured:
        return solved, tf.zeros([2], tf.float64)
    squared = tf.square(rest - tf.matmul(y, x)[:, :, 0])
    spread = tf.matmul(tf.square(y), x_variance[:, :, None])[:, :, 0]
    spread += (
        tf.matmul(y_variance, (tf.square(x[:, :, 0]) + x_variance)[:, :, None])[:, :, 0] + variance[:, :, -1]
    )
    expected = weights * (squared + spread)
    sums = tf.stack([tf.reduce_sum(tf.cast(part, tf.float64)) for part in (squared, expected)])
    return solved, sums


def _biases(
    user: np.ndarray, item: np.ndarray, rest: np.ndarray, users: int, items: int
) -> tuple[list[tuple[np.ndarray, np.ndarray, float, float]], float]:
    """Estimate the biases alone, their spread and the noise, to start from."""
    places, counts = (user, item), (users, items)
    numbers = [np.bincount(place, minlength=count) for place, count in zip(places, counts, strict=True)]
    rest = rest.astype(np.float64)
    noise = max(float(rest.var()), 1e-12)
    means, variances = [np.zeros(users), np.zeros(items)], [np.zeros(users), np.zeros(items)]
    prior_means, prior_variances = [0.0, 0.0], [noise / 4, noise / 4]
    for _ in range(_BIAS_ROUNDS):
        for which in (1, 0):
            left = np.bincount(places[which], rest - means[1 - which][places[1 - which]], counts[which])
            shrink = noise / prior_variances[which]
            means[which] = (left + shrink * prior_means[which]) / (numbers[which] + shrink)
            variances[which] = noise / (numbers[which] + shrink)
        prior_means[1] = float(means[1].mean())
        for which in (0, 1):
            deviation = (means[which] - prior_means[which]) ** 2 + variances[which]
            prior_variances[which] = max(float(deviation.mean()), 1e-6 * noise)
        error = (rest - means[0][user] - means[1][item]) ** 2 + variances[0][user] + variances[1][item]
        noise = max(float(error.mean()), 1e-12)
    return list(zip(means, variances, prior_means, prior_variances, strict=True)), noise
