"""Preconditions, answered as Cloud Storage does.

https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Call

_NAMES = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")


class NotModified(Exception):
    """A read whose ``NotMatch`` condition says that the caller has it already: status 304, no body."""


@dataclass(frozen=True)
class Conditions:
    """What must hold of an object, or of a bucket (which has no generation), for a request to be done."""

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any], prefix: str = "if") -> Conditions:
        """Read them from a request's parameters.

        :param prefix: ``if``, or ``ifSource`` for the source of a copy.
        """
        return cls(*(params.get(f"{prefix}{name}") for name in _NAMES))

    def check(self, generation: int, metageneration: int, *, reading: bool = False) -> None:
        """Check them against what is there.

        :param generation: 0 if there is nothing.
        :param metageneration: 0 if there is nothing.
        :param reading: whether a ``NotMatch`` that fails is a 304 rather than a 412.
        :raises ApiError: 412 ``conditionNotMet``.
        :raises NotModified: a read that the caller need not make.
        """
        matches = (
            self.generation_match is None or self.generation_match == generation,
            self.metageneration_match is None or self.metageneration_match == metageneration,
        )
        if not all(matches):
            raise not_met("If-Match")
        if generation == self.generation_not_match or metageneration == self.metageneration_not_match:
            if reading:
                raise NotModified
            raise not_met("If-None-Match")


def check_etag(call: Call, etag: str, *, reading: bool) -> None:
    """Check ``If-Match`` and ``If-None-Match`` headers, each one etag or several, against an etag.

    :param reading: whether an ``If-None-Match`` that fails is a 304 rather than a 412.
    :raises ApiError: 412 ``conditionNotMet``.
    :raises NotModified: a read that the caller need not make.
    """
    wanted, unwanted = call.headers.get("If-Match"), call.headers.get("If-None-Match")
    if wanted is not None and not _names(wanted, etag):
        raise not_met("If-Match")
    if unwanted is not None and _names(unwanted, etag):
        if reading:
            raise NotModified
        raise not_met("If-None-Match")


def _names(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags


def not_met(header: str) -> ApiError:
    """Return the error of a condition that does not hold.

    :param header: ``If-Match`` or ``If-None-Match``, whichever HTTP has for such a condition.
    """
    return ApiError(
        412,
        "At least one of the pre-conditions you specified did not hold.",
        reason="conditionNotMet",
        location=header,
        location_type="header",
    )
