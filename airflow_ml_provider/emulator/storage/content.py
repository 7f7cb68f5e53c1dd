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

    :param file: its name in the store's folder.
    :param md5: base64; None for composed objects, as in Cloud Storage.
    :param crc32c: base64 of the big-endian bytes.
    """

    file: str
    size: int
    md5: str | None
    crc32c: str


class ContentWriter:
    """Writes one content file; without :meth:`finish` nothing of it stays.

    :param folder: where content lies.
    """

    def __init__(self, folder: Path) -> None:
        name = uuid.uuid4().hex
        self._name = f"{name[:2]}/{name}"
        self._path = folder / self._name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = self._path.open("wb")
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._md5.update(data)
        self._crc = google_crc32c.extend(self._crc, data)
        self.size += len(data)

    def write_all(self, chunks: Iterable[bytes]) -> None:
        """Append all of them."""
        for chunk in chunks:
            self.write(chunk)

    def finish(self, *, composed: bool = False) -> Content:
        """Put the content on disk."""
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self._file.close()
        crc = base64.b64encode(self._crc.to_bytes(4, "big")).decode()
        md5 = None if composed else base64.b64encode(self._md5.digest()).decode()
        return Content(self._name, self.size, md5, crc)

    def discard(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def read(file: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    """Yield a range of an open file, and close it."""
    with file:
        file.seek(start)
        while length > 0:
            chunk = file.read(min(CHUNK, length))
            if not chunk:
                return
            length -= len(chunk)
            yield chunk
