"""Fixtures of every ring. They import what they need when used: the trainer's tests run without Airflow."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
IMAGE = "europe-docker.pkg.dev/demo-project/retraining/replica:1"


def pytest_addoption(parser):
    chaos = parser.getgroup("chaos", "tests/chaos")
    chaos.addoption("--schedules", type=int, default=60, help="how many to play for each kind of task")
    chaos.addoption("--seed", type=int, default=1, help="of the first schedule")


def pytest_configure(config):
    """Airflow reads its home when first imported, as tests are collected; it must not be the user's."""
    home = tempfile.mkdtemp(prefix="airflow-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Importing Google's operators takes long where much else runs.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }


@pytest.fixture
def script(tmp_path):
    """What a replica of ``IMAGE`` runs: a Python file that the test writes."""
    return tmp_path / "replica.py"


@pytest.fixture
def emulator(tmp_path, script, monkeypatch):
    """Run an emulator of one's own, with the environment that leads clients to it; return its address."""
    from airflow_ml_provider.emulator.cluster import LocalImage
    from airflow_ml_provider.emulator.server import Settings, exports, running

    image = LocalImage("*/replica", (sys.executable, str(script)), tmp_path)
    settings = Settings(data=tmp_path / "emulator", images=(image,), pace=0.05)
    with running(settings) as address:
        for name, value in exports(address, settings.project).items():
            monkeypatch.setenv(name, value)
        yield address


@pytest.fixture
def bucket(emulator):
    """Return a bucket of the emulator, as the official client sees it."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(project="demo-project", credentials=AnonymousCredentials())
    return client.create_bucket("retraining")
