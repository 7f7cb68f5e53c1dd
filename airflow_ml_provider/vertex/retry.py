"""When a failed request is sent again, and when not.

https://google.aip.dev/194 and the service's page on quotas: what is safe to repeat is repeated on rate
limits, 5xx, 408 and connection trouble, with full jitter; a create is never repeated blindly.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from airflow_ml_provider.vertex.errors import RateLimited, RequestError, Unavailable


@dataclass(frozen=True)
class RetryPolicy:
    """How long and how often to try.

    :param patience: seconds from the first failure after which the error is given to the caller.
    :param first: the longest first pause, in seconds; it doubles from try to try.
    :param longest: the longest pause that is made without the server asking for one.
    :param draw: returns a number between its two arguments; replaced in tests.
    """

    patience: float = 60.0
    first: float = 0.5
    longest: float = 10.0
    draw: Callable[[float, float], float] = random.uniform

    def pause(self, error: RequestError, failures: int, elapsed: float) -> float | None:
        """Return how long to wait before the next try, or None to give up.

        :param failures: how many tries have failed, this one included.
        :param elapsed: seconds since the first failure.
        """
        if not isinstance(error, Unavailable | RateLimited):
            return None
        jitter = self.draw(0, min(self.first * 2 ** (failures - 1), self.longest))
        # The server knows best, and several clients must not come back at once.
        pause = (error.retry_after or 0.0) + jitter
        return pause if elapsed + pause <= self.patience else None
