"""What a DAG file with 100 retrainings costs to parse, beside one with as many EmptyOperators.

    python -m benchmarks.parse.compare [--times 5]

Each parse is a fresh process, as in Airflow's DAG processor, which has imported Airflow before it forks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

DAGS, TASKS = 100, 7
FILES = {
    "EmptyOperator": f"""
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
for number in range({DAGS}):
    with DAG(f"empty_{{number}}", schedule="@daily", start_date=datetime(2026, 1, 1)) as dag:
        tasks = [EmptyOperator(task_id=f"task_{{n}}") for n in range({TASKS})]
        for task, after in zip(tasks, tasks[1:]):
            task >> after
""",
    "retraining_dag": f"""
from datetime import datetime
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.retraining import Export, Retraining, retraining_dag
for number in range({DAGS}):
    data = Export.by_hash("shop.ratings", columns=["u", "i", "r"], key=["u", "i"], time="at")
    settings = Retraining(
        model=f"model_{{number}}", root="gs://bucket/ml", data=data, train=TrainingJob(image_uri="trainer:1")
    )
    retraining_dag(f"nightly_{{number}}", settings, schedule="@daily", start_date=datetime(2026, 1, 1))
""",
}
_CODE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
import airflow.providers.common.compat.sdk
began = time.process_time()
bag = DagBag(dag_folder=sys.argv[1])
parsed = time.process_time() - began
assert not bag.import_errors, bag.import_errors
[DagSerialization.to_dict(dag) for dag in bag.dags.values()]
print(json.dumps([parsed, time.process_time() - began, len(bag.dags)]))
"""


def measure(times: int) -> dict[str, tuple[float, float]]:
    """Return CPU seconds of parsing, and of parsing and serializing: medians of fresh processes."""
    import tempfile
    from pathlib import Path

    runs: dict[str, list[list[float]]] = {name: [] for name in FILES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            for name, text in FILES.items():
                path = Path(folder) / f"{name}.py"
                path.write_text(text)
                command = [sys.executable, "-W", "ignore", "-c", _CODE, str(path)]
                out = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
                values = json.loads(out.stdout.splitlines()[-1])
                assert values[2] == DAGS, out.stdout
                runs[name].append(values)
    return {
        name: (statistics.median(r[0] for r in found), statistics.median(r[1] for r in found))
        for name, found in runs.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    found = measure(parser.parse_args().times)
    for name, (parsed, serialized) in found.items():
        print(f"{name:16} parse {parsed:.2f} s, with serialization {serialized:.2f} s")
    ratios = [
        ours / theirs for ours, theirs in zip(found["retraining_dag"], found["EmptyOperator"], strict=True)
    ]
    print(f"{'ratio':16} parse {ratios[0]:.2f}, with serialization {ratios[1]:.2f}")
