"""A triggerer in which many jobs are waited for, by our triggers or by Google's.

Runs as ``python -m benchmarks.vertex.fleet PROVIDER INTERVAL``; reads job names from its standard input, one
line of JSON, and writes what it saw to its standard output.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULT = "result: "


def trigger_of(provider: str, interval: float) -> Callable[[str], Any]:
    """Return what makes the trigger for a job."""
    if provider == "airflow_ml_provider":
        from airflow_ml_provider.triggers.training import TrainingJobTrigger

        now = datetime.now(UTC).isoformat()
        return lambda name: TrainingJobTrigger(
            job=name, created=now, project_id="demo-project", poll_interval=interval
        )
    from airflow.providers.google.cloud.triggers.vertex_ai import CustomJobTrigger

    import benchmarks.vertex.stock  # noqa: F401  aims Google's clients at the emulator

    return lambda name: CustomJobTrigger(
        project_id="demo-project",
        location=name.split("/")[3],
        custom_job_id=name.rsplit("/", 1)[-1],
        poll_interval=int(interval),
    )


def memory() -> int:
    """Return the resident memory, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def blocked(late: list[float], busy: list[float]) -> None:
    """Note every 5 ms how late the event loop is, and for how long it computed meanwhile.

    On a machine that others use too, only the latter is ours.
    """
    loop = asyncio.get_running_loop()
    while True:
        before, computed = loop.time(), time.thread_time()
        await asyncio.sleep(0.005)
        late.append(loop.time() - before - 0.005)
        busy.append(time.thread_time() - computed)


async def wait_for_all(make: Callable[[str], Any], jobs: list[str]) -> dict[str, Any]:
    """Wait for every job as a triggerer does; return when each was heard of, and what it cost."""
    heard: dict[str, float] = {}
    late: list[float] = []
    busy: list[float] = []

    async def one(name: str) -> None:
        async for _event in make(name).run():
            heard[name] = time.time()
            return

    watcher = asyncio.create_task(blocked(late, busy))
    tasks = [asyncio.create_task(one(jobs[0]))]
    await asyncio.sleep(5)
    first, began = memory(), time.time()
    tasks += [asyncio.create_task(one(name)) for name in jobs[1:]]
    # Starting so many at once is the benchmark's doing: a triggerer spreads it.
    await asyncio.sleep(1)
    late.clear()
    busy.clear()
    print("waiting", flush=True)
    # What is kept for a waiting job shows once each was looked at.
    await asyncio.sleep(45)
    watcher.cancel()
    # Collecting garbage takes more than 100 ms by itself.
    per_job = (memory() - first) / (len(jobs) - 1)
    watcher = asyncio.create_task(blocked(late, busy))
    cpu = time.process_time()
    await asyncio.wait(tasks)
    watcher.cancel()
    late.sort()
    return {
        "heard": heard,
        "began": began,
        "bytes_per_job": per_job,
        "cpu_seconds": time.process_time() - cpu,
        "blocked_longest": late[-1],
        "blocked_p999": late[int(len(late) * 0.999)],
        "busy_longest": max(busy),
    }


def main(provider: str, interval: str) -> None:
    """Be the triggerer."""
    make = trigger_of(provider, float(interval))
    print("ready", flush=True)
    jobs = json.loads(sys.stdin.readline())
    print(RESULT + json.dumps(asyncio.run(wait_for_all(make, jobs))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
