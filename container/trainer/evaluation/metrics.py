"""The metrics: what is added up for each row, and how a metric follows from the sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.errors import InputError
from trainer.evaluation.sums import bin_centers

TASKS = ("regression", "binary", "multiclass", "columns")
_LEAST = 1e-15
_CALIBRATION_BINS = 20


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: as it stands in ``evaluation.json``.
    :param direction: ``lower`` or ``higher``, whichever is better.
    :param source: the per-row quantity whose mean it is, or the histogram's statistic.
    :param kind: ``mean`` or ``root_mean`` of the quantity; ``histogram``; ``ranking``: a mean over users.
    """

    name: str
    direction: str
    source: str
    kind: str


_RATIOS = {
    "regression": (
        Metric("rmse", "lower", "squared_error", "root_mean"),
        Metric("mae", "lower", "absolute_error", "mean"),
    ),
    "binary": (
        Metric("log_loss", "lower", "log_loss", "mean"),
        Metric("accuracy", "higher", "correct", "mean"),
    ),
    "multiclass": (
        Metric("log_loss", "lower", "log_loss", "mean"),
        Metric("accuracy", "higher", "correct", "mean"),
    ),
    "columns": (),
}
_HISTOGRAM = (
    Metric("auc", "higher", "auc", "histogram"),
    Metric("pr_auc", "higher", "pr_auc", "histogram"),
    Metric("calibration_error", "lower", "calibration_error", "histogram"),
)


def metrics_of(task: str) -> tuple[Metric, ...]:
    """Return the metrics of a task, without those of a ranking.

    :param task: one of :data:`TASKS`.
    """
    return _RATIOS[task] + (_HISTOGRAM if task == "binary" else ())


def quantities(task: str, label: np.ndarray, prediction: np.ndarray, model: str) -> dict[str, np.ndarray]:
    """Return what is added up of a model, for each row.

    :param task: one of :data:`TASKS`.
    :param label: a number; 0 or 1 (``binary``); the class's index (``multiclass``).
    :param prediction: a number; the probability of 1; the probabilities of each class, rows by classes.
    :param model: its name, for messages.
    :raises InputError: labels or predictions are not what the task asks for.
    """
    if task == "regression":
        error = prediction - label
        return {"squared_error": np.square(error), "absolute_error": np.abs(error)}
    if task == "columns":
        return {}
    with np.errstate(invalid="ignore"):
        low, high = np.min(prediction, initial=0), np.max(prediction, initial=1)
    if low < -1e-6 or high > 1 + 1e-6:
        raise InputError(
            f"{model}: predicts {low if low < 0 else high:g}, but the task {task!r} asks for probabilities"
        )
    if task == "binary":
        positive = label == 1
        if not (positive | (label == 0)).all():
            odd = label[~(positive | (label == 0))][0]
            raise InputError(f"label {odd:g}: the task 'binary' asks for labels of 0 and 1")
        said = np.where(positive, prediction, 1 - prediction)
        correct = (prediction >= 0.5) == positive
    else:
        chosen = label.astype(np.intp)
        if prediction.ndim != 2 or chosen.min(initial=0) < 0 or chosen.max(initial=0) >= prediction.shape[1]:
            raise InputError(
                f"{model}: the task 'multiclass' asks for one probability of each class, rows by classes, "
                f"and for labels from 0 on; found {prediction.shape} and labels to {chosen.max(initial=0)}"
            )
        said = np.take_along_axis(prediction, chosen[:, None], 1)[:, 0]
        correct = prediction.argmax(1) == chosen
    finite = np.isfinite(said)
    loss = -np.log(np.clip(said, _LEAST, 1))
    return {"log_loss": loss, "correct": np.where(finite, correct, np.nan)}


def ratio(kind: str, totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a metric from sums.

    :param kind: ``mean`` or ``root_mean``; a ``ranking`` is a mean over its users.
    :param totals: of the quantity.
    :param rows: how many they are of; NaN results where it is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = totals / rows
        return np.sqrt(np.maximum(mean, 0)) if kind == "root_mean" else mean


def histogram_values(source: str, counts: np.ndarray) -> np.ndarray:
    """Return a metric from counts of scores.

    :param source: ``auc``, ``pr_auc`` or ``calibration_error``.
    :param counts: … by labels (0, 1) by bins; NaN results where a label has no rows (for
        ``calibration_error``, where there are none at all).
    """
    negative, positive = counts[..., 0, :].astype(np.float64), counts[..., 1, :].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if source == "auc":
            below = np.cumsum(negative, -1) - negative / 2
            pairs = positive.sum(-1) * negative.sum(-1)
            return (positive * below).sum(-1) / pairs
        if source == "pr_auc":
            # From the highest scores on, as the threshold falls.
            positive, negative = positive[..., ::-1], negative[..., ::-1]
            # Within a bin, positives and negatives are taken to be evenly mixed.
            true = np.cumsum(positive, -1) - (positive - 1) / 2
            false = np.cumsum(negative, -1) - negative / 2
            precision = true / (true + false)
            return (positive * precision).sum(-1) / positive.sum(-1)
        both = negative + positive
        center = bin_centers(both.shape[-1])
        place = np.minimum((center * _CALIBRATION_BINS).astype(np.intp), _CALIBRATION_BINS - 1)
        starts = np.searchsorted(place, np.arange(_CALIBRATION_BINS))
        gap = np.add.reduceat(positive - both * center, starts, axis=-1)
        return np.abs(gap).sum(-1) / both.sum(-1)
