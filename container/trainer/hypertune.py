"""The metric file of hyperparameter tuning, as ``cloudml-hypertune`` writes it.

https://github.com/GoogleCloudPlatform/cloudml-hypertune: the whole file is written anew each time, one JSON
object a line, the last 100 reports, every value a text but the time.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from pathlib import Path

DEFAULT_TAG = "training/hptuning/metric"


class MetricFile:
    """Reports a metric, one call after the other.

    :param tag: the metric's id in the study.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._path = Path(os.environ.get("CLOUD_ML_HP_METRIC_FILE") or "/tmp/hypertune/output.metrics")  # noqa: S108
        self._trial = os.environ.get("CLOUD_ML_TRIAL_ID") or "0"
        self._lines: deque[str] = deque(maxlen=100)

    def report(self, value: float, step: int) -> None:
        """Write a value.

        :param value: of the metric.
        :param step: the iteration.
        """
        entry = {
            "timestamp": time.time(),
            "trial": self._trial,
            self._tag: str(float(value)),
            "global_step": str(step),
        }
        self._lines.append(json.dumps(entry, sort_keys=True))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
