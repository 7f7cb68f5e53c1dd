"""Fit one library to ratings in a file, and print what an iteration took, as JSON. See compare.py."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REGULARIZATION = 0.7


def ours(
    data: dict[str, np.ndarray], rank: int, iterations: int
) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Fit the trainer's WALS."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path(__file__).parents[2] / "container"))
    from trainer.framework import load_tensorflow

    load_tensorflow()
    from trainer.cluster import Cluster
    from trainer.halfstep import use_cores_for_batches
    from trainer.replicas import Replicas
    from trainer.wals import Wals

    use_cores_for_batches()
    users, items = (int(data["shape"][side]) for side in (0, 1))
    start = np.random.default_rng(0).normal(size=(items, rank)).astype(np.float32) / np.float32(rank**0.5)
    ones = np.ones(len(data["user"]), np.float32)
    model = Wals(
        data["user"], data["item"], ones, (users, items), ones[:items], 1.0, REGULARIZATION,
        Replicas(Cluster(), 60), start,
    )  # fmt: skip
    seconds = _timed(lambda: model.iterate("a benchmark"), iterations)
    state = model.state()
    return seconds, state["x"], state["y"]


def implicit(
    data: dict[str, np.ndarray], rank: int, iterations: int, cg: bool
) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Fit implicit's alternating least squares, exact or with three steps of conjugate gradients."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    ratings = csr_matrix((np.full(len(data["user"]), 2, np.float32), (data["user"], data["item"])))
    model = AlternatingLeastSquares(
        rank, regularization=REGULARIZATION, alpha=1.0, use_cg=cg, iterations=iterations, num_threads=0,
        random_state=0,
    )  # fmt: skip
    seconds: list[float] = []
    model.fit(ratings, show_progress=False, callback=lambda _, elapsed, *__: seconds.append(elapsed))
    return seconds, model.user_factors, model.item_factors


def cmfrec(
    data: dict[str, np.ndarray], rank: int, iterations: int
) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Fit cmfrec's implicit model exactly; it tells only the time of all iterations."""
    from cmfrec import CMF_implicit
    from scipy.sparse import coo_matrix

    ratings = coo_matrix((np.ones(len(data["user"]), np.float32), (data["user"], data["item"])))
    model = CMF_implicit(
        k=rank, lambda_=REGULARIZATION, alpha=1.0, use_cg=False, niter=iterations, use_float=True,
        precompute_for_predictions=False, verbose=False,
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(ratings)
    return [(time.perf_counter() - began) / iterations], model.A_, model.B_


def _timed(iterate: Callable[[], object], iterations: int) -> list[float]:
    seconds = []
    for _ in range(iterations):
        began = time.perf_counter()
        iterate()
        seconds.append(time.perf_counter() - began)
    return seconds


def objective(data: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """Return Σ_observed 2 (1 - x·y)² + Σ_unobserved (x·y)² + regularization (|X|² + |Y|²)."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    total = ((x.T @ x) * (y.T @ y)).sum() + REGULARIZATION * (np.square(x).sum() + np.square(y).sum())
    for start in range(0, len(data["user"]), 1 << 18):
        part = slice(start, start + (1 << 18))
        p = np.einsum("nk,nk->n", x[data["user"][part]], y[data["item"][part]])
        total += (2 * np.square(1 - p) - np.square(p)).sum()
    return float(total)


def main() -> None:
    """Read the arguments: library, file, factors, iterations."""
    name, path, rank, iterations = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    data = dict(np.load(path))
    fits: dict[str, Callable[[], tuple[list[float], np.ndarray, np.ndarray]]] = {
        "ours": lambda: ours(data, rank, iterations),
        "implicit, exact": lambda: implicit(data, rank, iterations, cg=False),
        "implicit, CG": lambda: implicit(data, rank, iterations, cg=True),
        "cmfrec, exact": lambda: cmfrec(data, rank, iterations),
    }
    began = time.process_time()
    seconds, x, y = fits[name]()
    used = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {"seconds": seconds, "cpu": used, "memory": memory, "objective": objective(data, x, y)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
