"""Errors in the two shapes in which Google's REST APIs report them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

# https://cloud.google.com/apis/design/errors#handling_errors
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Reasons of the older APIs, where the handler names none.
_REASON = {
    400: "invalid",
    401: "required",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    411: "required",
    412: "conditionNotMet",
    416: "requestedRangeNotSatisfiable",
    500: "internalError",
    501: "notImplemented",
    503: "backendError",
}


class ApiError(Exception):
    """A refusal, to be sent to the caller in the shape of the API that was called.

    :param code: the HTTP status.
    :param message: for the person who reads it; names what was refused.
    :param reason: the ``reason`` of Cloud Storage's and BigQuery's errors, e.g. ``conditionNotMet``.
    :param location: the parameter, header or field at fault.
    :param location_type: what ``location`` is: ``parameter``, ``header`` or ``other``.
    :param status: the canonical status of Vertex AI's and Cloud Logging's errors, if not the usual one.
    :param details: their ``details``.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        location: str | None = None,
        location_type: str = "parameter",
        status: str | None = None,
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or _REASON.get(code, HTTPStatus(code).phrase)
        self.location = location
        self.location_type = location_type
        self.status = status or _STATUS.get(code, "UNKNOWN")
        self.details = details or []

    def legacy(self) -> dict[str, Any]:
        """Body as Cloud Storage and BigQuery send it."""
        item: dict[str, Any] = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location is not None:
            item |= {"locationType": self.location_type, "location": self.location}
        body = {"code": self.code, "message": self.message, "errors": [item]}
        return {"error": body}

    def canonical(self) -> dict[str, Any]:
        """Body as Vertex AI and Cloud Logging send it."""
        body: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            body["details"] = self.details
        return {"error": body}
