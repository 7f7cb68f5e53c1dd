"""The recommender as a TensorFlow SavedModel that answers for ids, without any other file.

Signatures:

- ``serving_default``: ``user_ids`` (text, one each) and ``k`` (a single int32) give ``item_ids`` and
  ``scores``, both with a row for each user, best first, without what the user has rated already. A user with
  fewer than k items left gets empty ids and scores of minus infinity at the end. A user that the model does
  not know gets what is popular.
- ``similar_items``: ``item_ids`` and ``k`` give the items whose factors point the same way, with the cosines,
  without the item itself. An item that the model does not know has none.
- ``fold_in``: a user who was not in training. ``item_ids`` and ``ratings``, both with a row for each user (an
  empty id is no rating), and ``k`` give what ``serving_default`` would, had the user been there. Items that
  the model does not know are passed over.
- ``score``: ``user_ids`` and ``item_ids`` (as many of each) give ``predictions``, and ``known``: whether the
  model knows both. What it does not know is predicted from the averages.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from trainer.recommender import Recommender

_TEXTS = tf.TensorSpec([None], tf.string)
_LISTS = tf.TensorSpec([None, None], tf.string)
_COUNT = tf.TensorSpec([], tf.int32)


class _Module(tf.Module):
    """The tables have one more row than there are ids, for the unknown."""

    def __init__(self, model: Recommender, seen: tuple[np.ndarray, np.ndarray], folder: Path) -> None:
        super().__init__()
        self.user_file = tf.saved_model.Asset(str(_write_ids(folder / "users.txt", model.users)))
        self.item_file = tf.saved_model.Asset(str(_write_ids(folder / "items.txt", model.items)))
        self.users = _table(self.user_file, len(model.users))
        self.items = _table(self.item_file, len(model.items))
        self.user_factors = _variable(model.user_factors, np.zeros(model.user_factors.shape[1]))
        self.item_factors = _variable(model.item_factors, np.zeros(model.item_factors.shape[1]))
        self.user_bias = _variable(model.user_bias, 0)
        self.item_bias = _variable(model.item_bias, model.unknown_item_bias)
        self.popularity = _variable(model.popularity)
        self.item_ids = tf.Variable(
            np.array(model.items.to_pylist(), object), trainable=False, dtype=tf.string
        )
        starts, items = seen
        self.seen_starts = tf.Variable(np.append(starts, starts[-1]), trainable=False, dtype=tf.int64)
        self.seen = tf.Variable(items, trainable=False, dtype=tf.int32, shape=[None])
        how = model.fold_in
        ones = np.ones((len(model.items), 1), np.float32)
        self.item_vectors = _variable(np.concatenate([model.item_factors, ones], 1), np.zeros(len(how.pull)))
        self.item_variances = _variable(how.variance, np.zeros(len(how.pull)))
        self.weights, self.target_weights = _variable(how.weight, 0), _variable(how.target_weight, 0)
        self.precision, self.pull = _variable(how.precision), _variable(how.pull)
        self.mean = tf.constant(model.mean, tf.float32)
        self.limits = model.limits

    @tf.function(input_signature=[_TEXTS, _TEXTS], autograph=False)
    def score(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        user, item = self.users.lookup(user_ids), self.items.lookup(item_ids)
        dot = tf.reduce_sum(tf.gather(self.user_factors, user) * tf.gather(self.item_factors, item), 1)
        predictions = self.mean + tf.gather(self.user_bias, user) + tf.gather(self.item_bias, item) + dot
        known = (user < self.users.size()) & (item < self.items.size())
        return {"predictions": self._limited(predictions), "known": known}

    @tf.function(input_signature=[_TEXTS, _COUNT], autograph=False)
    def recommend(self, user_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        user = self.users.lookup(user_ids)
        own = tf.matmul(tf.gather(self.user_factors, user), self.item_factors[:-1], transpose_b=True)
        own += self.mean + tf.gather(self.user_bias, user)[:, None] + self.item_bias[None, :-1]
        seen = tf.RaggedTensor.from_row_splits(self.seen, self.seen_starts, validate=False)
        seen = tf.gather(seen, user)
        places = tf.stack([tf.cast(seen.value_rowids(), tf.int32), seen.values], 1)
        return self._recommended(own, user < self.users.size(), places, k)

    @tf.function(input_signature=[_LISTS, tf.TensorSpec([None, None], tf.float32), _COUNT], autograph=False)
    def fold_in(self, item_ids: tf.Tensor, ratings: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        item = self.items.lookup(item_ids)
        known = item < self.items.size()
        vectors, weights = tf.gather(self.item_vectors, item), tf.gather(self.weights, item)[:, :, None]
        left = self.precision + tf.matmul(vectors, weights * vectors, transpose_a=True)
        left += tf.linalg.diag(tf.reduce_sum(weights * tf.gather(self.item_variances, item), 1))
        rest = ratings - self.mean - tf.gather(self.item_bias, item)
        target = tf.where(known, tf.gather(self.target_weights, item) * rest, 0)
        right = self.pull[None, :, None] + tf.matmul(vectors, target[:, :, None], transpose_a=True)
        user = tf.linalg.cholesky_solve(tf.linalg.cholesky(left), right)[:, :, 0]
        own = tf.matmul(user[:, :-1], self.item_factors[:-1], transpose_b=True)
        own += self.mean + user[:, -1:] + self.item_bias[None, :-1]
        rows = tf.where(known)
        places = tf.cast(tf.stack([rows[:, 0], tf.gather_nd(item, rows)], 1), tf.int32)
        return self._recommended(own, tf.reduce_any(known, 1), places, k)

    @tf.function(input_signature=[_TEXTS, _COUNT], autograph=False)
    def similar_items(self, item_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        item = self.items.lookup(item_ids)
        factors = tf.math.l2_normalize(self.item_factors, 1)
        cosines = tf.matmul(tf.gather(factors, item), factors[:-1], transpose_b=True)
        known = item < self.items.size()
        cosines = tf.where(known[:, None], cosines, -np.inf)
        rows = tf.where(known)
        places = tf.cast(tf.concat([rows, tf.gather_nd(item, rows)[:, None]], 1), tf.int32)
        return self._best(cosines, places, k)

    def _recommended(
        self, own: tf.Tensor, known: tf.Tensor, seen: tf.Tensor, k: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the best by own scores; for users that are not known, what is popular."""
        known = known[:, None]
        best = self._best(tf.where(known, own, self.popularity[None, :]), seen, k)
        scores = best["scores"]
        # Limits are for what is shown: they must not make the best ones equal before they are ranked.
        limited = tf.where(known & tf.math.is_finite(scores), self._limited(scores), scores)
        return {**best, "scores": limited}

    def _best(self, scores: tf.Tensor, without: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = tf.tensor_scatter_nd_update(scores, without, tf.fill([tf.shape(without)[0]], -np.inf))
        best, item = tf.math.top_k(scores, k=tf.clip_by_value(k, 0, tf.shape(self.item_ids)[0]))
        ids = tf.where(tf.math.is_finite(best), tf.gather(self.item_ids, item), "")
        return {"item_ids": ids, "scores": best}

    def _limited(self, predictions: tf.Tensor) -> tf.Tensor:
        return predictions if self.limits is None else tf.clip_by_value(predictions, *self.limits)


def save(model: Recommender, seen: tuple[np.ndarray, np.ndarray], folder: Path) -> None:
    """Write a SavedModel.

    :param model: to save.
    :param seen: where each user's rated items start, and the items.
    :param folder: to write to; a folder beside it is used for a moment.
    """
    ids = folder.parent / "ids"
    ids.mkdir(parents=True, exist_ok=True)
    with tf.device("CPU:0"):
        module = _Module(model, seen, ids)
    signatures = {
        "serving_default": module.recommend,
        "score": module.score,
        "similar_items": module.similar_items,
        "fold_in": module.fold_in,
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _variable(values: np.ndarray, unknown: float | np.ndarray | None = None) -> tf.Variable:
    if unknown is not None:
        values = np.concatenate([values, np.asarray(unknown, np.float32)[None]])
    return tf.Variable(values, trainable=False, dtype=tf.float32)


def _table(file: tf.saved_model.Asset, count: int) -> tf.lookup.StaticHashTable:
    initializer = tf.lookup.TextFileInitializer(
        file,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
        vocab_size=count,
    )
    return tf.lookup.StaticHashTable(initializer, default_value=count)


def _write_ids(path: Path, ids: pa.StringArray) -> Path:
    path.write_text("\n".join(ids.to_pylist()) + "\n", encoding="utf-8", newline="\n")
    return path
