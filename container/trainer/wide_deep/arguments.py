"""The command line of Wide & Deep, which understands that of AI Platform's census sample.

https://github.com/GoogleCloudPlatform/cloudml-samples/tree/main/census/estimator
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trainer.flags import complete_job_flags, integer, number
from trainer.strategies import STRATEGIES
from trainer.tabular.arguments import predict_parser, train_parser


def parse(command: str, words: Sequence[str]) -> argparse.Namespace:
    """Read the words behind ``train`` or ``predict``.

    :raises InputError: a flag is unknown, missing or has a bad value.
    """
    if command == "predict":
        return predict_parser("wide-deep").read(words)
    parser = train_parser("wide-deep", "Train Wide & Deep, and export a version.")
    add = parser.add_argument
    add("--num-epochs", type=integer(1), help="how often each row is seen; default: 4, few rows more often")
    add("--train-steps", type=integer(1), help="how many steps at most")
    add("--train-batch-size", type=integer(1), default=128, help="rows of a step, over all replicas")
    add("--eval-batch-size", type=integer(1), default=4096, help="rows that are measured at once")
    add("--eval-steps", type=integer(1), help="how many such batches are measured at most; default: all")
    add("--embedding-size", type=integer(1), default=8, help="length of a column's embedding")
    add("--first-layer-size", type=integer(1), default=100, help="units of the first layer")
    add("--num-layers", type=integer(0), default=4, help="how many layers")
    add("--scale-factor", type=number(0.01, 10), default=0.7, help="units of a layer by those before it")
    add("--dropout", type=number(0, 0.95), default=0.0, help="share of units left out in training")
    add("--learning-rate", type=number(1e-9), default=1e-3, help="at the start; it falls to 0")
    add("--export-format", type=str.upper, choices=["JSON", "CSV", "EXAMPLE"], default="JSON",
        help="what the SavedModel's serving_default takes")  # fmt: skip
    add("--strategy", choices=STRATEGIES, default="auto", help="default: from the cluster and its devices")
    arguments = parser.read(words)
    complete_job_flags(arguments)
    return arguments
