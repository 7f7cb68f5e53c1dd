"""The files of an export as one table, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 8 << 20


class UnreadableData(Exception):
    """Files that are no training data: none at all, empty ones, or ones that don't fit each other.

    :param problems: each names the file, and where known row and column.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Table:
    """Reads files that must have the same columns.

    :param types: what columns hold: ``integer``, ``number``, ``boolean``, ``timestamp``, ``string``. What is
        not given is taken from the first rows; texts that all are integers or timestamps are read as such,
        since BigQuery exports both as texts.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        import pyarrow as pa

        arrow = {
            "integer": pa.int64(),
            "number": pa.float64(),
            "boolean": pa.bool_(),
            "timestamp": pa.timestamp("us", "UTC"),
            "string": pa.string(),
        }
        self._types: dict[str, pa.DataType] = {name: arrow[kind] for name, kind in types.items()}
        self._columns: list[str] = []

    def batches(self, path: Path, name: str) -> Iterator[pa.RecordBatch]:
        """Yield a file's rows.

        :param path: the file, named as its format: ``.csv``, ``.json``, ``.jsonl``, ``.ndjson`` or
            ``.parquet``, with or without ``.gz``.
        :param name: for messages.
        :raises UnreadableData: its first problem.
        """
        import pyarrow as pa

        if not path.stat().st_size:
            raise UnreadableData([f"{name}: has 0 bytes; the export did not finish"])
        suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
        read = _READERS.get(suffixes[-1] if suffixes else "")
        if read is None:
            raise UnreadableData([f"{name}: is neither .csv, .json, .jsonl, .ndjson nor .parquet"])
        try:
            for batch in read(path, self._types):
                yield self._checked(batch, name)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
            raise UnreadableData([f"{name}: {error}"]) from error

    def _checked(self, batch: pa.RecordBatch, name: str) -> pa.RecordBatch:
        import pyarrow as pa

        found = batch.schema.names
        if not self._columns:
            self._columns = list(found)
        if sorted(found) != sorted(self._columns):
            lacks = [column for column in self._columns if column not in found]
            more = [column for column in found if column not in self._columns]
            parts = [f"lacks {', '.join(lacks)}"] * bool(lacks) + [f"also has {', '.join(more)}"] * bool(more)
            raise UnreadableData([f"{name}: {' and '.join(parts)}, unlike the files before it"])
        columns = [self._converted(batch.column(column), column, name) for column in self._columns]
        return pa.RecordBatch.from_arrays(columns, names=self._columns)

    def _converted(self, values: pa.Array, column: str, name: str) -> pa.Array:
        import pyarrow as pa

        if column not in self._types:
            values = _inferred(values)
            self._types[column] = values.type
            return values
        try:
            return _cast(values, self._types[column])
        except pa.ArrowInvalid as error:
            raise UnreadableData(
                [
                    f"{name}: column {column}: {error}; it held {self._types[column]} so far. If texts are "
                    f"right, expect columns.{column}.type: string"
                ]
            ) from error


def _inferred(values: pa.Array) -> pa.Array:
    import pyarrow as pa

    types = pa.types
    if types.is_null(values.type):
        return values.cast(pa.string())
    if types.is_timestamp(values.type) or types.is_date(values.type):
        return _cast(values, pa.timestamp("us", "UTC"))
    if types.is_integer(values.type):
        return values.cast(pa.int64())
    if types.is_floating(values.type) or types.is_decimal(values.type):
        return values.cast(pa.float64(), safe=False)
    if types.is_string(values.type) or types.is_large_string(values.type):
        for type_ in (pa.int64(), pa.timestamp("us", "UTC")):
            try:
                return _cast(values, type_) if values.null_count < len(values) else values.cast(pa.string())
            except pa.ArrowInvalid:
                continue
        return values.cast(pa.string())
    if types.is_boolean(values.type):
        return values
    # Nested values are compared as what they look like.
    return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())


def _cast(values: pa.Array, type_: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.type == type_:
        return values
    if not pa.types.is_timestamp(type_):
        return values.cast(type_)
    if pa.types.is_string(values.type):
        texts = pc.replace_substring_regex(values, " UTC$", "Z")
        try:
            return texts.cast(type_)
        except pa.ArrowInvalid:
            values = texts.cast(pa.timestamp("us"))
    else:
        values = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)))
    return values.cast(type_) if values.type.tz else pc.assume_timezone(values, "UTC")


def _csv(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv

    # Arrow does not know BigQuery's way of writing timestamps, see _cast.
    known = {name: pa.string() if pa.types.is_timestamp(t) else t for name, t in types.items()}
    # Arrow tells the row of a wrong value only without threads.
    with csv.open_csv(
        str(path),
        read_options=csv.ReadOptions(block_size=_BLOCK, use_threads=False),
        convert_options=csv.ConvertOptions(column_types=known, strings_can_be_null=True),
    ) as reader:
        yield from reader


def _ndjson(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import json

    with (
        pa.input_stream(str(path), compression="detect") as stream,
        json.open_json(stream, read_options=json.ReadOptions(block_size=_BLOCK)) as reader,
    ):
        yield from reader


def _parquet(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet

    with parquet.ParquetFile(str(path)) as file:
        yield from file.iter_batches()


_READERS: Mapping[str, Callable[[Path, Mapping[str, Any]], Iterator[Any]]] = {
    ".csv": _csv,
    ".json": _ndjson,
    ".jsonl": _ndjson,
    ".ndjson": _ndjson,
    ".parquet": _parquet,
}
