"""How often the gate errs, over simulated nights and years with known truths.

Run from the repository: ``.venv/bin/python benchmarks/gate/simulate.py [--seed 1] [--scale 1] [--json FILE]``
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from worlds import World, losses, of_losses, of_rows

from airflow_ml_provider.models.gate import GateSettings, Outcome, decide
from airflow_ml_provider.models.statistics import difference

MARGIN = 0.01
LOSS = GateSettings(metric="loss", margin=MARGIN, margin_kind="absolute", minimum_rows=1)
# How many standard errors of a night a margin is: z at 1 % plus z at 90 %.
VISIBLE = 2.326 + 1.282


def losses_worlds() -> dict[str, World]:
    """Return the worlds whose metric is a mean loss."""
    return {
        f"{users} users, {sizes} sizes, {errors} errors": World(users, sizes, errors)
        for users in (300, 1000, 3000)
        for sizes, errors in (
            ("even", "normal"),
            ("even", "heavy"),
            ("skewed", "normal"),
            ("skewed", "skewed"),
            ("few big", "normal"),
            ("few big", "heavy"),
        )
    }


def score_worlds() -> dict[str, World]:
    """Return the worlds whose labels are binary."""
    return {
        "400 users, 20 % positives": World(400, "even", "normal", 0.2),
        "400 users, 2 % positives": World(400, "skewed", "normal", 0.02),
        "2000 users, 20 % positives, heavy": World(2000, "even", "heavy", 0.2),
        "2000 users, 1 % positives, skewed sizes": World(2000, "skewed", "normal", 0.01),
    }


def spread_for(world: World, steps: float, seed: int) -> float:
    """Return the spread with which a night's standard error is the margin divided by ``steps``."""
    random = np.random.default_rng(seed)
    errors = []
    for _ in range(200):
        sizes, sums = losses(world, random, (0.0, 0.0), 1.0)
        errors.append((sums[0] - sums[1]).sum() / sizes.sum())
    return MARGIN / steps / (float(np.std(errors)) or 1.0)


def loss_nights(world: World, nights: int, worse: float, steps: float, seed: int) -> dict[str, float]:
    """Return how often each outcome came, and how often the 95 % interval held the truth."""
    spread = spread_for(world, steps, seed)
    random = np.random.default_rng([seed, 1])
    count = {"promoted": 0, "blocked": 0, "point": 0, "tolerant": 0, "covered": 0, "judged": 0}
    for _ in range(nights):
        found = of_losses(*losses(world, random, (worse, 0.0), spread))
        metric = found.metrics["loss"]
        outcome = decide(found, LOSS).outcome
        count["promoted"] += outcome is Outcome.PROMOTE
        count["blocked"] += outcome is Outcome.BLOCK
        count["point"] += metric.values[0] <= metric.values[1]
        count["tolerant"] += metric.values[0] <= metric.values[1] + MARGIN
        if metric.effective_units >= LOSS.minimum_units:
            between = difference(metric, "challenger", "champion", 0.0, relative=False)
            count["judged"] += 1
            count["covered"] += between.lower(0.025) <= worse <= between.upper(0.025)
    return {name: value / nights for name, value in count.items()} | {"nights": nights}


def score_nights(world: World, nights: int, noise: float, truth: dict, seed: int) -> dict[str, dict]:
    """Return the same for each metric of binary labels.

    :param noise: of the challenger's predictions; the champion's is 1.
    :param truth: by metric, how much worse the challenger truly is, which is also the margin.
    """
    random = np.random.default_rng([seed, 2])
    result = {name: {"promoted": 0, "covered": 0, "judged": 0} for name in truth}
    for _ in range(nights):
        found = of_rows("binary", *world.scores(random, (noise, 1.0)))
        for name, worse in truth.items():
            settings = GateSettings(
                metric=name, margin=max(worse, 0), margin_kind="absolute", minimum_rows=1, minimum_coverage=0
            )
            result[name]["promoted"] += decide(found, settings).outcome is Outcome.PROMOTE
            metric = found.metrics[name]
            if metric.standard_errors is not None and metric.effective_units >= settings.minimum_units:
                between = difference(metric, "challenger", "champion", 0.0, relative=False)
                result[name]["judged"] += 1
                result[name]["covered"] += between.lower(0.025) <= worse <= between.upper(0.025)
    return {
        name: {key: value / nights for key, value in counts.items()} | {"nights": nights}
        for name, counts in result.items()
    }


def true_differences(world: World, noise: float, seed: int) -> dict[str, float]:
    """Return how much worse the challenger truly is in each metric, from many users."""
    total: dict[str, list[float]] = {}
    random = np.random.default_rng([seed, 3])
    many = World(200_000, world.sizes, world.errors, world.positives)
    for _ in range(10):
        found = of_rows("binary", *many.scores(random, (noise, 1.0)))
        for name in ("log_loss", "auc", "pr_auc", "calibration_error"):
            metric = found.metrics[name]
            total.setdefault(name, []).append(metric.sign * (metric.values[0] - metric.values[1]))
    return {name: float(np.mean(values)) for name, values in total.items()}


def year(world: World, steps: float, drop: float, nights: int, seed: int) -> dict[str, list[float]]:
    """Return by gate the champion's true level, in margins below the first, night by night.

    Every night's challenger is truly worse than the champion of that night by ``drop`` margins.
    """
    spread = spread_for(world, steps, seed)
    random = np.random.default_rng([seed, 4])
    gates = ("anchored", "non-inferior alone", "point with tolerance", "point")
    level = dict.fromkeys(gates, 0.0)
    anchor = 0.0
    path: dict[str, list[float]] = {gate: [] for gate in gates}
    for _ in range(nights):
        for gate in gates:
            current = level[gate]
            worse = (current + drop) * MARGIN
            models = (worse, current * MARGIN)
            held = gate == "anchored" and current != anchor
            if held:
                models += (anchor * MARGIN,)
            found = of_losses(*losses(world, random, models, spread))
            metric = found.metrics["loss"]
            if gate.startswith("point"):
                tolerance = MARGIN if gate.endswith("tolerance") else 0.0
                promoted = metric.values[0] <= metric.values[1] + tolerance
            else:
                decision = decide(found, LOSS)
                promoted = decision.outcome is Outcome.PROMOTE
                if promoted and gate == "anchored" and decision.anchor == "v3":
                    anchor = current + drop
            if promoted:
                level[gate] = current + drop
            path[gate].append(level[gate])
    return path


def rot(world: World, steps: float, drop: float, nights: int, seed: int) -> dict[str, list[float]]:
    """Return the same for rotting data: night t's challenger is ``drop`` t margins below the first."""
    spread = spread_for(world, steps, seed)
    random = np.random.default_rng([seed, 5])
    level = {"anchored": 0.0, "non-inferior alone": 0.0, "point with tolerance": 0.0, "point": 0.0}
    anchor = 0.0
    path: dict[str, list[float]] = {gate: [] for gate in level}
    for night in range(1, nights + 1):
        for gate, current in list(level.items()):
            models = (drop * night * MARGIN, current * MARGIN)
            if gate == "anchored" and current != anchor:
                models += (anchor * MARGIN,)
            found = of_losses(*losses(world, random, models, spread))
            metric = found.metrics["loss"]
            if gate.startswith("point"):
                tolerance = MARGIN if gate.endswith("tolerance") else 0.0
                promoted = metric.values[0] <= metric.values[1] + tolerance
            else:
                decision = decide(found, LOSS)
                promoted = decision.outcome is Outcome.PROMOTE
                if promoted and gate == "anchored" and decision.anchor == "v3":
                    anchor = drop * night
            if promoted:
                level[gate] = drop * night
            path[gate].append(level[gate])
    return path


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of nights and years")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    began = time.monotonic()
    results: dict[str, object] = {"seed": given.seed}
    with ProcessPoolExecutor(given.processes) as pool:

        def run(function: Callable, *arguments: object):
            return pool.submit(function, *arguments)

        nights = max(1, round(560 * given.scale))
        worlds = losses_worlds()
        harm = {n: run(loss_nights, w, nights, MARGIN, VISIBLE, given.seed) for n, w in worlds.items()}
        gain = {n: run(loss_nights, w, nights, -MARGIN, VISIBLE, given.seed) for n, w in worlds.items()}
        scored = {}
        for name, world in score_worlds().items():
            truth = run(true_differences, world, 1.15, given.seed)
            scored[name] = (world, truth)
        nights = max(1, round(250 * given.scale))
        scores = {
            name: run(score_nights, world, nights, 1.15, truth.result(), given.seed)
            for name, (world, truth) in scored.items()
        }
        years = max(1, round(40 * given.scale))
        small = World(150)
        paths = {
            kind: [run(function, small, VISIBLE, 0.3, 365, given.seed * 10_000 + at) for at in range(years)]
            for kind, function in (("each worse than the champion by 0.3", year), ("rot of 0.3 a night", rot))
        }
        print(
            "\n| mean loss, challenger truly worse by the margin | nights | promoted | blocked | coverage of "
            "95 % | naive: as good | naive: within the margin | better by the margin: promoted |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name in worlds:
            bad, good = harm[name].result(), gain[name].result()
            covered = bad["covered"] / bad["judged"] if bad["judged"] else math.nan
            print(
                f"| {name} | {bad['nights']:.0f} | {bad['promoted']:.1%} | {bad['blocked']:.1%} "
                f"| {covered:.1%} | {bad['point']:.1%} | {bad['tolerant']:.1%} | {good['promoted']:.1%} |",
                flush=True,
            )
        results["losses"] = {n: [harm[n].result(), gain[n].result()] for n in worlds}
        print(
            "\n| binary labels, truly worse by the margin | metric | nights | promoted | coverage of 95 % |"
        )
        print("|---|---|---|---|---|")
        for name, future in scores.items():
            for metric, row in future.result().items():
                covered = row["covered"] / row["judged"] if row["judged"] else math.nan
                print(
                    f"| {name} | {metric} | {row['nights']:.0f} | {row['promoted']:.1%} | {covered:.1%} |",
                    flush=True,
                )
        results["scores"] = {name: future.result() for name, future in scores.items()}
        print("\n| year of challengers | gate | years | deepest of any night, any year | mean at the end |")
        print("|---|---|---|---|---|")
        results["years"] = {}
        for kind, futures in paths.items():
            done = [future.result() for future in futures]
            for gate in done[0]:
                depth = np.array([path[gate] for path in done])
                print(
                    f"| {kind} | {gate} | {len(done)} | {depth.max():.1f} margins "
                    f"| {depth[:, -1].mean():.1f} margins |",
                    flush=True,
                )
            results["years"][kind] = {gate: np.mean([p[gate] for p in done], 0).tolist() for gate in done[0]}
    print(f"\n{time.monotonic() - began:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
