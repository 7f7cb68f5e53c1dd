"""Measure the emulated Cloud Storage beside gcp-storage-emulator, with Google's own client, in one run.

For each: small objects a second, a resumable upload and its download, the server's memory, and what a counter
kept by compare-and-set comes to when several threads add to it.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

ADDERS, ADDITIONS = 8, 10


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="the Python that gcp-storage-emulator is installed for")
    parser.add_argument("--puts", type=int, default=1000, help="small objects to write")
    parser.add_argument("--mebibytes", type=int, default=500, help="size of the large object")
    options = parser.parse_args()
    print(
        f"{'server':22} {'puts/s':>7} {'gets/s':>7} {'up MiB/s':>9} {'down MiB/s':>10} "
        f"{'RSS at rest':>12} {'peak':>8}  counter of {ADDERS * ADDITIONS}"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure("this emulator", _ours(Path(folder) / "data"), folder, options)
        if options.peer:
            measure("gcp-storage-emulator", _peer(options.peer), folder, options)


def _ours(folder: Path) -> list[str]:
    return [sys.executable, "-m", "airflow_ml_provider.cli", "emulator", "--data", str(folder)]


def _peer(python: Path) -> list[str]:
    command = str(python.parent / "gcp-storage-emulator")
    return [command, "start", "--host=127.0.0.1"]


def measure(name: str, command: list[str], folder: str, options: argparse.Namespace) -> None:
    """Start a server, measure it, print its line."""
    with _running(command, folder) as (address, pid):
        os.environ["STORAGE_EMULATOR_HOST"] = address
        client = storage.Client(project="p", credentials=AnonymousCredentials())
        bucket = client.create_bucket("bench")
        rest = _memory(pid, "VmRSS")
        puts = _rate(options.puts, lambda n: bucket.blob(f"small/{n}").upload_from_string(b"x" * 1024))
        gets = _rate(options.puts, lambda n: bucket.blob(f"small/{n}").download_as_bytes())
        up, down = _large(bucket, options.mebibytes)
        peak = _memory(pid, "VmHWM")
        print(
            f"{name:22} {puts:7.0f} {gets:7.0f} {up:9.0f} {down:10.0f} {rest:8.0f} MiB {peak:4.0f} MiB  "
            f"{_counter(bucket)}"
        )


def _rate(count: int, act: object) -> float:
    began = time.perf_counter()
    for number in range(count):
        act(number)  # type: ignore[operator]
    return count / (time.perf_counter() - began)


def _large(bucket: storage.Bucket, mebibytes: int) -> tuple[float, float]:
    with tempfile.NamedTemporaryFile() as local:
        block = os.urandom(1 << 20)
        for _ in range(mebibytes):
            local.write(block)
        local.flush()
        blob = bucket.blob("large", chunk_size=32 << 20)
        began = time.perf_counter()
        blob.upload_from_filename(local.name)
        up = mebibytes / (time.perf_counter() - began)
    with Path(os.devnull).open("wb") as nowhere:
        began = time.perf_counter()
        bucket.blob("large").download_to_file(nowhere, checksum=None)
        down = mebibytes / (time.perf_counter() - began)
    return up, down


def _counter(bucket: storage.Bucket) -> str:
    bucket.blob("counter").upload_from_string("0")

    def add(_: int) -> None:
        for _ in range(ADDITIONS):
            while True:
                blob = bucket.get_blob("counter")
                try:
                    value = int(blob.download_as_bytes()) + 1
                    bucket.blob("counter").upload_from_string(str(value), if_generation_match=blob.generation)
                except (exceptions.PreconditionFailed, exceptions.NotFound):
                    continue
                break

    with ThreadPoolExecutor(ADDERS) as pool:
        list(pool.map(add, range(ADDERS)))
    return bucket.blob("counter").download_as_bytes().decode()


def _memory(pid: int, field: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


@contextmanager
def _running(command: list[str], folder: str) -> Iterator[tuple[str, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(  # noqa: S603
        [*command, f"--port={port}"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{address}/storage/v1/b?project=p", timeout=5)
                break
            except requests.ConnectionError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise SystemExit(f"{command[0]} did not start") from None
                time.sleep(0.1)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
