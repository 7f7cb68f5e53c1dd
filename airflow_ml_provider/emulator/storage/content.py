"""Content of objects as files: written once, checked while written, never changed."""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import google_crc32c

CHUNK = 1 << 20


@dataclass(frozen=True)
class Content:
    """A finished file.

    :param file: its name in the folder of contents.
    :param size: in bytes.
    :param md5: base64; None for composed objects, as in Cloud Storage.
    :param crc32c: base64 of the big-endian bytes.
    """

    file: str
    size: int
    md5: str | None
    crc32c: str


class ContentWriter:
    """Writes one content file, at once or with pauses.

    :param folder: where content lies.
    :param file: goes on with what is there of this file, rather than with a new one.
    :param keep: how many bytes of it are to be kept; the rest is cut off.
    """

    def __init__(self, folder: Path, file: str | None = None, keep: int = 0) -> None:
        name = uuid.uuid4().hex
        self.file = file or f"{name[:2]}/{name}"
        self.size = 0
        self._path = folder / self.file
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc = 0
        self._open: IO[bytes] | None = None
        if file is not None and self._path.exists():
            os.truncate(self._path, keep)
            with self._path.open("rb") as written:
                while chunk := written.read(CHUNK):
                    self._add(chunk)

    def write(self, data: bytes) -> None:
        """Append."""
        if self._open is None:
            self._open = self._path.open("ab", buffering=0)
        view = memoryview(data)
        while view:
            view = view[self._open.write(view) :]
        self._add(data)

    def write_all(self, chunks: Iterable[bytes]) -> None:
        """Append all of them."""
        for chunk in chunks:
            self.write(chunk)

    def pause(self) -> None:
        """Close the file until the next write."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def finish(self, *, composed: bool = False) -> Content:
        """Return the content, which a kill of the emulator can't take away any more.

        :param composed: whether it has no MD5, as what was composed in Cloud Storage has none.
        """
        if self.size == 0:
            self._path.touch()
        self.pause()
        crc = base64.b64encode(self._crc.to_bytes(4, "big")).decode()
        md5 = None if composed else base64.b64encode(self._md5.digest()).decode()
        return Content(self.file, self.size, md5, crc)

    def discard(self) -> None:
        """Remove what was written."""
        self.pause()
        self._path.unlink(missing_ok=True)

    def _add(self, data: bytes) -> None:
        self._md5.update(data)
        self._crc = google_crc32c.extend(self._crc, data)
        self.size += len(data)


def read(file: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    """Yield a range of an open file, and close it.

    :param start: first byte.
    :param length: how many.
    """
    with file:
        file.seek(start)
        while length > 0:
            chunk = file.read(min(CHUNK, length))
            if not chunk:
                return
            length -= len(chunk)
            yield chunk
