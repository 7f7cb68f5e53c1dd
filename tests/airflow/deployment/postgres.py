"""A PostgreSQL of one's own, for as long as it is needed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``, or None where there is no PostgreSQL."""
    found = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    on_path = shutil.which("initdb")
    return next(iter(found), Path(on_path).parent if on_path else None)


@contextmanager
def postgres():
    """Run a server with an empty database; yield its address for SQLAlchemy."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    # PostgreSQL refuses to run as root.
    owner = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    if owner:
        shutil.chown(folder, owner["user"], owner["group"])
    programs, port = binaries(), free_port()
    data = folder / "data"

    def run(*words):
        subprocess.run(words, cwd=folder, check=True, capture_output=True, **owner)

    server = None
    try:
        run(programs / "initdb", "-D", data, "-U", "airflow", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
        }
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *words],
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **owner,
            )
        _wait_for(port)
        # initdb made this database; it is as empty as a new one.
        yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            # A fast shutdown: whoever is still connected is cut off.
            server.send_signal(signal.SIGINT)
            server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int) -> None:
    import psycopg2

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="airflow", dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
