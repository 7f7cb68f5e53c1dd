"""What TensorBoard shows of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from trainer import files


def write_events(folder: str, history: Sequence[tuple[int, Mapping[str, float]]]) -> None:
    """Write one more event file.

    ``tf.summary.scalar`` would want TensorBoard itself to be installed.

    :param folder: local or ``gs://``.
    :param history: for each step its number and its metrics by name.
    """
    import tensorflow as tf

    scalar = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
    with TemporaryDirectory(prefix="events-") as temporary:
        writer = tf.summary.create_file_writer(temporary)
        with writer.as_default():
            for step, entry in history:
                for name, value in entry.items():
                    tf.summary.write(name, np.float32(value), step=step, metadata=scalar)
        writer.close()
        for path in sorted(Path(temporary).iterdir()):
            files.write(files.join(folder, path.name), path)
