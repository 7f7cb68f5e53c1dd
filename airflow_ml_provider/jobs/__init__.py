"""What a training job is, as plain data."""

from airflow_ml_provider.jobs.training_job import InvalidTrainingJob, Replicas, TrainingJob

__all__ = ["InvalidTrainingJob", "Replicas", "TrainingJob"]
