"""The JSON API's objects, but for their uploads.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Handler, Response
from airflow_ml_provider.emulator.storage.conditions import Conditions, NotModified, check_etag
from airflow_ml_provider.emulator.storage.content import read
from airflow_ml_provider.emulator.storage.listing import list_objects
from airflow_ml_provider.emulator.storage.media import media
from airflow_ml_provider.emulator.storage.records import StoredObject
from airflow_ml_provider.emulator.storage.resources import (
    checked_change,
    object_etag,
    object_fields,
    object_resource,
    patched_object,
)
from airflow_ml_provider.emulator.storage.store import Change, ObjectStore

# https://cloud.google.com/storage/quotas#objects
_MAX_SOURCES = 32


class Objects:
    """Answers ``storage.objects``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.handlers: Mapping[str, Handler] = {
            "storage.objects.get": self._get,
            "storage.objects.list": self._list,
            "storage.objects.patch": self._patch,
            "storage.objects.update": self._update,
            "storage.objects.delete": self._delete,
            "storage.objects.compose": self._compose,
            "storage.objects.copy": self._copy,
            "storage.objects.rewrite": self._rewrite,
            "storage.objects.move": self._move,
        }

    def _get(self, call: Call) -> Response | dict[str, Any]:
        params = call.params
        bucket, name, generation = params["bucket"], params["object"], params.get("generation")
        conditions = Conditions.of(params)
        if params.get("softDeleted"):
            self._store.require_bucket(bucket)
            raise ApiError(404, f"No such soft-deleted object: {bucket}/{name}", reason="notFound")
        if self._store.find(bucket, name, generation) is None:
            conditions.check(0, 0)
        # Opened at once with its metadata, so that what is checked is what is sent.
        found, file = self._store.opened(bucket, name, generation)
        try:
            conditions.check(found.generation, found.metageneration, reading=True)
            check_etag(call, object_etag(found), reading=True)
            if params.get("alt") == "media":
                return media(found, file, call.headers)
        except NotModified:
            file.close()
            return Response(304)
        except ApiError:
            file.close()
            raise
        file.close()
        return object_resource(found, call.base_url)

    def _list(self, call: Call) -> dict[str, Any]:
        return list_objects(self._store, call.params, call.base_url)

    def _patch(self, call: Call) -> dict[str, Any]:
        patch = object_fields(call.patch())
        return self._change(call, lambda old: patched_object(old, patch))

    def _update(self, call: Call) -> dict[str, Any]:
        fields = object_fields(call.json())
        return self._change(call, lambda old: checked_change(old, fields))

    def _change(self, call: Call, change: Change) -> dict[str, Any]:
        params = call.params
        key = (params["bucket"], params["object"], params.get("generation"))
        with self._store.transaction():
            check_etag(call, object_etag(self._store.get(*key)), reading=False)
            changed = self._store.change(*key, change, Conditions.of(params))
        return object_resource(changed, call.base_url)

    def _delete(self, call: Call) -> Response:
        params = call.params
        key = (params["bucket"], params["object"], params.get("generation"))
        with self._store.transaction():
            check_etag(call, object_etag(self._store.get(*key)), reading=False)
            self._store.delete(*key, Conditions.of(params))
        return Response(204)

    def _compose(self, call: Call) -> dict[str, Any]:
        params, body = call.params, call.json()
        bucket = params["destinationBucket"]
        sources = body.get("sourceObjects", [])
        if not sources:
            raise ApiError(400, "You must provide at least one source component.", reason="required")
        if len(sources) > _MAX_SOURCES:
            message = f"The number of source components provided ({len(sources)}) exceeds {_MAX_SOURCES}."
            raise ApiError(400, message, reason="invalid")
        parts = [self._source(bucket, source) for source in sources]
        fields = {**object_fields(body.get("destination", {}))}
        fields.setdefault("contentType", parts[0].fields.get("contentType", "application/octet-stream"))
        made = self._store.write_object(
            bucket,
            params["destinationObject"],
            self._joined(parts),
            fields,
            Conditions.of(params),
            whole=False,
            components=sum(part.components or 1 for part in parts),
        )
        if body.get("deleteSourceObjects"):
            for name in {part.name for part in parts} - {made.name}:
                self._store.delete(bucket, name)
        return object_resource(made, call.base_url)

    def _source(self, bucket: str, source: Mapping[str, Any]) -> StoredObject:
        generation, wanted = source.get("generation"), source.get("objectPreconditions", {})
        found = self._store.get(bucket, source.get("name", ""), int(generation) if generation else None)
        match = wanted.get("ifGenerationMatch")
        conditions = Conditions(generation_match=int(match) if match is not None else None)
        conditions.check(found.generation, found.metageneration)
        return found

    def _joined(self, parts: list[StoredObject]) -> Iterator[bytes]:
        for part in parts:
            _, file = self._store.opened(*part.key)
            yield from read(file, 0, part.content.size)

    def _copy(self, call: Call) -> dict[str, Any]:
        return object_resource(self._copied(call), call.base_url)

    def _rewrite(self, call: Call) -> dict[str, Any]:
        if call.params.get("rewriteToken"):
            # Every rewrite is done at once, so nobody was given a token.
            raise ApiError(400, "Invalid rewrite token.", reason="invalid", location="rewriteToken")
        made = self._copied(call)
        return {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(made.content.size),
            "objectSize": str(made.content.size),
            "done": True,
            "resource": object_resource(made, call.base_url),
        }

    def _copied(self, call: Call) -> StoredObject:
        params, fields = call.params, object_fields(call.json())
        if params.get("destinationKmsKeyName"):
            raise ApiError(501, "The emulator does not implement an object's kmsKeyName.")
        with self._store.transaction():
            key = (params["sourceBucket"], params["sourceObject"], params.get("sourceGeneration"))
            found = self._store.get(*key)
            Conditions.of(params, "ifSource").check(found.generation, found.metageneration)
            return self._store.put(
                params["destinationBucket"],
                params["destinationObject"],
                found.content,
                fields or _inherited(found),
                Conditions.of(params),
                found.components,
            )

    def _move(self, call: Call) -> dict[str, Any]:
        params = call.params
        bucket, name, target = params["bucket"], params["sourceObject"], params["destinationObject"]
        if name == target:
            raise ApiError(400, "Source and destination of a move are the same object.", reason="invalid")
        with self._store.transaction():
            found = self._store.get(bucket, name)
            Conditions.of(params, "ifSource").check(found.generation, found.metageneration)
            conditions = Conditions.of(params)
            made = self._store.put(bucket, target, found.content, found.fields, conditions, found.components)
            self._store.delete(bucket, name)
        return object_resource(made, call.base_url)


def _inherited(found: StoredObject) -> dict[str, Any]:
    """Return what a copy takes over: not its source's holds, nor its class, which is the bucket's."""
    kept = found.fields.items()
    return {
        name: value for name, value in kept if name not in ("temporaryHold", "eventBasedHold", "storageClass")
    }
