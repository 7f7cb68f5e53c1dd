"""A Cloud Storage of one's own, and the official client for it."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_ml_provider.emulator.faults.application import FaultyApplication
from airflow_ml_provider.emulator.faults.rules import Rulebook
from airflow_ml_provider.emulator.http import Server
from airflow_ml_provider.emulator.storage.service import CloudStorage
from airflow_ml_provider.emulator.storage.store import ObjectStore


@contextmanager
def serving(folder, rules=None):
    """Serve a folder, with faults if rules are given; yield the address."""
    service = CloudStorage(ObjectStore(folder))
    server = Server(("127.0.0.1", 0), FaultyApplication([service], rules or Rulebook()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        service.close()


def client(address):
    return storage.Client(
        project="my-project", credentials=AnonymousCredentials(), client_options={"api_endpoint": address}
    )
