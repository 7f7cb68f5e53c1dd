"""Names of models, versions and places in a bucket."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_ml_provider.models.errors import InvalidName

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
# https://cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")
# What Cloud Storage's tools read as a wildcard or a generation, and what no path should hold.
_AWKWARD = re.compile(r"[\x00-\x1f\x7f*?#\[\]\\]")


def checked_name(what: str, name: str) -> str:
    """Return a model's or a version's name if it is one that every place accepts.

    :param what: ``model`` or ``version``, for the message.
    :raises InvalidName: not 1 to 63 lower-case letters, digits, ``_``, ``.`` and ``-``, starting with a
        letter or digit, without ``..``.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise InvalidName(
            f"{what} {name!r} is not a name: use 1 to 63 lower-case letters, digits, '_', '.' and '-', "
            "starting with a letter or digit and without '..'"
        )
    return name


@dataclass(frozen=True)
class Place:
    """A bucket and a folder in it, or an object.

    :param bucket: the bucket's name.
    :param path: without a leading or trailing slash; empty for the bucket itself.
    """

    bucket: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Read ``gs://BUCKET/FOLDER``.

        :raises InvalidName: it is something else.
        """
        scheme, _, rest = uri.partition("://") if isinstance(uri, str) else ("", "", "")
        bucket, _, path = rest.partition("/")
        if scheme != "gs" or not _BUCKET.fullmatch(bucket):
            raise InvalidName(f"{uri!r} is not a place in Cloud Storage: expected gs://BUCKET/FOLDER")
        path = path.rstrip("/")
        if path and (_AWKWARD.search(path) or {"", ".", ".."} & set(path.split("/"))):
            raise InvalidName(f"{uri!r} has a path with an empty, '.' or '..' part or a wildcard character")
        return cls(bucket, path)

    def __truediv__(self, name: str) -> Place:
        return Place(self.bucket, f"{self.path}/{name}" if self.path else name)

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.path}"
