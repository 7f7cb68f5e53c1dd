"""Buckets and objects: metadata in SQLite, content in files, every change one transaction."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.storage.conditions import Conditions
from airflow_ml_provider.emulator.storage.content import CHUNK, Content, ContentWriter
from airflow_ml_provider.emulator.storage.names import checked_bucket, checked_object

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
  name TEXT PRIMARY KEY, project TEXT, created REAL, updated REAL, metageneration INTEGER, fields TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT, name TEXT, generation INTEGER, metageneration INTEGER, live INTEGER,
  created REAL, updated REAL, deleted REAL, file TEXT, size INTEGER, md5 TEXT,
  crc32c TEXT, components INTEGER, fields TEXT,
  PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS live_objects ON objects (bucket, name) WHERE live = 1;
CREATE TABLE IF NOT EXISTS uploads (
  id TEXT PRIMARY KEY, bucket TEXT, params TEXT, fields TEXT, checks TEXT, total INTEGER, created REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (generation INTEGER);
"""
_COLUMNS = (
    "bucket, name, generation, metageneration, live, created, updated, deleted, file, size, md5, crc32c, "
    "components, fields"
)
MAX_COMPOSE = 32


@dataclass(frozen=True)
class StoredBucket:
    """A bucket. ``fields`` are those that its owner sets."""

    name: str
    project: str
    created: float
    updated: float
    metageneration: int
    fields: Mapping[str, Any]

    @property
    def versioned(self) -> bool:
        """Whether replaced objects stay as noncurrent versions."""
        return bool(self.fields.get("versioning", {}).get("enabled"))


@dataclass(frozen=True)
class StoredObject:
    """A generation of an object. ``fields`` are those that its owner sets."""

    bucket: str
    name: str
    generation: int
    metageneration: int
    live: bool
    created: float
    updated: float
    deleted: float | None
    content: Content
    components: int | None
    fields: Mapping[str, Any]


Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class ObjectStore:
    """Cloud Storage without HTTP. Safe to use from many threads; refusals are :class:`ApiError`.

    :param folder: of everything it keeps; made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / "content"
        self.partial = folder / "uploads"
        for path in (self.content, self.partial):
            path.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(folder / "metadata.db", check_same_thread=False, isolation_level=None)
        # What is committed survives the end of the process; only a power cut may lose the latest.
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)
        self._remove_strays()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    # --- buckets

    def insert_bucket(self, name: str, project: str, fields: Mapping[str, Any]) -> StoredBucket:
        """Make a bucket.

        :raises ApiError: 400 for its name, 409 if it exists.
        """
        checked_bucket(name)
        now = time.time()
        with self._transaction():
            if self._bucket(name) is not None:
                raise ApiError(
                    409,
                    "Your previous request to create the named bucket succeeded and you already own it.",
                    reason="conflict",
                )
            row = (name, project, now, now, 1, json.dumps(dict(fields)))
            self._db.execute("INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?)", row)
        return StoredBucket(name, project, now, now, 1, dict(fields))

    def bucket(self, name: str) -> StoredBucket:
        """Return a bucket.

        :raises ApiError: 404.
        """
        with self._lock:
            found = self._bucket(name)
        if found is None:
            raise ApiError(404, "The specified bucket does not exist.", reason="notFound")
        return found

    def has_bucket(self, name: str) -> bool:
        """Return whether a bucket exists."""
        with self._lock:
            return self._bucket(name) is not None

    def require_bucket(self, name: str) -> None:
        """Refuse a bucket that does not exist.

        :raises ApiError: 404.
        """
        self.bucket(name)

    def buckets(self, project: str, prefix: str = "") -> list[StoredBucket]:
        """Return a project's buckets by name."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM buckets WHERE project = ? ORDER BY name", (project,))
            found = [_bucket(row) for row in rows]
        return [bucket for bucket in found if bucket.name.startswith(prefix)]

    def change_bucket(self, name: str, change: Change, conditions: Conditions) -> StoredBucket:
        """Replace the fields that a bucket's owner sets."""
        with self._transaction():
            bucket = self.bucket(name)
            conditions.check(0, bucket.metageneration)
            fields = json.dumps(dict(change(bucket.fields)))
            self._db.execute(
                "UPDATE buckets SET fields = ?, updated = ?, metageneration = metageneration + 1 "
                "WHERE name = ?",
                (fields, time.time(), name),
            )
            return self.bucket(name)

    def delete_bucket(self, name: str, conditions: Conditions) -> None:
        """Delete a bucket.

        :raises ApiError: 409 if it holds objects, also noncurrent ones.
        """
        with self._transaction():
            conditions.check(0, self.bucket(name).metageneration)
            if self._db.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (name,)).fetchone():
                raise ApiError(409, "The bucket you tried to delete is not empty.", reason="conflict")
            self._db.execute("DELETE FROM buckets WHERE name = ?", (name,))

    # --- objects

    def put(
        self,
        bucket: str,
        name: str,
        content: Content,
        fields: Mapping[str, Any],
        conditions: Conditions = Conditions(),  # noqa: B008
        components: int | None = None,
    ) -> StoredObject:
        """Make content the live generation of an object."""
        checked_object(name)
        with self._transaction():
            owner = self.bucket(bucket)
            old = self._live(bucket, name)
            conditions.check(*_versions(old))
            self._retire(owner, old)
            now = time.time()
            generation = self._next_generation(now)
            row: list[Any] = [bucket, name, generation, 1, 1, now, now, None, content.file, content.size]
            row += [content.md5, content.crc32c, components, json.dumps(dict(fields))]
            self._db.execute(f"INSERT INTO objects ({_COLUMNS}) VALUES ({', '.join('?' * 14)})", row)  # noqa: S608
        if old is not None and not owner.versioned:
            self._unlink(old.content.file)
        return self.get(bucket, name, generation)

    def find(self, bucket: str, name: str, generation: int | None = None) -> StoredObject | None:
        """Return an object's live generation, or the one asked for, or None.

        :raises ApiError: 404 if the bucket does not exist.
        """
        with self._lock:
            self.bucket(bucket)
            if generation is None:
                return self._live(bucket, name)
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND name = ? AND generation = ?",  # noqa: S608
                (bucket, name, generation),
            ).fetchone()
            return _object(row) if row else None

    def get(self, bucket: str, name: str, generation: int | None = None) -> StoredObject:
        """Return an object.

        :raises ApiError: 404.
        """
        found = self.find(bucket, name, generation)
        if found is None:
            suffix = f"#{generation}" if generation is not None else ""
            raise ApiError(404, f"No such object: {bucket}/{name}{suffix}", reason="notFound")
        return found

    def opened(self, bucket: str, name: str, generation: int | None = None) -> tuple[StoredObject, IO[bytes]]:
        """Return an object and its content, which stays readable whatever happens to the object."""
        with self._lock:
            found = self.get(bucket, name, generation)
            return found, (self.content / found.content.file).open("rb")

    def change(
        self, bucket: str, name: str, generation: int | None, change: Change, conditions: Conditions
    ) -> StoredObject:
        """Replace the fields that an object's owner sets."""
        with self._transaction():
            found = self.get(bucket, name, generation)
            conditions.check(found.generation, found.metageneration)
            self._db.execute(
                "UPDATE objects SET fields = ?, updated = ?, metageneration = metageneration + 1 "
                "WHERE bucket = ? AND name = ? AND generation = ?",
                (json.dumps(dict(change(found.fields))), time.time(), bucket, name, found.generation),
            )
            return self.get(bucket, name, found.generation)

    def delete(self, bucket: str, name: str, generation: int | None, conditions: Conditions) -> None:
        """Delete an object; in a versioned bucket, a delete without generation keeps it as noncurrent."""
        with self._transaction():
            owner = self.bucket(bucket)
            found = self.find(bucket, name, generation)
            conditions.check(*_versions(found))
            if found is None:
                self.get(bucket, name, generation)
            assert found is not None
            keep = owner.versioned and generation is None
            if keep:
                self._retire(owner, found)
            else:
                self._db.execute(
                    "DELETE FROM objects WHERE bucket = ? AND name = ? AND generation = ?",
                    (bucket, name, found.generation),
                )
        if not keep:
            self._unlink(found.content.file)

    def objects(
        self, bucket: str, *, prefix: str = "", start: str = "", end: str = "", versions: bool = False
    ) -> Iterator[StoredObject]:
        """Yield a bucket's objects by name, in the order of their UTF-8 bytes.

        :param start: the first name.
        :param end: the first name that is not wanted; "" for all.
        :param versions: noncurrent generations as well.
        """
        self.bucket(bucket)
        position = (max(prefix, start), 0)
        while True:
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND (name, generation) >= (?, ?) "  # noqa: S608
                    f"{'' if versions else 'AND live = 1'} ORDER BY name, generation LIMIT 1000",
                    (bucket, *position),
                ).fetchall()
            for row in rows:
                found = _object(row)
                if not found.name.startswith(prefix) or (end and found.name >= end):
                    return
                yield found
            if len(rows) < 1000:
                return
            position = (rows[-1][1], rows[-1][2] + 1)

    # --- what the other services use

    def open(self, bucket: str, name: str) -> BinaryIO:
        """Return an object's content as a file.

        :raises ApiError: 404.
        """
        return self.opened(bucket, name)[1]  # type: ignore[return-value]

    def write(
        self,
        bucket: str,
        name: str,
        source: BinaryIO | bytes,
        content_type: str = "application/octet-stream",
        if_generation_match: int | None = None,
    ) -> dict[str, Any]:
        """Write an object.

        :return: its bucket, name, generation and size.
        """
        self.require_bucket(bucket)
        writer = ContentWriter(self.content)
        try:
            if isinstance(source, bytes):
                writer.write(source)
            else:
                writer.write_all(iter(lambda: source.read(CHUNK), b""))
            content = writer.finish()
            conditions = Conditions(generation_match=if_generation_match)
            made = self.put(bucket, name, content, {"contentType": content_type}, conditions)
        except BaseException:
            writer.discard()
            raise
        return {"bucket": bucket, "name": name, "generation": str(made.generation), "size": str(content.size)}

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the names of a bucket's objects that begin with a prefix."""
        return [found.name for found in self.objects(bucket, prefix=prefix)]

    # --- resumable uploads

    def begin_upload(
        self, upload_id: str, bucket: str, params: Mapping[str, Any], more: Mapping[str, Any]
    ) -> None:
        """Remember an upload that will come in parts, across restarts."""
        row = (
            upload_id,
            bucket,
            json.dumps(dict(params)),
            json.dumps(more["fields"]),
            json.dumps(more["checks"]),
        )
        with self._transaction():
            self._db.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, more["total"], time.time())
            )

    def upload(self, upload_id: str) -> dict[str, Any] | None:
        """Return what an upload was begun with, or None."""
        with self._lock:
            row = self._db.execute("SELECT * FROM uploads WHERE id = ?", (upload_id,)).fetchone()
        if row is None:
            return None
        return {
            "bucket": row[1],
            "params": json.loads(row[2]),
            "fields": json.loads(row[3]),
            "checks": json.loads(row[4]),
            "total": row[5],
        }

    def end_upload(self, upload_id: str) -> None:
        """Forget an upload."""
        with self._transaction():
            self._db.execute("DELETE FROM uploads WHERE id = ?", (upload_id,))
        (self.partial / upload_id).unlink(missing_ok=True)

    # --- below

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _bucket(self, name: str) -> StoredBucket | None:
        row = self._db.execute("SELECT * FROM buckets WHERE name = ?", (name,)).fetchone()
        return _bucket(row) if row else None

    def _live(self, bucket: str, name: str) -> StoredObject | None:
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND name = ? AND live = 1",  # noqa: S608
            (bucket, name),
        ).fetchone()
        return _object(row) if row else None

    def _retire(self, owner: StoredBucket, old: StoredObject | None) -> None:
        if old is None:
            return
        key = (old.bucket, old.name, old.generation)
        if owner.versioned:
            sql = "UPDATE objects SET live = 0, deleted = ? WHERE bucket = ? AND name = ? AND generation = ?"
            self._db.execute(sql, (time.time(), *key))
        else:
            self._db.execute("DELETE FROM objects WHERE bucket = ? AND name = ? AND generation = ?", key)

    def _next_generation(self, now: float) -> int:
        row = self._db.execute("SELECT generation FROM counter").fetchone()
        generation = max(int(now * 1e6), row[0] + 1 if row else 0)
        self._db.execute("DELETE FROM counter")
        self._db.execute("INSERT INTO counter VALUES (?)", (generation,))
        return generation

    def _unlink(self, file: str) -> None:
        # A copy in the same store shares its source's content.
        with self._lock:
            if not self._db.execute("SELECT 1 FROM objects WHERE file = ? LIMIT 1", (file,)).fetchone():
                (self.content / file).unlink(missing_ok=True)

    def _remove_strays(self) -> None:
        """Remove content that a killed emulator wrote but did not come to use."""
        used = {row[0] for row in self._db.execute("SELECT file FROM objects")}
        for path in self.content.glob("*/*"):
            if f"{path.parent.name}/{path.name}" not in used:
                path.unlink()
        uploads = {row[0] for row in self._db.execute("SELECT id FROM uploads")}
        for path in self.partial.iterdir():
            if path.name not in uploads:
                path.unlink()


def _versions(found: StoredObject | None) -> tuple[int, int]:
    return (found.generation, found.metageneration) if found else (0, 0)


def _bucket(row: Sequence[Any]) -> StoredBucket:
    name, project, created, updated, metageneration, fields = row
    return StoredBucket(name, project, created, updated, metageneration, json.loads(fields))


def _object(row: Sequence[Any]) -> StoredObject:
    bucket, name, generation, metageneration, live, created, updated, deleted = row[:8]
    content = Content(file=row[8], size=row[9], md5=row[10], crc32c=row[11])
    return StoredObject(
        bucket=bucket,
        name=name,
        generation=generation,
        metageneration=metageneration,
        live=bool(live),
        created=created,
        updated=updated,
        deleted=deleted,
        content=content,
        components=row[12],
        fields=json.loads(row[13]),
    )
