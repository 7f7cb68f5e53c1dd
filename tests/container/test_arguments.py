"""The command line, the sample's and the tuning service's."""

from __future__ import annotations

import pytest
from trainer.arguments import hyperparameters, parse
from trainer.errors import InputError

DATA = ["--train-file", "ratings.csv", "--job-dir", "jobs/one"]


def effective(*words, data_type="ratings"):
    return hyperparameters(parse([*DATA, *words]), data_type)


def test_the_samples_flags_are_understood():
    line = (
        "--train-files a b --job-dir gs://b/jobs/x --output-dir gs://b/out --data-type ratings --delimiter , "
        "--headers --latent_factors 34 --num_iters 10 --regularization 9.8 --unobs_weight .001 --wt_type 1 "
        "--feature_wt_factor 189.8 --feature_wt_exp .08 --use-optimized --hypertune --verbose-logging"
    )
    arguments = parse(line.split())
    assert arguments.train_files == ["a", "b"]
    assert (arguments.latent_factors, arguments.wt_type, arguments.delimiter) == (34, "linear", ",")
    assert arguments.command == "train" and arguments.output_dir == "gs://b/out"


@pytest.mark.parametrize(
    "words",
    [
        ["--latent_factors", "80"],
        ["--latent-factors=80"],
        ["--latent_factors=80.0"],
        ["--latent-factors", "8e1"],
    ],
)
def test_hyperparameters_come_in_both_forms_and_integers_as_floats(words):
    assert effective(*words)["latent_factors"] == 80


def test_a_repeated_train_file_adds_and_the_last_hyperparameter_wins():
    arguments = parse([*DATA, "--train-file", "b", "c", "--num_iters=3", "--num-iters=4.0"])
    assert arguments.train_files == ["ratings.csv", "b", "c"] and arguments.num_iters == 4


def test_without_biases_the_defaults_are_the_samples():
    assert effective("--no-bias") == {
        "bias": False,
        "latent_factors": 5,
        "num_iters": 20,
        "regularization": 0.07,
        "unobs_weight": 0.01,
        "wt_type": "linear",
        "feature_wt_factor": 130.0,
        "feature_wt_exp": 0.08,
    }


def test_biases_are_the_default_for_ratings_and_not_for_page_views():
    assert effective()["bias"] and not effective(data_type="web_views")["bias"]
    assert effective("--bias", data_type="web_views")["bias"]


def test_page_views_have_log_weights_and_their_own_tuned_values():
    optimized = effective("--use-optimized", data_type="web_views")
    assert (optimized["wt_type"], optimized["feature_wt_exp"], optimized["latent_factors"]) == (
        "log",
        5.05,
        30,
    )
    assert effective("--wt_type", "1", data_type="web_views")["wt_type"] == "log"


def test_weight_types_mean_what_the_samples_code_did():
    assert effective("--no-bias", "--wt_type", "0")["wt_type"] == "log"
    assert effective("--no-bias", "--wt_type", "1.0")["wt_type"] == "linear"


def test_what_is_given_is_honoured_with_biases_too():
    given = effective("--regularization", "3", "--feature_wt_exp", "0.5")
    assert (given["regularization"], given["wt_type"], given["bias"]) == (3, "log", True)


def test_the_environment_gives_the_folders_that_flags_do_not(monkeypatch):
    monkeypatch.setenv("AIP_MODEL_DIR", "gs://b/model/")
    monkeypatch.setenv("AIP_CHECKPOINT_DIR", "gs://b/checkpoints/")
    arguments = parse(["--train-file", "x"])
    assert (arguments.output_dir, arguments.checkpoint_dir) == ("gs://b/model/", "gs://b/checkpoints/")
    assert parse(["--train-file", "x", "--output-dir", "o"]).output_dir == "o"


def test_the_job_folder_holds_checkpoints_and_by_default_the_version():
    arguments = parse(DATA)
    assert (arguments.output_dir, arguments.checkpoint_dir) == ("jobs/one", "jobs/one/checkpoints")


def test_a_bucket_is_where_relative_paths_are_meant_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").touch()
    line = "--train-file here.csv there.csv /abs --job-dir jobs/x --gcs-bucket gs://b"
    arguments = parse(line.split())
    assert arguments.train_files == ["here.csv", "gs://b/there.csv", "/abs"]
    assert arguments.output_dir == "gs://b/jobs/x"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: --train-file"),
        (["--train-file", "x"], "no place for the model"),
        ([*DATA, "--nope", "1"], "unrecognized arguments: --nope 1"),
        ([*DATA, "--latent"], "unrecognized arguments: --latent"),
        ([*DATA, "--latent_factors", "2.5"], "'2.5' is not an integer of at least 1"),
        ([*DATA, "--latent_factors", "0"], "'0' is not an integer of at least 1"),
        ([*DATA, "--latent_factors", "inf"], "'inf' is not an integer"),
        ([*DATA, "--regularization", "-1"], "'-1' is not a number of at least 0"),
        ([*DATA, "--regularization", "nan"], "'nan' is not a number"),
        ([*DATA, "--test-fraction", "1"], "'1' is not a number from 0 to 0.9"),
        ([*DATA, "--data-type", "movies"], "invalid choice: 'movies'"),
        ([*DATA, "--delimiter", "::"], "'::' is not one character"),
        ([*DATA, "--wt_type", "2"], "'2' is not 1 or linear"),
        ([*DATA, "--model-path", "old"], "--model-path: training can't start from an earlier model"),
        (["tune"], "unknown command 'tune'"),
        (["evaluate", "--challenger", "a"], "required: --test-file"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(words, message):
    with pytest.raises(InputError) as error:
        parse(words)
    assert message in str(error.value) and "\n" not in str(error.value)
