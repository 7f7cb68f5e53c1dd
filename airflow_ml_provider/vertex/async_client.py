"""The client for event loops: the triggerer's."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_ml_provider.vertex.errors import PermissionDenied, Unavailable
from airflow_ml_provider.vertex.replies import reply_of
from airflow_ml_provider.vertex.requests import ApiRequest
from airflow_ml_provider.vertex.steps import Steps, carry_out_async

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from google.auth.credentials import Credentials

Result = TypeVar("Result")


class AsyncVertexClient:
    """Carries out steps with aiohttp. Tokens are refreshed in a thread, never on the event loop.

    Belongs to the event loop that is running when it is made; :meth:`close` it.

    :param credentials: of ``google.auth``; anonymous ones for the emulator.
    """

    def __init__(self, credentials: Credentials) -> None:
        from aiohttp import ClientSession, TCPConnector

        self._credentials = credentials
        self._session: ClientSession = ClientSession(trust_env=True, connector=TCPConnector(limit=10))
        self._token = asyncio.Lock()

    async def run(self, steps: Steps[Result]) -> Result:
        """Carry out steps and return their result."""
        return await carry_out_async(steps, self._send, asyncio.sleep)

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def _send(self, request: ApiRequest) -> dict[str, Any]:
        from aiohttp import ClientError, ClientTimeout

        body = None if request.body is None else json.dumps(request.body)
        for refresh in (False, True):
            headers = await self._headers(request, refresh=refresh)
            try:
                async with self._session.request(
                    request.method,
                    request.url,
                    params=dict(request.params),
                    data=body,
                    headers=headers,
                    timeout=ClientTimeout(total=request.deadline),
                ) as reply:
                    status, text = reply.status, await reply.text()
                    received = dict(reply.headers)
            except (ClientError, TimeoutError, OSError) as error:
                raise Unavailable(request.action, None, f"{type(error).__name__}: {error}") from error
            if status != 401 or "authorization" not in headers:
                break
        return reply_of(request, status, received, text)

    async def _headers(self, request: ApiRequest, *, refresh: bool) -> dict[str, str]:
        async with self._token:
            return await asyncio.to_thread(self._authorize, request, refresh)

    def _authorize(self, request: ApiRequest, refresh: bool) -> dict[str, str]:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        headers = {"Content-Type": "application/json"}
        try:
            transport = Request()
            if refresh:
                self._credentials.refresh(transport)  # type: ignore[no-untyped-call]
            before = self._credentials.before_request
            before(transport, request.method, request.url, headers)  # type: ignore[no-untyped-call]
        except TransportError as error:
            raise Unavailable(request.action, None, f"no access token: {error}") from error
        except GoogleAuthError as error:
            raise PermissionDenied(request.action, 401, f"the credentials were refused: {error}") from error
        return headers
