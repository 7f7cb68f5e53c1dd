"""The gate between a new version and production, and the step through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.assets import champion_asset, champion_extra
from airflow_ml_provider.compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    data_interval_end,
    skip_downstream,
)

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.models.settings import GateSettings
    from airflow_ml_provider.models.store import Champion, ModelStore

Callback = Callable[[Any], Any]

# How many acts may come between two tries of a rollback.
_ACTS_SINCE = 100


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
    :param on_refused: Airflow notifiers or other callables, one or several, called with the task's context
        after HOLD or BLOCK; it holds the ``decision``, for their templates too. One that fails is logged.
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns the decision as a mapping; it is also pushed as XCom ``decision``, in Airflow 3 only there when
    the outcome is not PROMOTE.
    """

    template_fields: Sequence[str] = (*_ModelOperator.template_fields, "settings")

    def __init__(
        self,
        *,
        settings: GateSettings | Mapping[str, Any] | None = None,
        on_refused: Callback | Sequence[Callback] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.settings = dict(settings) if isinstance(settings, Mapping) else settings
        self.on_refused = [on_refused] if callable(on_refused) else list(on_refused)

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
            self._tell(context, result)
            skip_downstream(self, context)
        return result

    def _tell(self, context: Any, decision: Mapping[str, Any]) -> None:
        context["decision"] = decision
        for callback in self.on_refused:
            try:
                callback(context)
            except Exception:
                # The decision is made and recorded, whether or not a message gets through.
                self.log.exception("%r could not tell of the refusal", callback)


class PromoteModelOperator(_ModelOperator):
    """Make a version the champion: move the pointer that serving and the next nights read.

    Only a version whose ``decision.json`` says PROMOTE is promoted, and only while the champion is still
    the one that it was compared with. Running it again changes nothing. A backfill of an older data interval
    does not overtake a champion that was trained on newer data: it is refused, and the task is skipped.

    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/`` (templated).
    :param model: the model's name (templated). If it is no template, a promotion is an event of
        :func:`~airflow_ml_provider.assets.champion_asset`.
    :param version: the version (templated).
    :param allow_older_data: whether a version may replace one that was trained on newer data.
    :param keep_last: after the promotion, remove the models of all but so many versions, beside those that
        are still needed, see :meth:`~airflow_ml_provider.models.store.ModelStore.prune`; None keeps all.
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns ``champion``, ``previous`` and ``uri``.
    """

    def __init__(
        self, *, allow_older_data: bool = False, keep_last: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**_announcing(kwargs))
        if keep_last is not None and keep_last < 1:
            raise ValueError(f"keep_last must be at least 1, or None to keep all versions, not {keep_last!r}")
        self.allow_older_data = allow_older_data
        self.keep_last = keep_last

    def execute(self, context: Context) -> dict[str, Any]:
        """Move the pointer."""
        from airflow_ml_provider.models.errors import OlderData

        with _failures_explained():
            store = self._store()
            until = None if self.allow_older_data else data_interval_end(context)
            decision = store.decision(self.version)
            try:
                champion = store.promote(self.version, decision, by=author(context), data_until=until)
            except OlderData as error:
                store.refuse(self.version, by=author(context), why=str(error))
                raise AirflowSkipException(str(error)) from error
            result = _announce(self, context, store, champion)
            if self.keep_last is not None:
                removed = store.prune(self.keep_last, by=author(context))
                self.log.info("Removed the models of %s", ", ".join(removed) or "no version")
        return result


class RollbackModelOperator(_ModelOperator):
    """Return production to an earlier version, and block the one that it leaves.

    For a DAG that a person triggers at night: the pointer moves in seconds, once the earlier version's files
    have been verified. A retry of the task does not roll back twice.

    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/`` (templated).
    :param model: the model's name (templated). If it is no template, a rollback is an event of
        :func:`~airflow_ml_provider.assets.champion_asset`.
    :param version: the version to return to (templated); the champion before this one if None or empty.
    :param leaving: the champion to leave (templated); the rollback fails if it is another by now. The one
        that is champion on the task's first try if None or empty.
    :param why: the reason, for the history (templated).
    :param project_id: the connection's project by default (templated).
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Returns ``champion``, ``previous`` and ``uri``.
    """

    template_fields: Sequence[str] = (*_ModelOperator.template_fields, "leaving", "why")
    ui_color = "#fce8e6"

    def __init__(
        self, *, why: str, version: str | None = None, leaving: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(version=version or "", **_announcing(kwargs))
        self.why = why
        self.leaving = leaving

    def execute(self, context: Context) -> dict[str, Any]:
        """Move the pointer back."""
        by = author(context)
        with _failures_explained():
            store = self._store()
            champion = store.champion()
            # The reply to an earlier try may be lost, and others may have acted since.
            if any((record.act, record.by) == ("rolled_back", by) for record in store.history(_ACTS_SINCE)):
                self.log.info("An earlier try of this task has rolled back already")
            else:
                leaving = self.leaving or (champion.version if champion else None)
                champion = store.rollback(self.version or None, by=by, why=self.why, expected=leaving)
            assert champion is not None
            return _announce(self, context, store, champion)


def _announcing(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return an operator's arguments with the model's asset among its outlets."""
    model = str(arguments.get("model", ""))
    if not model or "{{" in model or "{%" in model:
        return arguments
    return {**arguments, "outlets": [*(arguments.get("outlets") or ()), champion_asset(model)]}


def _announce(
    operator: _ModelOperator, context: Any, store: ModelStore, champion: Champion
) -> dict[str, Any]:
    """Tell who serves now: to the log, to the asset's event, and as the task's result."""
    uri = store.version_uri(champion.version)
    operator.log.info("%s is the champion of %s: %s", champion.version, operator.model, uri)
    events = context.get("outlet_events")
    asset = champion_asset(operator.model)
    if events is not None and asset in (operator.outlets or ()):
        events[asset].extra = champion_extra(store, champion)
    return {"champion": champion.version, "previous": champion.record.previous, "uri": uri}


@contextmanager
def _failures_explained() -> Iterator[None]:
    """Fail the task for good where a retry would fail the same way, and with a retry otherwise."""
    from airflow_ml_provider.models.errors import ChampionChanged, InvalidInput, ModelStoreError

    try:
        yield
    except (InvalidInput, ChampionChanged) as error:
        raise AirflowFailException(str(error)) from error
    except ModelStoreError as error:
        raise AirflowException(str(error)) from error


def author(context: Any) -> str:
    """Return who acts, for the model's history: the task and its run."""
    ti = context["ti"]
    return f"airflow:{ti.dag_id}/{ti.run_id}/{ti.task_id}"
