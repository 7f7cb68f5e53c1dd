"""How BigQuery refuses a query."""

from __future__ import annotations

from airflow_ml_provider.emulator.errors import ApiError


def invalid(message: str) -> ApiError:
    """Return BigQuery's error for a query that it refuses."""
    return ApiError(400, message, reason="invalidQuery", location="query", location_type="other")


def unknown(construct: str) -> ApiError:
    """Return the error for what the emulator does not translate."""
    return invalid(f"The emulator does not know this construct: {construct}")
