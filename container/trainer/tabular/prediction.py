"""Predicting the rows of files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from trainer import files, log, version
from trainer.errors import InputError
from trainer.tabular.data import form_of, read_rows
from trainer.tabular.schema import Schema
from trainer.tabular.table import Form


class Scorer(Protocol):
    """A version that predicts."""

    schema: Schema

    def predict(self, table: pa.Table) -> np.ndarray:
        """Return probabilities of the positive class, or predictions, float64."""


def predict(arguments: argparse.Namespace) -> None:
    """Write one JSON object a row, in the rows' order: ``prediction``, and for two classes ``class``.

    :param arguments: of the command line.
    :raises InputError: the version is incomplete, or the rows lack a column.
    """
    found = files.find(arguments.input_files)
    with version.fetched(arguments.model_dir) as (folder, manifest), TemporaryDirectory() as temporary:
        scorer = open_version(folder, manifest, getattr(arguments, "pipeline", None))
        form = trained_form(manifest, form_of(arguments))
        output, rows = Path(temporary) / "predictions", 0
        with output.open("w", encoding="utf-8") as target:
            for file in found:
                table = read_rows([file], form, scorer.schema, labelled=False)
                for start in range(0, table.num_rows, arguments.batch_size):
                    for value in scorer.predict(table.slice(start, arguments.batch_size)):
                        target.write(
                            json.dumps(_said(scorer.schema, float(value)), ensure_ascii=False) + "\n"
                        )
                rows += table.num_rows
        files.write(arguments.output, output, "application/x-ndjson")
    log.info(f"predictions for {rows} rows written: {arguments.output}")


def open_version(folder: Path, manifest: Mapping[str, Any], pipeline: str | None = None) -> Scorer:
    """Return a version's model, whatever its kind.

    :param folder: the version's files, compared with the manifest.
    :param manifest: the version's.
    :param pipeline: the pickled pipeline to use instead of what needs no unpickling.
    :raises InputError: it is no model of tabular data.
    """
    try:
        schema = Schema.from_json((folder / "schema.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{manifest.get('model')}: no schema.json in the version: {error}") from error
    if manifest.get("model") == "wide-deep":
        from trainer.framework import load_tensorflow

        load_tensorflow()
        from trainer.wide_deep.saved_model import Scorer as WideDeep

        return WideDeep(folder, schema)
    from trainer.boosted_trees.pipeline import PickledScorer
    from trainer.boosted_trees.pipeline import Scorer as Trees

    return PickledScorer(folder / pipeline, schema) if pipeline else Trees(folder, schema)


def trained_form(manifest: Mapping[str, Any], form: Form) -> Form:
    """Return how CSV files look: as the arguments say, else as the training files did."""
    trained = manifest.get("arguments") or {}
    names = trained.get("column_names")
    return Form(form.delimiter or trained.get("delimiter"), form.names or (tuple(names) if names else None))


def _said(schema: Schema, value: float) -> dict[str, Any]:
    if schema.task == "regression":
        return {"prediction": value}
    return {"prediction": value, "class": schema.classes[int(value > 0.5)]}
