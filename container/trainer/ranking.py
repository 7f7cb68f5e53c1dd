"""How well a recommender ranks: NDCG@10, recall@10 and MAP on held-out ratings.

A user's held-out items compete with all items that the user has not rated in training. Those are relevant
that the user rated at least as well as ratings are on average; of page views, all. Where the model gives
equal scores, the relevant item is taken to come last, so that a constant model does not look good. Items that
the model does not know can't be found, and count as missed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.ratings import Ratings
from trainer.recommender import Recommender, seen_items

_TOP = 10
# More users than this say hardly more.
_USERS = 10_000
_SCORES = 4 << 20


def ranking_metrics(model: Recommender, known: Ratings, test: Ratings, seed: int) -> dict[str, float]:
    """Return ``ndcg_at_10``, ``recall_at_10`` and ``map``, means over users; nothing if no item is relevant.

    :param model: to measure.
    :param known: the ratings that it was trained on, with the model's users and items.
    :param test: held-out ratings.
    :param seed: of the choice of users, where there are many.
    """
    relevant = _relevant(known, test)
    if not len(relevant):
        return {}
    users = np.unique(relevant.user)
    if len(users) > _USERS:
        users = np.sort(np.random.default_rng([seed, 3]).choice(users, _USERS, replace=False))
    sums = np.zeros(3)
    for ranks, count in _ranks(model, known, relevant, users):
        sums += _measures(ranks, count)
    return dict(zip(("ndcg_at_10", "recall_at_10", "map"), (sums / len(users)).tolist(), strict=True))


def _relevant(known: Ratings, test: Ratings) -> Ratings:
    """Return the relevant rows that are not in the training rows too, ordered by user."""
    user, item = known.index(test)
    width = len(known.items)
    keys = np.sort(known.user.astype(np.int64) * width + known.item)
    key = user.astype(np.int64) * width + item
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    seen = (user >= 0) & (item >= 0) & (keys[place] == key)
    liked = np.ones(len(test), bool)
    if test.data_type != "web_views":
        liked = test.rating >= known.rating.mean(dtype=np.float64)
    rows = np.flatnonzero(liked & ~seen)
    return test.take(rows[np.argsort(test.user[rows], kind="stable")])


def _ranks(
    model: Recommender, known: Ratings, relevant: Ratings, users: np.ndarray
) -> Iterator[tuple[np.ndarray, int]]:
    """Give each user's ranks of relevant items, from 1 and ascending, and how many are relevant."""
    user, item = known.index(relevant)
    first, last = (np.searchsorted(relevant.user, users, side) for side in ("left", "right"))
    starts, seen = seen_items(model, known)
    chunk = max(1, _SCORES // len(model.items))
    for begin in range(0, len(users), chunk):
        part = slice(begin, begin + chunk)
        own = user[first[part]]
        scores = model.user_factors[own] @ model.item_factors.T + model.item_bias
        scores[own < 0] = model.popularity
        for row, at in enumerate(own):
            if at >= 0:
                scores[row, seen[starts[at] : starts[at + 1]]] = -np.inf
        ordered = np.sort(scores, axis=1)
        for row, (start, end) in enumerate(zip(first[part], last[part], strict=True)):
            items = item[start:end]
            found = scores[row, items[items >= 0]]
            yield np.sort(scores.shape[1] - np.searchsorted(ordered[row], found)), int(end - start)


def _measures(ranks: np.ndarray, count: int) -> np.ndarray:
    top = ranks[ranks <= _TOP]
    gain = (1 / np.log2(top + 1)).sum()
    ideal = (1 / np.log2(np.arange(1, min(count, _TOP) + 1) + 1)).sum()
    precision = np.arange(1, len(ranks) + 1) / ranks
    return np.array([gain / ideal, len(top) / count, precision.sum() / count])
