"""The factorisation, against an implementation that is slow and obvious."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from trainer import train
from trainer.batches import cut
from trainer.cluster import Cluster
from trainer.ratings import Ratings
from trainer.replicas import Replicas
from trainer.wals import item_weights

from .movies import movies

WALS = {
    "bias": False,
    "latent_factors": 5,
    "regularization": 0.07,
    "unobs_weight": 0.01,
    "wt_type": "linear",
    "feature_wt_factor": 130.0,
    "feature_wt_exp": 0.08,
}
BIASED = {
    **WALS,
    "bias": True,
    "latent_factors": 16,
    "regularization": 0,
    "unobs_weight": 0,
    "wt_type": "none",
}


def ratings_of(rows):
    user, item, rating = rows
    users, items = (pa.array([str(n) for n in range(max(ids) + 1)]) for ids in (user, item))
    columns = (user.astype(np.int32), item.astype(np.int32), rating.astype(np.float32))
    return Ratings(users, items, *columns, "ratings").compact().merged()


@pytest.fixture(scope="module")
def small():
    return ratings_of(movies(4, users=80, items=60, ratings=2400))


def fit(parameters, ratings, iterations, seed=0):
    training = train._training(parameters, seed, Replicas(Cluster(), 10), ratings)
    return training, [training.iterate("a test") for _ in range(iterations)]


def slow_wals(ratings, parameters, first, iterations):
    users, items = len(ratings.users), len(ratings.items)
    value, seen = np.zeros((users, items)), np.zeros((users, items), bool)
    value[ratings.user, ratings.item], seen[ratings.user, ratings.item] = ratings.rating, True
    n = seen.sum(0)
    kind = parameters["wt_type"]
    exponent = parameters["feature_wt_exp"] if kind == "log" else 0
    c = parameters["feature_wt_factor"] / n if kind == "linear" else (1 / n) ** exponent
    w0, reg = parameters["unobs_weight"], parameters["regularization"]
    weight = np.where(seen, w0 + c[None, :], w0)
    ridge = reg * np.eye(first.shape[1])
    y = first.astype(float)
    for _ in range(iterations):
        x = np.stack(
            [
                np.linalg.solve((y.T * weight[u]) @ y + ridge, (y.T * weight[u]) @ value[u])
                for u in range(users)
            ]
        )
        y = np.stack(
            [
                np.linalg.solve((x.T * weight[:, i]) @ x + ridge, (x.T * weight[:, i]) @ value[:, i])
                for i in range(items)
            ]
        )
    loss = (weight * (value - x @ y.T) ** 2).sum() + reg * ((x**2).sum() + (y**2).sum())
    return x, y, loss


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"wt_type": "log", "feature_wt_exp": 0.5},
        {"wt_type": "log", "feature_wt_exp": 5.05},
        {"wt_type": "none"},
        {"unobs_weight": 0.0},
        {"regularization": 0.0},
        # Most rows have fewer observations than factors.
        {"latent_factors": 48, "regularization": 5.0},
        {"latent_factors": 40, "unobs_weight": 0.5},
    ],
)
def test_the_factors_and_the_loss_are_those_of_the_written_objective(small, changes):
    parameters = {**WALS, **changes}
    training, _ = fit(parameters, small, 0)
    first = training.state()["y"]
    training, results = fit(parameters, small, 5)
    x, y, loss = slow_wals(small, parameters, first, 5)
    state = training.state()
    np.testing.assert_allclose(state["x"] @ state["y"].T, x @ y.T, atol=2e-3)
    assert results[-1]["loss"] == pytest.approx(loss, rel=1e-4)


def test_item_weights_are_those_of_the_sample():
    items = np.array([0, 0, 0, 0, 1])
    assert item_weights(items, 2, WALS).tolist() == pytest.approx([130 / 4, 130])
    log = item_weights(items, 2, {**WALS, "wt_type": "log", "feature_wt_exp": 0.5})
    assert log.tolist() == pytest.approx([0.5, 1])


@pytest.mark.parametrize("parameters", [WALS, BIASED])
def test_the_loss_never_rises(small, parameters):
    losses = [result["loss"] for result in fit(parameters, small, 15)[1]]
    assert all(later <= earlier + 1e-5 * abs(earlier) for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("parameters", [WALS, BIASED])
def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(small, parameters):
    one, again, other = (fit(parameters, small, 3, seed)[0].state() for seed in (1, 1, 2))
    assert all((one[name] == again[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


@pytest.mark.parametrize("parameters", [WALS, BIASED])
def test_training_goes_on_from_its_state_as_if_nothing_had_happened(small, parameters):
    through, _ = fit(parameters, small, 6)
    broken, _ = fit(parameters, small, 2)
    resumed, _ = fit(parameters, small, 0)
    resumed.restore(broken.state())
    for _ in range(4):
        resumed.iterate("a test")
    assert all((through.state()[name] == resumed.state()[name]).all() for name in through.state())


def need(places):
    return 10 * places


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("short", [0, 32])
def test_the_replicas_batches_hold_every_entry_once(small, size, short):
    shape = (len(small.users), len(small.items))
    sides = [
        cut(small.user, small.item, small.rating, shape, need, short, rank, size) for rank in range(size)
    ]
    entries, rows = set(), []
    for side in sides:
        for batch in side.batches:
            rows += batch.rows.tolist()
            real = batch.columns < shape[1]
            assert (batch.values[~real] == 0).all()
            line, place = np.nonzero(real)
            columns, values = batch.columns[line, place].tolist(), batch.values[line, place].tolist()
            entries |= set(zip(batch.rows[line].tolist(), columns, values, strict=True))
    expected = set(zip(small.user.tolist(), small.item.tolist(), small.rating.tolist(), strict=True))
    assert entries == expected
    assert sorted(rows) == list(range(shape[0]))


def test_places_put_the_replicas_rows_back_in_order(small):
    shape = (len(small.users), len(small.items))
    sides = [cut(small.user, small.item, small.rating, shape, need, 32, rank, 2) for rank in range(2)]
    gathered = np.full(2 * sides[0].share, -1)
    for rank, side in enumerate(sides):
        rows = np.concatenate([batch.rows for batch in side.batches])
        gathered[rank * side.share : rank * side.share + len(rows)] = rows
    assert gathered[sides[0].places].tolist() == list(range(shape[0]))


def halves(rows, seed=7):
    everything = ratings_of(rows)
    order = np.random.default_rng(seed).permutation(len(everything))
    tenth = len(order) // 10
    return everything.take(np.sort(order[tenth:])).compact(), everything.take(order[:tenth])


def bias_only(known, test):
    """Predict with fixed-strength shrinkage, which is a good choice for ratings from 1 to 5."""
    mean = known.rating.mean()
    users, items = np.zeros(len(known.users)), np.zeros(len(known.items))
    for _ in range(10):
        rest = known.rating - mean - users[known.user]
        items = np.bincount(known.item, rest, len(items)) / (
            np.bincount(known.item, minlength=len(items)) + 5
        )
        rest = known.rating - mean - items[known.item]
        users = np.bincount(known.user, rest, len(users)) / (
            np.bincount(known.user, minlength=len(users)) + 5
        )
    user, item = known.index(test)
    predicted = mean + np.where(user >= 0, users[user], 0) + np.where(item >= 0, items[item], 0)
    return float(np.sqrt(((predicted - test.rating) ** 2).mean()))


def test_with_biases_it_is_clearly_better_than_biases_alone_and_than_the_samples_model():
    errors = []
    for seed in (1, 2, 3):
        known, test = halves(movies(seed))
        biased = train._model(BIASED, known, fit(BIASED, known, 20)[0]).rmse(known, test)
        sample = train._model(WALS, known, fit(WALS, known, 20)[0]).rmse(known, test)
        errors.append((biased, bias_only(known, test), sample))
        assert biased < errors[-1][1] - 0.02
        assert biased < errors[-1][2] - 0.1
    # A tenth of 100,000 rows measures to about 0.007.
    assert np.mean(errors, axis=0)[0] < 0.92


def test_on_ratings_without_structure_it_keeps_to_the_mean():
    random = np.random.default_rng(0)
    rows = (random.integers(0, 100, 3000), random.integers(0, 80, 3000), random.normal(3, 1, 3000))
    known, test = halves(rows)
    model = train._model(BIASED, known, fit(BIASED, known, 20)[0])
    assert model.rmse(known, test) < 1.02 * float(np.std(test.rating))


def test_equal_ratings_are_no_problem():
    rows = (np.repeat(np.arange(20), 5), np.tile(np.arange(5), 20), np.full(100, 4.0))
    known = ratings_of(rows)
    parameters = {**BIASED, "latent_factors": 3}
    model = train._model(parameters, known, fit(parameters, known, 5)[0])
    np.testing.assert_allclose(model.predict(known.user, known.item), 4, atol=1e-4)


def test_regularization_and_unobserved_weight_shrink_the_factors_of_a_biased_model_too(small):
    def size(**changes):
        state = fit({**BIASED, **changes}, small, 10)[0].state()
        return float(np.square(state["user_mean"][:, :-1] @ state["item_mean"][:, :-1].T).mean())

    assert size(regularization=50.0) < 0.5 * size()
    assert size(unobs_weight=1.0) < 0.8 * size()
