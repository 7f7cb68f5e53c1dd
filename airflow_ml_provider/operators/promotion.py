"""The gate between a new version and production, and the step through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import AirflowException, AirflowFailException, BaseOperator, skip_downstream

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.models.settings import GateSettings
    from airflow_ml_provider.models.store import ModelStore


class _ModelOperator(BaseOperator):
    """What the operators on the model store share: where it is and which version they mean."""

    template_fields: Sequence[str] = (
        "root",
        "model",
        "version",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        root: str,
        model: str,
        version: str,
        project_id: str | None = None,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.model = model
        self.version = version
        self.project_id = project_id
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def _store(self) -> ModelStore:
        from airflow_ml_provider.hooks.vertex import VertexHook

        hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return hook.get_store(self.root, self.model, self.project_id)


class ModelGateOperator(_ModelOperator):
    """Decide from ``evaluation.json`` whether a version may replace the champion.

    The decision is written beside the version as ``decision.json`` and ``report.html``. PROMOTE lets the
    tasks that follow run. HOLD (not enough evidence) and BLOCK (evidence of harm) are normal outcomes:
    the task succeeds, what directly follows it is skipped, the champion stays, and the reasons stand in
    the log and in the model's history.

    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/`` (templated).
    :param model: the model's name (templated).
    :param version: the challenger (templated).
    :param settings: what is required of it, see :class:`~airflow_ml_provider.models.settings.GateSettings`;
        its defaults if None (a mapping is templated).
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns the decision as a mapping; it is also pushed as XCom ``decision``, in Airflow 3 only there when
    the outcome is not PROMOTE.
    """

    template_fields: Sequence[str] = (*_ModelOperator.template_fields, "settings")

    def __init__(self, *, settings: GateSettings | Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = dict(settings) if isinstance(settings, Mapping) else settings

    def execute(self, context: Context) -> dict[str, Any]:
        """Decide, and record the decision."""
        from airflow_ml_provider.models.decision import Outcome
        from airflow_ml_provider.models.errors import InvalidInput, ModelStoreError
        from airflow_ml_provider.models.gate import decide
        from airflow_ml_provider.models.settings import GateSettings

        store = self._store()
        try:
            settings = self.settings
            if not isinstance(settings, GateSettings):
                settings = GateSettings.from_mapping(settings or {})
            evaluation = store.evaluation(self.version)
            uses = store.holdout_uses(evaluation)
            decision = decide(evaluation, settings, holdout_uses=uses)
            report = store.write_decision(self.version, decision)
            if decision.outcome is not Outcome.PROMOTE:
                store.refuse(self.version, decision, by=author(context))
        except InvalidInput as error:
            raise AirflowFailException(str(error)) from error
        except ModelStoreError as error:
            raise AirflowException(str(error)) from error
        say = self.log.info if decision.outcome is Outcome.PROMOTE else self.log.warning
        say("%s: %s\nReport: %s", decision.outcome.value, "\n".join(decision.reasons), report)
        result = {**decision.to_mapping(), "report": report}
        context["ti"].xcom_push(key="decision", value=result)
        if decision.outcome is not Outcome.PROMOTE:
            skip_downstream(self, context)
        return result


class PromoteModelOperator(_ModelOperator):
    """Make a version the champion: move the pointer that serving and the next nights read.

    Only a version whose ``decision.json`` says PROMOTE is promoted, and only while the champion is still
    the one that it was compared with. Running it again changes nothing.

    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/`` (templated).
    :param model: the model's name (templated).
    :param version: the version (templated).
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns ``champion``, ``previous`` and ``uri``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Move the pointer."""
        from airflow_ml_provider.models.errors import ChampionChanged, InvalidInput, ModelStoreError

        store = self._store()
        try:
            decision = store.decision(self.version)
            champion = store.promote(self.version, decision, by=author(context))
        except (InvalidInput, ChampionChanged) as error:
            raise AirflowFailException(str(error)) from error
        except ModelStoreError as error:
            raise AirflowException(str(error)) from error
        uri = store.version_uri(champion.version)
        self.log.info("%s is the champion of %s: %s", champion.version, self.model, uri)
        return {"champion": champion.version, "previous": champion.record.previous, "uri": uri}


def author(context: Any) -> str:
    """Return who acts, for the model's history: the task and its run."""
    ti = context["ti"]
    return f"airflow:{ti.dag_id}/{ti.run_id}/{ti.task_id}"
