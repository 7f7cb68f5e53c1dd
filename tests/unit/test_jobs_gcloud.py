from __future__ import annotations

import pytest

from airflow_ml_provider.jobs import InvalidTrainingJob, TrainingJob

IMAGE = "gcr.io/my-project/wals:v1"

WALS = r"""
gcloud ai-platform jobs submit training ${JOB_NAME} \
  --region us-central1 \
  --scale-tier=CUSTOM \
  --job-dir gs://${BUCKET}/jobs/${JOB_NAME} \
  --master-machine-type complex_model_m_gpu --master-image-uri gcr.io/my-project/wals:v1 \
  --labels=team=ml,model=wals \
  -- \
  --train-file "gs://$BUCKET/my ratings.csv" --output-dir x  # as in the tutorial
"""


def chief(job):
    return job.to_custom_job()["jobSpec"]["workerPoolSpecs"][0]


def test_a_script_as_people_have_it_is_understood():
    job = TrainingJob.from_gcloud(WALS, env={"JOB_NAME": "wals_1", "BUCKET": "my-bucket"})
    assert job.display_name == "wals_1"
    assert job.region == "us-central1"
    assert job.labels == {"team": "ml", "model": "wals"}
    assert chief(job)["machineSpec"]["acceleratorCount"] == 4
    assert chief(job)["containerSpec"]["args"] == [
        "--train-file",
        "gs://my-bucket/my ratings.csv",
        "--output-dir",
        "x",
        "--job-dir",
        "gs://my-bucket/jobs/wals_1",
    ]


def test_a_shell_variable_without_a_value_is_named():
    with pytest.raises(InvalidTrainingJob, match=r"\$BUCKET"):
        TrainingJob.from_gcloud(WALS, env={"JOB_NAME": "wals_1"})


def test_flags_override_the_config_file(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "trainingInput:\n  scaleTier: CUSTOM\n  masterType: n1-standard-8\n  region: us-east1\n"
        "  masterConfig:\n    imageUri: gcr.io/my-project/old:1\n  args: ['--old']\n"
    )
    words = ["gcloud", "beta", "ml-engine", "jobs", "submit", "training", "j", "--config", str(config)]
    job = TrainingJob.from_gcloud(
        [*words, "--master-image-uri", IMAGE, "--region=europe-west4", "--", "--new"]
    )
    assert job.image_uri == IMAGE
    assert job.region == "europe-west4"
    assert chief(job)["machineSpec"]["machineType"] == "n1-standard-8"
    assert chief(job)["containerSpec"]["args"] == ["--new"]


def test_a_cluster_with_accelerators_and_a_key():
    job = TrainingJob.from_gcloud(
        f"ai-platform jobs submit training j --master-image-uri {IMAGE} --scale-tier custom "
        "--master-machine-type n1-standard-16 --master-accelerator count=2,type=nvidia-tesla-t4 "
        "--worker-machine-type n1-standard-8 --worker-count 3 "
        "--worker-accelerator type=nvidia-tesla-v100,count=1 "
        "--parameter-server-machine-type n1-standard-4 --parameter-server-count 2 "
        "--kms-key k --kms-keyring r --kms-location us-central1 --kms-project p "
        "--enable-web-access --stream-logs --project my-project"
    )
    pools = job.to_custom_job()["jobSpec"]["workerPoolSpecs"]
    assert [pool["replicaCount"] for pool in pools] == ["1", "3", "2"]
    assert pools[0]["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_T4"
    assert pools[1]["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_V100"
    assert job.kms_key == "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    assert job.enable_web_access


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("gcloud ai-platform jobs list", "not 'gcloud ai-platform jobs submit training"),
        (f"gcloud ai-platform jobs submit training --master-image-uri {IMAGE}", "one name"),
        (f"gcloud ai-platform jobs submit training j k --master-image-uri {IMAGE}", "one name"),
        (
            f"gcloud ai-platform jobs submit training j --master-image-uri {IMAGE} --gpu 1",
            "--gpu: no such flag",
        ),
        ("gcloud ai-platform jobs submit training j --master-image-uri", "its value is missing"),
        (
            "gcloud ai-platform jobs submit training j --module-name t.task --runtime-version 2.1",
            "FROM python",
        ),
        (
            f"gcloud ai-platform jobs submit training j_$(date) --master-image-uri {IMAGE}",
            "command in the command",
        ),
        ("gcloud ai-platform jobs submit training 'j", "not a command line"),
    ],
)
def test_what_is_wrong_is_said(command, message):
    with pytest.raises(InvalidTrainingJob, match=message.replace("$", r"\$")):
        TrainingJob.from_gcloud(command)


def test_labels_on_the_command_line_replace_those_of_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"labels: {{a: b}}\ntrainingInput: {{masterConfig: {{imageUri: '{IMAGE}'}}}}\n"
    )
    line = "gcloud ai-platform jobs submit training j --config c.yaml"
    assert TrainingJob.from_gcloud(line, folder=tmp_path).labels == {"a": "b"}
    assert TrainingJob.from_gcloud(f"{line} --labels=c=d", folder=tmp_path).labels == {"c": "d"}
    assert TrainingJob.from_gcloud(f"{line} --labels ^:^c=d:e=f", folder=tmp_path).labels == {
        "c": "d",
        "e": "f",
    }


def test_retired_gpus_are_replaced_by_as_many_as_the_machine_can_have():
    job = TrainingJob.from_gcloud(
        f"gcloud ai-platform jobs submit training j --master-image-uri {IMAGE} --scale-tier custom "
        "--master-machine-type n1-standard-32 --master-accelerator type=nvidia-tesla-k80,count=1"
    )
    assert job.accelerator == "NVIDIA_TESLA_T4:2"
    assert any("1 x NVIDIA_TESLA_K80 became 2 x NVIDIA_TESLA_T4" in note for note in job.migration_notes)


def test_a_switch_with_a_value_does_not_take_the_jobs_name():
    job = TrainingJob.from_gcloud(
        f"gcloud beta ai-platform jobs submit training --use-chief-in-tf-config true "
        f"--enable-web-access j --master-image-uri={IMAGE}"
    )
    assert job.display_name == "j"
    assert job.enable_web_access is True


def test_flags_in_a_file_are_not_passed_over():
    with pytest.raises(InvalidTrainingJob, match="--flags-file: can't be read here"):
        TrainingJob.from_gcloud(
            f"gcloud ai-platform jobs submit training j --flags-file f --master-image-uri {IMAGE}"
        )
