"""The demo: three nights of the drop-in DAG, run by Airflow against the emulator, with the real trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TRAINER = REPOSITORY / "container/.venv/bin/python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not TRAINER.exists(), reason="needs the trainer's environment: make container/.venv/ready"
    ),
]


def test_the_demo_promotes_promotes_and_refuses(tmp_path):
    command = [sys.executable, "-m", "airflow_ml_provider.cli", "demo", "--folder", str(tmp_path / "demo")]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=580)
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    lines = [line for line in run.stdout.splitlines() if line.startswith("night ")]
    assert [line.split()[2] for line in lines] == ["promoted", "promoted", "refused"]
    assert "worse by" in lines[2]
    paths = [
        Path(line.split()[-1]) for line in run.stdout.splitlines() if line.startswith("  ") and "/" in line
    ]
    assert all(path.exists() for path in paths[-5:])
