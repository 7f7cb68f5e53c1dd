"""Flags that every model has, and how their values are read."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from trainer import files
from trainer.cluster import Cluster
from trainer.errors import InputError
from trainer.hypertune import DEFAULT_TAG

FILES: dict[str, Any] = {"nargs": "+", "action": "extend", "metavar": "FILE"}


class Parser(argparse.ArgumentParser):
    """Refuses with :class:`InputError` instead of leaving the process; ``--a_b`` is the same as ``--a-b``."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        :raises InputError: always.
        """
        raise InputError(f"{message} (see --help)")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse words in which flags are spelled with ``_`` or ``-``."""
        return self.parse_args([w if not w.startswith("--") else _dashed(w) for w in words])


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Add what a training job is told: where to write, how to go on, whom to report to."""
    add = parser.add_argument
    add("--job-dir", help="folder for checkpoints, and the version's without --output-dir")
    add("--output-dir", help="the version's folder; default AIP_MODEL_DIR, then --job-dir")
    add("--seed", type=integer(0), default=0, help="of all random numbers")
    add("--checkpoint-every", type=number(0), default=15.0, metavar="SECONDS",
        help="of work that an interrupted job may lose; 0: nothing that was finished")  # fmt: skip
    add("--hypertune", action="store_true", help="report the test metric to hyperparameter tuning")
    add(
        "--hypertune-metric-tag",
        default=os.environ.get("CLOUD_ML_HP_METRIC_TAG") or DEFAULT_TAG,
        help="its metric id",
    )
    add(
        "--peer-timeout",
        type=number(1),
        default=900.0,
        help="seconds after which a silent replica is given up",
    )
    add("--verbose-logging", action="store_true", help="TensorFlow's own messages too")


def complete_job_flags(arguments: argparse.Namespace) -> None:
    """Set ``output_dir``, ``checkpoint_dir`` and ``log_dir`` from the flags and Vertex AI's variables.

    https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables

    :raises InputError: there is no place for the model.
    """
    env = os.environ
    arguments.output_dir = arguments.output_dir or env.get("AIP_MODEL_DIR") or arguments.job_dir
    if not arguments.output_dir:
        raise InputError("no place for the model: give --output-dir or --job-dir, or set AIP_MODEL_DIR")
    arguments.checkpoint_dir = env.get("AIP_CHECKPOINT_DIR") or (
        files.join(arguments.job_dir, "checkpoints") if arguments.job_dir else None
    )
    arguments.log_dir = env.get("AIP_TENSORBOARD_LOG_DIR") or None


def version_folder(arguments: argparse.Namespace, cluster: Cluster) -> str:
    """Return the folder of the version that this job, or this trial of it, trains."""
    output: str = arguments.output_dir
    # AIP_MODEL_DIR has the trial in it already, if Vertex AI set it; a flag is the same in all trials.
    if arguments.hypertune and cluster.trial and f"/{cluster.trial}/" not in f"{output}/":
        return files.join(output, cluster.trial)
    return output


def integer(least: int) -> Callable[[str], int]:
    """Return a reader of integers of at least ``least``, which tuning services send as 80.0."""

    def read(text: str) -> int:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if not value.is_integer() or value < least or value >= 2**63:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {least}")
        return int(value)

    return read


def number(least: float = -math.inf, most: float = math.inf) -> Callable[[str], float]:
    """Return a reader of finite numbers from ``least`` to ``most``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not math.isfinite(value) or not least <= value <= most:
            limits = f" from {least:g} to {most:g}" if most < math.inf else f" of at least {least:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number{limits if least > -math.inf else ''}")
        return value

    return read


def delimiter(text: str) -> str:
    r"""Read a column delimiter: one character, or ``\t`` or ``tab`` for a tabulator."""
    character = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(character) != 1 or not character.isascii() or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r} is not one character")
    return character


def _dashed(word: str) -> str:
    return re.sub(r"^(--[^=]*)", lambda flag: flag.group(1).replace("_", "-"), word)
