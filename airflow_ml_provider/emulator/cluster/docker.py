"""Replicas as Docker containers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from airflow_ml_provider.emulator.cluster.environment import (
    Addresses,
    expand,
    host_name,
    service_environment,
    with_user_environment,
)
from airflow_ml_provider.emulator.cluster.forwarder import Forwarder
from airflow_ml_provider.emulator.cluster.output import read_lines
from airflow_ml_provider.emulator.cluster.replicas import Exit, ImageError, Job, Machine, Output, Replica

log = logging.getLogger(__name__)

_GRACE_SECONDS = 10
_PORT, _OPEN_PORT = 2222, 3333
_POLL_SECONDS = 0.05
_SHARED_MEMORY = "64m"
_LABEL = "airflow-ml-emulator"
_LOOPBACK = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # noqa: S104
# Waits for the end of its input, then removes what an emulator's containers and networks are labelled with.
_GUARD = """trap '' INT TERM HUP
cat > /dev/null
"$1" ps -aq --filter "label=$2" | xargs -r "$1" rm -f -v
"$1" network ls -q --filter "label=$2" | xargs -r "$1" network rm
"""


class DockerCluster:
    """Runs every replica as a container of its image, in a network of the job's own.

    Replicas have the host names and ports that they have on Vertex AI; a name resolves once its container
    runs. CPU and memory are limited to the machine type's, as far as this machine has them. There are no GPUs
    and no ``/gcs``. Images are pulled only if Docker does not have them. A replica that exits non-zero is not
    started again in its place, as Vertex AI might.

    Addresses of this machine in ``environment`` are replaced by one that containers can reach. What an
    emulator that was killed leaves behind is removed at once, or when the next cluster starts.

    :param folder: the emulator's; tells its containers from those of other emulators.
    :param environment: variables for all replicas, such as ``STORAGE_EMULATOR_HOST``; read when a job starts,
        so that it may be completed once the emulator's port is known.
    :param grace: seconds between SIGTERM and SIGKILL when a job is cancelled or ends.
    :param docker: the client to use.
    :raises OSError: there is no Docker engine to talk to.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        grace: int = _GRACE_SECONDS,
        docker: str = "docker",
    ) -> None:
        self._environment: Mapping[str, str] = {} if environment is None else environment
        self._grace = grace
        self._docker = docker
        self._lock = threading.Lock()
        self._runs: set[_Run] = set()
        self._pulls: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        try:
            self._call("version", "--format", "{{.Server.Version}}")
        except OSError as error:
            raise OSError(
                f"no Docker engine answers, so jobs cannot run as containers: {error}. Start it, or let them "
                "run as processes."
            ) from None
        owner = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
        self._remove(f"{_LABEL}.folder={owner}")
        self._instance = f"{_LABEL}.instance={secrets.token_hex(8)}"
        self._labels = ["--label", f"{_LABEL}.folder={owner}", "--label", self._instance]
        self._guard = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _GUARD, "sh", docker, self._instance],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, job: Job, output: Output, on_exit: Callable[[Exit], None]) -> _Run:
        """Start every replica, see :meth:`Cluster.start`."""
        for image in {replica.image for replica in job.replicas}:
            self._fetch(image)
        run = _Run(self._docker, f"airflow-ml-{job.id}", self._grace, self._forget)
        with self._lock:
            if self._closed:
                raise OSError("the cluster is closed")
            self._runs.add(run)
        try:
            self._call("network", "create", *self._labels, run.network)
            gateway = self._gateway(run.network)
            environment = {name: run.reachable(text, gateway) for name, text in self._environment.items()}
            addresses = Addresses({r.name: f"{host_name(job, r)}:{_PORT}" for r in job.replicas}, _OPEN_PORT)
            for replica in job.replicas:
                env = {**environment, **service_environment(job, replica, addresses)}
                env = with_user_environment(env, replica.env)
                container = f"{run.network}-{replica.name}"
                run.containers.append(container)
                self._create(container, run.network, host_name(job, replica), replica, env)
            for replica in job.replicas:
                run.follow(f"{run.network}-{replica.name}", replica.name, output, on_exit)
            run.wait_until_started()
        except BaseException:
            run.stop()
            raise
        return run

    def close(self) -> None:
        """End all jobs at once, and remove all that is left of them."""
        with self._lock:
            self._closed = True
            runs, pulls = list(self._runs), list(self._pulls)
        for pull in pulls:
            pull.kill()
        stops = [threading.Thread(target=run.stop) for run in runs]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()
        self._remove(self._instance)
        self._guard.kill()
        self._guard.communicate()

    def _fetch(self, image: str) -> None:
        with contextlib.suppress(OSError):
            self._call("image", "inspect", image)
            return
        log.info("Pulling the image %s", image)
        with self._lock:
            if self._closed:
                raise OSError("the cluster is closed")
            pull = subprocess.Popen(  # noqa: S603
                [self._docker, "pull", "--quiet", image],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            self._pulls.add(pull)
        _, text = pull.communicate()
        with self._lock:
            self._pulls.discard(pull)
        if pull.returncode:
            reason = text.decode(errors="replace").strip()
            log.error("The image %s is not on this machine and cannot be pulled: %s", image, reason)
            raise ImageError(
                f"Failed to pull the container image {image}. Please make sure that the image exists and "
                f"that the Vertex AI Service Agent has permission to read it. {reason}"
            )

    def _create(
        self, container: str, network: str, host: str, replica: Replica, env: Mapping[str, str]
    ) -> None:
        arguments = ["create", "--name", container, *self._labels, "--network", network]
        arguments += ["--hostname", host, "--network-alias", host, "--log-driver", "none"]
        arguments += ["--shm-size", _SHARED_MEMORY, *_limits(replica.machine)]
        for name, value in env.items():
            arguments += ["--env", f"{name}={value}"]
        command = [expand(part, env) for part in replica.command]
        if command:
            arguments += ["--entrypoint", command[0]]
        arguments += [replica.image, *command[1:], *(expand(part, env) for part in replica.args)]
        self._call(*arguments)

    def _gateway(self, network: str) -> str:
        for config in json.loads(self._call("network", "inspect", network))[0]["IPAM"]["Config"]:
            if "Gateway" in config:
                return str(config["Gateway"]).partition("/")[0]
        raise OSError(f"the network {network} has no gateway")

    def _remove(self, label: str) -> None:
        """Remove the containers and networks with a label."""
        containers = self._call("ps", "-aq", "--filter", f"label={label}").split()
        if containers:
            self._call("rm", "-f", "-v", *containers)
        networks = self._call("network", "ls", "-q", "--filter", f"label={label}").split()
        if networks:
            self._call("network", "rm", *networks)

    def _call(self, *arguments: str) -> str:
        return _call(self._docker, *arguments)

    def _forget(self, run: _Run) -> None:
        with self._lock:
            self._runs.discard(run)


class _Run:
    def __init__(self, docker: str, network: str, grace: int, forget: Callable[[_Run], None]) -> None:
        self.network = network
        self.containers: list[str] = []
        self._docker = docker
        self._grace = grace
        self._forget = forget
        self._forwarders: dict[tuple[str, int], Forwarder] = {}
        self._followers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = False
        self._stopped = threading.Event()

    def reachable(self, text: str, gateway: str) -> str:
        """Return an address as containers reach it; any other text as it is."""
        url = urlsplit(text if "//" in text else f"//{text}")
        try:
            port = url.port
        except ValueError:
            return text
        if url.hostname not in _LOOPBACK or port is None:
            return text
        target = ("127.0.0.1", port)
        if target not in self._forwarders:
            self._forwarders[target] = Forwarder(gateway, target)
        return text.replace(url.netloc, f"{gateway}:{self._forwarders[target].port}", 1)

    def follow(self, container: str, name: str, output: Output, on_exit: Callable[[Exit], None]) -> None:
        """Start a container and the thread that follows it."""
        with self._lock:
            if self._stopping:
                raise OSError("the job was stopped while it started")
            client = subprocess.Popen(  # noqa: S603
                [self._docker, "start", "--attach", container],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # A Ctrl-C at the emulator's terminal is not for its replicas.
                start_new_session=True,
            )
            follower = threading.Thread(
                target=self._follow,
                args=(client, container, name, output, on_exit),
                name=f"{container}-follow",
                daemon=True,
            )
            self._followers.append(follower)
            follower.start()

    def wait_until_started(self) -> None:
        """Return when every container was started, or could not be."""
        while any(follower.is_alive() for follower in self._followers):
            states = _call(self._docker, "inspect", "--format", "{{.State.Status}}", *self.containers)
            if "created" not in states.split():
                return
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End every replica, see :meth:`Run.stop`."""
        with self._lock:
            first, self._stopping = not self._stopping, True
        if not first:
            self._stopped.wait()
            return
        try:
            if self.containers:
                # One call stops all of them at the same time.
                self._call("stop", "--time", str(self._grace), *self.containers)
                # Also ends a container that was about to start.
                self._call("rm", "-f", "-v", *self.containers)
            for follower in self._followers:
                follower.join()
            self._call("network", "rm", self.network)
        finally:
            for forwarder in self._forwarders.values():
                forwarder.close()
            self._stopped.set()
            self._forget(self)

    def _follow(
        self,
        client: subprocess.Popen[bytes],
        container: str,
        name: str,
        output: Output,
        on_exit: Callable[[Exit], None],
    ) -> None:
        readers = [
            threading.Thread(
                target=_read, args=(cast("BinaryIO", stream), name, is_error, output), daemon=True
            )
            for stream, is_error in ((client.stdout, False), (client.stderr, True))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        status, out_of_memory = client.wait(), False
        try:
            state = json.loads(_call(self._docker, "inspect", "--format", "{{json .State}}", container))
            status, out_of_memory = int(state["ExitCode"]), bool(state["OOMKilled"])
        except OSError as error:
            # Removed meanwhile, by us or by somebody else: the client has told the status.
            log.debug("%s is gone: %s", container, error)
        on_exit(Exit(name, status, out_of_memory))

    def _call(self, *arguments: str) -> None:
        try:
            _call(self._docker, *arguments)
        except OSError as error:
            log.warning("%s", error)


def _read(stream: BinaryIO, name: str, is_error: bool, output: Output) -> None:
    with stream:
        read_lines(stream, lambda line: output(name, line, is_error))


def _limits(machine: Machine) -> list[str]:
    cpus = min(machine.cpus, os.cpu_count() or 1)
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = min(int(machine.memory_gb * 2**30), installed)
    return ["--cpus", str(cpus), "--memory", str(memory)]


def _call(docker: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        [docker, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise OSError(f"docker {arguments[0]} failed with status {done.returncode}: {reason}")
    return done.stdout.decode(errors="replace")
