"""Names, labels, places and classes that Cloud Storage accepts.

https://cloud.google.com/storage/docs/buckets#naming, https://cloud.google.com/storage/docs/objects#naming
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from airflow_ml_provider.emulator.errors import ApiError

_BUCKET = re.compile(r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$")
_ADDRESS = re.compile(r"^\d+\.\d+\.\d+\.\d+$")
_LABEL_KEY = re.compile(r"^[^\W\d_A-Z][\w-]{0,62}$")
_LABEL_VALUE = re.compile(r"^[\w-]{0,63}$")
_MAX_LABELS = 64
_MAX_METADATA = 8 * 1024
# https://cloud.google.com/storage/docs/locations
_MULTI_REGIONS = {"ASIA", "EU", "US"}
_DUAL_REGIONS = {"ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"}
# https://cloud.google.com/storage/docs/storage-classes
_CLASSES = {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}
_CLASSES |= {"MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"}


def checked_bucket(name: str) -> str:
    """Return a bucket's name.

    :raises ApiError: 400 if it is not allowed.
    """
    parts = name.split(".")
    allowed = (
        _BUCKET.fullmatch(name)
        and 3 <= len(name) <= (222 if len(parts) > 1 else 63)
        and all(0 < len(part) <= 63 for part in parts)
        and not any(part.startswith("-") or part.endswith("-") for part in parts)
        and not _ADDRESS.match(name)
        and not name.startswith("goog")
        and not any(brand in name for brand in ("google", "g00gle", "go0gle", "g0ogle"))
    )
    if not allowed:
        raise ApiError(400, f"Invalid bucket name: '{name}'", reason="invalid")
    return name


def checked_object(name: str) -> str:
    """Return an object's name.

    :raises ApiError: 400 if it is not allowed.
    """
    allowed = (
        1 <= len(name.encode()) <= 1024
        and "\r" not in name
        and "\n" not in name
        and name not in (".", "..")
        and not name.startswith(".well-known/acme-challenge/")
    )
    if not allowed:
        raise ApiError(400, f"Invalid object name: {name!r}", reason="invalid")
    return name


def checked_class(name: str) -> str:
    """Return a storage class.

    :raises ApiError: 400 if there is none of that name.
    """
    if name not in _CLASSES:
        raise ApiError(400, f"Invalid storage class: {name!r}, one of {sorted(_CLASSES)}.", reason="invalid")
    return name


def location_type(name: str, regions: frozenset[str]) -> str:
    """Return what a location is: ``multi-region``, ``dual-region`` or ``region``.

    :param name: upper case.
    :param regions: the regions there are, lower case.
    :raises ApiError: 400 if there is none of that name.
    """
    if name in _MULTI_REGIONS:
        return "multi-region"
    if name in _DUAL_REGIONS:
        return "dual-region"
    if name.lower() in regions:
        return "region"
    message = f"The specified location constraint is not valid: {name!r}."
    raise ApiError(400, message, reason="invalid", location="location", location_type="other")


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that a bucket can't have.

    https://cloud.google.com/storage/docs/tags-and-labels#bucket-labels

    :raises ApiError: 400, naming the label.
    """
    if len(labels) > _MAX_LABELS:
        raise ApiError(400, f"{len(labels)} labels are more than {_MAX_LABELS}.", reason="invalid")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or key != key.lower():
            raise ApiError(400, f"Invalid label key: {key!r}", reason="invalid")
        if not _LABEL_VALUE.fullmatch(value) or value != value.lower():
            raise ApiError(400, f"Invalid value of label {key!r}: {value!r}", reason="invalid")


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuse more custom metadata than an object can have.

    https://cloud.google.com/storage/quotas#objects

    :raises ApiError: 400.
    """
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    if size > _MAX_METADATA:
        message = f"{size} bytes of custom metadata are more than {_MAX_METADATA}."
        raise ApiError(400, message, reason="invalid")
