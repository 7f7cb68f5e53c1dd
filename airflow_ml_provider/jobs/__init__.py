"""What a training job is, as plain data."""

from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount
from airflow_ml_provider.jobs.private_network import DnsPeering, PscInterface
from airflow_ml_provider.jobs.replicas import Replicas
from airflow_ml_provider.jobs.training_job import TrainingJob

__all__ = [
    "DnsPeering",
    "InvalidTrainingJob",
    "LustreMount",
    "NfsMount",
    "PscInterface",
    "Replicas",
    "TrainingJob",
]
