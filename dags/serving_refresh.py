"""Whenever the recommender's champion changes, by promotion or rollback, hand it to TensorFlow Serving.

TensorFlow Serving serves the folder with the highest number: here that of the act that made the champion."""

import json
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Variable, task
from airflow.providers.google.cloud.operators.gcs import GCSSynchronizeBucketsOperator

from airflow_ml_provider.assets import champion_asset

BUCKET = "{{ var.value.get('retraining_bucket', 'retraining') }}"
POINTER = "shop/models/recommender/champion.json"
NOW = "ti.xcom_pull('read_champion')"

with DAG(
    "serving_refresh",
    schedule=[champion_asset("recommender")],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
):

    @task
    def read_champion() -> dict[str, str]:
        """Read the pointer rather than the event: by now the champion may be another again."""
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        record = json.loads(GCSHook().download(Variable.get("retraining_bucket", "retraining"), POINTER))
        return {"version": record["champion"], "number": str(record["champion_since"])}

    read_champion() >> GCSSynchronizeBucketsOperator(
        task_id="copy_to_serving",
        source_bucket=BUCKET,
        source_object=f"shop/models/recommender/versions/{{{{ {NOW}.version }}}}/saved_model/",
        destination_bucket=BUCKET,
        destination_object=f"shop/serving/recommender/{{{{ {NOW}.number }}}}/",
        recursive=True,
    )
