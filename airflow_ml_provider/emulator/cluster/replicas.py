"""What a cluster is asked to run, and what it tells about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

PRIMARY = "workerpool0-0"


class ImageError(Exception):
    """A container image that the cluster cannot get.

    :param message: as the job's error should have it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Machine:
    """What a machine type offers, for limiting containers.

    :param cpus: virtual CPUs.
    :param memory_gb: in GB.
    """

    cpus: int
    memory_gb: float


@dataclass(frozen=True)
class Replica:
    """One container of a job.

    :param pool: the worker pool, 0 to 3.
    :param index: within the pool, from 0.
    :param image: the container image's URI.
    :param command: replaces the image's entry point, unless empty.
    :param args: replace the image's default arguments, unless empty.
    :param env: the user's variables in their order; a value may refer to earlier ones as ``$(NAME)``.
    """

    pool: int
    index: int
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    machine: Machine = Machine(cpus=4, memory_gb=15)

    @property
    def name(self) -> str:
        """As in messages and logs: ``workerpool0-0``."""
        return f"workerpool{self.pool}-{self.index}"


@dataclass(frozen=True)
class Job:
    """A job to run.

    :param id: the numeric id.
    :param project_number: of the project that owns it.
    :param replicas: in the order of pools and indexes, the primary first.
    :param spec: the ``CustomJobSpec`` as it is told to the replicas.
    :param env: variables of the service beside those that describe the cluster, e.g. ``AIP_MODEL_DIR``.
    """

    id: str
    project_number: str
    replicas: tuple[Replica, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exit:
    """The end of one replica.

    :param replica: its name.
    :param status: as a container's: 0 to 255, a signal's number plus 128.
    :param out_of_memory: whether it was killed for using too much memory.
    """

    replica: str
    status: int
    out_of_memory: bool = False


Output = Callable[[str, str, bool], None]
"""Takes a replica's name, one line of its output, and whether it came from stderr."""


class Run(Protocol):
    """A job that was started."""

    def stop(self) -> None:
        """End every replica: SIGTERM, then SIGKILL after the cluster's grace.

        Returns when all are gone and all their output was handed over. May be called again.
        """


class Cluster(Protocol):
    """Starts jobs."""

    def start(self, job: Job, output: Output, on_exit: Callable[[Exit], None]) -> Run:
        """Start every replica of a job.

        :param output: called from several threads, in order within a replica and stream.
        :param on_exit: called from other threads, once for each replica when it ends.
        :raises ImageError: an image is not to be had; nothing was started then.
        :raises OSError: the machine refuses; nothing is left running then.
        """

    def close(self) -> None:
        """End all jobs; nothing is left running."""
