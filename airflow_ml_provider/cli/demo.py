"""Three nights of retraining on this machine: Airflow runs the nightly DAG against the emulator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airflow_ml_provider.cli import ratings

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

    from airflow_ml_provider.models.store import ModelStore

DAG_ID = "recommender_nightly"
BUCKET, ROOT, MODEL, DATASET = "retraining", "gs://retraining/shop", "recommender", "shop"
PROJECT = "demo-project"
FIRST_NIGHT = datetime(2026, 1, 5, 3, tzinfo=UTC)
EXPECTED = ("promoted", "promoted", "refused")
# What Airflow prints as a task begins, and what our operators say of a job's state and print of its log.
_TASK = re.compile(r"\[DAG TEST\] starting task_id=(\w+)")
_STATE = re.compile(r"recommender_nightly\.\w+ \S+: ([A-Z]+)\b")
_REPLICA = re.compile(r"(\[workerpool\d-\d\] .*?)(?:\s+\[[\w.]+\].*)?$")
# TensorFlow's remarks while it loads.
_NOISE = re.compile(r"\] (WARNING: All log messages before absl|[IWE]\d{4} )")
_MARK = "made-by-airflow-ml-demo"


class DemoFailed(Exception):
    """The three nights did not go as they should; says what happened and where to look."""


@dataclass(frozen=True)
class Night:
    """How a night ended.

    :param outcome: ``promoted`` or ``refused``.
    :param version: tonight's model.
    :param sentence: the gate's first reason.
    """

    outcome: str
    version: str
    sentence: str


def run(folder: Path, repository: Path) -> None:
    """Run the demo.

    :param folder: made anew.
    :param repository: where ``dags/`` and ``container/`` are.
    :raises DemoFailed: anything but promoted, promoted, refused.
    """
    began = time.monotonic()
    _check(repository)
    _make_anew(folder)
    logs = folder / "logs"
    logs.mkdir()
    with _emulator(folder, repository) as exported:
        os.environ.update(exported)
        env = _airflow_environment(folder, repository, exported)
        _say("Setting up Airflow's database")
        _airflow(["db", "migrate"], env, logs / "airflow-db.log")
        warehouse, files = _clients()
        files.create_bucket(BUCKET, location="europe-west4")
        warehouse.create_dataset(DATASET)
        nights: list[Night] = []
        for number, batch in enumerate(ratings.nightly_batches(FIRST_NIGHT), start=1):
            _say(f"Night {number}: {batch.rows:,} ratings arrive in BigQuery")
            _load(warehouse, files, batch, folder, number)
            logical_date = FIRST_NIGHT + timedelta(days=number - 1)
            log = logs / f"night-{number}.log"
            _airflow(["dags", "test", DAG_ID, logical_date.isoformat()], env, log, progress=True)
            nights.append(_outcome(_store(files), number, nights))
        _copy_bucket(files, folder / "bucket")
        _report(nights, folder, time.monotonic() - began)
    if tuple(night.outcome for night in nights) != EXPECTED:
        raise DemoFailed(f"Expected {', '.join(EXPECTED)}; see {logs}")


def _check(repository: Path) -> None:
    missing = [
        str(path)
        for path in (repository / "dags" / f"{DAG_ID}.py", repository / "container/.venv/bin/python")
        if not path.exists()
    ]
    if missing:
        raise DemoFailed(f"Missing: {', '.join(missing)}. Run 'make demo' in a checkout of the repository.")


def _make_anew(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise DemoFailed(f"{folder} holds what no demo made, and would be emptied: give another --folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()


@contextmanager
def _emulator(folder: Path, repository: Path) -> Iterator[dict[str, str]]:
    log = folder / "logs" / "emulator.log"
    command = [sys.executable, "-m", "airflow_ml_provider.cli", "emulator", "--port", "0"]
    command += ["--data", str(folder / "emulator"), "--project", PROJECT]
    _say("Starting the emulator")
    with (
        log.open("w") as errors,
        subprocess.Popen(  # noqa: S603
            command, cwd=repository, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield _exported(process, log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _exported(process: subprocess.Popen[str], log: Path) -> dict[str, str]:
    import shlex

    exported: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith("export "):
            return exported
        name, _, value = line.removeprefix("export ").partition("=")
        exported[name] = shlex.split(value)[0]
    raise DemoFailed(f"The emulator did not start; see {log}:\n{log.read_text()[-2000:]}")


def _airflow_environment(folder: Path, repository: Path, exported: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **clean,
        **exported,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(repository / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A slow machine needs more than the default for its first import of Google's operators.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }


def _airflow(words: list[str], env: Mapping[str, str], log: Path, progress: bool = False) -> None:
    command = [str(Path(sys.executable).with_name("airflow")), *words]
    with (
        log.open("w") as file,
        subprocess.Popen(  # noqa: S603
            command, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if progress:
                _show(line)
    if process.returncode != 0:
        tail = "".join(f"    {line}\n" for line in log.read_text().splitlines()[-25:])
        raise DemoFailed(f"'airflow {' '.join(words)}' failed; the end of {log}:\n{tail}")


def _show(line: str) -> None:
    if task := _TASK.search(line):
        _say(f"  {task.group(1)}")
    elif state := _STATE.search(line):
        _say(f"    job {state.group(1)}")
    elif (replica := _REPLICA.search(line)) and not _NOISE.search(line):
        _say(f"      {replica.group(1)}")


def _clients() -> tuple[bigquery.Client, storage.Client]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery, storage

    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return (
        bigquery.Client(project=PROJECT, credentials=anonymous),
        storage.Client(project=PROJECT, credentials=anonymous),
    )


def _store(files: storage.Client) -> ModelStore:
    from airflow_ml_provider.models.store import ModelStore

    return ModelStore(files, root=ROOT, model=MODEL)


def _load(
    warehouse: bigquery.Client, files: storage.Client, batch: ratings.Batch, folder: Path, number: int
) -> None:
    from google.cloud import bigquery

    path = folder / f"ratings-{number}.csv"
    ratings.write(batch, path, seed=number)
    files.bucket(BUCKET).blob(f"landing/{path.name}").upload_from_filename(str(path), if_generation_match=0)
    field = bigquery.SchemaField
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.CSV,
        skip_leading_rows=1,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        schema=[
            field("userId", "INT64", "REQUIRED"),
            field("itemId", "INT64", "REQUIRED"),
            field("rating", "FLOAT64"),
            field("rated_at", "TIMESTAMP"),
        ],
    )
    uri = f"gs://{BUCKET}/landing/{path.name}"
    warehouse.load_table_from_uri(uri, f"{PROJECT}.{DATASET}.ratings", job_config=config).result()
    path.unlink()


def _outcome(store: ModelStore, number: int, before: list[Night]) -> Night:
    records = store.history()
    if len(records) != number:
        raise DemoFailed(f"Night {number} left {len(records)} records in the model's history, not {number}")
    record = records[-1]
    outcome = record.act
    champion = store.champion()
    expected = record.version if outcome == "promoted" else before[-1].version
    if champion is None or champion.version != expected:
        raise DemoFailed(f"Night {number} was {outcome}, but the champion is {champion}")
    night = Night(outcome, record.version, record.why)
    _say(f"Night {number}: {outcome}: {night.sentence}")
    return night


def _copy_bucket(files: storage.Client, folder: Path) -> None:
    for blob in files.list_blobs(BUCKET):
        path = folder / blob.name
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(str(path))


def _report(nights: list[Night], folder: Path, seconds: float) -> None:
    champion = [night for night in nights if night.outcome == "promoted"][-1].version
    base = folder / "bucket" / "shop" / "models" / MODEL
    click.echo()
    for number, night in enumerate(nights, start=1):
        click.echo(click.style(f"night {number}: {night.outcome}", bold=True) + f"  {night.sentence}")
    click.echo(f"\nThree nights in {seconds:.0f} s. Where to look:")
    for what, path in (
        ("model in production", base / "versions" / champion / "saved_model"),
        ("the pointer to it", base / "champion.json"),
        ("every decision", base / "history"),
        ("why night 3 was refused", base / "versions" / nights[-1].version / "report.html"),
        ("logs", folder / "logs"),
    ):
        click.echo(f"  {what:24} {path}")


def _say(text: str) -> None:
    click.echo(f"[{datetime.now():%H:%M:%S}] {text}")
