"""Training boosted trees from files to a finished version."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import xgboost
from xgboost import collective

from trainer import files, leaving, log, version
from trainer.boosted_trees.pipeline import MODEL, PIPELINE, encode, matrix, whole_pipeline
from trainer.boosted_trees.tracking import together
from trainer.checkpoint import Checkpoint
from trainer.cluster import Cluster
from trainer.errors import InputError
from trainer.events import write_events
from trainer.flags import version_folder
from trainer.hypertune import MetricFile
from trainer.tabular.data import Data, fingerprint, load
from trainer.tabular.metrics import main_metric, measure
from trainer.tabular.schema import Schema

# How often progress is measured, and how many seconds an interruption may cost with SIGTERM.
_LOOKS = 10
_NOTED = 1.0


def train(arguments: argparse.Namespace, cluster: Cluster) -> None:
    """Train, measure and export; replicas other than the chief take part and write nothing.

    :param arguments: of the command line.
    :param cluster: the replicas.
    :raises InputError: bad data or arguments.
    :raises PeerError: a replica does not answer.
    """
    log.set_least(arguments.verbosity)
    output = version_folder(arguments, cluster)
    files.require_bucket(output)
    if cluster.rank is None:
        log.info(f"this replica ({cluster.name}) has no part in training: XGBoost has workers only")
        return
    if version.refuse_complete(output):
        log.info(f"{output}: this job has completed this version already; nothing is left to do")
        return
    data = load(arguments)
    schema = data.schema
    rows = encode(data.train, schema)
    device = _device(arguments.device)
    parameters = _parameters(arguments, schema, device)
    checkpoint = Checkpoint(
        arguments.checkpoint_dir if cluster.is_chief else None,
        fingerprint([schema.to_json(), parameters, arguments.rounds], (rows, data.targets)),
        arguments.checkpoint_every,
    )
    test = matrix(encode(data.test, schema), data.test_targets, schema) if data.test.num_rows else None
    watch = _Watch(arguments, cluster, schema, checkpoint, test)
    log.info(f"device: {device}, {cluster.size} replicas")
    with together(cluster, arguments.peer_timeout):
        done, booster = _resume(checkpoint, cluster)
        mine = slice(cluster.rank, None, cluster.size)
        train_rows = matrix(rows[mine], data.targets[mine], schema)
        watch.done = done
        leaving.on_leaving(watch.last_words)
        booster = xgboost.train(
            {**parameters, "nthread": arguments.nthread},
            train_rows,
            arguments.rounds - done,
            xgb_model=booster,
            callbacks=[watch],
        )
    if not cluster.is_chief:
        return
    metrics = dict(watch.measured)
    told = booster.predict(matrix(rows, None, schema))
    metrics |= {f"training_{name}": v for name, v in measure(schema, data.targets, told).items()}
    log.info(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()), **metrics)
    if arguments.log_dir and watch.history:
        write_events(arguments.log_dir, watch.history)
    facts = {
        "model": arguments.model,
        "arguments": {
            **parameters,
            "rounds": arguments.rounds,
            **schema.summary(),
            "column_names": data.form.names,
            "delimiter": data.form.delimiter,
            "eval_files": [file.uri for file in data.test_files] or None,
            "test_fraction": None if data.test_files else arguments.test_fraction,
            "replicas": cluster.size,
        },
        "seed": arguments.seed,
        "data": data.facts(),
        "metrics": metrics,
    }
    _export(data, booster, output, facts)


class _Watch(xgboost.callback.TrainingCallback):
    """Keeps checkpoints and measures, between two rounds."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        cluster: Cluster,
        schema: Schema,
        checkpoint: Checkpoint,
        test: xgboost.DMatrix | None,
    ) -> None:
        self.done = 0
        self.measured: dict[str, float] = {}
        self.history: list[tuple[int, dict[str, float]]] = []
        self._rounds, self._where = arguments.rounds, arguments.checkpoint_dir
        self._every = max(1, arguments.rounds // _LOOKS)
        self._chief, self._schema, self._test = cluster.is_chief, schema, test
        self._checkpoint = checkpoint
        self._pause = min(_NOTED, arguments.checkpoint_every)
        self._noted = time.monotonic()
        tuned = arguments.hypertune and cluster.is_chief
        self._tuning = MetricFile(arguments.hypertune_metric_tag) if tuned else None

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Any) -> bool:
        self.done = model.num_boosted_rounds()
        if not self._chief:
            return False
        if time.monotonic() - self._noted >= self._pause:
            state = {"booster": np.frombuffer(model.save_raw("ubj"), np.uint8)}
            self._checkpoint.finished(self.done, state)
            self._noted = time.monotonic()
        if self._test is not None and (self.done % self._every == 0 or self.done == self._rounds):
            truth = self._test.get_label()
            self.measured = measure(self._schema, truth, model.predict(self._test))
            self.history.append((self.done, self.measured))
            shown = ", ".join(f"test {name} {value:.4f}" for name, value in self.measured.items())
            log.info(f"round {self.done}/{self._rounds}: {shown}", round=self.done, **self.measured)
            if self._tuning and main_metric(self._schema) in self.measured:
                self._tuning.report(self.measured[main_metric(self._schema)], self.done)
        return False

    def last_words(self) -> str:
        """Write the latest checkpoint; say what was done and what is kept."""
        kept = self._checkpoint.save()
        where = f"round {kept} is kept in {self._where}" if kept else "no checkpoint was kept"
        return f"{self.done} of {self._rounds} rounds are done; {where}"


def _parameters(arguments: argparse.Namespace, schema: Schema, device: str) -> dict[str, Any]:
    return {
        "objective": "binary:logistic" if schema.task == "binary" else "reg:squarederror",
        "base_score": schema.mean,
        "tree_method": "hist",
        "device": device,
        "max_depth": arguments.max_depth,
        "learning_rate": arguments.learning_rate,
        "min_child_weight": arguments.min_child_weight,
        "subsample": arguments.subsample,
        "colsample_bytree": arguments.colsample_bytree,
        "reg_lambda": arguments.reg_lambda,
        "reg_alpha": arguments.reg_alpha,
        "gamma": arguments.gamma,
        "max_bin": arguments.max_bin,
        "seed": arguments.seed,
    }


def _device(wanted: str) -> str:
    able = bool(xgboost.build_info().get("USE_CUDA"))
    present = Path("/proc/driver/nvidia/version").exists()
    if wanted == "cuda" and not (able and present):
        why = "this machine has no NVIDIA GPU" if able else "the installed xgboost is built without CUDA"
        raise InputError(f"--device cuda: {why}")
    return wanted if wanted != "auto" else "cuda" if able and present else "cpu"


def _resume(checkpoint: Checkpoint, cluster: Cluster) -> tuple[int, xgboost.Booster | None]:
    """Go on from the chief's checkpoint, on all replicas."""
    done, state = checkpoint.load()
    raw = state["booster"].tobytes() if done else b""
    if cluster.size > 1:
        raw = collective.broadcast(raw, 0)
    if not raw:
        return 0, None
    booster = xgboost.Booster(model_file=bytearray(raw))
    done = booster.num_boosted_rounds()
    log.info(f"going on after round {done}, from the checkpoint of an interrupted run")
    return done, booster


def _export(data: Data, booster: xgboost.Booster, output: str, facts: dict[str, Any]) -> None:
    began = time.monotonic()
    with TemporaryDirectory(prefix="version-") as temporary:
        folder = Path(temporary)
        # XGBoost knows the format by the name's end; what is called model.bst is in its binary JSON.
        booster.save_model(folder / "model.ubj")
        (folder / "model.ubj").rename(folder / MODEL)
        joblib.dump(whole_pipeline(data.schema, booster), folder / PIPELINE)
        (folder / "schema.json").write_text(data.schema.to_json(), encoding="utf-8")
        version.publish(folder, output, facts)
    log.info(f"version complete: {files.join(output, version.MANIFEST)} ({time.monotonic() - began:.1f} s)")
