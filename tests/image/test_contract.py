"""The contract's checks, against images that break it."""

from __future__ import annotations

import shutil

import pytest

from tests.image.conftest import airflow_ml, docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WRONG = "airflow-ml-test/wrong:1"
# Deaf to SIGTERM, never refuses anything, writes nothing.
SCRIPT = """trap '' TERM
echo working
for i in $(seq 1 115); do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def wrong_image(engine, tmp_path_factory):
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("no busybox to make an image from: apt-get install busybox-static")
    folder = tmp_path_factory.mktemp("wrong")
    shutil.copy(busybox, folder / "busybox")
    (folder / "train.sh").write_text(SCRIPT)
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY train.sh /train.sh\n"
        'SHELL ["/bin/busybox", "sh", "-c"]\nRUN /bin/busybox --install /bin\n'
        "ENTRYPOINT /bin/sh /train.sh\n"
    )
    done = airflow_ml("image", "build", str(folder), "--tag", WRONG)
    assert done.returncode == 0, done.stderr
    yield WRONG
    docker("rmi", "-f", WRONG)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_text("x,y\n1,2\n")
    return folder


def test_an_image_that_breaks_the_contract_is_told_each_breach(wrong_image, data):
    done = airflow_ml("image", "test", wrong_image, "--data", str(data), "--one-machine", "--", "{data}")
    assert done.returncode == 1
    outcomes = {line[8:]: line[:8].strip() for line in done.stdout.splitlines() if line[:1] != " "}
    assert outcomes == {
        "Its program is its entrypoint, not a shell's child": "FAILED",
        "Does not run as root": "advice",
        "Trains on one machine": "ok",
        "Writes a model, and a manifest of it": "FAILED",
        "Refuses an argument that it does not know with exit code 2": "FAILED",
        "Refuses to train without data with exit code 2": "FAILED",
        "Leaves within 10 seconds of SIGTERM": "FAILED",
        "Goes on after it was stopped, in the same job folder": "ok",
    }
    assert "fails 5 of the contract's checks" in done.stderr


def test_an_image_that_does_not_exist_is_named(engine, data):
    done = airflow_ml("image", "test", "localhost:1/no/such:image", "--data", str(data))
    assert done.returncode == 1
    assert "localhost:1/no/such:image is neither on this machine nor can it be pulled" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_dockerfile_is_refused(engine, data):
    done = airflow_ml("image", "build", str(data), "--tag", "nobody:1")
    assert done.returncode == 1
    assert "Dockerfile does not exist" in done.stderr


def test_a_step_that_fails_is_shown_with_what_it_printed(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY nothing /nothing\n")
    done = airflow_ml("image", "build", str(tmp_path), "--tag", "nobody:1")
    assert done.returncode == 1
    assert "could not be built" in done.stderr
    assert "nothing" in done.stderr
