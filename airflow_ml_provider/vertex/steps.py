"""A protocol written once for threads and for an event loop.

What is to be done is a generator of steps: requests to send, pauses to make. Two short loops carry steps out,
one blocking and one ``async``; decisions and order are in the generator and the same for both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_ml_provider.vertex.errors import RequestError
from airflow_ml_provider.vertex.requests import ApiRequest

Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """Send a request; the generator gets the reply's JSON, or the :class:`RequestError`."""

    request: ApiRequest


@dataclass(frozen=True)
class Pause:
    """Let time pass.

    :param seconds: how long.
    """

    seconds: float


Steps = Generator[Call | Pause, Any, Result]


def carry_out(
    steps: Steps[Result],
    send: Callable[[ApiRequest], dict[str, Any]],
    sleep: Callable[[float], None],
) -> Result:
    """Carry out steps in this thread and return their result.

    :param send: sends a request once; raises :class:`RequestError`.
    :param sleep: lets seconds pass.
    """
    answer: Any = None
    error: RequestError | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        answer = error = None
        if isinstance(step, Pause):
            sleep(step.seconds)
            continue
        try:
            answer = send(step.request)
        except RequestError as refused:
            error = refused


async def carry_out_async(
    steps: Steps[Result],
    send: Callable[[ApiRequest], Awaitable[dict[str, Any]]],
    sleep: Callable[[float], Awaitable[None]],
) -> Result:
    """Carry out steps on the running event loop, as :func:`carry_out` does in a thread."""
    answer: Any = None
    error: RequestError | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        answer = error = None
        if isinstance(step, Pause):
            await sleep(step.seconds)
            continue
        try:
            answer = await send(step.request)
        except RequestError as refused:
            error = refused
