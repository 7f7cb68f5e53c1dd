"""The drop-in DAGs around promotion, run by Airflow against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_ml_provider.hooks.vertex import VertexHook
from tests.airflow.test_promotion_operators import ROOT, promoted
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow
SERVING = "shop/serving/recommender"


@pytest.fixture
def airflow(bucket, tmp_path):
    """Return what runs an ``airflow`` command in a home of its own, beside the emulator."""
    environment = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
    }

    def run(*words):
        program = Path(sys.executable).with_name("airflow")
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        return done.stdout

    run("db", "migrate")
    return run


def test_a_rollback_by_hand_is_what_serving_gets_next(bucket, airflow):
    for version in ("v1", "v2"):
        bucket.blob(
            f"shop/models/recommender/versions/{version}/saved_model/saved_model.pb"
        ).upload_from_string(version)
    promoted(bucket, "v1", "v2")

    airflow("dags", "test", "recommender_rollback", "--conf", json.dumps({"why": "sold-out items"}))
    airflow("dags", "test", "serving_refresh")

    record = VertexHook().get_store(ROOT, "recommender").history()[-1]
    assert (record.act, record.version, record.number) == ("rolled_back", "v1", 3)
    assert record.why.startswith("sold-out items")
    assert record.by.startswith("airflow:recommender_rollback/")
    served = {blob.name: blob.download_as_text() for blob in bucket.list_blobs(prefix=SERVING)}
    assert served == {f"{SERVING}/3/saved_model.pb": "v1"}
