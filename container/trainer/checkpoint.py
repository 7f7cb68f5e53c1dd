"""What is left of an interrupted training, so that the same job goes on from there."""

from __future__ import annotations

import io
import threading
import time
import zipfile

import numpy as np

from trainer import files, log

_FILE = "training.npz"


class Checkpoint:
    """The last finished iteration, kept in one file that is replaced whole.

    :param folder: local or ``gs://``; None keeps nothing.
    :param fingerprint: of the data and arguments; a file with another one is not used.
    :param every: seconds of work that an interruption may cost; 0: each step is written as it ends.
    """

    def __init__(self, folder: str | None, fingerprint: str, every: float = 15.0) -> None:
        self._path = None if folder is None else files.join(folder, _FILE)
        self._fingerprint = fingerprint
        self._every = every
        self._written = time.monotonic()
        self._latest: tuple[int, dict[str, np.ndarray]] | None = None
        self._lock = threading.Lock()

    def load(self) -> tuple[int, dict[str, np.ndarray]]:
        """Return the number of finished iterations and their result; 0 and nothing if there is none."""
        iteration, state = self.peek()
        if not iteration:
            return 0, {}
        if str(state.pop("fingerprint", "")) != self._fingerprint:
            log.info(f"{self._path} is of other data or arguments: starting from the beginning")
            return 0, {}
        return iteration, state

    def peek(self) -> tuple[int, dict[str, np.ndarray]]:
        """Return what is kept, whatever it is of; a file that can't be read counts as none."""
        content = None if self._path is None else files.read(self._path)
        if content is None:
            return 0, {}
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                state = dict(archive)
            return int(state.pop("iteration")), state
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            log.warning(f"{self._path} can't be read ({error}): it counts as none")
        return 0, {}

    def finished(self, iteration: int, state: dict[str, np.ndarray]) -> None:
        """Note an iteration's result, and write it if the last writing was some time ago."""
        self._latest = iteration, state
        if time.monotonic() - self._written >= self._every:
            self.save()

    def save(self) -> int:
        """Write the latest result; return how many iterations are kept."""
        with self._lock:
            if self._path is None or self._latest is None:
                return 0
            iteration, state = self._latest
            buffer = io.BytesIO()
            np.savez(buffer, iteration=iteration, fingerprint=self._fingerprint, **state)
            files.write(self._path, buffer.getvalue())
            self._written = time.monotonic()
            return iteration
