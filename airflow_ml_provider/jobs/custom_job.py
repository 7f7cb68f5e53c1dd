"""A training job as Vertex AI's API writes it.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.jobs.pools import ROLES, Pool, pools
from airflow_ml_provider.jobs.reservations import reservation_affinity
from airflow_ml_provider.jobs.scheduling import STANDARD, duration
from airflow_ml_provider.jobs.values import is_true

if TYPE_CHECKING:
    from airflow_ml_provider.jobs.private_network import PscInterface
    from airflow_ml_provider.jobs.training_job import TrainingJob


def custom_job(job: TrainingJob, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of ``customJobs.create``, see :meth:`TrainingJob.to_custom_job`."""
    body: dict[str, Any] = {"displayName": job.display_name or "training", "jobSpec": custom_job_spec(job)}
    all_labels = {**job.labels, **labels}
    if all_labels:
        body["labels"] = {key: str(value) for key, value in all_labels.items()}
    if job.kms_key:
        body["encryptionSpec"] = {"kmsKeyName": job.kms_key}
    return body


def custom_job_spec(job: TrainingJob) -> dict[str, Any]:
    """Return the ``CustomJobSpec``, which a tuning job's trials have too."""
    spec: dict[str, Any] = {
        "workerPoolSpecs": _worker_pool_specs(job),
        "scheduling": _scheduling(job),
        "serviceAccount": job.service_account,
        "network": job.network,
        "reservedIpRanges": list(job.reserved_ip_ranges),
        "pscInterfaceConfig": _psc_interface_config(job.psc_interface),
        "baseOutputDirectory": {"outputUriPrefix": job.base_output_dir} if job.base_output_dir else None,
        "protectedArtifactLocationId": job.protected_artifact_location,
        "tensorboard": job.tensorboard,
        "enableWebAccess": is_true(job.enable_web_access),
        "enableDashboardAccess": is_true(job.enable_dashboard_access),
        "experiment": job.experiment,
        "experimentRun": job.experiment_run,
        "persistentResourceId": job.persistent_resource_id,
    }
    return _given(spec)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _worker_pool_specs(job: TrainingJob) -> list[dict[str, Any]]:
    by_role = {pool.role: _worker_pool_spec(pool) for pool in pools(job)}
    # A pool's place says which role it has, so one that is left out leaves its place empty.
    specs = [by_role.get(role, {}) for role in ("", *ROLES)]
    while not specs[-1]:
        specs.pop()
    return specs


def _worker_pool_spec(pool: Pool) -> dict[str, Any]:
    kind, accelerator, count = pool.machine
    machine = {
        "machineType": kind,
        "acceleratorType": accelerator,
        "acceleratorCount": count,
        "gpuPartitionSize": pool.gpu_partition_size,
        "tpuTopology": pool.tpu_topology,
        "reservationAffinity": reservation_affinity(pool.reservation),
    }
    container = {
        "imageUri": pool.image_uri,
        "command": [str(word) for word in pool.command],
        "args": [str(arg) for arg in pool.args],
        "env": [{"name": name, "value": str(value)} for name, value in pool.env.items()],
    }
    disk = {"bootDiskType": pool.boot_disk_type, "bootDiskSizeGb": int(pool.boot_disk_gb or 0)}
    spec = {
        "machineSpec": _given(machine),
        "replicaCount": str(int(pool.count)),
        "containerSpec": _given(container),
        "diskSpec": _given(disk),
        "nfsMounts": [
            {"server": mount.server, "path": mount.path, "mountPoint": mount.mount_point}
            for mount in pool.nfs_mounts
        ],
        "lustreMounts": [
            {
                "instanceIp": mount.instance_ip,
                "volumeHandle": mount.volume_handle,
                "filesystem": mount.filesystem,
                "mountPoint": mount.mount_point,
            }
            for mount in pool.lustre_mounts
        ],
    }
    return _given(spec)


def _scheduling(job: TrainingJob) -> dict[str, Any]:
    scheduling: dict[str, Any] = {}
    if job.timeout is not None:
        scheduling["timeout"] = duration(job.timeout)
    if job.scheduling_strategy != STANDARD:
        scheduling["strategy"] = job.scheduling_strategy
    # 0 means: for ever.
    if job.max_wait_duration is not None:
        scheduling["maxWaitDuration"] = duration(job.max_wait_duration)
    if is_true(job.restart_job_on_worker_restart):
        scheduling["restartJobOnWorkerRestart"] = True
    if is_true(job.disable_retries):
        scheduling["disableRetries"] = True
    return scheduling


def _psc_interface_config(interface: PscInterface | None) -> dict[str, Any]:
    if interface is None:
        return {}
    peerings = [
        {
            "domain": peering.domain,
            "targetProject": peering.target_project,
            "targetNetwork": peering.target_network,
        }
        for peering in interface.dns_peerings
    ]
    return _given({"networkAttachment": interface.network_attachment, "dnsPeeringConfigs": peerings})
