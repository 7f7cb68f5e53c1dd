"""A trained recommender: numbers and ids, whatever they were trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from trainer.ratings import Ratings

_CHUNK = 1 << 20


@dataclass(frozen=True)
class FoldIn:
    """How a user's unknowns ``u`` (factors, and the bias as the last one) follow from ratings.

    They solve ``(precision + Σ weight (v vᵀ + diag(variance))) u = pull + Σ target_weight (r - rest) v`` over
    the rated items, where ``v`` is an item's factors followed by 1 and ``rest`` what is predicted without the
    user. Where users have no bias, precision keeps it at 0.

    :param precision: a square matrix.
    :param pull: a vector.
    :param weight: of each item.
    :param target_weight: of each item.
    :param variance: of each item's factors, and 0.
    """

    precision: np.ndarray
    pull: np.ndarray
    weight: np.ndarray
    target_weight: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Recommender:
    """Predicts ``mean + user_bias + item_bias + user_factors · item_factors``.

    :param users: ids; one row of ``user_factors`` and ``user_bias`` each.
    :param items: ids; one row of ``item_factors``, ``item_bias`` and ``popularity`` each.
    :param user_factors: float32.
    :param item_factors: float32.
    :param user_bias: float32.
    :param item_bias: float32.
    :param mean: of all ratings, or 0 without biases.
    :param unknown_item_bias: what is expected of an item that it does not know.
    :param limits: lowest and highest prediction, or None if predictions are not limited.
    :param popularity: what ranks the items for users that it does not know.
    :param fold_in: how a new user's factors follow from ratings.
    """

    users: pa.StringArray
    items: pa.StringArray
    user_factors: np.ndarray
    item_factors: np.ndarray
    user_bias: np.ndarray
    item_bias: np.ndarray
    mean: float
    unknown_item_bias: float
    limits: tuple[float, float] | None
    popularity: np.ndarray
    fold_in: FoldIn

    def predict(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Return a prediction for each row, float32.

        :param user: indices into ``users``, -1 for an unknown one.
        :param item: indices into ``items``, -1 for an unknown one.
        """
        predicted = np.empty(len(user), np.float32)
        for start in range(0, len(user), _CHUNK):
            rows = slice(start, start + _CHUNK)
            u, i = user[rows], item[rows]
            both = (u >= 0) & (i >= 0)
            dot = np.where(both, np.einsum("nk,nk->n", self.user_factors[u], self.item_factors[i]), 0)
            own = np.where(u >= 0, self.user_bias[u], 0) + np.where(
                i >= 0, self.item_bias[i], self.unknown_item_bias
            )
            predicted[rows] = self.mean + own + dot
        return predicted if self.limits is None else np.clip(predicted, *self.limits)

    def rmse(self, known: Ratings, rows: Ratings) -> float:
        """Return the root of the mean squared error of the predictions for some rows.

        :param known: the rows that it was trained on, or any with the same users and items.
        :param rows: to predict.
        """
        user, item = known.index(rows)
        error = self.predict(user, item).astype(np.float64) - rows.rating
        return float(np.sqrt(np.mean(np.square(error))))


def seen_items(recommender: Recommender, ratings: Ratings) -> tuple[np.ndarray, np.ndarray]:
    """Return what each user has rated, which is not to be recommended again.

    :param ratings: ordered by user; users and items that the recommender does not know are left out.
    :returns: for each user where the own items start, with the end of the last one appended; and the items.
    """
    known = Ratings(
        recommender.users, recommender.items, np.array([], np.int32), np.array([], np.int32), np.array([]), ""
    )
    user, item = known.index(ratings)
    both = (user >= 0) & (item >= 0)
    user, item = user[both], item[both]
    order = np.lexsort((item, user))
    starts = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(recommender.users)))])
    return starts.astype(np.int64), item[order].astype(np.int32)
