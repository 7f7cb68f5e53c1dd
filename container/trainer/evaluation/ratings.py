"""Recommenders of ratings: how their held-out rows are read and how their versions predict."""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from trainer.columns import Columns, Format, find_columns
from trainer.errors import InputError
from trainer.evaluation.models import Batch, Predictions
from trainer.files import File, local_copy
from trainer.framework import load_tensorflow
from trainer.ratings import Ratings, read_ratings

_NAMES = ["user", "item", "rating"]
_IDS = pa.dictionary(pa.int32(), pa.string())
_LARGEST = 1e15
_BLOCK = 1 << 23


class _Unclean(Exception):
    """Rows that only the thorough reader can make sense of, or refuse by their line."""


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


def batches(
    found: Sequence[File], arguments: argparse.Namespace, manifest: Mapping[str, Any]
) -> Iterator[Batch]:
    """Read ratings piece by piece.

    :param found: CSV, plain or gzip, or Parquet.
    :param arguments: of the command line: ``form`` and ``batch_size``.
    :param manifest: the challenger's; what the form leaves open is as its training rows were.
    :raises InputError: something can't be read; names file and line.
    """
    trained = manifest.get("arguments") or {}
    form = arguments.form
    data_type = form.data_type or ("web_views" if trained.get("data_type") == "web_views" else None)
    form = Format(data_type, form.delimiter, form.headers)
    if data_type == "web_views":
        # A user's views of a page are added up, wherever they stand.
        yield from _of_ratings(read_ratings(found, form).merged(), arguments.batch_size)
        return
    for file in found:
        done = 0
        try:
            for table in _tables(file, form, arguments.batch_size):
                done += len(table)
                yield _batch(table)
        except (_Unclean, pa.ArrowInvalid, OSError, EOFError, gzip.zlib.error):
            # It refuses them, or finds them to be fine; then only the rest of the rows is new.
            rest = read_ratings([file], form)
            yield from _of_ratings(rest.take(np.arange(done, len(rest))), arguments.batch_size)


def _tables(file: File, form: Format, size: int) -> Iterator[pa.Table]:
    with local_copy(file) as path:
        with path.open("rb") as raw:
            magic = raw.read(4)
        if not file.size:
            raise _Unclean
        if magic == b"PAR1":
            source: Iterator[Any] = _parquet(file.uri, path, form, size)
        else:
            source = _csv(file.uri, path, magic, form)
        for batch in source:
            table = pa.Table.from_batches([batch]).rename_columns(_NAMES)
            yield from _pieces(_clean(table), size)


def _parquet(uri: str, path: Path, form: Format, size: int) -> Iterator[pa.RecordBatch]:
    file = pa_parquet.ParquetFile(path)
    names = file.schema_arrow.names
    columns = find_columns(uri, ",".join(names), Format(form.data_type, ","))
    wanted = _wanted(columns, names)
    for batch in file.iter_batches(size, columns=wanted):
        yield batch.select(wanted)


def _csv(uri: str, path: Path, magic: bytes, form: Format) -> Iterator[pa.RecordBatch]:
    def opened() -> Any:
        return gzip.open(path, "rb") if magic[:2] == b"\x1f\x8b" else path.open("rb")

    with opened() as lines:
        first = lines.readline(1 << 20)
    try:
        columns = find_columns(uri, first.decode("utf-8-sig").rstrip("\r\n"), form)
    except UnicodeDecodeError:
        raise _Unclean from None
    names = [str(at) for at in range(columns.count)]
    wanted = _wanted(columns, names)
    types = {wanted[0]: _IDS, wanted[1]: _IDS, wanted[2]: pa.float64()}
    with opened() as lines:
        try:
            reader = pa_csv.open_csv(
                lines,
                read_options=pa_csv.ReadOptions(
                    column_names=names, skip_rows=int(columns.header), block_size=_BLOCK
                ),
                parse_options=pa_csv.ParseOptions(delimiter=columns.delimiter),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=wanted, column_types=types, null_values=[], strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return
            raise
        yield from reader


def _wanted(columns: Columns, names: Sequence[str]) -> list[str]:
    return [names[at] for at in (columns.user, columns.item, columns.rating)]


def _clean(table: pa.Table) -> pa.Table:
    columns = [_ids(table["user"]), _ids(table["item"])]
    kind = table["rating"].type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _Unclean
    rating = table["rating"].cast(pa.float64())
    with np.errstate(invalid="ignore"):
        if rating.null_count or not (np.abs(rating.to_numpy()) <= _LARGEST).all():
            raise _Unclean
    return pa.table([*columns, rating], names=_NAMES)


def _ids(column: pa.ChunkedArray) -> pa.Array:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if column.null_count or not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise _Unclean
    ids = column.combine_chunks()
    if not pa.types.is_dictionary(ids.type):
        ids = ids.cast(pa.string()).dictionary_encode()
    texts = pc.utf8_trim_whitespace(ids.dictionary.cast(pa.string()))
    if pc.any(pc.or_(pc.equal(texts, ""), pc.match_substring_regex(texts, r"[\r\n]"))).as_py():
        raise _Unclean
    return pa.DictionaryArray.from_arrays(ids.indices, texts)


def _of_ratings(ratings: Ratings, size: int) -> Iterator[Batch]:
    for start in range(0, len(ratings), size):
        part = slice(start, start + size)
        user = pa.DictionaryArray.from_arrays(pa.array(ratings.user[part]), ratings.users)
        item = pa.DictionaryArray.from_arrays(pa.array(ratings.item[part]), ratings.items)
        rating = pa.array(ratings.rating[part], pa.float64())
        yield _batch(pa.table([user, item, rating], names=_NAMES))


def _pieces(table: pa.Table, size: int) -> Iterator[pa.Table]:
    for start in range(0, len(table), size):
        yield table.slice(start, size)


def _batch(table: pa.Table) -> Batch:
    return Batch(table, unit=table["user"], label=table["rating"].to_numpy(), item=table["item"])
