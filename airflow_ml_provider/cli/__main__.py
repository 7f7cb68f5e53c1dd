"""Runs the command as ``python -m airflow_ml_provider.cli``."""

from airflow_ml_provider.cli.main import main

main()
