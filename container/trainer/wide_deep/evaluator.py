"""The evaluator replica: measures each checkpoint while the others train."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from trainer import files, log, version
from trainer.checkpoint import Checkpoint
from trainer.errors import PeerError
from trainer.events import write_events
from trainer.framework import load_tensorflow
from trainer.tabular.data import form_of, read_rows
from trainer.tabular.metrics import measure
from trainer.tabular.schema import Schema, targets

_LOOK = 2.0


def watch(arguments: argparse.Namespace, output: str) -> None:
    """Measure checkpoints with ``--eval-files`` until the version is complete.

    :param arguments: of ``train``.
    :param output: folder of the version.
    :raises PeerError: neither a checkpoint nor the version came for ``--peer-timeout``.
    """
    if not (arguments.eval_files and arguments.checkpoint_dir):
        log.info("the evaluator has nothing to do: it needs --eval-files, and --job-dir for checkpoints")
        return
    load_tensorflow()
    checkpoint = Checkpoint(arguments.checkpoint_dir, "")
    seen, since = 0, time.monotonic()
    while version.read_manifest(output) is None:
        step, state = checkpoint.peek()
        if step > seen:
            metrics = _measured(arguments, state)
            shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            log.info(f"evaluator: step {step}: {shown}", step=step, **metrics)
            if arguments.log_dir:
                write_events(files.join(arguments.log_dir, "eval"), [(step, metrics)])
            seen, since = step, time.monotonic()
        if time.monotonic() - since > arguments.peer_timeout:
            raise PeerError(
                f"no new checkpoint in {arguments.checkpoint_dir} for {arguments.peer_timeout:g} s"
            )
        time.sleep(_LOOK)
    log.info("evaluator: the version is complete")


def _measured(arguments: argparse.Namespace, state: dict[str, np.ndarray]) -> dict[str, float]:
    from trainer.wide_deep.encoding import encode
    from trainer.wide_deep.features import Features
    from trainer.wide_deep.network import Size, build
    from trainer.wide_deep.training import predictor

    described = json.loads(state["schema"].tobytes())
    schema = Schema.from_json(described["schema"])
    found = files.find(arguments.eval_files)
    table = read_rows(found, form_of(arguments), schema, labelled=True)
    truth = targets(table.column(schema.label), schema, found[0].uri)
    features = Features(schema)
    model = build(features, Size(**described["size"]), 0.0, 0)
    model.set_weights([state[f"variable_{at}"] for at in range(len(model.variables))])
    outputs = predictor(model)(encode(table, truth, features))
    if schema.task == "binary":
        return measure(schema, truth, 1 / (1 + np.exp(-outputs)))
    return measure(schema, truth, outputs * schema.deviation + schema.mean)
