"""The streaming measurement, against slow and obvious computations of the same."""

import math

import numpy as np
import pyarrow as pa
import pytest


def batch(user, label, slices=None, item=None):
    from trainer.evaluation.models import Batch

    return Batch(pa.table({}), unit=user, label=label, slices=slices or {}, item=item)


def said(values, known=None, **columns):
    from trainer.evaluation.models import Predictions

    return Predictions(values, known, columns)


def measure(task, user, label, predictions, *, order=None, parts=1, slices=None, **options):
    from trainer.evaluation.measurement import Measurement

    names = ["challenger", "champion", "anchor"][: len(predictions)]
    measurement = Measurement(names, task, **options)
    order = np.arange(len(user)) if order is None else order
    for rows in np.array_split(order, parts):
        chosen = {name: values[rows] for name, values in (slices or {}).items()}
        measurement.add(batch(user[rows], label[rows], chosen), [said(p[rows]) for p in predictions])
    return measurement


@pytest.fixture(scope="module")
def scored():
    """Binary labels of 300 users, and probabilities of three models; rows of one user are alike."""
    random = np.random.default_rng(1)
    user = random.integers(0, 300, 2000)
    logit = random.normal(size=300)[user] + random.normal(size=2000) - 1
    label = (random.random(2000) < 1 / (1 + np.exp(-logit))).astype(float)
    models = [1 / (1 + np.exp(-(logit + s * random.normal(size=2000)))) for s in (0.5, 0.7, 0.9)]
    return user, label, models


def slow_auc(label, score):
    positive, negative = score[label == 1], score[label == 0]
    return np.searchsorted(np.sort(negative), positive).mean() / len(negative)


def slow_pr_auc(label, score):
    order = np.argsort(-score)
    precision = np.cumsum(label[order]) / np.arange(1, len(label) + 1)
    return (precision * label[order]).sum() / label.sum()


def slow_calibration(label, score):
    place = np.minimum((score * 20).astype(int), 19)
    gaps = [abs((label - score)[place == at].sum()) for at in range(20)]
    return sum(gaps) / len(label)


def test_metrics_of_binary_labels_are_those_of_the_definitions(scored):
    user, label, models = scored
    found = measure("binary", user, label, models, parts=3).result()["metrics"]
    for at, score in enumerate(models):
        expected = {
            "log_loss": -np.log(np.where(label == 1, score, 1 - score)).mean(),
            "accuracy": ((score >= 0.5) == label).mean(),
            "auc": slow_auc(label, score),
            "pr_auc": slow_pr_auc(label, score),
            "calibration_error": slow_calibration(label, score),
        }
        for name, value in expected.items():
            # Those of the histogram are as exact as its bins; a few rows lie across a limit of calibration.
            play = {"auc": 1e-3, "pr_auc": 2e-3, "calibration_error": 5e-3}.get(name, 1e-9)
            assert found[name]["values"][at] == pytest.approx(value, abs=play), name


def test_auc_is_right_where_positives_are_rare_and_probabilities_tiny():
    random = np.random.default_rng(2)
    label = (random.random(200_000) < 0.001).astype(float)
    score = np.exp(-9 + 1.5 * label + random.normal(size=200_000)).clip(0, 1)
    found = measure("binary", np.arange(200_000), label, [score]).result()["metrics"]
    assert found["auc"]["values"][0] == pytest.approx(slow_auc(label, score), abs=2e-4)


def test_labels_of_several_classes_have_log_loss_and_accuracy():
    random = np.random.default_rng(3)
    score = random.dirichlet([1, 1, 1], 500)
    label = random.integers(0, 3, 500).astype(float)
    found = measure("multiclass", np.arange(500), label, [score]).result()["metrics"]
    chosen = score[np.arange(500), label.astype(int)]
    assert found["log_loss"]["values"][0] == pytest.approx(-np.log(chosen).mean())
    assert found["accuracy"]["values"][0] == pytest.approx((score.argmax(1) == label).mean())


def test_standard_errors_agree_with_a_bootstrap_over_users(scored):
    user, label, models = scored
    found = measure("binary", user, label, models).result()["metrics"]
    random = np.random.default_rng(4)
    rows = [np.flatnonzero(user == one) for one in np.unique(user)]
    drawn = {"log_loss": [], "auc": []}
    for _ in range(300):
        again = np.concatenate([rows[at] for at in random.integers(0, len(rows), len(rows))])
        y, a, b = label[again], models[0][again], models[1][again]
        drawn["auc"].append(slow_auc(y, a) - slow_auc(y, b))
        loss = [-np.log(np.where(y == 1, s, 1 - s)).mean() for s in (a, b)]
        drawn["log_loss"].append(loss[0] - loss[1])
    for name, values in drawn.items():
        # 300 resamples know their own spread to 4 %, and the groups theirs to about 5 %.
        assert found[name]["standard_errors"][0][1] == pytest.approx(np.std(values), rel=0.2), name


def close(one, other):
    """Tell whether two results agree but for the order in which numbers were added."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return one == other


def by_name(result):
    return {**result, "slices": {f"{s['column']}={s['value']}": s for s in result["slices"]}}


def test_neither_order_nor_batches_nor_shards_change_the_result(scored):
    user, label, models = scored
    slices = {"country": np.array(["DE", "FR", "IT"])[user % 3], "device": (user % 2).astype(str)}
    whole = measure("binary", user, label, models, slices=slices)
    order = np.random.default_rng(5).permutation(len(user))
    turned = measure("binary", user, label, models, order=order, parts=7, slices=slices)
    shards = [
        measure("binary", user, label, models, order=rows, slices=slices) for rows in np.array_split(order, 3)
    ]
    for shard in shards[1:]:
        shards[0].merge(shard)
    expected = by_name(whole.result())
    assert close(by_name(turned.result()), expected)
    assert close(by_name(shards[0].result()), expected)


def test_a_slice_is_measured_as_its_rows_alone_would_be(scored):
    user, label, models = scored
    country = np.array(["DE", "FR"])[user % 2]
    found = measure("binary", user, label, models, slices={"country": country}).result()["slices"]
    rows = np.flatnonzero(country == "FR")
    alone = measure("binary", user[rows], label[rows], [model[rows] for model in models]).result()
    (part,) = [part for part in found if part["value"] == "FR"]
    assert (part["column"], part["rows"]) == ("country", len(rows))
    assert part["units"] == pytest.approx(150, abs=2)
    for name in ("log_loss", "accuracy", "auc"):
        one, other = part["metrics"][name], alone["metrics"][name]
        assert one["values"] == pytest.approx(other["values"], abs=1e-3)
        # 64 groups instead of 256 know the spread less well.
        assert one["standard_errors"][0][1] == pytest.approx(other["standard_errors"][0][1], rel=0.4)


def test_values_beyond_the_limit_share_one_slice():
    from trainer.evaluation.measurement import OTHER, SLICE_LIMIT

    user = np.arange(5000)
    slices = {"item": user.astype(str), "even": user % 2}
    found = measure("regression", user, user * 1.0, [user + 1.0], parts=4, slices=slices).result()["slices"]
    assert len(found) <= SLICE_LIMIT
    rows = {(part["column"], part["value"]): part["rows"] for part in found}
    assert rows["item", OTHER] > 4000
    assert sum(n for (column, _), n in rows.items() if column == "item") == 5000
    assert sum(n for (column, _), n in rows.items() if column == "even") == 5000


def test_ids_hash_alike_whatever_array_they_come_in():
    from trainer.evaluation.groups import keys_of

    texts = ["", "a", "user-00000017", "ü" * 20, "b" * 64]
    plain = pa.array(texts)
    expected = keys_of(plain).tolist()
    assert len(set(expected)) == len(texts)
    for array in (
        plain.dictionary_encode(),
        plain.cast(pa.large_string()),
        pa.chunked_array([plain[:2], plain[2:]]),
    ):
        assert keys_of(array).tolist() == expected
    assert keys_of(np.array(texts, object)).tolist() == expected
    assert keys_of(plain.slice(2)).tolist() == expected[2:]
    assert keys_of(pa.array([7, None, 8]))[[0, 2]].tolist() == keys_of(np.array([7, 8])).tolist()


def test_weights_of_resamples_are_poisson_and_differ_by_seed():
    from trainer.evaluation.groups import poisson_weights

    weights = poisson_weights(1, 256, 1000)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(math.exp(-1), abs=0.005)
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.25
    assert (poisson_weights(1, 256, 1000) == weights).all()
    assert (poisson_weights(2, 256, 1000) != weights).mean() > 0.5


def test_the_holdout_s_hash_is_of_the_rows(scored):
    user, label, models = scored
    one = measure("binary", user, label, models[:1]).result()["holdout"]
    assert measure("binary", user, label, models[1:2]).result()["holdout"] == one
    changed = label.copy()
    changed[7] = 1 - changed[7]
    assert measure("binary", user, changed, models[:1]).result()["holdout"] != one
    twice = np.append(np.arange(len(user)), 0)
    assert measure("binary", user, label, models[:1], order=twice).result()["holdout"] != one


def test_a_prediction_that_is_no_number_leaves_no_metric_of_that_model():
    user, label = np.arange(100), np.tile([0.0, 1.0], 50)
    broken = np.full(100, 0.4)
    broken[3] = np.nan
    found = measure("binary", user, label, [broken, np.linspace(0, 1, 100)]).result()["metrics"]
    for entry in found.values():
        assert math.isnan(entry["values"][0]) and not math.isnan(entry["values"][1])
        assert entry["standard_errors"] is None


def test_without_positives_there_is_no_auc_but_a_log_loss():
    found = measure("binary", np.arange(50), np.zeros(50), [np.linspace(0, 0.5, 50)]).result()["metrics"]
    assert math.isnan(found["auc"]["values"][0]) and found["log_loss"]["standard_errors"] is not None


def test_labels_and_predictions_that_do_not_fit_the_task_are_refused():
    from trainer.errors import InputError

    user = np.arange(3)
    for task, label, values, words in (
        ("binary", [0.0, 1.0, 2.0], [0.1, 0.2, 0.3], "label 2"),
        ("binary", [0.0, 1.0, 1.0], [0.1, 0.2, 3.0], "predicts 3"),
        ("binary", [0.0, 1.0, 1.0], [0.1, 0.2], "predicts 2 rows of 3"),
        ("multiclass", [0.0, 1.0, 5.0], [[0.5, 0.5]] * 3, "labels to 5"),
    ):
        with pytest.raises(InputError, match=words):
            measure_once(task, user, np.array(label), np.array(values))


def measure_once(task, user, label, values):
    from trainer.evaluation.measurement import Measurement

    Measurement(["challenger"], task).add(batch(user, label), [said(values)])


def test_columns_of_the_models_own_become_metrics():
    from trainer.errors import InputError
    from trainer.evaluation.measurement import Measurement

    measurement = Measurement(["challenger", "champion"], "columns", higher=["clicks"])
    user = np.arange(40) // 2
    columns = [np.arange(40.0), np.arange(40.0) + 1]
    zeros = np.zeros(40)
    measurement.add(batch(user, zeros), [said(zeros, clicks=column) for column in columns])
    found = measurement.result()["metrics"]
    assert found["clicks"]["direction"] == "higher"
    assert found["clicks"]["values"] == [19.5, 20.5]
    assert found["clicks"]["standard_errors"][0][1] == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="models can only be compared by what all of them have"):
        measurement.add(batch(user, zeros), [said(zeros, clicks=zeros), said(zeros, views=zeros)])


def slow_ranking(label, score, k, relevant_from):
    order = np.argsort(-score)
    gain, relevant = np.maximum(label, 0)[order], (label >= relevant_from)[order]
    discount = 1 / np.log2(np.arange(2, k + 2))
    top = gain[:k]
    ideal = np.sort(gain)[::-1][:k]
    hits = relevant[:k]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    total = relevant.sum()
    return (
        (top * discount[: len(top)]).sum() / (ideal * discount[: len(ideal)]).sum(),
        hits.sum() / total if total else None,
        (precision * hits).sum() / min(total, k) if total else None,
    )


def test_each_user_s_order_is_measured_wherever_the_rows_stand():
    from trainer.evaluation.measurement import Measurement
    from trainer.evaluation.ranking import Ranking

    random = np.random.default_rng(6)
    user, label = random.integers(0, 80, 1000), random.integers(1, 6, 1000).astype(float)
    score = random.normal(size=1000)
    measurement = Measurement(["challenger"], "regression", ranking=Ranking(5, 4.0))
    for rows in np.array_split(random.permutation(1000), 4):
        measurement.add(batch(user[rows], label[rows]), [said(score[rows])])
    found = measurement.result()["metrics"]
    expected = [slow_ranking(label[user == one], score[user == one], 5, 4.0) for one in np.unique(user)]
    for at, name in enumerate(("ndcg@5", "recall@5", "map@5")):
        values = [row[at] for row in expected if row[at] is not None]
        assert found[name]["rows"] == len(values)
        assert found[name]["values"][0] == pytest.approx(np.mean(values))


def test_rows_that_are_predicted_equally_share_their_places():
    from trainer.evaluation.ranking import user_metrics

    unit, score = np.zeros(4, np.uint64), np.zeros(4)
    found = user_metrics(unit, score, np.array([1.0, 0, 0, 0]), 2, 1.0)
    assert found["recall"][0] == pytest.approx(0.5)
    assert found["ndcg"][0] == pytest.approx((1 + 1 / math.log2(3)) / 4)


def test_memory_does_not_grow_with_the_rows():
    import tracemalloc

    from trainer.evaluation.measurement import Measurement

    random = np.random.default_rng(7)
    label = random.integers(0, 2, 20_000).astype(float)
    scores = [random.random(20_000) for _ in range(2)]
    peaks = []
    for batches in (2, 20):
        tracemalloc.start()
        measurement = Measurement(["challenger", "champion"], "binary")
        for at in range(batches):
            measurement.add(batch(np.arange(20_000) + at * 20_000, label), [said(s) for s in scores])
        measurement.result()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


@pytest.fixture
def rows_file(tmp_path):
    """Scored rows as any image may write them."""
    path = tmp_path / "rows.csv"
    lines = ["person,clicked,country,challenger,champion,challenger.revenue,champion.revenue"]
    random = np.random.default_rng(8)
    for at in range(600):
        truth = random.integers(0, 2)
        scores = ",".join(f"{abs(truth - noise):.4f}" for noise in random.random(2) * 0.6)
        lines.append(f"p{at % 90},{truth},{'DE' if at % 3 else 'FR'},{scores},{at},{at + 1}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_that_any_image_scored_are_measured(task, rows_file, tmp_path):
    import json

    output = tmp_path / "evaluation.json"
    code, _, errors = task(
        "evaluate", "--scored", "--unit", "person", "--label", "clicked", "--slice", "country",
        "--column", "revenue:higher", "--challenger", "gs://b/v2", "--champion", "gs://b/v1",
        "--test-file", rows_file, "--output", output,
    )  # fmt: skip
    assert (code, errors) == (0, "")
    found = json.loads(output.read_text())
    assert (found["rows"], found["units"], found["unit"]) == (600, 90, "person")
    assert found["models"]["champion"]["uri"] == "gs://b/v1/"
    assert set(found["metrics"]) == {"log_loss", "accuracy", "auc", "pr_auc", "calibration_error", "revenue"}
    assert found["metrics"]["revenue"]["direction"] == "higher"
    assert found["metrics"]["revenue"]["values"] == [299.5, 300.5]
    assert {part["value"]: part["rows"] for part in found["slices"]} == {"DE": 400, "FR": 200}
    assert found["models"]["challenger"]["serving"] is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--unit must name"),
        (["--unit", "person"], "give --label and --task, or --column"),
        (["--unit", "person", "--task", "regression"], "needs the column of the truth"),
        (["--unit", "user", "--label", "clicked"], "column user is missing; found person, clicked"),
        (
            ["--unit", "person", "--column", "profit"],
            "column challenger.profit and champion.profit is missing",
        ),
    ],
)
def test_scored_rows_that_lack_something_are_refused(task, rows_file, tmp_path, flags, words):
    arguments = ["--challenger", "v2", "--champion", "v1", "--test-file", rows_file]
    code, _, errors = task("evaluate", "--scored", *flags, *arguments, "--output", tmp_path / "e.json")
    assert code == 2 and words in errors, errors
