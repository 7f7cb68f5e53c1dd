"""Buckets and objects as the JSON API shows them, and what their owners may set of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.projects import project_number
from airflow_ml_provider.emulator.storage.names import (
    check_labels,
    check_metadata,
    checked_class,
    location_type,
)
from airflow_ml_provider.emulator.storage.records import StoredBucket, StoredObject

# What an object's owner may set; the rest of the resource is the service's.
_OBJECT_FIELDS = {
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
_UNKNOWN_OBJECT_FIELDS = ("contexts", "customerEncryption", "kmsKeyName", "retention")
_BUCKET_FIELDS = {
    "cors",
    "customPlacementConfig",
    "iamConfiguration",
    "labels",
    "lifecycle",
    "location",
    "logging",
    "rpo",
    "softDeletePolicy",
    "storageClass",
    "versioning",
    "website",
}
# Fields, down to what in them switches on something that the emulator does not do.
_UNKNOWN_BUCKET_FIELDS = (
    ("autoclass", "enabled"),
    ("billing", "requesterPays"),
    ("defaultEventBasedHold",),
    ("encryption", "defaultKmsKeyName"),
    ("hierarchicalNamespace", "enabled"),
    ("ipFilter", "mode"),
    ("retentionPolicy", "retentionPeriod"),
)


def bucket_resource(bucket: StoredBucket, base: str) -> dict[str, Any]:
    """Return a bucket's resource.

    :param base: address by which the caller reached the emulator.
    """
    fields = dict(bucket.fields)
    access = {"uniformBucketLevelAccess": {"enabled": False}, "publicAccessPrevention": "inherited"}
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
        "softDeletePolicy": {"retentionDurationSeconds": "0"},
        **fields,
        "iamConfiguration": {**access, **fields.get("iamConfiguration", {})},
    }


def object_resource(found: StoredObject, base: str) -> dict[str, Any]:
    """Return an object's resource.

    :param base: address by which the caller reached the emulator.
    """
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
        "timeFinalized": created,
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


def object_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of an object's resource, or of a patch, that its owner sets.

    :raises ApiError: 400 for a value that no object can have, 501 for what the emulator does not do.
    """
    for name in _UNKNOWN_OBJECT_FIELDS:
        if resource.get(name):
            raise ApiError(501, f"The emulator does not implement an object's {name}.")
    fields = {name: value for name, value in resource.items() if name in _OBJECT_FIELDS}
    if fields.get("storageClass") is not None:
        checked_class(fields["storageClass"])
    if fields.get("customTime"):
        fields["customTime"] = timestamp(_moment(fields["customTime"]))
    return fields


def bucket_fields(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a bucket's resource, or of a patch, that its owner sets.

    :raises ApiError: 400 for a value that no bucket can have, 501 for what the emulator does not do.
    """
    for path in _UNKNOWN_BUCKET_FIELDS:
        value: Any = resource
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value:
            raise ApiError(501, f"The emulator does not implement a bucket's {'.'.join(path)}.")
    if int((resource.get("softDeletePolicy") or {}).get("retentionDurationSeconds") or 0):
        raise ApiError(501, "The emulator does not implement soft delete (a bucket's softDeletePolicy).")
    fields = {name: value for name, value in resource.items() if name in _BUCKET_FIELDS}
    if fields.get("storageClass") is not None:
        checked_class(fields["storageClass"])
    check_labels({key: value for key, value in (fields.get("labels") or {}).items() if value is not None})
    return fields


def new_bucket_fields(resource: Mapping[str, Any], regions: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a bucket that is to be made, see :func:`bucket_fields`.

    :param regions: the regions there are, lower case.
    """
    fields = bucket_fields(resource)
    location = str(fields.get("location") or "US").upper()
    return {**fields, "location": location, "locationType": location_type(location, regions)}


def changed_bucket(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bucket's new fields, with those that can't be changed.

    :raises ApiError: 400 for another location.
    """
    location = str(new.get("location") or old["location"]).upper()
    if location != old["location"]:
        message = f"A bucket's location can't be changed, from {old['location']} to {location}."
        raise ApiError(400, message, reason="invalid", location="location", location_type="other")
    check_labels(new.get("labels") or {})
    return {**new, "location": old["location"], "locationType": old["locationType"]}


def patched_object(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's fields after a patch.

    :raises ApiError: 400 where an object can't be changed so.
    """
    return checked_change(old, merged(old, patch))


def checked_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object's new fields, with those that can't be taken away.

    https://cloud.google.com/storage/docs/metadata#custom-time

    :raises ApiError: 400 for a custom time before the old one, or for too much custom metadata.
    """
    fields = {"storageClass": old.get("storageClass", "STANDARD"), **new}
    check_metadata(fields.get("metadata") or {})
    before = old.get("customTime")
    if before and not fields.get("customTime"):
        fields["customTime"] = before
    elif before and _moment(fields["customTime"]) < _moment(before):
        message = f"Custom time cannot be set to an earlier time than {before}."
        raise ApiError(400, message, reason="invalid", location="customTime", location_type="other")
    return fields


def merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields after a patch: null removes, mappings are merged key by key."""
    new = dict(old)
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, Mapping):
            before = new.get(name)
            new[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            new[name] = value
    return {name: value for name, value in new.items() if value != {}}


def timestamp(seconds: float) -> str:
    """Return a time as the API writes it, in milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
