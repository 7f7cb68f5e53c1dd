"""Keeping submissions below the service's quota of 60 a minute, project and region.

The workers of a fleet share no memory, but they share the service: how many jobs were created in the last
minute is what a list says. Each looks before it creates, and waits its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

# A margin below 60: several workers may look at the same moment.
SUBMISSIONS_A_MINUTE = 50
WINDOW = timedelta(seconds=60)


def wait_for_turn(
    created: Sequence[datetime], now: datetime, draw: Callable[[float, float], float]
) -> float | None:
    """Return how many seconds to wait before looking again, or None to create now.

    :param created: when the jobs of the last minute were created, in any order.
    :param draw: returns a number between its two arguments.
    """
    recent = sorted(moment for moment in created if moment > now - WINDOW)
    if len(recent) < SUBMISSIONS_A_MINUTE:
        return None
    # The moment when there is room again; those who wait for it must not all come at once.
    room = recent[-SUBMISSIONS_A_MINUTE] + WINDOW
    return max(1.0, (room - now).total_seconds()) + draw(0, 10)


def window_filter(now: datetime) -> str:
    """Return the list filter for the jobs of the last minute."""
    return f'createTime>"{(now - WINDOW).strftime("%Y-%m-%dT%H:%M:%SZ")}"'
