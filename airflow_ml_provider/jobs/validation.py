"""What is wrong with a training job, before anything is billed.

The rules are Vertex AI's; each one that is more than a spelling has its source beside it.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.jobs.machine_validation import machine_problems, placement_problems
from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount
from airflow_ml_provider.jobs.pools import ROLES, pools
from airflow_ml_provider.jobs.private_network import PscInterface
from airflow_ml_provider.jobs.replicas import Replicas, as_replicas
from airflow_ml_provider.jobs.scheduling import (
    DEPRECATED,
    FLEX_START,
    FLEX_START_LONGEST,
    LONGEST,
    STRATEGIES,
    seconds,
)
from airflow_ml_provider.jobs.shapes import shaped
from airflow_ml_provider.jobs.values import is_later, is_true, is_word

if TYPE_CHECKING:
    from airflow_ml_provider.jobs.training_job import TrainingJob

MAX_DISPLAY_NAME = 128
MAX_LABELS = 64
MAX_ENV = 100
MAX_ARGS_CHARACTERS = 100_000

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BUCKET_URI = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^\r\n]*)?")
# https://github.com/distribution/reference: name, then a tag, a digest, or both.
_IMAGE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_DISKS = ("pd-ssd", "pd-standard", "hyperdisk-balanced")
_CONTEXT = r"projects/[^/]+/locations/[^/]+/metadataStores/[^/]+/contexts/[^/]+"
# Fields that hold one name: how it must look, and an example.
_NAMES: Mapping[str, tuple[str, str]] = {
    "base_output_dir": (_BUCKET_URI.pattern, "gs://BUCKET/FOLDER"),
    "region": (r"[a-z]+-[a-z]+\d+", "a region such as europe-west4"),
    "service_account": (r"[^@\s/]+@[^@\s/]+\.[^@\s/]+", "NAME@PROJECT.iam.gserviceaccount.com"),
    "network": (
        r"projects/\d+/global/networks/[^/]+",
        "projects/NUMBER/global/networks/NAME, with the project's number: gcloud projects describe PROJECT",
    ),
    "kms_key": (
        r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+",
        "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY",
    ),
    "tensorboard": (
        r"projects/[^/]+/locations/[^/]+/tensorboards/[^/]+",
        "projects/PROJECT/locations/REGION/tensorboards/ID",
    ),
    "experiment": (_CONTEXT, "projects/PROJECT/locations/REGION/metadataStores/default/contexts/NAME"),
    "experiment_run": (
        _CONTEXT,
        "projects/PROJECT/locations/REGION/metadataStores/default/contexts/EXPERIMENT-RUN",
    ),
    "persistent_resource_id": (
        r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "small letters, digits and '-', at most 63",
    ),
    "protected_artifact_location": (r"[a-z]+(-[a-z0-9]+)*", "a location such as us-central1"),
}
_SWITCHES = (
    "enable_web_access",
    "enable_dashboard_access",
    "restart_job_on_worker_restart",
    "disable_retries",
)


def problems(job: TrainingJob) -> list[str]:
    """Return everything that is wrong with a job; what is known only when the task runs is let through."""
    job, found = shaped(job)
    for role in ROLES:
        if isinstance(getattr(job, role), Replicas):
            replicas, wrong = shaped(getattr(job, role), f"{role}.")
            object.__setattr__(job, role, replicas)
            found += wrong
    found += [*_own_problems("", job), *image_problems("image_uri", job.image_uri)]
    for role in ROLES:
        found += _role_problems(role, getattr(job, role))
    if not found:
        # The whole makes sense to look at once its parts do.
        found += _pool_problems(job)
    found += _name_problems(job)
    found += label_problems(job.labels)
    found += _switch_problems(job)
    found += _scheduling_problems(job)
    return found + list(_network_problems(job))


def image_problems(where: str, image: Any) -> list[str]:
    """Return what is wrong with an image's URI."""
    if is_later(image) or (isinstance(image, str) and _IMAGE.fullmatch(image)):
        return []
    return [f"{where}: {image!r} is not an image URI such as europe-docker.pkg.dev/PROJECT/REPO/IMAGE:TAG"]


def label_problems(labels: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with labels.

    https://cloud.google.com/resource-manager/docs/labels-overview#requirements
    """
    rule = "lower-case letters, digits, '_' and '-', at most 63"
    found = []
    if len(labels) > MAX_LABELS:
        found.append(f"labels: {len(labels)} labels, at most {MAX_LABELS} allowed")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(str(key)):
            found.append(f"labels: key {key!r} must start with a lower-case letter and hold only {rule}")
        if not is_later(value) and not (is_word(value) and _LABEL_VALUE.fullmatch(str(value))):
            found.append(f"labels: value {value!r} of {key!r} may hold only {rule}")
    return found


def number_problems(where: str, value: Any, unit: str, least: float | None = None) -> list[str]:
    """Return what is wrong with a length of time; without ``least`` it must be more than 0."""
    if value is None or is_later(value):
        return []
    try:
        number = seconds(value) if isinstance(value, str | int | float | timedelta) else None
    except ValueError:
        number = None
    if number is None or isinstance(value, bool) or not math.isfinite(number):
        return [f"{where}: {value!r} is not a number of {unit}"]
    if number > LONGEST:
        return [f"{where}: {value!r} {unit}; at most {LONGEST:,} allowed"]
    if number <= 0 if least is None else number < least:
        return [
            f"{where}: {value!r} {unit}; {'more than 0' if least is None else f'at least {least:g}'} needed"
        ]
    return []


def _own_problems(where: str, owner: TrainingJob | Replicas) -> Iterator[str]:
    """Check the fields that the chief and the other roles both have."""
    yield from machine_problems(where, owner.machine_type, owner.accelerator, owner.gpu_partition_size)
    disk = owner.boot_disk_gb
    if disk is not None and not is_later(disk):
        if not re.fullmatch(r"\d+", str(disk), re.ASCII) or not 100 <= int(disk) <= 64000:
            yield f"{where}boot_disk_gb: {disk!r}; 100 to 64000 GB allowed"
    kind = owner.boot_disk_type
    if kind is not None and not is_later(kind) and kind not in _DISKS:
        yield f"{where}boot_disk_type: {kind!r} is not one of {sorted(_DISKS)}"
    for name in ("args", "command"):
        yield from _word_problems(f"{where}{name}", getattr(owner, name))
    for name, value in owner.env.items():
        if not _ENV_NAME.fullmatch(str(name)):
            yield f"{where}env: {name!r} is not a variable's name"
        if not is_later(value) and (not is_word(value) or value == ""):
            yield f"{where}env: {name} is {value!r}; a text that is not empty is needed"
    yield from _mount_problems(f"{where}nfs_mounts", owner.nfs_mounts, NfsMount, "server")
    yield from _mount_problems(f"{where}lustre_mounts", owner.lustre_mounts, LustreMount, "instance_ip")


def _word_problems(where: str, words: Sequence[Any] | None) -> Iterator[str]:
    for word in words or ():
        if not is_word(word):
            yield f"{where}: {word!r} has no one spelling as a word; write the text that you mean"


def _mount_problems(
    where: str, mounts: Sequence[Any] | None, kind: type[NfsMount] | type[LustreMount], address: str
) -> Iterator[str]:
    for number, mount in enumerate(mounts or ()):
        if not isinstance(mount, kind):
            yield f"{where}[{number}]: {mount!r} is no {kind.__name__}"
            continue
        yield from _address_problems(f"{where}[{number}].{address}", getattr(mount, address))
        path = getattr(mount, "path", "/")
        if not is_later(path) and not str(path).startswith("/"):
            yield f"{where}[{number}].path: {path!r} must be absolute, beginning with '/'"
        point = mount.mount_point
        if not is_later(point) and not re.fullmatch(r"(?!\.{1,2}$)[^/\0]+", str(point)):
            yield f"{where}[{number}].mount_point: {point!r} is not a folder's name"
    points = [mount.mount_point for mount in mounts or () if isinstance(mount, kind)]
    for point in sorted({point for point in points if points.count(point) > 1}):
        yield f"{where}: two mounts at {point!r}"


def _address_problems(where: str, address: Any) -> Iterator[str]:
    if is_later(address):
        return
    try:
        public = ipaddress.ip_address(str(address)).is_global
    except ValueError:
        yield f"{where}: {address!r} is not an IP address"
        return
    if public:
        yield f"{where}: {address} is a public address; a private one of the job's network is needed"


def _role_problems(name: str, role: Any) -> list[str]:
    if is_later(role) and not isinstance(role, str | Replicas):
        return []
    if not isinstance(role, int | str | Replicas) or isinstance(role, bool):
        return [f"{name}: {role!r} is neither a number nor Replicas"]
    replicas = as_replicas(role)
    found: list[str] = []
    if not is_later(replicas.count):
        least = 1 if isinstance(role, Replicas) else 0
        if not re.fullmatch(r"\d+", str(replicas.count), re.ASCII) or int(replicas.count) < least:
            found.append(f"{name}: {replicas.count!r} replicas; a whole number from {least} on")
    if replicas.image_uri is not None:
        found += image_problems(f"{name}.image_uri", replicas.image_uri)
    return found + list(_own_problems(f"{name}.", replicas))


def _pool_problems(job: TrainingJob) -> list[str]:
    found = []
    made = pools(job)
    for pool in made:
        if len(pool.env) > MAX_ENV:
            found.append(f"{pool.field}env: {len(pool.env)} variables, at most {MAX_ENV} allowed")
    # https://cloud.google.com/vertex-ai/docs/training/create-custom-job
    length = sum(len(str(arg)) for pool in made for arg in pool.args)
    if length > MAX_ARGS_CHARACTERS:
        found.append(
            f"args: {length:,} characters together in all roles, at most {MAX_ARGS_CHARACTERS:,} allowed"
        )
    if any(pool.nfs_mounts or pool.lustre_mounts for pool in made):
        if not (job.network or job.psc_interface or job.persistent_resource_id):
            found.append("network: required with mounts, or psc_interface: else nothing leads to the server")
    return found + placement_problems(job, made)


def _name_problems(job: TrainingJob) -> list[str]:
    found = []
    for name, (pattern, example) in _NAMES.items():
        value = getattr(job, name)
        if value is not None and not is_later(value):
            if not isinstance(value, str) or not re.fullmatch(pattern, value):
                found.append(f"{name}: {value!r} is not {example}")
    title = job.display_name
    if title is not None and not is_later(title) and not 0 < len(str(title)) <= MAX_DISPLAY_NAME:
        found.append(f"display_name: {len(str(title))} characters, 1 to {MAX_DISPLAY_NAME} allowed")
    for name in ("kms_key", "tensorboard"):
        value = getattr(job, name)
        if value and job.region and not is_later(value) and not is_later(job.region):
            if not found and value.split("/")[3] != job.region:
                found.append(f"{name}: {value!r} must be in the job's region, {job.region}")
    if job.tensorboard and not job.service_account:
        found.append("service_account: required with tensorboard, to write to it")
    run, experiment = job.experiment_run, job.experiment
    if run and not experiment:
        found.append("experiment_run: only with experiment")
    elif run and experiment and not is_later(run) and not is_later(experiment):
        if not run.startswith(f"{experiment}-"):
            found.append(f"experiment_run: {run!r} must be the experiment's name, '-' and the run's name")
    return found


def _switch_problems(job: TrainingJob) -> list[str]:
    found = []
    for name in _SWITCHES:
        value = getattr(job, name)
        if not is_later(value):
            try:
                is_true(value)
            except ValueError as error:
                found.append(f"{name}: {error}")
    if not found and not any(is_later(getattr(job, name)) for name in _SWITCHES[2:]):
        if is_true(job.disable_retries) and is_true(job.restart_job_on_worker_restart):
            found.append(
                "restart_job_on_worker_restart: disable_retries switches it off; one of them can be True"
            )
    return found


def _scheduling_problems(job: TrainingJob) -> list[str]:
    found = number_problems("timeout", job.timeout, "seconds")
    found += number_problems("queue_timeout", job.queue_timeout, "seconds")
    found += number_problems("max_wait_duration", job.max_wait_duration, "seconds", least=0)
    strategy = job.scheduling_strategy
    if is_later(strategy):
        return found
    if strategy in DEPRECATED:
        found.append(f"scheduling_strategy: {strategy} is deprecated, use {DEPRECATED[strategy]}")
    elif strategy not in STRATEGIES:
        found.append(f"scheduling_strategy: {strategy!r} is not one of {list(STRATEGIES)}")
    if strategy != FLEX_START:
        if job.max_wait_duration is not None:
            found.append("max_wait_duration: only with FLEX_START; queue_timeout limits every job's wait")
        return found
    if not found and job.timeout is not None and not is_later(job.timeout):
        if seconds(job.timeout) > FLEX_START_LONGEST:
            found.append("timeout: at most 7 days with FLEX_START")
    return found


def _network_problems(job: TrainingJob) -> Iterator[str]:
    if job.network and job.psc_interface:
        yield "psc_interface: excluded by network"
    for name in job.reserved_ip_ranges:
        if not is_later(name) and not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", str(name)):
            yield f"reserved_ip_ranges: {name!r} is not the name of a range"
    if job.reserved_ip_ranges and not job.network:
        yield "reserved_ip_ranges: only with network, whose ranges they are"
    interface = job.psc_interface
    if interface is not None and not isinstance(interface, PscInterface):
        yield f"psc_interface: {interface!r} is no PscInterface"
    elif interface is not None:
        attachment = interface.network_attachment
        full = r"(projects/[^/]+/regions/[^/]+/networkAttachments/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
        if not is_later(attachment) and not re.fullmatch(full, str(attachment)):
            yield (
                f"psc_interface.network_attachment: {attachment!r} is not "
                "projects/PROJECT/regions/REGION/networkAttachments/NAME"
            )
        for peering in interface.dns_peerings:
            if not is_later(peering.domain) and not str(peering.domain).endswith("."):
                yield f"psc_interface.dns_peerings: domain {peering.domain!r} must end with a dot"
