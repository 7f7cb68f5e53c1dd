"""``airflow-ml jobs``: training jobs from the command line."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from airflow_ml_provider.jobs import HyperparameterTuningJob, TrainingJob
    from airflow_ml_provider.vertex.client import VertexClient


@click.group()
def jobs() -> None:
    """Submit training jobs, and see what would be submitted."""


@jobs.group()
def submit() -> None:
    """Submit a job to Vertex AI."""


@submit.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="",
    add_help_option=False,
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="JOB [FLAGS] [-- ARGS]")
@click.pass_context
def training(context: click.Context, words: tuple[str, ...]) -> None:
    r"""Submit a training job, with the flags of 'gcloud ai-platform jobs submit training'.

    Beside those, --dry-run prints the CustomJob (with hyperparameters in --config: the
    HyperparameterTuningJob) that would be submitted, and submits nothing.

    Acts with your Google Cloud credentials (gcloud auth application-default login), or on the emulator that
    VERTEX_AI_EMULATOR_HOST names.

    \b
    Example:
      airflow-ml jobs submit training wals_1 --region europe-west4 --dry-run \
        --master-image-uri europe-docker.pkg.dev/my-project/retraining/wals:1 \
        --scale-tier basic-gpu -- --train-file gs://my-bucket/ratings.csv
    """
    own = list(words[: words.index("--")] if "--" in words else words)
    if not words or "--help" in own or "-h" in own:
        click.echo(context.get_help())
        return
    rest = list(words[len(own) :])
    dry_run = "--dry-run" in own
    job, project = _read([word for word in own if word != "--dry-run"] + rest)
    body = _body(job)
    for note in job.migration_notes:
        click.echo(f"note: {note}", err=True)
    if dry_run:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    _submit(job, body, project)


def _read(words: list[str]) -> tuple[TrainingJob | HyperparameterTuningJob, str | None]:
    from airflow_ml_provider.jobs import InvalidTrainingJob, gcloud
    from airflow_ml_provider.jobs.ai_platform_tuning import any_job

    try:
        submission = gcloud.submission(["ai-platform", "jobs", "submit", "training", *words])
        return submission.job_by(any_job), submission.project
    except InvalidTrainingJob as error:
        raise click.ClickException(str(error)) from None


def _body(job: TrainingJob | HyperparameterTuningJob) -> dict[str, Any]:
    from airflow_ml_provider.jobs import TrainingJob

    if isinstance(job, TrainingJob):
        return job.to_custom_job()
    return job.to_hyperparameter_tuning_job()


def _submit(job: TrainingJob | HyperparameterTuningJob, body: dict[str, Any], project: str | None) -> None:
    from airflow_ml_provider.jobs import TrainingJob

    if not isinstance(job, TrainingJob):
        raise click.ClickException(
            "hyperparameters: a tuning job can only be looked at so far; add --dry-run"
        )
    if not job.region:
        raise click.ClickException("--region: required to submit, e.g. europe-west4")
    from google.auth.exceptions import GoogleAuthError

    from airflow_ml_provider.vertex.errors import VertexError

    try:
        created = _client(project, job.region).create(body)
    except (VertexError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    except GoogleAuthError as error:
        raise click.ClickException(
            f"No valid Google Cloud credentials: {error} Run 'gcloud auth application-default login'."
        ) from None
    click.echo(f"Submitted {created.name}\n{created.console_url}")


def _client(project: str | None, region: str) -> VertexClient:
    import google.auth
    from google.auth.credentials import AnonymousCredentials, Credentials

    from airflow_ml_provider.vertex.client import VertexClient
    from airflow_ml_provider.vertex.requests import Requests

    credentials: Credentials
    if os.environ.get("VERTEX_AI_EMULATOR_HOST"):
        credentials, default = AnonymousCredentials(), os.environ.get("GOOGLE_CLOUD_PROJECT")  # type: ignore[no-untyped-call]
    else:
        credentials, default = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    named = project or default
    if not named:
        raise click.ClickException("--project: required, since the credentials name none")
    return VertexClient(Requests(project=named, region=region), credentials)
