"""From a row's values to what the network takes, in TensorFlow, so that serving does what training did."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer.tabular.schema import Column, Schema

CROSS_BUCKETS = 10_000


class Features(tf.Module):
    """Turns columns into ids of one big table, and numbers.

    A category's texts have an id each, unknown ones share hash buckets, and a missing one has an id of its
    own. A number has the id of the interval it is in, and its place among the quantiles, so that neither its
    unit nor an outlier of 1e308 matters.

    :param schema: of the table.
    """

    def __init__(self, schema: Schema) -> None:
        super().__init__(name="features")
        self.schema = schema
        self._tables: dict[str, tf.lookup.StaticHashTable] = {}
        self._sizes = {column.name: self._size(column) for column in schema.columns}
        for column in schema.columns:
            if column.kind == "category" and column.vocabulary:
                keys = tf.constant(list(column.vocabulary), tf.string)
                values = tf.range(len(column.vocabulary), dtype=tf.int64)
                initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
                self._tables[column.name] = tf.lookup.StaticHashTable(initializer, -1)

    @property
    def deep_ids(self) -> int:
        """How many ids the columns themselves have; those of the crosses follow."""
        return sum(self._sizes.values())

    @property
    def ids(self) -> int:
        """How many ids there are."""
        return self.deep_ids + sum(self._cross_size(cross) for cross in self.schema.crosses)

    @property
    def numbers(self) -> int:
        """How many numbers a row has."""
        return sum(2 for column in self.schema.columns if column.kind == "number")

    def __call__(self, row: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ids (int32, one for each column and cross) and numbers (float32) of some rows.

        :param row: for each column float32 numbers, NaN where missing; or texts, empty where missing.
        """
        own: dict[str, tf.Tensor] = {}
        numbers = []
        for column in self.schema.columns:
            if column.kind == "category":
                own[column.name] = self._category(column, row[column.name])
            else:
                own[column.name], place, missing = self._number(column, row[column.name])
                numbers += [place, missing]
        ids, offset = [], 0
        for column in self.schema.columns:
            ids.append(own[column.name] + offset)
            offset += self._sizes[column.name]
        for cross in self.schema.crosses:
            ids.append(self._cross(cross, own) + offset)
            offset += self._cross_size(cross)
        count = tf.shape(ids[0])[0]
        stacked = tf.stack(numbers, 1) if numbers else tf.zeros([count, 0], tf.float32)
        return tf.cast(tf.stack(ids, 1), tf.int32), stacked

    def _category(self, column: Column, texts: tf.Tensor) -> tf.Tensor:
        known = len(column.vocabulary)
        other = known + tf.strings.to_hash_bucket_fast(texts, column.hash_buckets)
        if column.name in self._tables:
            found = self._tables[column.name].lookup(texts)
            other = tf.where(found >= 0, found, other)
        return tf.where(tf.equal(texts, ""), tf.cast(known + column.hash_buckets, tf.int64), other)

    def _number(self, column: Column, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        cuts = np.asarray(column.quantiles, np.float32)
        missing = tf.math.is_nan(values)
        limited = tf.clip_by_value(tf.where(missing, cuts[0], values), cuts[0], cuts[-1])
        interval = tf.searchsorted(cuts[1:-1], limited, side="right")
        low, high = tf.gather(cuts, interval), tf.gather(cuts, interval + 1)
        # Halves, since the difference of two numbers of 1e38 is no number any more.
        share = (limited / 2 - low / 2) / (high / 2 - low / 2)
        place = 2 * (tf.cast(interval, tf.float32) + share) / (len(cuts) - 1) - 1
        identity = tf.cast(
            tf.where(missing, len(cuts), interval + tf.cast(limited >= cuts[-1], tf.int32)), tf.int64
        )
        return identity, tf.where(missing, 0.0, place), tf.cast(missing, tf.float32)

    def _cross(self, cross: tuple[str, ...], own: Mapping[str, tf.Tensor]) -> tf.Tensor:
        combined = own[cross[0]]
        for name in cross[1:]:
            combined = combined * self._sizes[name] + own[name]
        size = self._cross_size(cross)
        if size < CROSS_BUCKETS:
            return combined
        return tf.strings.to_hash_bucket_fast(tf.as_string(combined), size)

    def _cross_size(self, cross: tuple[str, ...]) -> int:
        product = 1
        for name in cross:
            product *= self._sizes[name]
        return min(product, CROSS_BUCKETS)

    @staticmethod
    def _size(column: Column) -> int:
        if column.kind == "category":
            return len(column.vocabulary) + column.hash_buckets + 1
        return len(column.quantiles) + 1
