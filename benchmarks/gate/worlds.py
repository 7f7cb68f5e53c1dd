"""Nights with known truths: rows of users, and models whose true quality was chosen."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from airflow_ml_provider.models.evaluation import Evaluation, Metric, Scored

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "container"))

from trainer.evaluation.measurement import Measurement, ratio_estimate
from trainer.evaluation.models import Batch, Predictions

ROLES = ("challenger", "champion", "anchor")


@dataclass(frozen=True)
class World:
    """What a night's held-out rows are like.

    :param users: how many.
    :param sizes: of users: ``even`` (2 to 11 rows), ``skewed`` (log-normal), ``few big`` (Pareto, 1.5).
    :param errors: ``normal``, ``heavy`` (Student's t with 3 degrees of freedom) or ``skewed`` (users whose
        losses are log-normal).
    :param positives: share of rows with label 1, where labels are binary.
    """

    users: int
    sizes: str = "even"
    errors: str = "normal"
    positives: float = 0.2

    def rows_of_users(self, random: np.random.Generator) -> np.ndarray:
        """Return how many rows each user has."""
        if self.sizes == "even":
            return random.integers(2, 12, self.users)
        if self.sizes == "skewed":
            return np.ceil(np.exp(random.normal(1.5, 0.8, self.users))).astype(int)
        return np.minimum(np.floor(2 * (random.pareto(1.5, self.users) + 1)), 2000).astype(int)

    def noise(self, random: np.random.Generator, size: int) -> np.ndarray:
        """Return draws with mean 0 and variance 1."""
        if self.errors == "heavy":
            return random.standard_t(3, size) / np.sqrt(3)
        if self.errors == "skewed":
            drawn = np.exp(random.normal(0, 0.8, size))
            mean = np.exp(0.32)
            return (drawn - mean) / (mean * np.sqrt(np.exp(0.64) - 1))
        return random.normal(size=size)

    def scores(self, random: np.random.Generator, noises: tuple[float, ...]) -> tuple[np.ndarray, ...]:
        """Return user, label, and each model's probabilities; more noise is a worse model."""
        sizes = self.rows_of_users(random)
        user = np.repeat(np.arange(self.users), sizes)
        own = self.noise(random, self.users)[user]
        base = np.log(self.positives / (1 - self.positives)) - 0.7
        logit = base + 0.8 * own + 1.2 * random.normal(size=len(user))
        label = (random.random(len(user)) < 1 / (1 + np.exp(-logit))).astype(float)
        shared = random.normal(size=len(user))
        found = []
        for noise in noises:
            # Models of one lineage err alike; users differ in how well each model knows them.
            personal = self.noise(random, self.users)[user]
            error = noise * (0.8 * shared + 0.5 * random.normal(size=len(user)) + 0.33 * personal)
            found.append(1 / (1 + np.exp(-(logit + error))))
        return user, label, *found


def losses(
    world: World, random: np.random.Generator, worse: tuple[float, ...], spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return each user's rows, and the sum of losses of each model.

    Every row's loss is 1 in the mean, plus how much worse the model truly is; what a model does differently
    for a user is alike in all of the user's rows.

    :param worse: of each model, its true mean loss above 1.
    :param spread: of a user's difference between models.
    """
    sizes = world.rows_of_users(random)
    common = sizes * 1.0 + np.sqrt(sizes) * random.normal(size=world.users) * 0.5
    sums = [
        common
        + sizes * (level + spread * world.noise(random, world.users))
        + np.sqrt(sizes) * spread * world.noise(random, world.users)
        for level in worse
    ]
    return sizes.astype(float), np.array(sums)


def of_losses(sizes: np.ndarray, sums: np.ndarray) -> Evaluation:
    """Return what the evaluation says of users' losses, as metric ``loss``."""
    estimate = ratio_estimate("mean", sums, sizes).resource()
    return _evaluation({"loss": {"direction": "lower", **estimate}}, len(sums), int(sizes.sum()), len(sizes))


def of_rows(task: str, user: np.ndarray, label: np.ndarray, *predictions: np.ndarray) -> Evaluation:
    """Return what the evaluation says of rows, by the container's streaming pass."""
    measurement = Measurement(ROLES[: len(predictions)], task)
    measurement.add(Batch(None, user, label), [Predictions(values) for values in predictions])
    result = measurement.result()
    return _evaluation(result["metrics"], len(predictions), result["rows"], result["units"])


def _evaluation(found: dict, models: int, rows: int, units: int) -> Evaluation:
    def matrix(values: list | None) -> tuple | None:
        return None if values is None else tuple(map(tuple, values))

    metrics = {
        name: Metric(
            entry["direction"],
            ROLES[:models],
            tuple(entry["values"]),
            entry["rows"],
            entry["effective_units"],
            matrix(entry["standard_errors"]),
            matrix(entry["degrees"]),
            matrix(entry["skewness"]),
        )
        for name, entry in found.items()
    }
    scored = [
        Scored(
            f"gs://b/m/versions/v{3 - at}/",
            {name: metric.values[at] for name, metric in metrics.items()},
            False,
            1.0,
        )
        for at in range(models)
    ]
    scored += [None] * (3 - models)
    return Evaluation(
        "gs://b/e.json", rows, "user", units, "", *scored, metrics, (), "2026-11-20T03:00:00Z", ""
    )
