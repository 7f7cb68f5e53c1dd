"""One process, one port, one data folder: the emulated services put together."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

from airflow_ml_provider.emulator.bigquery.service import BigQuery
from airflow_ml_provider.emulator.cluster import Cluster, DockerCluster, LocalImage, ProcessCluster
from airflow_ml_provider.emulator.faults.application import ADDRESS, FaultyApplication
from airflow_ml_provider.emulator.faults.rules import Rulebook
from airflow_ml_provider.emulator.http import Application, Server, Service
from airflow_ml_provider.emulator.logging.service import CloudLogging
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.storage.service import CloudStorage
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.service import VertexAI

HOST_VARIABLES = (
    "STORAGE_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",
    "VERTEX_AI_EMULATOR_HOST",
    "CLOUD_LOGGING_EMULATOR_HOST",
)


class EmulatorError(Exception):
    """The emulator can't start as asked; says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """How to run the emulator.

    :param data: folder of everything it keeps; made if it does not exist.
    :param host: address to listen on.
    :param port: 0 takes a free one.
    :param project: project id of the connection that it prints; every project is answered.
    :param docker: whether replicas are containers rather than processes.
    :param images: for processes: which command stands for which image, before the default.
    :param pace: scales the delays of jobs.
    :param faults: whether ``/emulator/faults`` takes rules by which calls and jobs go wrong.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    project: str = "demo-project"
    docker: bool = False
    images: tuple[LocalImage, ...] = ()
    pace: float = 1.0
    faults: bool = False


def default_images(folder: Path) -> tuple[LocalImage, ...]:
    """Return what stands for images named ``trainer``: the trainer in a checkout of this repository.

    :param folder: the checkout; without a trainer in it there is no default.
    """
    container = folder / "container"
    python = container / ".venv" / "bin" / "python"
    if not (container / "trainer" / "task.py").exists():
        return ()
    return (LocalImage("*/trainer", (str(python), "-m", "trainer.task"), container),)


def parse_image(text: str, cwd: Path) -> LocalImage:
    """Return the mapping written as ``PATTERN=COMMAND``.

    :param cwd: the command's working folder.
    :raises EmulatorError: it is not of that form.
    """
    pattern, equals, command = text.partition("=")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise EmulatorError(f"--image {text!r}: {error}") from None
    if not (pattern and equals and words):
        raise EmulatorError(f"--image {text!r} is not PATTERN=COMMAND, e.g. '*/trainer=python train.py'")
    return LocalImage(pattern, tuple(words), cwd)


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Run the emulator in threads of this process; yield its address, ``http://127.0.0.1:PORT``.

    :raises EmulatorError: the port or the data folder is in use.
    """
    with _sole_user(settings.data):
        # Read by each job as it starts: by then the port is known.
        environment: dict[str, str] = {}
        application = _application(settings, environment)
        try:
            try:
                server = Server((settings.host, settings.port), application)
            except OSError as error:
                raise EmulatorError(
                    f"Can't listen on {settings.host}:{settings.port}: {error.strerror}. "
                    "Choose another --host or --port; port 0 takes a free one."
                ) from error
            address = f"http://{settings.host}:{server.server_address[1]}"
            environment |= dict.fromkeys(HOST_VARIABLES, address)
            thread = threading.Thread(target=server.serve_forever, name="emulator", daemon=True)
            thread.start()
            try:
                yield address
            finally:
                server.shutdown()
                server.server_close()
                thread.join()
        finally:
            application.close()


def exports(address: str, project: str) -> dict[str, str]:
    """Return the environment that leads Google's clients and Airflow to the emulator."""
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {"is_anonymous": True, "project": project},
    }
    return {
        **dict.fromkeys(HOST_VARIABLES, address),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
    }


def serve(settings: Settings, out: TextIO = sys.stdout) -> None:
    """Run the emulator until SIGINT or SIGTERM; then end its jobs and leave.

    :param out: where the variables to export are printed, once requests are answered.
    :raises EmulatorError: see :func:`running`.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with running(settings) as address:
        for name, value in exports(address, settings.project).items():
            print(f"export {name}={shlex.quote(value)}", file=out)
        if settings.faults:
            print(f"# Faults on request: {address}{ADDRESS}", file=out)
        print(
            f"# Serving {settings.data.absolute()} on {address}; Ctrl-C ends it and its jobs.",
            file=out,
            flush=True,
        )
        stop.wait()
        print("# Ending the jobs that run", file=out, flush=True)


def _application(settings: Settings, environment: dict[str, str]) -> Application:
    data = settings.data.absolute()
    store = ObjectStore(data / "storage")
    logs = LogStore(data / "logging")
    rules = Rulebook() if settings.faults else None
    cluster: Cluster
    if settings.docker:
        cluster = DockerCluster(data / "docker", environment)
    else:
        images = (*settings.images, *default_images(Path.cwd()))
        cluster = ProcessCluster(data / "replicas", images, environment)
    vertex = VertexAI(
        data / "vertex",
        cluster,
        logs,
        project=settings.project,
        pace=Pace().scaled(settings.pace),
        bucket_exists=store.has_bucket,
        rules=rules,
    )
    bigquery = BigQuery(data / "bigquery", store, project=settings.project)
    services: list[Service] = [vertex, bigquery, CloudLogging(logs), CloudStorage(store)]
    return Application(services) if rules is None else FaultyApplication(services, rules)


@contextmanager
def _sole_user(data: Path) -> Iterator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmulatorError(f"Can't use {data} as data folder: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EmulatorError(
                f"Another emulator is using {data}: stop it, or give another --data"
            ) from error
        yield
    finally:
        os.close(lock)
