"""Reading CSV files, whatever the delimiter."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from trainer import values
from trainer.blocks import Block, blocks, first_line
from trainer.errors import InputError
from trainer.tables import Column, Decoded, Layout, Places

_TEXT_IDS = pa.dictionary(pa.int32(), pa.string())


def pieces(uri: str, path: Path, magic: bytes, layout: Layout) -> Iterator[Callable[[], Decoded]]:
    """Give the work of decoding a CSV file, block by block.

    :raises InputError: the columns are not there, or the file can't be read.
    """
    try:
        line = first_line(uri, path, magic).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{uri}:1: is not UTF-8 text: {error}") from error
    places = layout.in_line(uri, line)
    for block in blocks(uri, path, magic, places.header, quoted=True):
        yield partial(_decode, uri, block, places, layout.columns)


def _decode(uri: str, block: Block, places: Places, columns: tuple[Column, ...]) -> Decoded:
    batch = _fast(block, places, columns)
    return Decoded(uri, batch) if batch else _slow(uri, block, places, columns)


def _fast(block: Block, places: Places, columns: tuple[Column, ...]) -> pa.RecordBatch | None:
    """Decode a block, or return None where something is unusual."""
    batch = None
    # As integers, ids are read much faster than as text.
    if any(column.kind == "id" for column in columns) and _plain_integers(block.data, places.delimiter):
        batch = _parsed(block, places, columns, pa.int64())
    return batch or _parsed(block, places, columns, _TEXT_IDS)


def _plain_integers(data: bytes, delimiter: str) -> bool:
    """Tell whether each value that reads as an integer is written in the only way: no 007, no -0."""
    text = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    zeros = np.flatnonzero(text == ord("0"))
    before, after = text[zeros - 1], text[zeros + 1]
    starts = np.zeros(256, bool)
    starts[[*b' \t\r\n"', ord(delimiter)]] = True
    leading = starts[before] & (after >= ord("0")) & (after <= ord("9"))
    return not bool(leading.any()) and b"-0" not in data


def _parsed(
    block: Block, places: Places, columns: tuple[Column, ...], id_type: pa.DataType
) -> pa.RecordBatch | None:
    wanted = [str(at) for at in places.at]
    types = [id_type if column.kind == "id" else column.type for column in columns]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(block.data),
            read_options=pa_csv.ReadOptions(
                column_names=[str(at) for at in range(places.count)],
                use_threads=False,
                block_size=len(block.data) + 1,
            ),
            parse_options=pa_csv.ParseOptions(delimiter=places.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict(zip(wanted, types, strict=True)),
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowCapacityError):
        return None
    arrays = []
    for column, name in zip(columns, wanted, strict=True):
        chunks = table[name].chunks
        if len(chunks) != 1:
            return None
        array = values.clean(column, chunks[0])
        if array is None:
            return None
        arrays.append(array)
    return pa.record_batch(arrays, names=[column.name for column in columns])


def _slow(uri: str, block: Block, places: Places, columns: tuple[Column, ...]) -> Decoded:
    """Decode a block row by row, to name the lines that the fast way refused."""
    problems: list[tuple[int, str]] = []
    rows = []
    lines = (line.decode("utf-8", "surrogateescape") for line in block.data.splitlines(keepends=True))
    reader = csv.reader(lines, delimiter=places.delimiter)
    try:
        for row in reader:
            if not row:
                continue
            problem = _problem(row, places, columns)
            if problem is None:
                rows.append([row[at] for at in places.at])
            else:
                problems.append((reader.line_num, problem))
    except csv.Error as error:
        problems.append((reader.line_num + 1, f"can't be read: {error}"))
    if not problems:
        return Decoded(uri, values.batch_of(columns, rows))
    before = block.lines_before
    return Decoded(uri, None, tuple(f"{uri}:{before + at}: {text}" for at, text in problems), len(problems))


def _problem(row: list[str], places: Places, columns: tuple[Column, ...]) -> str | None:
    if len(row) != places.count:
        return f"has {len(row)} columns instead of {places.count}: {places.delimiter.join(row)[:100]!r}"
    for column, at, shown in zip(columns, places.at, places.shown, strict=True):
        problem = values.problem(column, shown, row[at])
        if problem:
            return problem
    return None
