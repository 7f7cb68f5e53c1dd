"""The command line, which understands that of AI Platform's recommender sample.

https://github.com/GoogleCloudPlatform/tensorflow-recommendation-wals
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer import files
from trainer.columns import DATA_TYPES, Format
from trainer.errors import InputError
from trainer.flags import FILES, Parser, add_job_flags, complete_job_flags, delimiter, integer, number
from trainer.models import read_command

# The sample's defaults, and what its authors found by tuning.
SAMPLE = {
    "latent_factors": 5,
    "num_iters": 20,
    "regularization": 0.07,
    "unobs_weight": 0.01,
    "wt_type": "linear",
    "feature_wt_factor": 130.0,
    "feature_wt_exp": 0.08,
}
_OPTIMIZED = {"latent_factors": 34, "regularization": 9.83, "unobs_weight": 0.001, "feature_wt_factor": 189.8}
_OPTIMIZED_WEB = {"latent_factors": 30, "regularization": 7.27, "unobs_weight": 0.01, "feature_wt_exp": 5.05}
# With biases the regularisation is estimated; these are what may come on top of it.
_BIASED = {
    "latent_factors": 16,
    "num_iters": 20,
    "regularization": 0.0,
    "unobs_weight": 0.0,
    "wt_type": "none",
    "feature_wt_factor": 130.0,
    "feature_wt_exp": 0.08,
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; the result's ``command`` says what to do.

    :param argv: without the program's name. Without a command it means ``train``.
    :raises InputError: a flag is unknown, missing or has a bad value.
    """
    command, _, words = read_command(argv)
    return parse_words(command, words)


def parse_words(command: str, words: Sequence[str]) -> argparse.Namespace:
    """Read the words behind a command.

    :param command: ``train``, ``evaluate`` or ``predict``.
    :param words: flags and their values.
    :raises InputError: a flag is unknown, missing or has a bad value.
    """
    parser = {"evaluate": _evaluate_parser, "predict": _predict_parser}.get(command, _train_parser)()
    # Both --latent_factors and --latent-factors: the sample has the one, everyone types the other.
    arguments = parser.read(words)
    arguments.command = command
    if command != "predict":
        arguments.form = _form(arguments)
    if command == "train":
        _complete_train(arguments)
    return arguments


def _train_parser() -> Parser:
    parser = Parser(prog="trainer.task train", allow_abbrev=False, description="Train, and export a version.")
    add = parser.add_argument
    add("--model", choices=["wals"], default="wals", help="what to train")
    add("--train-file", "--train-files", dest="train_files", required=True, **FILES,
        help="CSV (also gzip) or Parquet; local paths or gs://, several and wildcards")  # fmt: skip
    add("--test-file", "--test-files", dest="test_files", **FILES,
        help="rows to measure with; otherwise a random part of the training rows, by the seed")  # fmt: skip
    add("--test-fraction", type=number(0, 0.9), default=0.1, help="how large that part is (0 to 0.9)")
    add_job_flags(parser)
    add("--gcs-bucket", help="bucket that relative paths are meant in")
    _add_format(parser)
    add("--latent-factors", type=integer(1), help="length of the factors")
    add("--num-iters", type=integer(1), help="how many iterations")
    add("--regularization", type=number(0), help="on the factors; with biases on top of what is estimated")
    add("--unobs-weight", type=number(0), help="weight of what was not observed")
    add("--wt-type", type=_weight_type,
        help="weights of the items' ratings: 1 or linear: factor / number of ratings; 0 or log: (1 / number) "
        "^ exponent; none")  # fmt: skip
    add("--feature-wt-factor", type=number(0), help="factor of linear weights")
    add("--feature-wt-exp", type=number(), help="exponent of log weights")
    add("--use-optimized", action="store_true", help="the sample's tuned hyperparameters")
    add("--bias", action=argparse.BooleanOptionalAction, default=None,
        help="user and item biases; default for ratings; --no-bias: the sample's model")  # fmt: skip
    add("--model-path", help=argparse.SUPPRESS)
    return parser


def _evaluate_parser() -> Parser:
    parser = Parser(prog="trainer.task evaluate", allow_abbrev=False, description="Compare two versions.")
    add = parser.add_argument
    add("--model", help=argparse.SUPPRESS)
    add("--challenger", required=True, help="folder of the version to judge")
    add(
        "--champion",
        default="",
        help="folder of the version in production; empty or left out if there is none",
    )
    add("--anchor", default="", help="folder of the version that was last proven better than its anchor")
    add("--test-file", "--test-files", dest="test_files", required=True, **FILES,
        help="held-out rows; local paths or gs://, several and wildcards")  # fmt: skip
    add("--unit", metavar="COLUMN",
        help="for tables and --scored: whose rows depend on each other")  # fmt: skip
    add("--output", required=True, help="evaluation.json, local or gs://")
    add("--scored", action="store_true",
        help="the rows hold predictions already, in columns challenger, champion and anchor")  # fmt: skip
    add("--label", metavar="COLUMN", help="with --scored: the truth")
    add("--task", choices=["regression", "binary", "columns"],
        help="with --scored: what is predicted; binary with --label, otherwise columns")  # fmt: skip
    add("--column", action="append", default=[], dest="columns", metavar="NAME[:higher]",
        help="with --scored: another quantity of each row, in columns challenger.NAME and so on; less is "
        "better, unless :higher")  # fmt: skip
    add("--slice", action="append", default=[], dest="slices", metavar="COLUMN",
        help="a column whose values are also looked at one by one; several times for several")  # fmt: skip
    add("--serving", action=argparse.BooleanOptionalAction, default=True,
        help="also load the challenger in a fresh process and repeat its canary requests")  # fmt: skip
    add("--seed", type=integer(0), default=0, help="of the resamples")
    add("--ranking", type=integer(1), metavar="K",
        help="also measure each user's order of rows: NDCG, recall and average precision at K")  # fmt: skip
    add("--relevant-from", type=number(), default=4.0, help="the label from which on a row is relevant")
    add("--batch-size", type=integer(1), default=65536, help="rows that are scored at once")
    add("--verbose-logging", action="store_true", help="TensorFlow's own messages too")
    _add_format(parser)
    return parser


def _predict_parser() -> Parser:
    parser = Parser(prog="trainer.task predict", allow_abbrev=False, description="Recommend items to users.")
    add = parser.add_argument
    add("--model", choices=["wals"], default="wals")
    add("--model-dir", required=True, help="folder of the version")
    add(
        "--users-file", "--users", required=True, dest="users_file", help="one user id a line; local or gs://"
    )
    add("--output", required=True, help="file to write, one JSON object a user; local or gs://")
    add("-k", "--k", "--count", type=integer(1), default=10, dest="k", help="how many items for each user")
    add("--batch-size", type=integer(1), default=1024, help="users that are answered at once")
    add("--verbose-logging", action="store_true", help="TensorFlow's own messages too")
    return parser


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-type", choices=DATA_TYPES, help="default: as the first line looks")
    parser.add_argument(
        "--delimiter", type=delimiter, help="one character, or \\t; default: as the first line looks"
    )
    parser.add_argument(
        "--headers", action="store_true", help="the first line of --data-type ratings is a header"
    )


def _form(arguments: argparse.Namespace) -> Format:
    return Format(arguments.data_type, arguments.delimiter, arguments.headers)


def _complete_train(arguments: argparse.Namespace) -> None:
    if arguments.model_path:
        raise InputError("--model-path: training can't start from an earlier model; leave the flag out")
    bucket = (arguments.gcs_bucket or "").removeprefix("gs://").strip("/")
    if bucket:
        for name in ("job_dir", "output_dir"):
            path = getattr(arguments, name)
            if path and not files.is_gcs(path) and not path.startswith("/"):
                setattr(arguments, name, f"gs://{bucket}/{path}")
        for name in ("train_files", "test_files"):
            paths = getattr(arguments, name) or []
            setattr(arguments, name, [_in_bucket(path, bucket) for path in paths])
    complete_job_flags(arguments)


def hyperparameters(arguments: argparse.Namespace, data_type: str) -> dict[str, Any]:
    """Return what applies to this training: what was given, over the presets, over the defaults.

    :param arguments: of ``train``.
    :param data_type: of the rows that were read.
    :raises InputError: two of them contradict each other.
    """
    web = data_type == "web_views"
    bias = (not web) if arguments.bias is None else arguments.bias
    given = {name: getattr(arguments, name) for name in SAMPLE if getattr(arguments, name) is not None}
    if bias and "wt_type" not in given and given.keys() & {"feature_wt_factor", "feature_wt_exp"}:
        given["wt_type"] = "linear" if "feature_wt_factor" in given else "log"
    optimized: dict[str, Any] = dict(_OPTIMIZED_WEB if web else _OPTIMIZED) if arguments.use_optimized else {}
    # As in the sample: page views have log weights whatever is asked for, and the tuned values win.
    forced = {"wt_type": "log"} if web and not bias else {}
    return {"bias": bias, **(_BIASED if bias else SAMPLE), **given, **optimized, **forced}


def _in_bucket(path: str, bucket: str) -> str:
    local = files.is_gcs(path) or path.startswith("/") or Path(path).exists()
    return path if local else f"gs://{bucket}/{path}"


def _weight_type(text: str) -> str:
    # The sample's help has the numbers the other way round; this is what its code does.
    kinds = {
        "0": "log",
        "1": "linear",
        "0.0": "log",
        "1.0": "linear",
        "log": "log",
        "linear": "linear",
        "none": "none",
    }
    if text not in kinds:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 or linear, 0 or log, or none")
    return kinds[text]
