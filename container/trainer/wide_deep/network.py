"""The network: a linear model of ids and crosses beside layers over embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from trainer.wide_deep.features import Features


@dataclass(frozen=True)
class Size:
    """How large the network is.

    :param embedding: length of a column's embedding.
    :param first_layer: units of the first layer.
    :param layers: how many.
    :param scale: units of a layer as a share of those of the layer before it.
    :param dropout: share of the units that a training step leaves out.
    """

    embedding: int
    first_layer: int
    layers: int
    scale: float
    dropout: float

    @property
    def units(self) -> list[int]:
        """Units of each layer."""
        return [max(2, int(self.first_layer * self.scale**at)) for at in range(self.layers)]


def build(features: Features, size: Size, bias: float, seed: int) -> keras.Model:
    """Return a model from ids and numbers to a logit, or to the prediction in standard deviations.

    :param features: give the ids and numbers.
    :param size: of the network.
    :param bias: to start from.
    :param seed: of the random numbers.
    """
    keras.utils.set_random_seed(seed)
    columns, crosses = len(features.schema.columns), len(features.schema.crosses)
    ids = keras.Input([columns + crosses], dtype="int32", name="ids")
    numbers = keras.Input([features.numbers], dtype="float32", name="numbers")
    wide = keras.layers.Embedding(features.ids, 1, embeddings_initializer="zeros", name="wide")(ids)
    wide = keras.ops.sum(wide, axis=1)
    deep = keras.layers.Embedding(
        features.deep_ids,
        size.embedding,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=0.1),
        name="embedding",
    )(ids[:, :columns])
    deep = keras.layers.Concatenate()([keras.layers.Flatten()(deep), numbers])
    for at, units in enumerate(size.units):
        deep = keras.layers.Dense(units, "relu", name=f"deep_{at}")(deep)
        if size.dropout:
            deep = keras.layers.Dropout(size.dropout)(deep)
    deep = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(bias), name="deep")(deep)
    return keras.Model([ids, numbers], keras.layers.Add()([wide, deep]))
