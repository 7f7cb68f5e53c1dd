"""Reading files of one JSON object a line.

BigQuery writes 64-bit integers as texts, and leaves fields out that are null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from trainer import values
from trainer.blocks import Block, blocks, first_line, opened
from trainer.errors import InputError
from trainer.tables import Column, Decoded, Layout

# Lines that show which columns there are.
_HEAD = 1000


def looks_like(path: Path, magic: bytes) -> bool:
    """Tell whether a file's first line is the beginning of a JSON object."""
    try:
        line = first_line("", path, magic).lstrip()
    except InputError:
        return False
    return line.startswith(b"{")


def pieces(uri: str, path: Path, magic: bytes, layout: Layout) -> Iterator[Callable[[], Decoded]]:
    """Give the work of decoding a file, block by block.

    :raises InputError: the columns are not there, or the file can't be read.
    """
    head = _head(uri, path, magic)
    names = list(dict.fromkeys(name for record in head for name in record))
    places = layout.in_names(uri, names)
    wanted = [names[at] for at in places.at]
    # What the first lines hold decides; a line that differs is read the slow way.
    kinds = {
        name: _kind(column, next((r[name] for r in head if r.get(name) is not None), None))
        for name, column in zip(wanted, layout.columns, strict=True)
    }
    for block in blocks(uri, path, magic, skip_first_line=False, quoted=False):
        yield partial(_decode, uri, block, wanted, kinds, layout.columns)


def _head(uri: str, path: Path, magic: bytes) -> list[dict[str, Any]]:
    head: list[dict[str, Any]] = []
    with opened(path, magic) as source:
        try:
            for line, _ in zip(source, range(_HEAD), strict=False):
                record = json.loads(line.decode("utf-8-sig", "replace")) if line.strip() else None
                if isinstance(record, dict):
                    head.append(record)
        except ValueError as error:
            if not head:
                raise InputError(f"{uri}:1: is not a JSON object: {error}") from error
        except (OSError, EOFError) as error:
            raise InputError(f"{uri}: can't be read: {error}") from error
    return head


def _kind(column: Column, example: Any) -> pa.DataType:
    if isinstance(example, str) or column.kind == "text":
        return pa.string()
    return pa.int64() if column.kind == "id" else column.type


def _decode(
    uri: str,
    block: Block,
    names: Sequence[str],
    kinds: dict[str, pa.DataType],
    columns: tuple[Column, ...],
) -> Decoded:
    batch = _fast(block, names, kinds, columns)
    return Decoded(uri, batch) if batch else _slow(uri, block, names, columns)


def _fast(
    block: Block, names: Sequence[str], kinds: dict[str, pa.DataType], columns: tuple[Column, ...]
) -> pa.RecordBatch | None:
    try:
        table = pa_json.read_json(
            pa.BufferReader(block.data),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
            parse_options=pa_json.ParseOptions(
                explicit_schema=pa.schema(list(kinds.items())), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowCapacityError):
        return None
    arrays = []
    for column, name in zip(columns, names, strict=True):
        chunks = table[name].chunks
        array = values.clean(column, chunks[0]) if len(chunks) == 1 else None
        if array is None:
            return None
        arrays.append(array)
    return pa.record_batch(arrays, names=[column.name for column in columns])


def _slow(uri: str, block: Block, names: Sequence[str], columns: tuple[Column, ...]) -> Decoded:
    """Decode a block line by line, to name the lines that the fast way refused."""
    problems: list[tuple[int, str]] = []
    rows = []
    for at, line in enumerate(block.data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            problems.append((at, f"is not a JSON object: {error}"))
            continue
        if not isinstance(record, dict):
            problems.append((at, f"is not a JSON object: {line[:50]!r}"))
            continue
        row = [record.get(name) for name in names]
        wrong = (values.problem(c, n, v) for c, n, v in zip(columns, names, row, strict=True))
        problem = next((text for text in wrong if text), None)
        if problem is None:
            rows.append(row)
        else:
            problems.append((at, problem))
    if not problems:
        return Decoded(uri, values.batch_of(columns, rows))
    before = block.lines_before
    return Decoded(uri, None, tuple(f"{uri}:{before + at}: {text}" for at, text in problems), len(problems))
