"""Reading ``gcloud ai-platform jobs submit training`` command lines.

The flags are those of Google Cloud CLI 578, ``surface/ai_platform/jobs/submit/training.py``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ml_provider.jobs import document
from airflow_ml_provider.jobs.ai_platform import training_job as from_ai_platform
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.training_job import TrainingJob

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_COMMANDS = (("ai-platform",), ("ml-engine",))
_ACTION = ("jobs", "submit", "training")
# A flag, and where its value belongs in trainingInput.
_FLAGS = {
    "--enable-web-access": "enableWebAccess",
    "--job-dir": "jobDir",
    "--master-image-uri": "masterConfig.imageUri",
    "--master-machine-type": "masterType",
    "--module-name": "pythonModule",
    "--network": "network",
    "--parameter-server-count": "parameterServerCount",
    "--parameter-server-image-uri": "parameterServerConfig.imageUri",
    "--parameter-server-machine-type": "parameterServerType",
    "--python-version": "pythonVersion",
    "--region": "region",
    "--runtime-version": "runtimeVersion",
    "--service-account": "serviceAccount",
    "--tpu-tf-version": "masterConfig.tpuTfVersion",
    "--use-chief-in-tf-config": "useChiefInTfConfig",
    "--worker-count": "workerCount",
    "--worker-image-uri": "workerConfig.imageUri",
    "--worker-machine-type": "workerType",
}
_ACCELERATORS = {
    "--master-accelerator": "masterConfig.acceleratorConfig",
    "--parameter-server-accelerator": "parameterServerConfig.acceleratorConfig",
    "--worker-accelerator": "workerConfig.acceleratorConfig",
}
_KMS = ("--kms-key", "--kms-keyring", "--kms-location", "--kms-project")
_OTHER = {"--config", "--labels", "--package-path", "--packages", "--scale-tier", "--staging-bucket", *_KMS}
# What says how gcloud behaves, not what the job is.
_GCLOUD_VALUES = {"--project", "--account", "--format", "--verbosity", "--configuration", "--billing-project"}
_GCLOUD_VALUES |= {"--impersonate-service-account", "--flags-file", "--user-output-enabled", "--filter"}
_SWITCHES = {"--async", "--stream-logs", "--quiet", "-q", "--log-http", "--no-user-output-enabled"}
_BOOLEANS = {"--enable-web-access", "--use-chief-in-tf-config"}


def training_job(command: str | Sequence[str], env: Mapping[str, str] | None = None) -> TrainingJob:
    """Return the job of a command line, see :meth:`TrainingJob.from_gcloud`."""
    words = _words(command, env or {}) if isinstance(command, str) else [str(word) for word in command]
    ours, user_args = _split(_after_action(words))
    name, flags = _parse(ours)
    config = document.load(flags["--config"]) if "--config" in flags else {}
    job: dict[str, Any] = dict(config) if "trainingInput" in config else {"trainingInput": config}
    given = _copy(job["trainingInput"] or {})
    problems = _apply(flags, given)
    if user_args:
        given["args"] = user_args
    job["trainingInput"] = given
    job["jobId"] = name
    if "--labels" in flags:
        job["labels"] = {**(job.get("labels") or {}), **_pairs(flags["--labels"], "--labels", problems)}
    try:
        made = from_ai_platform(job)
    except InvalidTrainingJob as error:
        raise InvalidTrainingJob([*problems, *error.problems]) from None
    if problems:
        raise InvalidTrainingJob(problems)
    return made


def _words(command: str, env: Mapping[str, str]) -> list[str]:
    missing: list[str] = []

    def value(found: re.Match[str]) -> str:
        name = found.group(1) or found.group(2)
        if name not in env:
            missing.append(name)
        return env.get(name, "")

    try:
        words = shlex.split(command.replace("\\\r\n", " ").replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise InvalidTrainingJob([f"not a command line: {error}"]) from error
    if any("$(" in word or "`" in word for word in words):
        raise InvalidTrainingJob(
            ["a command in the command line ($(…) or `…`) can't be run here: put its result in"]
        )
    words = [_VARIABLE.sub(value, word) for word in words]
    if missing:
        raise InvalidTrainingJob(
            [f"${name}: the shell variable has no value here; give it in env" for name in missing]
        )
    return words


def _after_action(words: Sequence[str]) -> list[str]:
    plain = [word for word in words if word not in ("alpha", "beta")]
    start = 1 if plain[:1] and plain[0].endswith("gcloud") else 0
    rest = plain[start:]
    if tuple(rest[:1]) not in _COMMANDS or tuple(rest[1:4]) != _ACTION:
        raise InvalidTrainingJob([f"not 'gcloud ai-platform jobs submit training …': {' '.join(words[:6])}"])
    return rest[4:]


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    if "--" not in words:
        return list(words), []
    at = words.index("--")
    return list(words[:at]), list(words[at + 1 :])


def _parse(words: Sequence[str]) -> tuple[str, dict[str, str]]:
    names: list[str] = []
    flags: dict[str, str] = {}
    problems: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag in _BOOLEANS or flag in _SWITCHES or flag.removeprefix("--no-") in {b[2:] for b in _BOOLEANS}:
            negative = flag.startswith("--no-")
            flags[f"--{flag[5:]}" if negative else flag] = value or ("false" if negative else "true")
            continue
        if flag not in {*_FLAGS, *_ACCELERATORS, *_OTHER, *_GCLOUD_VALUES}:
            problems.append(f"{flag}: no such flag of gcloud ai-platform jobs submit training")
            if not equals and queue and not queue[0].startswith("-"):
                queue.pop(0)
            continue
        if not equals:
            if not queue:
                problems.append(f"{flag}: its value is missing")
                continue
            value = queue.pop(0)
        flags[flag] = value
    if len(names) != 1:
        problems.append(f"one name of a job expected, got {names or 'none'}")
    if problems:
        raise InvalidTrainingJob(problems)
    return names[0], flags


def _apply(flags: Mapping[str, str], given: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    for flag, path in _FLAGS.items():
        if flag in flags:
            value: Any = flags[flag]
            if flag in _BOOLEANS:
                value = value.lower() == "true"
            _set(given, path, value)
    for flag, path in _ACCELERATORS.items():
        if flag in flags:
            pairs = _pairs(flags[flag], flag, problems)
            kind = pairs.get("type", "").upper().replace("-", "_")
            _set(given, path, {"type": kind, "count": pairs.get("count", "1")})
    if "--scale-tier" in flags:
        given["scaleTier"] = flags["--scale-tier"].upper().replace("-", "_")
    for flag in ("--packages", "--package-path"):
        if flag in flags:
            _set(given, "packageUris", flags[flag].split(","))
    if "--kms-key" in flags:
        _set(given, "encryptionConfig.kmsKeyName", _kms_key(flags, problems))
    for role in ("master", "worker", "parameter-server"):
        machine, count = f"--{role}-machine-type", f"--{role}-count"
        if role != "master" and (machine in flags) != (count in flags) and not given.get(_FLAGS[machine]):
            problems.append(f"{machine} and {count} belong together")
    if flags.keys() & {"--master-machine-type"} and "scaleTier" not in given:
        given["scaleTier"] = "CUSTOM"
    return problems


def _kms_key(flags: Mapping[str, str], problems: list[str]) -> str:
    key = flags["--kms-key"]
    if key.startswith("projects/"):
        return key
    parts = {name: flags.get(name) for name in _KMS[1:]}
    parts["--kms-project"] = parts["--kms-project"] or flags.get("--project")
    missing = [name for name, value in parts.items() if not value]
    if missing:
        problems.append(f"--kms-key: {key!r} is not a full name, and {', '.join(missing)} is not given")
    return "projects/{}/locations/{}/keyRings/{}/cryptoKeys/{}".format(
        parts["--kms-project"], parts["--kms-location"], parts["--kms-keyring"], key
    )


def _pairs(text: str, flag: str, problems: list[str]) -> dict[str, str]:
    pairs = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            problems.append(f"{flag}: {part!r} is not KEY=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs


def _set(target: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split(".")
    for folder in folders:
        target = target.setdefault(folder, {})
    target[last] = value


def _copy(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(item) if isinstance(item, Mapping) else item for key, item in value.items()}
