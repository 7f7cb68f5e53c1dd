"""What an upload is to become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from email.message import Message
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call
from airflow_ml_provider.emulator.storage.conditions import Conditions
from airflow_ml_provider.emulator.storage.content import Content
from airflow_ml_provider.emulator.storage.names import check_metadata, checked_object
from airflow_ml_provider.emulator.storage.resources import object_fields
from airflow_ml_provider.emulator.storage.store import ObjectStore

_HASHES = {"md5Hash": "md5", "crc32c": "crc32c"}


@dataclass(frozen=True)
class Target:
    """The object that an upload makes.

    :param fields: those that its owner sets.
    :param conditions: which must hold when the upload ends.
    :param hashes: what its content must have: ``crc32c``, ``md5``, in base64.
    :param size: what its content must have, in bytes, if that is known.
    """

    bucket: str
    name: str
    fields: Mapping[str, Any]
    conditions: Conditions
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None

    @classmethod
    def of(cls, call: Call, resource: Mapping[str, Any], content_type: str | None) -> Target:
        """Read it from a call of ``storage.objects.insert``.

        :param resource: the object's resource that came with the call; its name gives way to the call's.
        :param content_type: of the content, unless the resource names one.
        :raises ApiError: 400, 501.
        """
        params = call.params
        if params.get("kmsKeyName"):
            raise ApiError(501, "The emulator does not implement an object's kmsKeyName.")
        name = params.get("name") or resource.get("name")
        if not name:
            raise ApiError(400, "Required parameter: name", reason="required", location="name")
        fields = object_fields(resource)
        fields.setdefault("contentType", content_type or "application/octet-stream")
        if params.get("contentEncoding"):
            fields["contentEncoding"] = params["contentEncoding"]
        check_metadata(fields.get("metadata") or {})
        hashes = {_HASHES[key]: str(resource[key]) for key in _HASHES if resource.get(key)}
        hashes |= hashes_in(call.headers)
        return cls(params["bucket"], checked_object(name), fields, Conditions.of(params), hashes)

    @classmethod
    def from_json(cls, text: str) -> Target:
        """Return what :meth:`to_json` wrote."""
        value = json.loads(text)
        return cls(**{**value, "conditions": Conditions(**value["conditions"])})

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    def check_conditions(self, store: ObjectStore) -> None:
        """Check the conditions before there is content.

        :raises ApiError: 412; 404 if there is no such bucket.
        """
        old = store.find(self.bucket, self.name)
        self.conditions.check(*((old.generation, old.metageneration) if old else (0, 0)))

    def accept(self, content: Content) -> None:
        """Refuse content that was damaged on its way.

        :raises ApiError: 400.
        """
        if self.size not in (None, content.size):
            raise ApiError(400, f"{content.size} bytes came instead of {self.size}.", reason="badRequest")
        for what, ours in (("crc32c", content.crc32c), ("md5", content.md5)):
            given = self.hashes.get(what)
            if given is not None and ours is not None and given != ours:
                message = f'Provided {what.upper()} hash "{given}" doesn\'t match calculated hash "{ours}".'
                raise ApiError(400, message, reason="invalid")


def hashes_in(headers: Message) -> dict[str, str]:
    """Return the hashes that a request's headers promise: ``crc32c``, ``md5``, in base64."""
    hashes = {}
    for header in headers.get_all("X-Goog-Hash") or []:
        for part in header.split(","):
            name, _, value = part.strip().partition("=")
            hashes[name] = value
    if headers.get("Content-MD5"):
        hashes["md5"] = str(headers["Content-MD5"])
    return hashes
