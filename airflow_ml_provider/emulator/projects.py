"""Project ids and project numbers: Vertex AI answers with the number where one asked with the id."""

from __future__ import annotations

import hashlib


def project_number(project: str) -> str:
    """Return the 12-digit number of a project, always the same one for an id.

    :param project: an id, or a number, which is returned as it is.
    """
    if project.isdecimal():
        return project
    digest = int.from_bytes(hashlib.sha256(project.encode()).digest()[:8], "big")
    return str(100_000_000_000 + digest % 900_000_000_000)
