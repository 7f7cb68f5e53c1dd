"""The ``airflow-ml`` command."""
