"""Rows of BigQuery into files of Cloud Storage, so that no two attempts ever mix."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import AirflowException, AirflowFailException, BaseOperator

if TYPE_CHECKING:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    from airflow_ml_provider.compat import Context

_FORMATS = {"csv": "format='CSV', header=true", "json": "format='JSON'", "parquet": "format='PARQUET'"}


class BigQueryExportOperator(BaseOperator):
    """Write the rows of a query into files, in one BigQuery job (``EXPORT DATA``).

    Every attempt writes into a folder of its own and never into one that has files: name the attempt in
    ``uri`` (``{{ ti.try_number }}``). So a retry always works, and shards of two attempts don't mix.

    :param query: a ``SELECT`` in GoogleSQL (templated).
    :param uri: ``gs://BUCKET/FOLDER/part-*.EXTENSION``, with one ``*`` (templated).
    :param file_format: ``csv`` (with a header), ``json`` (newline-delimited) or ``parquet``.
    :param location: of the query's dataset; BigQuery finds it if None (templated).
    :param project_id: that runs the job, the connection's by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns ``[uri]``, as Airflow's ``BigQueryToGCSOperator`` does.
    https://cloud.google.com/bigquery/docs/reference/standard-sql/export-statements
    """

    template_fields: Sequence[str] = (
        "query",
        "uri",
        "location",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers = {"query": "sql"}
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        query: str,
        uri: str,
        file_format: str = "csv",
        location: str | None = None,
        project_id: str | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if file_format not in _FORMATS:
            raise ValueError(f"file_format must be one of {', '.join(_FORMATS)}, not {file_format!r}")
        self.query = query
        self.uri = uri
        self.file_format = file_format
        self.location = location
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._hook: BigQueryHook | None = None
        self._job: Any = None

    def execute(self, context: Context) -> list[str]:
        """Run the job and wait for its end."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
        from google.api_core.exceptions import BadRequest, GoogleAPICallError

        if "'" in self.uri or "\\" in self.uri or self.uri.count("*") != 1:
            raise AirflowFailException(f"uri must have one * and neither quotes nor backslashes: {self.uri}")
        hook = BigQueryHook(
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            location=self.location,
            use_legacy_sql=False,
        )
        self._hook = hook
        options = f"uri='{self.uri}', {_FORMATS[self.file_format]}, overwrite=false"
        statement = f"EXPORT DATA OPTIONS({options}) AS\n{self.query}"
        self.log.info("%s", statement)
        try:
            self._job = hook.insert_job(
                configuration={"query": {"query": statement, "useLegacySql": False}},
                job_id=f"airflow_export_{uuid.uuid4().hex}",
                project_id=self.project_id or hook.project_id,
                nowait=True,
            )
            self._job.result()
        except BadRequest as error:
            # The query is wrong, or a row: it would be so again.
            raise AirflowFailException(f"BigQuery could not export to {self.uri}: {error}") from error
        except GoogleAPICallError as error:
            raise AirflowException(f"BigQuery could not export to {self.uri}: {error}") from error
        self.log.info("Exported to %s by job %s", self.uri, self._job.job_id)
        return [self.uri]

    def on_kill(self) -> None:
        """Cancel the job."""
        if self._hook is not None and self._job is not None:
            job = self._job
            self._hook.cancel_job(job_id=job.job_id, project_id=job.project, location=job.location)
