"""Cloud Storage over HTTP: the JSON API, its downloads and batches, and the XML API's multipart uploads.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Application, Handler, Request, Response, error_response
from airflow_ml_provider.emulator.storage.batch import answer_batch
from airflow_ml_provider.emulator.storage.buckets import Buckets
from airflow_ml_provider.emulator.storage.objects import Objects
from airflow_ml_provider.emulator.storage.store import ObjectStore
from airflow_ml_provider.emulator.storage.uploads import Uploads
from airflow_ml_provider.emulator.storage.xml_uploads import XmlUploads

_BATCHES = ("/batch/storage/v1", "/batch")
_DOWNLOAD = "/download/storage/v1/"


class CloudStorage:
    """Answers Cloud Storage's APIs from an :class:`ObjectStore`."""

    legacy_errors = True

    def __init__(self, store: ObjectStore) -> None:
        self.api = Api("storage", "v1")
        self._store = store
        self._xml_uploads = XmlUploads(store)
        self.handlers: Mapping[str, Handler] = {
            **Buckets(store, self.api.locations).handlers,
            **Objects(store).handlers,
            "storage.objects.insert": Uploads(store).insert,
        }

    def undocumented(self, request: Request) -> Response | None:
        """Answer what the API's document leaves out: downloads, batches, and the XML API."""
        if request.headers.get("X-Goog-Encryption-Algorithm"):
            error = ApiError(501, "The emulator does not implement customer-supplied encryption keys.")
            return error_response(error, legacy=True)
        if request.path.startswith(_DOWNLOAD):
            path, query = request.path.removeprefix("/download"), {**request.query, "alt": ["media"]}
            return self._again(replace(request, path=path, query=query))
        if request.path in _BATCHES and request.http_method == "POST":
            return answer_batch(request, self._again)
        return self._xml_uploads.answer(request)

    def _again(self, request: Request) -> Response:
        return Application([self]).dispatch(request)

    def close(self) -> None:
        """Close the store."""
        self._store.close()
