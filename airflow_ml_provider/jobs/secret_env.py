"""Environment variables that look as if they held a secret.

Everybody who may look at a job can read its variables, in the console, in the API and in the logs.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_ml_provider.jobs.values import is_later

_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PWD|SECRET|TOKEN|CREDENTIALS?|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY)(?:_ID)?$",
    re.IGNORECASE,
)
# What such a variable may well hold: a path, an address without a password, a resource's or secret's name.
_REFERENCE = re.compile(r"[/.~].*|gs://.*|https?://[^@]*|projects/.*|\$\(\w+\)|\d{1,3}")
_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\"private_key\"\s*:|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20}"
    r"|gh[pousr]_[0-9A-Za-z]{36}|github_pat_\w{22}|AKIA[0-9A-Z]{16}|xox[abprs]-[0-9A-Za-z-]{10}"
    r"|hf_[0-9A-Za-z]{30}|\bsk-[0-9A-Za-z_-]{20}|[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@]+@"
)
_warned: set[frozenset[str]] = set()


class SecretInEnvironment(UserWarning):
    """A job's environment variable looks like a secret."""


def looks_secret(name: str, value: Any) -> bool:
    """Return whether a variable seems to hold a secret itself, and not the way to one."""
    if is_later(value) or value is None:
        return False
    text = str(value)
    return bool(_VALUE.search(text)) or bool(_NAME.search(name) and not _REFERENCE.fullmatch(text))


def warn_of_secrets(environments: Iterable[Mapping[str, Any]], stacklevel: int) -> None:
    """Warn, once for the same variables, if any looks like a secret. The values are not told.

    :param stacklevel: as of :func:`warnings.warn`, counted from the caller.
    """
    found = {
        str(name) for env in environments for name, value in env.items() if looks_secret(str(name), value)
    }
    if not found or frozenset(found) in _warned:
        return
    _warned.add(frozenset(found))
    warnings.warn(
        f"env: {', '.join(sorted(found))} may hold a secret, which all who may look at the job can read. "
        "Put it into Secret Manager, hand over its name, and read it in the container as service_account.",
        SecretInEnvironment,
        stacklevel=stacklevel + 1,
    )
