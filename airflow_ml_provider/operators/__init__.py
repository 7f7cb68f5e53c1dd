"""Airflow operators."""

from airflow_ml_provider.operators.evaluation import EvaluateModelOperator
from airflow_ml_provider.operators.promotion import (
    ModelGateOperator,
    PromoteModelOperator,
    RollbackModelOperator,
)
from airflow_ml_provider.operators.training import TrainingJobOperator

__all__ = [
    "EvaluateModelOperator",
    "ModelGateOperator",
    "PromoteModelOperator",
    "RollbackModelOperator",
    "TrainingJobOperator",
]
