"""How a version behaves when a fresh process loads it as a server would.

``python -m trainer.evaluation.serving FOLDER`` is that process: it loads the version, repeats its canary
requests and writes one JSON object as the last line of its output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.errors import InputError

CANARY = "canary.json"
_TIMEOUT = 600.0
_REQUESTS = 50
# Another batch size may add up in another order: the last bits of float32 numbers.
_TOLERANCE = 1e-5


def write_canary(folder: Path, rows: pa.Table, predictions: np.ndarray) -> None:
    """Put requests and the trainer's own answers beside the files of a version that is being exported.

    :param folder: of the version's files, as :func:`trainer.version.publish` gets it.
    :param rows: a few rows, say 20, as a batch's ``table`` has them.
    :param predictions: what the model in the trainer's memory says of them.
    """
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    content = {"rows": columns, "predictions": np.asarray(predictions, np.float64).tolist()}
    (folder / CANARY).write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def try_serving(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what a fresh process found: what ``evaluation.json`` says under ``serving``.

    :param folder: a version's files.
    :param manifest: the version's.
    """
    (folder / "manifest.json").write_text(json.dumps(manifest))
    size = sum(int(entry["size"]) for entry in manifest["files"])
    found: dict[str, Any] = {
        "loads": False,
        "problem": None,
        "identical": None,
        "requests": 0,
        "latency_ms": None,
        "size_bytes": size,
    }
    command = [sys.executable, "-m", "trainer.evaluation.serving", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_TIMEOUT, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return found | {"problem": f"it did not answer within {_TIMEOUT:.0f} s"}
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        answer = json.loads(last)
    except ValueError:
        why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return found | {"problem": f"the process ended with code {done.returncode}: {why[:300]}"}
    return found | answer


def _serve(folder: Path) -> dict[str, Any]:
    from trainer.evaluation.models import kind_of

    manifest = json.loads((folder / "manifest.json").read_text())
    try:
        model = kind_of(manifest, folder.name).load(folder, manifest)
    except InputError as error:
        return {"problem": str(error)}
    path = folder / CANARY
    if not path.exists():
        return {"loads": True}
    canary = json.loads(path.read_text(encoding="utf-8"))
    rows, expected = pa.table(canary["rows"]), np.array(canary["predictions"])
    said = np.asarray(model.predict(rows).values, np.float64)
    latencies = []
    for at in range(_REQUESTS):
        one = rows.slice(at % len(rows), 1)
        began = time.perf_counter()
        model.predict(one)
        latencies.append(time.perf_counter() - began)
    result = {
        "loads": True,
        "identical": True,
        "requests": len(rows),
        # The first request is the slowest, and every server is warmed up.
        "latency_ms": float(np.quantile(latencies[1:], 0.95) * 1000),
    }
    if said.shape != expected.shape:
        problem = f"{said.shape} answers instead of {expected.shape}"
        return result | {"identical": False, "problem": problem}
    differ = ~np.isclose(said, expected, rtol=_TOLERANCE, atol=_TOLERANCE)
    if differ.any():
        at = int(np.flatnonzero(differ)[0])
        problem = f"request {at + 1} gets {said.ravel()[at]:.6g} instead of {expected.ravel()[at]:.6g}"
        return result | {"identical": False, "problem": problem}
    return result


if __name__ == "__main__":
    print(json.dumps(_serve(Path(sys.argv[1]))), flush=True)
