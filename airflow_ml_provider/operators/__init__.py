"""Airflow operators."""

from airflow_ml_provider.operators.cancel import CancelTrainingJobOperator
from airflow_ml_provider.operators.evaluation import EvaluateModelOperator
from airflow_ml_provider.operators.export import BigQueryExportOperator
from airflow_ml_provider.operators.promotion import (
    ModelGateOperator,
    PromoteModelOperator,
    RollbackModelOperator,
)
from airflow_ml_provider.operators.training import TrainingJobOperator
from airflow_ml_provider.operators.validation import ValidateTrainingDataOperator

__all__ = [
    "BigQueryExportOperator",
    "CancelTrainingJobOperator",
    "EvaluateModelOperator",
    "ModelGateOperator",
    "PromoteModelOperator",
    "RollbackModelOperator",
    "TrainingJobOperator",
    "ValidateTrainingDataOperator",
]
