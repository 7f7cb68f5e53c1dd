"""Names of buckets and objects that Cloud Storage accepts.

https://cloud.google.com/storage/docs/buckets#naming, https://cloud.google.com/storage/docs/objects#naming
"""

from __future__ import annotations

import re

from airflow_ml_provider.emulator.errors import ApiError

_BUCKET = re.compile(r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$")
_ADDRESS = re.compile(r"^\d+\.\d+\.\d+\.\d+$")


def checked_bucket(name: str) -> str:
    """Return a bucket's name.

    :raises ApiError: 400 if it is not allowed.
    """
    parts = name.split(".")
    allowed = (
        _BUCKET.match(name)
        and 3 <= len(name) <= (222 if len(parts) > 1 else 63)
        and all(0 < len(part) <= 63 for part in parts)
        and not _ADDRESS.match(name)
        and not name.startswith("goog")
        and "google" not in name
    )
    if not allowed:
        raise ApiError(400, f"Invalid bucket name: '{name}'", reason="invalid")
    return name


def checked_object(name: str) -> str:
    """Return an object's name.

    :raises ApiError: 400 if it is not allowed.
    """
    if not 1 <= len(name.encode()) <= 1024 or "\r" in name or "\n" in name or name in (".", ".."):
        raise ApiError(400, f"Invalid object name: {name!r}", reason="invalid")
    if name.startswith(".well-known/acme-challenge/"):
        raise ApiError(400, f"Invalid object name: {name!r}", reason="invalid")
    return name
