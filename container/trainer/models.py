"""The kinds of model that this image trains, each the same three functions, imported when needed."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer import version
from trainer.cluster import Cluster
from trainer.errors import InputError

COMMANDS = ("train", "evaluate", "predict")
_WHERE = {"evaluate": "--challenger", "predict": "--model-dir"}


@dataclass(frozen=True)
class Model:
    """A kind of model, each function as ``module:name``.

    :param parser: ``parse(command, words) -> Namespace``.
    :param trainer: ``train(arguments, cluster)``.
    :param predictor: ``predict(arguments)``.
    """

    parser: str
    trainer: str
    predictor: str

    def parse(self, command: str, words: Sequence[str]) -> argparse.Namespace:
        """Read the words behind a command."""
        arguments: argparse.Namespace = _function(self.parser)(command, words)
        return arguments

    def train(self, arguments: argparse.Namespace, cluster: Cluster) -> None:
        """Train, and export a version."""
        _function(self.trainer)(arguments, cluster)

    def predict(self, arguments: argparse.Namespace) -> None:
        """Write predictions for the rows of files."""
        _function(self.predictor)(arguments)


MODELS = {
    "wals": Model("trainer.arguments:parse_words", "trainer.train:train", "trainer.prediction:predict"),
    "wide-deep": Model(
        "trainer.wide_deep.arguments:parse",
        "trainer.wide_deep.train:train",
        "trainer.tabular.prediction:predict",
    ),
    "xgboost": Model(
        "trainer.boosted_trees.arguments:parse",
        "trainer.boosted_trees.train:train",
        "trainer.tabular.prediction:predict",
    ),
}


def read_command(argv: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return the command, the model and the words behind the command.

    :param argv: without the program's name. Without a command it means ``train``; ``train`` without
        ``--model`` means WALS, and the other commands take the model that the version's manifest names.
    :raises InputError: there is no such command or model.
    """
    words = list(argv)
    command = words.pop(0) if words and words[0] in COMMANDS else None
    if command is None and words and not words[0].startswith("-"):
        raise InputError(f"unknown command {words[0]!r}: expected {', '.join(COMMANDS)}, or flags of train")
    if command is None and words[:1] in (["-h"], ["--help"]):
        print(
            f"usage: trainer.task [{'|'.join(COMMANDS)}] [--model {'|'.join(MODELS)}] FLAGS "
            "(each has --help). Flags of train:\n"
        )
    command = command or "train"
    name = _value(words, "--model") or _of_version(command, words) or "wals"
    if name not in MODELS:
        raise InputError(f"--model {name}: there is no such model; expected {', '.join(MODELS)}")
    return command, name, words


def _of_version(command: str, words: Sequence[str]) -> str | None:
    if "--scored" in words:
        # The version may be of any kind, and be of another image: it is not looked into.
        return None
    folder = _value(words, _WHERE.get(command, ""))
    manifest = version.read_manifest(folder) if folder else None
    return None if manifest is None else str(manifest.get("model"))


def _value(words: Sequence[str], flag: str) -> str | None:
    for at, word in enumerate(words):
        name, given, value = word.partition("=")
        if name.replace("_", "-") == flag:
            return value if given else words[at + 1] if at + 1 < len(words) else None
    return None


def _function(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
