"""How good predictions are."""

from __future__ import annotations

import numpy as np

from trainer.tabular.schema import Schema

_LEAST = 1e-7


def measure(schema: Schema, targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Return the metrics of a task.

    :param schema: says the task.
    :param targets: 0 or 1, or numbers.
    :param predictions: probabilities of 1, or numbers.
    :returns: ``auc`` (if both classes are there), ``log_loss``, ``accuracy``; or ``rmse``, ``mae``.
    """
    targets, predictions = targets.astype(np.float64), predictions.astype(np.float64)
    if schema.task == "regression":
        error = predictions - targets
        return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(abs(error)))}
    result = {
        "log_loss": float(np.mean(log_losses(targets, predictions))),
        "accuracy": float(np.mean((predictions > 0.5) == (targets > 0.5))),
    }
    if 0 < targets.sum() < len(targets):
        result["auc"] = auc(targets, predictions)
    return result


def main_metric(schema: Schema) -> str:
    """Return the metric that tuning looks at."""
    return "rmse" if schema.task == "regression" else "auc"


def log_losses(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return each row's logarithmic loss; probabilities of 0 and 1 count as 1e-7 less sure."""
    sure = np.clip(probabilities, _LEAST, 1 - _LEAST)
    return -np.where(targets > 0.5, np.log(sure), np.log1p(-sure))


def auc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve: the share of pairs in the right order, ties counting half.

    :param targets: 0 or 1, at least one of each.
    :param scores: any numbers.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positive = targets > 0.5
    ones = int(positive.sum())
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * (len(targets) - ones)))
