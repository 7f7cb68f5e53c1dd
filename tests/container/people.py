"""Rows that are like the census: texts and numbers that say something of a label of two classes."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ("age", "job", "city", "gain", "bought")


def people(seed, rows=1500):
    """Return rows; who is old and has a good job in the right city buys more often."""
    random = np.random.default_rng(seed)
    age = random.integers(17, 90, rows)
    job = random.choice(["nurse", "cook", "judge", "clerk"], rows)
    city = random.choice(["Oslo", "Łódź", "東京", "Nice"], rows)
    gain = np.where(random.random(rows) < 0.9, 0, random.integers(1, 90000, rows))
    good = (job == "judge") ^ (city == "Oslo")
    odds = (age - 50) / 15 + 2.5 * good + 2.0 * (gain > 0) - 1.5 + 0.5 * random.standard_normal(rows)
    bought = np.where(random.random(rows) < 1 / (1 + np.exp(-odds)), "yes", "no")
    return [
        {"age": int(a), "job": str(j), "city": str(c), "gain": int(g), "bought": str(b)}
        for a, j, c, g, b in zip(age, job, city, gain, bought, strict=True)
    ]


def write_people(path, rows, header=True):
    """Write rows as the path's name says: CSV, NDJSON or Parquet."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        # BigQuery exports INT64 as text.
        path.write_text("".join(json.dumps({**r, "age": str(r["age"])}) + "\n" for r in rows))
    else:
        lines = [",".join(NAMES)] if header else []
        lines += [",".join(str(row[name]) for name in NAMES) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
