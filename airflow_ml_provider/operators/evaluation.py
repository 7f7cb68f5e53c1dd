"""Scoring tonight's model and the one in production on the same held-out rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import AirflowFailException
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.operators.training import TrainingJobOperator

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.models.store import ModelStore
    from airflow_ml_provider.vertex.job import Job


class EvaluateModelOperator(TrainingJobOperator):
    """Score a new version, the champion and the anchor on the same rows, in one job of the user's image.

    The image is started with ``job.args`` followed by ``--challenger URI --champion URI --anchor URI
    --test-file DATA --output URI``; ``--champion`` is left out as long as there is none, ``--anchor`` where
    the champion is the anchor itself. It writes ``evaluation.json`` beside the challenger's manifest; this
    task reads it back and refuses what the gate could not use.

    :param job: the image and its machines; ``args`` usually ``["evaluate"]`` (templated).
    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/`` (templated).
    :param model: the model's name (templated).
    :param version: the challenger (templated).
    :param data: held-out rows, a ``gs://`` path or several; wildcards as the image understands them
        (templated).

    The other arguments are those of :class:`TrainingJobOperator`. Returns ``version``, ``champion`` (or
    None), ``rows``, both models' ``metrics`` and the job.
    """

    template_fields: Sequence[str] = (
        *TrainingJobOperator.template_fields,
        "root",
        "model",
        "version",
        "data",
    )
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        job: TrainingJob | Mapping[str, Any],
        root: str,
        model: str,
        version: str,
        data: str | Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(job=job, **kwargs)
        self.root = root
        self.model = model
        self.version = version
        self.data = data

    def training_job(self, context: Context) -> TrainingJob:
        """Return the job with what it has to compare."""
        from airflow_ml_provider.models.errors import ModelStoreError

        store = self._store()
        try:
            store.verify(self.version)
            champion = store.champion()
            anchor = champion.record.anchor if champion else None
            if champion is not None and anchor not in {None, champion.version, self.version}:
                store.verify(str(anchor))
            else:
                anchor = None
        except ModelStoreError as error:
            raise AirflowFailException(str(error)) from error
        files = [self.data] if isinstance(self.data, str) else list(self.data)
        args = ["--challenger", store.version_uri(self.version)]
        if champion is not None:
            args += ["--champion", store.version_uri(champion.version)]
        if anchor is not None:
            args += ["--anchor", store.version_uri(anchor)]
        for file in files:
            args += ["--test-file", file]
        args += ["--output", store.evaluation_uri(self.version)]
        spec = super().training_job(context)
        return replace(spec, args=[*spec.args, *args])

    def result(self, context: Context, job: Job) -> dict[str, Any]:
        """Read what the job found."""
        from airflow_ml_provider.models.errors import ModelStoreError

        store = self._store()
        try:
            evaluation = store.evaluation(self.version)
        except ModelStoreError as error:
            raise AirflowFailException(str(error)) from error
        return {
            "version": self.version,
            "champion": store.version_of(evaluation.champion.uri) if evaluation.champion else None,
            "rows": evaluation.rows,
            "challenger_metrics": dict(evaluation.challenger.metrics),
            "champion_metrics": dict(evaluation.champion.metrics) if evaluation.champion else None,
            **job.summary(),
        }

    def _store(self) -> ModelStore:
        from airflow_ml_provider.hooks.vertex import VertexHook

        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return hook.get_store(self.root, self.model, self.project_id)
