"""Fixtures of the trainer's tests, which run in container/.venv: no Airflow, no provider there."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TASK = REPOSITORY / "container/trainer/task.py"
sys.path.insert(0, str(REPOSITORY / "container"))

if importlib.util.find_spec("tensorflow") is None:
    collect_ignore_glob = ["test_*.py"]

_STORAGE = """
import sys
from pathlib import Path
from airflow_ml_provider.emulator.http import Application, Server
from airflow_ml_provider.emulator.storage.service import CloudStorage
from airflow_ml_provider.emulator.storage.store import ObjectStore
server = Server(("127.0.0.1", 0), Application([CloudStorage(ObjectStore(Path(sys.argv[1])))]))
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture(autouse=True)
def _no_job(monkeypatch):
    """Leave no variable of a surrounding job to the trainer."""
    for name in list(os.environ):
        if name.startswith(("AIP_", "CLOUD_ML_", "CLUSTER_SPEC", "TF_CONFIG", "TRAINING_")):
            monkeypatch.delenv(name)


@pytest.fixture
def task(capsys, monkeypatch):
    """Run a command line in this process; return exit code, standard output and standard error."""
    from trainer.task import main

    def run(*argv, **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        code = main([str(word) for word in argv])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def start(tmp_path):
    """Start a command line as a process of its own."""
    processes = []

    def run(*argv, **env):
        process = subprocess.Popen(
            [sys.executable, str(TASK), *map(str, argv)],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def ports():
    """Return two ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """Run an emulated Cloud Storage and return a client for it."""
    python = REPOSITORY / ".venv/bin/python"
    if not python.exists():
        pytest.skip("the emulator's environment is not installed")
    command = [str(python), "-c", _STORAGE, str(tmp_path / "storage")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            port = int(process.stdout.readline())
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import storage
            from trainer import files

            files._client.cache_clear()
            yield storage.Client(project="demo-project", credentials=AnonymousCredentials())
            files._client.cache_clear()
        finally:
            process.kill()
