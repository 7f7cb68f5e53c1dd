"""What a kind of model offers so that its versions can be evaluated.

A kind is a module with three functions, named in :data:`KINDS`, and a word:

- ``load(folder, manifest) -> Model``: a version's files, already verified, as something that predicts;
- ``batches(found, arguments, manifest) -> Iterator[Batch]``: the held-out rows, read piece by piece;
- ``task(manifest) -> str``: one of :data:`~trainer.evaluation.metrics.TASKS`;
- ``UNIT``: what a row belongs to unless the command line says otherwise, e.g. ``user``.

The challenger's kind reads the rows; every model gets the same batches.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from trainer.errors import InputError

if TYPE_CHECKING:
    import argparse

    from trainer.files import File

# The manifest's "model" and the module of that kind.
KINDS = {
    "wals": "trainer.evaluation.ratings",
    "wide-deep": "trainer.tabular.scoring",
    "xgboost": "trainer.tabular.scoring",
}


@dataclass(frozen=True)
class Batch:
    """Some held-out rows.

    :param table: what the models see.
    :param unit: for each row, whom it belongs to (the user): integers or texts, NumPy or Arrow.
    :param label: for each row, the truth, as the task asks for it.
    :param slices: by name, for each row the value of a column whose values are to be looked at one by one.
    :param item: for each row, what tells it from the unit's other rows, if anything does; part of the
        hold-out's identity.
    """

    table: pa.Table
    unit: Any
    label: np.ndarray
    slices: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None


@dataclass(frozen=True)
class Predictions:
    """What a model says of a batch's rows.

    :param values: for each row a number, a probability, or (``multiclass``) the probabilities of each class.
    :param known: for each row, whether the model knows what it is about (user and item, say); None if that
        has no meaning.
    :param columns: by name, any other quantity of each row; its mean becomes a metric of that name.
    """

    values: np.ndarray
    known: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


class Model(Protocol):
    """A version that predicts."""

    def predict(self, table: pa.Table) -> Predictions:
        """Return its predictions.

        :param table: a batch's, see :class:`Batch`; of any length.
        :raises InputError: the table lacks what the model needs.
        """


class Kind(Protocol):
    """What a kind's module has, see above."""

    UNIT: str

    def load(self, folder: Path, manifest: Mapping[str, Any]) -> Model: ...  # noqa: D102

    def batches(  # noqa: D102
        self, found: Sequence[File], arguments: argparse.Namespace, manifest: Mapping[str, Any]
    ) -> Iterator[Batch]: ...

    def task(self, manifest: Mapping[str, Any]) -> str: ...  # noqa: D102


def kind_of(manifest: Mapping[str, Any], where: str) -> Kind:
    """Return the kind of a version.

    :param manifest: the version's.
    :param where: its folder, for messages.
    :raises InputError: this image does not know such models.
    """
    name = manifest.get("model")
    if name not in KINDS:
        raise InputError(f"{where}: is a model {name!r}; this image evaluates {', '.join(KINDS)}")
    kind: Kind = importlib.import_module(KINDS[name])
    return kind
