"""Wide & Deep: rows a second of the trainer's loop and of plain Keras ``fit``, the same model in one process.

    python benchmarks/tabular/wide_deep.py CENSUS_TRAIN_CSV [--copies 100] [--rounds 3]

Both get the same encoded rows in memory, in a shuffled order. They take turns, so that what else runs on the
machine slows both. Prints the table that stands in ``README.md``.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "container"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train_csv")
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=400_000, help="of a round")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1024])
    arguments = parser.parse_args()

    from trainer.framework import load_tensorflow

    tf = load_tensorflow()
    import keras
    import numpy as np
    from trainer import files
    from trainer.tabular.schema import Wishes, infer, targets
    from trainer.tabular.table import Form, read_table
    from trainer.wide_deep.encoding import encode
    from trainer.wide_deep.features import Features
    from trainer.wide_deep.network import Size, build
    from trainer.wide_deep.training import Examples, Plan, Synchronous, optimizer

    table = read_table(files.find([arguments.train_csv]), Form(), {"fnlwgt": "ignore"})
    schema = infer(table, Wishes(), "income_bracket")
    features = Features(schema)
    one = encode(table, targets(table.column(schema.label), schema, arguments.train_csv), features)
    times = np.tile(np.arange(len(one)), arguments.copies)
    examples = Examples(one.ids[times], one.numbers[times], one.targets[times])
    print(f"{len(examples):,} rows of {len(schema.columns)} columns\n")
    print("| batch | trainer, rows/s | Keras fit, rows/s | ratio |\n|---|---|---|---|")
    for batch in arguments.batch_sizes:
        plan = Plan(len(examples), batch, len(examples) // batch, 0)
        build_model = functools.partial(build, features, Size(8, 100, 4, 0.7, 0.0), -1.1, 0)
        loop = Synchronous(tf.distribute.get_strategy(), build_model, "binary", 1e-3, plan, examples)
        keras_model = build_model()
        keras_model.compile(optimizer(1e-3, plan.steps), keras.losses.BinaryCrossentropy(from_logits=True))
        ours, theirs = [], []
        for measured in range(arguments.rounds + 1):
            # The first round, which traces and compiles, is short and does not count.
            steps = arguments.rows // batch if measured else 50
            began = time.perf_counter()
            for first in range(0, steps, 50):
                loop.run(first, min(50, steps - first))
            middle = time.perf_counter()
            part = examples.take(np.arange(steps * batch))
            keras_model.fit([part.ids, part.numbers], part.targets, batch_size=batch, verbose=0)
            end = time.perf_counter()
            if measured:
                ours.append(steps * batch / (middle - began))
                theirs.append(steps * batch / (end - middle))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        median = statistics.median
        print(f"| {batch} | {median(ours):,.0f} | {median(theirs):,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
