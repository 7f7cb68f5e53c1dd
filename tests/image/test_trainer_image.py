"""The image of container/: built unmodified, and trained with, as Vertex AI would."""

from __future__ import annotations

import json
import random
import time

import pytest
import requests
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ml_provider.emulator.server import Settings, running
from airflow_ml_provider.emulator.vertex import runner
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.jobs.machines import MachineType
from tests.image.conftest import airflow_ml, docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
JOBS = "v1/projects/demo-project/locations/europe-west4/customJobs"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    settings = Settings(data=tmp_path_factory.mktemp("emulator"), docker=True, pace=0.05)
    with running(settings) as address:
        yield address


@pytest.fixture(scope="module")
def bucket(emulator):
    client = storage.Client(
        project="demo-project",
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=emulator),
    )
    bucket = client.create_bucket("retraining")
    draw = random.Random(7)
    rows = [
        f"{user},{item},{draw.randint(1, 5)}" for user in range(300) for item in draw.sample(range(200), 20)
    ]
    bucket.blob("ratings.csv").upload_from_string("userId,itemId,rating\n" + "\n".join(rows) + "\n")
    return bucket


def submit(emulator, image, run, output, **fields):
    args = [
        "--train-file=gs://retraining/ratings.csv",
        "--data-type=user_ratings",
        "--num_iters=60",
        "--latent_factors=16",
        "--no-bias",
        "--checkpoint-every=1",
        f"--job-dir=gs://retraining/jobs/{run}",
        f"--output-dir=gs://retraining/models/{output}",
    ]
    job = TrainingJob(image_uri=image, args=args, workers=1, display_name=run, **fields)
    return create(emulator, job)


def create(emulator, job):
    reply = requests.post(f"{emulator}/{JOBS}", json=job.to_custom_job())
    assert reply.status_code == 200, reply.text
    return reply.json()["name"]


def ended(emulator, name):
    while True:
        job = requests.get(f"{emulator}/v1/{name}").json()
        if job["state"] in ("JOB_STATE_SUCCEEDED", "JOB_STATE_CANCELLED"):
            return job
        if job["state"] == "JOB_STATE_FAILED" and "error" in job:
            return job
        time.sleep(0.3)


def test_the_image_is_not_root_has_no_shell_and_says_its_revision(trainer_image):
    config = json.loads(docker("image", "inspect", trainer_image))[0]["Config"]
    assert config["User"] == "10001"
    assert config["Entrypoint"] == ["python", "-m", "trainer.task"]
    assert "Healthcheck" not in config
    assert config["Labels"]["org.opencontainers.image.revision"] != "unknown"
    files = docker(
        "run", "--rm", "--entrypoint", "python", trainer_image, "-c", "import os; print(os.listdir())"
    )
    assert files.strip() == "['trainer']"


def test_the_trainers_image_keeps_the_contract(trainer_image):
    done = airflow_ml("image", "test", trainer_image, "--hyperparameter", "latent_factors=8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "advice" not in done.stdout
    assert done.stdout.count("ok ") == 11


def test_a_cluster_whose_container_is_killed_recovers_and_trains_the_same_model(
    trainer_image, emulator, bucket
):
    undisturbed = ended(emulator, submit(emulator, trainer_image, "undisturbed", "undisturbed"))
    assert undisturbed["state"] == "JOB_STATE_SUCCEEDED", undisturbed
    name = submit(emulator, trainer_image, "killed", "killed")
    while not list(bucket.list_blobs(prefix="jobs/killed/")):
        time.sleep(0.05)
    docker("kill", f"airflow-ml-{name.rpartition('/')[2]}-workerpool1-0")
    killed = ended(emulator, name)
    assert killed["state"] == "JOB_STATE_FAILED"
    assert not bucket.blob("models/killed/manifest.json").exists()
    again = ended(emulator, submit(emulator, trainer_image, "killed", "killed"))
    assert again["state"] == "JOB_STATE_SUCCEEDED", again
    metrics = [
        json.loads(bucket.blob(f"models/{run}/manifest.json").download_as_bytes())["metrics"]
        for run in ("undisturbed", "killed")
    ]
    assert metrics[0] == metrics[1]


def test_a_replica_that_takes_more_memory_than_its_machine_has_is_reported_as_vertex_does(
    trainer_image, emulator, monkeypatch
):
    monkeypatch.setitem(runner.MACHINES, "n1-standard-4", MachineType(cpus=4, memory_gb=0.5))
    job = TrainingJob(
        image_uri=trainer_image,
        command=["python", "-c"],
        args=["block = [bytes(2**20) + b'x' for _ in range(4096)]"],
        display_name="hungry",
    )
    failed = ended(emulator, create(emulator, job))
    assert failed["state"] == "JOB_STATE_FAILED"
    message = failed["error"]["message"]
    assert message.startswith(
        "The replica workerpool0-0 ran out of memory and exited with a non-zero status of 137."
    )
