"""Jobs as Docker containers. They need a Docker engine and a static busybox to make an image from."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading

import pytest

from airflow_ml_provider.emulator.cluster import DockerCluster, Exit, ImageError, Job, Machine, Replica

IMAGE = "airflow-ml-emulator-test:busybox"
SMALL = Machine(cpus=1, memory_gb=0.25)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no Docker engine: apt-get install docker.io, then start dockerd as root")
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.skip("no busybox to make an image from: apt-get install busybox-static")
    folder = tmp_path_factory.mktemp("image")
    shutil.copy(busybox, folder / "busybox")
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/busybox\n"
        'SHELL ["/bin/busybox", "sh", "-c"]\nRUN /bin/busybox --install /bin\n'
        'ENV FROM_IMAGE=yes\nENTRYPOINT ["/bin/sh"]\nCMD ["-c", "echo default"]\n'
    )
    docker("build", "-q", "-t", IMAGE, str(folder))
    yield IMAGE
    docker("rmi", "-f", IMAGE)


class Watcher:
    """Collects what a cluster tells."""

    def __init__(self):
        self.lines = []
        self.exits = {}
        self._changed = threading.Condition()

    def take(self, replica, line, is_error):
        self.lines.append((replica, line, is_error))

    def end(self, exit_: Exit):
        with self._changed:
            self.exits[exit_.replica] = exit_
            self._changed.notify_all()

    def wait(self, *replicas):
        with self._changed:
            assert self._changed.wait_for(lambda: set(replicas) <= set(self.exits), timeout=60)

    def text(self, replica):
        return [line for name, line, _ in self.lines if name == replica]


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def cluster(image, tmp_path):
    cluster = DockerCluster(tmp_path, grace=1)
    yield cluster
    cluster.close()


def shell(script, pool=0, index=0, **fields):
    return Replica(pool, index, IMAGE, command=("/bin/sh", "-c"), args=(script,), machine=SMALL, **fields)


def run(cluster, watcher, *replicas, job_id="1234567890123456789"):
    return cluster.start(Job(job_id, "123456789012", tuple(replicas)), watcher.take, watcher.end)


def test_a_container_runs_with_its_environment_and_its_output_is_captured(cluster, watcher):
    script = 'echo "out $FROM_IMAGE $CLOUD_ML_JOB_ID $GREETING"; echo err >&2; printf "no newline"; exit 7'
    started = run(cluster, watcher, shell(script, env=(("GREETING", "job $(CLOUD_ML_JOB_ID)"),)))
    watcher.wait("workerpool0-0")
    started.stop()
    assert watcher.exits["workerpool0-0"] == Exit("workerpool0-0", 7)
    assert ("workerpool0-0", "out yes 1234567890123456789 job 1234567890123456789", False) in watcher.lines
    assert ("workerpool0-0", "err", True) in watcher.lines
    assert ("workerpool0-0", "no newline", False) in watcher.lines


def test_without_command_and_arguments_the_image_decides(cluster, watcher):
    started = run(cluster, watcher, Replica(0, 0, IMAGE, machine=SMALL))
    watcher.wait("workerpool0-0")
    started.stop()
    assert watcher.text("workerpool0-0") == ["default"]


def test_arguments_alone_replace_the_images_arguments_only(cluster, watcher):
    started = run(cluster, watcher, Replica(0, 0, IMAGE, args=("-c", "echo mine"), machine=SMALL))
    watcher.wait("workerpool0-0")
    started.stop()
    assert watcher.text("workerpool0-0") == ["mine"]


def test_replicas_reach_each_other_by_the_host_names_of_the_cluster_spec(cluster, watcher):
    # The spec's "workerpool1":["host:2222"] as a shell can read it.
    serve = "echo from-the-worker | nc -l -p 2222"
    ask = (
        'peer=$(echo "$CLUSTER_SPEC" | sed \'s/.*"workerpool1":\\["\\([^":]*\\).*/\\1/\'); '
        "for i in 1 2 3 4 5 6 7 8 9 10; do nc $peer 2222 </dev/null && exit 0; sleep 0.3; done; exit 1"
    )
    started = run(cluster, watcher, shell(ask), shell(serve, pool=1))
    watcher.wait("workerpool0-0")
    started.stop()
    assert watcher.exits["workerpool0-0"].status == 0
    assert "from-the-worker" in watcher.text("workerpool0-0")


def test_the_emulator_on_the_loopback_address_is_reached_through_the_gateway(image, tmp_path, watcher):
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the emulator\n")

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_address[1]}", "OTHER": "a:b"}
    cluster = DockerCluster(tmp_path, environment, grace=1)
    try:
        started = run(
            cluster, watcher, shell('echo "$OTHER"; wget -q -O - "$STORAGE_EMULATOR_HOST/storage/v1/b"')
        )
        watcher.wait("workerpool0-0")
        started.stop()
    finally:
        cluster.close()
        server.shutdown()
        server.server_close()
    assert watcher.text("workerpool0-0") == ["a:b", "hello from the emulator"]


def test_an_image_that_is_nowhere_is_a_pull_failure_that_names_it(cluster, watcher):
    with pytest.raises(ImageError, match=r"Failed to pull the container image localhost:1/no/such:image"):
        run(cluster, watcher, Replica(0, 0, "localhost:1/no/such:image", machine=SMALL))
    assert docker("network", "ls", "-q", "--filter", "name=airflow-ml-1234567890123456789") == ""


def test_stop_ends_containers_that_ignore_sigterm_and_leaves_nothing(cluster, watcher):
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    started = run(cluster, watcher, shell(deaf), shell(deaf, pool=1), shell(deaf, pool=1, index=1))
    started.stop()
    assert {e.status for e in watcher.exits.values()} == {137}
    assert not any(e.out_of_memory for e in watcher.exits.values())
    assert docker("ps", "-aq", "--filter", "name=airflow-ml-1234567890123456789") == ""
    assert docker("network", "ls", "-q", "--filter", "name=airflow-ml-1234567890123456789") == ""


def test_a_container_is_limited_to_its_machine(cluster, watcher):
    started = run(cluster, watcher, shell("while :; do sleep 1; done"))
    config = json.loads(docker("inspect", "airflow-ml-1234567890123456789-workerpool0-0"))[0]["HostConfig"]
    started.stop()
    assert config["Memory"] == 2**28
    assert config["NanoCpus"] == 10**9
    assert config["ShmSize"] == 64 * 2**20


def test_a_container_that_takes_too_much_memory_is_reported_so(cluster, watcher):
    started = run(cluster, watcher, shell("exec tail /dev/zero"))
    watcher.wait("workerpool0-0")
    started.stop()
    assert watcher.exits["workerpool0-0"] == Exit("workerpool0-0", 137, out_of_memory=True)


def test_what_a_killed_emulator_left_is_removed_when_the_next_one_starts(image, tmp_path, watcher):
    former = DockerCluster(tmp_path, grace=1)
    run(former, watcher, shell("while :; do sleep 1; done"))
    other = DockerCluster(tmp_path / "other", grace=1)
    assert docker("ps", "-q", "--filter", "name=airflow-ml-1234567890123456789") != ""
    DockerCluster(tmp_path, grace=1).close()
    assert docker("ps", "-aq", "--filter", "name=airflow-ml-1234567890123456789") == ""
    other.close()
    former.close()
