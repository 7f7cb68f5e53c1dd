from __future__ import annotations

import pytest

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError


@pytest.fixture(scope="module")
def vertex():
    numbers = {"GoogleCloudAiplatformV1Scheduling.strategy": {4: "SPOT", 6: "FLEX_START"}}
    return Api("aiplatform", "v1", enum_numbers=numbers, snake_case=True)


@pytest.fixture(scope="module")
def storage():
    return Api("storage", "v1")


JOB = "GoogleCloudAiplatformV1CustomJob"


def test_a_path_finds_its_method_and_its_parameters(storage):
    match = storage.match("GET", "/storage/v1/b/bucket/o/folder%2Ffile%20one.csv")
    assert match.method.id == "storage.objects.get"
    assert match.path_params == {"bucket": "bucket", "object": "folder/file one.csv"}


def test_an_upload_path_finds_the_method_that_it_belongs_to(storage):
    for verb in ("POST", "PUT"):
        match = storage.match(verb, "/upload/storage/v1/b/bucket/o")
        assert (match.method.id, match.upload) == ("storage.objects.insert", True)


def test_a_verb_that_the_path_does_not_have_finds_nothing(storage):
    assert storage.match("PUT", "/storage/v1/b") is None
    assert storage.match("GET", "/storage/v2/b") is None


def test_parameters_come_in_their_documented_types(storage):
    match = storage.match("GET", "/storage/v1/b/bucket/o")
    params = storage.parameters(match, {"maxResults": ["5"], "versions": ["True"], "prefix": ["a"]})
    assert params == {"bucket": "bucket", "maxResults": 5, "versions": True, "prefix": "a"}


@pytest.mark.parametrize("query", [{"maxResult": ["5"]}, {"maxResults": ["five"]}, {"versions": ["perhaps"]}])
def test_unknown_and_mistyped_parameters_are_refused_by_name(storage, query):
    match = storage.match("GET", "/storage/v1/b/bucket/o")
    with pytest.raises(ApiError) as caught:
        storage.parameters(match, query)
    assert caught.value.code == 400
    assert next(iter(query)) in caught.value.message


def test_all_unknown_fields_of_a_message_are_named_at_once(vertex):
    message = {
        "displayNam": "x",
        "jobSpec": {
            "workerPoolSpecs": [{"replicaCount": "1"}, {"replicas": 1}],
            "scheduling": {"timeout": "1h"},
        },
    }
    with pytest.raises(ApiError) as caught:
        vertex.message(JOB, message)
    text = caught.value.message
    assert 'Unknown name "displayNam"' in text
    assert "Unknown name \"replicas\" at 'jobSpec.workerPoolSpecs[1]'" in text
    assert "jobSpec.scheduling.timeout" in text
    assert caught.value.canonical()["error"]["status"] == "INVALID_ARGUMENT"


def test_both_spellings_of_a_field_are_understood(vertex):
    clean = vertex.message(
        JOB, {"display_name": "x", "job_spec": {"worker_pool_specs": []}, "labels": {"a_b": "c"}}
    )
    assert clean == {"displayName": "x", "jobSpec": {"workerPoolSpecs": []}, "labels": {"a_b": "c"}}


def test_enums_are_understood_by_name_and_by_number(vertex):
    for value in (6, "FLEX_START"):
        clean = vertex.message(JOB, {"jobSpec": {"scheduling": {"strategy": value}}})
        assert clean["jobSpec"]["scheduling"]["strategy"] == "FLEX_START"
    with pytest.raises(ApiError, match="is not one of"):
        vertex.message(JOB, {"jobSpec": {"scheduling": {"strategy": 5}}})


def test_numbers_may_be_strings_and_nulls_are_left_out(vertex):
    pool = {"replicaCount": "1", "machineSpec": {"acceleratorCount": 2}, "diskSpec": None}
    clean = vertex.message(JOB, {"jobSpec": {"workerPoolSpecs": [pool]}})
    assert clean["jobSpec"]["workerPoolSpecs"][0] == {
        "replicaCount": "1",
        "machineSpec": {"acceleratorCount": 2},
    }


@pytest.mark.parametrize(
    "message",
    [
        {"displayName": 5},
        {"labels": {"a": 1}},
        {"labels": ["a"]},
        {"jobSpec": {"enableWebAccess": "yes"}},
        {"jobSpec": {"workerPoolSpecs": {}}},
        {"jobSpec": {"workerPoolSpecs": [{"replicaCount": "one"}]}},
        {"jobSpec": {"workerPoolSpecs": [{"replicaCount": 1.5}]}},
        ["not an object"],
    ],
)
def test_wrong_types_are_refused(vertex, message):
    with pytest.raises(ApiError, match="Invalid value"):
        vertex.message(JOB, message)
