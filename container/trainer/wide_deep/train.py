"""Training Wide & Deep from files to a finished version."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer import files, leaving, log, strategies, version
from trainer.checkpoint import Checkpoint
from trainer.cluster import Cluster
from trainer.errors import InputError, PeerError
from trainer.events import write_events
from trainer.flags import version_folder
from trainer.framework import load_tensorflow
from trainer.hypertune import MetricFile
from trainer.tabular.data import Data, fingerprint, load
from trainer.tabular.metrics import main_metric, measure
from trainer.tabular.schema import Schema

if TYPE_CHECKING:
    from trainer.replicas import Replicas
    from trainer.wide_deep.features import Features
    from trainer.wide_deep.network import Size
    from trainer.wide_deep.training import Examples

# Steps of one call: what an interruption may cost beside the time since the last checkpoint.
_STEPS = 50
# By default each row is seen at least so often, and few rows more often, until there are enough steps.
_EPOCHS, _MOST_EPOCHS, _ENOUGH = 4, 40, 1000
_EXPORT = "waiting for the chief's export"


class Loop(Protocol):
    """Trains step by step, whatever the strategy."""

    model: Any

    def run(self, first: int, count: int) -> float: ...  # noqa: D102

    def state(self) -> dict[str, np.ndarray]: ...  # noqa: D102

    def restore(self, state: Mapping[str, np.ndarray]) -> None: ...  # noqa: D102


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
    if cluster.role == "evaluator":
        from trainer.wide_deep.evaluator import watch

        watch(arguments, output)
        return
    if version.refuse_complete(output):
        log.info(f"{output}: this job has completed this version already; nothing is left to do")
        return
    tf = load_tensorflow()
    strategy = strategies.choose(cluster, len(tf.config.list_physical_devices("GPU")), arguments.strategy)
    if strategy == "parameter-server" and not cluster.is_chief:
        from trainer.wide_deep.parameter_server import serve

        serve(cluster, output, arguments.peer_timeout)
        return
    if cluster.rank is None:
        log.info(f"this replica ({cluster.name}) has no part in training under the strategy {strategy}")
        return
    data = load(arguments)
    log.info(f"strategy: {strategy}, {cluster.size} replicas")
    replicas, start = _starter(strategy, cluster, arguments)
    metrics = _fit(arguments, cluster, data, start, replicas, output, strategy)
    if cluster.is_chief:
        log.info(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()), **metrics)
    if replicas is not None:
        _part(replicas, output)


def _starter(
    strategy: str, cluster: Cluster, arguments: argparse.Namespace
) -> tuple[Replicas | None, Callable[..., Loop]]:
    """Set up the devices, which must come before anything is computed; return how to make a loop."""
    import tensorflow as tf

    from trainer.wide_deep.training import Synchronous

    if strategy == "parameter-server":
        from trainer.wide_deep.parameter_server import Coordinated, connect

        servers = connect(cluster, arguments.peer_timeout)
        return None, lambda *rest: Coordinated(servers, cluster, arguments.peer_timeout, *rest)
    if strategy == "multi-worker":
        from trainer.replicas import Replicas

        replicas = Replicas(cluster, arguments.peer_timeout)
        return replicas, lambda *rest: Synchronous(replicas.strategy, *rest)
    if strategy == "mirrored":
        devices = (
            tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else _halves()
        )
        mirrored = tf.distribute.MirroredStrategy([device.name for device in devices])
        return None, lambda *rest: Synchronous(mirrored, *rest)
    return None, lambda *rest: Synchronous(tf.distribute.get_strategy(), *rest)


def _halves() -> Any:
    """Let the CPU count as two devices, so that the mirrored strategy can be tried where there is no GPU."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    if tf.config.get_logical_device_configuration(cpu) is None:
        two = [tf.config.LogicalDeviceConfiguration(), tf.config.LogicalDeviceConfiguration()]
        tf.config.set_logical_device_configuration(cpu, two)
    return tf.config.list_logical_devices("CPU")


def _fit(
    arguments: argparse.Namespace,
    cluster: Cluster,
    data: Data,
    start: Callable[..., Loop],
    replicas: Replicas | None,
    output: str,
    strategy: str,
) -> dict[str, float]:
    from trainer.wide_deep.encoding import encode
    from trainer.wide_deep.features import Features
    from trainer.wide_deep.network import build
    from trainer.wide_deep.training import predictor

    schema = data.schema
    features = Features(schema)
    size = _size(arguments)
    examples = encode(data.train, _standardized(schema, data.targets), features)
    rows = min(data.test.num_rows, (arguments.eval_steps or 1 << 40) * arguments.eval_batch_size)
    test = encode(data.test.slice(0, rows), data.test_targets[:rows], features)
    plan = _plan(arguments, len(examples))
    with _bounded(replicas, "setting up the variables"):
        loop = start(
            lambda: build(features, size, _bias(schema), arguments.seed),
            schema.task,
            arguments.learning_rate,
            plan,
            examples,
        )
    checkpoint = Checkpoint(
        arguments.checkpoint_dir if cluster.is_chief else None,
        fingerprint(
            [schema.to_json(), asdict(size), asdict(plan), arguments.learning_rate],
            (examples.ids, examples.numbers, examples.targets),
        ),
        arguments.checkpoint_every,
    )
    predict = predictor(loop.model)
    described = {"schema": _described(schema, size)}
    done = _resume(loop, checkpoint, replicas)
    progress = {"done": done}

    def last_words() -> str:
        kept = checkpoint.save()
        where = f"step {kept} is kept in {arguments.checkpoint_dir}" if kept else "no checkpoint was kept"
        return f"{progress['done']} of {plan.steps} steps are done; {where}"

    leaving.on_leaving(last_words)
    tuning = MetricFile(arguments.hypertune_metric_tag) if arguments.hypertune and cluster.is_chief else None
    history: list[tuple[int, dict[str, float]]] = []
    metrics: dict[str, float] = {}
    began, since = time.monotonic(), done
    while done < plan.steps:
        count = min(_STEPS, plan.steps - done, plan.steps_in_epoch - done % plan.steps_in_epoch)
        with _bounded(replicas, f"steps {done + 1} to {done + count}"):
            loss = loop.run(done, count)
        if not math.isfinite(loss):
            raise InputError(f"step {done + count}: the loss is no number; lower --learning-rate")
        done += count
        progress["done"] = done
        checkpoint.finished(done, {**described, **loop.state()})
        if not cluster.is_chief or (done % plan.steps_in_epoch and done < plan.steps):
            continue
        seconds = time.monotonic() - began
        metrics = _measured(schema, test, predict(test))
        history.append((done, {"loss": loss, **metrics}))
        log.info(
            f"step {done}/{plan.steps}: loss {loss:.4f}{_shown(metrics)}, "
            f"{(done - since) * plan.batch_size / max(seconds, 1e-9):,.0f} rows/s",
            step=done,
            loss=loss,
            **metrics,
        )
        if tuning and main_metric(schema) in metrics:
            tuning.report(metrics[main_metric(schema)], done)
        began, since = time.monotonic(), done
    if not cluster.is_chief:
        return {}
    metrics = metrics or _measured(schema, test, predict(test))
    training = _measured(schema, examples, predict(examples), standardized=True)
    metrics |= {f"training_{name}": value for name, value in training.items()}
    if arguments.log_dir and history:
        write_events(arguments.log_dir, history)
    facts = {
        "model": arguments.model,
        "arguments": {
            **asdict(size),
            **schema.summary(),
            "batch_size": plan.batch_size,
            "steps": plan.steps,
            "learning_rate": arguments.learning_rate,
            "export_format": arguments.export_format,
            "column_names": data.form.names,
            "delimiter": data.form.delimiter,
            "eval_files": [file.uri for file in data.test_files] or None,
            "test_fraction": None if data.test_files else arguments.test_fraction,
            "strategy": strategy,
            "replicas": cluster.size,
        },
        "seed": arguments.seed,
        "data": data.facts(),
        "metrics": metrics,
    }
    _export(features, loop, build(features, size, 0.0, 0), arguments.export_format, output, facts)
    return metrics


def _bounded(replicas: Replicas | None, what: str) -> AbstractContextManager[None]:
    """Name the replica that is gone if what is done inside fails or takes too long for that."""
    return nullcontext() if replicas is None else replicas.bounded(what)


def _size(arguments: argparse.Namespace) -> Size:
    from trainer.wide_deep.network import Size

    return Size(
        arguments.embedding_size,
        arguments.first_layer_size,
        arguments.num_layers,
        arguments.scale_factor,
        arguments.dropout,
    )


def _plan(arguments: argparse.Namespace, rows: int) -> Any:
    from trainer.wide_deep.training import Plan

    plan = Plan(rows, arguments.train_batch_size, 0, arguments.seed)
    enough = min(max(_EPOCHS, -(-_ENOUGH // plan.steps_in_epoch)), _MOST_EPOCHS)
    epochs = arguments.num_epochs or (None if arguments.train_steps else enough)
    steps = min(
        arguments.train_steps or 1 << 62, epochs * plan.steps_in_epoch if epochs is not None else 1 << 62
    )
    return Plan(rows, arguments.train_batch_size, steps, arguments.seed)


def _bias(schema: Schema) -> float:
    return math.log(schema.mean / (1 - schema.mean)) if schema.task == "binary" else 0.0


def _standardized(schema: Schema, targets: np.ndarray) -> np.ndarray:
    return targets if schema.task == "binary" else (targets - schema.mean) / schema.deviation


def _measured(
    schema: Schema, examples: Examples, outputs: np.ndarray, *, standardized: bool = False
) -> dict[str, float]:
    if not len(examples):
        return {}
    targets = examples.targets.astype(np.float64)
    if schema.task == "binary":
        return measure(schema, targets, 1 / (1 + np.exp(-outputs)))
    if standardized:
        targets = targets * schema.deviation + schema.mean
    return measure(schema, targets, outputs * schema.deviation + schema.mean)


def _described(schema: Schema, size: Size) -> np.ndarray:
    """Return what the evaluator needs to make the model, as a checkpoint can hold it."""
    import json

    text = json.dumps({"schema": schema.to_json(), "size": asdict(size)})
    return np.frombuffer(text.encode(), np.uint8)


def _resume(loop: Loop, checkpoint: Checkpoint, replicas: Replicas | None) -> int:
    """Go on from the chief's checkpoint, on all replicas."""
    done, state = checkpoint.load()
    if replicas is not None:
        done = int(replicas.sum([float(done)], "agreeing where to start")[0])
    if not done:
        return 0
    own = loop.state()
    if replicas is not None:
        what = "handing out the checkpoint"
        state = {name: _handed_out(state.get(name, own[name]), replicas, what) for name in sorted(own)}
    loop.restore({name: np.asarray(state[name]) for name in own})
    log.info(f"going on after step {done}, from the checkpoint of an interrupted run")
    return done


def _handed_out(value: np.ndarray, replicas: Replicas, what: str) -> np.ndarray:
    # Replicas exchange float32, which holds every byte exactly but not every integer.
    raw = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    given = replicas.from_chief(raw.astype(np.float32), what).astype(np.uint8)
    return np.frombuffer(given.tobytes(), value.dtype).reshape(value.shape)


def _part(replicas: Replicas, output: str) -> None:
    """Stay together until the version is complete: a chief that is started again needs its workers."""
    try:
        replicas.sum([0.0], _EXPORT)
    except PeerError:
        if version.read_manifest(output) is None:
            raise


def _shown(metrics: Mapping[str, float]) -> str:
    return "".join(f", test {name} {value:.4f}" for name, value in metrics.items())


def _export(
    features: Features, loop: Loop, plain: Any, export_format: str, output: str, facts: dict[str, Any]
) -> None:
    from trainer.wide_deep.saved_model import save

    began = time.monotonic()
    # A model outside of the strategy: what serves has one copy of each variable, on one device.
    plain.set_weights([np.asarray(variable.value.read_value()) for variable in loop.model.variables])
    with TemporaryDirectory(prefix="version-") as temporary:
        folder = Path(temporary)
        save(features, plain, export_format, folder / "saved_model")
        (folder / "schema.json").write_text(features.schema.to_json(), encoding="utf-8")
        version.publish(folder, output, facts)
    log.info(f"version complete: {files.join(output, version.MANIFEST)} ({time.monotonic() - began:.1f} s)")
