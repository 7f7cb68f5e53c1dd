"""Reading files of rows into one table: numbers as float64, texts as dictionaries."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, json, parquet

from trainer import files
from trainer.errors import InputError
from trainer.files import File
from trainer.tabular.schema import is_identifier

# Files that come without a header, by their number of columns and delimiter.
_LAYOUTS = {
    (15, ","): (
        "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
        "relationship", "race", "gender", "capital_gain", "capital_loss", "hours_per_week",
        "native_country", "income_bracket",
    ),
    (4, "\t"): ("userId", "itemId", "rating", "timestamp"),
}  # fmt: skip
# Sampling weights, which say nothing about a person; AI Platform's sample leaves them out, too.
UNUSED = ("fnlwgt",)
_EMPTY = ("", "null", "NULL", "None", "NaN", "nan", "NA", "N/A", "#N/A", "\\N")
_UNKNOWN_NUMBERS = (*_EMPTY, "?", "-", "unknown")
# A column in which so many of its texts' rows are numbers is one of numbers, and the others are mistakes.
_MOSTLY = 0.95
_SHOWN = 10
_TEXT = pa.dictionary(pa.int32(), pa.string())
_DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True)
class Form:
    """What the arguments say about the files; None where each file itself decides.

    :param delimiter: of CSV files.
    :param names: of the columns of CSV files without a header.
    """

    delimiter: str | None = None
    names: tuple[str, ...] | None = None


def read_table(found: Sequence[File], form: Form, kinds: Mapping[str, str]) -> pa.Table:
    """Read files of the same columns, in parallel.

    :param found: CSV, newline-delimited JSON (``.json``, ``.jsonl``, ``.ndjson``) or Parquet, also gzip.
    :param form: of CSV files.
    :param kinds: ``number``, ``category`` or ``ignore`` by column; the others' kind is that of their values.
    :returns: as many rows as the files have, in their order; nulls where a value is missing.
    :raises InputError: everything that is wrong, by file, row and column.
    """
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda file: _read(file, form), found))
    _same_columns(found, parts)
    names = [name for name in parts[0].column_names if kinds.get(name) != "ignore"]
    problems: list[str] = []
    columns = {}
    for name in names:
        chunks = [part.column(name) for part in parts]
        columns[name] = _column(name, chunks, kinds.get(name), found, problems)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError("; ".join(problems[:_SHOWN]) + more)
    table = pa.table(columns)
    if not table.num_rows:
        raise InputError(f"{', '.join(file.uri for file in found[:3])}: no rows")
    return table


def place(found: Sequence[File], table_rows: Sequence[int], row: int) -> str:
    """Return the file and row, counted from 1, of a row of the table."""
    for file, count in zip(found, table_rows, strict=True):
        if row < count:
            return f"{file.uri}: row {row + 1}"
        row -= count
    raise IndexError(row)


def _read(file: File, form: Form) -> pa.Table:
    if file.size == 0:
        raise InputError(f"{file.uri}: is empty (0 bytes)")
    name = file.uri.lower().removesuffix(".gz")
    with files.local_copy(file) as path:
        try:
            if name.endswith(".parquet") or _starts(path, b"PAR1"):
                table = parquet.read_table(path, use_threads=True)
            elif name.endswith((".json", ".jsonl", ".ndjson")):
                with _opened(path) as source:
                    table = json.read_json(source)
            else:
                table = _read_csv(file, path, form)
        except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise InputError(f"{file.uri}: can't be read: {str(error).splitlines()[0]}") from error
    names = table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"{file.uri}: the header lists column {', '.join(twice)} twice")
    return table


def _read_csv(file: File, path: Path, form: Form) -> pa.Table:
    with _opened(path) as source:
        first = _first_line(file, source)
    delimiter = form.delimiter or max(_DELIMITERS, key=first.count)
    values = [value.strip().strip('"') for value in first.split(delimiter)]
    headerless = any(_is_number(value) for value in values)
    names = form.names if headerless or form.names == tuple(values) else None
    if headerless and names is None:
        names = _LAYOUTS.get((len(values), delimiter))
        if names is None:
            raise InputError(
                f"{file.uri}: the first line has no column names ({first[:100]!r}); give --column-names"
            )
    if names is None:
        names = tuple(values)
    if len(names) != len(values):
        raise InputError(f"{file.uri}: {len(values)} columns, expected {len(names)}: {', '.join(names)}")
    bad: list[str] = []

    def refuse(row: csv.InvalidRow) -> str:
        where = f" (row {row.number})" if row.number else ""
        bad.append(f"{file.uri}{where}: {row.actual_columns} columns, expected {row.expected_columns}")
        return "skip"

    with _opened(path) as source:
        table = csv.read_csv(
            source,
            csv.ReadOptions(column_names=names, skip_rows=0 if headerless else 1, block_size=4 << 20),
            csv.ParseOptions(delimiter=delimiter, newlines_in_values=False, invalid_row_handler=refuse),
            csv.ConvertOptions(
                column_types=dict.fromkeys(names, _TEXT), strings_can_be_null=True, null_values=list(_EMPTY)
            ),
        )
    if bad:
        raise InputError("; ".join(bad[:_SHOWN]))
    return table


def _column(
    name: str, chunks: list[pa.ChunkedArray], kind: str | None, found: Sequence[File], problems: list[str]
) -> pa.ChunkedArray:
    """Return a column of all files as numbers or as texts, and note what is wrong."""
    for file, chunk in zip(found, chunks, strict=True):
        if pa.types.is_nested(chunk.type) and not pa.types.is_dictionary(chunk.type):
            problems.append(f"{file.uri}: column {name} is nested ({chunk.type}); ignore it or flatten it")
            return chunk
    plain = [chunk for chunk in chunks if not pa.types.is_null(chunk.type)]
    all_numbers = all(_is_numeric(chunk.type) for chunk in plain)
    if kind is None and is_identifier(name):
        kind = "category"
    if all_numbers and plain and kind != "category":
        return _joined([pc.cast(chunk, pa.float64(), safe=False) for chunk in chunks], pa.float64())
    texts = _joined([_as_text(chunk) for chunk in chunks], _TEXT).unify_dictionaries()
    if kind == "category" or not texts.num_chunks:
        return texts
    vocabulary = texts.chunk(0).dictionary.to_pylist()
    numbers = np.array([_number(value) for value in vocabulary], object)
    wrong = np.array([value is None for value in numbers], bool)
    codes = np.concatenate([np.asarray(chunk.indices.fill_null(-1)) for chunk in texts.chunks])
    counts = np.bincount(codes[codes >= 0], minlength=len(vocabulary))
    filled = max(int(counts.sum()), 1)
    share = 1 - counts[wrong].sum() / filled if wrong.any() else 1.0
    if kind != "number" and (share < _MOSTLY or not filled or not len(vocabulary)):
        return texts
    if wrong.any():
        lengths = [len(chunk) for chunk in chunks]
        for row in np.flatnonzero((codes >= 0) & wrong[codes])[: _SHOWN + 1]:
            problems.append(
                f"{place(found, lengths, int(row))}: column {name}: {vocabulary[codes[row]]!r} is not a "
                f"number, as {share:.1%} of the rows are"
            )
        return texts
    values = np.append(numbers.astype(np.float64), np.nan)[codes]
    return pa.chunked_array([pa.array(values, pa.float64(), from_pandas=True)])


def _as_text(chunk: pa.ChunkedArray) -> pa.ChunkedArray:
    if chunk.type == _TEXT and all(
        pc.all(pc.equal(pc.utf8_trim_whitespace(part.dictionary), part.dictionary)).as_py() is not False
        for part in chunk.chunks
    ):
        return chunk
    if pa.types.is_dictionary(chunk.type):
        chunk = pc.cast(chunk, chunk.type.value_type)
    return pc.cast(pc.utf8_trim_whitespace(pc.cast(chunk, pa.string())).dictionary_encode(), _TEXT)


def _joined(chunks: list[pa.ChunkedArray], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([part for chunk in chunks for part in chunk.chunks], kind)


def _same_columns(found: Sequence[File], parts: list[pa.Table]) -> None:
    problems = []
    sets = [set(part.column_names) for part in parts]
    usual = max(sets, key=lambda names: (sets.count(names), len(names)))
    example = found[sets.index(usual)].uri
    for file, names in zip(found, sets, strict=True):
        if usual - names:
            problems.append(f"{file.uri}: column {', '.join(sorted(usual - names))} is missing")
        if names - usual:
            problems.append(f"{file.uri}: column {', '.join(sorted(names - usual))} is not expected")
    if problems:
        raise InputError(f"{'; '.join(problems[:_SHOWN])} (compared with {example})")


def _first_line(file: File, source: IO[bytes]) -> str:
    raw = source.readline(1 << 20)
    try:
        line = raw.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{file.uri}: is not UTF-8 text: {error}") from error
    if not line.strip():
        raise InputError(f"{file.uri}:1: the first line is empty")
    return line


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if _starts(path, b"\x1f\x8b") else path.open("rb")  # type: ignore[return-value]


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as source:
        return source.read(len(magic)) == magic


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


def _number(text: str) -> float | None:
    stripped = text.strip()
    if stripped in _UNKNOWN_NUMBERS:
        return float("nan")
    try:
        return float(stripped) if "_" not in stripped else None
    except ValueError:
        return None
