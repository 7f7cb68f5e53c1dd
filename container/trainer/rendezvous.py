"""Meeting the other replicas before TensorFlow starts its cluster.

Once started, TensorFlow waits up to an hour for a replica that never comes, in native code that neither
another thread nor SIGTERM can interrupt. So the workers first report to the chief, on the port that its
TensorFlow server takes over afterwards.
"""

from __future__ import annotations

import contextlib
import socket
import time

from trainer.cluster import Cluster
from trainer.errors import PeerError

_GO = b"go"
_PAUSE = 0.2


def meet(cluster: Cluster, timeout: float, message: str = "") -> str:
    """Return as soon as all replicas are there.

    :param cluster: who is awaited.
    :param timeout: seconds after which to give up.
    :param message: of the chief to the others, one line.
    :returns: the chief's message.
    :raises PeerError: a replica did not come in time; or the chief's port is taken.
    """
    deadline = time.monotonic() + timeout
    if cluster.is_chief:
        _await_workers(cluster, deadline, timeout, message)
        return message
    return _report(cluster, deadline, timeout)


def _await_workers(cluster: Cluster, deadline: float, timeout: float, message: str) -> None:
    host, port = _split(cluster.addresses[0])
    local = host if host == "localhost" or host.startswith("127.") else ""
    present: dict[int, socket.socket] = {}
    try:
        server = socket.create_server((local, port), backlog=cluster.size)
    except OSError as error:
        raise PeerError(f"can't listen on port {port}: {error}") from error
    with contextlib.ExitStack() as open_connections:
        with server:
            while len(present) < cluster.size - 1:
                server.settimeout(min(1.0, max(deadline - time.monotonic(), 0.01)))
                with contextlib.suppress(TimeoutError):
                    connection = open_connections.enter_context(server.accept()[0])
                    rank = _rank(connection)
                    if rank is not None and 0 < rank < cluster.size:
                        present[rank] = connection
                present = {rank: c for rank, c in present.items() if _is_open(c)}
                if time.monotonic() > deadline and len(present) < cluster.size - 1:
                    missing = [cluster.name_of(r) for r in range(1, cluster.size) if r not in present]
                    raise PeerError(f"gave up after {timeout:g} s: {', '.join(missing)} did not come")
        for connection in present.values():
            with contextlib.suppress(OSError):
                connection.sendall(_GO + message.encode() + b"\n")
        for connection in present.values():
            # They hang up first, so that it is not this port that stays reserved for late packets.
            with contextlib.suppress(OSError):
                connection.settimeout(2)
                connection.recv(1)


def _report(cluster: Cluster, deadline: float, timeout: float) -> str:
    problem: OSError | str = "it hung up"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(_split(cluster.addresses[0]), timeout=5) as connection:
                connection.sendall(f"{cluster.rank}\n".encode())
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                with connection.makefile("rb") as answers:
                    answer = answers.readline()
                if answer.startswith(_GO) and answer.endswith(b"\n"):
                    return answer.removeprefix(_GO).decode().rstrip("\n")
        except OSError as error:
            problem = error
        time.sleep(_PAUSE)
    raise PeerError(f"gave up after {timeout:g} s: {cluster.name_of(0)} did not come ({problem})")


def _rank(connection: socket.socket) -> int | None:
    connection.settimeout(2)
    try:
        return int(connection.recv(16).split(b"\n")[0])
    except (OSError, ValueError):
        return None


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
