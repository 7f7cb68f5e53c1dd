"""Files on this machine and in Cloud Storage.

TensorFlow's own ``gs://`` support has Google's host built in. The client library also honours
``STORAGE_EMULATOR_HOST``, so it is what reads and writes here.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import InputError

if TYPE_CHECKING:
    from google.cloud import storage

_WILDCARD = re.compile(r"[*?]")


@dataclass(frozen=True)
class File:
    """A file that exists.

    :param uri: ``gs://BUCKET/NAME`` or a local path.
    :param size: in bytes.
    :param generation: of the object in Cloud Storage, as text; None for a local file.
    :param crc32c: of the object, base64 as Cloud Storage gives it; None for a local file.
    """

    uri: str
    size: int
    generation: str | None = None
    crc32c: str | None = None

    def resource(self) -> dict[str, Any]:
        """Return what a manifest says about the file."""
        return {"uri": self.uri, "size": self.size, "generation": self.generation, "crc32c": self.crc32c}


def is_gcs(path: str) -> bool:
    """Tell whether a path is in Cloud Storage."""
    return path.startswith("gs://")


def join(folder: str, *names: str) -> str:
    """Return a path inside a folder, local or ``gs://``."""
    return "/".join([folder.rstrip("/") or "/", *names])


def find(patterns: list[str]) -> list[File]:
    """Return the files that paths and wildcards mean, each once, ordered by name.

    :param patterns: local paths or ``gs://`` URIs. ``*`` and ``?`` stop at a slash, ``**`` does not.
    :raises InputError: a path or pattern means no file, or its bucket does not exist.
    """
    found: dict[str, File] = {}
    for pattern in patterns:
        matches = _find_objects(pattern) if is_gcs(pattern) else _find_local(pattern)
        if not matches:
            raise InputError(
                f"{pattern}: no such file" + (" (nothing matches)" if _is_pattern(pattern) else "")
            )
        found |= {file.uri: file for file in matches}
    return [found[uri] for uri in sorted(found)]


@contextmanager
def local_copy(file: File) -> Iterator[Path]:
    """Give a file's content as a local path, in exactly the generation that was found.

    :raises InputError: the object is gone or was replaced meanwhile.
    """
    if not is_gcs(file.uri):
        yield Path(file.uri)
        return
    from google.api_core.exceptions import NotFound

    bucket, name = split(file.uri)
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        path = Path(folder) / "object"
        blob = _client().bucket(bucket).blob(name, generation=int(file.generation or 0) or None)
        try:
            # As it is stored: decompressing is the reader's business, and the checksum is of these bytes.
            blob.download_to_filename(str(path), raw_download=True)
        except NotFound as error:
            raise InputError(f"{file.uri}: generation {file.generation} is gone; start again") from error
        yield path


def read(path: str) -> bytes | None:
    """Return a small file's content, or None if there is no such file."""
    if not is_gcs(path):
        try:
            return Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    from google.api_core.exceptions import NotFound

    bucket, name = split(path)
    try:
        return bytes(_client().bucket(bucket).blob(name).download_as_bytes())
    except NotFound:
        _require_bucket(bucket, path)
        return None


def write(path: str, content: bytes | Path, content_type: str = "application/octet-stream") -> None:
    """Write a file whole, replacing what was there.

    :param path: local or ``gs://``.
    :param content: bytes, or a local file to copy.
    :param content_type: of the object in Cloud Storage.
    """
    if is_gcs(path):
        _upload(path, content, content_type, None)
        return
    target = Path(path)
    temporary = _beside(target, content)
    temporary.replace(target)


def create(path: str, content: bytes, content_type: str = "application/json") -> bool:
    """Write a file only if there is none; tell whether this process did.

    :returns: False if another content stands there already. A repeated request of this process whose first
        reply got lost counts as done.
    """
    if is_gcs(path):
        from google.api_core.exceptions import PreconditionFailed

        try:
            _upload(path, content, content_type, 0)
        except PreconditionFailed:
            return read(path) == content
        return True
    target = Path(path)
    temporary = _beside(target, content)
    try:
        os.link(temporary, target)
    except FileExistsError:
        return read(path) == content
    finally:
        temporary.unlink()
    return True


def require_bucket(path: str) -> None:
    """Refuse a ``gs://`` path whose bucket does not exist; a local path is fine.

    :raises InputError: there is no such bucket.
    """
    if is_gcs(path):
        _require_bucket(split(path)[0], path)


def split(uri: str) -> tuple[str, str]:
    """Return bucket and name of a ``gs://`` URI.

    :raises InputError: the URI names no bucket.
    """
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not bucket:
        raise InputError(f"{uri}: names no bucket; expected gs://BUCKET/NAME")
    return bucket, name


@functools.cache
def _client() -> storage.Client:
    from google.cloud import storage

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        from google.auth.credentials import AnonymousCredentials

        return storage.Client(project="emulated", credentials=AnonymousCredentials())
    # The project is of no use here, and a machine may not know one.
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("CLOUD_ML_PROJECT_ID") or "unused"
    return storage.Client(project=project)


def _is_pattern(path: str) -> bool:
    return bool(_WILDCARD.search(path))


def _find_local(pattern: str) -> list[File]:
    path = Path(pattern)
    if path.is_dir():
        raise InputError(f"{pattern}: is a folder; name its files, e.g. {join(pattern, '*.csv')}")
    paths = [path] if path.is_file() else [Path(p) for p in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    return [File(str(p), p.stat().st_size) for p in paths if p.is_file()]


def _find_objects(pattern: str) -> list[File]:
    from google.api_core.exceptions import NotFound

    bucket, name = split(pattern)
    if not name or name.endswith("/"):
        raise InputError(f"{pattern}: is a folder; name its files, e.g. {join(pattern, '*.csv')}")
    if not _is_pattern(name):
        blob = _client().bucket(bucket).get_blob(name)
        if blob is None:
            _require_bucket(bucket, pattern)
        return [] if blob is None else [_file(bucket, blob)]
    prefix = name[: next(_WILDCARD.finditer(name)).start()]
    wanted = re.compile(_expression(name), re.DOTALL)
    try:
        blobs = list(_client().list_blobs(bucket, prefix=prefix))
    except NotFound as error:
        raise InputError(f"{pattern}: bucket {bucket} does not exist") from error
    return [_file(bucket, blob) for blob in blobs if wanted.fullmatch(blob.name)]


def _expression(pattern: str) -> str:
    parts = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*|\?)", pattern))


def _file(bucket: str, blob: Any) -> File:
    return File(f"gs://{bucket}/{blob.name}", int(blob.size), str(blob.generation), blob.crc32c)


def _require_bucket(bucket: str, path: str) -> None:
    from google.api_core.exceptions import Forbidden, NotFound

    try:
        # Listing needs the same permission as reading; reading a bucket's metadata would need another.
        next(iter(_client().list_blobs(bucket, max_results=1)), None)
    except NotFound as error:
        raise InputError(f"{path}: bucket {bucket} does not exist") from error
    except Forbidden as error:
        raise InputError(f"{path}: no permission to read bucket {bucket}: {error.message}") from error


def _upload(path: str, content: bytes | Path, content_type: str, generation: int | None) -> None:
    from google.api_core.exceptions import NotFound

    bucket, name = split(path)
    blob = _client().bucket(bucket).blob(name)
    options = {"content_type": content_type, "if_generation_match": generation, "checksum": "crc32c"}
    try:
        if isinstance(content, Path):
            blob.upload_from_filename(str(content), **options)
        else:
            blob.upload_from_string(content, **options)
    except NotFound as error:
        raise InputError(f"{path}: bucket {bucket} does not exist") from error


def _beside(target: Path, content: bytes | Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", dir=target.parent)
    with os.fdopen(descriptor, "wb") as output:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, output)
        else:
            output.write(content)
        os.fchmod(descriptor, 0o644)
        output.flush()
        os.fsync(descriptor)
    return Path(name)
