"""What the exported model answers, against the same said slowly with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from trainer import train
from trainer.cluster import Cluster
from trainer.recommender import seen_items
from trainer.replicas import Replicas
from trainer.saved_model import save

from .test_wals import BIASED, WALS, ratings_of


@pytest.fixture(scope="module", params=["sample", "biased"])
def served(request, tmp_path_factory):
    parameters = {"sample": {**WALS, "regularization": 1.0}, "biased": {**BIASED, "latent_factors": 2}}
    random = np.random.default_rng(6)
    user, item = np.divmod(random.choice(60 * 50, 1500, replace=False), 50)
    tastes, traits = random.normal(size=(60, 2)), random.normal(size=(50, 2))
    ratings = ratings_of(
        (user, item, 3 + (tastes[user] * traits[item]).sum(1) + 0.1 * random.normal(size=1500))
    )
    training = train._training(parameters[request.param], 0, Replicas(Cluster(), 10), ratings)
    for _ in range(40):
        training.iterate("a test")
    model = train._model(parameters[request.param], ratings, training)
    folder = tmp_path_factory.mktemp("served") / "model"
    save(model, seen_items(model, ratings), folder)
    return tf.saved_model.load(str(folder)), model, ratings


def answers(signature, k, **inputs):
    result = signature(k=tf.constant(k), **{name: tf.constant(value) for name, value in inputs.items()})
    items = [[item.decode() for item in row] for row in result["item_ids"].numpy()]
    return items, result["scores"].numpy()


def test_similar_items_point_the_same_way_and_are_not_the_item_itself(served):
    loaded, model, _ = served
    items, scores = answers(loaded.signatures["similar_items"], 4, item_ids=["3", "what?", "7"])
    names = model.items.to_pylist()
    directions = model.item_factors / np.linalg.norm(model.item_factors, axis=1, keepdims=True)
    for row, name in ((0, "3"), (2, "7")):
        cosines = directions @ directions[names.index(name)]
        cosines[names.index(name)] = -np.inf
        best = np.argsort(-cosines)[:4]
        assert items[row] == [names[at] for at in best]
        np.testing.assert_allclose(scores[row], cosines[best], atol=1e-5)
    assert items[1] == [""] * 4 and np.isneginf(scores[1]).all()


def test_a_user_who_is_folded_in_gets_what_training_would_have_given(served):
    loaded, model, ratings = served
    own = ratings.user == 5
    item_ids = [[model.items[at].as_py() for at in ratings.item[own]]]
    folded, scores = answers(
        loaded.signatures["fold_in"], 5, item_ids=item_ids, ratings=[ratings.rating[own].tolist()]
    )
    trained, expected = answers(loaded.signatures["serving_default"], 5, user_ids=[model.users[5].as_py()])
    np.testing.assert_allclose(scores, expected, atol=0.05)
    assert len(set(folded[0]) & set(trained[0])) >= 4
    assert not set(folded[0]) & set(item_ids[0])


def test_folding_in_passes_over_padding_and_unknown_items_and_knows_what_is_popular(served):
    loaded, model, _ = served
    fold = loaded.signatures["fold_in"]
    padded, scores = answers(
        fold, 3, item_ids=[["3", "7", "what?", ""], ["", "", "", ""]], ratings=[[5.0, 1, 3, 0]] * 2
    )
    plain, alone = answers(fold, 3, item_ids=[["3", "7"]], ratings=[[5.0, 1]])
    assert padded[0] == plain[0] and not {"3", "7"} & set(plain[0])
    np.testing.assert_allclose(scores[0], alone[0], rtol=1e-5)
    names = model.items.to_pylist()
    assert padded[1] == [names[at] for at in np.argsort(-model.popularity, kind="stable")[:3]]
