"""The model as a TensorFlow SavedModel that takes raw values.

Signatures, of which one is ``serving_default`` as ``--export-format`` says:

- ``json``: one input for each feature column, text or float32, of any number of rows;
- ``csv``: ``csv_row``, lines with the feature columns in the order of the training files, without the label;
- ``example``: ``example_proto``, serialized ``tf.train.Example``.

They give ``probabilities`` (of both classes), ``logistic`` (of the positive one), ``class_ids`` and
``classes``; or ``predictions``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from trainer.errors import InputError
from trainer.tabular.schema import Schema
from trainer.wide_deep.encoding import tensors
from trainer.wide_deep.features import Features

FORMATS = ("JSON", "CSV", "EXAMPLE")


class _Module(tf.Module):
    def __init__(self, features: Features, model: keras.Model) -> None:
        super().__init__()
        self.features, self.schema = features, features.schema
        self.model = model
        self.weights = [variable.value for variable in model.variables]

    def answer(self, row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        ids, numbers = self.features(row)
        output = self.model([ids, numbers], training=False)[:, 0]
        if self.schema.task == "regression":
            return {"predictions": output * self.schema.deviation + self.schema.mean}
        positive = tf.sigmoid(output)
        chosen = tf.cast(positive > 0.5, tf.int64)
        return {
            "logistic": positive,
            "probabilities": tf.stack([1 - positive, positive], 1),
            "class_ids": chosen,
            "classes": tf.gather(tf.constant(self.schema.classes), chosen),
        }

    def from_csv(self, csv_row: tf.Tensor) -> dict[str, tf.Tensor]:
        defaults = [[""] if column.kind == "category" else [np.nan] for column in self.schema.columns]
        values = tf.io.decode_csv(csv_row, [tf.constant(d) for d in defaults])
        row = {c.name: v for c, v in zip(self.schema.columns, values, strict=True)}
        return self.answer(
            {name: tf.strings.strip(v) if v.dtype == tf.string else v for name, v in row.items()}
        )

    def from_example(self, example_proto: tf.Tensor) -> dict[str, tf.Tensor]:
        wanted = {
            column.name: tf.io.FixedLenFeature(
                [], *((tf.string, "") if column.kind == "category" else (tf.float32, np.nan))
            )
            for column in self.schema.columns
        }
        return self.answer(tf.io.parse_example(example_proto, wanted))


def save(features: Features, model: keras.Model, export_format: str, folder: Path) -> None:
    """Write a SavedModel.

    :param features: from raw values to what the model takes.
    :param model: the network.
    :param export_format: one of :data:`FORMATS`: what ``serving_default`` takes.
    :param folder: to write to.
    """
    with tf.device("CPU:0"):
        module = _Module(features, model)
    names = input_names(features.schema)
    raw = {
        names[c.name]: tf.TensorSpec([None], tf.string if c.kind == "category" else tf.float32, names[c.name])
        for c in features.schema.columns
    }
    texts = tf.TensorSpec([None], tf.string)

    def from_json(**row: tf.Tensor) -> dict[str, tf.Tensor]:
        return module.answer({column: row[name] for column, name in names.items()})

    signatures: dict[str, Any] = {
        "json": tf.function(from_json).get_concrete_function(**raw),
        "csv": tf.function(module.from_csv, input_signature=[texts]).get_concrete_function(),
        "example": tf.function(module.from_example, input_signature=[texts]).get_concrete_function(),
    }
    signatures["serving_default"] = signatures[export_format.lower()]
    tf.saved_model.save(module, str(folder), signatures=signatures)


def input_names(schema: Schema) -> dict[str, str]:
    """Return for each column the name of its input: its own, as far as TensorFlow can spell it.

    :param schema: of the table.
    """
    names: dict[str, str] = {}
    for at, column in enumerate(schema.columns):
        plain = re.sub(r"\W", "_", column.name, flags=re.ASCII)
        if not re.match("[A-Za-z]", plain) or plain in names.values():
            plain = f"column_{at}_{plain}".rstrip("_")
        names[column.name] = plain
    return names


class Scorer:
    """A version that predicts tables.

    :param folder: of the version.
    :param schema: of its training rows.
    :raises InputError: there is no such SavedModel in it.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.schema = schema
        self._names = input_names(schema)
        try:
            self._model = tf.saved_model.load(str(folder / "saved_model"))
            self._signature = self._model.signatures["json"]
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{folder}: no SavedModel with a signature 'json': {error}") from error

    def predict(self, table: pa.Table) -> np.ndarray:
        """Return probabilities of the positive class, or predictions, float64."""
        row = tensors(table, self.schema)
        answer = self._signature(**{name: row[column] for column, name in self._names.items()})
        name = "predictions" if self.schema.task == "regression" else "logistic"
        return answer[name].numpy().astype(np.float64)
