"""Memory and speed of the paired evaluation, against scikit-learn computing the same two metrics once.

Run from the repository: ``PYTHON benchmarks/gate/speed.py [--rows 1e6 1e7 1e8] [--users 100000]``, with a
Python that has NumPy, PyArrow and scikit-learn. Each number of rows runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "container"))

from trainer.evaluation.measurement import Measurement
from trainer.evaluation.models import Batch, Predictions

_BATCH = 262_144
_SKLEARN_ROWS = 5_000_000


def batch(random: np.random.Generator, task: str, rows: int, users: int) -> tuple[np.ndarray, ...]:
    """Return user, label and the predictions of two models."""
    user = random.integers(0, users, rows)
    logit = random.normal(size=rows) - 1
    if task == "regression":
        return user, logit, logit + random.normal(size=rows), logit + random.normal(size=rows)
    label = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
    return user, label, *(1 / (1 + np.exp(-logit - 0.5 * random.normal(size=rows))) for _ in range(2))


def measure(task: str, rows: int, users: int) -> dict[str, float]:
    """Return rows per second of processor time, added and finished, and the highest memory in MB."""
    random = np.random.default_rng(1)
    pieces = [batch(random, task, _BATCH, users) for _ in range(4)]
    measurement = Measurement(["challenger", "champion"], task)
    began = time.process_time()
    done = at = 0
    while done < rows:
        user, label, *predictions = pieces[at % 4]
        size = min(_BATCH, rows - done)
        # Other users in every batch, as a file would have them.
        found = [Predictions(values[:size]) for values in predictions]
        measurement.add(Batch(None, user[:size] + at * 7919, label[:size]), found)
        done, at = done + size, at + 1
    measurement.result()
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows_per_second": rows / seconds, "peak_mb": peak}


def sklearn(task: str, users: int) -> dict[str, float]:
    """Return how many rows per second of processor time scikit-learn takes for two metrics of both models."""
    from sklearn import metrics

    pair = {
        "regression": (metrics.root_mean_squared_error, metrics.mean_absolute_error),
        "binary": (metrics.log_loss, metrics.roc_auc_score),
    }[task]
    _, label, *predictions = batch(np.random.default_rng(1), task, _SKLEARN_ROWS, users)
    began = time.process_time()
    for values in predictions:
        for metric in pair:
            metric(label, values)
    seconds = time.process_time() - began
    return {"rows_per_second": _SKLEARN_ROWS / seconds}


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        task, rows = given.one[0], int(float(given.one[1]))
        result = sklearn(task, given.users) if rows == 0 else measure(task, rows, given.users)
        print(json.dumps(result))
        return
    print("| metrics of two models | rows | rows per CPU second | highest memory |\n|---|---|---|---|")
    for task, shown in (
        ("regression", "RMSE, MAE"),
        ("binary", "log loss, accuracy, AUC, PR-AUC, calibration"),
    ):
        for rows in (*given.rows, 0):
            command = [sys.executable, __file__, "--users", str(given.users), "--one", task, str(rows)]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
            found = json.loads(text)
            if rows:
                print(
                    f"| {shown} | {rows:,.0f} | {found['rows_per_second']:,.0f} "
                    f"| {found['peak_mb']:.0f} MB |",
                    flush=True,
                )
            else:
                what = "RMSE, MAE" if task == "regression" else "log loss, AUC"
                print(f"| scikit-learn: {what} | {_SKLEARN_ROWS:,} | {found['rows_per_second']:,.0f} | |")


if __name__ == "__main__":
    main()
