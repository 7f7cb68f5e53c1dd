"""Every night: one model for each tenant in a BigQuery table, hundreds of jobs side by side.

A tenant that fails does not stop the others; the last task names those that failed. While jobs run no worker
is taken: all of them wait in the triggerer, which looks at them together."""

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from airflow_ml_provider import operators as ml
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.names import slug

ROOT = "gs://{{ var.value.get('retraining_bucket', 'retraining') }}/tenants"
IMAGE = "{{ var.value.get('retraining_image', 'europe-docker.pkg.dev/demo-project/retraining/trainer:1') }}"
REGION = "{{ var.value.get('retraining_region', 'europe-west4') }}"
# Columns: tenant, train_file (gs:// path of its ratings), active.
TABLE = "{{ var.value.get('retraining_dataset', 'shop') }}.tenants"

with DAG(
    "tenant_fleet",
    schedule="0 4 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
) as dag:

    @task
    def jobs(root: str, image: str, table: str, run: str) -> list[dict]:
        """One job for each tenant. What is mapped is not templated any more, so all is filled in here."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        hook = BigQueryHook(gcp_conn_id="google_cloud_default")
        client = hook.get_client(project_id=hook.project_id)
        rows = client.query(f"SELECT tenant, train_file FROM {table} WHERE active ORDER BY tenant").result()
        fleet, version = [], slug(run)
        for tenant, file in (row.values() for row in rows):
            args = [f"--train-file={file}", "--data-type=user_ratings"]
            args += [f"--job-dir={root}/jobs/{version}/{tenant}"]
            args += [f"--output-dir={root}/models/{tenant}/versions/{version}"]
            labels = {"tenant": slug(tenant), "version": version}
            fleet.append(TrainingJob(image_uri=image, args=args, labels=labels).to_dict())
        return fleet

    @task(trigger_rule="all_done", retries=0)
    def report(fleet: list[dict], trained: list[dict]) -> str:
        """Fail if a tenant failed, once all are done."""
        done = {job["labels"]["tenant"] for job in trained or ()}
        failed = [job["labels"]["tenant"] for job in fleet if job["labels"]["tenant"] not in done]
        if failed:
            raise AirflowFailException(f"{len(failed)} of {len(fleet)} tenants: {', '.join(failed)}")
        return f"{len(done)} tenants"

    fleet = jobs(ROOT, IMAGE, TABLE, "{{ run_id }}")
    train = ml.TrainingJobOperator.partial(task_id="train", region=REGION, deferrable=True).expand(job=fleet)
    report(fleet, train.output)
