"""By hand, at 3 a.m.: return the recommender to the version before, or to the one that is named."""

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_ml_provider import operators as ml

with DAG(
    "recommender_rollback",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={
        "why": Param("", type="string", minLength=1, title="Why", description="For the model's history."),
        "version": Param("", type="string", title="Version", description="Empty: the champion before."),
    },
):
    ml.RollbackModelOperator(
        task_id="rollback",
        root="gs://{{ var.value.get('retraining_bucket', 'retraining') }}/shop",
        model="recommender",
        version="{{ params.version }}",
        why="{{ params.why }} ({{ dag_run.triggering_user_name | default('by hand', true) }})",
        retries=2,
        retry_delay=timedelta(seconds=10),
    )
