"""What a DAG file pays for importing an operator."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

_CODE = """
import json, resource, sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseOperator
memory = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()
before = memory()
began = time.process_time()
import {module}
print(json.dumps([time.process_time() - began, (memory() - before) / 2**20]))
"""
MODULES = {
    "airflow_ml_provider": "airflow_ml_provider.operators",
    "apache-airflow-providers-google": "airflow.providers.google.cloud.operators.vertex_ai.custom_job",
}


def measure(times: int = 5) -> dict[str, tuple[float, float]]:
    """Return seconds and MiB beyond ``airflow.sdk`` for each, the medians of several fresh processes."""
    found = {}
    for name, module in MODULES.items():
        runs = [_once(module) for _ in range(times)]
        found[name] = (statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs))
    return found


def _once(module: str) -> tuple[float, float]:
    command = [sys.executable, "-W", "ignore", "-c", _CODE.format(module=module)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    seconds, mib = json.loads(out.stdout.splitlines()[-1])
    return seconds, mib
