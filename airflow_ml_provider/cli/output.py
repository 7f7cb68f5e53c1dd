"""What a command prints: a table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def format_option(command: Command) -> Command:
    """Give a command ``--format``; its function gets ``output``."""
    return click.option(
        "--format",
        "output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def show(value: Any, output: str, table: Callable[[], str]) -> None:
    """Print a result.

    :param value: JSON values, for ``json`` and ``yaml``.
    :param output: ``table``, ``json`` or ``yaml``.
    :param table: returns the text for people.
    """
    if output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(table())


def rows(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as lines with aligned columns.

    :param columns: keys of the records; headed by their upper-case names.
    """
    cells = [[column.upper().replace("_", " ") for column in columns]]
    cells += [["" if record.get(c) is None else str(record[c]) for c in columns] for record in records]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def fields(record: Mapping[str, Any]) -> str:
    """Return a record as one line for each of its values; nested ones are written as JSON."""
    width = max((len(name) for name in record), default=0)
    return "\n".join(
        f"{name.replace('_', ' '):{width}}  {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in record.items()
    )
