"""Versions, their files and their decisions in Cloud Storage, and errors that say what to do."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ml_provider.emulator.http import Application, Server
from airflow_ml_provider.emulator.storage.service import CloudStorage
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.models.errors import (
    AccessDenied,
    BucketNotFound,
    DocumentNotFound,
    IncompleteVersion,
    InvalidDocument,
    InvalidInput,
    InvalidName,
    InvalidRecord,
    StoreUnavailable,
)
from airflow_ml_provider.models.gate import GateSettings, Outcome, decide
from airflow_ml_provider.models.store import ModelStore
from tests.evaluations import document, metric

BUCKET = "models-bucket"
FOLDER = "shop/models/recommender"
ROOT = f"gs://{BUCKET}/shop"
FILES = {"saved_model/saved_model.pb": b"graph" * 1000, "saved_model/variables/variables.index": b"index"}


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
    return ModelStore(client(address), root=ROOT, model="recommender")


@pytest.fixture
def bucket(address: str) -> Any:
    return client(address).bucket(BUCKET)


def write(bucket: Any, name: str, content: bytes | dict[str, Any]) -> None:
    raw = json.dumps(content) if isinstance(content, dict) else content
    bucket.blob(f"{FOLDER}/versions/{name}").upload_from_string(raw, if_generation_match=0)


def trained(bucket: Any, version: str) -> None:
    for path, content in FILES.items():
        write(bucket, f"{version}/{path}", content)
    files = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in FILES.items()
    ]
    manifest = {
        "schema": 1,
        "model": "wals",
        "files": files,
        "arguments": {},
        "seed": 7,
        "data": {"files": [], "rows": 10, "users": 3, "items": 4},
        "image": None,
        "job": None,
        "metrics": {},
        "framework": {},
        "created": "2026-11-20T03:00:00Z",
    }
    write(bucket, f"{version}/manifest.json", manifest)


def evaluation(challenger: str, *, rmse: float = 1.0) -> dict[str, Any]:
    root, _, version = challenger.rstrip("/").rpartition("/")
    metrics = {"rmse": metric([rmse], 0.01, rows=1000)}
    return document(metrics, {"challenger": version}, root=root, rows=1000, units=400)


# --- places


def test_versions_live_below_root_and_model(store: ModelStore) -> None:
    assert store.version_uri("v1") == f"gs://{BUCKET}/{FOLDER}/versions/v1/"
    assert store.evaluation_uri("v1") == f"gs://{BUCKET}/{FOLDER}/versions/v1/evaluation.json"
    assert store.version_of(store.version_uri("v1")) == "v1"
    assert store.version_of(store.version_uri("v1").rstrip("/")) == "v1"


@pytest.mark.parametrize(
    "uri", [f"gs://{BUCKET}/shop/models/other/versions/v1/", "gs://x/v1", "/local/v1", ""]
)
def test_a_folder_elsewhere_is_no_version_of_the_model(store: ModelStore, uri: str) -> None:
    with pytest.raises(InvalidInput):
        store.version_of(uri)


@pytest.mark.parametrize("name", ["../v1", "V1", "", "a/b"])
def test_a_name_is_checked_before_it_is_used(address: str, store: ModelStore, name: str) -> None:
    with pytest.raises(InvalidName):
        store.manifest(name)
    with pytest.raises(InvalidName):
        store.refuse(name, by="anna", why="bad name")
    with pytest.raises(InvalidName):
        ModelStore(client(address), root=ROOT, model=name)


def test_a_bucket_may_be_the_root(address: str, bucket: Any) -> None:
    store = ModelStore(client(address), root=f"gs://{BUCKET}", model="recommender")

    store.refuse("v1", by="anna", why="a test")

    assert bucket.blob("models/recommender/champion.json").exists()


# --- files


def test_a_complete_version_is_verified_by_size_and_by_content(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")

    assert store.verify("v1") == store.manifest("v1")
    assert store.verify("v1", sha256=True).size == sum(map(len, FILES.values()))


def test_a_file_of_the_same_size_with_other_content_is_found_by_its_sha256(
    store: ModelStore, bucket: Any
) -> None:
    trained(bucket, "v1")
    blob = bucket.get_blob(f"{FOLDER}/versions/v1/saved_model/variables/variables.index")
    blob.upload_from_string(b"INDEX", if_generation_match=blob.generation)

    store.verify("v1")
    with pytest.raises(IncompleteVersion, match=r"variables\.index has other content"):
        store.verify("v1", sha256=True)


def test_a_truncated_file_is_found_by_its_size(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    blob = bucket.get_blob(f"{FOLDER}/versions/v1/saved_model/saved_model.pb")
    blob.upload_from_string(b"graph", if_generation_match=blob.generation)

    with pytest.raises(IncompleteVersion, match=r"saved_model\.pb has 5 bytes instead of 5,000"):
        store.verify("v1")


def test_a_version_whose_name_begins_like_another_is_not_taken_for_it(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v10")

    with pytest.raises(DocumentNotFound, match=r"versions/v1/manifest\.json does not exist"):
        store.verify("v1")


def test_a_broken_manifest_is_named_with_its_field(store: ModelStore, bucket: Any) -> None:
    write(bucket, "v1/manifest.json", {"schema": 1, "files": "none"})

    with pytest.raises(InvalidDocument, match=r"gs://.*/v1/manifest\.json: files: must be a list"):
        store.manifest("v1")


# --- evaluation and decision


def test_an_evaluation_is_read_from_beside_the_version(store: ModelStore, bucket: Any) -> None:
    write(bucket, "v1/evaluation.json", evaluation(store.version_uri("v1")))

    assert store.evaluation("v1").challenger.metrics == {"rmse": 1.0}


def test_a_missing_evaluation_says_where_to_look(store: ModelStore) -> None:
    with pytest.raises(DocumentNotFound, match=r"evaluation\.json does not exist: .*job's log"):
        store.evaluation("v1")


def test_an_evaluation_of_another_version_is_refused(store: ModelStore, bucket: Any) -> None:
    write(bucket, "v1/evaluation.json", evaluation(store.version_uri("v2")))

    with pytest.raises(InvalidDocument, match=r"challenger\.uri: is .*/v2/, but this should be about .*/v1/"):
        store.evaluation("v1")


def test_a_champion_from_elsewhere_is_refused(store: ModelStore, bucket: Any) -> None:
    content = evaluation(store.version_uri("v2"))
    content["metrics"] = {"rmse": metric([1.0, 1.0], 0.01, rows=1000)}
    elsewhere = "gs://elsewhere/models/recommender/versions/v1/"
    content["models"]["champion"] = {**content["models"]["challenger"], "uri": elsewhere}
    write(bucket, "v2/evaluation.json", content)

    with pytest.raises(InvalidDocument, match=r"champion\.uri: .* is not a version of"):
        store.evaluation("v2")


def test_a_decision_is_written_for_machines_and_as_a_page_for_people(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    write(bucket, "v1/evaluation.json", evaluation(store.version_uri("v1")))
    decision = decide(store.evaluation("v1"), GateSettings())
    assert decision.outcome is Outcome.PROMOTE

    report = store.write_decision("v1", decision)

    assert store.decision("v1") == decision
    assert report == f"gs://{BUCKET}/{FOLDER}/versions/v1/report.html"
    page = bucket.get_blob(f"{FOLDER}/versions/v1/report.html")
    assert page.content_type == "text/html; charset=utf-8"
    assert b"Cleared for promotion" in page.download_as_bytes()
    assert store.promote("v1", decision, by="night").version == "v1"


def test_writing_the_same_decision_again_writes_nothing(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    write(bucket, "v1/evaluation.json", evaluation(store.version_uri("v1")))
    decision = decide(store.evaluation("v1"), GateSettings())
    store.write_decision("v1", decision)
    before = {blob.name: blob.generation for blob in bucket.list_blobs()}

    store.write_decision("v1", decision)

    assert {blob.name: blob.generation for blob in bucket.list_blobs()} == before


def test_a_new_decision_replaces_the_old_one(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    write(bucket, "v1/evaluation.json", evaluation(store.version_uri("v1")))
    measured = store.evaluation("v1")
    store.write_decision("v1", decide(measured, GateSettings()))

    store.write_decision("v1", decide(measured, GateSettings(ceilings={"rmse": 0.5})))

    assert store.decision("v1").outcome is Outcome.BLOCK
    assert b"Blocked" in bucket.blob(f"{FOLDER}/versions/v1/report.html").download_as_bytes()


def test_a_decision_made_from_another_evaluation_is_not_written(store: ModelStore, bucket: Any) -> None:
    trained(bucket, "v1")
    write(bucket, "v1/evaluation.json", evaluation(store.version_uri("v1")))
    decision = decide(store.evaluation("v1"), GateSettings())
    blob = bucket.get_blob(f"{FOLDER}/versions/v1/evaluation.json")
    blob.upload_from_string(
        json.dumps(evaluation(store.version_uri("v1"), rmse=1.1)), if_generation_match=blob.generation
    )

    with pytest.raises(InvalidRecord, match="decide again"):
        store.write_decision("v1", decision)


def test_a_version_without_decision_says_what_to_do(store: ModelStore) -> None:
    with pytest.raises(DocumentNotFound, match="the gate has not decided"):
        store.decision("v1")


# --- when Cloud Storage refuses


@pytest.mark.parametrize("act", ["champion", "history", "manifest", "evaluation", "refuse"])
def test_a_bucket_that_does_not_exist_is_not_taken_for_an_empty_one(address: str, act: str) -> None:
    store = ModelStore(client(address), root="gs://no-such-bucket/shop", model="recommender")
    attempts = {
        "champion": store.champion,
        "history": store.history,
        "manifest": lambda: store.manifest("v1"),
        "evaluation": lambda: store.evaluation("v1"),
        "refuse": lambda: store.refuse("v1", by="anna", why="a test"),
    }

    with pytest.raises(BucketNotFound, match=r"gs://no-such-bucket/.*Create the bucket, or correct the root"):
        attempts[act]()


class Answering(requests.Session):
    """Answers every request with a status, or fails as told."""

    def __init__(self, answer: int | Exception) -> None:
        super().__init__()
        self.answer = answer

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        if isinstance(self.answer, Exception):
            raise self.answer
        response = requests.Response()
        response.status_code = self.answer
        response._content = b'{"error": {"message": "said the service"}}'
        response.headers["Content-Type"] = "application/json"
        response.request = requests.Request("GET", "http://127.0.0.1/").prepare()
        return response


@pytest.mark.parametrize(
    ("answer", "error", "advice"),
    [
        (403, AccessDenied, "roles/storage.objectAdmin on bucket 'models-bucket'"),
        (401, AccessDenied, "said the service"),
        (501, StoreUnavailable, "said the service"),
        (auth.DefaultCredentialsError("no key file"), AccessDenied, "connection"),
        (auth.RefreshError("expired"), AccessDenied, "expired"),
        (requests.exceptions.InvalidURL("nonsense"), StoreUnavailable, "STORAGE_EMULATOR_HOST"),
    ],
)
def test_a_refusal_names_the_object_and_what_to_do(
    address: str, answer: int | Exception, error: type[Exception], advice: str
) -> None:
    store = ModelStore(client(address, Answering(answer)), root=ROOT, model="recommender")

    with pytest.raises(error) as refused:
        store.champion()

    assert f"gs://{BUCKET}/{FOLDER}/champion.json" in str(refused.value)
    assert advice in str(refused.value)


def test_a_file_too_large_to_be_a_document_is_not_read(store: ModelStore, bucket: Any) -> None:
    write(bucket, "v1/manifest.json", b" " * ((16 << 20) + 1))

    with pytest.raises(InvalidDocument, match="16,777,217 bytes"):
        store.manifest("v1")
