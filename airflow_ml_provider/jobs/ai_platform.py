"""Reading AI Platform Training's ``trainingInput``.

Its fields: ``GoogleCloudMlV1__TrainingInput`` of ml.googleapis.com v1, which was shut down on 2025-01-31.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_ml_provider.jobs.ai_platform_input import ROLES, enum, read, text
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.legacy_machines import MACHINES, TIERS, TPU_MACHINES, Tier
from airflow_ml_provider.jobs.machines import MACHINES as CURRENT_MACHINES
from airflow_ml_provider.jobs.machines import RETIRED
from airflow_ml_provider.jobs.replicas import Replicas
from airflow_ml_provider.jobs.training_job import TrainingJob
from airflow_ml_provider.jobs.values import is_later

_FIELDS = {
    *(f"{role}{part}" for role in ROLES for part in ("Config", "Type")),
    *(f"{role}Count" for role in ROLES[1:]),
    "args",
    "enableWebAccess",
    "encryptionConfig",
    "hyperparameters",
    "jobDir",
    "network",
    "packageUris",
    "pythonModule",
    "pythonVersion",
    "region",
    "runtimeVersion",
    "scaleTier",
    "scheduling",
    "serviceAccount",
    "useChiefInTfConfig",
}
_REPLICA_FIELDS = {
    "acceleratorConfig",
    "containerArgs",
    "containerCommand",
    "diskConfig",
    "imageUri",
    "tpuTfVersion",
}
_JOB_FIELDS = {"jobId", "labels", "trainingInput"}
# AI Platform answers with these; a job that was read and saved holds them.
_OUTPUT_FIELDS = {
    "createTime",
    "startTime",
    "endTime",
    "state",
    "errorMessage",
    "trainingOutput",
    "etag",
    "jobPosition",
}
_PACKAGE_FIELDS = ("runtimeVersion", "pythonVersion", "pythonModule", "packageUris")
_GOOGLES_IMAGES = "gcr.io/cloud-ml-public/"
_NO_TPU_WORKER = (
    "Vertex AI runs the code on the TPU machine itself, with no master beside it. Make a TrainingJob with "
    "machine_type='cloud-tpu' and accelerator='TPU_V3:8', or with a newer one such as 'ct5lp-hightpu-4t' and "
    "tpu_topology='2x2', of an image with libtpu, and drop the TPU's address from the code"
)


def training_job(
    source: Mapping[str, Any] | str | Path, notes: Sequence[str] = (), image_uri: str | None = None
) -> TrainingJob:
    """Return the job that a ``trainingInput`` described.

    :param source: as of :func:`read`.
    :param notes: come first among the job's.
    :param image_uri: what runs a Python package that ran in one of Google's images.
    :raises InvalidTrainingJob: every problem at once: unknown fields, and what has no equivalent, with what
        to do instead.
    """
    job = read(source)
    given, image_notes = _in_image(job["trainingInput"], image_uri)
    reader = _Reader(given)
    known = _JOB_FIELDS | _OUTPUT_FIELDS
    reader.problems += [f"{name}: no such field of a job" for name in sorted(set(job) - known)]
    reader.notes += [*notes, *image_notes]
    job_id = job.get("jobId")
    return reader.job(display_name=str(job_id) if job_id else None, labels=job.get("labels") or {})


def _in_image(given: Mapping[str, Any], image_uri: str | None) -> tuple[Mapping[str, Any], list[str]]:
    """Put an image in the place of a Python package; jobs with an image of their own stay as they are."""
    master = given.get("masterConfig") or {}
    if image_uri is None or not _ran_in_googles(master.get("imageUri")):
        return given, []
    rest = {name: value for name, value in given.items() if name not in _PACKAGE_FIELDS}
    changed: dict[str, Any] = {**master, "imageUri": image_uri}
    module = given.get("pythonModule")
    notes = []
    if module and not master.get("containerCommand"):
        changed["containerCommand"] = ["python", "-m", str(module)]
        notes.append(f"pythonModule: became the command 'python -m {module}'; {image_uri} must hold it")
    dropped = [name for name in _PACKAGE_FIELDS if name != "pythonModule" and given.get(name)]
    if dropped:
        notes.append(f"{', '.join(dropped)}: dropped; {image_uri} decides")
    return {**rest, "masterConfig": changed}, notes


def _ran_in_googles(image: Any) -> bool:
    return not image or str(image).startswith(_GOOGLES_IMAGES)


class _Reader:
    """Translates one ``trainingInput``, collecting problems and notes on the way."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.problems: list[str] = []
        self.notes: list[str] = []

    def job(self, display_name: str | None, labels: Mapping[str, str]) -> TrainingJob:
        self._refuse()
        tier = self._tier()
        chief = self._config("masterConfig")
        machine, accelerator = self._machine("master", tier.master, chief)
        disk_type, disk_size = self._disk("masterConfig", chief)
        fields: dict[str, Any] = {
            "image_uri": chief.get("imageUri"),
            "args": self._args("masterConfig", chief),
            "command": chief.get("containerCommand") or (),
            "machine_type": machine,
            "accelerator": accelerator,
            "boot_disk_type": disk_type,
            "boot_disk_gb": disk_size,
            "workers": self._role("worker", tier.worker, tier.workers, chief),
            "parameter_servers": self._role(
                "parameterServer", tier.parameter_server, tier.parameter_servers, chief
            ),
            "evaluator": self._role("evaluator", "", 0, chief),
            "base_output_dir": self.given.get("jobDir"),
            "display_name": display_name,
            "labels": labels,
            "timeout": self._seconds("maxRunningTime"),
            "queue_timeout": self._seconds("maxWaitTime"),
            "service_account": self.given.get("serviceAccount"),
            "network": self.given.get("network"),
            "kms_key": (self.given.get("encryptionConfig") or {}).get("kmsKeyName"),
            "enable_web_access": bool(self.given.get("enableWebAccess", False)),
            "region": self.given.get("region"),
        }
        self._note(chief)
        if not fields["image_uri"]:
            raise InvalidTrainingJob(self.problems)
        try:
            job = TrainingJob(**fields, migration_notes=tuple(dict.fromkeys(self.notes)))
        except InvalidTrainingJob as error:
            self.problems += error.problems
        if self.problems:
            raise InvalidTrainingJob(self.problems)
        return job

    def _refuse(self) -> None:
        given = self.given
        self.problems += [f"{name}: no such field of trainingInput" for name in sorted(set(given) - _FIELDS)]
        if given.get("hyperparameters"):
            self.problems.append(
                "hyperparameters: a tuning job; read it with HyperparameterTuningJob.from_ai_platform or "
                "from_gcloud, or take the block out to train once"
            )
        scheduling = given.get("scheduling") or {}
        for name in sorted(set(scheduling) - {"maxRunningTime", "maxWaitTime", "priority"}):
            self.problems.append(f"scheduling.{name}: no such field")
        named = [name for name in _PACKAGE_FIELDS if given.get(name)]
        image = (given.get("masterConfig") or {}).get("imageUri")
        if not image:
            self.problems.append(self._without_image(named))
        elif _ran_in_googles(image):
            self.problems.append(
                f"masterConfig.imageUri: {image} was Google's and is gone; {self._image_to_build()}"
            )
        else:
            self.problems += [
                f"{name}: excluded by masterConfig.imageUri; the image decides" for name in named
            ]

    def _without_image(self, named: Sequence[str]) -> str:
        if not named:
            return f"masterConfig.imageUri: required; {self._image_to_build()}"
        return (
            f"{', '.join(named)}: a Python package ran in one of Google's images, which are gone; "
            f"{self._image_to_build()}"
        )

    def _image_to_build(self) -> str:
        uris = [str(uri) for uri in self.given.get("packageUris") or ()]
        local = next((uri for uri in uris if not uri.startswith("gs://")), None)
        source = (local or "trainer").rstrip("/").removeprefix("./")
        module = self.given.get("pythonModule") or "trainer.task"
        stored = "".join(
            f"\n      # what is in {uri}: gcloud storage cp {uri} ."
            for uri in uris
            if uri.startswith("gs://")
        )
        return (
            "build an image, and name it as masterConfig.imageUri or --master-image-uri:\n"
            f"      FROM python:3.11-slim{stored}\n"
            "      RUN pip install tensorflow-cpu\n"
            f"      COPY {source} /app/{source.rsplit('/', 1)[-1]}\n"
            "      WORKDIR /app\n"
            f'      ENTRYPOINT ["python", "-m", "{module}"]'
        )

    def _note(self, chief: Mapping[str, Any]) -> None:
        given = self.given
        if given.get("jobDir"):
            self.notes.append(
                "jobDir: Vertex AI adds no --job-dir, so it was added to args; baseOutputDirectory is set too"
            )
        scheduling = given.get("scheduling") or {}
        if scheduling.get("maxWaitTime"):
            self.notes.append(
                "scheduling.maxWaitTime: Vertex AI queues without limit, so the operator keeps it, as "
                "queue_timeout"
            )
        if scheduling.get("priority"):
            self.notes.append("scheduling.priority: dropped; Vertex AI has no priorities")
        if "useChiefInTfConfig" in given:
            self.notes.append("useChiefInTfConfig: dropped; Vertex AI's TF_CONFIG always says 'chief'")
        for role in ROLES:
            image = str((given.get(f"{role}Config") or {}).get("imageUri") or "")
            if image.split("/")[0].endswith("gcr.io"):
                self.notes.append(
                    f"{role}Config.imageUri: Container Registry is gone since 2025-03-18; {image} is found "
                    "if the project's images were moved: gcloud artifacts docker upgrade migrate"
                )
        inherited = [name for name in ("containerCommand", "containerArgs") if chief.get(name)]
        for role in ROLES[1:]:
            config = given.get(f"{role}Config") or {}
            missing = [name for name in inherited if not config.get(name)]
            if missing and given.get(f"{role}Count"):
                self.notes.append(f"{role}Config: has {' and '.join(missing)} of masterConfig")

    def _tier(self) -> Tier:
        name = enum(self.given.get("scaleTier") or "BASIC")
        if name == "CUSTOM":
            if not self.given.get("masterType"):
                self.problems.append("masterType: required with scaleTier CUSTOM")
            return Tier("")
        if name == "BASIC_TPU":
            self.problems.append(f"scaleTier: BASIC_TPU has no equivalent; {_NO_TPU_WORKER}")
            return Tier("standard")
        if name not in TIERS:
            self.problems.append(f"scaleTier: {name!r} is not one of {[*TIERS, 'BASIC_TPU', 'CUSTOM']}")
            return Tier("standard")
        for role in ROLES:
            for field in (f"{role}Type", f"{role}Count"):
                if self.given.get(field):
                    self.problems.append(f"{field}: only with scaleTier CUSTOM, not {name}")
        tier = TIERS[name]
        self.notes.append(
            f"scaleTier: {name} became a chief, {tier.workers} workers and {tier.parameter_servers} "
            "parameter servers"
        )
        return tier

    def _config(self, name: str) -> Mapping[str, Any]:
        config = self.given.get(name) or {}
        self.problems += [f"{name}.{field}: no such field" for field in sorted(set(config) - _REPLICA_FIELDS)]
        if config.get("tpuTfVersion"):
            self.problems.append(
                f"{name}.tpuTfVersion: no equivalent; the image decides which TensorFlow runs"
            )
        return config

    def _role(
        self, role: str, tier_machine: str, tier_count: int, chief: Mapping[str, Any]
    ) -> Replicas | int | str:
        count = self.given.get(f"{role}Count", tier_count)
        if not is_later(count) and not re.fullmatch(r"\d+", str(count)):
            self.problems.append(f"{role}Count: {count!r} is not a whole number")
            return 0
        if str(count) == "0":
            if self.given.get(f"{role}Type"):
                self.problems.append(f"{role}Type: set, but {role}Count is not")
            return 0
        config = self._config(f"{role}Config")
        if not tier_machine and not self.given.get(f"{role}Type"):
            self.problems.append(f"{role}Type: required with {role}Count")
            return 0
        machine, accelerator = self._machine(role, tier_machine, config)
        disk_type, disk_size = self._disk(f"{role}Config", config)
        return Replicas(
            count=count if is_later(count) else int(count),
            image_uri=config.get("imageUri"),
            args=self._args(f"{role}Config", config) if config.get("containerArgs") else None,
            command=config.get("containerCommand") or None,
            machine_type=machine,
            accelerator=accelerator,
            boot_disk_type=disk_type,
            boot_disk_gb=disk_size,
        )

    def _args(self, where: str, config: Mapping[str, Any]) -> list[str]:
        given = self.given.get("args") or []
        own = config.get("containerArgs") or []
        if given and own:
            self.problems.append(f"{where}.containerArgs: excluded by args")
        args = [text(arg) for arg in (own or given)]
        if self.given.get("jobDir"):
            args += ["--job-dir", str(self.given["jobDir"])]
        return args

    def _machine(self, role: str, tier_machine: str, config: Mapping[str, Any]) -> tuple[str, str | None]:
        name = str(self.given.get(f"{role}Type") or tier_machine or "standard")
        accelerator: str | None = None
        machine = name
        if name in TPU_MACHINES:
            self.problems.append(f"{role}Type: {name} has no equivalent; {_NO_TPU_WORKER}")
            return "n1-standard-4", None
        if name in MACHINES:
            legacy = MACHINES[name]
            machine, accelerator = legacy.machine_type, legacy.accelerator
            what = machine + (f" with {accelerator.replace(':', ' x ')}" if accelerator else "")
            if legacy.note or machine != name:
                reason = f", because {legacy.note}" if legacy.note else ""
                self.notes.append(f"{role}Type: {name} became {what}{reason}")
        own = config.get("acceleratorConfig") or {}
        if own:
            accelerator = self._accelerator(f"{role}Config.acceleratorConfig", machine, own)
        return machine, accelerator

    def _accelerator(self, where: str, machine: str, config: Mapping[str, Any]) -> str | None:
        kind, count = enum(config.get("type", "")), str(config.get("count", 1))
        if kind in ("", "ACCELERATOR_TYPE_UNSPECIFIED"):
            return None
        if not re.fullmatch(r"[1-9]\d*", count):
            self.problems.append(f"{where}.count: {count!r} is not a whole number from 1 on")
            return None
        if kind.startswith("TPU_"):
            self.problems.append(f"{where}: {kind} has no equivalent; {_NO_TPU_WORKER}")
            return None
        if kind in RETIRED:
            other, most, reason = RETIRED[kind]
            known = CURRENT_MACHINES.get(machine)
            possible = known.accelerators.get(other, ()) if known else ()
            number = min((n for n in possible if n >= int(count)), default=max(possible, default=most))
            self.notes.append(f"{where}: {count} x {kind} became {number} x {other}, because {reason}")
            return f"{other}:{number}"
        return f"{kind}:{count}"

    def _disk(self, where: str, config: Mapping[str, Any]) -> tuple[str | None, int | str | None]:
        disk = config.get("diskConfig") or {}
        self.problems += [
            f"{where}.diskConfig.{name}: no such field"
            for name in sorted(set(disk) - {"bootDiskType", "bootDiskSizeGb"})
        ]
        return disk.get("bootDiskType"), disk.get("bootDiskSizeGb")

    def _seconds(self, name: str) -> float | None:
        text = (self.given.get("scheduling") or {}).get(name)
        if text is None:
            return None
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s?", str(text))
        if not found:
            self.problems.append(f"scheduling.{name}: {text!r} is not seconds such as 7200s")
            return None
        return float(found.group(1))
