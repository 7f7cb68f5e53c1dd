"""Where training jobs really run: as processes of this machine, or as Docker containers."""

from airflow_ml_provider.emulator.cluster.docker import DockerCluster
from airflow_ml_provider.emulator.cluster.images import LocalImage
from airflow_ml_provider.emulator.cluster.processes import ProcessCluster
from airflow_ml_provider.emulator.cluster.replicas import (
    Cluster,
    Exit,
    ImageError,
    Job,
    Machine,
    Output,
    Replica,
    Run,
)

__all__ = [
    "Cluster",
    "DockerCluster",
    "Exit",
    "ImageError",
    "Job",
    "LocalImage",
    "Machine",
    "Output",
    "ProcessCluster",
    "Replica",
    "Run",
]
