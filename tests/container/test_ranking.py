"""Ranking metrics, against their definitions written out for one user after the other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from trainer import ranking
from trainer.ranking import ranking_metrics
from trainer.ratings import Ratings
from trainer.recommender import FoldIn, Recommender

NOTHING = np.zeros(0)


def model_of(users, items, seed=0):
    random = np.random.default_rng(seed)
    return Recommender(
        users=pa.array([f"u{n}" for n in range(users)]),
        items=pa.array([f"i{n}" for n in range(items)]),
        user_factors=random.normal(size=(users, 3)).astype(np.float32),
        item_factors=random.normal(size=(items, 3)).astype(np.float32),
        user_bias=np.zeros(users, np.float32),
        item_bias=random.normal(size=items).astype(np.float32),
        mean=3.0,
        unknown_item_bias=0.0,
        limits=None,
        popularity=random.normal(size=items).astype(np.float32),
        fold_in=FoldIn(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING),
    )


def rows_of(model, seed, count, strangers=0):
    """Return random rows, some of users and items that the model does not know."""
    random = np.random.default_rng(seed)
    users = pa.array([*model.users.to_pylist(), *(f"x{n}" for n in range(strangers))])
    items = pa.array([*model.items.to_pylist(), *(f"x{n}" for n in range(strangers))])
    pairs = random.choice(len(users) * len(items), count, replace=False)
    user, item = (part.astype(np.int32) for part in np.divmod(pairs, len(items)))
    return Ratings(
        users, items, user, item, random.integers(1, 6, count).astype(np.float32), "ratings"
    ).merged()


def slowly(model, known, test):
    items = model.items.to_pylist()
    seen = {
        (known.users[u].as_py(), known.items[i].as_py()) for u, i in zip(known.user, known.item, strict=True)
    }
    liked = {}
    for u, i, r in zip(test.user, test.item, test.rating, strict=True):
        pair = test.users[u].as_py(), test.items[i].as_py()
        if r >= known.rating.mean() and pair not in seen:
            liked.setdefault(pair[0], []).append(pair[1])
    results = []
    for user, wanted in liked.items():
        if user in model.users.to_pylist():
            at = model.users.to_pylist().index(user)
            scores = model.item_factors @ model.user_factors[at] + model.item_bias
        else:
            scores = model.popularity
        order = [items[n] for n in np.argsort(-scores) if (user, items[n]) not in seen]
        hits = [item in wanted for item in order]
        dcg = sum(hit / math.log2(at + 2) for at, hit in enumerate(hits[:10]))
        ideal = sum(1 / math.log2(at + 2) for at in range(min(len(wanted), 10)))
        precisions = [sum(hits[: at + 1]) / (at + 1) for at, hit in enumerate(hits) if hit]
        results.append((dcg / ideal, sum(hits[:10]) / len(wanted), sum(precisions) / len(wanted)))
    return dict(zip(("ndcg_at_10", "recall_at_10", "map"), np.mean(results, 0), strict=True))


@pytest.mark.parametrize("scores", [ranking._SCORES, 100])
def test_they_are_what_their_definitions_say(monkeypatch, scores):
    monkeypatch.setattr(ranking, "_SCORES", scores)
    model = model_of(30, 40)
    known, test = rows_of(model, 1, 300), rows_of(model, 2, 200, strangers=3)
    assert ranking_metrics(model, known, test, 0) == pytest.approx(slowly(model, known, test))


def test_a_model_that_knows_the_answer_scores_1_and_a_constant_one_almost_nothing():
    model = model_of(20, 500)
    known = rows_of(model, 1, 2000)
    test = replace(
        known,
        user=np.arange(20, dtype=np.int32),
        item=np.arange(20, dtype=np.int32),
        rating=np.full(20, 5, np.float32),
    )
    known = known.take(np.flatnonzero(known.user != known.item))
    knows = np.zeros((20, 500), np.float32)
    knows[np.arange(20), np.arange(20)] = 1
    perfect = replace(
        model, user_factors=np.eye(20, dtype=np.float32), item_factors=knows.T, item_bias=np.zeros(500)
    )
    assert set(ranking_metrics(perfect, known, test, 0).values()) == {1.0}
    constant = replace(perfect, item_factors=0 * perfect.item_factors)
    assert max(ranking_metrics(constant, known, test, 0).values()) < 0.01


def test_many_users_are_sampled_by_the_seed(monkeypatch):
    model = model_of(30, 40)
    known, test = rows_of(model, 1, 300), rows_of(model, 2, 200)
    full = ranking_metrics(model, known, test, 0)
    monkeypatch.setattr(ranking, "_USERS", 10)
    one, same, other = (ranking_metrics(model, known, test, seed) for seed in (1, 1, 2))
    assert one == same and one != other and one != full


def test_without_relevant_items_there_is_nothing_to_say():
    model = model_of(5, 6)
    known = rows_of(model, 1, 20)
    assert ranking_metrics(model, known, replace(known, rating=np.ones_like(known.rating)), 0) == {}
