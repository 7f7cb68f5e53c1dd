"""What Airflow shows of this provider."""

from __future__ import annotations

from typing import Any

from airflow_ml_provider import __version__


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, as Airflow's ``provider_info.schema.json`` wants it.

    It runs in every Airflow process, so it imports nothing.
    """
    integration = "Google Vertex AI Retraining"
    return {
        "package-name": "airflow-ml-provider",
        "name": "Machine Learning Retraining",
        "description": "Retrains, evaluates and promotes models on a schedule on Google Cloud.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://cloud.google.com/vertex-ai/docs/training/overview",
                "tags": ["gcp"],
            }
        ],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_ml_provider.operators.training",
                    "airflow_ml_provider.operators.cancel",
                    "airflow_ml_provider.operators.export",
                    "airflow_ml_provider.operators.evaluation",
                    "airflow_ml_provider.operators.promotion",
                    "airflow_ml_provider.operators.validation",
                ],
            }
        ],
        "sensors": [
            {"integration-name": integration, "python-modules": ["airflow_ml_provider.sensors.training"]}
        ],
        "hooks": [{"integration-name": integration, "python-modules": ["airflow_ml_provider.hooks.vertex"]}],
        "triggers": [
            {"integration-name": integration, "python-modules": ["airflow_ml_provider.triggers.training"]}
        ],
        "extra-links": [
            "airflow_ml_provider.links.TrainingJobLink",
            "airflow_ml_provider.links.TrainingLogsLink",
            "airflow_ml_provider.links.TrainingTensorBoardLink",
        ],
    }
