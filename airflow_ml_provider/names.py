"""Names derived from an Airflow run that are legal wherever the run leaves a trace."""

from __future__ import annotations

import hashlib
import re

_READABLE = 36


def slug(text: str) -> str:
    """Return a short name for a run that a path, a BigQuery table and a Vertex AI label all accept.

    Runs that differ get names that differ, whatever characters they differ in.

    :param text: usually the run id, e.g. ``scheduled__2026-11-20T03:00:00+00:00``.
    :return: lower-case letters, digits and underscores, starting with a letter, at most 45 characters:
        ``scheduled_2026_11_20t03_00_00_00_00_5d2c9f1e``.
    :raises ValueError: the text is empty.
    """
    if not text:
        raise ValueError("a run's name can't be made from an empty text")
    readable = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:_READABLE].strip("_")
    if not readable[:1].isalpha():
        readable = f"r{readable}"[:_READABLE]
    return f"{readable}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
