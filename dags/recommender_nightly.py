"""Every night: export ratings from BigQuery, train on Vertex AI, promote the model if that is justified.

Rows are held out by a hash of user and item, so that none ever moves between training and evaluation, and
scored once a day old: a night's own batch, which may be broken, must not vouch for itself."""

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator as BigQueryJob
from airflow.providers.google.cloud.transfers.bigquery_to_gcs import BigQueryToGCSOperator

from airflow_ml_provider import operators as ml
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.names import slug

ROOT = "gs://{{ var.value.get('retraining_bucket', 'retraining') }}/shop"
IMAGE = "{{ var.value.get('retraining_image', 'europe-docker.pkg.dev/demo-project/retraining/trainer:1') }}"
REGION = "{{ var.value.get('retraining_region', 'europe-west4') }}"
DATASET = "{{ var.value.get('retraining_dataset', 'shop') }}"
RUN, ATTEMPT = "{{ run_id | slug }}", "{{ ti.try_number }}"
NIGHT = "TIMESTAMP '{{ dag_run.data_interval_end or dag_run.run_after }}'"
HASH = "ABS(MOD(FARM_FINGERPRINT(CONCAT(CAST(userId AS STRING), ':', CAST(itemId AS STRING))), 10))"
WHERE = {
    "train": f"{HASH} > 0 AND rated_at < {NIGHT}",
    "holdout": f"{HASH} = 0 AND rated_at < TIMESTAMP_SUB({NIGHT}, INTERVAL 1 DAY)",
}
ARGS = [
    "--train-file={{ ti.xcom_pull('export_train')[0] }}",
    "--data-type=user_ratings",
    f"--job-dir={ROOT}/jobs/{RUN}",
    f"--output-dir={ROOT}/models/recommender/versions/{RUN}_{ATTEMPT}",
]
MODEL = {"root": ROOT, "model": "recommender", "version": "{{ ti.xcom_pull('train').labels.version }}"}

with DAG(
    "recommender_nightly",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    user_defined_filters={"slug": slug},
) as dag:
    cluster = TrainingJob(image_uri=IMAGE, args=ARGS, workers=1, labels={"version": f"{RUN}_{ATTEMPT}"})
    train = ml.TrainingJobOperator(task_id="train", job=cluster, region=REGION)
    job, rows = TrainingJob(image_uri=IMAGE, args=["evaluate"]), "{{ ti.xcom_pull('export_holdout')[0] }}"
    evaluate = ml.EvaluateModelOperator(task_id="evaluate", job=job, region=REGION, data=rows, **MODEL)
    gate = ml.ModelGateOperator(task_id="gate", **MODEL)
    train >> evaluate >> gate >> ml.PromoteModelOperator(task_id="promote", **MODEL)

    for split, user in {"train": train, "holdout": evaluate}.items():
        table = f"{DATASET}.ratings_{split}_{RUN}"
        sql = f"CREATE OR REPLACE TABLE {table} AS SELECT userId, itemId, rating FROM {DATASET}.ratings"
        query = {"query": {"query": f"{sql} WHERE {WHERE[split]}", "useLegacySql": False}}
        # A folder for each attempt, so that the shards of two attempts never mix.
        uri = f"{ROOT}/datasets/ratings/{RUN}/{split}_{ATTEMPT}/part-*.csv"
        export = {"source_project_dataset_table": table, "destination_cloud_storage_uris": [uri]}
        select = BigQueryJob(task_id=f"select_{split}", configuration=query)
        select >> BigQueryToGCSOperator(task_id=f"export_{split}", force_rerun=True, **export) >> user
