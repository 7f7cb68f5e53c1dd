"""The trainer's image, built from container/ on a base that needs no registry."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BASE = "trainer-base:debian"
IMAGE = "airflow-ml-test/trainer:1"


def airflow_ml(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_ml_provider.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def engine():
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine: apt-get install docker.io, then start dockerd as root")


@pytest.fixture(scope="session")
def trainer_image(engine):
    have_base = subprocess.run(["docker", "image", "inspect", BASE], capture_output=True).returncode == 0
    if not have_base:
        if not shutil.which("debootstrap"):
            pytest.skip(
                "no base image: apt-get install debootstrap, or docker pull a python:3.11-slim "
                f"and tag it {BASE}"
            )
        subprocess.run([REPOSITORY / ".ci" / "base-image", BASE], check=True)
    done = airflow_ml("image", "build", "--tag", IMAGE, "--base-image", BASE, "--network", "host")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == docker("image", "inspect", "--format", "{{.Id}}", IMAGE).strip()
    return IMAGE
