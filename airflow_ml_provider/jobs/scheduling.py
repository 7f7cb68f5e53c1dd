"""When a job gets its machines and how long it may have them."""

from __future__ import annotations

from datetime import timedelta

STANDARD, SPOT, FLEX_START = STRATEGIES = ("STANDARD", "SPOT", "FLEX_START")
# https://cloud.google.com/vertex-ai/docs/training/schedule-jobs-dws#requirements
FLEX_START_LONGEST = 7 * 24 * 3600.0
# What google.protobuf.Duration can hold.
LONGEST = 315_576_000_000
DEPRECATED = {"ON_DEMAND": STANDARD, "LOW_COST": SPOT}


def seconds(value: float | str | timedelta) -> float:
    """Return a length of time in seconds.

    :raises ValueError: a text that is no number.
    """
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def duration(value: float | str | timedelta) -> str:
    """Return a length of time as Google's APIs write it: ``3600s``, ``0.5s``."""
    whole = f"{seconds(value):.9f}".rstrip("0").rstrip(".")
    return f"{whole}s"
