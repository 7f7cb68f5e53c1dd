"""One pass over a table's batches, compared with what pandas says of the whole."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_ml_provider.data.profile import Profile, Profiler


def profile(frame, batch=1000):
    profiler = Profiler()
    for part in pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=batch):
        profiler.add(part)
    return profiler.profile()


@pytest.fixture(scope="module")
def frame():
    draw = np.random.default_rng(3)
    n = 50_000
    return pd.DataFrame(
        {
            "user": draw.integers(0, 5_000, n),
            "price": np.where(draw.random(n) < 0.1, np.nan, draw.lognormal(3, 1, n)),
            "country": draw.choice(["de", "fr", "it", None], n, p=[0.5, 0.3, 0.15, 0.05]),
            "at": pd.Timestamp("2026-11-01", tz="UTC") + pd.to_timedelta(draw.integers(0, 10**6, n), "s"),
            "bought": draw.random(n) < 0.2,
        }
    )


def test_the_statistics_are_those_of_the_whole_table(frame):
    found = profile(frame)
    assert found.rows == len(frame)
    assert [column.type for column in found.columns.values()] == [
        "integer",
        "number",
        "string",
        "timestamp",
        "boolean",
    ]
    for name, column in found.columns.items():
        assert column.nulls == frame[name].isna().sum()
        assert column.distinct == pytest.approx(frame[name].nunique(), rel=0.02)
    price = found.columns["price"]
    assert price.mean == pytest.approx(frame["price"].mean())
    assert (price.minimum, price.maximum) == (frame["price"].min(), frame["price"].max())
    expected = frame["price"].quantile([0.1, 0.5, 0.9]).tolist()
    assert [price.percentiles[p] for p in (10, 50, 90)] == pytest.approx(expected, rel=0.05)
    assert found.columns["country"].counts == frame["country"].value_counts().to_dict()
    assert found.columns["at"].maximum == frame["at"].max().isoformat()
    assert found.columns["user"].counts is None


@pytest.mark.parametrize("batch", [7, 999, 50_000])
def test_the_size_of_batches_does_not_matter(frame, batch):
    part = frame.head(3000)
    assert profile(part, batch) == profile(part)


def test_an_export_that_came_twice_shows_as_duplicates(frame):
    assert profile(frame).duplicates < 0.02
    assert profile(pd.concat([frame, frame])).duplicates == pytest.approx(0.5, abs=0.02)


def test_rows_that_differ_in_one_column_alone_are_no_duplicates():
    rows = pd.DataFrame({"a": [1, 1, 1, 1], "b": ["x", "y", None, ""], "c": [0.0, 0.0, 0.0, 0.0]})
    assert profile(rows).distinct_rows == 4
    assert profile(pd.DataFrame({"a": [1, 2], "b": [2, 1]})).distinct_rows == 2


def test_a_profile_survives_json(frame):
    found = profile(frame)
    assert Profile.from_mapping(json.loads(json.dumps(found.to_mapping()))) == found
    with pytest.raises(ValueError, match="not a profile"):
        Profile.from_mapping({"rows": 1})


def test_memory_stays_the_same_at_any_number_of_rows():
    profiler = Profiler()
    draw = np.random.default_rng(1)
    for _ in range(30):
        profiler.add(pa.record_batch({"x": draw.random(20_000), "s": draw.random(20_000).astype(str)}))
    x = profiler._columns["x"]
    assert len(x._sample) == len(x._keys) == 20_000
    assert len(x._distinct._smallest) == len(profiler._row_hashes._smallest) == 32_768


def test_an_empty_table_has_a_profile():
    found = profile(pd.DataFrame({"a": []}))
    assert (found.rows, found.duplicates) == (0, 0.0)
