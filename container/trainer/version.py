"""A version of a model in its folder: its files, and the manifest that is written last.

A folder without a manifest is no version; one with a manifest is complete and never changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainer import files
from trainer.errors import InputError

MANIFEST = "manifest.json"
_BLOCK = 1 << 20
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "scikit-learn": ("scikit-learn",),
}


def read_manifest(folder: str) -> dict[str, Any] | None:
    """Return a version's manifest, or None if the folder is no complete version.

    :raises InputError: the bucket does not exist, or the file is no manifest.
    """
    path = files.join(folder, MANIFEST)
    content = files.read(path)
    if content is None:
        return None
    try:
        manifest = json.loads(content)
        entries = {entry["path"]: (int(entry["size"]), str(entry["sha256"])) for entry in manifest["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a manifest: {error!r}") from error
    if not entries or any(p.startswith("/") or ".." in p.split("/") for p in entries):
        raise InputError(f"{path}: lists no files, or some outside its folder")
    return dict(manifest)


def refuse_complete(folder: str) -> bool:
    """Refuse to train into a version that is complete already.

    :returns: True if this very job completed it, so that there is nothing left to do; False if it is to do.
    :raises InputError: another job completed it.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    job = os.environ.get("CLOUD_ML_JOB_ID")
    if job and manifest.get("job") == job:
        return True
    raise InputError(
        f"{folder}: holds a complete version already ({MANIFEST}, written {manifest.get('created')} by job "
        f"{manifest.get('job')}), and versions never change: choose another --output-dir"
    )


def publish(local: Path, folder: str, facts: dict[str, Any]) -> None:
    """Copy a version's files into its folder, then write the manifest.

    :param local: folder with the files.
    :param folder: of the version, local or ``gs://``.
    :param facts: what else the manifest says.
    :raises InputError: someone else completed this version meanwhile.
    """
    entries = []
    for path in sorted(p for p in local.rglob("*") if p.is_file()):
        name = path.relative_to(local).as_posix()
        files.write(files.join(folder, name), path)
        entries.append({"path": name, "size": path.stat().st_size, "sha256": sha256(path)})
    manifest = {
        "schema": 1,
        **facts,
        "files": entries,
        "image": os.environ.get("TRAINING_IMAGE_URI") or None,
        "job": os.environ.get("CLOUD_ML_JOB_ID") or None,
        "framework": _framework(),
        "created": now(),
    }
    content = (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
    if not files.create(files.join(folder, MANIFEST), content):
        raise InputError(
            f"{folder}: another job completed this version meanwhile; its manifest was left as it is"
        )


@contextmanager
def fetched(folder: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give a version's files as a local folder, after comparing them with the manifest.

    :raises InputError: the version is incomplete, or a file is missing or not what the manifest says.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder}: is not a complete version: it has no {MANIFEST}")
    with TemporaryDirectory(prefix="version-") as temporary:
        local = Path(temporary)
        for entry in manifest["files"]:
            uri = files.join(folder, entry["path"])
            (found,) = files.find([uri])
            target = local / entry["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            with files.local_copy(found) as path:
                shutil.copyfile(path, target)
            if target.stat().st_size != entry["size"] or sha256(target) != entry["sha256"]:
                raise InputError(f"{uri}: is not the file that {MANIFEST} lists: size or sha256 differ")
        yield local, manifest


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def now() -> str:
    """Return the time as RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _framework() -> dict[str, str]:
    """Return the versions of what trained; of a package that is not installed there is none."""
    found = {"python": platform.python_version()}
    for name, packages in _PACKAGES.items():
        for package in packages:
            with contextlib.suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(package)
    return found
