"""What a version answers: the SavedModel, evaluation and prediction."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from .movies import movies, write_csv

SMALL = movies(6, users=60, items=50, ratings=1500)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Train two versions once: with and without biases."""
    from trainer.task import main

    folder = tmp_path_factory.mktemp("versions")
    data = write_csv(folder / "ratings.csv", SMALL, prefix="x")
    for name, flags in {"biased": [], "plain": ["--no-bias"]}.items():
        arguments = ["--train-file", str(data), "--output-dir", str(folder / name), "--test-fraction", "0"]
        assert main([*arguments, *flags]) == 0
    return folder


def load(version):
    return tf.saved_model.load(str(version / "saved_model")).signatures


def score(signatures, users, items):
    answer = signatures["score"](user_ids=tf.constant(users), item_ids=tf.constant(items))
    return answer["predictions"].numpy(), answer["known"].numpy()


def recommend(signatures, users, k):
    answer = signatures["serving_default"](user_ids=tf.constant(users), k=tf.constant(k))
    return answer["item_ids"].numpy().astype(str), answer["scores"].numpy()


@pytest.mark.parametrize("name", ["biased", "plain"])
def test_recommendations_are_the_best_scores_among_what_was_not_rated(versions, name):
    signatures = load(versions / name)
    user, item, _ = SMALL
    ids, scores = recommend(signatures, ["x3", "x7"], 10)
    catalogue = [f"x{n}" for n in sorted(set(item.tolist()))]
    for row, one in enumerate((3, 7)):
        rated = {f"x{n}" for n in item[user == one].tolist()}
        rest = [i for i in catalogue if i not in rated]
        predictions, known = score(signatures, [f"x{one}"] * len(rest), rest)
        assert known.all()
        shown = [i for i in ids[row] if i]
        assert not rated & set(shown) and len(shown) == min(10, len(rest))
        best = np.sort(predictions)[::-1][: len(shown)]
        np.testing.assert_allclose(scores[row][: len(shown)], best, atol=1e-5)


def test_a_user_with_few_items_left_gets_empty_places_and_too_many_are_no_problem(versions):
    ids, scores = recommend(load(versions / "biased"), ["x3"], 1000)
    left = len(set(SMALL[1].tolist())) - len(set(SMALL[1][SMALL[0] == 3].tolist()))
    assert (ids[0] != "").sum() == left and np.isneginf(scores[0][left:]).all()
    assert recommend(load(versions / "biased"), ["x3"], 0)[0].shape == (1, 0)


def test_an_unknown_user_gets_what_is_popular(versions):
    for name in ("biased", "plain"):
        ids, scores = recommend(load(versions / name), ["who?", ""], 5)
        assert (ids[0] == ids[1]).all() and (ids != "").all() and (np.diff(scores[0]) <= 0).all()


def test_the_unknown_is_predicted_from_averages_and_said_to_be_unknown(versions):
    predictions, known = score(
        load(versions / "biased"), ["x1", "x1", "who?", "who?"], ["x1", "?", "x1", "?"]
    )
    assert known.tolist() == [True, False, False, False]
    assert np.isfinite(predictions).all() and (predictions >= 1).all() and (predictions <= 5).all()
    assert (score(load(versions / "plain"), ["who?"], ["x1"])[0] == 0).all()


@pytest.fixture
def held_out(tmp_path):
    rows = movies(8, users=60, items=50, ratings=1500)
    return write_csv(tmp_path / "holdout.csv", [column[:400] for column in rows], prefix="x"), rows


def test_an_evaluation_holds_the_sums_that_the_gate_needs(task, versions, held_out, tmp_path):
    path, (user, item, rating) = held_out
    code, _, errors = task(
        "evaluate", "--no-serving", "--challenger", versions / "biased", "--champion",
        f"{versions / 'plain'}/",
        "--test-file", path, "--output", tmp_path / "evaluation.json", "--batch-size", 64,
    )  # fmt: skip
    assert (code, errors) == (0, "")
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    user, item, rating = user[:400], item[:400], rating[:400]
    metrics, roots = evaluation["metrics"], {}
    for at, (side, name) in enumerate((("challenger", "biased"), ("champion", "plain"))):
        predictions, known = score(load(versions / name), [f"x{n}" for n in user], [f"x{n}" for n in item])
        errors = predictions - rating
        assert evaluation["models"][side]["uri"] == f"{versions / name}/"
        assert metrics["rmse"]["values"][at] == pytest.approx(math.sqrt((errors**2).mean()))
        assert metrics["mae"]["values"][at] == pytest.approx(np.abs(errors).mean())
        assert evaluation["models"][side]["coverage"] == pytest.approx(known.mean())
        assert evaluation["models"][side]["constant"] is False
        users = np.unique(user)
        roots[side] = np.array([math.sqrt((errors[user != one] ** 2).mean()) for one in users])
    assert (evaluation["rows"], evaluation["units"], evaluation["unit"]) == (400, len(users), "user")
    # Users are left out one by one here, and there in groups of which one may hold two.
    left_out = roots["challenger"] - roots["champion"]
    error = math.sqrt((len(users) - 1) / len(users) * ((left_out - left_out.mean()) ** 2).sum())
    assert metrics["rmse"]["standard_errors"][0][1] == pytest.approx(error, rel=0.1)


def test_without_a_champion_there_is_nothing_to_compare(task, versions, held_out, tmp_path):
    for champion in ([], ["--champion", ""], ["--champion="]):
        output = tmp_path / "evaluation.json"
        arguments = ["--challenger", versions / "biased", *champion, "--test-file", held_out[0]]
        assert task("evaluate", "--no-serving", *arguments, "--output", output)[0] == 0
        evaluation = json.loads(output.read_text())
        assert list(evaluation["models"]) == ["challenger"]


def test_the_fingerprint_is_of_the_rows_and_not_of_their_order(task, versions, held_out, tmp_path):
    def fingerprint(path):
        arguments = [
            "--challenger",
            versions / "biased",
            "--test-file",
            path,
            "--output",
            tmp_path / "e.json",
        ]
        assert task("evaluate", "--no-serving", *arguments)[0] == 0
        return json.loads((tmp_path / "e.json").read_text())["holdout"]["hash"]

    header, *lines = held_out[0].read_text().splitlines(keepends=True)
    turned, changed = tmp_path / "turned.csv", tmp_path / "changed.csv"
    turned.write_text(header + "".join(reversed(lines)))
    changed.write_text(header + "".join(lines[1:]))
    assert fingerprint(held_out[0]) == fingerprint(turned) != fingerprint(changed)


def test_a_model_that_says_the_same_of_all_is_called_constant(task, versions, tmp_path):
    path = write_csv(tmp_path / "strangers.csv", ([1, 2, 3], [1, 2, 3], [3, 4, 5]), prefix="stranger")
    arguments = ["--challenger", versions / "biased", "--test-file", path, "--output", tmp_path / "e.json"]
    assert task("evaluate", "--no-serving", *arguments)[0] == 0
    challenger = json.loads((tmp_path / "e.json").read_text())["models"]["challenger"]
    assert (challenger["constant"], challenger["coverage"]) == (True, 0.0)


def test_incomplete_and_changed_versions_are_refused(task, versions, held_out, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(versions / "biased", copy)
    arguments = ["--test-file", held_out[0], "--output", tmp_path / "e.json"]
    for damage, message in (
        (
            lambda: (copy / "saved_model/assets/users.txt").write_text("x1\n"),
            "is not the file that manifest.json lists",
        ),
        (lambda: (copy / "saved_model/assets/users.txt").unlink(), "users.txt: no such file"),
        (lambda: (copy / "manifest.json").write_text("{}"), "is not a manifest"),
        (lambda: (copy / "manifest.json").unlink(), "is not a complete version: it has no manifest.json"),
    ):
        damage()
        code, _, errors = task("evaluate", "--no-serving", "--challenger", copy, *arguments)
        assert code == 2 and message in errors, errors
        code, _, errors = task(
            "evaluate", "--no-serving", "--challenger", versions / "biased", "--champion", copy, *arguments
        )
        assert code == 2 and message in errors and str(copy) in errors
    assert not (tmp_path / "e.json").exists()


def test_an_empty_hold_out_is_refused_by_its_name(task, versions, tmp_path):
    empty = tmp_path / "holdout.csv"
    empty.write_text("userId,itemId,rating\n")
    arguments = ["--challenger", versions / "biased", "--test-file", empty, "--output", tmp_path / "e.json"]
    code, _, errors = task("evaluate", "--no-serving", *arguments)
    assert code == 2 and f"no rows: {empty}" in errors


def test_predictions_are_one_object_a_user(task, versions, tmp_path):
    (tmp_path / "users.csv").write_text("userId\nx1\n\nwho?\n")
    arguments = ["--model-dir", versions / "biased", "--users-file", tmp_path / "users.csv", "-k", 3]
    assert task("predict", *arguments, "--output", tmp_path / "best.ndjson", "--batch-size", 1)[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "best.ndjson").read_text().splitlines()]
    assert [line["user"] for line in lines] == ["x1", "who?"]
    ids, scores = recommend(load(versions / "biased"), ["x1"], 3)
    assert [entry["item"] for entry in lines[0]["items"]] == ids[0].tolist()
    assert [entry["score"] for entry in lines[0]["items"]] == pytest.approx(scores[0].tolist(), abs=1e-5)


def test_a_fresh_process_answers_as_the_trainer_did(task, versions, held_out, tmp_path):
    arguments = ["--challenger", versions / "biased", "--test-file", held_out[0]]
    assert task("evaluate", *arguments, "--output", tmp_path / "e.json")[0] == 0
    serving = json.loads((tmp_path / "e.json").read_text())["models"]["challenger"]["serving"]
    assert (serving["loads"], serving["identical"], serving["requests"]) == (True, True, 20), serving
    assert serving["latency_ms"] > 0 and serving["size_bytes"] > 1000


def test_a_model_that_answers_otherwise_or_not_at_all_is_found_out(versions, tmp_path):
    import shutil

    from trainer.evaluation.serving import try_serving

    copy = shutil.copytree(versions / "plain", tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    canary = json.loads((copy / "canary.json").read_text())
    canary["predictions"][3] += 0.5
    (copy / "canary.json").write_text(json.dumps(canary))
    found = try_serving(copy, manifest)
    assert (found["loads"], found["identical"]) == (True, False)
    assert found["problem"].startswith("request 4 gets ")
    (copy / "saved_model/saved_model.pb").write_bytes(b"nothing")
    found = try_serving(copy, manifest)
    assert found["loads"] is False and "saved_model" in found["problem"]
