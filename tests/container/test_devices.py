"""Several devices of one replica, here as parts of the processor."""

from __future__ import annotations

import subprocess
import sys

from .conftest import REPOSITORY

_SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
import numpy as np
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.container.movies import movies
from tests.container.test_wals import BIASED, WALS, ratings_of
from trainer import train
from trainer.cluster import Cluster
from trainer.replicas import Replicas

one = Replicas(Cluster(), 60, ["/device:CPU:0"])
both = Replicas(Cluster(), 60, ["/device:CPU:0", "/device:CPU:1"])
assert (one.size, both.size) == (1, 2)
ratings = ratings_of(movies(4, users=80, items=60, ratings=2400))
for parameters in (WALS, BIASED):
    results = []
    for replicas in (one, both):
        training = train._training(parameters, 0, replicas, ratings)
        results.append([training.iterate("a test")["loss"] for _ in range(3)])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4)
print("same")
"""


def test_the_devices_of_a_replica_share_the_rows_and_come_to_the_same_result():
    paths = [str(REPOSITORY / "container"), str(REPOSITORY)]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *paths], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.endswith("same\n"), done.stderr[-2000:]
