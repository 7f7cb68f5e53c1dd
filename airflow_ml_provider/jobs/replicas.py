"""The machines of one role beside the chief."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """The machines of one role beside the chief: workers, parameter servers or evaluators.

    What is not given is the chief's. A machine and its accelerator are one thing: a role that names its
    machine has the chief's accelerator only if it names that too.

    :param count: how many, at least 1.
    :param image_uri: another image for this role.
    :param args: other arguments.
    :param command: another entrypoint.
    :param env: variables in addition to the chief's.
    :param machine_type: another machine.
    :param accelerator: ``TYPE`` or ``TYPE:COUNT``; ``""`` for none.
    :param gpu_partition_size: as the chief's.
    :param reservation: as the chief's.
    :param boot_disk_type: ``pd-ssd``, ``pd-standard`` or ``hyperdisk-balanced``.
    :param boot_disk_gb: size of the boot disk in GB.
    :param nfs_mounts: other mounts than the chief's; ``[]`` for none.
    :param lustre_mounts: likewise.
    """

    count: int | str = 1
    image_uri: str | None = None
    args: Sequence[str] | None = None
    command: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    machine_type: str | None = None
    accelerator: str | None = None
    gpu_partition_size: str | None = None
    reservation: str | Sequence[str] | None = None
    boot_disk_type: str | None = None
    boot_disk_gb: int | str | None = None
    nfs_mounts: Sequence[NfsMount] | None = None
    lustre_mounts: Sequence[LustreMount] | None = None


def as_replicas(value: int | str | Replicas) -> Replicas:
    """Return a role given as a number as :class:`Replicas`."""
    return value if isinstance(value, Replicas) else Replicas(count=value)
