"""Recommending items to a file of users."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trainer import files, log, version
from trainer.errors import InputError
from trainer.framework import load_tensorflow

_HEADERS = {"userid", "user_id", "user"}


def predict(arguments: argparse.Namespace) -> None:
    """Write one JSON object a line: ``user`` and ``items``, each with ``item`` and ``score``, best first.

    :param arguments: of the command line.
    :raises InputError: the version is incomplete, or the file names no users.
    """
    (found,) = files.find([arguments.users_file])
    with files.local_copy(found) as path:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{found.uri}: is not UTF-8 text: {error}") from error
    users = [line.strip().strip('"') for line in lines if line.strip()]
    if users and users[0].lower() in _HEADERS:
        users = users[1:]
    if not users:
        raise InputError(f"{found.uri}: names no users; expected one id a line")
    tf = load_tensorflow()
    with version.fetched(arguments.model_dir) as (folder, _), TemporaryDirectory() as temporary:
        answer = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
        output = Path(temporary) / "recommendations"
        with output.open("w", encoding="utf-8") as target:
            for start in range(0, len(users), arguments.batch_size):
                part = users[start : start + arguments.batch_size]
                best = answer(
                    user_ids=tf.constant(np.array(part, object)), k=tf.constant(arguments.k, tf.int32)
                )
                for user, ids, scores in zip(
                    part, best["item_ids"].numpy(), best["scores"].numpy(), strict=True
                ):
                    pairs = zip(ids, scores, strict=True)
                    items = [
                        {"item": i.decode(), "score": round(float(s), 6)} for i, s in pairs if np.isfinite(s)
                    ]
                    target.write(json.dumps({"user": user, "items": items}, ensure_ascii=False) + "\n")
        files.write(arguments.output, output, "application/x-ndjson")
    log.info(f"recommendations for {len(users)} users written: {arguments.output}")
