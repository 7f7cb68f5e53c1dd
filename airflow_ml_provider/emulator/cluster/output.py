"""A replica's output, cut into lines."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import BinaryIO

# Cloud Logging takes entries of up to 256 KB; UTF-8 needs up to 4 bytes a character.
LONGEST_LINE = 60_000
_CHUNK = 1 << 16


def read_lines(stream: BinaryIO, take: Callable[[str], None]) -> None:
    """Hand over every line of a stream, until its end.

    The last line may lack its newline. Lines of more than ``LONGEST_LINE`` characters come in pieces, bytes
    that are not UTF-8 as U+FFFD.

    :param stream: an unbuffered pipe.
    :param take: called with each line, without its end.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while chunk := stream.read(_CHUNK):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            _take_pieces(line.removesuffix("\r"), take)
        while len(rest) > LONGEST_LINE:
            take(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
    rest += decoder.decode(b"", final=True)
    if rest:
        _take_pieces(rest, take)


def _take_pieces(line: str, take: Callable[[str], None]) -> None:
    for at in range(0, len(line) or 1, LONGEST_LINE):
        take(line[at : at + LONGEST_LINE])
