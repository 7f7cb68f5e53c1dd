"""Compare the trainer's WALS with implicit and cmfrec on the same ratings; see README.md."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIZES = {"1M": (6_000, 3_700, 1_000_000), "20M": (138_000, 27_000, 20_000_000)}
_FIT = Path(__file__).with_name("fit.py")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="a Python with implicit, cmfrec and scipy")
    parser.add_argument("--size", choices=SIZES, default="1M")
    parser.add_argument("--factors", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], help="libraries to leave out")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {arguments.size} ratings")
    print("| factors | what | s an iteration | CPU s, all | peak memory | objective |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.npz"
        np.savez(path, **ratings(*SIZES[arguments.size]))
        for rank in arguments.factors:
            for name in ("ours", "implicit, exact", "implicit, CG", "cmfrec, exact"):
                if name in arguments.without:
                    continue
                python = sys.executable if name == "ours" else arguments.peer
                command = [python, str(_FIT), name, str(path), str(rank), str(arguments.iterations)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
                result = json.loads(done.stdout.splitlines()[-1])
                # The first iteration traces functions and loads libraries.
                seconds = statistics.median(result["seconds"][1:] or result["seconds"])
                print(
                    f"| {rank} | {name} | {seconds:.2f} | {result['cpu']:.1f} | {result['memory']:.2f} GiB "
                    f"| {result['objective']:.5g} |",
                    flush=True,
                )


def ratings(users: int, items: int, count: int) -> dict[str, np.ndarray]:
    """Return who rated what, ordered by user: some users rate a lot and some items are rated a lot."""
    random = np.random.default_rng(1)
    activity = random.lognormal(0, 1, users)
    popularity = random.permutation(1 / (np.arange(items) + 20.0) ** 0.9)
    key = np.empty(0, np.int64)
    while len(key) < count:
        more = int((count - len(key)) * 1.3) + 1000
        user = random.choice(users, more, p=activity / activity.sum())
        item = random.choice(items, more, p=popularity / popularity.sum())
        key = np.unique(np.concatenate([key, user * np.int64(items) + item]))
    key = np.sort(random.choice(key, count, replace=False, shuffle=False))
    user, item = (part.astype(np.int32) for part in np.divmod(key, items))
    return {"user": user, "item": item, "shape": np.array([users, items])}


if __name__ == "__main__":
    main()
