from __future__ import annotations

import json

import pytest
from google.cloud.aiplatform_v1 import CustomJob
from google.protobuf import json_format

from airflow_ml_provider.jobs import InvalidTrainingJob, TrainingJob

IMAGE = "gcr.io/my-project/wals:v1"


def translated(**training_input):
    """Translate, and check that the official protos accept the result."""
    job = TrainingJob.from_ai_platform(training_input)
    json_format.ParseDict(job.to_custom_job(), CustomJob()._pb, ignore_unknown_fields=False)
    return job


def pools(job):
    return job.to_custom_job()["jobSpec"]["workerPoolSpecs"]


def test_a_custom_cluster_is_translated_role_by_role():
    job = translated(
        scaleTier="CUSTOM",
        masterType="n1-highmem-8",
        masterConfig={
            "imageUri": IMAGE,
            "acceleratorConfig": {"count": "2", "type": "NVIDIA_TESLA_T4"},
            "diskConfig": {"bootDiskType": "pd-standard", "bootDiskSizeGb": 200},
        },
        workerType="n1-standard-8",
        workerCount="9",
        workerConfig={"acceleratorConfig": {"count": 1, "type": "NVIDIA_TESLA_V100"}},
        parameterServerType="n1-standard-4",
        parameterServerCount=3,
        parameterServerConfig={"imageUri": "gcr.io/my-project/ps:v1"},
        evaluatorType="n1-standard-4",
        evaluatorCount=1,
        args=["--epochs", 5],
        region="europe-west4",
        jobDir="gs://bucket/jobs/1",
        scheduling={"maxRunningTime": "7200s"},
        serviceAccount="sa@my-project.iam.gserviceaccount.com",
        network="projects/1/global/networks/vpc",
        encryptionConfig={"kmsKeyName": "projects/p/locations/europe-west4/keyRings/k/cryptoKeys/c"},
        enableWebAccess=True,
    )
    chief, workers, servers, evaluator = pools(job)
    assert chief["machineSpec"] == {
        "machineType": "n1-highmem-8",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 2,
    }
    assert chief["diskSpec"] == {"bootDiskType": "pd-standard", "bootDiskSizeGb": 200}
    assert (workers["replicaCount"], servers["replicaCount"], evaluator["replicaCount"]) == ("9", "3", "1")
    assert workers["containerSpec"]["imageUri"] == IMAGE
    assert servers["containerSpec"]["imageUri"] == "gcr.io/my-project/ps:v1"
    assert "acceleratorType" not in servers["machineSpec"]
    for pool in pools(job):
        assert pool["containerSpec"]["args"] == ["--epochs", "5", "--job-dir", "gs://bucket/jobs/1"]
    body = job.to_custom_job()
    assert body["jobSpec"]["scheduling"]["timeout"] == "7200s"
    assert body["jobSpec"]["baseOutputDirectory"] == {"outputUriPrefix": "gs://bucket/jobs/1"}
    assert body["jobSpec"]["enableWebAccess"] is True
    assert body["encryptionSpec"]["kmsKeyName"].endswith("cryptoKeys/c")
    assert job.region == "europe-west4"


@pytest.mark.parametrize(
    ("tier", "counts"), [("BASIC", ["1"]), ("STANDARD_1", ["1", "4", "3"]), ("PREMIUM_1", ["1", "19", "11"])]
)
def test_scale_tiers_become_pools(tier, counts):
    job = translated(scaleTier=tier, masterConfig={"imageUri": IMAGE})
    assert [pool["replicaCount"] for pool in pools(job)] == counts
    assert any(note.startswith("scaleTier") for note in job.migration_notes)


@pytest.mark.parametrize(
    ("legacy", "machine", "accelerator", "count"),
    [
        ("standard", "n1-standard-4", None, None),
        ("large_model", "n1-highmem-8", None, None),
        ("complex_model_s", "n1-standard-8", None, None),
        ("complex_model_l", "n1-highcpu-32", None, None),
        ("standard_gpu", "n1-standard-8", "NVIDIA_TESLA_T4", 1),
        ("complex_model_m_gpu", "n1-standard-16", "NVIDIA_TESLA_T4", 4),
        ("complex_model_m_p100", "n1-standard-16", "NVIDIA_TESLA_T4", 4),
        ("complex_model_l_v100", "n1-standard-32", "NVIDIA_TESLA_V100", 8),
    ],
)
def test_legacy_machines_are_replaced_and_the_reader_is_told(legacy, machine, accelerator, count):
    job = translated(scaleTier="CUSTOM", masterType=legacy, masterConfig={"imageUri": IMAGE})
    spec = pools(job)[0]["machineSpec"]
    assert spec["machineType"] == machine
    assert (spec.get("acceleratorType"), spec.get("acceleratorCount")) == (accelerator, count)
    assert any(legacy in note and machine in note for note in job.migration_notes)


def test_retired_accelerators_are_replaced_and_the_reason_is_given():
    job = translated(
        scaleTier="CUSTOM",
        masterType="n1-standard-32",
        masterConfig={"imageUri": IMAGE, "acceleratorConfig": {"type": "NVIDIA_TESLA_K80", "count": 8}},
    )
    assert pools(job)[0]["machineSpec"]["acceleratorCount"] == 4
    assert any("8 x NVIDIA_TESLA_K80 became 4 x NVIDIA_TESLA_T4" in note for note in job.migration_notes)


def test_a_container_command_and_its_own_args_are_kept():
    job = translated(
        masterConfig={"imageUri": IMAGE, "containerCommand": ["python"], "containerArgs": ["-m", "x"]}
    )
    container = pools(job)[0]["containerSpec"]
    assert (container["command"], container["args"]) == (["python"], ["-m", "x"])


def test_everything_wrong_is_said_at_once():
    with pytest.raises(InvalidTrainingJob) as caught:
        TrainingJob.from_ai_platform(
            {
                "scaleTier": "CUSTOM",
                "runtimeVersion": "1.15",
                "pythonModule": "trainer.task",
                "hyperparameters": {"goal": "MAXIMIZE"},
                "workerCount": 2,
                "scheduling": {"maxRunningTime": "two hours"},
                "masterConfig": {"imageUri": IMAGE, "tpuTfVersion": "1.15", "colour": "red"},
                "mastertype": "standard",
            }
        )
    text = str(caught.value)
    for part in (
        "mastertype: no such field",
        "masterType: required",
        "runtimeVersion: excluded",
        "hyperparameters",
        "workerType: required",
        "maxRunningTime",
        "tpuTfVersion: no equivalent",
        "masterConfig.colour: no such field",
    ):
        assert part in text


def test_a_python_package_is_refused_with_the_way_out():
    with pytest.raises(InvalidTrainingJob, match="FROM python"):
        TrainingJob.from_ai_platform(
            {
                "scaleTier": "BASIC",
                "runtimeVersion": "2.1",
                "pythonModule": "t",
                "packageUris": ["gs://b/p.tar.gz"],
            }
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaleTier": "BASIC_TPU"}, "BASIC_TPU"),
        ({"scaleTier": "HUGE"}, "HUGE"),
        ({"scaleTier": "CUSTOM", "masterType": "cloud_tpu"}, "cloud_tpu"),
        ({"workerCount": 2, "workerType": "standard"}, "only with scaleTier CUSTOM"),
        ({"args": ["a"], "masterConfig": {"imageUri": IMAGE, "containerArgs": ["b"]}}, "containerArgs"),
    ],
)
def test_what_has_no_equivalent_is_refused(change, message):
    with pytest.raises(InvalidTrainingJob, match=message):
        TrainingJob.from_ai_platform({"scaleTier": "BASIC", "masterConfig": {"imageUri": IMAGE}, **change})


def test_a_config_file_is_read_as_gcloud_reads_it(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        f"trainingInput:\n  scaleTier: BASIC_GPU\n  masterConfig:\n    imageUri: {IMAGE}\nlabels:\n  a: b\n"
    )
    job = TrainingJob.from_ai_platform(path)
    assert pools(job)[0]["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_T4"
    assert job.labels == {"a": "b"}
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"jobId": "census_1", "trainingInput": {"masterConfig": {"imageUri": IMAGE}}}))
    assert TrainingJob.from_ai_platform(path).display_name == "census_1"


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", ""])
def test_a_file_without_a_training_input_is_refused_by_name(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InvalidTrainingJob, match=r"config\.yaml"):
        TrainingJob.from_ai_platform(path)


FIELDS = (
    "args enableWebAccess encryptionConfig evaluatorConfig evaluatorCount evaluatorType hyperparameters "
    "jobDir masterConfig masterType network packageUris parameterServerConfig pythonModule pythonVersion "
    "region runtimeVersion scaleTier scheduling serviceAccount useChiefInTfConfig workerConfig workerCount "
    "workerType"
)
REPLICA_FIELDS = "acceleratorConfig containerArgs containerCommand diskConfig imageUri tpuTfVersion"
STRANGE = [
    None,
    5,
    "x",
    "",
    [],
    {},
    True,
    b"x",
    -1,
    float("nan"),
    ["a"],
    [None],
    {"a": 1},
    {1: 2},
    [[]],
    [{}],
]


@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_a_value_of_any_type_is_read_or_refused(value):
    for field in FIELDS.split():
        read_or_refused({"masterConfig": {"imageUri": IMAGE}, field: value})
        read_or_refused({"workerCount": 2, "workerType": "standard", field: value}, image_uri=IMAGE)
    for field in REPLICA_FIELDS.split():
        read_or_refused({"masterConfig": {"imageUri": IMAGE, field: value}})
        worker = {"workerCount": 2, "workerType": "standard", "workerConfig": {field: value}}
        read_or_refused({"masterConfig": {"imageUri": IMAGE}, **worker})


def read_or_refused(training_input, **kwargs):
    try:
        custom = {"scaleTier": "CUSTOM", "masterType": "standard", **training_input}
        job = TrainingJob.from_ai_platform(custom, **kwargs)
    except InvalidTrainingJob as error:
        assert error.problems
    else:
        json_format.ParseDict(job.to_custom_job(), CustomJob()._pb, ignore_unknown_fields=False)
