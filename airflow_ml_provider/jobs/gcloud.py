"""Reading ``gcloud ai-platform jobs submit training`` command lines.

The flags are those of Google Cloud CLI 578, ``surface/ai_platform/jobs/submit/training.py``; how they and
``--config`` make a job, its ``api_lib/ml_engine/jobs.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from airflow_ml_provider.jobs import document
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.shell import Command, Value, commands

Job = TypeVar("Job")

_GROUPS = ("ai-platform", "ml-engine", "ml")
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
    "--tpu-tf-version": "workerConfig.tpuTfVersion",
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
_GCLOUD_VALUES |= {"--impersonate-service-account", "--access-token-file", "--trace-token", "--filter"}
_WITH_VALUE = {*_FLAGS, *_ACCELERATORS, *_OTHER, *_GCLOUD_VALUES} - {"--enable-web-access"}
_SWITCHES = {"--enable-web-access", "--async", "--stream-logs", "--quiet", "-q", "--log-http"}
_SWITCHES |= {"--no-user-output-enabled", "--user-output-enabled", "--no-log-http", "--no-enable-web-access"}


@dataclass(frozen=True)
class Submission:
    """What one command line submits.

    :param job: the job as AI Platform's API has it: ``jobId``, ``labels``, ``trainingInput``.
    :param problems: what is wrong with the command line itself.
    :param notes: what was put for something that only running the script would tell.
    :param project: the flag ``--project``.
    """

    job: Mapping[str, Any]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    project: str | None = None

    def job_by(self, read: Callable[[Mapping[str, Any], Sequence[str]], Job]) -> Job:
        """Return the job that a reader of AI Platform's jobs makes of it.

        :param read: takes :attr:`job` and :attr:`notes`.
        :raises InvalidTrainingJob: with the command line's problems and the reader's.
        """
        try:
            made = read(self.job, self.notes)
        except InvalidTrainingJob as error:
            raise InvalidTrainingJob([*self.problems, *error.problems]) from None
        if self.problems:
            raise InvalidTrainingJob(self.problems)
        return made


@dataclass
class _Line:
    """A command line in its parts."""

    names: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)
    user_args: list[str] | None = None
    problems: list[str] = field(default_factory=list)


def submission(
    command: str | Sequence[str], env: Mapping[str, str] | None = None, folder: Path | None = None
) -> Submission:
    """Return what the only submission in a command line or script submits.

    :param command: the command line or script, or its words.
    :param env: values of the shell variables in a text.
    :param folder: where ``--config``, and what a script reads with ``source``, are looked for; the current
        one by default.
    :raises InvalidTrainingJob: there is none, or more than one; it is no command line; a variable in it has
        no value; its ``--config`` can't be read.
    """
    if not isinstance(command, str):
        found = [Command(tuple(Value(str(word)) for word in command), {})]
        first = found[0].words
    else:
        try:
            found = commands(command, env or {}, sourced_from(folder or Path()))
        except ValueError as error:
            raise InvalidTrainingJob([f"not a command line: {error}"]) from error
        first = found[0].words if found else ()
    trainings = [line for line in found if is_submission(line)]
    if not trainings:
        begins = " ".join(word.text for word in first[:6])
        raise InvalidTrainingJob([f"not 'gcloud ai-platform jobs submit training …': {begins}"])
    if len(trainings) > 1:
        raise InvalidTrainingJob([f"{len(trainings)} jobs are submitted; give one command line at a time"])
    return read(trainings[0], folder or Path())


def sourced_from(folder: Path) -> Callable[[str], str | None]:
    """Return what reads the files that a script in a folder reads with ``source``.

    How the script finds its own folder, as in ``$(dirname $0)/env.sh``, does not matter.
    """

    def text_of(name: str) -> str | None:
        for path in (folder / name.lstrip("/"), folder / Path(name).name):
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, ValueError):
                continue
        return None

    return text_of


def is_submission(command: Command) -> bool:
    """Return whether a command submits a training job."""
    return _after_action([word.text for word in command.words]) is not None


def config_of(command: Command) -> str | None:
    """Return what a submission has as ``--config``, None without one or for a here document."""
    words = _after_action([word.text for word in command.words]) or []
    name = _parse(words).flags.get("--config")
    return None if name in command.files else name


def read(command: Command, folder: Path) -> Submission:
    """Return what a command submits.

    :param folder: where ``--config`` is looked for.
    :raises InvalidTrainingJob: see :func:`submission`.
    """
    unknown = [reason for word in command.words for reason in word.unknown]
    windows = [word.text for word in command.words if re.search(r"%[A-Za-z_]\w{2,}%", word.text)]
    unknown += [f"{word}: variables of Windows can't be read; put their values in" for word in windows]
    if unknown:
        raise InvalidTrainingJob(list(dict.fromkeys(unknown)))
    words = _after_action([word.text for word in command.words])
    assert words is not None
    line = _parse(words)
    notes = [note for word in command.words for note in word.notes]
    config, config_notes = _config(line.flags.get("--config"), command, folder)
    job: dict[str, Any] = dict(config) if "trainingInput" in config else {"trainingInput": config}
    given = _copy(job["trainingInput"] or {})
    _apply(line, given)
    if line.user_args is not None:
        given["args"] = line.user_args
    job["trainingInput"] = given
    job["jobId"] = line.names[0] if line.names else None
    if "--labels" in line.flags:
        job["labels"] = _pairs(line.flags["--labels"], "--labels", line.problems)
    all_notes = list(dict.fromkeys([*notes, *config_notes]))
    return Submission(job, line.problems, all_notes, line.flags.get("--project"))


def _after_action(words: Sequence[str]) -> list[str] | None:
    """Return gcloud's flags before the command, and all that follows it; None if it is another command."""
    # In a Makefile, '@' and '-' may come first.
    starts = bool(words) and words[0].rsplit("/", 1)[-1].lstrip("@-") == "gcloud"
    rest = list(words[1:] if starts else words)
    before: list[str] = []
    plain: list[str] = []
    while rest and len(plain) < 4:
        word = rest.pop(0)
        if word.startswith("-"):
            before.append(word)
            if "=" not in word and word not in _SWITCHES and rest:
                before.append(rest.pop(0))
        elif word not in ("alpha", "beta") or plain:
            plain.append(word)
    if plain[:1] and plain[0] in _GROUPS and tuple(plain[1:]) == _ACTION:
        return before + rest
    return None


def _parse(words: Sequence[str]) -> _Line:
    line = _Line()
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            line.user_args = queue
            break
        if not word.startswith("-"):
            line.names.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = name.replace("_", "-")
        if flag in _SWITCHES:
            line.flags[flag.replace("--no-", "--")] = value or str("--no-" not in flag)
        elif flag not in _WITH_VALUE:
            line.problems.append(_unknown_flag(flag))
            if not equals and queue and not queue[0].startswith("-"):
                queue.pop(0)
        elif equals or queue:
            line.flags[flag] = value if equals else queue.pop(0)
        else:
            line.problems.append(f"{flag}: its value is missing")
    if len(line.names) != 1:
        line.problems.append(f"one name of a job expected, got {line.names or 'none'}")
    return line


def _unknown_flag(flag: str) -> str:
    if flag == "--flags-file":
        return "--flags-file: can't be read here; write its flags into the command line"
    return f"{flag}: no such flag of gcloud ai-platform jobs submit training"


def _config(name: str | None, command: Command, folder: Path) -> tuple[dict[str, Any], Sequence[str]]:
    if name is None:
        return {}, ()
    written = command.files.get(name)
    if written is None:
        return document.load(folder / name), ()
    if written.unknown:
        raise InvalidTrainingJob([f"{name}: {reason}" for reason in written.unknown])
    value = document.parse(written.text, name)
    if not isinstance(value, dict):
        raise InvalidTrainingJob([f"{name}: a mapping expected, found {type(value).__name__}"])
    return value, written.notes


def _apply(line: _Line, given: dict[str, Any]) -> None:
    flags = line.flags
    for flag, path in _FLAGS.items():
        if flag in flags:
            is_switch = flag in ("--enable-web-access", "--use-chief-in-tf-config")
            _set(given, path, flags[flag].lower() == "true" if is_switch else flags[flag])
    for flag, path in _ACCELERATORS.items():
        if flag in flags:
            pairs = _pairs(flags[flag], flag, line.problems)
            _set(given, path, {"type": pairs.get("type", ""), "count": pairs.get("count", "1")})
    if "--scale-tier" in flags:
        given["scaleTier"] = flags["--scale-tier"]
    packages = [flags[flag] for flag in ("--package-path", "--packages") if flag in flags]
    if packages:
        given["packageUris"] = [uri for text in packages for uri in text.split(",")]
    if "--kms-key" in flags:
        _set(given, "encryptionConfig.kmsKeyName", _kms_key(flags, line.problems))
    for role in ("worker", "parameter-server"):
        machine, count = f"--{role}-machine-type", f"--{role}-count"
        if (machine in flags) != (count in flags) and not given.get(_FLAGS[machine]):
            line.problems.append(f"{machine} and {count} belong together")
    if "--master-machine-type" in flags and "scaleTier" not in given:
        given["scaleTier"] = "CUSTOM"


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
    # gcloud topic escaping: ^:^a=b:c=d has ':' between the pairs.
    other = re.fullmatch(r"\^([^^]+)\^(.*)", text, re.DOTALL)
    parts = other.group(2).split(other.group(1)) if other else text.split(",")
    for part in filter(None, parts):
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
