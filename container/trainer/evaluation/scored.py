"""Rows that any image has scored: each model's predictions, or losses, in columns of their own.

The columns ``challenger``, ``champion`` and ``anchor`` hold predictions, and ``challenger.NAME`` and so on
any other quantity NAME of a row, whose mean becomes a metric.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from trainer.errors import InputError
from trainer.evaluation.metrics import TASKS
from trainer.evaluation.models import Batch, Predictions
from trainer.files import File
from trainer.reading import read_batches
from trainer.tables import Column, NamedLayout


class ScoredRows:
    """Reads scored rows.

    :param roles: the models that have columns.
    :param arguments: of the command line: ``unit``, ``label``, ``task``, ``columns``, ``slices``.
    :raises InputError: they don't fit together.
    """

    def __init__(self, roles: Sequence[str], arguments: argparse.Namespace) -> None:
        self.task: str = arguments.task or ("binary" if arguments.label else "columns")
        self.own = {name.removesuffix(":higher"): name.endswith(":higher") for name in arguments.columns}
        self._unit, self._label, self._slices = arguments.unit, arguments.label, arguments.slices
        if not self._unit:
            raise InputError("--scored: --unit must name the column of whom a row belongs to")
        if self.task not in TASKS or self.task == "multiclass":
            raise InputError(f"--scored: --task {self.task} is not regression, binary or columns")
        if self.task == "columns" and not self.own:
            raise InputError("--scored: give --label and --task, or --column, or all of them")
        if self.task != "columns" and not self._label:
            raise InputError(f"--scored: --task {self.task} needs the column of the truth: --label")
        predictions = [] if self.task == "columns" else list(roles)
        numbers = [*predictions, *(f"{role}.{name}" for role in roles for name in self.own)]
        numbers += [self._label] if self._label else []
        ids = [Column(self._unit, "id"), *(Column(name, "id", optional=True) for name in self._slices)]
        self._layout = NamedLayout((*ids, *(Column(name, "number") for name in numbers)))
        self.models = [_Columns(role, self.task != "columns", tuple(self.own)) for role in roles]

    def batches(self, found: Sequence[File]) -> Iterator[Batch]:
        """Read the rows piece by piece.

        :raises InputError: something can't be read; names file, row and column.
        """
        for batch in read_batches(found, self._layout):
            table = pa.Table.from_batches([batch])
            label = table[self._label].to_numpy() if self._label else np.zeros(len(table))
            slices: Mapping[str, pa.ChunkedArray] = {name: table[name] for name in self._slices}
            yield Batch(table, unit=table[self._unit], label=label, slices=slices)


class _Columns:
    """A model that has spoken already."""

    def __init__(self, role: str, predicts: bool, columns: tuple[str, ...]) -> None:
        self._role, self._predicts, self._columns = role, predicts, columns

    def predict(self, table: pa.Table) -> Predictions:
        """Return what stands in its columns."""
        own = {name: table[f"{self._role}.{name}"].to_numpy() for name in self._columns}
        values = table[self._role].to_numpy() if self._predicts else own[self._columns[0]]
        return Predictions(values, None, own)
