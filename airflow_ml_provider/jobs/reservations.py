"""Compute Engine reservations that a job's machines may use.

https://cloud.google.com/vertex-ai/docs/training/use-reservations
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

ANY_RESERVATION, NO_RESERVATION = "ANY_RESERVATION", "NO_RESERVATION"
NAME_KEY = "compute.googleapis.com/reservation-name"
RESERVATION = re.compile(r"projects/[^/]+/zones/[^/]+/reservations/[^/]+")


def names(reservation: str | Sequence[str] | None) -> list[str]:
    """Return what was given as a list."""
    if not reservation:
        return []
    return [reservation] if isinstance(reservation, str) else list(reservation)


def reservation_affinity(reservation: str | Sequence[str] | None) -> dict[str, Any]:
    """Return Vertex AI's ``ReservationAffinity``; empty if nothing was given."""
    given = names(reservation)
    if not given:
        return {}
    if given[0] in (ANY_RESERVATION, NO_RESERVATION):
        return {"reservationAffinityType": given[0]}
    return {"reservationAffinityType": "SPECIFIC_RESERVATION", "key": NAME_KEY, "values": given}
