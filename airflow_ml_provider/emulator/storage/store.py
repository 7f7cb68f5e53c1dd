"""Buckets and objects: metadata in SQLite, content in files, every change one transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any, BinaryIO

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.storage.conditions import Conditions
from airflow_ml_provider.emulator.storage.content import CHUNK, Content, ContentWriter
from airflow_ml_provider.emulator.storage.database import Database
from airflow_ml_provider.emulator.storage.names import checked_bucket, checked_object
from airflow_ml_provider.emulator.storage.records import COLUMNS, StoredBucket, StoredObject

_PAGE = 1000

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]
NO_CONDITIONS = Conditions()


class ObjectStore(Database):
    """Cloud Storage without HTTP. Safe to use from many threads; refusals are :class:`ApiError`."""

    # --- buckets

    def insert_bucket(self, name: str, project: str, fields: Mapping[str, Any]) -> StoredBucket:
        """Make a bucket.

        :raises ApiError: 400 for its name, 409 if it exists.
        """
        checked_bucket(name)
        now = time.time()
        with self.transaction() as db:
            old = self._bucket(name)
            if old is not None and old.project == project:
                raise ApiError(
                    409,
                    "Your previous request to create the named bucket succeeded and you already own it.",
                    reason="conflict",
                )
            if old is not None:
                raise ApiError(
                    409,
                    "The requested bucket name is not available. The bucket namespace is shared by all users "
                    "of the system. Please select a different name and try again.",
                    reason="conflict",
                )
            row = (name, project, now, now, 1, json.dumps(dict(fields)), None)
            db.execute("INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return StoredBucket(name, project, now, now, 1, dict(fields))

    def bucket(self, name: str) -> StoredBucket:
        """Return a bucket.

        :raises ApiError: 404; 400 for a name that none can have.
        """
        with self._lock:
            found = self._bucket(name)
        if found is None:
            checked_bucket(name)
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
            found = [StoredBucket.of_row(row) for row in rows]
        return [bucket for bucket in found if bucket.name.startswith(prefix)]

    def change_bucket(
        self,
        name: str,
        change: Change,
        conditions: Conditions = NO_CONDITIONS,
        policy: Mapping[str, Any] | None = None,
    ) -> StoredBucket:
        """Replace the fields that a bucket's owner sets.

        :param policy: also its IAM policy, if given.
        """
        with self.transaction() as db:
            bucket = self.bucket(name)
            conditions.check(0, bucket.metageneration)
            fields = json.dumps(dict(change(bucket.fields)))
            kept = policy if policy is not None else bucket.policy
            db.execute(
                "UPDATE buckets SET fields = ?, policy = ?, updated = ?, metageneration = metageneration + 1 "
                "WHERE name = ?",
                (fields, json.dumps(kept) if kept is not None else None, time.time(), name),
            )
            return self.bucket(name)

    def delete_bucket(self, name: str, conditions: Conditions = NO_CONDITIONS) -> None:
        """Delete a bucket.

        :raises ApiError: 409 if it holds objects, also noncurrent ones.
        """
        with self.transaction() as db:
            conditions.check(0, self.bucket(name).metageneration)
            if db.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (name,)).fetchone():
                raise ApiError(409, "The bucket you tried to delete is not empty.", reason="conflict")
            db.execute("DELETE FROM buckets WHERE name = ?", (name,))

    # --- objects

    def put(
        self,
        bucket: str,
        name: str,
        content: Content,
        fields: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
        components: int | None = None,
    ) -> StoredObject:
        """Make content the live generation of an object.

        :param components: of how many parts it is composed; None if it was written as a whole.
        """
        checked_object(name)
        with self.transaction() as db:
            owner = self.bucket(bucket)
            old = self._live(bucket, name)
            conditions.check(*((old.generation, old.metageneration) if old else (0, 0)))
            now = time.time()
            if old is not None:
                self._retire(owner, old, now)
            made = StoredObject(
                bucket=bucket,
                name=name,
                generation=self._next_generation(now),
                metageneration=1,
                live=True,
                created=now,
                updated=now,
                deleted=None,
                content=content,
                components=components,
                fields={"storageClass": owner.fields.get("storageClass", "STANDARD"), **fields},
            )
            marks = ", ".join("?" * 14)
            db.execute(f"INSERT INTO objects ({COLUMNS}) VALUES ({marks})", made.row)  # noqa: S608
        return made

    def write_object(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        fields: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
        *,
        accept: Callable[[Content], None] | None = None,
        whole: bool = True,
        components: int | None = None,
    ) -> StoredObject:
        """Write content and make it the live generation of an object.

        :param accept: raises if the content is not what it should be.
        :param whole: False if it was put together in Cloud Storage: then it has no MD5.
        :param components: see :meth:`put`.
        """
        self.require_bucket(bucket)
        checked_object(name)
        writer = ContentWriter(self.content)
        try:
            writer.write_all(chunks)
            content = writer.finish(composed=not whole)
            if accept is not None:
                accept(content)
            return self.put(bucket, name, content, fields, conditions, components)
        except BaseException:
            writer.pause()
            with self.transaction():
                self.abandon(writer.file)
            raise

    def find(self, bucket: str, name: str, generation: int | None = None) -> StoredObject | None:
        """Return an object's live generation, or the one asked for, or None.

        :raises ApiError: 404 if the bucket does not exist.
        """
        with self._lock:
            self.bucket(bucket)
            if generation is None:
                return self._live(bucket, name)
            row = self._db.execute(
                f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND name = ? AND generation = ?",  # noqa: S608
                (bucket, name, generation),
            ).fetchone()
            return StoredObject.of_row(row) if row else None

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
        with self.transaction() as db:
            found = self.get(bucket, name, generation)
            conditions.check(found.generation, found.metageneration)
            changed = replace(
                found,
                fields=dict(change(found.fields)),
                updated=time.time(),
                metageneration=found.metageneration + 1,
            )
            db.execute(
                "UPDATE objects SET fields = ?, updated = ?, metageneration = ? "
                "WHERE bucket = ? AND name = ? AND generation = ?",
                (
                    json.dumps(changed.fields),
                    changed.updated,
                    changed.metageneration,
                    *found.key,
                ),
            )
            return changed

    def delete(
        self,
        bucket: str,
        name: str,
        generation: int | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> None:
        """Delete an object; in a versioned bucket, a delete without generation keeps it as noncurrent."""
        with self.transaction():
            found = self.get(bucket, name, generation)
            conditions.check(found.generation, found.metageneration)
            if generation is None:
                self._retire(self.bucket(bucket), found, time.time())
            else:
                self._remove(found)

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
        limit = 64
        while True:
            with self._lock:
                rows = self._db.execute(
                    f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND (name, generation) >= (?, ?) "  # noqa: S608
                    f"{'' if versions else 'AND live = 1'} ORDER BY name, generation LIMIT ?",
                    (bucket, *position, limit),
                ).fetchall()
            for row in rows:
                if not row[1].startswith(prefix) or (end and row[1] >= end):
                    return
                yield StoredObject.of_row(row)
            if len(rows) < limit:
                return
            position = (rows[-1][1], rows[-1][2] + 1)
            limit = _PAGE

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

        :param source: its content, read to the end in pieces if it is a file.
        :param if_generation_match: the generation that must be live; 0 if none may be.
        :return: its bucket, name, generation and size.
        """
        chunks = [source] if isinstance(source, bytes) else iter(lambda: source.read(CHUNK), b"")
        conditions = Conditions(generation_match=if_generation_match)
        made = self.write_object(bucket, name, chunks, {"contentType": content_type}, conditions)
        return {
            "bucket": bucket,
            "name": name,
            "generation": str(made.generation),
            "size": str(made.content.size),
        }

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the names of a bucket's objects that begin with a prefix."""
        return [found.name for found in self.objects(bucket, prefix=prefix)]

    # --- below

    def _bucket(self, name: str) -> StoredBucket | None:
        row = self._db.execute("SELECT * FROM buckets WHERE name = ?", (name,)).fetchone()
        return StoredBucket.of_row(row) if row else None

    def _live(self, bucket: str, name: str) -> StoredObject | None:
        row = self._db.execute(
            f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND name = ? AND live = 1",  # noqa: S608
            (bucket, name),
        ).fetchone()
        return StoredObject.of_row(row) if row else None

    def _retire(self, owner: StoredBucket, old: StoredObject, now: float) -> None:
        """Make a live object noncurrent in a versioned bucket, and nothing in another."""
        if not (owner.versioned and old.live):
            self._remove(old)
            return
        old.check_not_held()
        sql = "UPDATE objects SET live = 0, deleted = ? WHERE bucket = ? AND name = ? AND generation = ?"
        self._db.execute(sql, (now, *old.key))

    def _remove(self, old: StoredObject) -> None:
        old.check_not_held()
        self._db.execute("DELETE FROM objects WHERE bucket = ? AND name = ? AND generation = ?", old.key)
        self.abandon(old.content.file)

    def _next_generation(self, now: float) -> int:
        """Return the time in microseconds, or more if that was given out already."""
        sql = (
            "INSERT INTO newest VALUES (0, ?1) ON CONFLICT (id) DO UPDATE "
            "SET generation = max(?1, generation + 1) RETURNING generation"
        )
        return int(self._db.execute(sql, (int(now * 1e6),)).fetchone()[0])
