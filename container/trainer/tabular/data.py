"""The rows that a job trains and measures with."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from trainer import files, log
from trainer.errors import InputError
from trainer.files import File
from trainer.tabular import schema as schemas
from trainer.tabular.schema import Schema, Wishes
from trainer.tabular.table import UNUSED, Form, read_table


@dataclass(frozen=True)
class Data:
    """What was read.

    :param schema: of the training rows.
    :param train: rows to train with.
    :param test: rows to measure with; may be none.
    :param targets: the training rows' labels as numbers.
    :param test_targets: the test rows' labels as numbers.
    :param train_files: where the rows were read.
    :param test_files: where the test rows were read; empty if they are a part of the others.
    :param rows: how many the training files have.
    :param form: of the files.
    """

    schema: Schema
    train: pa.Table
    test: pa.Table
    targets: np.ndarray
    test_targets: np.ndarray
    train_files: tuple[File, ...]
    test_files: tuple[File, ...]
    rows: int
    form: Form

    def facts(self) -> dict[str, Any]:
        """Return what a manifest says about the data."""
        files_ = [file.resource() for file in self.train_files]
        return {"files": files_, "rows": self.rows, "users": None, "items": None}


def fingerprint(settings: Any, arrays: Iterable[np.ndarray]) -> str:
    """Return a SHA-256 of what a training depends on.

    :param settings: anything that JSON can hold.
    :param arrays: the rows, as the model takes them.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def form_of(arguments: argparse.Namespace) -> Form:
    """Return how the arguments say that CSV files look."""
    names = arguments.column_names
    return Form(arguments.delimiter, tuple(n.strip() for n in names.split(",")) if names else None)


def load(arguments: argparse.Namespace) -> Data:
    """Read the rows and find out what their columns are.

    :param arguments: of ``train``.
    :raises InputError: what is wrong with the files.
    """
    wishes = Wishes.read(arguments.schema) if arguments.schema else Wishes()
    wishes = Wishes(
        arguments.label or wishes.label,
        arguments.positive_label or wishes.positive,
        arguments.task or wishes.task,
        dict.fromkeys(UNUSED, "ignore") | dict(wishes.kinds or {}),
        wishes.hash_buckets,
        wishes.crosses,
    )
    form = form_of(arguments)
    found = files.find(arguments.train_files)
    everything = read_table(found, form, wishes.kinds or {})
    label = schemas.find_label(everything.column_names, wishes.label)
    _refuse_missing(everything, label, found)
    schema = schemas.infer(everything, wishes, label)
    targets = schemas.targets(everything.column(label), schema, found[0].uri)
    if arguments.eval_files:
        test_files = files.find(arguments.eval_files)
        test = read_rows(test_files, form, schema, labelled=True)
        test_targets = schemas.targets(test.column(label), schema, test_files[0].uri)
        train, train_targets = everything, targets
    else:
        test_files = []
        order = np.random.default_rng([arguments.seed, 1]).permutation(len(targets))
        held, kept = np.split(order, [int(len(order) * arguments.test_fraction)])
        held, kept = np.sort(held), np.sort(kept)
        train, train_targets = everything.take(kept), targets[kept]
        test, test_targets = everything.take(held), targets[held]
    log.info(
        f"{train.num_rows} rows of {len(schema.columns)} columns from {len(found)} files to predict {label} "
        f"({schema.task}); {test.num_rows} to test with"
    )
    return Data(
        schema, train, test, train_targets, test_targets, tuple(found), tuple(test_files),
        everything.num_rows, form,
    )  # fmt: skip


def read_rows(found: list[File], form: Form, schema: Schema, *, labelled: bool) -> pa.Table:
    """Read rows for a model that is trained.

    :param found: the files.
    :param form: of CSV files.
    :param schema: of the training rows.
    :param labelled: whether the label must be there.
    :raises InputError: a column is missing or has another kind.
    """
    kinds = {column.name: column.kind for column in schema.columns}
    label = "category" if schema.task == "binary" else "number"
    table = read_table(found, form, {**dict.fromkeys(UNUSED, "ignore"), **kinds, schema.label: label})
    needed = [*kinds, *([schema.label] if labelled else [])]
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise InputError(f"{found[0].uri}: column {', '.join(missing)} is missing")
    if labelled:
        _refuse_missing(table, schema.label, found)
    return table


def _refuse_missing(table: pa.Table, label: str, found: list[File]) -> None:
    column = table.column(label)
    if column.null_count:
        row = int(np.flatnonzero(np.asarray(column.is_null().combine_chunks()))[0])
        where = ", ".join(file.uri for file in found[:3])
        raise InputError(
            f"{where}: label {label} is missing in {column.null_count} of {len(column)} rows, first in row "
            f"{row + 1} of them all"
        )
