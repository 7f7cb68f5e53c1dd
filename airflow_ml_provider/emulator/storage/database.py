"""Where Cloud Storage's state lies: one database, one folder of content, and transactions over both."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
  name TEXT PRIMARY KEY, project TEXT, created REAL, updated REAL, metageneration INTEGER, fields TEXT,
  policy TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT, name TEXT, generation INTEGER, metageneration INTEGER, live INTEGER,
  created REAL, updated REAL, deleted REAL, file TEXT, size INTEGER, md5 TEXT,
  crc32c TEXT, components INTEGER, fields TEXT,
  PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS live_objects ON objects (bucket, name) WHERE live = 1;
CREATE INDEX IF NOT EXISTS files_of_objects ON objects (file);
CREATE TABLE IF NOT EXISTS uploads (
  id TEXT PRIMARY KEY, created REAL, target TEXT, file TEXT, result TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
  upload TEXT, number INTEGER, file TEXT, size INTEGER, md5 TEXT, crc32c TEXT,
  PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS newest (id INTEGER PRIMARY KEY CHECK (id = 0), generation INTEGER);
"""
_USES_OF_FILE = (
    "SELECT 1 FROM objects WHERE file = :file UNION ALL SELECT 1 FROM uploads WHERE file = :file "
    "UNION ALL SELECT 1 FROM parts WHERE file = :file LIMIT 1"
)
# https://cloud.google.com/storage/docs/resumable-uploads#introduction: a session lasts a week.
_UPLOADS_LAST = 7 * 24 * 3600.0


class Database:
    """Metadata in SQLite and content in files. Safe to use from many threads.

    :param folder: of everything it keeps; made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.content = folder / "content"
        for number in range(256):
            (self.content / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._abandoned: list[str] = []
        self._db = sqlite3.connect(folder / "metadata.db", check_same_thread=False, isolation_level=None)
        # What is committed survives the end of the process, but a power cut may damage the latest.
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
        self._remove_strays()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all of what is done inside, or nothing, and let nobody else do anything meanwhile.

        Files that lost their object inside are removed at its end. Transactions may be nested.
        """
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._abandoned.clear()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            abandoned, self._abandoned = self._abandoned, []
            for file in abandoned:
                # A copy shares its source's content.
                if not self._db.execute(_USES_OF_FILE, {"file": file}).fetchone():
                    (self.content / file).unlink(missing_ok=True)

    def abandon(self, file: str) -> None:
        """Remove a content file when the transaction in progress ends, unless something uses it then."""
        self._abandoned.append(file)

    def _remove_strays(self) -> None:
        """Remove uploads that nobody finished, and content that a killed emulator did not come to use."""
        self._db.execute("DELETE FROM uploads WHERE created < ?", (time.time() - _UPLOADS_LAST,))
        self._db.execute("DELETE FROM parts WHERE upload NOT IN (SELECT id FROM uploads)")
        used = {
            row[0]
            for table in ("objects", "uploads", "parts")
            for row in self._db.execute(f"SELECT file FROM {table}")  # noqa: S608
        }
        for path in self.content.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in used:
                path.unlink()
