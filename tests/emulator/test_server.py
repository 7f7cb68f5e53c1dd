"""The emulator as people start it: a command that prints what to export, and ends with its jobs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import requests

from airflow_ml_provider.emulator.server import HOST_VARIABLES, EmulatorError, Settings, running

PARENT = "projects/demo-project/locations/europe-west4"
COMMAND = [sys.executable, "-m", "airflow_ml_provider.cli", "emulator"]
REPLICA = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


@contextmanager
def started(*arguments):
    """Start the command; yield the process and what it says to export."""
    command = [*COMMAND, "--port", "0", "--pace", "0.05", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            exported = {}
            for line in process.stdout:
                if line.startswith("# Serving"):
                    break
                name, _, value = line.removeprefix("export ").partition("=")
                (exported[name],) = shlex.split(value)
            yield process, exported
        finally:
            process.kill()


def refused(*arguments):
    """Start the command, which does not come up; return its exit code and what it says."""
    run = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in run.stderr
    return run.returncode, run.stderr


def create(address, image):
    pool = {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1}
    job = {
        "displayName": "j",
        "jobSpec": {"workerPoolSpecs": [pool | {"containerSpec": {"imageUri": image}}]},
    }
    reply = requests.post(f"{address}/v1/{PARENT}/customJobs", json=job, timeout=10)
    assert reply.status_code == 200
    return reply.json()["name"]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_prints_what_to_export_and_ends_with_its_jobs(tmp_path):
    pid_file = tmp_path / "pid"
    image = f"*/replica={shlex.join([sys.executable, '-c', REPLICA, str(pid_file)])}"
    data = str(tmp_path / "data")
    with started("--data", data, "--image", image) as (process, exported):
        address = exported["STORAGE_EMULATOR_HOST"]
        assert {exported[name] for name in HOST_VARIABLES} == {address}
        assert address.startswith("http://127.0.0.1:")
        connection = json.loads(exported["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"])
        assert connection["extra"] == {"is_anonymous": True, "project": "demo-project"}
        job = create(address, "europe-docker.pkg.dev/p/r/replica:1")
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not is_alive(int(pid_file.read_text()))
    with running(Settings(data=tmp_path / "data")) as address:
        lost = requests.get(f"{address}/v1/{job}", timeout=10).json()
        assert lost["state"] == "JOB_STATE_FAILED"
        assert "shut down while this job was not over" in lost["error"]["message"]


def test_it_says_why_it_cannot_start(tmp_path):
    with running(Settings(data=tmp_path / "data")) as address:
        port = address.rpartition(":")[2]
        code, message = refused("--port", port, "--data", str(tmp_path / "other"))
        assert code == 1
        assert f"Can't listen on 127.0.0.1:{port}: Address already in use" in message
        code, message = refused("--port", "0", "--data", str(tmp_path / "data"))
        assert code == 1
        assert f"Another emulator is using {tmp_path / 'data'}" in message
        assert requests.get(f"{address}/storage/v1/b?project=p", timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--port", "70000"], "65535"),
        (["--image", "nonsense"], "PATTERN=COMMAND"),
        (["--pace", "-1"], "pace"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(arguments, expected, tmp_path):
    from click.testing import CliRunner

    from airflow_ml_provider.cli.main import main

    result = CliRunner().invoke(main, ["emulator", "--data", str(tmp_path), *arguments])
    assert result.exit_code in (1, 2)
    assert expected in result.output


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmulatorError, match="file/data"), running(Settings(data=tmp_path / "file/data")):
        pass


def test_it_listens_on_no_other_address(tmp_path):
    with running(Settings(data=tmp_path / "data")) as address:
        port = int(address.rpartition(":")[2])
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))
