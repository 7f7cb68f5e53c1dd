"""``airflow-ml models``: look into the model store, check it, and roll back."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from airflow_ml_provider.cli.output import fields, format_option, rows, show

if TYPE_CHECKING:
    from airflow_ml_provider.models.manifest import Manifest
    from airflow_ml_provider.models.store import ModelStore

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def models() -> None:
    r"""Look at models in a model store, check them, and roll back.

    Acts with your Google Cloud credentials (gcloud auth application-default login), or on the emulator that
    STORAGE_EMULATOR_HOST names.

    \b
    Examples:
      export AIRFLOW_ML_ROOT=gs://my-bucket/shop
      airflow-ml models list
      airflow-ml models history recommender --limit 10
      airflow-ml models rollback recommender --why 'recommends sold-out items'
    """


def _store_options(command: Command) -> Command:
    project = click.option("--project", help="Google Cloud project; that of your credentials by default.")
    root = click.option(
        "--root",
        required=True,
        envvar="AIRFLOW_ML_ROOT",
        metavar="gs://BUCKET/FOLDER",
        help="Folder that holds models/. Also read from AIRFLOW_ML_ROOT.",
    )
    return root(project(command))


@models.command("list")
@_store_options
@format_option
def list_models(root: str, project: str | None, output: str) -> None:
    """List the models, with who is in production and since when."""
    from airflow_ml_provider.models.versions import models_in

    with _failures_explained():
        found = []
        for name in models_in(_client(project), root):
            store = _store(root, name, project)
            champion = store.champion()
            found.append(
                {
                    "model": name,
                    "champion": champion.version if champion else None,
                    "since": champion.record.at if champion else None,
                    "versions": len(store.names()),
                }
            )
    show(found, output, lambda: rows(("model", "champion", "since", "versions"), found))


@models.command("show")
@click.argument("model")
@click.option("--version", help="The champion by default.")
@_store_options
@format_option
def show_version(model: str, version: str | None, root: str, project: str | None, output: str) -> None:
    """Show a version: what it was trained from, its metrics, and how it came into production."""
    with _failures_explained():
        store = _store(root, model, project)
        champion = store.champion()
        if version is None and champion is None:
            raise click.ClickException(f"{model} has no champion yet; name a --version")
        version = version or (champion.version if champion else "")
        manifest = store.manifest(version)
    record = champion.record if champion and champion.version == version else None
    found = {
        "model": model,
        "version": version,
        "in_production": record is not None,
        **({"since": record.at, "by": record.by, "why": record.why} if record else {}),
        "uri": store.version_uri(version),
        **_origin(manifest),
        "size": manifest.size,
        "files": len(manifest.files),
    }
    show(found, output, lambda: fields(found))


@models.command()
@click.argument("model")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Only the newest.")
@_store_options
@format_option
def history(model: str, limit: int, root: str, project: str | None, output: str) -> None:
    """Show every promotion, refusal, rollback and removal, with who did it and why."""
    with _failures_explained():
        records = [asdict(record) for record in _store(root, model, project).history(limit)]
    show(records, output, lambda: rows(("number", "at", "act", "version", "champion", "by", "why"), records))


@models.command()
@click.argument("model")
@click.argument("version")
@click.argument("other", required=False)
@_store_options
@format_option
def diff(model: str, version: str, other: str | None, root: str, project: str | None, output: str) -> None:
    """Show what VERSION and OTHER (the champion by default) were trained from where it differs."""
    with _failures_explained():
        store = _store(root, model, project)
        champion = store.champion()
        other = other or (champion.version if champion else None)
        if other is None:
            raise click.ClickException(f"{model} has no champion to compare with; name another version")
        left, right = (_flat(_origin(store.manifest(name))) for name in (version, other))
    found = [
        {"what": name, version: left.get(name), other: right.get(name)}
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    ]
    show(found, output, lambda: rows(("what", version, other), found) if found else "No difference.")


@models.command()
@click.argument("model")
@click.argument("version", required=False)
@click.option("--sha256", is_flag=True, help="Read every file and compare its content too.")
@_store_options
def verify(model: str, version: str | None, sha256: bool, root: str, project: str | None) -> None:
    """Check that a version's files are all there, the champion's by default, and the history behind it."""
    with _failures_explained():
        store = _store(root, model, project)
        champion = store.champion()
        version = version or (champion.version if champion else None)
        if version is None:
            raise click.ClickException(f"{model} has no champion yet; name a version")
        manifest = store.verify(version, sha256=sha256)
        numbers = [record.number for record in store.history()]
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    if missing:
        raise click.ClickException(f"The history of {model} lacks the records {missing}.")
    how = "sizes and contents" if sha256 else "sizes"
    click.echo(
        f"{version}: {len(manifest.files)} files, {manifest.size:,} bytes, {how} as the manifest says."
    )
    click.echo(f"{model}: {len(numbers)} records, none missing.")


@models.command()
@click.argument("model")
@click.option("--to", "target", metavar="VERSION", help="Where to; the champion before by default.")
@click.option("--why", required=True, help="The reason, for the history.")
@click.option("--by", help="Who does it; you by default.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_store_options
def rollback(
    model: str, target: str | None, why: str, by: str | None, yes: bool, root: str, project: str | None
) -> None:
    """Return production to an earlier version. What it leaves is barred from coming back by itself."""
    with _failures_explained():
        store = _store(root, model, project)
        champion = store.champion()
        leaving = champion.version if champion else None
        if not yes:
            where = target or "the champion before it"
            click.confirm(f"Return {model} from {leaving} to {where}?", abort=True, err=True)
        now = store.rollback(target, by=by or _me(), why=why, expected=leaving)
    click.echo(f"{model}: {now.version} is the champion, {leaving} is barred. Record {now.record.number}.")


@models.command()
@click.argument("model")
@click.option("--keep-last", type=click.IntRange(min=1), required=True, help="How many to keep at least.")
@click.option("--by", help="Who does it; you by default.")
@_store_options
def prune(model: str, keep_last: int, by: str | None, root: str, project: str | None) -> None:
    """Remove old versions' files; what is in production, may be returned to or is being made stays."""
    with _failures_explained():
        removed = _store(root, model, project).prune(keep_last, by=by or _me())
    click.echo("\n".join(removed) if removed else "Nothing to remove.")


def _client(project: str | None) -> Any:
    from google.cloud import storage

    return storage.Client(project=project)


def _store(root: str, model: str, project: str | None) -> ModelStore:
    from airflow_ml_provider.models.store import ModelStore

    return ModelStore(_client(project), root=root, model=model)


def _origin(manifest: Manifest) -> dict[str, Any]:
    data = manifest.data
    return {
        "created": manifest.created,
        "image": manifest.image,
        "job": manifest.job,
        "seed": manifest.seed,
        "arguments": dict(manifest.arguments),
        "data": {"files": [file["uri"] for file in data.files], "rows": data.rows},
        "metrics": dict(manifest.metrics),
        "framework": dict(manifest.framework),
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _me() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


@contextmanager
def _failures_explained() -> Iterator[None]:
    from google.auth.exceptions import GoogleAuthError

    from airflow_ml_provider.models.errors import ModelStoreError

    try:
        yield
    except ModelStoreError as error:
        raise click.ClickException(str(error)) from None
    except GoogleAuthError as error:
        raise click.ClickException(
            f"No valid Google Cloud credentials: {error} Run 'gcloud auth application-default login'."
        ) from None
    except OSError as error:
        # storage.Client's own complaint when neither the credentials nor --project name a project.
        raise click.ClickException(f"{error} Give --project.") from None
