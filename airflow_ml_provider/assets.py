"""Assets of Airflow that stand for a model in production: DAGs are scheduled on its promotions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_ml_provider.compat import Asset
from airflow_ml_provider.models.uri import checked_name

if TYPE_CHECKING:
    from airflow_ml_provider.models.store import Champion, ModelStore

_SCHEME = "x-champion"


def champion_asset(model: str) -> Asset:
    """Return the asset that is updated whenever a model's champion changes.

    ``PromoteModelOperator`` and ``RollbackModelOperator`` update it by themselves where the model's name is
    not templated. Use it to schedule what follows::

        DAG("serving_refresh", schedule=[champion_asset("recommender")])

    The event's ``extra`` says what to serve, see :func:`champion_extra`.

    :param model: the model's name, as the operators have it.
    :raises InvalidName: no model can have that name.
    """
    # Not the pointer's gs:// address: that is known only once the operators' templates are rendered.
    return Asset(f"{_SCHEME}://{checked_name('model', model)}")


def champion_extra(store: ModelStore, champion: Champion) -> dict[str, Any]:
    """Return what an event of :func:`champion_asset` carries, as JSON values.

    ``act`` (``promoted`` or ``rolled_back``), ``model``, ``version``, its ``uri``, ``previous``, ``by``,
    ``why``, ``number`` of the record, and ``metrics`` as the version's trainer measured them.
    """
    record = champion.record
    return {
        "act": record.act,
        "model": store.model,
        "version": champion.version,
        "uri": store.version_uri(champion.version),
        "previous": record.previous,
        "number": record.number,
        "by": record.by,
        "why": record.why,
        "metrics": dict(store.manifest(champion.version).metrics),
    }
