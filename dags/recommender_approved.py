"""Every Monday: retrain the recommender; a person decides whether what passed the gate goes to production.

The question stands in Airflow's UI under Required Actions, with the gate's reasons. Without an answer
in twelve hours the champion stays. Needs Airflow 3.1; on 2.11 this file has no DAG."""

from datetime import datetime

from airflow_ml_provider.compat import people_can_be_asked
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.retraining import Approval, Export, Retraining, retraining_dag

IMAGE = "{{ var.value.get('retraining_image', 'europe-docker.pkg.dev/demo-project/retraining/trainer:1') }}"

if people_can_be_asked():
    dag = retraining_dag(
        "recommender_approved",
        Retraining(
            model="recommender_weekly",
            root="gs://{{ var.value.get('retraining_bucket', 'retraining') }}/shop",
            region="{{ var.value.get('retraining_region', 'europe-west4') }}",
            data=Export.by_hash(
                "{{ var.value.get('retraining_dataset', 'shop') }}.ratings",
                columns=["userId", "itemId", "rating"],
                key=["userId", "itemId"],
                time="rated_at",
            ),
            check={"label": "rating", "duplicates": 0.6},
            train=TrainingJob(image_uri=IMAGE, args=["--data-type=user_ratings"]),
            approve=Approval(hours=12),
        ),
        schedule="0 5 * * 1",
        start_date=datetime(2026, 1, 1),
    )
