"""Text files, plain or gzip, cut into blocks of whole lines."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from trainer.errors import InputError

_SIZE = 16 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    :param lines_before: how many lines of the file come before it.
    :param data: its bytes.
    """

    lines_before: int
    data: bytes


def opened(path: Path, magic: bytes) -> IO[bytes]:
    """Open a file for reading, decompressed.

    :param path: of the file.
    :param magic: its first bytes.
    """
    return gzip.open(path, "rb") if magic[:2] == b"\x1f\x8b" else path.open("rb")


def first_line(uri: str, path: Path, magic: bytes) -> bytes:
    """Return a file's first line without its end and byte order mark.

    :raises InputError: there is none, or it can't be read.
    """
    try:
        with opened(path, magic) as lines:
            line = lines.readline(1 << 20)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{uri}: can't be read: {error}") from error
    if not line:
        raise InputError(f"{uri}: is empty once decompressed, not even a header")
    return line.removeprefix(_BOM).rstrip(b"\r\n")


def blocks(uri: str, path: Path, magic: bytes, skip_first_line: bool, quoted: bool) -> Iterator[Block]:
    """Cut a file after ends of lines.

    :param uri: the file, for messages.
    :param path: of the file.
    :param magic: its first bytes.
    :param skip_first_line: leave the header out.
    :param quoted: whether a line break between double quotes is no end of a line, as in CSV.
    :raises InputError: the file can't be read to its end.
    """
    rest, lines = b"", 0
    try:
        with opened(path, magic) as source:
            if skip_first_line:
                source.readline()
                lines = 1
            elif (start := source.read(len(_BOM))) != _BOM:
                rest = start
            while data := source.read(_SIZE):
                data = rest + data
                end = _last_end(data, quoted)
                if end:
                    yield Block(lines, data[:end])
                    lines += np.count_nonzero(np.frombuffer(data, np.uint8, end) == ord("\n"))
                rest = data[end:]
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{uri}: can't be read: {error}") from error
    if rest:
        yield Block(lines, rest)


def _last_end(data: bytes, quoted: bool) -> int:
    """Return the position after the last end of a line that has an even number of quotes before it."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end) if quoted else 0
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end
