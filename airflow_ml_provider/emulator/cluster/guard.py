"""Ends the processes of a cluster whose emulator is no more. Runs on its own, without the package.

Replicas are known by their home: every one runs in a folder of its own below the cluster's, and its children
inherit ``HOME`` from it, also those that leave its process group.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

# How long to look for processes that were being started when the emulator died.
_LINGER_SECONDS = 2.0
_PAUSE_SECONDS = 0.05


def living(folder: str) -> list[int]:
    """Return the ids of the processes whose home is this folder or one below it.

    Without a ``/proc``, as on macOS, none are found.
    """
    home = os.fsencode(f"HOME={folder.rstrip('/')}")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue
        if any(part == home or part.startswith(home + b"/") for part in environ.split(b"\0")):
            found.append(int(entry.name))
    return sorted(set(found) - {os.getpid()})


def kill_all(folder: str, linger: float = 0.0) -> int:
    """Kill the processes whose home is a folder or one below it, until there is none.

    :param linger: seconds to go on looking after that.
    :return: how many there were.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + linger
    while True:
        pids = living(folder)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
            killed.add(pid)
        if not pids and time.monotonic() >= deadline:
            return len(killed)
        time.sleep(_PAUSE_SECONDS)


def main(folder: str) -> None:
    """Wait for the end of standard input, then kill what is left."""
    while os.read(0, 4096):
        pass
    kill_all(folder, _LINGER_SECONDS)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    main(sys.argv[1])
