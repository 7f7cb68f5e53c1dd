"""The worker pools that a job's roles make: every role with what it takes over from the chief."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.jobs.machines import MACHINES
from airflow_ml_provider.jobs.replicas import Replicas, as_replicas
from airflow_ml_provider.jobs.values import is_later

if TYPE_CHECKING:
    from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount
    from airflow_ml_provider.jobs.training_job import TrainingJob

# In the order of Vertex AI's worker pools, after the chief.
ROLES = ("workers", "parameter_servers", "evaluator")


@dataclass(frozen=True)
class Pool:
    """One worker pool.

    :param role: ``""`` for the chief, or one of :data:`ROLES`.
    :param names_machine: whether the role says itself which machine or accelerator it has.
    """

    role: str
    count: int | str
    image_uri: str
    args: Sequence[Any]
    command: Sequence[Any]
    env: Mapping[str, Any]
    machine_type: str
    accelerator: str | None
    tpu_topology: str | None
    gpu_partition_size: str | None
    reservation: str | Sequence[str] | None
    boot_disk_type: str | None
    boot_disk_gb: int | str | None
    nfs_mounts: Sequence[NfsMount]
    lustre_mounts: Sequence[LustreMount]
    names_machine: bool

    @property
    def field(self) -> str:
        """What the names of its fields begin with in messages."""
        return f"{self.role}." if self.role else ""

    @property
    def machine(self) -> tuple[str, str | None, int]:
        """Machine type, accelerator and how many of it. A machine's only possible accelerator is filled in.

        :raises ValueError: the accelerator is not ``TYPE`` or ``TYPE:COUNT``.
        """
        if self.accelerator:
            kind, _, count = self.accelerator.partition(":")
            return self.machine_type, kind, int(count or 1)
        known = MACHINES.get(self.machine_type)
        own = known.own_accelerator if known and self.accelerator is None else None
        return self.machine_type, *(own or (None, 0))


def pools(job: TrainingJob) -> list[Pool]:
    """Return a job's pools, the chief first; a role without replicas has none."""
    made = [_pool(job, "", Replicas(count=1))]
    for role in ROLES:
        replicas = as_replicas(getattr(job, role))
        if is_later(replicas.count) or int(replicas.count):
            made.append(_pool(job, role, replicas))
    return made


def _pool(job: TrainingJob, role: str, own: Replicas) -> Pool:
    def either(name: str) -> Any:
        value = getattr(own, name)
        return getattr(job, name) if value is None else value

    own_machine = own.machine_type is not None
    return Pool(
        role=role,
        count=own.count,
        image_uri=either("image_uri"),
        args=either("args"),
        command=either("command"),
        env={**job.env, **own.env},
        machine_type=either("machine_type"),
        accelerator=own.accelerator if own_machine else either("accelerator"),
        tpu_topology=None if own_machine else job.tpu_topology,
        gpu_partition_size=own.gpu_partition_size if own_machine else either("gpu_partition_size"),
        reservation=either("reservation"),
        boot_disk_type=either("boot_disk_type"),
        boot_disk_gb=either("boot_disk_gb"),
        nfs_mounts=either("nfs_mounts"),
        lustre_mounts=either("lustre_mounts"),
        names_machine=not role or own_machine or own.accelerator is not None,
    )
