"""Solving many small systems with symmetric positive definite matrices at once."""

from __future__ import annotations

import tensorflow as tf

# Matrices of this size are factorised by TensorFlow's own operation, which is slow for larger ones.
_BLOCK = 32

# The inverse of a Cholesky factor in blocks: of a small one as a matrix, else the inverses of both diagonal
# blocks' factors, what is between them, and the size of the first.
Factor = tf.Tensor | tuple["Factor", tf.Tensor, "Factor", int]


def solve(matrices: tf.Tensor, right: tf.Tensor, size: int) -> tf.Tensor:
    """Return the solutions of ``matrices · x = right``.

    :param matrices: shape [batch, size, size], symmetric and positive definite.
    :param right: shape [batch, size, 1].
    :param size: of each system.
    :raises tf.errors.InvalidArgumentError: on a processor, where a matrix is not positive definite; a GPU
        returns NaN.
    """
    factor = _factorise(matrices, size)
    return _backward(factor, _forward(factor, right))


def _factorise(matrices: tf.Tensor, size: int) -> Factor:
    if size <= _BLOCK:
        lower = tf.linalg.cholesky(matrices)
        return tf.linalg.triangular_solve(lower, tf.eye(size, batch_shape=[tf.shape(matrices)[0]]))
    half = max(_BLOCK, size // 2 // _BLOCK * _BLOCK)
    first = _factorise(matrices[:, :half, :half], half)
    between = _forward(first, matrices[:, :half, half:])
    rest = matrices[:, half:, half:] - tf.matmul(between, between, transpose_a=True)
    return first, between, _factorise(rest, size - half), half


def _forward(factor: Factor, right: tf.Tensor) -> tf.Tensor:
    if not isinstance(factor, tuple):
        return tf.matmul(factor, right)
    first, between, second, half = factor
    upper = _forward(first, right[:, :half])
    lower = _forward(second, right[:, half:] - tf.matmul(between, upper, transpose_a=True))
    return tf.concat([upper, lower], 1)


def _backward(factor: Factor, right: tf.Tensor) -> tf.Tensor:
    if not isinstance(factor, tuple):
        return tf.matmul(factor, right, transpose_a=True)
    first, between, second, half = factor
    lower = _backward(second, right[:, half:])
    upper = _backward(first, right[:, :half] - tf.matmul(between, lower))
    return tf.concat([upper, lower], 1)
