"""What may be trained on: faults that are planted into data are found, ordinary nights pass."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_ml_provider.data.checks import (
    Finding,
    Outcome,
    check,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability,
    table,
    worst,
)
from airflow_ml_provider.data.expectations import Expectations, InvalidExpectations
from airflow_ml_provider.data.profile import Profiler

NIGHT = datetime(2026, 11, 20, 3, tzinfo=UTC)
EXPECTED = Expectations.read(
    {
        "rows": {"minimum": 1000},
        "label": "rating",
        "newest": {"column": "at", "hours": 36},
        "columns": {
            "user": {"type": "integer", "nulls": 0},
            "tenant": {"type": "string", "distinct": {"maximum": 50}},
            "price": {"type": "number", "values": {"minimum": 0}},
            "rating": {"type": "integer", "values": {"minimum": 1, "maximum": 5}},
            "at": {"type": "timestamp", "drift": False},
        },
    }
)


def night(seed, rows=20_000, until=NIGHT):
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user": draw.integers(0, 3000, rows),
            "tenant": draw.choice([f"t{n}" for n in range(20)], rows),
            "price": draw.lognormal(3, 1, rows),
            "rating": draw.choice([1, 2, 3, 4, 5], rows, p=[0.05, 0.1, 0.25, 0.35, 0.25]),
            "at": until - pd.to_timedelta(draw.integers(60, 10**6, rows), "s"),
        }
    )


def profile(frame):
    profiler = Profiler()
    for batch in pa.Table.from_pandas(frame, preserve_index=False).to_batches(max_chunksize=5000):
        profiler.add(batch)
    return profiler.profile()


@pytest.fixture(scope="module")
def production():
    return profile(night(0))


def found(frame, production, expectations=EXPECTED):
    findings = check(profile(frame), expectations, until=NIGHT, reference=production)
    return {f.where: f.text for f in findings if f.outcome is Outcome.STOP}, worst(findings)


@pytest.mark.parametrize("seed", range(1, 30))
def test_an_ordinary_night_passes(production, seed):
    assert found(night(seed), production) == ({}, Outcome.PASS)


def test_a_currency_that_changed_by_a_hundred_stops_the_run(production):
    frame = night(1)
    frame["price"] *= 100
    stops, _ = found(frame, production)
    assert set(stops) == {"price"}
    assert "population stability index" in stops["price"]


def test_a_label_column_that_was_swapped_stops_the_run(production):
    frame = night(1)
    frame["rating"] = 6 - frame["rating"]
    assert "rating" in found(frame, production)[0]


def test_one_tenants_missing_data_stops_the_run(production):
    frame = night(1)
    stops, _ = found(frame[frame["tenant"] != "t7"], production)
    assert "'t7'" in stops["tenant"]
    assert "is gone" in stops["tenant"]


def test_yesterdays_export_again_stops_the_run(production):
    stops, _ = found(pd.concat([night(1), night(1)]), production)
    assert "50.0% repeat another row" in stops["rows"]


def test_a_stale_export_stops_the_run(production):
    stops, _ = found(night(1, until=NIGHT - timedelta(days=3)), production)
    assert "the newest row is 72." in stops["at"]


def test_an_empty_export_stops_the_run(production):
    stops = [f.text for f in check(profile(night(1).head(0)), EXPECTED) if f.outcome is Outcome.STOP]
    assert "0 rows, expected at least 1,000" in stops


def test_half_of_an_export_stops_the_run(production):
    assert "times the 20,000 rows of production" in found(night(1, rows=6000), production)[0]["rows"]


def test_a_lost_column_stops_the_run_and_is_named(production):
    stops, _ = found(night(1).drop(columns="price"), production)
    assert "is missing" in stops["price"]


def test_a_column_that_nobody_expects_is_a_warning(production):
    frame = night(1)
    frame["extra"] = 1
    assert found(frame, production) == ({}, Outcome.WARN)


def test_a_label_with_one_value_or_missing_ones_stops_the_run(production):
    frame = night(1)
    frame["rating"] = 3
    assert "rating" in found(frame, production)[0]
    frame["rating"] = [None, *[3, 4] * 9999, 5]
    assert "rating" in found(frame.astype({"rating": "Int64"}), production)[0]


def test_values_out_of_range_and_missing_ones_stop_the_run(production):
    frame = night(1)
    frame.loc[5, "price"] = -1
    assert "is the least value, expected at least 0" in found(frame, production)[0]["price"]
    frame = night(1).astype({"user": "Int64"})
    frame.loc[5, "user"] = None
    assert "are missing" in found(frame, production)[0]["user"]


def test_without_production_and_expectations_data_passes():
    assert worst(check(profile(night(1)), Expectations())) is Outcome.PASS


def test_distances_are_those_of_the_textbook():
    assert jensen_shannon({"a": 1.0}, {"b": 1.0}) == 1
    assert jensen_shannon({"a": 0.5, "b": 0.5}, {"b": 0.5, "a": 0.5}) == 0
    draw = np.random.default_rng(0)
    points = np.linspace(0, 1, 101)
    left, right = (np.quantile(draw.normal(shift, 1, 100_000), points) for shift in (0, 1))
    # Integrated over the tenths of the standard normal distribution.
    assert population_stability(left, right) == pytest.approx(0.926, abs=0.03)
    # sup |F(x) - F(x - 1)| = 2 * Phi(1/2) - 1
    assert kolmogorov_smirnov(left, right) == pytest.approx(0.383, abs=0.02)
    assert population_stability(left, left) == 0


def test_the_table_shows_the_worst_first():
    lines = table([Finding(Outcome.PASS, "rows", "10"), Finding(Outcome.STOP, "price", "x")]).splitlines()
    assert lines == ["stop  price  x", "pass  rows   10"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"colums": {}}, "colums"),
        ({"rows": {"minimum": 5, "maximum": 1}}, "minimum 5.0 is more than maximum 1.0"),
        ({"columns": {"a": {"type": "float"}}}, "columns.a.type"),
        ({"duplicates": float("nan")}, "duplicates"),
        ("/no/such/file.yaml", "No such file"),
    ],
)
def test_expectations_that_are_wrong_are_refused_by_field(given, told):
    with pytest.raises(InvalidExpectations, match=told):
        Expectations.read(given)


def test_expectations_are_read_from_yaml(tmp_path):
    path = tmp_path / "expectations.yaml"
    path.write_text("rows: {minimum: 10}\nlabel: rating\n")
    assert Expectations.read(path) == Expectations.read({"rows": {"minimum": 10}, "label": "rating"})
