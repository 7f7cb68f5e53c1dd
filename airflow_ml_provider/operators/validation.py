"""Training data looked at before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import (
    AirflowException,
    AirflowFailException,
    BaseOperator,
    data_interval_end,
)

if TYPE_CHECKING:
    from google.cloud.storage import Client

    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.data.expectations import Expectations
    from airflow_ml_provider.data.profile import Profile


class ValidateTrainingDataOperator(BaseOperator):
    """Read an export once, and let the run go on only if it is what is expected.

    The export's files and their statistics are written beside them as ``dataset.json``; an export that was
    described before is not read again. It is compared with ``expectations`` and with the data that the model
    in production was trained on. What is worth a look is a warning in the log; what must not be trained on
    (files that are missing, empty or unlike each other, a lost column, stale or repeated rows, another
    distribution) fails the task for good, before a machine is billed.

    :param uri: the export: a file, or a pattern such as ``gs://…/part-*.csv`` (templated). A list of one, as
        ``BigQueryToGCSOperator`` returns it, is fine.
    :param expectations: a mapping (templated), the path of a YAML file (templated) or
        :class:`~airflow_ml_provider.data.expectations.Expectations`; None for the defaults.
    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/``, to compare with the data of the model in
        production; None for no comparison (templated).
    :param model: the model's name, with ``root`` (templated).
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns ``outcome`` (``pass`` or ``warn``), ``dataset`` (address of ``dataset.json``), ``rows``,
    ``shards``, and ``warnings`` as texts.
    """

    template_fields: Sequence[str] = (
        "uri",
        "expectations",
        "root",
        "model",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        uri: str | Sequence[str],
        expectations: Expectations | Mapping[str, Any] | str | None = None,
        root: str | None = None,
        model: str | None = None,
        project_id: str | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (root is None) != (model is None):
            raise ValueError("give root and model together, or neither of them")
        self.uri = uri
        self.expectations = dict(expectations) if isinstance(expectations, Mapping) else expectations
        self.root = root
        self.model = model
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> dict[str, Any]:
        """Describe the export, and check it."""
        from airflow_ml_provider.data.checks import Outcome, check, table, worst
        from airflow_ml_provider.data.dataset import Datasets
        from airflow_ml_provider.data.expectations import Expectations, InvalidExpectations
        from airflow_ml_provider.data.table import UnreadableData

        client = self._client()
        datasets = Datasets(client)
        try:
            expectations = Expectations.read(self.expectations)
            types = {name: c.type for name, c in expectations.columns.items() if c.type is not None}
            dataset = datasets.describe(self._one_uri(), types)
            reference = self._reference(client, datasets)
        except (InvalidExpectations, UnreadableData) as error:
            raise AirflowFailException(f"The data must not be trained on:\n{error}") from error
        findings = check(dataset.profile, expectations, until=data_interval_end(context), reference=reference)
        outcome = worst(findings)
        text = f"{dataset.uri}: {len(dataset.shards)} files, {dataset.profile.rows:,} rows\n{table(findings)}"
        if outcome is Outcome.STOP:
            raise AirflowFailException(
                f"The data must not be trained on. {text}\nMend the data and clear this run from its export "
                f"on, or change what is expected. Statistics: {dataset.description}"
            )
        (self.log.warning if outcome is Outcome.WARN else self.log.info)("%s", text)
        return {
            "outcome": outcome.value,
            "dataset": dataset.description,
            "rows": dataset.profile.rows,
            "shards": len(dataset.shards),
            "warnings": [f"{f.where}: {f.text}" for f in findings if f.outcome is Outcome.WARN],
        }

    def _one_uri(self) -> str:
        if isinstance(self.uri, str):
            return self.uri
        if len(self.uri) != 1:
            raise AirflowFailException(f"uri must be one file or pattern, not {list(self.uri)!r}")
        return self.uri[0]

    def _reference(self, client: Client, datasets: Any) -> Profile | None:
        """Return the profile of the data that production was trained on, where it is known."""
        from airflow_ml_provider.models.errors import ModelStoreError
        from airflow_ml_provider.models.store import ModelStore

        if not self.root or not self.model:
            return None
        try:
            store = ModelStore(client, root=self.root, model=self.model)
            champion = store.champion()
            files = store.manifest(champion.version).data.files if champion else ()
        except ModelStoreError as error:
            raise AirflowException(str(error)) from error
        dataset = datasets.read(str(files[0]["uri"])) if files else None
        if dataset is None:
            self.log.info("There is no dataset.json of the data in production to compare with")
            return None
        return dataset.profile if dataset.description != datasets.description(self._one_uri()) else None

    def _client(self) -> Client:
        from airflow_ml_provider.hooks.vertex import VertexHook

        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return hook.get_storage_client(self.project_id)
