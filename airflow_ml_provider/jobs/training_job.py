"""A training job: one container image on one machine or on a cluster."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

MAX_DISPLAY_NAME = 128
MAX_LABELS = 64
MAX_ENV = 100
MAX_ARGS_CHARACTERS = 100_000

_LABEL_KEY = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_LABEL_VALUE = re.compile(r"^[a-z0-9_-]{0,63}$")
_ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_BUCKET_URI = re.compile(r"^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[^\r\n]*)?$")
# https://github.com/distribution/reference: name, then a tag, a digest, or both.
_IMAGE = re.compile(
    r"^[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)


_DISKS = {"pd-ssd", "pd-standard", "hyperdisk-balanced"}


class InvalidTrainingJob(ValueError):
    """A job that Vertex AI would refuse or that can't mean what was written. Lists every problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("Invalid training job:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """The machines of one role beside the chief: workers, parameter servers or evaluators.

    What is not given is the chief's.

    :param count: how many, at least 1.
    :param image_uri: another image for this role.
    :param args: other arguments.
    :param command: another entrypoint.
    :param env: variables in addition to the chief's.
    :param machine_type: another machine.
    :param accelerator: ``TYPE`` or ``TYPE:COUNT``; ``""`` for none.
    :param boot_disk_type: ``pd-ssd``, ``pd-standard`` or ``hyperdisk-balanced``.
    :param boot_disk_gb: size of the boot disk in GB.
    """

    count: int | str = 1
    image_uri: str | None = None
    args: Sequence[str] | None = None
    command: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    machine_type: str | None = None
    accelerator: str | None = None
    boot_disk_type: str | None = None
    boot_disk_gb: int | str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What runs where: turned into a Vertex AI CustomJob.

    Strings may hold Jinja templates when the job is given to an operator; they are checked once rendered.

    :param image_uri: the container image, ``REGISTRY/PATH:TAG`` or ``…@sha256:DIGEST``.
    :param args: arguments of the image's entrypoint; every role gets them unless it has its own.
    :param command: replaces the image's entrypoint.
    :param env: environment variables, at most 100. No secrets: they are readable in the job.
    :param machine_type: e.g. ``n1-standard-4``.
    :param accelerator: ``TYPE`` or ``TYPE:COUNT``, e.g. ``NVIDIA_TESLA_T4:2``.
    :param boot_disk_type: ``pd-ssd`` (Vertex AI's default), ``pd-standard`` or ``hyperdisk-balanced``.
    :param boot_disk_gb: size of the boot disk in GB; Vertex AI's default is 100.
    :param workers: how many workers beside the chief, or :class:`Replicas`.
    :param parameter_servers: likewise.
    :param evaluator: likewise.
    :param base_output_dir: ``gs://`` folder below which ``AIP_MODEL_DIR``, ``AIP_CHECKPOINT_DIR`` and
        ``AIP_TENSORBOARD_LOG_DIR`` lie.
    :param display_name: at most 128 characters; an operator derives one from the run.
    :param labels: at most 64; keys start with a letter.
    :param timeout: the longest time the job may run, in seconds or as timedelta; Vertex AI's default is
        7 days.
    :param spot: whether to use Spot machines.
    :param service_account: what the container runs as.
    :param network: VPC network, ``projects/NUMBER/global/networks/NAME``.
    :param kms_key: Cloud KMS key that encrypts the job.
    :param enable_web_access: whether one may open a shell on the replicas from the console.
    :param region: where to run it, for those who keep it with the job; the operator's ``region`` goes first.
    :param migration_notes: what :meth:`from_ai_platform` could not translate one to one.
    :raises InvalidTrainingJob: with all problems at once.
    """

    image_uri: str
    args: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    machine_type: str = "n1-standard-4"
    accelerator: str | None = None
    boot_disk_type: str | None = None
    boot_disk_gb: int | str | None = None
    workers: int | str | Replicas = 0
    parameter_servers: int | str | Replicas = 0
    evaluator: int | str | Replicas = 0
    base_output_dir: str | None = None
    display_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout: float | str | timedelta | None = None
    spot: bool = False
    service_account: str | None = None
    network: str | None = None
    kms_key: str | None = None
    enable_web_access: bool = False
    region: str | None = None
    migration_notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InvalidTrainingJob(problems)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TrainingJob:
        """Return the job that :meth:`to_dict` gave.

        :raises InvalidTrainingJob: unknown field, or a value that :class:`TrainingJob` refuses.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        unknown = sorted(set(value) - known)
        if unknown:
            raise InvalidTrainingJob(
                [f"{name}: no such field; there are {sorted(known)}" for name in unknown]
            )
        if "image_uri" not in value:
            raise InvalidTrainingJob(["image_uri: required"])
        roles = {
            name: _replicas_from_dict(name, value[name])
            for name in ("workers", "parameter_servers", "evaluator")
            if isinstance(value.get(name), Mapping)
        }
        return cls(**{**value, **roles})

    @classmethod
    def from_ai_platform(cls, source: Mapping[str, Any] | str | Path) -> TrainingJob:
        """Return the job that AI Platform's ``trainingInput`` described.

        :param source: a ``trainingInput`` or what holds one under that key: a mapping, or the path of a YAML
            or JSON file.
        :return: the job; what is not one to one is in its ``migration_notes``.
        :raises InvalidTrainingJob: every problem at once, and for what has no equivalent what to do instead.
        """
        from airflow_ml_provider.jobs.ai_platform import training_job

        return training_job(source)

    @classmethod
    def from_gcloud(cls, command: str | Sequence[str], env: Mapping[str, str] | None = None) -> TrainingJob:
        """Return the job that ``gcloud ai-platform jobs submit training …`` would have started.

        :param command: the command line, as one text or in words.
        :param env: values of the shell variables in a command given as text.
        :return: as :meth:`from_ai_platform`; flags override ``--config``.
        :raises InvalidTrainingJob: as :meth:`from_ai_platform`, and for an unknown flag or variable.
        """
        from airflow_ml_provider.jobs.gcloud import training_job

        return training_job(command, env)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain data that Airflow can template."""
        return _plain(self)

    def to_custom_job(self, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the body of ``customJobs.create``.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs

        :param labels: added to the job's own.
        """
        pools = [self._pool(Replicas(count=1))]
        pools += [self._pool(role) for role in self._roles()]
        while not pools[-1]:
            pools.pop()
        spec: dict[str, Any] = {"workerPoolSpecs": pools}
        scheduling: dict[str, Any] = {}
        if self.timeout is not None:
            scheduling["timeout"] = f"{_seconds(self.timeout):g}s"
        if self.spot:
            scheduling["strategy"] = "SPOT"
        if scheduling:
            spec["scheduling"] = scheduling
        if self.base_output_dir:
            spec["baseOutputDirectory"] = {"outputUriPrefix": self.base_output_dir}
        if self.service_account:
            spec["serviceAccount"] = self.service_account
        if self.network:
            spec["network"] = self.network
        if self.enable_web_access:
            spec["enableWebAccess"] = True
        body: dict[str, Any] = {"displayName": self.display_name or "training", "jobSpec": spec}
        all_labels = {**self.labels, **(labels or {})}
        if all_labels:
            body["labels"] = all_labels
        if self.kms_key:
            body["encryptionSpec"] = {"kmsKeyName": self.kms_key}
        return body

    def _roles(self) -> list[Replicas]:
        return [as_replicas(value) for value in (self.workers, self.parameter_servers, self.evaluator)]

    def _pool(self, role: Replicas) -> dict[str, Any]:
        if not int(role.count):
            return {}
        machine: dict[str, Any] = {"machineType": role.machine_type or self.machine_type}
        accelerator = self.accelerator if role.accelerator is None else role.accelerator
        if accelerator:
            kind, count = _accelerator(accelerator)
            machine |= {"acceleratorType": kind, "acceleratorCount": count}
        container: dict[str, Any] = {"imageUri": role.image_uri or self.image_uri}
        command = self.command if role.command is None else role.command
        args = self.args if role.args is None else role.args
        env = {**self.env, **role.env}
        if command:
            container["command"] = list(command)
        if args:
            container["args"] = [str(arg) for arg in args]
        if env:
            container["env"] = [{"name": name, "value": str(value)} for name, value in env.items()]
        pool: dict[str, Any] = {
            "machineSpec": machine,
            "replicaCount": str(int(role.count)),
            "containerSpec": container,
        }
        disk_type, disk_gb = (
            role.boot_disk_type or self.boot_disk_type,
            role.boot_disk_gb or self.boot_disk_gb,
        )
        if disk_type or disk_gb:
            pool["diskSpec"] = {"bootDiskType": disk_type or "pd-ssd", "bootDiskSizeGb": int(disk_gb or 100)}
        return pool


def as_replicas(value: int | str | Replicas) -> Replicas:
    """Return a role given as a number as :class:`Replicas`."""
    return value if isinstance(value, Replicas) else Replicas(count=value)


def is_template(value: Any) -> bool:
    """Return whether a value is a Jinja template that was not rendered yet."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _replicas_from_dict(name: str, value: Mapping[str, Any]) -> Replicas:
    unknown = sorted(set(value) - {item.name for item in dataclasses.fields(Replicas)})
    if unknown:
        raise InvalidTrainingJob([f"{name}.{field}: no such field" for field in unknown])
    return Replicas(**value)


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        default = item.default_factory() if callable(item.default_factory) else item.default
        if content == default or item.name == "migration_notes":
            continue
        if isinstance(content, Replicas):
            content = _plain(content)
        elif isinstance(content, Mapping):
            content = dict(content)
        elif isinstance(content, timedelta):
            content = content.total_seconds()
        elif isinstance(content, Sequence) and not isinstance(content, str):
            content = list(content)
        plain[item.name] = content
    return plain


def _accelerator(text: str) -> tuple[str, int]:
    kind, _, count = text.partition(":")
    return kind, int(count or 1)


def _seconds(value: float | str | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _problems(job: TrainingJob) -> list[str]:
    found: list[str] = []
    found += _image_problems("image_uri", job.image_uri)
    found += _machine_problems("", job.machine_type, job.accelerator, job.boot_disk_gb)
    found += _disk_problems("", job.boot_disk_type)
    found += _container_problems("", job.args, job.command, job.env)
    for name in ("workers", "parameter_servers", "evaluator"):
        found += _role_problems(name, getattr(job, name))
    if job.base_output_dir is not None and not is_template(job.base_output_dir):
        if not _BUCKET_URI.match(job.base_output_dir):
            found.append(f"base_output_dir: {job.base_output_dir!r} is not gs://BUCKET/FOLDER")
    if job.display_name is not None and not is_template(job.display_name):
        if not 0 < len(job.display_name) <= MAX_DISPLAY_NAME:
            found.append(f"display_name: {len(job.display_name)} characters, 1 to {MAX_DISPLAY_NAME} allowed")
    found += _label_problems(job.labels)
    if job.timeout is not None and not is_template(job.timeout):
        found += _number_problems("timeout", job.timeout, "seconds")
    return found


def _role_problems(name: str, role: int | str | Replicas) -> list[str]:
    if not isinstance(role, int | str | Replicas) or isinstance(role, bool):
        return [f"{name}: {role!r} is neither a number nor Replicas"]
    replicas = as_replicas(role)
    found: list[str] = []
    if not is_template(replicas.count):
        least = 1 if isinstance(role, Replicas) else 0
        if not re.fullmatch(r"\d+", str(replicas.count)) or int(replicas.count) < least:
            found.append(f"{name}: {replicas.count!r} replicas; a whole number from {least} on")
    if replicas.image_uri is not None:
        found += _image_problems(f"{name}.image_uri", replicas.image_uri)
    found += _machine_problems(f"{name}.", replicas.machine_type, replicas.accelerator, replicas.boot_disk_gb)
    found += _disk_problems(f"{name}.", replicas.boot_disk_type)
    return found + _container_problems(f"{name}.", replicas.args or (), replicas.command or (), replicas.env)


def _image_problems(where: str, image: Any) -> list[str]:
    if is_template(image) or (isinstance(image, str) and _IMAGE.match(image)):
        return []
    return [f"{where}: {image!r} is not an image URI such as europe-docker.pkg.dev/PROJECT/REPO/IMAGE:TAG"]


def _machine_problems(
    where: str, machine_type: str | None, accelerator: str | None, disk: int | str | None
) -> list[str]:
    found = []
    if machine_type is not None and not is_template(machine_type):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(machine_type)):
            found.append(f"{where}machine_type: {machine_type!r} is not a machine type such as n1-standard-8")
    if accelerator and not is_template(accelerator):
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*(:[1-9]\d*)?", accelerator):
            found.append(
                f"{where}accelerator: {accelerator!r} is not TYPE or TYPE:COUNT such as NVIDIA_TESLA_T4:2"
            )
    if disk is not None and not is_template(disk):
        if not re.fullmatch(r"\d+", str(disk)) or not 100 <= int(disk) <= 64000:
            found.append(f"{where}boot_disk_gb: {disk!r}; 100 to 64000 GB allowed")
    return found


def _disk_problems(where: str, kind: str | None) -> list[str]:
    if kind is None or is_template(kind) or kind in _DISKS:
        return []
    return [f"{where}boot_disk_type: {kind!r} is not one of {sorted(_DISKS)}"]


def _container_problems(
    where: str, args: Sequence[str], command: Sequence[str], env: Mapping[str, str]
) -> list[str]:
    found = []
    for name, words in (("args", args), ("command", command)):
        if isinstance(words, str) or not isinstance(words, Sequence):
            found.append(f"{where}{name}: {words!r} must be a list of words, not one text")
        elif sum(len(str(word)) for word in words) > MAX_ARGS_CHARACTERS:
            found.append(f"{where}{name}: longer than {MAX_ARGS_CHARACTERS:,} characters together")
    if len(env) > MAX_ENV:
        found.append(f"{where}env: {len(env)} variables, at most {MAX_ENV} allowed")
    found += [f"{where}env: {name!r} is not a variable's name" for name in env if not _ENV_NAME.match(name)]
    return found


def _label_problems(labels: Mapping[str, str]) -> list[str]:
    found = []
    if len(labels) > MAX_LABELS:
        found.append(f"labels: {len(labels)} labels, at most {MAX_LABELS} allowed")
    for key, value in labels.items():
        if not _LABEL_KEY.match(key):
            found.append(
                f"labels: key {key!r} must start with a lower-case letter and hold only lower-case letters, "
                "digits, '_' and '-', at most 63"
            )
        if not is_template(value) and not _LABEL_VALUE.match(str(value)):
            found.append(
                f"labels: value {value!r} of {key!r} may hold only lower-case letters, digits, '_' and '-', "
                "at most 63"
            )
    return found


def _number_problems(where: str, value: float | str | timedelta, unit: str) -> list[str]:
    try:
        if _seconds(value) > 0:
            return []
    except ValueError:
        return [f"{where}: {value!r} is not a number of {unit}"]
    return [f"{where}: {value!r} {unit}; more than 0 needed"]
