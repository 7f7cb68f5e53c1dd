"""The champion pointer and its history in Cloud Storage, with lost replies, crashes and races."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ml_provider.emulator.http import Application, Server
from airflow_ml_provider.emulator.storage.service import CloudStorage
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.models.decision import Check, Decision, Outcome
from airflow_ml_provider.models.errors import (
    ChampionChanged,
    IncompleteVersion,
    InvalidDocument,
    InvalidRecord,
    ModelStoreError,
    NoEarlierChampion,
    NotJustified,
    VersionBlocked,
)
from airflow_ml_provider.models.record import POINTER_LIMIT
from airflow_ml_provider.models.settings import GateSettings
from airflow_ml_provider.models.store import ModelStore

BUCKET = "models-bucket"
FOLDER = "shop/models/recommender"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Application([CloudStorage(ObjectStore(tmp_path / "storage"))]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    client(url).create_bucket(BUCKET)
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


def client(url: str, session: requests.Session | None = None) -> storage.Client:
    return storage.Client(
        project="project",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": url},
        _http=session,
    )


@pytest.fixture
def store(address: str) -> ModelStore:
    return ModelStore(client(address), root=f"gs://{BUCKET}/shop", model="recommender")


@pytest.fixture
def bucket(address: str) -> Any:
    return client(address).bucket(BUCKET)


def trained(bucket: Any, *versions: str) -> None:
    manifest = {
        "schema": 1,
        "model": "wals",
        "files": [{"path": "saved_model/model.bin", "size": 5, "sha256": "0" * 64}],
        "arguments": {},
        "seed": 7,
        "data": {"files": [], "rows": 10, "users": 3, "items": 4},
        "image": None,
        "job": None,
        "metrics": {},
        "framework": {},
        "created": "2026-11-20T03:00:00Z",
    }
    for version in versions:
        folder = f"{FOLDER}/versions/{version}"
        bucket.blob(f"{folder}/saved_model/model.bin").upload_from_string("model", if_generation_match=0)
        bucket.blob(f"{folder}/manifest.json").upload_from_string(json.dumps(manifest), if_generation_match=0)


def decision(
    challenger: str,
    champion: str | None,
    outcome: Outcome = Outcome.PROMOTE,
    *,
    anchor: str | None = None,
) -> Decision:
    return Decision(
        outcome=outcome,
        kind="comparison" if champion else "bootstrap",
        challenger=challenger,
        champion=champion,
        anchor=anchor or champion or challenger,
        value=0.9,
        rows=1000,
        holdout="",
        checks=(Check("comparison", outcome, f"{challenger} against {champion}."),),
        comparison=None,
        anchor_comparison=None,
        slices=(),
        settings=GateSettings(),
        fingerprint=f"{challenger}{champion}",
    )


def promote(store: ModelStore, *versions: str) -> None:
    for version in versions:
        champion = store.champion()
        store.promote(version, decision(version, champion.version if champion else None), by="night")


def acts(store: ModelStore) -> list[tuple[int, str, str, str | None]]:
    return [(record.number, record.act, record.version, record.champion) for record in store.history()]


# --- promotion


def test_there_is_no_champion_at_first(store: ModelStore) -> None:
    assert store.champion() is None
    assert store.history() == []


def test_promotion_moves_the_pointer_and_records_who_when_why_and_the_evidence(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")

    store.promote("v2", decision("v2", "v1"), by="airflow:dag/run/promote")

    champion = store.champion()
    assert champion is not None
    assert champion.version == "v2"
    assert champion.generation == bucket.get_blob(f"{FOLDER}/champion.json").generation
    record = champion.record
    assert (record.by, record.previous, record.number) == ("airflow:dag/run/promote", "v1", 2)
    assert record.why == "PROMOTE: v2 against v1."
    assert record.at.endswith("+00:00")
    assert record.evidence == decision("v2", "v1").evidence()
    assert acts(store) == [(1, "promoted", "v1", "v1"), (2, "promoted", "v2", "v2")]


def test_pointer_is_the_newest_record_byte_for_byte(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1", "v2")

    newest = bucket.blob(f"{FOLDER}/history/000000000002.json").download_as_bytes()
    assert bucket.blob(f"{FOLDER}/champion.json").download_as_bytes() == newest


def test_promotion_against_another_champion_says_who_promoted_what_and_when(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1")
    store.promote("v2", decision("v2", "v1"), by="anna")

    with pytest.raises(ChampionChanged) as refused:
        store.promote("v3", decision("v3", "v1"), by="ben")

    champion = store.champion()
    assert champion is not None
    assert champion.version == refused.value.champion == "v2"
    text = str(refused.value)
    assert f"gs://{BUCKET}/{FOLDER}/champion.json" in text
    assert f"the champion is v2, which was promoted at {champion.record.at} by anna" in text
    assert "Evaluate it against that champion" in text


def test_the_first_promotion_expects_that_there_is_no_champion(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")

    with pytest.raises(ChampionChanged):
        store.promote("v2", decision("v2", None), by="ben")
    with pytest.raises(ChampionChanged):
        store.promote("v2", decision("v2", "v0"), by="ben")


def test_promoting_again_on_the_same_evidence_changes_nothing(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")
    first = store.promote("v2", decision("v2", "v1"), by="try 1")

    assert store.promote("v2", decision("v2", "v1"), by="try 2") == first
    assert len(store.history()) == 2


def test_the_champion_compared_with_itself_stays_without_a_new_record(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    promote(store, "v1")

    store.promote("v1", decision("v1", "v1"), by="a cleared run")

    assert len(store.history()) == 1


def test_promoting_the_champion_on_other_evidence_is_not_taken_for_the_same(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1", "v2")

    with pytest.raises(ChampionChanged, match="nothing needs to be done"):
        store.promote("v2", decision("v2", "v0"), by="ben")


def test_a_decision_that_is_not_promote_is_obeyed_unless_overruled_with_a_reason(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1")
    held = decision("v1", None, Outcome.HOLD)

    with pytest.raises(NotJustified, match="HOLD: v1 against None"):
        store.promote("v1", held, by="anna")
    with pytest.raises(InvalidRecord, match="needs a reason"):
        store.promote("v1", held, by="anna", force=True)
    champion = store.promote("v1", held, by="anna", force=True, why="the launch is today")

    assert champion.record.forced
    assert champion.record.why == "the launch is today"


def test_a_decision_on_another_version_promotes_nothing(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")

    with pytest.raises(InvalidRecord, match="about 'v2'"):
        store.promote("v1", decision("v2", None), by="anna")


def test_a_person_can_promote_without_a_decision(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")

    store.promote("v1", by="anna", why="first", evidence={"ticket": "ML-7"})
    store.promote("v2", by="anna", why="second", expected="v1")

    assert acts(store)[-1] == (2, "promoted", "v2", "v2")
    assert store.history()[0].evidence == {"ticket": "ML-7"}


def test_a_version_without_manifest_is_not_promoted(store: ModelStore, bucket: Any) -> None:
    with pytest.raises(ModelStoreError, match=r"versions/v1/manifest\.json does not exist.*training"):
        store.promote("v1", decision("v1", None), by="night")

    assert store.champion() is None


def test_a_version_that_lacks_a_listed_file_is_not_promoted(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    bucket.blob(f"{FOLDER}/versions/v1/saved_model/model.bin").delete()

    with pytest.raises(IncompleteVersion, match=r"saved_model/model\.bin is missing"):
        store.promote("v1", decision("v1", None), by="night")

    assert store.champion() is None


# --- refusal


def test_a_refusal_is_recorded_and_leaves_the_champion_and_its_record(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    promote(store, "v1")

    store.refuse("v2", decision("v2", "v1", Outcome.BLOCK), by="night")

    champion = store.champion()
    assert champion is not None
    assert (champion.version, champion.record.act, champion.record.number) == ("v1", "promoted", 1)
    assert acts(store)[1:] == [(2, "refused", "v2", "v1")]
    assert store.history()[1].why == "BLOCK: v2 against v1."


def test_a_retried_refusal_is_recorded_once(store: ModelStore) -> None:
    first = store.refuse("v2", decision("v2", None, Outcome.HOLD), by="try 1")

    assert store.refuse("v2", decision("v2", None, Outcome.HOLD), by="try 2") == first
    assert store.champion() is None
    assert acts(store) == [(1, "refused", "v2", None)]


def test_a_promotion_survives_a_refusal_that_came_between(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v3")
    promote(store, "v1")
    store.refuse("v2", decision("v2", "v1", Outcome.BLOCK), by="night")

    store.promote("v3", decision("v3", "v1"), by="night")

    assert acts(store)[-1] == (3, "promoted", "v3", "v3")


def test_a_decision_to_promote_is_no_refusal(store: ModelStore) -> None:
    with pytest.raises(InvalidRecord):
        store.refuse("v2", decision("v2", None), by="night")


# --- rollback


def test_rollback_returns_to_the_previous_champion_and_keeps_the_bad_one_out(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1", "v2")

    champion = store.rollback(by="anna", why="bad recommendations")

    assert champion.version == "v1"
    assert (champion.record.act, champion.record.previous) == ("rolled_back", "v2")
    with pytest.raises(VersionBlocked, match="v2 was rolled back from"):
        store.promote("v2", decision("v2", "v1"), by="tonight's retry")
    forced = store.promote("v2", decision("v2", "v1"), by="anna", force=True, why="the data was at fault")
    assert forced.record.blocked == ()


def test_two_rollbacks_go_two_versions_back(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2", "v3")

    assert store.rollback(by="anna", why="bad").version == "v2"
    assert store.rollback(by="anna", why="still bad").version == "v1"
    with pytest.raises(NoEarlierChampion, match="no champion before v1"):
        store.rollback(by="anna", why="still bad")


def test_the_anchor_is_what_the_decision_says_and_stays_through_refusals(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1")
    store.promote("v2", decision("v2", "v1", anchor="v1"), by="night")
    store.refuse("v3", decision("v3", "v2", Outcome.HOLD), by="night")

    champion = store.champion()

    assert champion is not None
    assert (champion.version, champion.record.anchor) == ("v2", "v1")
    assert store.history()[-1].anchor == "v1"


def test_whoever_overrules_the_gate_sets_the_anchor(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")

    forced = store.promote("v2", decision("v2", "v1", Outcome.BLOCK), by="anna", why="known", force=True)

    assert forced.record.anchor == "v2"


def test_a_rollback_from_the_anchor_makes_its_target_the_anchor(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1")
    store.promote("v2", decision("v2", "v1", anchor="v2"), by="night")
    store.promote("v3", decision("v3", "v2", anchor="v2"), by="night")

    assert store.rollback(by="anna", why="bad").record.anchor == "v2"
    assert store.rollback(by="anna", why="bad too").record.anchor == "v1"


def test_rollback_past_a_version_keeps_that_one_out_as_well(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2", "v3")

    champion = store.rollback("v1", by="anna", why="bad since v2")

    assert champion.record.blocked == ("v3", "v2")
    with pytest.raises(VersionBlocked):
        store.rollback("v2", by="ben", why="perhaps")


def test_a_retried_rollback_happens_once(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2", "v3")

    first = store.rollback(by="try 1", why="bad", expected="v3")

    assert store.rollback(by="try 2", why="bad", expected="v3") == first
    assert store.rollback("v2", by="try 3", why="bad") == first
    assert len(store.history()) == 4


def test_rollback_of_a_champion_that_is_gone_is_refused(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2", "v3")

    with pytest.raises(ChampionChanged, match="the champion is v3"):
        store.rollback(by="anna", why="bad", expected="v2")


def test_rollback_to_an_incomplete_version_is_refused(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1", "v2")
    bucket.blob(f"{FOLDER}/versions/v1/saved_model/model.bin").delete()

    with pytest.raises(IncompleteVersion):
        store.rollback(by="anna", why="bad")

    champion = store.champion()
    assert champion is not None
    assert champion.version == "v2"


def test_there_is_nothing_to_roll_back_without_a_champion(store: ModelStore) -> None:
    with pytest.raises(NoEarlierChampion):
        store.rollback(by="anna", why="bad")


# --- lost replies, crashes, races


class Died(BaseException):
    """The process ended here."""


Send = Callable[[], requests.Response]


def faulty_store(address: str, name: str, act: Callable[[Send], requests.Response]) -> ModelStore:
    """A store whose first write of an object with this in its name goes through ``act``."""
    done: list[bool] = []

    class Once(requests.Session):
        def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
            def send() -> requests.Response:
                return requests.Session.request(self, method, url, *args, **kwargs)

            upload = method == "POST" and "/upload/" in str(url)
            if upload and not done and name.encode() in bytes(kwargs.get("data") or b"")[:400]:
                done.append(True)
                return act(send)
            return send()

    return ModelStore(client(address, Once()), root=f"gs://{BUCKET}/shop", model="recommender")


def test_a_lost_reply_to_the_swap_is_recognised_as_our_own_success(
    address: str, store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1")
    lost: list[int] = []

    def lose(send: Send) -> requests.Response:
        lost.append(send().status_code)
        raise requests.ConnectionError("connection reset by peer")

    faulty_store(address, "champion.json", lose).promote("v1", decision("v1", None), by="night")

    assert lost == [200]
    assert acts(store) == [(1, "promoted", "v1", "v1")]


def test_a_lost_reply_is_recognised_even_if_another_writer_came_after(
    address: str, store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1")

    def lose(send: Send) -> requests.Response:
        assert send().status_code == 200
        store.refuse("v2", decision("v2", "v1", Outcome.BLOCK), by="another night")
        raise requests.ConnectionError("connection reset by peer")

    faulty_store(address, "champion.json", lose).promote("v1", decision("v1", None), by="night")

    assert acts(store) == [(1, "promoted", "v1", "v1"), (2, "refused", "v2", "v1")]


def test_a_writer_that_lost_the_race_looks_again(address: str, store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")

    def overtaken(send: Send) -> requests.Response:
        store.refuse("v9", decision("v9", "v1", Outcome.BLOCK), by="faster")
        return send()

    slow = faulty_store(address, "champion.json", overtaken)
    slow.promote("v2", decision("v2", "v1"), by="slower")

    assert acts(store)[1:] == [(2, "refused", "v9", "v1"), (3, "promoted", "v2", "v2")]


def test_a_promotion_that_was_overtaken_by_another_is_not_repeated_blindly(
    address: str, store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1")

    def overtaken(send: Send) -> requests.Response:
        store.promote("v3", decision("v3", "v1"), by="faster")
        return send()

    slow = faulty_store(address, "champion.json", overtaken)
    with pytest.raises(ChampionChanged, match=r"promoted at .* by faster"):
        slow.promote("v2", decision("v2", "v1"), by="slower")

    assert acts(store)[1:] == [(2, "promoted", "v3", "v3")]


def die(send: Send) -> requests.Response:
    raise Died


def test_a_crash_before_the_swap_leaves_everything_as_it_was(
    address: str, store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")

    with pytest.raises(Died):
        faulty_store(address, "champion.json", die).promote("v2", decision("v2", "v1"), by="night")

    assert acts(store) == [(1, "promoted", "v1", "v1")]


@pytest.mark.parametrize("by", ["history", "next writer"])
def test_a_crash_after_the_swap_loses_no_record(
    address: str, store: ModelStore, bucket: Any, by: str
) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1")
    with pytest.raises(Died):
        faulty_store(address, "history/000000000002", die).promote("v2", decision("v2", "v1"), by="night")
    missing = bucket.blob(f"{FOLDER}/history/000000000002.json")
    assert not missing.exists()

    if by == "history":
        assert acts(store)[-1] == (2, "promoted", "v2", "v2")
    else:
        store.promote("v3", decision("v3", "v2"), by="next night")

    assert missing.exists()
    assert acts(store)[:2] == [(1, "promoted", "v1", "v1"), (2, "promoted", "v2", "v2")]


def test_a_retry_after_a_crash_behind_the_swap_succeeds_without_a_second_record(
    address: str, store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1")
    with pytest.raises(Died):
        faulty_store(address, "history/000000000001", die).promote("v1", decision("v1", None), by="try 1")

    assert store.promote("v1", decision("v1", None), by="try 2").record.by == "try 1"
    assert len(store.history()) == 1


def at_once(work: list[Callable[[], Any]]) -> list[Any]:
    """Run all at the same time; an exception is a result too."""
    results: list[Any] = [None] * len(work)
    start = threading.Barrier(len(work))

    def run(index: int) -> None:
        start.wait()
        try:
            results[index] = work[index]()
        except ModelStoreError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def another(address: str) -> ModelStore:
    return ModelStore(client(address), root=f"gs://{BUCKET}/shop", model="recommender")


def test_of_many_promotions_at_once_exactly_one_wins(address: str, store: ModelStore, bucket: Any) -> None:
    versions = [f"v{number}" for number in range(6)]
    trained(bucket, "v", *versions)
    promote(store, "v")

    def promotion(version: str) -> Callable[[], Any]:
        own = another(address)
        return lambda: own.promote(version, decision(version, "v"), by=version)

    results = at_once([promotion(version) for version in versions])

    won = [result for result in results if not isinstance(result, ModelStoreError)]
    assert len(won) == 1
    assert sum(isinstance(result, ChampionChanged) for result in results) == len(versions) - 1
    champion = store.champion()
    assert champion is not None
    assert champion.version == won[0].version
    assert len(store.history()) == 2


def test_records_written_at_once_are_all_kept_in_one_order(address: str, store: ModelStore) -> None:
    def refusals(name: str) -> Callable[[], None]:
        own = another(address)

        def refuse() -> None:
            for number in range(4):
                version = f"{name}-{number}"
                own.refuse(version, decision(version, None, Outcome.HOLD), by=name)

        return refuse

    names = [f"night{number}" for number in range(5)]
    results = at_once([refusals(name) for name in names])

    assert results == [None] * len(names)
    history = store.history()
    assert [record.number for record in history] == list(range(1, 21))
    assert {record.version for record in history} == {f"{name}-{n}" for name in names for n in range(4)}


def test_of_two_rollbacks_at_once_one_is_done(address: str, store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2", "v3")

    def rollback() -> Any:
        return another(address).rollback(by="anna", why="bad", expected="v3")

    results = at_once([rollback] * 3)

    assert [result.version for result in results] == ["v2", "v2", "v2"]
    assert len(store.history()) == 4


# --- by hand, and at the limits


def test_an_older_record_copied_over_the_pointer_is_a_rollback(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2", "v3")
    promote(store, "v1", "v2")
    pointer = bucket.get_blob(f"{FOLDER}/champion.json")
    older = bucket.blob(f"{FOLDER}/history/000000000001.json").download_as_bytes()
    pointer.upload_from_string(older, if_generation_match=pointer.generation)

    champion = store.champion()
    assert champion is not None
    assert champion.version == "v1"
    store.promote("v3", decision("v3", "v1"), by="night")

    assert [(number, version) for number, _, version, _ in acts(store)] == [(1, "v1"), (2, "v2"), (3, "v3")]
    assert store.history()[-1].previous == "v1"


def test_after_the_pointer_was_deleted_the_history_goes_on(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1", "v2")
    promote(store, "v1")
    bucket.blob(f"{FOLDER}/champion.json").delete()

    assert store.champion() is None
    promote(store, "v2")

    assert [number for number, *_ in acts(store)] == [1, 2]


@pytest.mark.parametrize("content", [b"", b"{}", b"v7", b'{"schema": 2}'])
def test_a_pointer_that_can_t_be_read_is_reported_with_the_way_out(
    store: ModelStore, bucket: Any, content: bytes
) -> None:
    trained(bucket, "v1")
    pointer = bucket.blob(f"{FOLDER}/champion.json")
    pointer.upload_from_string(content, if_generation_match=0)

    for attempt in (store.champion, store.history, lambda: promote(store, "v1")):
        with pytest.raises(InvalidDocument) as refused:
            attempt()
        assert f"--if-generation-match={pointer.generation}" in str(refused.value)
    assert pointer.download_as_bytes() == content


def test_the_largest_record_fits_into_the_pointer(store: ModelStore, bucket: Any) -> None:
    versions = [f"v{number:02d}".ljust(63, "x") for number in range(24)]
    trained(bucket, *versions)
    for index, version in enumerate(versions):
        store.promote(
            version,
            by='"' * 5000,
            why="\U0001f403" * 5000,
            expected=versions[index - 1] if index else None,
            evidence={"text": "x" * 1100},
        )
    for _ in range(8):
        store.rollback(by="é" * 5000, why="ü" * 5000)
    for version in (f"w{number}".ljust(63, "x") for number in range(9)):
        trained(bucket, version)
        champion = store.champion()
        assert champion is not None
        store.promote(
            version, by="x" * 5000, why="\t." * 5000, expected=champion.version, evidence={"t": "y" * 1150}
        )

    newest = store.history()[-1]
    assert len(newest.blocked) + len(newest.earlier) >= 16
    sizes = [blob.size for blob in bucket.client.list_blobs(BUCKET, prefix=f"{FOLDER}/history/")]
    assert 3000 < max(sizes) <= POINTER_LIMIT


@pytest.mark.parametrize("evidence", [{"text": "x" * 1300}, {"loss": float("nan")}, {"when": object()}])
def test_evidence_that_is_too_large_or_no_json_is_refused(
    store: ModelStore, bucket: Any, evidence: dict[str, Any]
) -> None:
    trained(bucket, "v1")

    with pytest.raises(InvalidRecord, match="the evidence"):
        store.promote("v1", by="anna", why="first", evidence=evidence)


@pytest.mark.parametrize(("by", "why"), [("", "reason"), ("anna", " "), ("anna", "")])
def test_nobody_promotes_without_name_and_reason(store: ModelStore, bucket: Any, by: str, why: str) -> None:
    trained(bucket, "v1")

    with pytest.raises(InvalidRecord, match="who acted and why"):
        store.promote("v1", by=by, why=why)


def test_the_newest_part_of_a_long_history_can_be_read_alone(store: ModelStore) -> None:
    for number in range(7):
        store.refuse(f"v{number}", by="night", why="worse")

    assert [record.version for record in store.history(limit=3)] == ["v4", "v5", "v6"]
