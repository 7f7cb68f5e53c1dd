"""Pushing to a registry, and the digests that it tells."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time

import pytest
import requests

from tests.image.conftest import airflow_ml, docker


@pytest.fixture(scope="module")
def registry(engine, tmp_path_factory):
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("no registry to push to: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with subprocess.Popen([program, "serve", config], stdout=-3, stderr=-3) as process:
        while True:
            try:
                requests.get(f"http://{address}/v2/", timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None
                time.sleep(0.1)
        yield address
        process.terminate()


@pytest.fixture
def image(registry, tmp_path):
    uri = f"{registry}/team/trainer:1"
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY model /model\n")
    (tmp_path / "model").write_text("weights")
    assert airflow_ml("image", "build", str(tmp_path), "--tag", uri).returncode == 0
    yield uri
    docker("rmi", "-f", uri)


def test_push_prints_the_uri_that_names_exactly_what_was_pushed(registry, image):
    pushed = airflow_ml("image", "push", image)
    assert pushed.returncode == 0, pushed.stderr
    assert re.fullmatch(rf"{registry}/team/trainer@sha256:[0-9a-f]{{64}}", pushed.stdout.strip())
    assert airflow_ml("image", "digest", image).stdout == pushed.stdout
    docker("rmi", "-f", image)
    docker("pull", "-q", pushed.stdout.strip())


def test_a_tag_that_the_registry_does_not_have_is_named(registry):
    done = airflow_ml("image", "digest", f"{registry}/team/nothing:7")
    assert done.returncode == 1
    assert f"{registry}/team/nothing:7" in done.stderr
    assert "Traceback" not in done.stderr


def test_pushing_what_was_never_built_is_refused(registry):
    done = airflow_ml("image", "push", f"{registry}/team/nothing:7")
    assert done.returncode == 1
    assert "could not be pushed" in done.stderr


def test_a_digest_is_no_name_to_push(engine):
    done = airflow_ml("image", "push", "europe-docker.pkg.dev/p/r/trainer@sha256:" + "0" * 64)
    assert done.returncode == 1
    assert "give a tag" in done.stderr
