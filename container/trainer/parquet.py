"""Reading Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from trainer import values
from trainer.errors import InputError
from trainer.tables import Column, Decoded, Layout

_ROWS = 1 << 19


def pieces(uri: str, path: Path, layout: Layout) -> Iterator[Callable[[], Decoded]]:
    """Give the work of decoding a Parquet file, some rows at a time.

    :raises InputError: the columns are not there or of another type, or the file can't be read.
    """
    try:
        with pa_parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            places = layout.in_names(uri, schema.names)
            wanted = [schema.names[at] for at in places.at]
            _check_types(uri, schema, wanted, layout.columns)
            row = 0
            for batch in file.iter_batches(_ROWS, columns=wanted):
                yield partial(_decode, uri, row, batch.select(wanted), layout.columns)
                row += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{uri}: is not a readable Parquet file: {error}") from error


def _check_types(uri: str, schema: pa.Schema, wanted: list[str], columns: tuple[Column, ...]) -> None:
    wrong = []
    for column, name in zip(columns, wanted, strict=True):
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        integer = pa.types.is_integer(kind)
        if column.kind in ("id", "text"):
            fine, expected = text or integer or (column.kind == "text"), "text or integers"
        elif column.kind == "integer":
            fine, expected = integer, "integers"
        else:
            fine = integer or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
            expected = "numbers"
        if not fine:
            wrong.append(f"column {name} is {kind}; expected {expected}")
    if wrong:
        raise InputError(f"{uri}: {', '.join(wrong)}")


def _decode(uri: str, row: int, batch: pa.RecordBatch, columns: tuple[Column, ...]) -> Decoded:
    arrays = [values.clean(column, array) for column, array in zip(columns, batch.columns, strict=True)]
    if all(array is not None for array in arrays):
        return Decoded(uri, pa.record_batch(arrays, names=[column.name for column in columns]))
    problems, rows = [], []
    for at, entries in enumerate(zip(*(array.to_pylist() for array in batch.columns), strict=True), row + 1):
        for column, name, value in zip(columns, batch.schema.names, entries, strict=True):
            problem = values.problem(column, name, value)
            if problem:
                problems.append(f"{uri}: row {at}: {problem}")
                break
        rows.append(entries)
    if not problems:
        return Decoded(uri, values.batch_of(columns, rows))
    return Decoded(uri, None, tuple(problems), len(problems))
