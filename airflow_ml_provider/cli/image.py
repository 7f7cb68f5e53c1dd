"""``airflow-ml image``: build, push and pin images, and try them against the container's contract."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

_URI = "REGISTRY/PATH:TAG"
# Arguments of the image in container/.
_TRAINER_ARGS = (
    "--train-file={data}/ratings.csv",
    "--data-type=user_ratings",
    "--job-dir={job}",
    "--output-dir={output}",
)
_MARKS = {"passed": ("ok", "green"), "failed": ("FAILED", "red"), "advice": ("advice", "yellow")}


@click.group()
def image() -> None:
    """Build, push and pin training images, and try them out."""


@image.command()
@click.argument(
    "context", type=click.Path(file_okay=False, exists=True, path_type=Path), default=Path("container")
)
@click.option("--tag", required=True, metavar=_URI, help="What the image is called.")
@click.option("--gpu", is_flag=True, help="With NVIDIA's libraries: requirements-gpu.txt.")
@click.option(
    "--base-image",
    metavar="URI",
    help="What to build on; pin it by its digest, e.g. python:3.11-slim@sha256:…",
)
@click.option(
    "--build-arg", "build_args", multiple=True, metavar="NAME=VALUE", help="Of the Dockerfile; repeat it."
)
@click.option("--network", help="Network of the build's own containers, e.g. host.")
def build(
    context: Path,
    tag: str,
    gpu: bool,
    base_image: str | None,
    build_args: tuple[str, ...],
    network: str | None,
) -> None:
    r"""Build the image of a folder with a Dockerfile, container/ by default.

    \b
    Example:
      airflow-ml image build --tag europe-west4-docker.pkg.dev/my-project/retraining/trainer:1
    """
    from airflow_ml_provider.image import engine

    values: dict[str, str] = {}
    for text in build_args:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--build-arg")
        values[name] = value
    if gpu:
        values.setdefault("REQUIREMENTS", "requirements-gpu.txt")
    if base_image:
        values["BASE_IMAGE"] = base_image
    try:
        built = engine.build(context, tag, build_args=values, network=network, progress=_progress)
    except engine.ImageError as error:
        raise click.ClickException(str(error)) from None
    _progress(f"Built {tag}; 'airflow-ml image push {tag}' prints the URI for DAGs.")
    click.echo(built)


@image.command()
@click.argument("uri", metavar=_URI)
def push(uri: str) -> None:
    """Push an image, and print the URI, pinned by its digest, that DAGs should use."""
    from airflow_ml_provider.image import engine

    try:
        click.echo(engine.push(uri, _progress))
    except engine.ImageError as error:
        raise click.ClickException(str(error)) from None


@image.command()
@click.argument("uri", metavar=_URI)
def digest(uri: str) -> None:
    """Print the URI, pinned by its digest, of what a tag stands for now."""
    from airflow_ml_provider.image import engine

    try:
        click.echo(engine.digest(uri))
    except engine.ImageError as error:
        raise click.ClickException(str(error)) from None


@image.command(context_settings={"ignore_unknown_options": True})
@click.argument("uri", metavar=_URI)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--data",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Folder of small training data. Generated ratings by default.",
)
@click.option(
    "--hyperparameter",
    "hyperparameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument that can be tuned; repeat it.",
)
@click.option("--one-machine", is_flag=True, help="The image does not train on several replicas.")
def test(
    uri: str, args: tuple[str, ...], data: Path | None, hyperparameters: tuple[str, ...], one_machine: bool
) -> None:
    r"""Try an image against the container's contract, as jobs in containers.

    Give the image's own arguments after --; {data}, {job} and {output} in them stand for gs:// folders. Exit
    code 1 if a check fails.

    \b
    Examples:
      airflow-ml image test my-trainer:1
      airflow-ml image test my-trainer:1 --data sample/ -- --train={data}/train.csv --model-dir={output}
    """
    from airflow_ml_provider.image import contract, engine

    tuned: dict[str, str] = {}
    for text in hyperparameters:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--hyperparameter")
        tuned[name.lstrip("-")] = value
    failed = 0
    with ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _write_ratings(data / "ratings.csv")
        findings = contract.check(
            uri, data=data, args=args or _TRAINER_ARGS, hyperparameters=tuned, cluster=not one_machine
        )
        try:
            for finding in findings:
                mark, colour = _MARKS[finding.outcome]
                click.echo(f"{click.style(f'{mark:7}', fg=colour)} {finding.check}")
                for line in finding.text.splitlines():
                    click.echo(f"        {line}")
                failed += finding.outcome == contract.FAILED
        except engine.ImageError as error:
            raise click.ClickException(str(error)) from None
    if failed:
        raise click.ClickException(f"{uri} fails {failed} of the contract's checks.")


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _write_ratings(path: Path) -> None:
    import random

    draw = random.Random(1)  # noqa: S311
    with path.open("w") as file:
        file.write("userId,itemId,rating\n")
        for user in range(60):
            for item in draw.sample(range(40), 15):
                file.write(f"{user},{item},{draw.randint(1, 5)}\n")
