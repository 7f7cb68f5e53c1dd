"""Buckets and objects as the store knows them, and as rows of its database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.storage.content import Content

COLUMNS = (
    "bucket, name, generation, metageneration, live, created, updated, deleted, file, size, md5, crc32c, "
    "components, fields"
)


@dataclass(frozen=True)
class StoredBucket:
    """A bucket. ``fields`` are those that its owner sets, ``policy`` is its IAM policy if one was set."""

    name: str
    project: str
    created: float
    updated: float
    metageneration: int
    fields: Mapping[str, Any]
    policy: Mapping[str, Any] | None = None

    @property
    def versioned(self) -> bool:
        """Whether replaced objects stay as noncurrent versions."""
        return bool(self.fields.get("versioning", {}).get("enabled"))

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> StoredBucket:
        """Return the bucket that a row of the database holds."""
        name, project, created, updated, metageneration, fields, policy = row
        known = json.loads(policy) if policy else None
        return cls(name, project, created, updated, metageneration, json.loads(fields), known)


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

    @property
    def key(self) -> tuple[str, str, int]:
        """Bucket, name and generation."""
        return self.bucket, self.name, self.generation

    @property
    def row(self) -> list[Any]:
        """The row of the database that holds it, see :data:`COLUMNS`."""
        content = self.content
        row: list[Any] = [*self.key, self.metageneration, int(self.live), self.created, self.updated]
        row += [self.deleted, content.file, content.size, content.md5, content.crc32c]
        return [*row, self.components, json.dumps(dict(self.fields))]

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> StoredObject:
        """Return the object that a row of the database holds."""
        bucket, name, generation, metageneration, live, created, updated, deleted = row[:8]
        return cls(
            bucket=bucket,
            name=name,
            generation=generation,
            metageneration=metageneration,
            live=bool(live),
            created=created,
            updated=updated,
            deleted=deleted,
            content=Content(file=row[8], size=row[9], md5=row[10], crc32c=row[11]),
            components=row[12],
            fields=json.loads(row[13]),
        )

    def check_not_held(self) -> None:
        """Refuse to remove an object that is under a hold.

        https://cloud.google.com/storage/docs/object-holds

        :raises ApiError: 403.
        """
        for field, kind in (("temporaryHold", "Temporary"), ("eventBasedHold", "Event-Based")):
            if self.fields.get(field):
                raise ApiError(
                    403,
                    f"Object '{self.bucket}/{self.name}' is under active {kind} hold and cannot be deleted, "
                    "overwritten or archived until hold is removed.",
                    reason="forbidden",
                )
