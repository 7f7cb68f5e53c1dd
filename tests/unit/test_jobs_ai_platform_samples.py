"""What people submitted to AI Platform Training is read, or refused with what to do instead."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from google.cloud.aiplatform_v1 import CustomJob
from google.cloud.aiplatform_v1 import HyperparameterTuningJob as OfficialTuningJob
from google.protobuf import json_format

from airflow_ml_provider.jobs import HyperparameterTuningJob, InvalidTrainingJob, TrainingJob

GROUPS = yaml.safe_load((Path(__file__).parent / "data" / "ai_platform_samples.yaml").read_text())
SAMPLES = {f"{group}: {sample['source']}": sample for group, samples in GROUPS.items() for sample in samples}


def named(expected):
    return [name for name, sample in SAMPLES.items() if sample["expect"] == expected]


def read(sample, folder, image_uri=None):
    """Read a sample as a user would: its config from a file, its script as it is."""
    write_files(sample, folder)
    if "script" in sample:
        return TrainingJob.from_gcloud(
            sample["script"], env=sample.get("env"), folder=folder, image_uri=image_uri
        )
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(sample["config"]))
    return TrainingJob.from_ai_platform(path, image_uri=image_uri)


def write_files(sample, folder):
    for name, content in sample.get("files", {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def test_there_are_enough_samples_to_say_something():
    assert len(SAMPLES) >= 60
    assert {sample["expect"] for sample in SAMPLES.values()} == {"migrated", "refused", "tuning"}


@pytest.mark.parametrize("name", named("migrated"))
def test_a_job_with_an_image_is_read_to_what_the_official_protos_take(name, tmp_path):
    job = read(SAMPLES[name], tmp_path)
    proto = CustomJob()
    json_format.ParseDict(job.to_custom_job(), proto._pb, ignore_unknown_fields=False)
    assert proto.job_spec.worker_pool_specs[0].container_spec.image_uri == job.image_uri
    path = tmp_path / "job.yaml"
    path.write_text(job.to_yaml())
    assert TrainingJob.from_yaml(path) == job
    assert "None" not in json.dumps(job.to_custom_job())


@pytest.mark.parametrize("name", named("refused"))
def test_what_has_no_equivalent_is_refused_with_the_reason(name, tmp_path):
    with pytest.raises(InvalidTrainingJob) as caught:
        read(SAMPLES[name], tmp_path)
    assert SAMPLES[name]["says"] in str(caught.value)


WITHOUT_IMAGE = [
    name
    for name in named("refused")
    if re.search("Python package|ENTRYPOINT|COPY|required", SAMPLES[name]["says"])
]


@pytest.mark.parametrize("name", WITHOUT_IMAGE)
def test_a_python_package_is_read_once_an_image_holds_it(name, tmp_path):
    image = "europe-docker.pkg.dev/p/r/trainer:1"
    try:
        job = read(SAMPLES[name], tmp_path, image)
    except InvalidTrainingJob as error:
        assert "cloud_tpu has no equivalent" in str(error)
        return
    proto = CustomJob()
    json_format.ParseDict(job.to_custom_job(), proto._pb, ignore_unknown_fields=False)
    container = proto.job_spec.worker_pool_specs[0].container_spec
    assert container.image_uri == image
    assert not container.command or list(container.command[:2]) == ["python", "-m"]


@pytest.mark.parametrize("name", named("tuning"))
def test_a_tuning_job_is_told_from_a_training_job(name, tmp_path):
    with pytest.raises(InvalidTrainingJob, match="hyperparameters: a tuning job"):
        read(SAMPLES[name], tmp_path)


def read_tuning(sample, folder):
    write_files(sample, folder)
    if "script" in sample:
        return HyperparameterTuningJob.from_gcloud(sample["script"], env=sample.get("env"), folder=folder)
    has_image = "masterConfig" in sample["config"]["trainingInput"]
    trial = None if has_image else TrainingJob(image_uri="europe-docker.pkg.dev/p/r/i:1")
    return HyperparameterTuningJob.from_ai_platform(sample["config"], trial=trial)


@pytest.mark.parametrize("name", [name for name in named("tuning") if "says" not in SAMPLES[name]])
def test_a_tuning_job_is_read_to_what_the_official_protos_take(name, tmp_path):
    job = read_tuning(SAMPLES[name], tmp_path)
    proto = OfficialTuningJob()
    body = job.to_hyperparameter_tuning_job()
    json_format.ParseDict(body, proto._pb, ignore_unknown_fields=False)
    assert proto.max_trial_count >= proto.parallel_trial_count >= 1
    path = tmp_path / "job.yaml"
    path.write_text(job.to_yaml())
    assert HyperparameterTuningJob.from_yaml(path) == job


@pytest.mark.parametrize("name", [name for name in named("tuning") if "says" in SAMPLES[name]])
def test_a_tuning_job_without_equivalent_is_refused_with_the_reason(name, tmp_path):
    with pytest.raises(InvalidTrainingJob) as caught:
        read_tuning(SAMPLES[name], tmp_path)
    assert SAMPLES[name]["says"] in str(caught.value)
