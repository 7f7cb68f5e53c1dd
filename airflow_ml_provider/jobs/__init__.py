"""What a training job and a tuning job are, as plain data."""

from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.hyperparameter_tuning_job import HyperparameterTuningJob
from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount
from airflow_ml_provider.jobs.parameters import ConditionalParameter, Parameter
from airflow_ml_provider.jobs.private_network import DnsPeering, PscInterface
from airflow_ml_provider.jobs.replicas import Replicas
from airflow_ml_provider.jobs.stopping import EarlyStopping, StudyStopping
from airflow_ml_provider.jobs.training_job import TrainingJob

__all__ = [
    "ConditionalParameter",
    "DnsPeering",
    "EarlyStopping",
    "HyperparameterTuningJob",
    "InvalidTrainingJob",
    "LustreMount",
    "NfsMount",
    "Parameter",
    "PscInterface",
    "Replicas",
    "StudyStopping",
    "TrainingJob",
]
