"""The ``airflow-ml`` command."""

from __future__ import annotations

from pathlib import Path

import click

from airflow_ml_provider import __version__
from airflow_ml_provider.cli.image import image
from airflow_ml_provider.cli.jobs import jobs
from airflow_ml_provider.cli.migrate import migrate
from airflow_ml_provider.cli.models import models


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="airflow-ml")
def main() -> None:
    """Retrain models on a schedule on Google Cloud, and try it all offline."""


main.add_command(image)
main.add_command(jobs)
main.add_command(migrate)
main.add_command(models)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9090,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".emulator"),
    show_default=True,
    help="Folder that holds buckets, tables, jobs and logs; they survive a restart.",
)
@click.option(
    "--project", default="demo-project", show_default=True, help="Project of the connection it prints."
)
@click.option(
    "--cluster",
    type=click.Choice(["process", "docker"]),
    default="process",
    show_default=True,
    help="Whether a replica is a local process or a container of its image.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="PATTERN=COMMAND",
    help="With --cluster=process: the command that stands for the images whose URI fits PATTERN, run in the "
    "current folder. Repeat it for more images; the first that fits is taken. Default: '*/trainer' is this "
    "folder's container/trainer, in container/.venv.",
)
@click.option(
    "--pace",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Scales how long jobs queue, start and take to report an error; 0 for no delays.",
)
@click.option(
    "--faults",
    is_flag=True,
    help="Let calls and jobs go wrong by rules that are posted to /emulator/faults, see docs/emulator.md.",
)
def emulator(
    host: str,
    port: int,
    data: Path,
    project: str,
    cluster: str,
    images: tuple[str, ...],
    pace: float,
    faults: bool,
) -> None:
    r"""Serve BigQuery, Cloud Storage, Vertex AI and Cloud Logging on one port of this machine.

    Jobs that are created really run. Prints the variables to export; stop it with Ctrl-C.

    \b
    Example:
      airflow-ml emulator --port 9090 --image '*/my-image=python train.py'
    """
    try:
        from airflow_ml_provider.emulator.server import EmulatorError, Settings, parse_image, serve
    except ModuleNotFoundError as error:
        advice = "Install what the emulator needs: pip install 'airflow-ml-provider[emulator]'"
        raise click.ClickException(f"{error}. {advice}") from None
    try:
        settings = Settings(
            data=data,
            host=host,
            port=port,
            project=project,
            docker=cluster == "docker",
            images=tuple(parse_image(text, Path.cwd()) for text in images),
            pace=pace,
            faults=faults,
        )
        serve(settings)
    except EmulatorError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Made anew: holds the emulator's data, Airflow's database and the results.",
)
@click.option(
    "--repository",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    help="Where dags/ and container/ are; the current folder by default.",
)
def demo(folder: Path, repository: Path) -> None:
    """Watch three nights of retraining: promoted, promoted, refused.

    Runs dags/recommender_nightly.py with Airflow against the emulator. The third night's data is corrupt.
    """
    from airflow_ml_provider.cli.demo import DemoFailed, run

    try:
        run(folder.absolute(), repository.absolute())
    except DemoFailed as error:
        raise click.ClickException(str(error)) from None
