"""Manifests, names and records as files."""

import json
import math
from typing import Any

import pytest

from airflow_ml_provider.models.errors import InvalidDocument, InvalidName, InvalidRecord
from airflow_ml_provider.models.manifest import Manifest
from airflow_ml_provider.models.record import (
    BLOCKED_LIMIT,
    EARLIER_LIMIT,
    POINTER_LIMIT,
    Record,
    checked_act,
)
from airflow_ml_provider.models.uri import Place, checked_name

URI = "gs://bucket/models/m/versions/v1/manifest.json"


def manifest() -> dict[str, Any]:
    return {
        "schema": 1,
        "model": "wals",
        "files": [
            {"path": "saved_model/saved_model.pb", "size": 10, "sha256": "a" * 64},
            {"path": "saved_model/variables/variables.index", "size": 5, "sha256": "b" * 64},
        ],
        "arguments": {"latent_factors": 34, "use_optimized": True},
        "seed": 7,
        "data": {
            "files": [{"uri": "gs://b/part-0", "size": 3, "generation": None, "crc32c": None}],
            "rows": 90,
            "users": 9,
            "items": None,
        },
        "image": None,
        "job": "1234",
        "metrics": {"rmse": 0.91},
        "framework": {"tensorflow": "2.21.0", "python": "3.11.2"},
        "created": "2026-11-20T03:00:00+00:00",
    }


def read(content: dict[str, Any]) -> Manifest:
    return Manifest.parse(URI, json.dumps(content))


def test_a_manifest_says_what_the_version_consists_of_and_comes_from() -> None:
    found = read(manifest())

    assert [file.path for file in found.files] == [
        "saved_model/saved_model.pb",
        "saved_model/variables/variables.index",
    ]
    assert found.size == 15
    assert found.arguments == {"latent_factors": 34, "use_optimized": True}
    assert (found.data.rows, found.data.users, found.data.items) == (90, 9, None)
    assert (found.image, found.job, found.seed) == (None, "1234", 7)


@pytest.mark.parametrize("field", sorted(manifest()))
def test_what_the_trainer_does_not_know_is_null_but_never_missing(field: str) -> None:
    content = manifest()
    del content[field]

    with pytest.raises(InvalidDocument, match=f"{field}: is missing"):
        read(content)


@pytest.mark.parametrize("path", ["/etc/passwd", "../v2/model", "a/../b", "a//b", "./a", "a/", ""])
def test_a_path_that_leaves_the_version_s_folder_is_refused(path: str) -> None:
    content = manifest()
    content["files"][1]["path"] = path

    with pytest.raises(InvalidDocument) as refused:
        read(content)
    assert refused.value.field == "files[1].path"


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("files", []),
        ("files", {}),
        ("files[0]", ["saved_model"]),
        ("files[0].size", [{"path": "a", "size": -1, "sha256": "a" * 64}]),
        ("files[0].size", [{"path": "a", "size": "3", "sha256": "a" * 64}]),
        ("files[0].sha256", [{"path": "a", "size": 1, "sha256": "A" * 64}]),
        ("files[1].path", [{"path": "a", "size": 1, "sha256": "a" * 64}] * 2),
        ("metrics.rmse", {"rmse": "low"}),
        ("seed", 1.5),
        ("created", "tonight"),
    ],
)
def test_a_wrong_field_is_named(field: str, change: Any) -> None:
    content = manifest()
    content[field.split("[")[0].split(".")[0]] = change

    with pytest.raises(InvalidDocument) as refused:
        read(content)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{URI}: {field}: ")


def test_a_metric_that_is_no_number_is_kept_for_the_gate() -> None:
    content = manifest()
    content["metrics"]["rmse"] = math.nan

    assert math.isnan(read(content).metrics["rmse"])


@pytest.mark.parametrize("name", ["v1", "scheduled_2026_11_20t03_00_00_5d2c9f1e", "1.0-rc_1", "a" * 63])
def test_good_names(name: str) -> None:
    assert checked_name("version", name) == name


@pytest.mark.parametrize(
    "name", ["", "V1", "-v", ".v", "_v", "a" * 64, "a..b", "a/b", "v 1", "v\n", "é", "*", None, 7]
)
def test_bad_names_are_refused(name: Any) -> None:
    with pytest.raises(InvalidName, match="is not a name"):
        checked_name("version", name)


@pytest.mark.parametrize("uri", ["gs://bucket", "gs://bucket/", "gs://bucket/a/b", "gs://b.example.com/a/"])
def test_good_roots(uri: str) -> None:
    assert str(Place.parse(uri) / "models").startswith(uri.rstrip("/"))


@pytest.mark.parametrize(
    "uri",
    ["", "bucket/a", "s3://bucket", "gs://", "gs://B", "gs://a", "gs://bucket//a", "gs://bucket/../a",
     "gs://bucket/a*", "gs://bucket/a#1", "gs://bucket/a\nb", None],
)  # fmt: skip
def test_bad_roots_are_refused(uri: Any) -> None:
    with pytest.raises(InvalidName):
        Place.parse(uri)


def test_the_largest_record_fits_into_the_pointer() -> None:
    by, why, evidence = checked_act('"' * 999, "\n.é\U0001f403" * 999, {"text": "x" * 1180})
    name = "v" * 63
    record = Record(
        number=10**12 - 1,
        act="rolled_back",
        model=name,
        version=name,
        champion=name,
        champion_since=10**12 - 1,
        previous=name,
        by=by,
        at="2026-11-20T03:00:00+00:00",
        why=why,
        forced=False,
        evidence=evidence,
        earlier=(name,) * EARLIER_LIMIT,
        blocked=(name,) * BLOCKED_LIMIT,
        pruned=(),
        data_until=None,
        nonce="0" * 32,
    )

    content = record.to_json()

    assert len(content) <= POINTER_LIMIT
    assert Record.parse("gs://b/champion.json", content) == record


def test_long_reasons_are_cut_at_a_character_and_say_so() -> None:
    _, why, _ = checked_act("anna", "\U0001f403" * 999, None)

    assert why.endswith("\U0001f403…")
    assert 100 < len(why) < 130


def test_a_reason_that_no_file_can_hold_is_refused_or_cleaned() -> None:
    by, _, _ = checked_act("anna\ud800", "reason", None)

    by.encode()


def test_evidence_must_be_small_json() -> None:
    with pytest.raises(InvalidRecord, match=r"1,2\d\d bytes"):
        checked_act("anna", "reason", {"text": "x" * 1200})
    with pytest.raises(InvalidRecord, match="as JSON"):
        checked_act("anna", "reason", {"loss": math.inf})
