"""What is removed from the model store to save space, and what never is."""

from datetime import UTC, datetime, timedelta

import pytest

from airflow_ml_provider.models.errors import DocumentNotFound, InvalidRecord, OlderData, VersionPruned
from tests.emulator.test_model_store_champion import (  # noqa: F401
    FOLDER,
    acts,
    address,
    bucket,
    client,
    decision,
    promote,
    store,
    trained,
)

LATER = timedelta(days=30)
EVIDENCE = b'{"any": "evidence"}'


@pytest.fixture
def aged(store):  # noqa: F811
    """Return the store as it is a month later, when no job can be at work any more."""
    store._clock = lambda: datetime.now(UTC) + LATER
    return store


def names(bucket, version):  # noqa: F811
    prefix = f"{FOLDER}/versions/{version}/"
    return sorted(blob.name.removeprefix(prefix) for blob in bucket.list_blobs(prefix=prefix))


def test_old_models_go_and_their_evidence_stays(aged, bucket):  # noqa: F811
    trained(bucket, *"abcdef")
    bucket.blob(f"{FOLDER}/versions/a/evaluation.json").upload_from_string(EVIDENCE)
    promote(aged, "e")

    assert aged.prune(2, by="nightly") == ["a", "b", "c", "d"]

    assert names(bucket, "a") == ["evaluation.json", "manifest.removed.json"]
    assert names(bucket, "e") == names(bucket, "f") == ["manifest.json", "saved_model/model.bin"]
    assert aged.verify("e")
    assert acts(aged) == [(1, "promoted", "e", "e"), (2, "pruned", "e", "e")]


def test_the_champion_and_what_a_rollback_returns_to_stay(aged, bucket):  # noqa: F811
    trained(bucket, *"abcdefgh")
    promote(aged, "a", "b", "c")

    assert aged.prune(1, by="nightly") == ["d", "e", "f", "g"]

    assert aged.rollback(by="anna", why="sold out", expected="c").version == "b"
    assert aged.rollback(by="anna", why="sold out", expected="b").version == "a"


def test_more_than_one_record_can_hold_are_removed_in_several_acts(aged, bucket):  # noqa: F811
    trained(bucket, *(f"v{number}" for number in range(8)))
    assert len(aged.prune(1, by="nightly")) == 7
    assert [record.act for record in aged.history()] == ["pruned", "pruned"]
    assert aged.prune(1, by="nightly") == []


def test_a_version_that_a_job_may_be_at_work_on_stays(store, bucket):  # noqa: F811
    trained(bucket, "a", "b", "c")
    bucket.blob(f"{FOLDER}/versions/c/manifest.json").delete()
    bucket.blob(f"{FOLDER}/versions/a/decision.json").upload_from_string(EVIDENCE)

    assert store.prune(1, by="nightly") == ["a"]
    assert names(bucket, "b") == ["manifest.json", "saved_model/model.bin"]
    assert names(bucket, "c") == ["saved_model/model.bin"]


def test_nothing_returns_to_a_version_that_is_being_removed(aged, bucket, monkeypatch):  # noqa: F811
    trained(bucket, "a", "b", "c")
    promote(aged, "b")
    remove = aged.remove_model

    def killed(version):
        raise KeyboardInterrupt

    monkeypatch.setattr(aged, "remove_model", killed)
    with pytest.raises(KeyboardInterrupt):
        aged.prune(1, by="nightly")
    assert names(bucket, "a") == ["manifest.json", "saved_model/model.bin"]

    with pytest.raises(VersionPruned, match=r"versions/a/: its files were removed"):
        aged.rollback("a", by="anna", why="better")
    with pytest.raises(VersionPruned):
        aged.promote("a", decision("a", "b"), by="night")

    monkeypatch.setattr(aged, "remove_model", remove)
    assert aged.prune(1, by="nightly") == ["a"], "the next call finishes what was begun"
    with pytest.raises(VersionPruned):
        aged.rollback("a", by="anna", why="better")


def test_a_rollback_that_comes_first_keeps_its_version(aged, bucket, monkeypatch):  # noqa: F811
    trained(bucket, "a", "b", "c")
    promote(aged, "b")
    removable = aged._removable

    def overtaken(keep_last):
        found = removable(keep_last)
        aged.rollback("a", by="anna", why="better")
        return found

    monkeypatch.setattr(aged, "_removable", overtaken)
    assert aged.prune(1, by="nightly") == []
    assert aged.verify("a")


def test_a_removed_version_says_so_to_whoever_wants_it_long_after(aged, bucket):  # noqa: F811
    trained(bucket, *(f"v{number}" for number in range(8)))
    aged.prune(1, by="nightly")
    with pytest.raises(DocumentNotFound, match=r"versions/v0/manifest\.json does not exist"):
        aged.promote("v0", by="anna", why="again")


@pytest.mark.parametrize("keep", [0, -1])
def test_keeping_nothing_is_refused(store, keep):  # noqa: F811
    with pytest.raises(InvalidRecord, match="keep at least one"):
        store.prune(keep, by="nightly")


NIGHT = datetime(2026, 11, 20, 3, tzinfo=UTC)


def test_a_backfill_of_older_data_does_not_overtake_a_newer_champion(store, bucket):  # noqa: F811
    trained(bucket, "tuesday", "monday", "wednesday")
    store.promote("tuesday", decision("tuesday", None), by="night", data_until=NIGHT)

    with pytest.raises(OlderData, match=r"monday was trained on data until 2026-11-19.*tuesday"):
        store.promote(
            "monday", decision("monday", "tuesday"), by="backfill", data_until=NIGHT - timedelta(days=1)
        )

    champion = store.promote(
        "wednesday", decision("wednesday", "tuesday"), by="night", data_until=NIGHT + timedelta(days=1)
    )
    assert champion.version == "wednesday"


def test_a_backfill_replaces_a_newer_champion_when_it_is_told_to(store, bucket):  # noqa: F811
    trained(bucket, "tuesday", "monday")
    store.promote("tuesday", decision("tuesday", None), by="night", data_until=NIGHT)
    monday = NIGHT - timedelta(days=1)
    store.promote(
        "monday", decision("monday", "tuesday"), by="anna", why="rebuilt", data_until=monday, force=True
    )
    assert store.champion().version == "monday"


def test_after_a_rollback_the_data_of_the_version_in_production_counts(store, bucket):  # noqa: F811
    trained(bucket, "monday", "wednesday", "tuesday")
    store.promote("monday", decision("monday", None), by="night", data_until=NIGHT)
    store.promote(
        "wednesday", decision("wednesday", "monday"), by="night", data_until=NIGHT + timedelta(days=2)
    )
    store.rollback(by="anna", why="sold out", expected="wednesday")

    store.promote("tuesday", decision("tuesday", "monday"), by="night", data_until=NIGHT + timedelta(days=1))
    assert store.champion().version == "tuesday"


def test_a_time_without_a_zone_is_refused(store, bucket):  # noqa: F811
    trained(bucket, "v1")
    with pytest.raises(InvalidRecord, match="without a time zone"):
        store.promote("v1", decision("v1", None), by="night", data_until=datetime(2026, 1, 1))
