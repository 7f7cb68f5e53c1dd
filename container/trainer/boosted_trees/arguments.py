"""The command line of XGBoost; its parameters have the names of https://xgboost.readthedocs.io/en/stable/parameter.html."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trainer.flags import complete_job_flags, integer, number
from trainer.tabular.arguments import predict_parser, train_parser


def parse(command: str, words: Sequence[str]) -> argparse.Namespace:
    """Read the words behind ``train`` or ``predict``.

    :raises InputError: a flag is unknown, missing or has a bad value.
    """
    if command == "predict":
        parser = predict_parser("xgboost")
        parser.add_argument("--pipeline", choices=["model.joblib"],
            help="predict with the version's pickled pipeline. Unpickling runs what the file says: only for "
            "versions that you trust")  # fmt: skip
        return parser.read(words)
    parser = train_parser("xgboost", "Train boosted trees, and export a version.")
    add = parser.add_argument
    add("--num-boost-round", "--n-estimators", dest="rounds", type=integer(1), default=300, help="trees")
    add("--max-depth", type=integer(1), default=4, help="of a tree")
    add("--learning-rate", "--eta", type=number(1e-9, 1), default=0.1, help="weight of a tree")
    add("--min-child-weight", type=number(0), default=1.0, help="least weight of a leaf")
    add("--subsample", type=number(1e-9, 1), default=0.9, help="share of the rows that a tree sees")
    add("--colsample-bytree", type=number(1e-9, 1), default=0.6, help="share of the columns that a tree sees")
    add("--reg-lambda", "--lambda", type=number(0), default=1.0, help="L2 regularization")
    add("--reg-alpha", "--alpha", type=number(0), default=0.0, help="L1 regularization")
    add("--gamma", type=number(0), default=0.0, help="least gain of a split")
    add("--max-bin", type=integer(2), default=256, help="bins of a number")
    add("--nthread", type=integer(0), default=0, help="of each replica; 0: one for each CPU")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: cuda where there is a GPU")
    arguments = parser.read(words)
    complete_job_flags(arguments)
    return arguments
