"""What a version consists of and comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ml_provider.models.document import Document

SCHEMA = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFile:
    """One file of a version.

    :param path: relative to the version's folder.
    :param size: in bytes.
    :param sha256: of its content, hexadecimal.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class TrainingData:
    """What the model was trained on.

    :param files: each with ``uri``, ``size``, and ``generation`` and ``crc32c`` where known.
    :param rows: how many were read, or None.
    :param users: how many distinct ones, or None.
    :param items: how many distinct ones, or None.
    """

    files: tuple[Mapping[str, Any], ...]
    rows: int | None
    users: int | None
    items: int | None


@dataclass(frozen=True)
class Manifest:
    """A version's ``manifest.json``; what the trainer did not know is None.

    :param uri: the file.
    :param model: the kind of model, as its trainer calls it.
    :param files: every file of the version, except the manifest.
    :param arguments: the effective hyperparameters.
    :param seed: of the trainer's random numbers.
    :param data: what it was trained on.
    :param image: the container image.
    :param job: the training job's id.
    :param metrics: as the trainer measured them; evidence for people, not for the gate.
    :param framework: names and versions.
    :param created: RFC 3339.
    """

    uri: str
    model: str
    files: tuple[ModelFile, ...]
    arguments: Mapping[str, Any]
    seed: int | None
    data: TrainingData
    image: str | None
    job: str | None
    metrics: Mapping[str, float]
    framework: Mapping[str, Any]
    created: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @classmethod
    def parse(cls, uri: str, raw: bytes | str) -> Manifest:
        """Read a manifest.

        :param uri: where it stands, for messages.
        :param raw: the file's content.
        :raises InvalidDocument: a field is missing or wrong, a path leaves the folder or stands there twice.
        """
        document = Document.parse(uri, raw)
        document.schema(SCHEMA)
        files: dict[str, ModelFile] = {}
        for entry in document.children("files"):
            path, sha256 = entry.text("path"), entry.text("sha256")
            if path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
                raise entry.refuse("path", f"{path!r} does not stay inside the version's folder")
            if path in files:
                raise entry.refuse("path", f"{path!r} is listed twice")
            if not _SHA256.fullmatch(sha256):
                raise entry.refuse("sha256", f"{sha256!r} is not 64 hexadecimal digits")
            files[path] = ModelFile(path, entry.integer("size"), sha256)
        if not files:
            raise document.refuse("files", "lists no files, so there is no model")
        data = document.child("data")
        return cls(
            uri=uri,
            model=document.text("model"),
            files=tuple(files.values()),
            arguments=dict(document.child("arguments").items()),
            seed=document.optional_integer("seed"),
            data=TrainingData(
                files=tuple(dict(entry.items()) for entry in data.children("files")),
                rows=data.optional_integer("rows"),
                users=data.optional_integer("users"),
                items=data.optional_integer("items"),
            ),
            image=document.optional_text("image"),
            job=document.optional_text("job"),
            metrics=document.numbers("metrics"),
            framework=dict(document.child("framework").items()),
            created=document.time("created"),
        )
