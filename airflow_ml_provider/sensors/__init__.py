"""Airflow sensors."""

from airflow_ml_provider.sensors.training import TrainingJobSensor

__all__ = ["TrainingJobSensor"]
