"""Retraining on a schedule on Google Cloud: an Apache Airflow provider."""

__version__ = "0.1.0"
