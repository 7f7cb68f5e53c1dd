"""Ports for replicas that share one machine."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 10_000, 65_000
_TRIES = 2000


class Ports:
    """Free TCP ports of 127.0.0.1 that nobody else gets until they are given back.

    A replica binds its port itself, seconds later, so it cannot be held open until then. Ports come from
    below the range from which the kernel gives ports to clients; the UDP port of the same number is held
    meanwhile, which keeps other emulators on this machine away from it.
    """

    def __init__(self, count: int) -> None:
        self._held: list[socket.socket] = []
        try:
            self.numbers = [self._reserve() for _ in range(count)]
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Give the ports back."""
        for held in self._held:
            held.close()
        self._held.clear()

    def _reserve(self) -> int:
        highest = min(_HIGHEST, _first_of_clients() - 1)
        if highest - _LOWEST < 1000:
            highest = _HIGHEST
        for _ in range(_TRIES):
            port = random.randint(_LOWEST, highest)  # noqa: S311
            holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                holder.bind((_LOOPBACK, port))
                _check_free(port)
            except OSError:
                holder.close()
                continue
            self._held.append(holder)
            return port
        raise OSError(f"no free port between {_LOWEST} and {highest} on {_LOOPBACK} in {_TRIES} tries")


def _check_free(port: int) -> None:
    """Raise OSError if any address of this machine uses a TCP port."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("", port))


def _first_of_clients() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        # Where there is no such file, the range begins at 49152 (RFC 6335).
        return 49_152
