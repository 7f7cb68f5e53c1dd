"""Ratings that are like MovieLens-100K in size, sparsity and in how well simple models predict them."""

from __future__ import annotations

import numpy as np


def movies(seed, users=943, items=1682, ratings=100_000, factors=60):
    """Return user, item and rating (1 to 5) of each row.

    Some users rate a lot and some items are rated a lot, tastes decide what is watched, popular items are
    rated better, and the tastes' weights fall one after the other. The mean alone predicts with an error of
    about 1.13, and user and item biases with one of about 0.94, as for MovieLens-100K.
    """
    random = np.random.default_rng(seed)
    activity = np.exp(random.normal(3.9, 1.0, users))
    activity = 20 + activity * max(ratings - 20 * users, 0) / activity.sum()
    popularity = 1 / (np.arange(items) + 30.0) ** 1.6
    weight = 0.85 ** np.arange(factors)
    weight /= np.sqrt((weight**2).sum())
    taste = random.normal(size=(users, factors)) * weight
    trait = random.normal(size=(items, factors))
    item_bias = 0.58 * random.normal(size=items) + 0.75 * (0.35 - np.arange(items) / items)
    user_bias = 0.48 * random.normal(size=users)
    user, item = [], []
    for one in range(users):
        count = min(int(activity[one]), items - 1)
        wish = np.log(popularity) + random.gumbel(size=items) + 0.3 * trait @ taste[one]
        user.append(np.full(count, one))
        item.append(np.argpartition(-wish, count)[:count])
    user, item = np.concatenate(user), np.concatenate(item)
    rating = 3.45 + user_bias[user] + item_bias[item] + 0.46 * (taste[user] * trait[item]).sum(1)
    rating += 0.895 * random.normal(size=len(user))
    order = random.permutation(len(user))
    return user[order], item[order], np.clip(np.rint(rating), 1, 5)[order]


def write_csv(path, rows, prefix=""):
    """Write rows with a header as BigQuery exports them."""
    lines = [f"{prefix}{u},{prefix}{i},{r:g}\n" for u, i, r in zip(*rows, strict=True)]
    path.write_text("userId,itemId,rating\n" + "".join(lines))
    return path


def write_u_data(path, rows):
    """Write rows as in MovieLens' u.data."""
    path.write_text("".join(f"{u + 1}\t{i + 1}\t{r:g}\t881250949\n" for u, i, r in zip(*rows, strict=True)))
    return path
