"""Files on this machine and in Cloud Storage.

TensorFlow's own ``gs://`` support has Google's host built in. The client library also honours
``STORAGE_EMULATOR_HOST``, so it is what reads and writes here.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import itertools
import json
import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import InputError

if TYPE_CHECKING:
    from google.cloud import storage

_WILDCARD = re.compile(r"[*?]")
_LIST = "dataset.json"
# Objects that are downloaded at the same time, and how many may wait on the disk.
_DOWNLOADS = 4


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

    :param patterns: local paths or ``gs://`` URIs. ``*`` and ``?`` stop at a slash, ``**`` does not. A path
        that ends in ``dataset.json`` means the files that it lists: ``{"shards": [{"uri": …, "size": …,
        "generation": …, "crc32c": …}]}``, where all but ``uri`` may be missing, and ``uri`` may be relative
        to the list's folder.
    :raises InputError: a path or pattern means no file, its bucket does not exist, or a listed file is not
        the one that was listed.
    """
    found: dict[str, File] = {}
    for pattern in patterns:
        if pattern.rpartition("/")[2] == _LIST:
            matches = _find_listed(pattern)
        else:
            matches = _find(pattern)
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
    with contextlib.closing(local_copies([file])) as copies:
        yield next(copies)


def local_copies(files: Iterable[File]) -> Generator[Path, None, None]:
    """Give one file's content after the other as a local path, which is valid until the next is given.

    Objects in Cloud Storage are downloaded a few at a time, ahead of their use.

    :param files: in the generations that were found.
    :raises InputError: an object is gone or was replaced meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-") as folder, ThreadPoolExecutor(_DOWNLOADS) as pool:
        waiting: deque[Path | Future[Path]] = deque()
        numbered = enumerate(files)
        while True:
            for number, file in itertools.islice(numbered, _DOWNLOADS - len(waiting)):
                waiting.append(
                    pool.submit(_download, file, Path(folder) / str(number))
                    if is_gcs(file.uri)
                    else Path(file.uri)
                )
            if not waiting:
                return
            first = waiting.popleft()
            path = first if isinstance(first, Path) else first.result()
            yield path
            if path is not first:
                path.unlink()


def _download(file: File, path: Path) -> Path:
    from google.api_core.exceptions import NotFound

    bucket, name = split(file.uri)
    blob = _client().bucket(bucket).blob(name, generation=int(file.generation or 0) or None)
    try:
        # As it is stored: decompressing is the reader's business, and the checksum is of these bytes.
        blob.download_to_filename(str(path), raw_download=True)
    except NotFound as error:
        raise InputError(f"{file.uri}: generation {file.generation} is gone; start again") from error
    return path


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


def _find(pattern: str) -> list[File]:
    return _find_objects(pattern) if is_gcs(pattern) else _find_local(pattern)


def _find_listed(path: str) -> list[File]:
    content = read(path)
    if content is None:
        return []
    try:
        entries = [(str(entry["uri"]), dict(entry)) for entry in json.loads(content)["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no list of files: {error!r}") from error
    if not entries:
        raise InputError(f"{path}: lists no files")
    folder = path[: -len(_LIST)]
    listed, problems = [], []
    for uri, entry in entries:
        full = uri if is_gcs(uri) or uri.startswith("/") else folder + uri
        matches = [] if _is_pattern(full) else _find(full)
        actual = matches[0].resource() if matches else {}
        changed = [
            f"{name} {actual[name]} instead of {entry[name]}"
            for name in ("size", "generation", "crc32c")
            if actual.get(name) is not None and entry.get(name) not in (None, actual[name], str(actual[name]))
        ]
        if not matches:
            problems.append(f"{full}: no such file")
        elif changed:
            problems.append(f"{full}: has {', '.join(changed)}")
        listed += matches
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"{path}: what it lists is not there: {'; '.join(problems[:5])}{more}")
    return listed


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
