"""The flags of the models of tabular data."""

from __future__ import annotations

import argparse

from trainer.flags import FILES, Parser, add_job_flags, delimiter, integer, number


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add where the rows are and what their columns mean."""
    add = parser.add_argument
    add("--train-files", "--train-file", dest="train_files", required=True, **FILES,
        help="CSV, NDJSON or Parquet, also gzip; local or gs://, several and wildcards")  # fmt: skip
    add("--eval-files", "--eval-file", "--test-files", "--test-file", dest="eval_files", **FILES,
        help="rows to measure with; otherwise a random part of the training rows, by the seed")  # fmt: skip
    add("--test-fraction", type=number(0, 0.9), default=0.1, help="how large that part is (0 to 0.9)")
    add_form_flags(parser)
    add("--schema", help="JSON file that says what the columns are; the rest is inferred")
    add("--label", help="column to predict; default: label, target, income_bracket, rating …")
    add("--positive-label", help="text of the positive class; default: the one that sorts last")
    add("--task", choices=["binary", "regression"], help="default: as the label looks")
    add("--verbosity", choices=["DEBUG", "INFO", "WARN", "ERROR", "FATAL"], default="INFO",
        help="least severe messages to print")  # fmt: skip


def add_form_flags(parser: argparse.ArgumentParser) -> None:
    """Add how CSV files look."""
    parser.add_argument("--column-names", help="of CSV files without a header, separated by commas")
    parser.add_argument("--delimiter", type=delimiter, help="of CSV files; default: as the first line looks")


def predict_parser(model: str) -> Parser:
    """Return the parser of ``predict``, which is the same for all models of tabular data."""
    parser = Parser(
        prog=f"trainer.task predict --model {model}", allow_abbrev=False, description="Predict rows of files."
    )
    add = parser.add_argument
    add("--model", choices=[model], default=model)
    add("--model-dir", required=True, help="folder of the version")
    add("--input-files", "--input-file", dest="input_files", required=True, **FILES,
        help="rows, with or without the label; local or gs://, several and wildcards")  # fmt: skip
    add("--output", required=True, help="file to write, one JSON object a row; local or gs://")
    add("--batch-size", type=integer(1), default=65536, help="rows that are predicted at once")
    add("--verbose-logging", action="store_true", help="TensorFlow's own messages too")
    add_form_flags(parser)
    return parser


def train_parser(model: str, description: str) -> Parser:
    """Return a parser with the flags that all models of tabular data have."""
    parser = Parser(prog=f"trainer.task train --model {model}", allow_abbrev=False, description=description)
    parser.add_argument("--model", choices=[model], default=model)
    add_data_flags(parser)
    add_job_flags(parser)
    return parser
