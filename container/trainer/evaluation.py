"""Comparing two versions on the same held-out rows.

What is written are sums, so that the gate needs neither models nor data: for each loss the users' totals of
both models, their squares and products. A user's rows are not independent of each other; the users are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer import files, log, version
from trainer.columns import Format
from trainer.errors import InputError
from trainer.framework import load_tensorflow
from trainer.ratings import Ratings, read_ratings

METRICS = {
    "rmse": {"direction": "lower", "loss": "squared_error"},
    "mae": {"direction": "lower", "loss": "absolute_error"},
}


@dataclass(frozen=True)
class _Scores:
    predictions: np.ndarray
    known: float


def evaluate(arguments: argparse.Namespace) -> None:
    """Score both versions and write ``evaluation.json``.

    :param arguments: of the command line.
    :raises InputError: a version is incomplete, or there is nothing to score.
    """
    uris = {"challenger": _folder(arguments.challenger)}
    if arguments.champion.strip():
        uris["champion"] = _folder(arguments.champion.strip())
    found = files.find(arguments.test_files)
    manifest = version.read_manifest(uris["challenger"])
    if manifest is None:
        raise InputError(f"{uris['challenger']}: is not a complete version: it has no {version.MANIFEST}")
    rows = read_ratings(found, _form(arguments.form, manifest))
    if rows.data_type == "web_views":
        rows = rows.merged()
    log.info(f"{len(rows)} held-out ratings of {len(rows.items)} items by {len(rows.users)} users")
    scores = {}
    for name, uri in uris.items():
        began = time.monotonic()
        with version.fetched(uri) as (folder, _):
            scores[name] = score(folder / "saved_model", rows, arguments.batch_size)
        log.info(f"{name} {uri} scored in {time.monotonic() - began:.1f} s")
    losses = {name: _losses(rows, part.predictions) for name, part in scores.items()}
    result = {
        "schema": 1,
        "rows": len(rows),
        "data": {"files": [file.resource() for file in found], "sha256": fingerprint(rows)},
        "challenger": _result(uris["challenger"], scores["challenger"], losses["challenger"]),
        "champion": _result(uris["champion"], scores["champion"], losses["champion"])
        if len(uris) > 1
        else None,
        "metrics": METRICS,
        "paired": paired(rows.user, losses["challenger"], losses["champion"]) if len(uris) > 1 else None,
        "created": version.now(),
    }
    files.write(arguments.output, (json.dumps(_finite(result), indent=2) + "\n").encode(), "application/json")
    for name in uris:
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in result[name]["metrics"].items())
        log.info(f"{name}: {shown}, coverage {result[name]['coverage']:.1%}")
    log.info(f"evaluation written: {arguments.output}")


def score(folder: Path, rows: Ratings, batch_size: int) -> _Scores:
    """Return a SavedModel's predictions, batch by batch.

    :param folder: of the SavedModel.
    :param rows: to predict.
    :param batch_size: how many at once.
    :raises InputError: the model can't be loaded or has no signature ``score``.
    """
    tf = load_tensorflow()
    try:
        model = tf.saved_model.load(str(folder))
        signature = model.signatures["score"]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{folder.name}: no SavedModel with a signature 'score': {error}") from error
    users, items = (np.array(ids.to_pylist(), object) for ids in (rows.users, rows.items))
    predictions = np.empty(len(rows), np.float64)
    known = 0
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        answer = signature(
            user_ids=tf.constant(users[rows.user[part]]), item_ids=tf.constant(items[rows.item[part]])
        )
        predictions[part] = answer["predictions"].numpy()
        known += int(np.sum(answer["known"].numpy())) if "known" in answer else len(predictions[part])
    return _Scores(predictions, known / len(rows))


def paired(
    user: np.ndarray, challenger: dict[str, np.ndarray], champion: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return each loss's sums over users.

    :param user: of each row, as an index.
    :param challenger: each row's loss, by its name.
    :param champion: the same of the other model.
    """
    _, group = np.unique(user, return_inverse=True)
    n = np.bincount(group).astype(np.float64)
    result = {}
    for loss in challenger:
        a, b = np.bincount(group, challenger[loss]), np.bincount(group, champion[loss])
        products = {"nn": n @ n, "nc": n @ a, "np": n @ b, "cc": a @ a, "pp": b @ b, "cp": a @ b}
        result[loss] = {
            "unit": "user",
            "units": len(n),
            "sums": {"n": len(user), "challenger": float(a.sum()), "champion": float(b.sum())},
            "products": {name: float(value) for name, value in products.items()},
        }
    return result


def fingerprint(rows: Ratings) -> str:
    """Return a SHA-256 of what is scored, whatever the order of files and rows."""
    user, item = pc.take(rows.users, pa.array(rows.user)), pc.take(rows.items, pa.array(rows.item))
    order = np.lexsort((rows.rating, rows.item, rows.user))
    digest = hashlib.sha256()
    for start in range(0, len(order), 1 << 18):
        part = pa.array(order[start : start + (1 << 18)])
        rating = pa.array(rows.rating[order[start : start + (1 << 18)]], pa.float32()).cast(pa.string())
        lines = pc.binary_join_element_wise(user.take(part), item.take(part), rating, "\t")
        digest.update(("\n".join(lines.to_pylist()) + "\n").encode())
    return digest.hexdigest()


def _folder(uri: str) -> str:
    return f"{uri.rstrip('/')}/"


def _form(form: Format, manifest: dict[str, Any]) -> Format:
    """Return how to read the rows: as the arguments say, else as the challenger's training rows were read."""
    trained = manifest.get("arguments") or {}
    data_type = form.data_type or ("web_views" if trained.get("data_type") == "web_views" else None)
    return Format(data_type, form.delimiter, form.headers)


def _losses(rows: Ratings, predictions: np.ndarray) -> dict[str, np.ndarray]:
    error = predictions - rows.rating
    return {"squared_error": np.square(error), "absolute_error": np.abs(error)}


def _result(uri: str, scores: _Scores, losses: dict[str, np.ndarray]) -> dict[str, Any]:
    count = len(scores.predictions)
    return {
        "uri": uri,
        "metrics": {
            "rmse": math.sqrt(losses["squared_error"].sum() / count),
            "mae": float(losses["absolute_error"].sum() / count),
        },
        "constant": bool(count > 1 and np.ptp(scores.predictions) == 0),
        "coverage": scores.known,
    }


def _finite(value: Any) -> Any:
    """Replace what JSON has no numbers for by null, which the gate refuses with its reason."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
