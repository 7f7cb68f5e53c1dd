"""Building and pushing images through the Docker engine, and what a registry says their digest is.

https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient

# https://github.com/opencontainers/image-spec/blob/main/annotations.md
_REVISION_LABEL = "org.opencontainers.image.revision"


class ImageError(Exception):
    """An image could not be built, pushed or found; says which, why and what to do."""


@contextmanager
def connect() -> Iterator[DockerClient]:
    """Yield a client of this machine's Docker engine.

    :raises ImageError: there is no ``docker`` package, or no engine answers.
    """
    try:
        import docker
        from docker.errors import DockerException
    except ImportError:
        raise ImageError("The docker package is missing: pip install 'airflow-ml-provider[image]'") from None
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise ImageError(
            f"No Docker engine answers ({error}). Install Docker and start it, or set DOCKER_HOST."
        ) from error
    try:
        yield client
    finally:
        client.close()


def build(
    context: Path,
    uri: str,
    *,
    build_args: Mapping[str, str],
    network: str | None,
    progress: Callable[[str], None],
) -> str:
    """Build a folder's ``Dockerfile``, and return the image's id.

    :param context: folder with ``Dockerfile`` and, if not everything is to be sent, ``.dockerignore``.
    :param uri: ``REGISTRY/PATH:TAG`` that the image gets.
    :param build_args: values of the Dockerfile's ``ARG`` lines. ``REVISION``, where it is not given, is the
        folder's git revision, with ``-dirty`` where the folder has changes; the image's label as well.
    :param network: of the build's own containers, e.g. ``host``; the engine's default otherwise.
    :param progress: gets the build's output line by line.
    :raises ImageError: there is no Dockerfile, or a step of it failed.
    """
    if not (context / "Dockerfile").is_file():
        raise ImageError(f"{context / 'Dockerfile'} does not exist: give the folder that holds it.")
    revision = git_revision(context)
    with connect() as client:
        lines = client.api.build(
            path=str(context),
            tag=uri,
            buildargs={"REVISION": revision, **build_args},
            labels={_REVISION_LABEL: build_args.get("REVISION", revision)},
            network_mode=network,
            rm=True,
            forcerm=True,
            decode=True,
        )
        for message in _messages(lines, f"{context} could not be built"):
            for line in str(message.get("stream", "")).splitlines():
                if line.strip():
                    progress(line.rstrip())
        return str(client.images.get(uri).id)


def push(uri: str, progress: Callable[[str], None]) -> str:
    """Push an image, and return the URI that names exactly it: ``REGISTRY/PATH@sha256:DIGEST``.

    Logs in as ``docker push`` does, e.g. after ``gcloud auth configure-docker REGION-docker.pkg.dev``.

    :param uri: ``REGISTRY/PATH:TAG``.
    :param progress: gets a line for each layer that is done.
    :raises ImageError: the image does not exist here, or the registry refused it.
    """
    repository, tag = split(uri)
    digest = ""
    with connect() as client:
        lines = client.api.push(repository, tag=tag, stream=True, decode=True)
        for message in _messages(lines, f"{uri} could not be pushed"):
            if message.get("status") in ("Pushed", "Layer already exists", "Mounted from"):
                progress(f"{message.get('id', '')}: {message['status']}")
            digest = (message.get("aux") or {}).get("Digest", digest)
    if not digest:
        raise ImageError(f"{uri} was pushed, but the registry did not tell its digest.")
    return f"{repository}@{digest}"


def digest(uri: str) -> str:
    """Return the URI that names exactly the image that a tag stands for now, as its registry tells.

    :param uri: ``REGISTRY/PATH:TAG``.
    :raises ImageError: the registry does not have it or can't be reached.
    """
    from docker.errors import DockerException

    with connect() as client:
        try:
            found = client.images.get_registry_data(uri)
        except DockerException as error:
            raise ImageError(f"The registry of {uri} does not tell its digest: {_reason(error)}") from error
    return f"{split(uri)[0]}@{found.id}"


def split(uri: str) -> tuple[str, str]:
    """Return an image's repository and its tag, ``latest`` where it names none.

    :raises ImageError: the URI holds a digest: such an image is not pushed again.
    """
    if "@" in uri:
        raise ImageError(f"{uri} holds a digest; give a tag.")
    folder, slash, last = uri.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{folder}{slash}{name}", tag or "latest"


def git_revision(folder: Path) -> str:
    """Return the revision that a folder's files are of, ``unknown`` outside of git."""
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return "unknown"
    return f"{revision}-dirty" if _git(folder, "status", "--porcelain", "--", ".") else revision


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *words],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _messages(lines: Iterator[dict[str, Any]], failed: str) -> Iterator[dict[str, Any]]:
    from docker.errors import DockerException

    try:
        for message in lines:
            if "error" in message:
                raise ImageError(f"{failed}: {message['error']}")
            yield message
    except DockerException as error:
        raise ImageError(f"{failed}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)
