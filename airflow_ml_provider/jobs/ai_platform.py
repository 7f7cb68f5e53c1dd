"""Reading AI Platform Training's ``trainingInput``.

Its fields: ``GoogleCloudMlV1__TrainingInput`` of ml.googleapis.com v1, which was shut down on 2025-01-31.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_ml_provider.jobs import document
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.legacy_machines import MACHINES, TIERS, Tier
from airflow_ml_provider.jobs.machines import RETIRED
from airflow_ml_provider.jobs.replicas import Replicas
from airflow_ml_provider.jobs.training_job import TrainingJob

_FIELDS = {
    "args",
    "enableWebAccess",
    "encryptionConfig",
    "evaluatorConfig",
    "evaluatorCount",
    "evaluatorType",
    "hyperparameters",
    "jobDir",
    "masterConfig",
    "masterType",
    "network",
    "packageUris",
    "parameterServerConfig",
    "parameterServerCount",
    "parameterServerType",
    "pythonModule",
    "pythonVersion",
    "region",
    "runtimeVersion",
    "scaleTier",
    "scheduling",
    "serviceAccount",
    "useChiefInTfConfig",
    "workerConfig",
    "workerCount",
    "workerType",
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
_WITHOUT_IMAGE = (
    "a Python package with runtimeVersion ran in Google's images, which are gone. Build an image and name it "
    "as masterConfig.imageUri:\n"
    "      FROM python:3.11-slim\n"
    "      COPY . /app\n"
    '      ENTRYPOINT ["python", "-m", "YOUR.MODULE"]'
)


def training_job(source: Mapping[str, Any] | str | Path) -> TrainingJob:
    """Return the job that a ``trainingInput`` described.

    :param source: a ``trainingInput``, or what holds one under that key (a ``--config`` file, a job), as a
        mapping or the path of a YAML or JSON file.
    :raises InvalidTrainingJob: every problem at once: unknown fields, and what has no equivalent, with what
        to do instead.
    """
    value = dict(source) if isinstance(source, Mapping) else document.load(source)
    whole = value if "trainingInput" in value else {"trainingInput": value}
    problems = [
        f"{name}: no such field of a job" for name in sorted(set(whole) - _JOB_FIELDS - _OUTPUT_FIELDS)
    ]
    given = whole["trainingInput"]
    if not isinstance(given, Mapping):
        raise InvalidTrainingJob([*problems, "trainingInput: not a mapping"])
    reader = _Reader(given)
    reader.problems += problems
    job_id = whole.get("jobId")
    labels = whole.get("labels") or {}
    return reader.job(display_name=str(job_id) if job_id else None, labels=labels)


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
        job_dir = self.given.get("jobDir")
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
            "base_output_dir": job_dir,
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
        if job_dir:
            self.notes.append(
                "jobDir: Vertex AI adds no --job-dir, so it was added to args; baseOutputDirectory is set too"
            )
        if not fields["image_uri"]:
            raise InvalidTrainingJob(self.problems or ["masterConfig.imageUri: required"])
        try:
            job = TrainingJob(**fields, migration_notes=tuple(self.notes))
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
                "hyperparameters: a tuning job is not a TrainingJob; take the block out to train once"
            )
        if not (given.get("masterConfig") or {}).get("imageUri"):
            named = [n for n in ("runtimeVersion", "pythonModule", "packageUris") if given.get(n)]
            self.problems.append(f"{', '.join(named) or 'masterConfig.imageUri'}: {_WITHOUT_IMAGE}")
        else:
            for name in ("runtimeVersion", "pythonVersion", "pythonModule", "packageUris"):
                if given.get(name):
                    self.problems.append(f"{name}: excluded by masterConfig.imageUri; the image decides")
        scheduling = given.get("scheduling") or {}
        if scheduling.get("maxWaitTime"):
            self.notes.append(
                "scheduling.maxWaitTime: Vertex AI queues without limit, so the operator keeps it, as "
                "queue_timeout"
            )
        if scheduling.get("priority"):
            self.notes.append("scheduling.priority: dropped; Vertex AI has no priorities")
        for name in sorted(set(scheduling) - {"maxRunningTime", "maxWaitTime", "priority"}):
            self.problems.append(f"scheduling.{name}: no such field")
        if "useChiefInTfConfig" in given:
            self.notes.append("useChiefInTfConfig: dropped; Vertex AI's TF_CONFIG always says 'chief'")

    def _tier(self) -> Tier:
        name = str(self.given.get("scaleTier", "BASIC")).upper().replace("-", "_")
        if name == "CUSTOM":
            if not self.given.get("masterType"):
                self.problems.append("masterType: required with scaleTier CUSTOM")
            return Tier("")
        if name == "BASIC_TPU":
            self.problems.append(
                "scaleTier: BASIC_TPU's TPU v2 has no equivalent; choose a current TPU with CUSTOM"
            )
            return Tier("standard")
        if name not in TIERS:
            self.problems.append(f"scaleTier: {name!r} is not one of {[*TIERS, 'BASIC_TPU', 'CUSTOM']}")
            return Tier("standard")
        for field in (
            "masterType",
            "workerType",
            "parameterServerType",
            "workerCount",
            "parameterServerCount",
        ):
            if self.given.get(field):
                self.problems.append(f"{field}: only with scaleTier CUSTOM, not {name}")
        tier = TIERS[name]
        self.notes.append(
            f"scaleTier: {name} became a chief, {tier.workers} workers and {tier.parameter_servers} servers"
        )
        return tier

    def _config(self, name: str) -> Mapping[str, Any]:
        config = self.given.get(name) or {}
        if not isinstance(config, Mapping):
            self.problems.append(f"{name}: not a mapping")
            return {}
        self.problems += [f"{name}.{field}: no such field" for field in sorted(set(config) - _REPLICA_FIELDS)]
        if config.get("tpuTfVersion"):
            self.problems.append(
                f"{name}.tpuTfVersion: no equivalent; the image decides which TensorFlow runs"
            )
        return config

    def _role(
        self, role: str, tier_machine: str, tier_count: int, chief: Mapping[str, Any]
    ) -> Replicas | int:
        count = self.given.get(f"{role}Count", tier_count)
        if not re.fullmatch(r"\d+", str(count)):
            self.problems.append(f"{role}Count: {count!r} is not a whole number")
            return 0
        if int(count) == 0:
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
            count=int(count),
            image_uri=config.get("imageUri"),
            args=self._args(f"{role}Config", config),
            command=config.get("containerCommand") or chief.get("containerCommand"),
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
        args = [str(arg) for arg in (own or given)]
        if self.given.get("jobDir"):
            args += ["--job-dir", str(self.given["jobDir"])]
        return args

    def _machine(self, role: str, tier_machine: str, config: Mapping[str, Any]) -> tuple[str, str | None]:
        name = str(self.given.get(f"{role}Type") or tier_machine or "standard")
        accelerator: str | None = None
        machine = name
        if name == "cloud_tpu":
            self.problems.append(
                f"{role}Type: cloud_tpu's TPU v2 and v3 have no equivalent; choose a current TPU"
            )
        elif name in MACHINES:
            legacy = MACHINES[name]
            machine, accelerator = legacy.machine_type, legacy.accelerator
            what = machine + (f" with {accelerator.replace(':', ' x ')}" if accelerator else "")
            if legacy.note or machine != name:
                reason = f", because {legacy.note}" if legacy.note else ""
                self.notes.append(f"{role}Type: {name} became {what}{reason}")
        own = config.get("acceleratorConfig") or {}
        if own:
            accelerator = self._accelerator(f"{role}Config.acceleratorConfig", own)
        return machine, accelerator

    def _accelerator(self, where: str, config: Mapping[str, Any]) -> str | None:
        kind, count = str(config.get("type", "")), str(config.get("count", 1))
        if kind in ("", "ACCELERATOR_TYPE_UNSPECIFIED"):
            return None
        if not re.fullmatch(r"[1-9]\d*", count):
            self.problems.append(f"{where}.count: {count!r} is not a whole number from 1 on")
            return None
        if kind.startswith("TPU_"):
            self.problems.append(f"{where}: {kind} has no equivalent; choose a current TPU")
            return None
        if kind in RETIRED:
            other, most, reason = RETIRED[kind]
            fewer = str(min(int(count), most))
            self.notes.append(f"{where}: {count} x {kind} became {fewer} x {other}, because {reason}")
            return f"{other}:{fewer}"
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
