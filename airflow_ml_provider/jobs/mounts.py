"""File systems of one's own network, mounted into the containers of a job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NfsMount:
    """A share of an NFS server, found by the containers under ``/mnt/nfs/<mount_point>``.

    https://cloud.google.com/vertex-ai/docs/training/train-nfs-share

    :param server: the server's private IP address in the job's network.
    :param path: what the server exports, an absolute path.
    :param mount_point: a folder's name.
    """

    server: str
    path: str
    mount_point: str


@dataclass(frozen=True, kw_only=True)
class LustreMount:
    """A Lustre file system, found by the containers under ``/mnt/lustre/<mount_point>``.

    :param instance_ip: the instance's private IP address in the job's network.
    :param volume_handle: the volume's unique identifier.
    :param filesystem: the file system's name.
    :param mount_point: a folder's name.
    """

    instance_ip: str
    volume_handle: str
    filesystem: str
    mount_point: str
