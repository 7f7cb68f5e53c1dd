"""Replicas as processes of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from airflow_ml_provider.emulator.cluster import guard
from airflow_ml_provider.emulator.cluster.environment import (
    Addresses,
    expand,
    host_name,
    service_environment,
    with_user_environment,
)
from airflow_ml_provider.emulator.cluster.images import (
    LocalImage,
    command_line,
    find_image,
    image_environment,
)
from airflow_ml_provider.emulator.cluster.output import read_lines
from airflow_ml_provider.emulator.cluster.ports import Ports
from airflow_ml_provider.emulator.cluster.replicas import Exit, ImageError, Job, Output, Replica

log = logging.getLogger(__name__)

_GRACE_SECONDS = 10.0
# A shell's answers to a command that it cannot run.
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_KILLED = 128 + signal.SIGKILL
# For output that is still in the pipes of replicas that are gone.
_DRAIN_SECONDS = 10.0


class ProcessCluster:
    """Runs every replica as a process in a session and a new, empty folder of its own.

    Replicas reach each other through ports of 127.0.0.1 that nobody else has. They share this machine: there
    are no limits on CPU and memory, no GPUs, no ``/gcs``, and ``/tmp`` is everybody's (``TMPDIR`` is not). A
    replica that exits non-zero is not started again in its place, as Vertex AI might.

    Nothing outlives the emulator: should it be killed, a guard process kills the replicas, and what a guard
    missed is killed when the next cluster starts in the same folder.

    :param folder: for the replicas' folders, removed as their jobs end.
    :param images: which command stands for which image; the first that fits is taken.
    :param environment: variables for all replicas, such as ``STORAGE_EMULATOR_HOST``; read when a job starts,
        so that it may be completed once the emulator's port is known.
    :param grace: seconds between SIGTERM and SIGKILL when a job is cancelled or ends.
    """

    def __init__(
        self,
        folder: Path,
        images: Sequence[LocalImage],
        environment: Mapping[str, str] | None = None,
        grace: float = _GRACE_SECONDS,
    ) -> None:
        self._images = tuple(images)
        self._environment: Mapping[str, str] = {} if environment is None else environment
        self._grace = grace
        self._lock = threading.Lock()
        self._runs: set[_Run] = set()
        self._closed = False
        self._lock_file = _locked(folder)
        left = guard.kill_all(str(folder.absolute()))
        if left:
            log.warning("Killed %d processes that an emulator before this one left in %s", left, folder)
        for old in folder.iterdir():
            if old.is_dir():
                shutil.rmtree(old, ignore_errors=True)
        # A folder of our own: the guard of a cluster before us may still be looking for its replicas.
        self._folder = Path(tempfile.mkdtemp(dir=folder.absolute()))
        self._guard = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", guard.__file__, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={},
        )

    def start(self, job: Job, output: Output, on_exit: Callable[[Exit], None]) -> _Run:
        """Start every replica, see :meth:`Cluster.start`."""
        images = {replica.name: self._image(replica) for replica in job.replicas}
        run = _Run(self._folder / job.id, self._grace, len(job.replicas) + 1, self._forget)
        with self._lock:
            self._runs.add(run)
            closed = self._closed
        if closed:
            run.stop()
            raise OSError("the cluster is closed")
        *ports, open_port = run.ports.numbers
        hosts = {r.name: f"127.0.0.1:{port}" for r, port in zip(job.replicas, ports, strict=True)}
        addresses = Addresses(hosts, open_port)
        try:
            for replica in job.replicas:
                image = images[replica.name]
                home = run.folder / replica.name
                env = {
                    **image_environment(image),
                    **self._environment,
                    "HOME": str(home),
                    "TMPDIR": str(home / "tmp"),
                    "LANG": "C.UTF-8",
                    "HOSTNAME": host_name(job, replica),
                    **service_environment(job, replica, addresses),
                }
                env = with_user_environment(env, replica.env)
                command = [expand(part, env) for part in command_line(image, replica)]
                # The guard knows replicas by it.
                env["HOME"] = str(home)
                run.start(replica.name, home, command, env, output, on_exit)
        except BaseException:
            run.stop()
            raise
        return run

    def close(self) -> None:
        """End all jobs at once, and the guard."""
        with self._lock:
            self._closed = True
            runs = list(self._runs)
        stops = [threading.Thread(target=run.stop) for run in runs]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        guard.kill_all(str(self._folder))
        if self._guard.stdin:
            self._guard.stdin.close()
            self._guard.kill()
            self._guard.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock_file.close()

    def _image(self, replica: Replica) -> LocalImage:
        try:
            return find_image(replica.image, self._images)
        except ImageError:
            known = ", ".join(image.pattern for image in self._images) or "none"
            log.error(
                "No local command stands for the image %s of %s. Images with one: %s. Give the emulator "
                "another whose pattern fits, such as --image '%s=/path/to/python -m trainer.task'.",
                replica.image,
                replica.name,
                known,
                replica.image,
            )
            raise

    def _forget(self, run: _Run) -> None:
        with self._lock:
            self._runs.discard(run)


class _Run:
    def __init__(self, folder: Path, grace: float, ports: int, forget: Callable[[_Run], None]) -> None:
        self.folder = folder
        self.ports = Ports(ports)
        self._grace = grace
        self._forget = forget
        self._processes: list[subprocess.Popen[bytes]] = []
        self._waiters: list[threading.Thread] = []
        self._readers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = False
        self._stopped = threading.Event()

    def start(
        self,
        name: str,
        home: Path,
        command: Sequence[str],
        env: Mapping[str, str],
        output: Output,
        on_exit: Callable[[Exit], None],
    ) -> None:
        """Start one replica and the threads that follow it."""
        with self._lock:
            if self._stopping:
                raise OSError("the job was stopped while it started")
            self._start(name, home, command, env, output, on_exit)

    def _start(
        self,
        name: str,
        home: Path,
        command: Sequence[str],
        env: Mapping[str, str],
        output: Output,
        on_exit: Callable[[Exit], None],
    ) -> None:
        (home / "tmp").mkdir(parents=True)
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=home,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError, IndexError, ValueError) as error:
            # In a container it is the runtime that says so, and the replica ends.
            program = command[0] if command else "the image's entry point"
            output(name, f"exec {program} failed: {error}", True)
            on_exit(Exit(name, _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE))
            return
        self._processes.append(process)
        for stream, is_error in ((process.stdout, False), (process.stderr, True)):
            reader = threading.Thread(
                target=_read,
                args=(cast("BinaryIO", stream), name, is_error, output),
                name=f"{name}-output",
                daemon=True,
            )
            self._readers.append(reader)
            reader.start()
        waiter = threading.Thread(
            target=self._wait, args=(name, process, on_exit), name=f"{name}-wait", daemon=True
        )
        self._waiters.append(waiter)
        waiter.start()

    def stop(self) -> None:
        """End every replica, see :meth:`Run.stop`."""
        with self._lock:
            first, self._stopping = not self._stopping, True
        if not first:
            self._stopped.wait()
            return
        for process in self._processes:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        for waiter in self._waiters:
            waiter.join(max(0.0, deadline - time.monotonic()))
        for process in self._processes:
            _signal(process, signal.SIGKILL)
        guard.kill_all(str(self.folder))
        for thread in [*self._waiters, *self._readers]:
            thread.join(_DRAIN_SECONDS)
            if thread.is_alive():
                log.warning("%s of %s did not end: a process has escaped with it", thread.name, self.folder)
        self.ports.release()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._stopped.set()
        self._forget(self)

    def _wait(self, name: str, process: subprocess.Popen[bytes], on_exit: Callable[[Exit], None]) -> None:
        # The process keeps its id, and with it its group's, until it is reaped.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # A container ends with its first process, whatever that has started.
        _signal(process, signal.SIGKILL)
        code = process.wait()
        status = code if code >= 0 else 128 - code
        on_exit(Exit(name, status, out_of_memory=status == _KILLED))
        guard.kill_all(str(self.folder / name))


def _locked(folder: Path) -> BinaryIO:
    """Make a folder our own for as long as the file that is returned is open."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OSError(f"another emulator runs its jobs in {folder}: stop it, or use another folder") from None
    return file


def _read(stream: BinaryIO, name: str, is_error: bool, output: Output) -> None:
    with stream:
        read_lines(stream, lambda line: output(name, line, is_error))


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the process group of a replica that was not reaped: its number cannot be another's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
