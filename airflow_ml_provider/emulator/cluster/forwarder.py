"""A door from a container network to a port of this machine's loopback address."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

_CHUNK = 1 << 16
_CONNECT_SECONDS = 10


class Forwarder:
    """Passes connections to an address on to another one.

    An emulator listens on 127.0.0.1, where containers cannot reach it. This listens on the gateway of their
    network, where nobody but them and this machine can.

    :param listen: the IP address to listen on; the port is any free one, see ``port``.
    :param target: host and port to connect to.
    """

    def __init__(self, listen: str, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server((listen, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, name=f"forward-{self.port}", daemon=True).start()

    def close(self) -> None:
        """Stop listening, and end the connections."""
        with self._lock:
            self._closed = True
            connections = list(self._open)
        for connection in [self._listener, *connections]:
            _end(connection)
        self._listener.close()

    def __enter__(self) -> Forwarder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(self._target, timeout=_CONNECT_SECONDS)
            except OSError:
                return
            server.settimeout(None)
            with server:
                with self._lock:
                    if self._closed:
                        return
                    self._open |= {client, server}
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()
                with self._lock:
                    self._open -= {client, server}


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then tell the target so."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
