"""Leaving on SIGTERM, promptly and at any moment.

TensorFlow spends long times in native code, where Python's signal handlers do not run, and a cluster's
coordination service puts its own handler in their place. So the signal is blocked and awaited in a thread.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

EXIT_CODE = 128 + signal.SIGTERM

_last_words: Callable[[], str] | None = None


def watch() -> None:
    """Start awaiting SIGTERM; to be called before any other thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_await, daemon=True).start()


def on_leaving(last_words: Callable[[], str] | None) -> None:
    """Say what to do before leaving; it returns what there is to tell."""
    global _last_words
    _last_words = last_words


def _await() -> None:
    signal.sigwait({signal.SIGTERM})
    told = "nothing was kept"
    try:
        if _last_words is not None:
            told = _last_words()
    except Exception as error:
        told = f"and the checkpoint could not be written: {error!r}"
    finally:
        sys.stdout.flush()
        print(f"SIGTERM: leaving; {told}", file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)
