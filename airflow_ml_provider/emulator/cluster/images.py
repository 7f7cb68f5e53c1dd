"""Which local command stands for a container image."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from airflow_ml_provider.emulator.cluster.replicas import ImageError, Replica

_CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class LocalImage:
    """A local command that runs where a container of some image would.

    :param pattern: of image URIs, with ``*`` and ``?``; compared with the URI as it is, and without its tag
        and digest.
    :param command: stands for the image's entry point. Relative paths in it start at ``cwd``.
    :param cwd: stands for the image's working folder: Python finds modules in it. A replica itself runs in a
        new, empty folder.
    :param env: stands for the variables that the image sets.
    """

    pattern: str
    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)


def find_image(uri: str, images: Iterable[LocalImage]) -> LocalImage:
    """Return the first entry whose pattern fits an image.

    :raises ImageError: none does.
    """
    for image in images:
        if fnmatchcase(uri, image.pattern) or fnmatchcase(repository(uri), image.pattern):
            return image
    raise ImageError(
        f"Failed to pull the container image {uri}. Please make sure that the image exists and that the "
        "Vertex AI Service Agent has permission to read it."
    )


def repository(uri: str) -> str:
    """Return an image's URI without tag and digest."""
    name = uri.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def command_line(image: LocalImage, replica: Replica) -> list[str]:
    """Return what to execute for a replica, with references to variables left in.

    A replica's own command replaces the image's, as in a container; its arguments are added to either.
    """
    own = list(replica.command or image.command)
    folder = image.cwd.absolute()
    return [_located(part, folder) for part in own] + list(replica.args)


def image_environment(image: LocalImage) -> dict[str, str]:
    """Return ``PATH``, ``PYTHONPATH`` and what the image sets.

    The folder of the image's own interpreter comes first in ``PATH``, so that a command such as ``python``
    means the same interpreter.
    """
    env = dict(image.env)
    program = image.command[0] if image.command else ""
    found = shutil.which(_located(program, image.cwd.absolute()))
    folders = [str(Path(found).parent)] if found else []
    env["PATH"] = ":".join([*folders, env.get("PATH", _CONTAINER_PATH)])
    env["PYTHONPATH"] = ":".join(p for p in (str(image.cwd.absolute()), env.get("PYTHONPATH", "")) if p)
    return env


def _located(part: str, folder: Path) -> str:
    """Return a command's part, made absolute if it names a file of the image's working folder."""
    if not part or part.startswith(("/", "-")) or len(part) > 1000 or not (folder / part).is_file():
        return part
    return str(folder / part)
