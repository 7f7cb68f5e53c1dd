"""Contents of ``evaluation.json``, computed from users' losses the slow and obvious way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = "gs://bucket/shop/models/recommender/versions"


def document(
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
    *,
    rows: int,
    units: int,
    root: str = ROOT,
    slices: Sequence[Mapping[str, Any]] = (),
    holdout: str = "0" * 32,
) -> dict[str, Any]:
    """Return a whole evaluation.

    :param metrics: by name, see :func:`metric` and :func:`of_users`.
    :param versions: by role: ``challenger`` and perhaps ``champion`` and ``anchor``.
    """
    models = {
        role: {"uri": f"{root}/{version}/", "constant": False, "coverage": 0.97, "serving": None}
        for role, version in versions.items()
    }
    return {
        "schema": 2,
        "rows": rows,
        "unit": "user",
        "units": units,
        "holdout": {"hash": holdout, "files": []},
        "models": models,
        "metrics": dict(metrics),
        "slices": list(slices),
        "method": {},
        "created": "2026-11-20T03:00:00Z",
    }


def metric(
    values: Sequence[float],
    error: float,
    *,
    own: float | None = None,
    rows: int = 1000,
    units: float = 400,
    direction: str = "lower",
) -> dict[str, Any]:
    """Return a metric whose differences all have the same standard error.

    :param values: of each model.
    :param error: of a difference.
    :param own: of a value.
    """
    count = len(values)
    own = error if own is None else own
    return {
        "direction": direction,
        "values": list(values),
        "rows": rows,
        "effective_units": units,
        "standard_errors": [[own if a == b else error for b in range(count)] for a in range(count)],
        "degrees": [[units - 1] * count for _ in range(count)],
        "skewness": [[0.0] * count for _ in range(count)],
    }


def of_users(
    sizes: Sequence[int], losses: Sequence[Sequence[float]], *, root: bool, direction: str = "lower"
) -> dict[str, Any]:
    """Return the metric of losses, its errors from leaving out one user after the other.

    :param sizes: rows of each user.
    :param losses: for each model, the sum of each user's losses.
    :param root: whether the metric is the root of the mean.
    """

    def value(total: float, rows: int) -> float:
        return math.sqrt(total / rows) if root else total / rows

    rows, users = sum(sizes), len(sizes)
    values = [value(math.fsum(sums), rows) for sums in losses]
    result = metric(values, 0.0, rows=rows, units=rows**2 / math.fsum(n * n for n in sizes))
    result["direction"] = direction
    if users < 2:
        return result | {"standard_errors": None}
    totals = [math.fsum(sums) for sums in losses]
    left_out = [
        [value(total - sums[user], rows - sizes[user]) for user in range(users)]
        for total, sums in zip(totals, losses, strict=True)
    ]
    for one, first in enumerate(left_out):
        for other, second in enumerate(left_out):
            parts = [a - b if one != other else a for a, b in zip(first, second, strict=True)]
            mean = math.fsum(parts) / users
            variance = (users - 1) / users * math.fsum((part - mean) ** 2 for part in parts)
            result["standard_errors"][one][other] = math.sqrt(variance)
    return result
