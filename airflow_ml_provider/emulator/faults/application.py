"""The emulator's services, answering as badly as the rules say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.faults.rules import InvalidRule, Rule, Rulebook
from airflow_ml_provider.emulator.http import (
    Application,
    Request,
    Response,
    Service,
    error_response,
    json_response,
)

ADDRESS = "/emulator/faults"
_EMPTY_PAGE = "emulator-empty-page:"
# Longer than any list stays stale.
_REMEMBERED = 3600.0


class FaultyApplication(Application):
    """Services whose calls go wrong by rules, which ``/emulator/faults`` takes.

    ``GET`` returns the rules, ``POST`` adds one, ``DELETE`` lifts all of them, or one by its number.

    :param rules: shared with what runs jobs.
    """

    def __init__(self, services: Iterable[Service], rules: Rulebook) -> None:
        super().__init__(services)
        self._rules = rules
        self._created: dict[str, float] = {}
        self._lock = threading.Lock()

    def dispatch(self, request: Request) -> Response:
        """Answer a request, or fail to."""
        if request.path == ADDRESS or request.path.startswith(f"{ADDRESS}/"):
            return self._administer(request)
        service, method = self._find(request)
        path = unquote(request.path)
        rule = self._rules.for_call(method, path)
        self._turn_page(request)
        if rule is None:
            return self._remembered(method, super().dispatch(request))
        legacy = service is None or service.legacy_errors
        match rule.fault:
            case "reset":
                raise ConnectionResetError(f"{method} is to be reset before it is done")
            case "status":
                return _refusal(rule, legacy=legacy)
            case "slow":
                time.sleep(rule.seconds or 0)
                return self._remembered(method, super().dispatch(request))
            case "lost-reply":
                _consume(self._remembered(method, super().dispatch(request)))
                raise ConnectionResetError(f"the reply of {method} is to be lost")
            case "empty-page" if _is_list(method, request):
                token = (request.query.get("pageToken") or [""])[-1]
                return json_response(200, {"nextPageToken": _EMPTY_PAGE + token})
            case "stale-list" if method.endswith(".list"):
                return self._stale(super().dispatch(request), rule.seconds or 0)
        return self._remembered(method, super().dispatch(request))

    def _find(self, request: Request) -> tuple[Service | None, str]:
        path = request.path.removeprefix("/download")
        for service in self.services:
            match = service.api.match(request.http_method, path)
            if match is not None:
                return service, match.method.id
        return None, ""

    def _turn_page(self, request: Request) -> None:
        """Replace the token of an empty page by the one that the page stood before."""
        tokens = request.query.get("pageToken", [])
        if tokens and tokens[-1].startswith(_EMPTY_PAGE):
            del request.query["pageToken"]
            if own := tokens[-1].removeprefix(_EMPTY_PAGE):
                request.query["pageToken"] = [own]

    def _remembered(self, method: str, response: Response) -> Response:
        """Note when what an answer describes was created."""
        if method.endswith((".create", ".insert")) and response.status < 300:
            now = time.monotonic()
            with self._lock:
                self._created = {k: t for k, t in self._created.items() if now - t < _REMEMBERED}
                for name in _names(_json(response)):
                    self._created[name] = now
        return response

    def _stale(self, response: Response, seconds: float) -> Response:
        body = _json(response)
        if body is None:
            return response
        since = time.monotonic() - seconds
        with self._lock:
            hidden = {name for name, created in self._created.items() if created >= since}
        shown = {
            key: [item for item in value if not hidden & set(_names(item))]
            if isinstance(value, list)
            else value
            for key, value in body.items()
        }
        return json_response(response.status, {key: value for key, value in shown.items() if value != []})

    def _administer(self, request: Request) -> Response:
        number = request.path.removeprefix(ADDRESS).strip("/")
        match request.http_method, number:
            case "GET", "":
                return json_response(200, {"faults": self._rules.describe()})
            case "POST", "":
                try:
                    rule = Rule.from_json(json.loads(request.stream.read() or b"null"))
                except (InvalidRule, ValueError) as error:
                    return error_response(ApiError(400, f"Not a rule for faults: {error}"), legacy=False)
                return json_response(200, {"id": self._rules.add(rule), **vars(rule)})
            case "DELETE", _:
                if not number or (number.isdecimal() and self._rules.remove(int(number))):
                    if not number:
                        self._rules.remove()
                    return json_response(200, {"faults": self._rules.describe()})
        return error_response(
            ApiError(404, f"{request.http_method} {request.path}: there is GET, POST and DELETE {ADDRESS}"),
            legacy=False,
        )


def _is_list(method: str, request: Request) -> bool:
    """Tell whether it is a list whose page is named in the address, as all but Cloud Logging's are."""
    return method.endswith(".list") and request.http_method == "GET"


def _refusal(rule: Rule, *, legacy: bool) -> Response:
    reasons = {429: "rateLimitExceeded", 503: "backendError"}
    message = rule.message or f"The emulator was told to answer with {rule.status}."
    response = error_response(ApiError(rule.status, message, reason=reasons.get(rule.status)), legacy=legacy)
    if rule.retry_after is not None:
        response.headers = {**response.headers, "Retry-After": str(rule.retry_after)}
    return response


def _consume(response: Response) -> None:
    if not isinstance(response.body, bytes):
        for _ in response.body:
            pass


def _json(response: Response) -> dict[str, Any] | None:
    try:
        value = json.loads(response.body) if isinstance(response.body, bytes) else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _names(resource: Any) -> list[str]:
    """Return what a resource is called: ``id`` in Cloud Storage and BigQuery, ``name`` in newer APIs."""
    if not isinstance(resource, Mapping):
        return []
    return [str(resource[key]) for key in ("id", "name") if key in resource][:1]
