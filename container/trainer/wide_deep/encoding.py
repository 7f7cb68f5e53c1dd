"""Tables as what the network takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import tensorflow as tf

from trainer.tabular.schema import Schema
from trainer.wide_deep.features import Features
from trainer.wide_deep.training import Examples

_ROWS = 1 << 17


def encode(table: pa.Table, targets: np.ndarray, features: Features) -> Examples:
    """Return a table's rows as ids and numbers.

    :param table: with the features' columns.
    :param targets: of its rows.
    :param features: does the work, as it will when the model serves.
    """
    call = tf.function(lambda row: features(row), reduce_retracing=True)
    ids = np.empty((table.num_rows, len(features.schema.columns) + len(features.schema.crosses)), np.int32)
    numbers = np.empty((table.num_rows, features.numbers), np.float32)
    with tf.device("CPU:0"):
        for start in range(0, table.num_rows, _ROWS):
            rows = slice(start, start + _ROWS)
            ids[rows], numbers[rows] = (
                part.numpy() for part in call(tensors(table.slice(start, _ROWS), features.schema))
            )
    return Examples(ids, numbers, targets.astype(np.float32))


def tensors(table: pa.Table, schema: Schema) -> dict[str, tf.Tensor]:
    """Return a table's feature columns: float32 with NaN, or texts, empty where there is none.

    :param table: as it was read.
    :param schema: names the columns.
    """
    row = {}
    for column in schema.columns:
        values = table.column(column.name)
        if column.kind == "category":
            row[column.name] = _texts(values)
        else:
            with np.errstate(over="ignore"):
                row[column.name] = tf.constant(np.asarray(values.combine_chunks(), np.float64), tf.float32)
    return row


def _texts(column: pa.ChunkedArray) -> tf.Tensor:
    # Each distinct text becomes a Python object once; TensorFlow then copies them to the rows.
    array = pa.chunked_array(column).unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    distinct = tf.constant(np.array([*array.dictionary.to_pylist(), ""], object), tf.string)
    return tf.gather(distinct, np.asarray(array.indices.fill_null(len(array.dictionary))))
