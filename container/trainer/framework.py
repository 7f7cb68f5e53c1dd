"""Importing TensorFlow, which takes seconds and has much to say."""

from __future__ import annotations

import os
import sys
from types import ModuleType


def load_tensorflow() -> ModuleType:
    """Import TensorFlow, set up so that equal runs give equal numbers.

    What it reports while loading goes to standard output: on standard error it would count as an error.
    """
    sys.stdout.flush()
    stderr = os.dup(2)
    os.dup2(1, 2)
    try:
        import tensorflow as tf
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    tf.config.experimental.enable_op_determinism()
    return tf  # type: ignore[no-any-return]
