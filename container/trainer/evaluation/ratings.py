"""Recommenders of ratings: how their held-out rows are read and how their versions predict."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.columns import Format, RatingsLayout
from trainer.errors import InputError
from trainer.evaluation.models import Batch, Predictions
from trainer.files import File
from trainer.framework import load_tensorflow
from trainer.ratings import Ratings, read_ratings
from trainer.reading import read_batches
from trainer.recommender import Recommender
from trainer.tables import Column, Places

UNIT = "user"
_NAMES = ["user", "item", "rating"]


def task(manifest: Mapping[str, Any]) -> str:
    """Return what the models predict."""
    return "regression"


def load(folder: Path, manifest: Mapping[str, Any]) -> _Scorer:
    """Load a version's SavedModel.

    :raises InputError: it can't be loaded or has no signature ``score``.
    """
    return _Scorer(folder / "saved_model")


class _Scorer:
    def __init__(self, folder: Path) -> None:
        self._tf = load_tensorflow()
        try:
            self._model = self._tf.saved_model.load(str(folder))
            self._signature = self._model.signatures["score"]
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{folder.name}: no SavedModel with a signature 'score': {error}") from error

    def predict(self, table: pa.Table) -> Predictions:
        """Return the predicted ratings, and whether user and item are known."""
        users, items = (self._texts(table[name]) for name in ("user", "item"))
        answer = self._signature(user_ids=users, item_ids=items)
        known = answer["known"].numpy() if "known" in answer else None
        return Predictions(answer["predictions"].numpy().astype(np.float64), known)

    def _texts(self, column: pa.ChunkedArray) -> Any:
        # Each distinct id becomes a Python object once; TensorFlow then copies them to the rows.
        ids = column.combine_chunks()
        if not pa.types.is_dictionary(ids.type):
            ids = ids.dictionary_encode()
        distinct = self._tf.constant(np.array(ids.dictionary.to_pylist(), object), self._tf.string)
        return self._tf.gather(distinct, ids.indices.to_numpy())


def canary_of(model: Recommender, rows: Ratings) -> tuple[pa.Table, np.ndarray]:
    """Return rows as requests, and what a model in memory says of them.

    :param model: that was trained.
    :param rows: a few.
    """
    users, items = rows.users.take(pa.array(rows.user)), rows.items.take(pa.array(rows.item))
    user, item = (
        pc.index_in(ids, value_set=known).fill_null(-1).to_numpy()
        for ids, known in ((users, model.users), (items, model.items))
    )
    return pa.table({"user": users, "item": items}), model.predict(user, item)


def batches(
    found: Sequence[File], arguments: argparse.Namespace, manifest: Mapping[str, Any]
) -> Iterator[Batch]:
    """Read ratings piece by piece.

    :param found: CSV, NDJSON or Parquet, plain or gzip.
    :param arguments: of the command line: ``form``, ``slices`` and ``batch_size``.
    :param manifest: the challenger's; what the form leaves open is as its training rows were.
    :raises InputError: something can't be read; names file and line.
    """
    trained = manifest.get("arguments") or {}
    form = arguments.form
    data_type = form.data_type or ("web_views" if trained.get("data_type") == "web_views" else None)
    form = Format(data_type, form.delimiter, form.headers)
    if data_type == "web_views":
        if arguments.slices:
            raise InputError("--slice: page views are added up, and have no other columns then")
        # A user's views of a page are added up, wherever they stand.
        yield from _of_ratings(read_ratings(found, form).merged(), arguments.batch_size)
        return
    layout = _SlicedLayout(RatingsLayout(form), arguments.slices)
    for batch in read_batches(found, layout):
        for start in range(0, batch.num_rows, arguments.batch_size):
            table = pa.Table.from_batches([batch.slice(start, arguments.batch_size)])
            yield _batch(table, arguments.slices)


class _SlicedLayout:
    """The columns of ratings, and those whose values are looked at one by one."""

    def __init__(self, ratings: RatingsLayout, slices: Sequence[str]) -> None:
        self._ratings, self._slices = ratings, slices
        self.columns = (*ratings.columns, *(Column(name, "id", optional=True) for name in slices))

    def in_line(self, uri: str, first_line: str) -> Places:
        """Find the columns from a CSV file's first line."""
        places = self._ratings.in_line(uri, first_line)
        return self._with_slices(uri, places, next(csv.reader([first_line], delimiter=places.delimiter), []))

    def in_names(self, uri: str, names: Sequence[str]) -> Places:
        """Find the columns in a file that names them."""
        return self._with_slices(uri, self._ratings.in_names(uri, names), names)

    def _with_slices(self, uri: str, places: Places, names: Sequence[str]) -> Places:
        names = [name.strip() for name in names]
        missing = [name for name in self._slices if name not in names]
        if missing:
            raise InputError(f"{uri}: --slice: no column {' and '.join(missing)}; found {', '.join(names)}")
        at = (*places.at, *(names.index(name) for name in self._slices))
        return replace(places, at=at, shown=(*places.shown, *self._slices))


def _of_ratings(ratings: Ratings, size: int) -> Iterator[Batch]:
    for start in range(0, len(ratings), size):
        part = slice(start, start + size)
        user = pa.DictionaryArray.from_arrays(pa.array(ratings.user[part]), ratings.users)
        item = pa.DictionaryArray.from_arrays(pa.array(ratings.item[part]), ratings.items)
        rating = pa.array(ratings.rating[part], pa.float64())
        yield _batch(pa.table([user, item, rating], names=_NAMES), ())


def _batch(table: pa.Table, slices: Sequence[str]) -> Batch:
    return Batch(
        table,
        unit=table["user"],
        label=table["rating"].to_numpy(),
        slices={name: table[name] for name in slices},
        item=table["item"],
    )
