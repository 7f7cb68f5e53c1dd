from __future__ import annotations

import json
from datetime import timedelta

import pytest
from google.cloud.aiplatform_v1 import CustomJob
from google.cloud.aiplatform_v1.types import AcceleratorType, Scheduling
from google.protobuf import json_format

from airflow_ml_provider.jobs import InvalidTrainingJob, Replicas, TrainingJob

IMAGE = "europe-docker.pkg.dev/proj/repo/trainer@sha256:" + "ab" * 32

FULL = TrainingJob(
    image_uri=IMAGE,
    args=["--train-file", "gs://bucket/part-*.csv", "--num_iters", 20],
    command=["python", "-m", "trainer.task"],
    env={"A": "1"},
    machine_type="n1-standard-16",
    accelerator="NVIDIA_TESLA_T4:2",
    boot_disk_gb=200,
    workers=Replicas(count=3, machine_type="n1-standard-8", accelerator="", env={"B": "2"}),
    parameter_servers=Replicas(count=2, image_uri="gcr.io/proj/ps:1", args=["--ps"], command=["ps"]),
    evaluator=1,
    base_output_dir="gs://bucket/jobs/1",
    display_name="nightly",
    labels={"team": "ml"},
    timeout=timedelta(hours=6),
    spot=True,
    service_account="trainer@proj.iam.gserviceaccount.com",
    network="projects/123/global/networks/vpc",
    kms_key="projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k",
)


def as_proto(job: TrainingJob) -> CustomJob:
    """Parse with the official protos, which refuse a field that they do not know."""
    proto = CustomJob()
    json_format.ParseDict(job.to_custom_job(), proto._pb, ignore_unknown_fields=False)
    return proto


def test_every_field_arrives_in_the_official_proto():
    proto = as_proto(FULL)
    chief, workers, servers, evaluator = proto.job_spec.worker_pool_specs
    assert proto.display_name == "nightly"
    assert dict(proto.labels) == {"team": "ml"}
    assert proto.encryption_spec.kms_key_name.endswith("cryptoKeys/k")
    assert proto.job_spec.base_output_directory.output_uri_prefix == "gs://bucket/jobs/1"
    assert proto.job_spec.scheduling.timeout.total_seconds() == 6 * 3600
    assert proto.job_spec.scheduling.strategy == Scheduling.Strategy.SPOT
    assert chief.container_spec.args == ["--train-file", "gs://bucket/part-*.csv", "--num_iters", "20"]
    assert chief.container_spec.command == ["python", "-m", "trainer.task"]
    assert chief.machine_spec.accelerator_type == AcceleratorType.NVIDIA_TESLA_T4
    assert chief.machine_spec.accelerator_count == 2
    assert (chief.replica_count, workers.replica_count, servers.replica_count) == (1, 3, 2)
    assert workers.machine_spec.machine_type == "n1-standard-8"
    assert workers.machine_spec.accelerator_count == 0
    assert {e.name: e.value for e in workers.container_spec.env} == {"A": "1", "B": "2"}
    assert servers.container_spec.image_uri == "gcr.io/proj/ps:1"
    assert servers.container_spec.command == ["ps"]
    assert evaluator.container_spec.image_uri == IMAGE
    assert evaluator.disk_spec.boot_disk_size_gb == 200


def test_a_role_that_is_left_out_leaves_its_place_empty():
    proto = as_proto(TrainingJob(image_uri=IMAGE, evaluator=1))
    counts = [pool.replica_count for pool in proto.job_spec.worker_pool_specs]
    assert counts == [1, 0, 0, 1]


def test_a_job_on_one_machine_has_one_pool():
    assert len(TrainingJob(image_uri=IMAGE).to_custom_job()["jobSpec"]["workerPoolSpecs"]) == 1


def test_a_job_survives_the_way_through_json():
    assert (
        TrainingJob.from_dict(json.loads(json.dumps(FULL.to_dict()))).to_custom_job() == FULL.to_custom_job()
    )


def test_numbers_may_come_as_rendered_templates():
    job = TrainingJob(image_uri=IMAGE, workers="2", timeout="3600", boot_disk_gb="150")
    spec = job.to_custom_job()["jobSpec"]
    assert spec["workerPoolSpecs"][1]["replicaCount"] == "2"
    assert spec["scheduling"]["timeout"] == "3600s"
    assert spec["workerPoolSpecs"][0]["diskSpec"]["bootDiskSizeGb"] == 150


def test_templates_are_let_through_and_checked_once_rendered():
    job = TrainingJob(image_uri="{{ var.value.image }}", workers="{{ params.workers }}", timeout="{{ t }}")
    with pytest.raises(InvalidTrainingJob, match="image_uri"):
        TrainingJob.from_dict({**job.to_dict(), "image_uri": "no image"})


def test_all_problems_are_reported_at_once():
    with pytest.raises(InvalidTrainingJob) as caught:
        TrainingJob(
            image_uri="Not An Image",
            args="--one --text",
            env={"1A": "x"},
            machine_type="N1 STANDARD",
            accelerator="t4",
            workers=-1,
            evaluator=Replicas(count=0),
            base_output_dir="/local/folder",
            display_name="x" * 129,
            labels={"Team": "ml", "ok": "Not OK"},
            timeout=0,
        )
    text = str(caught.value)
    for part in (
        "image_uri",
        "args",
        "'1A'",
        "machine_type",
        "accelerator",
        "workers",
        "evaluator",
        "base_output_dir",
        "display_name: 129",
        "'Team'",
        "'Not OK'",
        "timeout",
    ):
        assert part in text
    assert len(caught.value.problems) == 12


@pytest.mark.parametrize(
    "image",
    ["trainer", "gcr.io/p/img", "localhost:5000/img:latest", "eu.gcr.io/p/a/b-c_d:v1@sha256:" + "0" * 64],
)
def test_image_uris_that_registries_accept_are_accepted(image):
    TrainingJob(image_uri=image)


@pytest.mark.parametrize(
    "image", ["", "a b", "img:", "img@sha256:12", "gs://bucket/image", "img;rm -rf", 5, None]
)
def test_image_uris_that_are_none_are_refused(image):
    with pytest.raises(InvalidTrainingJob, match="image_uri"):
        TrainingJob(image_uri=image)


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(InvalidTrainingJob, match="machine_typ: no such field"):
        TrainingJob.from_dict({"image_uri": IMAGE, "machine_typ": "n1-standard-4"})
    with pytest.raises(InvalidTrainingJob, match=r"workers\.image: no such field"):
        TrainingJob.from_dict({"image_uri": IMAGE, "workers": {"count": 1, "image": "x"}})
