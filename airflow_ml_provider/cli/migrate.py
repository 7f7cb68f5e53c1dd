"""``airflow-ml migrate``: what was submitted to AI Platform becomes jobs and a DAG."""

from __future__ import annotations

from pathlib import Path

import click


def _pairs(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", context, option)
        pairs[name] = text
    return pairs


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("migrated"),
    show_default=True,
    help="Folder for the YAML files and from_ai_platform.py, the DAG.",
)
@click.option(
    "--env",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="Value of a shell variable; without one it becomes an Airflow Variable. Repeat it for more.",
)
@click.option(
    "--image",
    "image_uri",
    metavar="URI",
    help="Image that holds the Python packages of jobs that had no image; they are refused without it.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
def migrate(path: Path, target: Path, env: dict[str, str], image_uri: str | None, force: bool) -> None:
    r"""Turn AI Platform's config files and scripts into training jobs and a DAG.

    PATH is a --config file, a script or notebook with 'gcloud ai-platform jobs submit training', or a folder
    with any of them. What is not one to one is told in the YAML files' first lines; what has no equivalent is
    refused with what to do instead, and the exit code is 1 then.

    \b
    Examples:
      airflow-ml migrate scripts/train-cloud.sh --env BUCKET=my-bucket
      airflow-ml migrate . --to dags/training --image europe-docker.pkg.dev/my-project/retraining/trainer:1
    """
    from airflow_ml_provider.jobs.migration import dag
    from airflow_ml_provider.jobs.migration import migrate as migrated

    found = migrated(path, env, image_uri)
    if not found:
        raise click.ClickException(f"{path}: nothing in it that was submitted to AI Platform")
    made = [item for item in found if item.job is not None]
    files = {f"{item.name}.yaml": item.job.to_yaml() for item in made if item.job is not None}
    tasks = dag(made)
    if tasks:
        files["from_ai_platform.py"] = tasks
    there = [name for name in files if (target / name).exists()]
    if there and not force:
        raise click.ClickException(f"{target / there[0]} is there already; --force writes over it")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8")
    for item in found:
        if item.job is None:
            click.secho(f"{item.source}: refused", fg="red")
            click.echo("".join(f"  - {problem}\n" for problem in item.problems), nl=False)
        else:
            click.secho(f"{item.source} -> {target / item.name}.yaml", fg="green")
            click.echo("".join(f"  - {note}\n" for note in item.job.migration_notes), nl=False)
    click.echo(f"{len(made)} of {len(found)} jobs migrated" + (f" to {target}" if made else ""))
    if len(made) < len(found):
        raise SystemExit(1)
