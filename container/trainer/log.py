"""Messages: plain text for people, or one JSON object a line where Cloud Logging reads them."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_least = "INFO"


def set_least(severity: str) -> None:
    """Print only messages of at least ``DEBUG``, ``INFO``, ``WARN``, ``ERROR`` or ``FATAL``."""
    global _least
    _least = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(severity, severity)


def info(message: str, **fields: Any) -> None:
    """Print a message to standard output.

    Under Vertex AI (``CLOUD_ML_JOB_ID`` is set) it is a JSON object with ``severity`` and ``message``, which
    Cloud Logging takes apart: https://cloud.google.com/logging/docs/structured-logging

    :param message: one line.
    :param fields: for queries; part of the JSON object only.
    """
    _write("INFO", message, fields)


def warning(message: str, **fields: Any) -> None:
    """Print a message that someone should look at; see :func:`info`."""
    _write("WARNING", message, fields)


def fatal(message: str) -> None:
    """Print why the process ends: one plain line on standard error."""
    sys.stdout.flush()
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)


def _write(severity: str, message: str, fields: dict[str, Any]) -> None:
    if _SEVERITIES.index(severity) < _SEVERITIES.index(_least):
        return
    if os.environ.get("CLOUD_ML_JOB_ID"):
        print(json.dumps({"severity": severity, "message": message, **fields}), flush=True)
    else:
        prefix = "" if severity == "INFO" else f"{severity.lower()}: "
        print(prefix + message, flush=True)
