"""What a person can put right: bad arguments and bad data."""

from __future__ import annotations


class InputError(Exception):
    """Bad arguments or bad data: the process ends with exit code 2 and this message on one line.

    :param message: what is wrong, where, and what would be right.
    """


class PeerError(Exception):
    """A replica of the same job did not come, or is gone: exit code 1 and this message on one line."""
