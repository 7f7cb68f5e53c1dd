"""The ``evaluate`` command: versions and held-out rows in, ``evaluation.json`` out."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from trainer import files, log, version
from trainer.errors import InputError
from trainer.evaluation.measurement import REPLICATES, Measurement
from trainer.evaluation.models import Batch, Model, kind_of
from trainer.evaluation.ranking import Ranking
from trainer.evaluation.scored import ScoredRows
from trainer.evaluation.serving import try_serving
from trainer.files import File

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
        if arguments.scored:
            plan = _of_scored_rows(arguments, list(uris), found)
        else:
            plan = _of_versions(arguments, list(uris.values()), found, stack)
        measurement = Measurement(
            list(uris),
            plan.task,
            seed=arguments.seed,
            higher=plan.higher,
            ranking=Ranking(arguments.ranking, arguments.relevant_from) if arguments.ranking else None,
        )
        began, spent = time.monotonic(), dict.fromkeys(uris, 0.0)
        for batch in plan.batches:
            predictions = []
            for name, model in zip(uris, plan.models, strict=True):
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
    result["models"]["challenger"]["serving"] = plan.serving
    document = {
        "schema": SCHEMA,
        **result,
        "unit": plan.unit,
        "holdout": {"hash": result["holdout"], "files": [file.resource() for file in found]},
        "method": {"seed": arguments.seed, "replicates": REPLICATES},
        "created": version.now(),
    }
    text = json.dumps(_finite(document), indent=1) + "\n"
    files.write(arguments.output, text.encode(), "application/json")
    log.info(f"evaluation written: {arguments.output}")


@dataclass(frozen=True)
class _Plan:
    """What is measured: models, in the order of their roles, on rows."""

    models: Sequence[Model]
    task: str
    batches: Iterable[Batch]
    unit: str
    higher: Sequence[str] = ()
    serving: dict[str, Any] | None = None


def _of_versions(
    arguments: argparse.Namespace, uris: Sequence[str], found: Sequence[File], stack: ExitStack
) -> _Plan:
    models, manifests, serving = [], [], None
    for uri in uris:
        folder, manifest = stack.enter_context(version.fetched(uri))
        models.append(kind_of(manifest, uri).load(folder, manifest))
        manifests.append(manifest)
        if arguments.serving and serving is None:
            serving = try_serving(folder, manifest)
    kind = kind_of(manifests[0], uris[0])
    batches = kind.batches(found, arguments, manifests[0])
    unit = arguments.unit or kind.UNIT
    return _Plan(models, kind.task(manifests[0]), batches, unit, serving=serving)


def _of_scored_rows(arguments: argparse.Namespace, roles: Sequence[str], found: Sequence[File]) -> _Plan:
    rows = ScoredRows(roles, arguments)
    higher = [name for name, more in rows.own.items() if more]
    return _Plan(rows.models, rows.task, rows.batches(found), arguments.unit, higher)


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
