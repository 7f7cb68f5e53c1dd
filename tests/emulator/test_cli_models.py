"""``airflow-ml models`` against Cloud Storage in the emulator."""

import json

import pytest
import yaml
from click.testing import CliRunner

from airflow_ml_provider.cli.main import main
from tests.emulator.test_model_store_champion import (  # noqa: F401
    BUCKET,
    FOLDER,
    address,
    bucket,
    promote,
    store,
    trained,
)


@pytest.fixture
def models(address, monkeypatch):  # noqa: F811
    """Return what runs ``airflow-ml models WORDS``."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setenv("AIRFLOW_ML_ROOT", f"gs://{BUCKET}/shop")
    return lambda *words: CliRunner().invoke(main, ["models", *words, "--project", "project"])


@pytest.fixture
def production(store, bucket):  # noqa: F811
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2")
    return store


def test_list_tells_who_is_in_production(models, production):
    assert models("list").output.splitlines()[0].split() == ["MODEL", "CHAMPION", "SINCE", "VERSIONS"]
    found = json.loads(models("list", "--format", "json").output)
    assert [(m["model"], m["champion"], m["versions"]) for m in found] == [("recommender", "v2", 3)]


def test_show_tells_where_a_version_comes_from(models, production):
    shown = yaml.safe_load(models("show", "recommender", "--format", "yaml").output)
    assert (shown["version"], shown["in_production"], shown["by"], shown["seed"]) == ("v2", True, "night", 7)
    other = models("show", "recommender", "--version", "v3")
    assert "in production  false" in other.output


def test_history_tells_every_act_oldest_first(models, production):
    lines = models("history", "recommender").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["1", "2"]
    assert len(models("history", "recommender", "--limit", "1").output.splitlines()) == 2


def test_diff_tells_what_two_versions_do_not_share(models, production, bucket):  # noqa: F811
    assert models("diff", "recommender", "v1").output == "No difference.\n"
    blob = bucket.blob(f"{FOLDER}/versions/v3/manifest.json")
    changed = json.loads(blob.download_as_bytes()) | {"seed": 8, "arguments": {"rank": 5}}
    blob.upload_from_string(json.dumps(changed))
    found = json.loads(models("diff", "recommender", "v3", "--format", "json").output)
    assert found == [{"what": "seed", "v3": 8, "v2": 7}, {"what": "arguments.rank", "v3": 5, "v2": None}]


def test_verify_says_what_is_complete_and_what_is_not(models, production, bucket):  # noqa: F811
    good = models("verify", "recommender")
    assert good.exit_code == 0
    assert "v2: 1 files, 5 bytes" in good.output
    assert models("verify", "recommender", "--sha256").exit_code == 1, "the manifest's hash is made up"
    bucket.blob(f"{FOLDER}/versions/v2/saved_model/model.bin").delete()
    bad = models("verify", "recommender")
    assert bad.exit_code == 1
    assert "model.bin is missing" in bad.output


def test_a_gap_in_the_history_is_told(models, production, bucket):  # noqa: F811
    bucket.blob(f"{FOLDER}/history/000000000001.json").delete()
    found = models("verify", "recommender")
    assert found.exit_code == 1
    assert "lacks the records [1]" in found.output


def test_rollback_asks_and_tells_what_it_did(models, production):
    refused = CliRunner().invoke(
        main, ["models", "rollback", "recommender", "--why", "sold out", "--project", "project"], input="n\n"
    )
    assert refused.exit_code == 1
    assert production.champion().version == "v2"
    done = models("rollback", "recommender", "--why", "sold out", "--by", "anna", "--yes")
    assert done.output == "recommender: v1 is the champion, v2 is barred. Record 3.\n"
    record = production.champion().record
    assert (record.by, record.why) == ("anna", "sold out")


def test_prune_removes_what_nobody_needs(models, production, bucket):  # noqa: F811
    trained(bucket, "v4")
    bucket.blob(f"{FOLDER}/versions/v3/decision.json").upload_from_string("{}")
    assert models("prune", "recommender", "--keep-last", "1").output == "v3\n"
    assert models("prune", "recommender", "--keep-last", "1").output == "Nothing to remove.\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "nothing"), "nothing has no champion yet"),
        (("show", "recommender", "--version", "v9"), "versions/v9/manifest.json does not exist"),
        (
            ("rollback", "recommender", "--why", "x", "--yes", "--to", "v9"),
            "versions/v9/manifest.json does not",
        ),
        (("list", "--root", "s3://elsewhere"), "s3://elsewhere"),
        (("list", "--root", "gs://no-such-bucket/x"), "no bucket 'no-such-bucket'"),
    ],
)
def test_what_is_wrong_is_one_message_and_no_traceback(models, production, words, told):
    done = models(*words)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert told in done.output
