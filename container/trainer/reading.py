"""Reading tables: CSV, NDJSON and Parquet, plain or gzip, any number of files, as Arrow batches.

Files are cut into blocks that are decoded in parallel and handed out in order, a few at a time, so that
memory does not grow with the data. What is wrong is told together, once all files were looked at.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from trainer import delimited, ndjson, parquet
from trainer.errors import InputError
from trainer.files import File, local_copies
from trainer.tables import Decoded, Layout

_SHOWN_ROWS = 5
_SHOWN_FILES = 5
# A file with this many bad rows is not read to its end only to count them.
_ENOUGH = 10_000


def read_batches(files: Sequence[File], layout: Layout) -> Iterator[pa.RecordBatch]:
    """Read files as one table.

    The format is told by a file's content, not by its name. A file with nothing but a header counts as one
    without rows, as BigQuery writes them.

    :param files: what to read, in this order.
    :param layout: the columns that are wanted.
    :returns: the rows, in batches of some 10 MB.
    :raises InputError: at the end, what is wrong: file, line or row, column and value.
    """
    problems = _Problems()
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for decoded in _in_order(pool, _pieces(files, layout, problems), threads + 1):
            if decoded.problems:
                problems.add(decoded)
            elif not problems and decoded.batch is not None and decoded.batch.num_rows:
                yield decoded.batch
    if problems:
        raise InputError(str(problems))


@dataclass
class _Problems:
    texts: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.texts)

    def add(self, decoded: Decoded) -> None:
        texts = self.texts.setdefault(decoded.uri, [])
        texts += decoded.problems[: _SHOWN_ROWS - len(texts)]
        self.rows[decoded.uri] = self.rows.get(decoded.uri, 0) + decoded.bad

    def enough(self, uri: str) -> bool:
        return self.rows.get(uri, 0) >= _ENOUGH

    def __str__(self) -> str:
        told: list[str] = []
        for uri, texts in list(self.texts.items())[:_SHOWN_FILES]:
            told += texts
            more = self.rows[uri] - len(texts)
            if more > 0:
                at_least = "at least " if self.enough(uri) else ""
                told.append(f"and {at_least}{more} more bad rows in this file")
        if len(self.texts) > _SHOWN_FILES:
            told.append(f"and {len(self.texts) - _SHOWN_FILES} more files with problems")
        return "; ".join(told)


def _pieces(files: Sequence[File], layout: Layout, problems: _Problems) -> Iterator[Callable[[], Decoded]]:
    """Give the work of decoding, part by part; what is wrong with a whole file comes in its turn."""
    filled = [file for file in files if file.size]
    copies = local_copies(filled)
    for file in files:
        if not file.size:
            yield _refusal(
                file, f"{file.uri}: is empty (0 bytes), not even a header: the export that wrote it failed"
            )
            continue
        path = next(copies)
        try:
            with path.open("rb") as raw:
                magic = raw.read(4)
            if magic == b"PAR1":
                pieces = parquet.pieces(file.uri, path, layout)
            elif ndjson.looks_like(path, magic):
                pieces = ndjson.pieces(file.uri, path, magic, layout)
            else:
                pieces = delimited.pieces(file.uri, path, magic, layout)
            for piece in pieces:
                if problems.enough(file.uri):
                    break
                yield piece
        except InputError as error:
            yield _refusal(file, str(error))


def _refusal(file: File, problem: str) -> Callable[[], Decoded]:
    return lambda: Decoded(file.uri, None, (problem,))


def _in_order(
    pool: ThreadPoolExecutor, work: Iterable[Callable[[], Decoded]], ahead: int
) -> Iterator[Decoded]:
    waiting: deque[Future[Decoded]] = deque()
    for piece in work:
        waiting.append(pool.submit(piece))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
