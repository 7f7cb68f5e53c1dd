"""What Vertex AI refuses in a custom job, beyond what its API's document says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.vertex.machines import check_machine, is_reserved, is_tpu, is_tpu_pod
from airflow_ml_provider.emulator.vertex.problems import REQUIRED, Problems
from airflow_ml_provider.jobs.machines import FLEX_START_ACCELERATORS

_LABELS = (
    "There can be no more than 64 labels attached to a single resource. Label keys and values can only "
    "contain lowercase letters, numbers, dashes and underscores. Label keys must start with a letter or "
    "number, must be less than 64 characters in length, and must be less that 128 bytes in length when "
    "encoded in UTF-8. Label values must be less than 64 characters in length, and must be less that 128 "
    "bytes in length when encoded in UTF-8."
)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
_KMS_KEY = re.compile(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_NETWORK = re.compile(r"projects/\d+/global/networks/[^/]+")
_TENSORBOARD = re.compile(r"projects/[^/]+/locations/([^/]+)/tensorboards/[^/]+")
_CONTEXT = re.compile(r"projects/[^/]+/locations/[^/]+/metadataStores/[^/]+/contexts/[^/]+")
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-fA-F]{32,})?"
)
_ATTACHMENT = re.compile(
    r"(projects/[^/]+/regions/[^/]+/networkAttachments/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)
_DISKS = ("pd-ssd", "pd-standard", "hyperdisk-balanced")
_WEEK_SECONDS = 7 * 24 * 3600
# Taken by the service, with effects that the emulator cannot have: silence would be a lie.
_NOT_EMULATED = ("persistentResourceId", "models")


def check_job(job: Mapping[str, Any], region: str) -> None:
    """Refuse a custom job that the service would refuse.

    :param job: the request's ``CustomJob``, already checked against the API's document.
    :param region: where it is to run.
    :raises ApiError: 400, naming every problem; 501 for what the service has and the emulator has not.
    """
    problems = Problems()
    name = job.get("displayName", "")
    if not name:
        problems.add("custom_job.display_name", REQUIRED)
    elif len(name) > 128:
        problems.add(
            "custom_job.display_name",
            f"The display name is {len(name)} characters long, at most 128 are allowed.",
        )
    _check_labels(job.get("labels", {}), problems)
    if "encryptionSpec" in job:
        _check_key(job["encryptionSpec"].get("kmsKeyName", ""), region, problems)
    spec = job.get("jobSpec")
    if not spec:
        problems.add("custom_job.job_spec", REQUIRED)
    else:
        _check_spec(spec, region, problems)
    problems.refuse()


def seconds(duration: str) -> float:
    """Return a duration such as ``3600s`` in seconds."""
    return float(Decimal(duration.removesuffix("s")))


def is_used(pool: Mapping[str, Any]) -> bool:
    """Tell whether a worker pool is more than a place holder.

    Clients write ``{}`` as well as messages whose fields have their default values.
    """
    return any(_is_set(value) for value in pool.values())


def _is_set(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_is_set(item) for item in value.values())
    return value not in ("", "0", 0, False, [], None)


def _check_labels(labels: Mapping[str, str], problems: Problems) -> None:
    fits = len(labels) <= 64 and all(
        _fits_label(key, first=True) and _fits_label(value, first=False) for key, value in labels.items()
    )
    if not fits:
        problems.add("custom_job.labels", _LABELS)


def _fits_label(text: str, *, first: bool) -> bool:
    if len(text) > 63 or len(text.encode()) >= 128 or (first and not (text and text[0].isalnum())):
        return False
    return all(char in "-_" or _is_small_letter_or_number(char) for char in text)


def _is_small_letter_or_number(char: str) -> bool:
    # Scripts without case, such as Chinese, have neither small nor capital letters.
    return unicodedata.category(char) in ("Ll", "Lo", "Lm", "Nd", "Nl", "No", "Mn", "Mc")


def _check_key(name: str, region: str, problems: Problems) -> None:
    field = "custom_job.encryption_spec.kms_key_name"
    found = _KMS_KEY.fullmatch(name)
    if not found:
        problems.add(
            field,
            f'"{name}" is not of the form projects/{{project}}/locations/{{location}}/keyRings/{{key_ring}}/'
            "cryptoKeys/{crypto_key}.",
        )
    elif found.group(1) != region:
        problems.add(
            field,
            f'The Cloud KMS key "{name}" is in location {found.group(1)}. It must be in the same region as '
            f"the resource, {region}.",
        )


def _check_spec(spec: Mapping[str, Any], region: str, problems: Problems) -> None:
    for name in _NOT_EMULATED:
        if spec.get(name):
            raise ApiError(501, f"jobSpec.{name} is not implemented by the emulator.")
    pools = spec.get("workerPoolSpecs", [])
    where = "job_spec.worker_pool_specs"
    if not pools:
        problems.add(where, REQUIRED)
    elif len(pools) > 4:
        problems.add(where, f"There can be at most 4 worker pools, but {len(pools)} are given.")
    elif not is_used(pools[0]):
        problems.add(f"{where}[0]", "The first worker pool must not be empty: it is the primary replica.")
    else:
        _check_pools(pools, problems)
    _check_scheduling(spec.get("scheduling", {}), pools, problems)
    directory = spec.get("baseOutputDirectory")
    if directory is not None:
        _check_uri(directory.get("outputUriPrefix", ""), problems)
    _check_names(spec, region, problems)


def _check_names(spec: Mapping[str, Any], region: str, problems: Problems) -> None:
    if spec.get("network") and not _NETWORK.fullmatch(spec["network"]):
        problems.add(
            "job_spec.network",
            f'"{spec["network"]}" is not of the form projects/{{number}}/global/networks/{{network}}.',
        )
    if spec.get("network") and spec.get("pscInterfaceConfig"):
        problems.add("job_spec.psc_interface_config", "It cannot be used together with network.")
    board = spec.get("tensorboard")
    if board:
        found = _TENSORBOARD.fullmatch(board)
        if not found or found.group(1) != region:
            problems.add(
                "job_spec.tensorboard",
                f'"{board}" is not of the form projects/{{project}}/locations/{region}/tensorboards/'
                "{tensorboard}.",
            )
        if not spec.get("serviceAccount"):
            problems.add("job_spec.service_account", "It must be set when tensorboard is.")
    interface = spec.get("pscInterfaceConfig", {})
    attachment = interface.get("networkAttachment", "")
    if interface and not _ATTACHMENT.fullmatch(attachment):
        problems.add(
            "job_spec.psc_interface_config.network_attachment",
            f'"{attachment}" is not of the form projects/{{project}}/regions/{{region}}/networkAttachments/'
            "{network_attachment}.",
        )
    for peering in interface.get("dnsPeeringConfigs", []):
        _check_peering(peering, problems)
    if spec.get("reservedIpRanges") and not spec.get("network"):
        problems.add("job_spec.reserved_ip_ranges", "It can only be set when network is.")
    if spec.get("experimentRun") and not spec.get("experiment"):
        problems.add("job_spec.experiment", "It must be set when experiment_run is.")
    for name, field in (("experiment", "experiment"), ("experimentRun", "experiment_run")):
        if spec.get(name) and not _CONTEXT.fullmatch(spec[name]):
            problems.add(
                f"job_spec.{field}", f'"{spec[name]}" is not the resource name of a metadata context.'
            )


def _check_peering(peering: Mapping[str, Any], problems: Problems) -> None:
    where = "job_spec.psc_interface_config.dns_peering_configs"
    for name, field in (("targetProject", "target_project"), ("targetNetwork", "target_network")):
        if not peering.get(name):
            problems.add(f"{where}.{field}", REQUIRED)
    if not peering.get("domain", "").endswith("."):
        problems.add(f"{where}.domain", f'"{peering.get("domain", "")}" must end with a dot.')


def _check_pools(pools: Sequence[Mapping[str, Any]], problems: Problems) -> None:
    arguments = 0
    for number, pool in enumerate(pools):
        where = f"job_spec.worker_pool_specs[{number}]"
        if number and not is_used(pool):
            continue
        if pool.get("pythonPackageSpec"):
            raise ApiError(
                501,
                f"jobSpec.workerPoolSpecs[{number}].pythonPackageSpec is not implemented by the emulator: "
                "give a containerSpec.",
            )
        for mounts in ("nfsMounts", "lustreMounts"):
            if pool.get(mounts):
                raise ApiError(
                    501, f"jobSpec.workerPoolSpecs[{number}].{mounts} is not implemented by the emulator."
                )
        _check_replica_count(number, pool, where, problems)
        _check_disk(pool.get("diskSpec", {}), f"{where}.disk_spec", problems)
        check_machine(pool.get("machineSpec", {}), f"{where}.machine_spec", problems)
        _check_container(pool.get("containerSpec", {}), f"{where}.container_spec", problems)
        arguments += sum(len(a) for a in pool.get("containerSpec", {}).get("args", []))
    if arguments > 100_000:
        problems.add(
            "job_spec.worker_pool_specs",
            f"All arguments together are {arguments} characters long, at most 100000 are allowed.",
        )
    used = [pool for pool in pools if is_used(pool)]
    if any(is_tpu(pool.get("machineSpec", {}).get("machineType", "")) for pool in used):
        if len(used) > 1:
            problems.add("job_spec.worker_pool_specs", "A job with TPUs must have a single worker pool.")


def _check_replica_count(number: int, pool: Mapping[str, Any], where: str, problems: Problems) -> None:
    count = int(pool.get("replicaCount", 0))
    if number == 0 and count != 1:
        problems.add(
            f"{where}.replica_count",
            f"The replica count of the first worker pool, the primary replica, must be 1, but is {count}.",
        )
    elif count < 1:
        problems.add(f"{where}.replica_count", f"The replica count must be positive, but is {count}.")


def _check_disk(disk: Mapping[str, Any], where: str, problems: Problems) -> None:
    kind = disk.get("bootDiskType", "")
    if kind and kind not in _DISKS:
        problems.add(f"{where}.boot_disk_type", f'"{kind}" is not one of {", ".join(_DISKS)}.')
    size = int(disk.get("bootDiskSizeGb", 0))
    if size and not 100 <= size <= 64_000:
        problems.add(
            f"{where}.boot_disk_size_gb", f"The size must be between 100 and 64000 GB, but is {size}."
        )


def _check_container(container: Mapping[str, Any], where: str, problems: Problems) -> None:
    image = container.get("imageUri", "")
    if not image:
        problems.add(f"{where}.image_uri", REQUIRED)
    elif len(image) > 1000 or not _IMAGE.fullmatch(image):
        problems.add(f"{where}.image_uri", f'"{image}" is not a valid container image URI.')
    variables = container.get("env", [])
    if len(variables) > 100:
        problems.add(
            f"{where}.env", f"There can be at most 100 environment variables, but {len(variables)} are given."
        )
    for number, variable in enumerate(variables):
        name = variable.get("name", "")
        if not name:
            problems.add(f"{where}.env[{number}].name", REQUIRED)
        elif not _ENV_NAME.fullmatch(name):
            problems.add(f"{where}.env[{number}].name", f'"{name}" is not a valid C identifier.')
        if not variable.get("value"):
            problems.add(f"{where}.env[{number}].value", REQUIRED)


def _check_scheduling(
    scheduling: Mapping[str, Any], pools: Sequence[Mapping[str, Any]], problems: Problems
) -> None:
    where = "job_spec.scheduling"
    for name, field in (("timeout", "timeout"), ("maxWaitDuration", "max_wait_duration")):
        if seconds(scheduling.get(name, "0s")) < 0:
            problems.add(f"{where}.{field}", f"It must not be negative, but is {scheduling[name]}.")
    strategy = scheduling.get("strategy")
    machines = [pool.get("machineSpec", {}) for pool in pools if is_used(pool)]
    if strategy == "SPOT" and any(is_tpu_pod(machine) for machine in machines):
        problems.add(f"{where}.strategy", "SPOT is not supported for TPU Pods.")
    if strategy != "FLEX_START":
        if scheduling.get("maxWaitDuration"):
            problems.add(f"{where}.max_wait_duration", "It can only be set with the strategy FLEX_START.")
        return
    if seconds(scheduling.get("timeout", "0s")) > _WEEK_SECONDS:
        problems.add(f"{where}.timeout", "With the strategy FLEX_START it can be at most 7 days.")
    if any(is_reserved(machine) for machine in machines):
        problems.add(f"{where}.strategy", "FLEX_START cannot be used together with reservations.")
    if any(machine.get("acceleratorType") not in FLEX_START_ACCELERATORS for machine in machines):
        problems.add(
            f"{where}.strategy",
            f"FLEX_START needs accelerators of these types: {', '.join(FLEX_START_ACCELERATORS)}.",
        )
    elif any(machine != machines[0] for machine in machines):
        problems.add(f"{where}.strategy", "FLEX_START needs the same machine spec in all worker pools.")


def _check_uri(uri: str, problems: Problems) -> None:
    field = "job_spec.base_output_directory.output_uri_prefix"
    if not uri:
        problems.add(field, REQUIRED)
        return
    bucket = uri.removeprefix("gs://").partition("/")[0]
    if not uri.startswith("gs://") or not _BUCKET.fullmatch(bucket):
        problems.add(field, f'"{uri}" is not a valid Cloud Storage URI: gs://bucket/folder is expected.')
