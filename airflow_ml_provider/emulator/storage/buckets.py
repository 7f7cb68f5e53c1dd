"""The JSON API's buckets.

https://cloud.google.com/storage/docs/json_api/v1/buckets
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call, Handler, Response
from airflow_ml_provider.emulator.projects import project_number
from airflow_ml_provider.emulator.storage.conditions import Conditions, NotModified, check_etag, not_met
from airflow_ml_provider.emulator.storage.listing import as_token, page_size, read_token
from airflow_ml_provider.emulator.storage.records import StoredBucket
from airflow_ml_provider.emulator.storage.resources import (
    bucket_etag,
    bucket_fields,
    bucket_resource,
    changed_bucket,
    merged,
    new_bucket_fields,
)
from airflow_ml_provider.emulator.storage.store import Change, ObjectStore


class Buckets:
    """Answers ``storage.buckets``.

    :param regions: the regions there are, lower case.
    """

    def __init__(self, store: ObjectStore, regions: frozenset[str]) -> None:
        self._store = store
        self._regions = regions
        self.handlers: Mapping[str, Handler] = {
            "storage.buckets.insert": self._insert,
            "storage.buckets.get": self._get,
            "storage.buckets.list": self._list,
            "storage.buckets.patch": self._patch,
            "storage.buckets.update": self._update,
            "storage.buckets.delete": self._delete,
            "storage.buckets.getIamPolicy": self._get_policy,
            "storage.buckets.setIamPolicy": self._set_policy,
            "storage.buckets.testIamPermissions": self._test_permissions,
            "storage.projects.serviceAccount.get": self._service_account,
        }

    def _insert(self, call: Call) -> dict[str, Any]:
        resource = call.json()
        if not resource.get("name"):
            raise ApiError(400, "Required: name", reason="required", location="name")
        fields = new_bucket_fields(resource, self._regions)
        made = self._store.insert_bucket(resource["name"], call.params["project"], fields)
        return bucket_resource(made, call.base_url)

    def _get(self, call: Call) -> Response | dict[str, Any]:
        bucket = self._store.bucket(call.params["bucket"])
        try:
            Conditions.of(call.params).check(0, bucket.metageneration, reading=True)
            check_etag(call, bucket_etag(bucket), reading=True)
        except NotModified:
            return Response(304)
        return bucket_resource(bucket, call.base_url)

    def _list(self, call: Call) -> dict[str, Any]:
        params = call.params
        after = str(read_token(params.get("pageToken", "")) or "")
        found = self._store.buckets(params["project"], params.get("prefix", ""))
        if params.get("softDeleted"):
            found = []
        found = [bucket for bucket in found if bucket.name > after]
        size = page_size(params)
        page: dict[str, Any] = {"kind": "storage#buckets"}
        if found:
            page["items"] = [bucket_resource(bucket, call.base_url) for bucket in found[:size]]
        if len(found) > size:
            page["nextPageToken"] = as_token(found[size - 1].name)
        return page

    def _patch(self, call: Call) -> dict[str, Any]:
        patch = bucket_fields(call.patch())
        return self._change(call, lambda old: changed_bucket(old, merged(old, patch)))

    def _update(self, call: Call) -> dict[str, Any]:
        fields = bucket_fields(call.json())
        return self._change(call, lambda old: changed_bucket(old, fields))

    def _change(self, call: Call, change: Change) -> dict[str, Any]:
        conditions = Conditions.of(call.params)
        with self._store.transaction():
            name = call.params["bucket"]
            check_etag(call, bucket_etag(self._store.bucket(name)), reading=False)
            return bucket_resource(self._store.change_bucket(name, change, conditions), call.base_url)

    def _delete(self, call: Call) -> Response:
        self._store.delete_bucket(call.params["bucket"], Conditions.of(call.params))
        return Response(204)

    def _get_policy(self, call: Call) -> dict[str, Any]:
        return _policy(self._store.bucket(call.params["bucket"]))

    def _set_policy(self, call: Call) -> dict[str, Any]:
        policy = call.json()
        with self._store.transaction():
            bucket = self._store.bucket(call.params["bucket"])
            if policy.get("etag") not in (None, bucket_etag(bucket)):
                raise not_met("If-Match")
            kept: dict[str, Any] = {key: policy[key] for key in ("bindings", "version") if key in policy}
            return _policy(self._store.change_bucket(bucket.name, lambda old: old, policy=kept))

    def _test_permissions(self, call: Call) -> dict[str, Any]:
        self._store.require_bucket(call.params["bucket"])
        return {"kind": "storage#testIamPermissionsResponse", "permissions": call.params["permissions"]}

    def _service_account(self, call: Call) -> dict[str, Any]:
        number = project_number(call.params["projectId"])
        email = f"service-{number}@gs-project-accounts.iam.gserviceaccount.com"
        return {"kind": "storage#serviceAccount", "email_address": email}


def _policy(bucket: StoredBucket) -> dict[str, Any]:
    owners = [f"projectEditor:{bucket.project}", f"projectOwner:{bucket.project}"]
    return {
        "kind": "storage#policy",
        "resourceId": f"projects/_/buckets/{bucket.name}",
        "version": 1,
        "bindings": [{"role": "roles/storage.legacyBucketOwner", "members": owners}],
        **(bucket.policy or {}),
        "etag": bucket_etag(bucket),
    }
