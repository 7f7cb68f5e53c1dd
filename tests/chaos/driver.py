"""Plays Airflow: tries, deferral and reschedules of one task, against an emulator that kills on cue."""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import airflow

from airflow_ml_provider.emulator.cluster import LocalImage, ProcessCluster
from airflow_ml_provider.emulator.faults.application import FaultyApplication
from airflow_ml_provider.emulator.faults.rules import Rule, Rulebook
from airflow_ml_provider.emulator.http import Server
from airflow_ml_provider.emulator.logging.service import CloudLogging
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.server import exports
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.service import VertexAI
from tests.chaos.schedules import RETRIES, Kill, Schedule

SPEED = 20
REGION = "us-central1"
ACTIVE = ("JOB_STATE_QUEUED", "JOB_STATE_PENDING", "JOB_STATE_RUNNING")
_PROJECT = re.compile(r"/projects/(\d+)/")
# Virtually 4 seconds; Airflow's default is 5 minutes.
_RETRY_DELAY = 0.2
_PATIENCE = 90.0


@dataclass
class Process:
    """One process of the task: what it asked for, and when it is to be killed."""

    pid: int
    kill: Kill | None
    requests: int = 0


@dataclass
class Outcome:
    """What became of a task.

    :param state: ``success`` or ``failed``.
    :param result: the XCom, or the error.
    :param jobs: every job of its project, oldest first.
    :param history: what happened, for people.
    """

    state: str
    result: Any
    jobs: list[dict[str, Any]]
    history: list[str] = field(default_factory=list)

    def count(self, *states: str) -> int:
        return sum(job["state"] in states for job in self.jobs)


class Scene(FaultyApplication):
    """The emulator, killing who asks."""

    def __init__(self, services, rules) -> None:
        super().__init__(services, rules)
        self.acting: dict[str, Process] = {}

    def dispatch(self, request):
        found = _PROJECT.search(request.path)
        process = self.acting.get(found[1]) if found else None
        if process is None:
            return super().dispatch(request)
        index, process.requests = process.requests, process.requests + 1
        kill = process.kill
        if kill is None or kill.at != "request" or kill.index != index:
            return super().dispatch(request)
        if kill.phase == "before":
            _signal(process.pid, kill)
            raise ConnectionResetError("who asked is dead")
        response = super().dispatch(request)
        _signal(process.pid, kill)
        return response


class Theatre:
    """Everything that a schedule needs.

    :param build: ``MODULE:FUNCTION`` that builds the task from a command, see ``worker.py``.
    """

    def __init__(self, folder: Path, build: str) -> None:
        self.folder = folder
        self.rules = Rulebook()
        logs = LogStore(folder / "logging")
        shell = ("/bin/sh", "-c", 'sleep "$1"; exit "$2"', "replica")
        self.cluster = ProcessCluster(folder / "cluster", [LocalImage("*/replica", shell, folder)], grace=1)
        vertex = VertexAI(
            folder / "vertex",
            self.cluster,
            logs,
            project="demo-project",
            pace=Pace().scaled(1 / SPEED),
            rules=self.rules,
        )
        self.scene = Scene([vertex, CloudLogging(logs)], self.rules)
        self.server = Server(("127.0.0.1", 0), self.scene)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        (folder / "results").mkdir()
        environment = {**os.environ, **exports(self.address, "demo-project")}
        if airflow.__version__.startswith("2."):
            # There a sensor that is rescheduled asks the database when it began.
            environment["AIRFLOW_HOME"] = str(folder / "airflow")
            migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(migrate, env=environment, check=True, capture_output=True)
        command = [sys.executable, "-m", "tests.chaos.worker", build, str(SPEED), str(folder / "results")]
        self._worker = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._replies: dict[int, queue.SimpleQueue] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._ready.wait(120):
            raise RuntimeError("the worker did not start")

    def close(self) -> None:
        self._worker.stdin.close()
        self._worker.wait(60)
        self.server.shutdown()
        self.server.server_close()
        self.scene.close()

    def process(self, played: Performance, command: dict[str, Any]) -> dict[str, Any] | None:
        """Run one process to its end; return what it did, or None if it was killed before Airflow heard."""
        number = next(self._numbers)
        kill = played.next_kill()
        if kill and kill.at == "push":
            command = {**command, "kill_push": kill.index}
        if kill and kill.at == "result":
            command = {**command, "kill_result": True}
        replies = self._replies[number] = queue.SimpleQueue()
        self._tell({**command, "id": number})
        pid = replies.get(timeout=_PATIENCE)["pid"]
        project = played.schedule.project
        process = self.scene.acting[project] = Process(pid, kill)
        self._tell({"go": number})
        try:
            replies.get(timeout=_PATIENCE)
        except queue.Empty:
            os.kill(pid, signal.SIGKILL)
            log = (self.folder / "results" / f"{number}.log").read_text(errors="replace")
            raise AssertionError(f"a process hung: {command}\n{log[-3000:]}") from None
        finally:
            self.scene.acting.pop(project, None)
            del self._replies[number]
        result = self.folder / "results" / f"{number}.json"
        known = json.loads(result.read_text()) if result.exists() else None
        what = "trigger" if "trigger" in command else command.get("method") or "execute"
        note = "killed" if known is None else str({k: str(v)[:300] for k, v in known.items()})
        played.history.append(
            f"try {command.get('try_number')} {what} [log {number}, {process.requests} requests, {kill}]: "
            f"{note}"
        )
        return known

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def jobs(self, project: str) -> list[dict[str, Any]]:
        path = f"/v1/projects/{project}/locations/{REGION}/customJobs?pageSize=100"
        return list(reversed(self.ask("GET", path).get("customJobs", [])))

    def _tell(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._worker.stdin.write(json.dumps(message) + "\n")

    def _listen(self) -> None:
        for line in self._worker.stdout:
            message = json.loads(line)
            if "ready" in message:
                self._ready.set()
            else:
                self._replies[message["id"]].put(message)


@dataclass
class Performance:
    """One schedule, played."""

    theatre: Theatre
    schedule: Schedule
    history: list[str] = field(default_factory=list)
    processes: int = 0

    def next_kill(self) -> Kill | None:
        self.processes += 1
        return self.schedule.kills.get(self.processes - 1)

    def play(self) -> Outcome:
        """Run the task to its final state, and look at what is left."""
        schedule, theatre = self.schedule, self.theatre
        numbers = [theatre.rules.add(rule) for rule in self._job_rules()]
        command = {
            "mode": schedule.mode,
            "run_id": schedule.run_id,
            "project": schedule.project,
            "retries": RETRIES,
            "args": [f"{schedule.seconds:.2f}", "0"],
        }
        if schedule.mode.startswith("sensor"):
            name = self._start_elsewhere()
            command |= {"filter": f"labels.chaos={schedule.run_id}"} if schedule.by_filter else {"job": name}
        resource = f"*/projects/{schedule.project}/*"
        numbers += [theatre.rules.add(Rule(**{**rule, "resource": resource})) for rule in schedule.faults]
        try:
            state, result = self._tries(command)
        finally:
            for number in numbers:
                theatre.rules.remove(number)
        return Outcome(state, result, theatre.jobs(schedule.project), self.history)

    def _job_rules(self):
        for position, ending in enumerate(self.schedule.endings):
            if ending.startswith("exit-"):
                # What the container's exit looks like to the service.
                message = (
                    f"The replica workerpool0-0 exited with a non-zero status of {ending[5:]}. "
                    "Termination reason: Error."
                )
                yield Rule(
                    "internal-error", resource=self.schedule.run_id, count=1, seconds=0.1, message=message
                )
            else:
                yield Rule(ending, resource=self.schedule.run_id, count=1, seconds=0.1 * position)

    def _start_elsewhere(self) -> str:
        schedule = self.schedule
        pool = {
            "machineSpec": {"machineType": "n1-standard-4"},
            "replicaCount": "1",
            "containerSpec": {
                "imageUri": "europe-docker.pkg.dev/demo/chaos/replica:1",
                "args": [f"{schedule.seconds:.2f}", "0"],
            },
        }
        labels = {"chaos": schedule.run_id}
        body = {"displayName": schedule.run_id, "labels": labels, "jobSpec": {"workerPoolSpecs": [pool]}}
        path = f"/v1/projects/{schedule.project}/locations/{REGION}/customJobs"
        return self.theatre.ask("POST", path, body)["name"]

    def _tries(self, command: dict[str, Any]) -> tuple[str, Any]:
        result: dict[str, Any] | None = None
        for number in range(1, RETRIES + 2):
            result = self._one_try({**command, "try_number": number})
            if result is not None and "returned" in result:
                return "success", result["returned"]
            if result is not None and result["failed"] == "permanently":
                return "failed", result["message"]
            time.sleep(_RETRY_DELAY)
        return "failed", (result or {}).get("message")

    def _one_try(self, command: dict[str, Any]) -> dict[str, Any] | None:
        result = self.theatre.process(self, command)
        while result is not None and ("deferred" in result or "reschedule" in result):
            if "reschedule" in result:
                time.sleep(5 / SPEED)
                result = self.theatre.process(self, command)
                continue
            trigger = {
                "try_number": command["try_number"],
                "trigger": result["deferred"],
                "companions": self.schedule.companions,
            }
            event = self.theatre.process(self, trigger)
            while event is None:
                # The next triggerer takes over.
                event = self.theatre.process(self, trigger)
            resume = {"method": result["method"], "kwargs": {**result["kwargs"], "event": event.get("event")}}
            if "event" not in event:
                resume = {"method": "__fail__", "kwargs": {"error": "Trigger failure", "traceback": []}}
            result = self.theatre.process(self, {**command, **resume})
        return result


@contextmanager
def theatre(folder: Path, build: str = "tests.chaos.tasks:build"):
    made = Theatre(folder, build)
    try:
        yield made
    finally:
        made.close()


def _signal(pid: int, kill: Kill) -> None:
    try:
        os.kill(pid, signal.SIGTERM if kill.gently else signal.SIGKILL)
    except ProcessLookupError:
        return
