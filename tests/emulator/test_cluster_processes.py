"""Jobs as processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_ml_provider.emulator.cluster import (
    Exit,
    ImageError,
    Job,
    LocalImage,
    ProcessCluster,
    Replica,
    guard,
)
from airflow_ml_provider.emulator.cluster.output import LONGEST_LINE
from airflow_ml_provider.emulator.cluster.ports import Ports

IMAGE = "europe-docker.pkg.dev/p/r/trainer:1"


class Watcher:
    """Collects what a cluster tells."""

    def __init__(self):
        self.lines = []
        self.exits = {}
        self._changed = threading.Condition()

    def take(self, replica, line, is_error):
        with self._changed:
            self.lines.append((replica, line, is_error))
            self._changed.notify_all()

    def end(self, exit_: Exit):
        with self._changed:
            self.exits[exit_.replica] = exit_
            self._changed.notify_all()

    def wait(self, *replicas):
        with self._changed:
            assert self._changed.wait_for(lambda: set(replicas) <= set(self.exits), timeout=60), self.lines

    def wait_for_line(self, text):
        with self._changed:
            assert self._changed.wait_for(lambda: any(text in line for _, line, _ in self.lines), timeout=60)

    def text(self, replica="workerpool0-0"):
        return [line for name, line, _ in self.lines if name == replica]


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def make_cluster(tmp_path, source):
    """Return a function that writes a script and makes a cluster whose image runs it."""
    made = []

    def make(script, environment=None, **fields):
        (source / "replica.py").write_text(textwrap.dedent(script))
        fields.setdefault("command", [sys.executable, "replica.py"])
        image = LocalImage("europe-docker.pkg.dev/p/r/*", cwd=source, **fields)
        made.append(ProcessCluster(tmp_path / "cluster", [image], environment, grace=1))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


def run(cluster, watcher, *replicas, job_id="1234567890123456789", **fields):
    job = Job(job_id, "123456789012", replicas or (Replica(0, 0, IMAGE),), **fields)
    return cluster.start(job, watcher.take, watcher.end)


def finished(cluster, watcher, *replicas, **fields):
    started = run(cluster, watcher, *replicas, **fields)
    watcher.wait(*(r.name for r in replicas or (Replica(0, 0, IMAGE),)))
    started.stop()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_four_replicas_find_each_other_over_real_sockets(make_cluster, watcher):
    cluster = make_cluster(
        """
        import json, os, socket, time
        spec = json.loads(os.environ["CLUSTER_SPEC"])
        kind, index = spec["task"]["type"], spec["task"]["index"]
        host, port = spec["cluster"][kind][index].split(":")
        server = socket.create_server((host, int(port)))
        peers = [p for pool in spec["cluster"].values() for p in pool if p != f"{host}:{port}"]
        for peer in peers:
            to, at = peer.split(":")
            for _ in range(200):
                try:
                    with socket.create_connection((to, int(at))) as c:
                        c.sendall(f"{kind}-{index}".encode())
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
        heard = []
        for _ in peers:
            c, _ = server.accept()
            heard.append(c.recv(100).decode())
        print("heard", *sorted(heard))
        """
    )
    replicas = [
        Replica(0, 0, IMAGE),
        Replica(1, 0, IMAGE),
        Replica(1, 1, IMAGE),
        Replica(2, 0, IMAGE),
    ]
    finished(cluster, watcher, *replicas)
    assert {e.status for e in watcher.exits.values()} == {0}
    assert watcher.text() == ["heard workerpool1-0 workerpool1-1 workerpool2-0"]
    assert watcher.text("workerpool1-1") == ["heard workerpool0-0 workerpool1-0 workerpool2-0"]


def test_a_replica_gets_a_clean_environment_and_an_empty_folder_of_its_own(
    make_cluster, watcher, source, monkeypatch
):
    monkeypatch.setenv("SECRET_TOKEN", "of the emulator")
    cluster = make_cluster(
        """
        import json, os
        print(json.dumps([dict(os.environ), os.getcwd(), os.listdir()]))
        """,
        environment={"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"},
        env={"FROM_IMAGE": "yes"},
    )
    job_env = {"AIP_MODEL_DIR": "gs://b/model/"}
    user = (("A", "one"), ("B", "$(A) $(AIP_MODEL_DIR) $$(A) $(NOBODY)"))
    finished(cluster, watcher, Replica(0, 0, IMAGE, env=user), env=job_env)
    env, folder, content = json.loads(watcher.text()[0])
    assert "SECRET_TOKEN" not in env
    assert env["HOME"] == folder
    assert content == ["tmp"]
    assert env["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert env["PYTHONPATH"] == str(source)
    assert env["FROM_IMAGE"] == "yes"
    assert env["STORAGE_EMULATOR_HOST"] == "http://127.0.0.1:1"
    assert env["B"] == "one gs://b/model/ $(A) $(NOBODY)"
    assert not Path(folder).exists()


def test_the_environment_may_be_completed_after_the_cluster_was_made(make_cluster, watcher):
    environment = {}
    cluster = make_cluster("import os; print(os.environ['STORAGE_EMULATOR_HOST'])", environment)
    environment["STORAGE_EMULATOR_HOST"] = "http://127.0.0.1:2"
    finished(cluster, watcher)
    assert watcher.text() == ["http://127.0.0.1:2"]


def test_a_command_of_the_job_replaces_the_images_and_uses_its_interpreter(make_cluster, watcher, source):
    cluster = make_cluster("raise SystemExit('not this one')")
    (source / "other.py").write_text("import sys; print('other', sys.executable, sys.argv[1:])")
    interpreter = Path(sys.executable).name
    by_module = Replica(0, 0, IMAGE, command=(interpreter, "-m", "other"), args=("--x", "$(CLOUD_ML_JOB_ID)"))
    by_file = Replica(1, 0, IMAGE, command=(interpreter, "other.py"))
    finished(cluster, watcher, by_module, by_file)
    assert watcher.text() == [f"other {sys.executable} ['--x', '1234567890123456789']"]
    assert watcher.text("workerpool1-0") == [f"other {sys.executable} []"]


def test_arguments_of_the_job_are_added_to_the_images_command(make_cluster, watcher):
    cluster = make_cluster(
        "import sys; print(sys.argv[1:])", command=[sys.executable, "replica.py", "--from-image"]
    )
    finished(cluster, watcher, Replica(0, 0, IMAGE, args=("--from-job",)))
    assert watcher.text() == ["['--from-image', '--from-job']"]


@pytest.mark.parametrize(
    ("pattern", "uri"),
    [
        ("gcr.io/p/trainer", "gcr.io/p/trainer:v1"),
        ("gcr.io/p/trainer", "gcr.io/p/trainer@sha256:" + "0" * 64),
        ("gcr.io/p/trainer:v*", "gcr.io/p/trainer:v1"),
        ("localhost:5000/*", "localhost:5000/trainer"),
        ("*/trainer", "localhost:5000/trainer:v1@sha256:" + "0" * 64),
    ],
)
def test_an_image_is_found_with_and_without_its_tag(tmp_path, source, watcher, pattern, uri):
    cluster = ProcessCluster(
        tmp_path / "c", [LocalImage(pattern, [sys.executable, "-c", "print(1)"], source)]
    )
    try:
        finished(cluster, watcher, Replica(0, 0, uri))
    finally:
        cluster.close()
    assert watcher.text() == ["1"]


def test_an_image_without_a_command_is_a_pull_failure_and_the_log_says_what_to_pass(
    make_cluster, watcher, caplog
):
    cluster = make_cluster("")
    with pytest.raises(ImageError, match=r"Failed to pull the container image gcr\.io/other/image:1"):
        run(cluster, watcher, Replica(0, 0, IMAGE), Replica(1, 0, "gcr.io/other/image:1"))
    assert watcher.lines == []
    assert "--image 'gcr.io/other/image:1=" in caplog.text


def test_a_command_that_does_not_exist_ends_the_replica_with_127(make_cluster, watcher):
    cluster = make_cluster("")
    finished(cluster, watcher, Replica(0, 0, IMAGE, command=("no-such-program",)))
    assert watcher.exits["workerpool0-0"].status == 127
    assert "no-such-program" in watcher.text()[0]


@pytest.mark.parametrize(
    ("end", "status", "out_of_memory"),
    [
        ("sys.exit(7)", 7, False),
        ("os.abort()", 134, False),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, False),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, True),
        ("sys.exit(137)", 137, True),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, False),
    ],
)
def test_an_end_has_the_status_that_a_container_would_have(make_cluster, watcher, end, status, out_of_memory):
    finished(make_cluster(f"import os, signal, sys\n{end}"), watcher)
    assert watcher.exits["workerpool0-0"] == Exit("workerpool0-0", status, out_of_memory)


def test_no_output_is_lost(make_cluster, watcher):
    cluster = make_cluster(
        f"""
        import os, sys
        for i in range(20000):
            print("line", i)
        sys.stdout.write("x" * {2 * LONGEST_LINE + 5} + "\\n\\n")
        sys.stdout.flush()
        os.write(1, "ende ü".encode()[:-1] + b"\\xff no newline")
        os.write(2, b"to stderr\\r\\n")
        """
    )
    finished(cluster, watcher)
    out = [line for _, line, is_error in watcher.lines if not is_error]
    assert out[:20000] == [f"line {i}" for i in range(20000)]
    assert [len(line) for line in out[20000:20003]] == [LONGEST_LINE, LONGEST_LINE, 5]
    assert out[20003:] == ["", "ende \ufffd\ufffd no newline"]
    assert [line for _, line, is_error in watcher.lines if is_error] == ["to stderr"]


def test_stop_asks_first_and_kills_what_does_not_listen(make_cluster, watcher):
    cluster = make_cluster(
        """
        import os, signal, sys, time
        def leave(*_):
            print("saved", flush=True)
            sys.exit(0)
        polite = os.environ["RANK"] == "0"
        signal.signal(signal.SIGTERM, leave if polite else signal.SIG_IGN)
        print("ready", flush=True)
        while True:
            time.sleep(0.05)
        """
    )
    started = run(cluster, watcher, Replica(0, 0, IMAGE), Replica(1, 0, IMAGE))
    for name in ("workerpool0-0", "workerpool1-0"):
        while not watcher.text(name):
            watcher.wait_for_line("ready")
    started.stop()
    assert watcher.text() == ["ready", "saved"]
    assert watcher.exits["workerpool0-0"].status == 0
    assert watcher.exits["workerpool1-0"].status == 137


CHILDREN = """
    import os, subprocess, sys, time
    child = "import time; time.sleep(600)"
    a = subprocess.Popen([sys.executable, "-c", child])
    b = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    print("pids", os.getpid(), a.pid, b.pid, flush=True)
    {end}
    """


def pids(watcher, replica="workerpool0-0"):
    watcher.wait_for_line("pids")
    return [int(p) for p in watcher.text(replica)[0].split()[1:]]


def test_a_replicas_children_end_with_it_as_in_a_container(make_cluster, watcher):
    finished(make_cluster(CHILDREN.format(end="sys.exit(0)")), watcher)
    assert [p for p in pids(watcher) if alive(p)] == []


def test_closing_the_cluster_ends_all_jobs_and_their_children(make_cluster, watcher):
    cluster = make_cluster(CHILDREN.format(end="time.sleep(600)"))
    other = Watcher()
    run(cluster, watcher)
    run(cluster, other, job_id="2")
    running = pids(watcher) + pids(other)
    assert all(alive(p) for p in running)
    cluster.close()
    assert [p for p in running if alive(p)] == []
    with pytest.raises(OSError, match="closed"):
        run(cluster, watcher, job_id="3")


EMULATOR = """
    import sys, threading, time
    from pathlib import Path
    from airflow_ml_provider.emulator.cluster import Job, LocalImage, ProcessCluster, Replica
    folder, source = map(Path, sys.argv[1:])
    cluster = ProcessCluster(folder, [LocalImage("*", [sys.executable, "replica.py"], source)])
    show = lambda replica, line, is_error: print(line, flush=True)
    cluster.start(Job("1", "2", (Replica(0, 0, "image"),)), show, lambda exit_: None)
    time.sleep(600)
    """


@pytest.fixture
def killable(tmp_path, source):
    """Start an emulator's cluster in a process that may be killed, and return it with its replicas' pids."""
    (source / "replica.py").write_text(textwrap.dedent(CHILDREN.format(end="time.sleep(600)")))
    arguments = [sys.executable, "-c", textwrap.dedent(EMULATOR), str(tmp_path / "cluster"), str(source)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    replicas = [int(p) for p in process.stdout.readline().split()[1:]]
    yield process, replicas
    process.kill()
    process.communicate()
    guard.kill_all(str(tmp_path / "cluster"))


def wait_until_gone(running):
    for _ in range(400):
        if not any(alive(p) for p in running):
            return
        time.sleep(0.05)
    raise AssertionError(f"still running: {[p for p in running if alive(p)]}")


def test_the_replicas_of_a_killed_emulator_are_killed_at_once(killable):
    process, replicas = killable
    assert len(replicas) == 3
    process.send_signal(signal.SIGKILL)
    wait_until_gone(replicas)


def test_what_the_guard_missed_is_killed_when_the_next_cluster_starts(killable, tmp_path, caplog):
    process, replicas = killable
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    commands = {path.parent.name: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    (guarding,) = [int(p) for p, c in commands.items() if b"guard.py" in c and bytes(tmp_path) in c]
    os.kill(guarding, signal.SIGKILL)
    process.kill()
    process.wait()
    assert all(alive(p) for p in replicas)
    ProcessCluster(tmp_path / "cluster", []).close()
    assert [p for p in replicas if alive(p)] == []
    assert alive(bystander.pid)
    assert "Killed 3 processes" in caplog.text
    bystander.kill()
    bystander.wait()


def test_two_clusters_cannot_share_a_folder(tmp_path):
    first = ProcessCluster(tmp_path, [])
    with pytest.raises(OSError, match="another emulator runs its jobs in"):
        ProcessCluster(tmp_path, [])
    first.close()
    ProcessCluster(tmp_path, []).close()


def test_ports_are_free_and_nobody_elses():
    with ThreadPoolExecutor(8) as pool:
        reserved = list(pool.map(Ports, [8] * 8))
    numbers = [n for ports in reserved for n in ports.numbers]
    assert len(set(numbers)) == 64
    for number in numbers:
        # Without SO_REUSEADDR, as the plainest trainer would.
        with socket.socket() as plain:
            plain.bind(("127.0.0.1", number))
    for ports in reserved:
        ports.release()
