"""How long things take."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Pace:
    """The delays of the service, in seconds; in reality they are minutes.

    :param queued: in ``JOB_STATE_QUEUED``.
    :param pending: in ``JOB_STATE_PENDING``, when machines are made ready.
    :param error: between a job's end and the appearance of its ``error``; about a minute in reality.
    :param delete: for the operation that deletes a job.
    """

    queued: float = 0.2
    pending: float = 0.5
    error: float = 1.5
    delete: float = 0.2

    def scaled(self, factor: float) -> Pace:
        """Return all delays, multiplied."""
        return Pace(*(delay * factor for delay in astuple(self)))
