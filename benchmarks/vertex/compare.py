"""Compare the operators with apache-airflow-providers-google's, in one run; print tables.

python -m benchmarks.vertex.compare [--jobs 1000] [--interval 30] [--schedules 60] [--only PART]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_ml_provider.emulator.cluster import LocalImage, ProcessCluster
from airflow_ml_provider.emulator.faults.application import FaultyApplication
from airflow_ml_provider.emulator.faults.rules import Rule, Rulebook
from airflow_ml_provider.emulator.http import Request, Response, Server
from airflow_ml_provider.emulator.logging.service import CloudLogging
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.server import exports
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.service import VertexAI
from benchmarks.vertex import dependability, imports
from benchmarks.vertex import fleet as fleet_process

OURS, THEIRS = "airflow_ml_provider", "apache-airflow-providers-google"
REGION = "us-central1"
# Vertex AI's own limits; here they would only make the benchmark longer.
_CREATED_AT_ONCE = 8


class Counting(FaultyApplication):
    """The emulator, noting when it was asked to read jobs."""

    def __init__(self, services: Any, rules: Rulebook) -> None:
        super().__init__(services, rules)
        self.reads: deque[float] = deque()

    def dispatch(self, request: Request) -> Response:
        """Answer a request."""
        if request.http_method == "GET" and "/customJobs" in request.path:
            self.reads.append(time.time())
        return super().dispatch(request)


def fleet(provider: str, jobs: int, interval: float) -> dict[str, Any]:
    """Wait for many jobs in one triggerer.

    The jobs stay queued for two and a half minutes and end one after the other, as they were created.
    """
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        folder = Path(name)
        rules = Rulebook()
        # A job that fails before it runs needs no process: what is measured is who waits for it.
        rules.add(Rule("stock-out"))
        logs = LogStore(folder / "logging")
        cluster = ProcessCluster(folder / "cluster", [LocalImage("*", ("/bin/true",), folder)])
        pace = Pace(queued=150, pending=0, error=0)
        vertex = VertexAI(folder / "vertex", cluster, logs, project="demo-project", pace=pace, rules=rules)
        application = Counting([vertex, CloudLogging(logs)], rules)
        server = Server(("127.0.0.1", 0), application)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            command = [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "benchmarks.vertex.fleet",
                provider,
                str(interval),
            ]
            environment = {**os.environ, **exports(address, "demo-project")}
            triggerer = subprocess.Popen(  # noqa: S603
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert triggerer.stdin
            assert triggerer.stdout
            wait_for_line(triggerer.stdout, "ready")
            with ThreadPoolExecutor(_CREATED_AT_ONCE) as pool:
                names = list(pool.map(lambda number: create(address, number), range(jobs)))
            triggerer.stdin.write(json.dumps(names) + "\n")
            triggerer.stdin.flush()
            wait_for_line(triggerer.stdout, "waiting")
            began = time.time()
            line = wait_for_line(triggerer.stdout, fleet_process.RESULT)
            found: dict[str, Any] = json.loads(line.removeprefix(fleet_process.RESULT))
            triggerer.wait(30)
            ends = {name: ended(address, name) for name in found["heard"]}
        finally:
            server.shutdown()
            server.server_close()
            application.close()
    # A whole minute in which all wait and none has ended.
    first, last = began + 5, began + 65
    assert last < min(ends.values()), "jobs ended before they were counted: use a quieter machine"
    latency = sorted(found["heard"][name] - ends[name] for name in ends)
    return {
        "reads": sum(first <= moment < last for moment in application.reads),
        "kib_per_job": found["bytes_per_job"] / 1024,
        "latency": statistics.median(latency),
        "latency_longest": latency[-1],
        "busy_ms": found["busy_longest"] * 1000,
        "blocked_ms": found["blocked_longest"] * 1000,
        "blocked_p999_ms": found["blocked_p999"] * 1000,
        "cpu_seconds": found["cpu_seconds"],
    }


def wait_for_line(lines: Iterable[str], start: str) -> str:
    """Return the next line that starts so; Google's trigger logs to the standard output too."""
    return next(line for line in lines if line.startswith(start))


def create(address: str, number: int) -> str:
    """Create a job as our operator would, with its labels; return its name."""
    pool = {
        "machineSpec": {"machineType": "n1-standard-4"},
        "replicaCount": "1",
        "containerSpec": {"imageUri": "europe-docker.pkg.dev/demo/fleet/replica:1"},
    }
    body = {
        "displayName": f"tenant-{number}",
        "jobSpec": {"workerPoolSpecs": [pool]},
        "labels": {"airflow-key": f"{number:032x}", "airflow-gen": "0", "airflow-try": "1"},
    }
    path = f"/v1/projects/demo-project/locations/{REGION}/customJobs"
    return str(ask(address, path, body)["name"])


def ended(address: str, name: str) -> float:
    """Return when a job ended."""
    return datetime.fromisoformat(ask(address, f"/v1/{name}")["endTime"]).timestamp()


def ask(address: str, path: str, body: Any = None) -> dict[str, Any]:
    """Send a request to the emulator."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address + path, data)) as reply:  # noqa: S310
        answer: dict[str, Any] = json.load(reply)
        return answer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=30)
    parser.add_argument("--schedules", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["imports", "fleet", "dependability"])
    given = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}\n")
    rows: list[tuple[str, str, float, float, str]] = []
    if given.only in (None, "imports"):
        found = imports.measure()
        (seconds, mib), (their_seconds, their_mib) = found[OURS], found[THEIRS]
        rows.append(("import over airflow.sdk, CPU seconds", "≤ 0.15", seconds, their_seconds, ".2f"))
        rows.append(("import over airflow.sdk, MiB", "≤ 12", mib, their_mib, ".1f"))
    if given.only in (None, "fleet"):
        ours = fleet(OURS, given.jobs, given.interval)
        theirs = fleet(THEIRS, given.jobs, given.interval)
        for key, title, target, form in (
            ("reads", f"API reads a minute, {given.jobs} jobs", "≤ 25", ".0f"),
            ("kib_per_job", "triggerer memory for each waiting job, KiB", "≤ 25", ".1f"),
            ("latency", "job end → trigger fires, median s", f"≤ {given.interval / 2 + 1:g}", ".1f"),
            ("latency_longest", "the same, longest s", "", ".1f"),
            ("busy_ms", "event loop busy at a stretch, ms", "≤ 50", ".0f"),
            ("blocked_ms", "event loop late at most, ms", "", ".0f"),
            ("blocked_p999_ms", "the same, 99.9th percentile, ms", "", ".1f"),
            ("cpu_seconds", "triggerer's CPU seconds", "", ".1f"),
        ):
            rows.append((title, target, ours[key], theirs[key], form))
    if rows:
        print(f"| what | target | {OURS} | {THEIRS} | ratio |\n|---|---|---|---|---|")
        for title, target, mine, other, form in rows:
            ratio = f"{other / mine:.1f}" if mine > 0 else "-"
            print(f"| {title} | {target} | {mine:{form}} | {other:{form}} | {ratio} |")
    if given.only in (None, "dependability"):
        columns = (
            "provider",
            "mode",
            "tasks",
            "flawless",
            "duplicates",
            "orphans",
            "failed_tasks",
            "wrong_outcomes",
        )
        print("\n| " + " | ".join(columns).replace("_", " ") + " |\n|" + "---|" * len(columns))
        for row in dependability.measure(given.schedules, given.seed):
            print("| " + " | ".join(str(row.get(column, 0)) for column in columns) + " |")


if __name__ == "__main__":
    main()
