"""What the service's answers mean: JSON, or one of our errors. The same for both clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_ml_provider.vertex.errors import Unavailable, request_error
from airflow_ml_provider.vertex.requests import ApiRequest

# A server that asks for more is asked again sooner: a task can't be kept waiting by one header.
LONGEST_RETRY_AFTER = 120.0


def reply_of(request: ApiRequest, status: int, headers: Mapping[str, str], text: str) -> dict[str, Any]:
    """Return the JSON object that a reply holds.

    :param headers: of the reply; names in any case.
    :param text: its body.
    :raises RequestError: the kind that fits the status, or :class:`Unavailable` for a page that is not JSON.
    """
    body: Any = None
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if status >= 400:
        refused = body if isinstance(body, dict) else None
        return_in = retry_after(headers.get("Retry-After") or headers.get("retry-after"))
        raise request_error(request.action, status, refused, text, retry_after=return_in)
    if not isinstance(body, dict):
        # A proxy's page with status 200 is no answer of the service.
        raise Unavailable(request.action, status, f"not JSON: {text[:200]}")
    return body


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: a number or a date (RFC 9110), or None."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
