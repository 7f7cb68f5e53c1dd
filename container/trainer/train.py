"""Training from files to a finished version."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer import arguments as arguments_
from trainer import files, leaving, log, version
from trainer.checkpoint import Checkpoint
from trainer.cluster import Cluster
from trainer.errors import InputError, PeerError
from trainer.events import write_events
from trainer.files import File
from trainer.flags import version_folder
from trainer.framework import load_tensorflow
from trainer.hypertune import MetricFile
from trainer.ranking import ranking_metrics
from trainer.ratings import Ratings, read_ratings
from trainer.recommender import Recommender, seen_items

if TYPE_CHECKING:
    from trainer.replicas import Replicas

_EXPORT = "waiting for the chief's export"
_CANARY_REQUESTS = 20


def train(arguments: argparse.Namespace, cluster: Cluster) -> None:
    """Train, measure and export; replicas other than the chief take part and write nothing.

    :param arguments: of the command line.
    :param cluster: the replicas.
    :raises InputError: bad data or arguments.
    :raises PeerError: a replica does not answer.
    """
    if cluster.rank is None:
        log.info("this replica has no part in training (parameter servers and evaluators are not used)")
        return
    output = version_folder(arguments, cluster)
    files.require_bucket(output)
    if version.refuse_complete(output):
        log.info(f"{output}: this job has completed this version already; nothing is left to do")
        return
    started = time.monotonic()
    found = files.find(arguments.train_files)
    everything = read_ratings(found, arguments.form)
    rows = len(everything)
    everything = everything.merged()
    if len(everything) < rows:
        how = (
            "their durations were added up" if everything.data_type == "web_views" else "their mean was taken"
        )
        log.info(f"{rows - len(everything)} rows repeat a user and an item: {how}")
    ratings, test, test_files = _split(arguments, everything)
    parameters = arguments_.hyperparameters(arguments, everything.data_type)
    _limit_rank(arguments, parameters, ratings)
    log.info(
        f"{len(ratings)} ratings of {len(ratings.items)} items by {len(ratings.users)} users from "
        f"{len(found)} files, read in {time.monotonic() - started:.1f} s; {len(test)} to test with"
    )
    replicas = _start(arguments, cluster)
    model, metrics = _fit(arguments, parameters, replicas, ratings, test)
    if not cluster.is_chief:
        _part(replicas, output)
        return
    facts = {
        "model": arguments.model,
        "arguments": {
            **parameters,
            "data_type": everything.data_type,
            "delimiter": arguments.delimiter,
            "headers": arguments.headers,
            "test_fraction": None if test_files else arguments.test_fraction,
            "test_files": [file.uri for file in test_files] or None,
            "replicas": cluster.size,
        },
        "seed": arguments.seed,
        "data": {
            "files": [file.resource() for file in found],
            "rows": rows,
            "users": len(everything.users),
            "items": len(everything.items),
        },
        "metrics": metrics,
    }
    _export(model, everything, output, facts)
    _part(replicas, output)


def _split(arguments: argparse.Namespace, everything: Ratings) -> tuple[Ratings, Ratings, list[File]]:
    if arguments.test_files:
        found = files.find(arguments.test_files)
        return everything, read_ratings(found, arguments.form).merged(), found
    order = np.random.default_rng([arguments.seed, 1]).permutation(len(everything))
    count = int(len(everything) * arguments.test_fraction)
    test, train_rows = np.sort(order[:count]), np.sort(order[count:])
    return everything.take(train_rows).compact(), everything.take(test), []


def _limit_rank(arguments: argparse.Namespace, parameters: dict[str, Any], ratings: Ratings) -> None:
    users, items = len(ratings.users), len(ratings.items)
    most = min(users, items)
    if parameters["latent_factors"] <= most:
        return
    if arguments.latent_factors is not None:
        raise InputError(
            f"--latent-factors {arguments.latent_factors}: {users} users, {items} items: at most {most}"
        )
    parameters["latent_factors"] = most


def _start(arguments: argparse.Namespace, cluster: Cluster) -> Replicas:
    # TensorFlow takes seconds to import; bad data is refused before.
    load_tensorflow()
    from trainer.halfstep import use_cores_for_batches
    from trainer.replicas import Replicas

    use_cores_for_batches()
    return Replicas(cluster, arguments.peer_timeout)


def _part(replicas: Replicas, output: str) -> None:
    """Stay together until the version is complete: a chief that is started again needs its workers."""
    try:
        replicas.sum([0.0], _EXPORT)
    except PeerError:
        if version.read_manifest(output) is None:
            raise


def _fit(
    arguments: argparse.Namespace,
    parameters: dict[str, Any],
    replicas: Replicas,
    ratings: Ratings,
    test: Ratings,
) -> tuple[Recommender, dict[str, float | None]]:
    cluster = replicas.cluster
    training = _training(parameters, arguments.seed, replicas, ratings)
    checkpoint = Checkpoint(
        arguments.checkpoint_dir if cluster.is_chief else None,
        _fingerprint(parameters, arguments.seed, ratings),
        arguments.checkpoint_every,
    )
    done = _resume(training, checkpoint, replicas)
    iterations = parameters["num_iters"]
    progress = {"done": done}

    def last_words() -> str:
        kept = checkpoint.save()
        where = (
            f"iteration {kept} is kept in {arguments.checkpoint_dir}" if kept else "no checkpoint was kept"
        )
        return f"{progress['done']} of {iterations} iterations are done; {where}"

    leaving.on_leaving(last_words)
    tuning = MetricFile(arguments.hypertune_metric_tag) if arguments.hypertune and cluster.is_chief else None
    history: list[dict[str, float]] = []
    for step in range(done + 1, iterations + 1):
        began = time.monotonic()
        result = _iterate(training, f"iteration {step} of {iterations}")
        seconds = time.monotonic() - began
        rmse = float(np.sqrt(result["squared_error"] / len(ratings)))
        progress["done"] = step
        checkpoint.finished(step, training.state())
        entry = {"loss": result["loss"], "rmse": rmse}
        if tuning and len(test):
            entry["test_rmse"] = _model(parameters, ratings, training).rmse(ratings, test)
            tuning.report(entry["test_rmse"], step)
        history.append(entry)
        if cluster.is_chief:
            log.info(
                f"iteration {step}/{iterations}: loss {result['loss']:.6g}, training RMSE {rmse:.4f}, "
                f"{seconds:.2f} s, {len(ratings) / max(seconds, 1e-9):,.0f} ratings/s",
                iteration=step,
                seconds=round(seconds, 3),
                **entry,
            )
    model = _model(parameters, ratings, training)
    metrics: dict[str, float | None] = {"training_rmse": model.rmse(ratings, ratings)}
    if len(test):
        metrics["rmse"] = model.rmse(ratings, test)
        if cluster.is_chief:
            metrics |= ranking_metrics(model, ratings, test, arguments.seed)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if "rmse" not in name)
        log.info(f"test RMSE {metrics['rmse']:.4f} ({len(test)} ratings){shown and ', '}{shown}", **metrics)
    else:
        log.info(
            f"training RMSE {metrics['training_rmse']:.4f}; there are no ratings to test with", **metrics
        )
    if tuning:
        tuning.report(float(metrics.get("rmse", metrics["training_rmse"]) or 0), iterations)
    if cluster.is_chief and arguments.log_dir:
        write_events(arguments.log_dir, list(enumerate(history, done + 1)))
    return model, metrics


def _training(parameters: dict[str, Any], seed: int, replicas: Replicas, ratings: Ratings) -> Any:
    from trainer.biased import BiasedFactors
    from trainer.wals import Wals, item_weights

    user, item, rating = ratings.user, ratings.item, ratings.rating
    shape, rank = (len(ratings.users), len(ratings.items)), parameters["latent_factors"]
    start = np.random.default_rng([seed, 2]).standard_normal((shape[1], rank)).astype(np.float32)
    weights = item_weights(item, shape[1], parameters)
    w0, regularization = parameters["unobs_weight"], parameters["regularization"]
    if parameters["bias"]:
        rest = rating - np.float32(_mean(ratings))
        weights /= max(float(weights[item].mean(dtype=np.float64)), 1e-12)
        return BiasedFactors((user, item, rest), shape, weights, w0, regularization, replicas, start)
    start /= np.sqrt(np.float32(rank))
    return Wals(user, item, rating, shape, weights, w0, regularization, replicas, start)


def _iterate(training: Any, what: str) -> dict[str, float]:
    import tensorflow as tf

    try:
        result: dict[str, float] = training.iterate(what)
    except tf.errors.InvalidArgumentError as error:
        if "Cholesky" not in str(error):
            raise
        raise InputError(
            f"{what}: the equations have no single solution; --regularization and --unobs-weight are "
            "too small for this data"
        ) from error
    if not np.isfinite(list(result.values())).all():
        raise InputError(
            f"{what}: the numbers grew beyond bounds; raise --regularization, or check the ratings"
        )
    return result


def _resume(training: Any, checkpoint: Checkpoint, replicas: Replicas) -> int:
    """Go on from the chief's checkpoint, on all replicas."""
    done, state = checkpoint.load()
    done = int(replicas.sum([float(done)], "agreeing where to start")[0])
    if not done:
        return 0
    own = training.state()
    restored = {}
    for name in sorted(own):
        # Bytes as float32 numbers would not survive; float64 goes as two halves that add up exactly.
        value = np.asarray(state.get(name, own[name]))
        what = "handing out the checkpoint"
        high = replicas.from_chief(value.astype(np.float32), what)
        if own[name].dtype == np.float64:
            middle = replicas.from_chief((value - high).astype(np.float32), what)
            low = replicas.from_chief((value - high - middle).astype(np.float32), what)
            restored[name] = high.astype(np.float64) + middle + low
        else:
            restored[name] = high
    training.restore(restored)
    log.info(f"going on after iteration {done}, from the checkpoint of an interrupted run")
    return done


def _model(parameters: dict[str, Any], ratings: Ratings, training: Any) -> Recommender:
    state = training.state()
    if parameters["bias"]:
        mean = _mean(ratings)
        item_bias = state["item_mean"][:, -1]
        return Recommender(
            users=ratings.users,
            items=ratings.items,
            user_factors=state["user_mean"][:, :-1],
            item_factors=state["item_mean"][:, :-1],
            user_bias=state["user_mean"][:, -1],
            item_bias=item_bias,
            mean=mean,
            unknown_item_bias=training.mean_item_bias,
            limits=(float(ratings.rating.min()), float(ratings.rating.max())),
            popularity=(mean + item_bias).astype(np.float32),
            fold_in=training.fold_in(),
        )
    share = np.bincount(ratings.item, minlength=len(ratings.items)) / max(len(ratings.users), 1)
    return Recommender(
        users=ratings.users,
        items=ratings.items,
        user_factors=state["x"],
        item_factors=state["y"],
        user_bias=np.zeros(len(ratings.users), np.float32),
        item_bias=np.zeros(len(ratings.items), np.float32),
        mean=0.0,
        unknown_item_bias=0.0,
        limits=None,
        popularity=share.astype(np.float32),
        fold_in=training.fold_in(),
    )


def _mean(ratings: Ratings) -> float:
    return float(np.float32(ratings.rating.mean(dtype=np.float64)))


def _fingerprint(parameters: dict[str, Any], seed: int, ratings: Ratings) -> str:
    digest = hashlib.sha256(json.dumps([parameters, seed], sort_keys=True).encode())
    for ids in (ratings.users, ratings.items):
        digest.update("\n".join(ids.to_pylist()).encode())
    for column in (ratings.user, ratings.item, ratings.rating):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def _export(model: Recommender, everything: Ratings, output: str, facts: dict[str, Any]) -> None:
    from trainer.evaluation.ratings import canary_of
    from trainer.evaluation.serving import write_canary
    from trainer.saved_model import save

    began = time.monotonic()
    with TemporaryDirectory(prefix="version-") as temporary:
        folder = Path(temporary)
        save(model, seen_items(model, everything), folder / "version" / "saved_model")
        few = np.linspace(0, len(everything) - 1, _CANARY_REQUESTS).astype(int)
        write_canary(folder / "version", *canary_of(model, everything.take(few)))
        version.publish(folder / "version", output, facts)
    log.info(f"version complete: {files.join(output, version.MANIFEST)} ({time.monotonic() - began:.1f} s)")
