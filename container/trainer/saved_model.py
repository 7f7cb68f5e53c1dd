"""The recommender as a TensorFlow SavedModel that answers for ids, without any other file.

Signatures:

- ``serving_default``: ``user_ids`` (text, one each) and ``k`` (a single int32) give ``item_ids`` and
  ``scores``, both with a row for each user, best first, without what the user has rated already. A user with
  fewer than k items left gets empty ids and scores of minus infinity at the end. A user that the model does
  not know gets what is popular.
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
        self.mean = tf.constant(model.mean, tf.float32)
        self.limits = model.limits

    @tf.function(input_signature=[_TEXTS, _TEXTS], autograph=False)
    def score(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        user, item = self.users.lookup(user_ids), self.items.lookup(item_ids)
        dot = tf.reduce_sum(tf.gather(self.user_factors, user) * tf.gather(self.item_factors, item), 1)
        predictions = self.mean + tf.gather(self.user_bias, user) + tf.gather(self.item_bias, item) + dot
        known = (user < self.users.size()) & (item < self.items.size())
        return {"predictions": self._limited(predictions), "known": known}

    @tf.function(input_signature=[_TEXTS, tf.TensorSpec([], tf.int32)], autograph=False)
    def recommend(self, user_ids: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        user = self.users.lookup(user_ids)
        count = tf.shape(self.item_ids)[0]
        own = tf.matmul(tf.gather(self.user_factors, user), self.item_factors[:-1], transpose_b=True)
        own += self.mean + tf.gather(self.user_bias, user)[:, None] + self.item_bias[None, :-1]
        known = (user < self.users.size())[:, None]
        scores = tf.where(known, own, self.popularity[None, :])
        seen = tf.RaggedTensor.from_row_splits(self.seen, self.seen_starts, validate=False)
        seen = tf.gather(seen, user)
        places = tf.stack([tf.cast(seen.value_rowids(), tf.int32), seen.values], 1)
        scores = tf.tensor_scatter_nd_update(scores, places, tf.fill([tf.shape(places)[0]], -np.inf))
        best, item = tf.math.top_k(scores, k=tf.clip_by_value(k, 0, count))
        left = tf.math.is_finite(best)
        # Limits are for what is shown: they must not make the best ones equal before they are ranked.
        shown = tf.where(left, tf.where(known, self._limited(best), best), best)
        return {"item_ids": tf.where(left, tf.gather(self.item_ids, item), ""), "scores": shown}

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
    signatures = {"serving_default": module.recommend, "score": module.score}
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
