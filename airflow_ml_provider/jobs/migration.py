"""Finding what was submitted to AI Platform Training in a folder, and making jobs and a DAG of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_ml_provider.jobs import gcloud
from airflow_ml_provider.jobs.ai_platform_input import read
from airflow_ml_provider.jobs.ai_platform_tuning import any_job
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.hyperparameter_tuning_job import HyperparameterTuningJob
from airflow_ml_provider.jobs.shell import Command, as_template, commands
from airflow_ml_provider.jobs.training_job import TrainingJob

_CONFIGS = (".yaml", ".yml", ".json")
_SCRIPTS = (".sh", ".bash", ".zsh", ".mk", ".bat", ".cmd", "")
_OPERATORS = re.compile(r"\bMLEngine(?:Start)?Training(?:Job)?Operator\b")
_MISSING = re.compile(r"\$([A-Za-z_]\w*): the shell variable has no value")
_SUBMITS = re.compile(r"\bsubmit\s+training\b")


@dataclass(frozen=True)
class Migrated:
    """What became of one job.

    :param source: the file that it comes from.
    :param name: for files and the task, unique among those of a migration.
    :param job: the job, or None if it is refused.
    :param problems: why it is refused, and what to do.
    """

    source: Path
    name: str
    job: TrainingJob | HyperparameterTuningJob | None = None
    problems: tuple[str, ...] = ()


def migrate(path: Path, env: Mapping[str, str], image_uri: str | None = None) -> list[Migrated]:
    """Return what became of every job in a file or folder.

    Configuration files that a script names are read with it. Shell variables that have no value become
    Airflow Variables.

    :param path: a configuration file, a script, a notebook, or a folder with any of them.
    :param env: values of shell variables.
    :param image_uri: what runs the Python packages of jobs that had no image.
    """
    found: list[Migrated] = []
    used: set[Path] = set()
    files = [path] if path.is_file() else sorted(_files(path))
    for file in files:
        if file.suffix not in _CONFIGS:
            found += _from_script(file, path if path.is_dir() else path.parent, env, image_uri, used)
    for file in files:
        if file.suffix in _CONFIGS and file.resolve() not in used:
            found += _from_config(file, image_uri)
    return _named(found)


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        inner = file.relative_to(folder).parts
        if file.is_file() and not any(part.startswith(".") or part == "node_modules" for part in inner):
            yield file


def _from_config(file: Path, image_uri: str | None) -> list[Migrated]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    if "trainingInput" not in text and "training_input" not in text:
        return []
    try:
        job = read(file)
        return [Migrated(file, str(job.get("jobId") or file.stem), any_job(job, image_uri=image_uri))]
    except InvalidTrainingJob as error:
        return [Migrated(file, file.stem, problems=tuple(error.problems))]


def _from_script(
    file: Path, root: Path, env: Mapping[str, str], image_uri: str | None, used: set[Path]
) -> list[Migrated]:
    text = _script(file)
    if text is None:
        return []
    if _OPERATORS.search(text):
        way_out = "MLEngine operators are gone; make a TrainingJob with from_ai_platform of their arguments"
        return [Migrated(file, file.stem, problems=(way_out,))]
    if not _SUBMITS.search(text):
        return []
    try:
        submitted = _submissions(text, env, file)
    except ValueError as error:
        return [Migrated(file, file.stem, problems=(f"not a shell script: {error}",))]
    variables = _variables(submitted)
    if variables:
        templates = {name: as_template(template) for name, template in variables.items()}
        submitted = _submissions(text, {**templates, **env}, file)
    if not submitted:
        return [Migrated(file, file.stem, problems=("no 'gcloud … jobs submit training' that can be read",))]
    made = []
    for command in submitted:
        config = gcloud.config_of(command)
        folders = [file.parent, root, file.parent.parent]
        folder = next((place for place in folders if config and (place / config).is_file()), file.parent)
        if config:
            used.add((folder / config).resolve())
        made.append(_from_command(command, file, folder, variables, image_uri))
    return made


def _submissions(text: str, env: Mapping[str, str], file: Path) -> list[Command]:
    sourced = gcloud.sourced_from(file.parent)
    return [command for command in commands(text, env, sourced) if gcloud.is_submission(command)]


def _script(file: Path) -> str | None:
    """Return the text of a script, or of a notebook's cells; None for other files."""
    if file.suffix not in (*_SCRIPTS, ".ipynb", ".py"):
        return None
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".ipynb":
            cells = json.loads(text).get("cells", [])
            sources = [cell.get("source", "") for cell in cells if cell.get("cell_type") == "code"]
            # A cell that is a script of its own says so in its first line.
            texts = [source if isinstance(source, str) else "".join(source) for source in sources]
            return "\n".join(re.sub(r"\A%%(?:bash|sh)\b.*", "", text) for text in texts)
    except (OSError, ValueError, AttributeError):
        return None
    if file.suffix == ".py" and not _OPERATORS.search(text):
        return None
    return text


def _variables(submitted: Sequence[Command]) -> dict[str, str]:
    """Return the Airflow Variables that stand for shell variables without a value."""
    values = [*(word for command in submitted for word in command.words)]
    values += [file for command in submitted for file in command.files.values()]
    names = [found.group(1) for value in values for why in value.unknown if (found := _MISSING.match(why))]
    return {name: f"{{{{ var.value.{name.lower()} }}}}" for name in names}


def _from_command(
    command: Command, file: Path, folder: Path, variables: Mapping[str, str], image_uri: str | None
) -> Migrated:
    try:
        job = gcloud.read(command, folder).job_by(lambda job, notes: any_job(job, notes, image_uri))
    except InvalidTrainingJob as error:
        return Migrated(file, file.stem, problems=tuple(error.problems))
    text = job.to_yaml()
    notes = [
        f"${name}: became the Airflow Variable {name.lower()}; set it"
        for name, template in variables.items()
        if template in text
    ]
    return Migrated(file, file.stem, replace(job, migration_notes=(*job.migration_notes, *notes)))


def _named(found: Sequence[Migrated]) -> list[Migrated]:
    """Give every job a name of its own that may be a task's."""
    taken: dict[str, int] = {}
    named = []
    for item in found:
        name = re.sub(r"\W+", "_", item.name, flags=re.ASCII).strip("_") or "job"
        taken[name] = taken.get(name, 0) + 1
        named.append(replace(item, name=name if taken[name] == 1 else f"{name}_{taken[name]}"))
    return named


def dag(migrated: Sequence[Migrated]) -> str:
    """Return the text of a DAG file with a task for each training job, whose YAML files lie beside it.

    :return: ``""`` if there is none.
    """
    tasks = [(item.name, item.job) for item in migrated if isinstance(item.job, TrainingJob)]
    if not tasks:
        return ""
    tuned = [item.name for item in migrated if isinstance(item.job, HyperparameterTuningJob)]
    lines = [
        '"""Training that ran on AI Platform, as it was read; order the tasks and set a schedule."""',
        "",
        "from datetime import datetime",
        "from pathlib import Path",
        "",
        "from airflow.providers.common.compat.sdk import DAG",
        "",
        "from airflow_ml_provider import operators as ml",
        "from airflow_ml_provider.jobs import TrainingJob",
        "",
        "JOBS = Path(__file__).parent",
        *(f"# {name}.yaml is for HyperparameterTuningJob.from_yaml." for name in tuned),
        "",
        'with DAG("from_ai_platform", schedule=None, start_date=datetime(2026, 1, 1), catchup=False) as dag:',
    ]
    for name, job in tasks:
        region = json.dumps(job.region or "{{ var.value.region }}")
        lines += [
            f"    job = TrainingJob.from_yaml(JOBS / {json.dumps(name + '.yaml')})",
            f"    ml.TrainingJobOperator(task_id={json.dumps(name)}, job=job, region={region})",
        ]
    return "\n".join(lines) + "\n"
