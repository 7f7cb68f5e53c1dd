"""Every night: export ratings from BigQuery, train on Vertex AI, promote the model if that is justified."""

from datetime import datetime

from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.retraining import Export, Retraining, retraining_dag

IMAGE = "{{ var.value.get('retraining_image', 'europe-docker.pkg.dev/demo-project/retraining/trainer:1') }}"

dag = retraining_dag(
    "recommender_nightly",
    Retraining(
        model="recommender",
        root="gs://{{ var.value.get('retraining_bucket', 'retraining') }}/shop",
        region="{{ var.value.get('retraining_region', 'europe-west4') }}",
        # Held out by a hash of user and item, and scored once a day old.
        data=Export.by_hash(
            "{{ var.value.get('retraining_dataset', 'shop') }}.ratings",
            columns=["userId", "itemId", "rating"],
            key=["userId", "itemId"],
            time="rated_at",
        ),
        check={
            "label": "rating",
            "columns": {
                "userId": {"type": "integer", "nulls": 0},
                "itemId": {"type": "integer", "nulls": 0},
                # Whether other tastes are better or worse is for the gate to say.
                "rating": {"type": "number", "nulls": 0, "drift": False},
            },
            # People rate a thing again, often the same.
            "duplicates": 0.6,
        },
        train=TrainingJob(image_uri=IMAGE, args=["--data-type=user_ratings"], workers=1),
    ),
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
)
