"""Vertex AI and the model store through Airflow's Google connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

from airflow_ml_provider.compat import AirflowException

if TYPE_CHECKING:
    from google.cloud.storage import Client

    from airflow_ml_provider.models.store import ModelStore
    from airflow_ml_provider.vertex.client import VertexClient
    from airflow_ml_provider.vertex.protocol import JobProtocol
    from airflow_ml_provider.vertex.requests import Requests


class VertexHook(GoogleBaseHook):
    """Hands out clients that act with a Google connection's credentials.

    The emulator is reached through ``VERTEX_AI_EMULATOR_HOST``, ``CLOUD_LOGGING_EMULATOR_HOST`` and
    ``STORAGE_EMULATOR_HOST``, with a connection whose extra says ``"is_anonymous": true``.

    :param gcp_conn_id: the connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    """

    def __init__(
        self,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(gcp_conn_id=gcp_conn_id, impersonation_chain=impersonation_chain)

    def get_client(
        self,
        *,
        region: str,
        project_id: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> VertexClient:
        """Return the client for jobs in one region.

        :param region: e.g. ``europe-west4``.
        :param project_id: the connection's project by default.
        :param sleep: lets time pass between tries and looks.
        :raises AirflowException: neither the argument nor the connection names a project, or the region
            can't exist.
        """
        from airflow_ml_provider.vertex.client import VertexClient

        return VertexClient(self.get_requests(region, project_id), self.get_credentials(), sleep=sleep)

    def get_requests(self, region: str, project_id: str | None = None) -> Requests:
        """Return the requests of one project and region; see :meth:`get_client`."""
        from airflow_ml_provider.vertex.requests import Requests

        try:
            return Requests(project=self._project(project_id), region=region)
        except ValueError as error:
            raise AirflowException(str(error)) from error

    def get_protocol(self, regions: Sequence[str], project_id: str | None = None) -> JobProtocol:
        """Return what runs a job in one of several regions, see :class:`JobProtocol`."""
        from airflow_ml_provider.vertex.protocol import JobProtocol

        return JobProtocol([self.get_requests(region, project_id) for region in regions], self.log)

    def get_store(self, root: str, model: str, project_id: str | None = None) -> ModelStore:
        """Return the store of one model.

        :param root: ``gs://BUCKET/FOLDER`` that holds ``models/``.
        :param model: the model's name.
        """
        from airflow_ml_provider.models.store import ModelStore

        return ModelStore(self.get_storage_client(project_id), root=root, model=model)

    def get_storage_client(self, project_id: str | None = None) -> Client:
        """Return a client of Cloud Storage with the connection's credentials."""
        from google.cloud import storage

        return storage.Client(credentials=self.get_credentials(), project=self._project(project_id))

    def _project(self, project_id: str | None) -> str:
        project = project_id or self.project_id
        if not project:
            raise AirflowException(
                f"No project: give project_id, or set it on the connection {self.gcp_conn_id!r}"
            )
        return project
