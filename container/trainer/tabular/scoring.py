"""Tables: how their held-out rows are read and how their versions predict, for the ``evaluate`` command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.errors import InputError
from trainer.evaluation.models import Batch, Predictions
from trainer.files import File
from trainer.tabular.data import read_rows
from trainer.tabular.prediction import open_version, trained_form
from trainer.tabular.schema import Schema, targets
from trainer.tabular.table import Form

UNIT = "row"


def task(manifest: Mapping[str, Any]) -> str:
    """Return what the models predict: ``binary`` or ``regression``."""
    return str(manifest["arguments"]["task"])


def load(folder: Path, manifest: Mapping[str, Any]) -> _Model:
    """Load a version, without unpickling anything.

    :raises InputError: it is not what its manifest says.
    """
    return _Model(folder, manifest)


class _Model:
    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self._scorer = open_version(folder, manifest)
        self._name = f"the model of {manifest.get('created')}"

    def predict(self, table: pa.Table) -> Predictions:
        """Return probabilities or numbers."""
        for column in self._scorer.schema.columns:
            if column.name not in table.column_names:
                raise InputError(f"the rows lack column {column.name}, which {self._name} needs")
            if (column.kind == "category") != pa.types.is_dictionary(table.column(column.name).type):
                raise InputError(f"column {column.name} was not a {column.kind} for all of the models")
        return Predictions(self._scorer.predict(table))


def batches(
    found: Sequence[File], arguments: argparse.Namespace, manifest: Mapping[str, Any]
) -> Iterator[Batch]:
    """Read rows file by file.

    :param found: CSV, NDJSON or Parquet, plain or gzip.
    :param arguments: of the command line: ``form``, ``slices``, ``unit`` and ``batch_size``.
    :param manifest: the challenger's; it says what the files' columns are.
    :raises InputError: something can't be read; names file, row and column.
    """
    schema = Schema.from_summary(manifest["arguments"])
    form = trained_form(manifest, Form(arguments.form.delimiter))
    done = 0
    for file in found:
        table = read_rows([file], form, schema, labelled=True)
        label = targets(table.column(schema.label), schema, file.uri).astype(np.float64)
        for name in (*arguments.slices, *([arguments.unit] if arguments.unit else [])):
            if name not in table.column_names:
                raise InputError(f"{file.uri}: there is no column {name}")
        rows = np.arange(done, done + table.num_rows)
        done += table.num_rows
        for start in range(0, table.num_rows, arguments.batch_size):
            part = slice(start, start + arguments.batch_size)
            piece = table.slice(start, arguments.batch_size)
            unit: Any = piece.column(arguments.unit) if arguments.unit else rows[part]
            yield Batch(piece, unit, label[part], {name: piece.column(name) for name in arguments.slices})
