"""Buckets and objects as the JSON API shows them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from airflow_ml_provider.emulator.projects import project_number
from airflow_ml_provider.emulator.storage.store import StoredBucket, StoredObject

# What an object's owner may set; the rest of the resource is the service's.
OBJECT_FIELDS = {
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "eventBasedHold",
    "metadata",
    "storageClass",
    "temporaryHold",
}
BUCKET_OUTPUT = {
    "kind",
    "id",
    "selfLink",
    "projectNumber",
    "timeCreated",
    "updated",
    "metageneration",
    "etag",
    "name",
}


def bucket_resource(bucket: StoredBucket, base: str) -> dict[str, Any]:
    """Return a bucket's resource."""
    location = str(bucket.fields.get("location", "US")).upper()
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "name": bucket.name,
        "selfLink": f"{base}/storage/v1/b/{bucket.name}",
        "projectNumber": project_number(bucket.project),
        "timeCreated": timestamp(bucket.created),
        "updated": timestamp(bucket.updated),
        "metageneration": str(bucket.metageneration),
        "etag": bucket_etag(bucket),
        "storageClass": "STANDARD",
        "locationType": "multi-region" if location in ("US", "EU", "ASIA") else "region",
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}},
        **bucket.fields,
        "location": location,
    }


def object_resource(found: StoredObject, base: str) -> dict[str, Any]:
    """Return an object's resource."""
    path = f"{found.bucket}/o/{quote(found.name, safe='')}"
    created, updated = timestamp(found.created), timestamp(found.updated)
    resource: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{found.bucket}/{found.name}/{found.generation}",
        "selfLink": f"{base}/storage/v1/b/{path}",
        "mediaLink": f"{base}/download/storage/v1/b/{path}?generation={found.generation}&alt=media",
        "name": found.name,
        "bucket": found.bucket,
        "generation": str(found.generation),
        "metageneration": str(found.metageneration),
        "size": str(found.content.size),
        "crc32c": found.content.crc32c,
        "etag": object_etag(found),
        "timeCreated": created,
        "updated": updated,
        "timeStorageClassUpdated": created,
        "storageClass": "STANDARD",
        **found.fields,
    }
    if found.content.md5 is not None:
        resource["md5Hash"] = found.content.md5
    if found.components is not None:
        resource["componentCount"] = found.components
    if found.deleted is not None:
        resource["timeDeleted"] = timestamp(found.deleted)
    return resource


def object_etag(found: StoredObject) -> str:
    """Return what changes with every change of an object or its metadata."""
    return base64.b64encode(f"{found.generation}/{found.metageneration}".encode()).decode()


def bucket_etag(bucket: StoredBucket) -> str:
    """Return what changes with every change of a bucket."""
    return base64.b64encode(f"{bucket.name}/{bucket.metageneration}".encode()).decode()


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields after a patch: null removes, mappings are merged key by key."""
    new = dict(old)
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(new.get(name), Mapping):
            new[name] = merged(new[name], value)
        elif isinstance(value, Mapping):
            new[name] = merged({}, value)
        else:
            new[name] = value
    return new


def settable(resource: Mapping[str, Any], is_settable: Callable[[str], bool]) -> dict[str, Any]:
    """Return those fields of a resource that its owner sets."""
    return {name: value for name, value in resource.items() if is_settable(name)}


def timestamp(seconds: float) -> str:
    """Return a time as the API writes it, in milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
