"""The ``evaluate`` command: versions and held-out rows in, ``evaluation.json`` out."""

from __future__ import annotations

import argparse
import json
import math
import time
from contextlib import ExitStack
from typing import Any

from trainer import files, log, version
from trainer.errors import InputError
from trainer.evaluation.measurement import REPLICATES, Measurement
from trainer.evaluation.models import Model, kind_of
from trainer.evaluation.ranking import Ranking
from trainer.evaluation.serving import try_serving

SCHEMA = 2
_MODELS = ("challenger", "champion", "anchor")


def evaluate(arguments: argparse.Namespace) -> None:
    """Score all versions on the same rows in one pass and write ``evaluation.json``.

    :param arguments: of the command line.
    :raises InputError: a version is incomplete, or there is nothing to score.
    """
    given = {name: (getattr(arguments, name) or "").strip() for name in _MODELS}
    uris = {name: f"{uri.rstrip('/')}/" for name, uri in given.items() if uri}
    found = files.find(arguments.test_files)
    with ExitStack() as stack:
        models: list[Model] = []
        manifests: list[dict[str, Any]] = []
        serving: dict[str, Any] | None = None
        for uri in uris.values():
            folder, manifest = stack.enter_context(version.fetched(uri))
            models.append(kind_of(manifest, uri).load(folder, manifest))
            manifests.append(manifest)
            if arguments.serving and serving is None:
                serving = try_serving(folder, manifest)
        kind, manifest = kind_of(manifests[0], uris["challenger"]), manifests[0]
        measurement = Measurement(
            list(uris),
            kind.task(manifest),
            seed=arguments.seed,
            ranking=Ranking(arguments.ranking, arguments.relevant_from) if arguments.ranking else None,
        )
        began, spent = time.monotonic(), dict.fromkeys(uris, 0.0)
        for batch in kind.batches(found, arguments, manifest):
            predictions = []
            for name, model in zip(uris, models, strict=True):
                start = time.monotonic()
                predictions.append(model.predict(batch.table))
                spent[name] += time.monotonic() - start
            measurement.add(batch, predictions)
        if not measurement.rows:
            raise InputError(f"no rows: {', '.join(file.uri for file in found[:5])} hold nothing to score")
        log.info(f"{measurement.rows} held-out rows scored in {time.monotonic() - began:.1f} s")
        result = measurement.result()
    for name, uri in uris.items():
        result["models"][name] = {"uri": uri, **result["models"][name], "serving": None}
        log.info(f"{name}: {_shown(result, name)} ({spent[name]:.1f} s)")
    result["models"]["challenger"]["serving"] = serving
    document = {
        "schema": SCHEMA,
        **result,
        "unit": "user",
        "holdout": {"hash": result["holdout"], "files": [file.resource() for file in found]},
        "method": {"seed": arguments.seed, "replicates": REPLICATES},
        "created": version.now(),
    }
    text = json.dumps(_finite(document), indent=1) + "\n"
    files.write(arguments.output, text.encode(), "application/json")
    log.info(f"evaluation written: {arguments.output}")


def _shown(result: dict[str, Any], name: str) -> str:
    at = list(result["models"]).index(name)
    shown = [f"{metric} {entry['values'][at]:.4f}" for metric, entry in result["metrics"].items()]
    return ", ".join([*shown, f"coverage {result['models'][name]['coverage']:.1%}"])


def _finite(value: Any) -> Any:
    """Replace what JSON has no numbers for by null, which the gate refuses with its reason."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
