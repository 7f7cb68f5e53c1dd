"""Bringing content in: alone, with its metadata, or in a session.

https://cloud.google.com/storage/docs/uploads-downloads
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Response
from airflow_ml_provider.emulator.storage.content import CHUNK
from airflow_ml_provider.emulator.storage.related import split_related
from airflow_ml_provider.emulator.storage.resources import object_resource
from airflow_ml_provider.emulator.storage.sessions import Sessions
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.emulator.storage.target import Target


class Uploads:
    """Answers ``storage.objects.insert``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._sessions = Sessions(store)

    def insert(self, call: Call) -> Response | dict[str, Any]:
        """Take content in the way that ``uploadType`` names."""
        kind = call.params.get("uploadType")
        if not call.upload:
            raise ApiError(400, "Objects are uploaded under /upload/storage/v1.", reason="badRequest")
        if "upload_id" in call.params:
            return self._sessions.go_on(call)
        self._store.require_bucket(call.params["bucket"])
        content_type = call.headers.get("Content-Type")
        if kind == "media":
            target = Target.of(call, {}, content_type)
            return self._write(call, target, iter(lambda: call.stream.read(CHUNK), b""))
        if kind == "multipart":
            text, headers, content = split_related(call.stream, content_type or "")
            return self._write(
                call, Target.of(call, call.message(text), headers.get("content-type")), content
            )
        if kind == "resumable":
            return self._sessions.begin(call)
        raise ApiError(400, f"Invalid upload type {kind!r}.", reason="invalid", location="uploadType")

    def _write(self, call: Call, target: Target, chunks: Iterable[bytes]) -> dict[str, Any]:
        made = self._store.write_object(
            target.bucket, target.name, chunks, target.fields, target.conditions, accept=target.accept
        )
        return object_resource(made, call.base_url)
