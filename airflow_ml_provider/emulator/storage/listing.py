"""Listings of objects: prefixes, delimiters, offsets, globs, pages.

https://cloud.google.com/storage/docs/json_api/v1/objects/list
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.storage.records import StoredObject
from airflow_ml_provider.emulator.storage.resources import object_resource
from airflow_ml_provider.emulator.storage.store import ObjectStore

_MAX_PAGE = 1000


@dataclass(frozen=True)
class _Entry:
    """What a listing shows: a folder, or an object, or an object of a folder's name along with it."""

    folder: str
    found: StoredObject | None


@dataclass(frozen=True)
class _Position:
    """The last entry of the page before: a folder, or one generation of an object."""

    name: str
    generation: int | None


def list_objects(store: ObjectStore, params: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return a page of a bucket's objects, and the folders beside them.

    :param params: of ``storage.objects.list``.
    :param base: address by which the caller reached the emulator.
    :raises ApiError: 400 for parameters that make no sense, 404 for the bucket.
    """
    if params.get("filter"):
        raise ApiError(501, "The emulator does not implement the filter of storage.objects.list.")
    size = page_size(params)
    items: list[dict[str, Any]] = []
    prefixes: list[str] = []
    token = ""
    for entry in _entries(store, params):
        if len(items) + len(prefixes) >= size:
            return _page(items, prefixes, token)
        if entry.found is not None:
            items.append(object_resource(entry.found, base))
        if entry.folder:
            prefixes.append(entry.folder)
            token = as_token([entry.folder, None])
        elif entry.found is not None:
            token = as_token([entry.found.name, entry.found.generation])
    return _page(items, prefixes, "")


def _entries(store: ObjectStore, params: Mapping[str, Any]) -> Iterator[_Entry]:
    bucket, prefix, delimiter = params["bucket"], params.get("prefix", ""), params.get("delimiter", "")
    glob = params.get("matchGlob", "")
    if glob and delimiter not in ("", "/"):
        raise ApiError(
            400, "matchGlob goes with no delimiter but '/'.", reason="invalid", location="delimiter"
        )
    matches = compile_glob(glob).fullmatch if glob else None
    after = _position(params.get("pageToken", ""))
    start = max(params.get("startOffset", ""), after.name if after else "")
    store.require_bucket(bucket)
    if params.get("softDeleted"):
        return
    while True:
        folder = ""
        for found in store.objects(
            bucket,
            prefix=prefix,
            start=start,
            end=params.get("endOffset", ""),
            versions=params.get("versions", False),
        ):
            if after and _is_before(found, after):
                continue
            folder = _folder(found.name, prefix, delimiter)
            if after and after.generation is None and folder == after.name:
                break
            if matches is None or matches(folder or found.name):
                shown = not folder or (found.name == folder and params.get("includeTrailingDelimiter"))
                yield _Entry(folder, found if shown else None)
            if folder:
                break
        if not folder:
            return
        # What lies in a folder is passed over at once.
        after, start = None, folder[:-1] + chr(ord(folder[-1]) + 1)


def _is_before(found: StoredObject, after: _Position) -> bool:
    return found.name == after.name and after.generation is not None and found.generation <= after.generation


def _folder(name: str, prefix: str, delimiter: str) -> str:
    at = name.find(delimiter, len(prefix)) if delimiter else -1
    return name[: at + len(delimiter)] if at >= 0 else ""


def _position(token: str) -> _Position | None:
    value = read_token(token)
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        raise _invalid_token()
    return _Position(*value)


def page_size(params: Mapping[str, Any]) -> int:
    """Return how much a page holds at most.

    :raises ApiError: 400 if ``maxResults`` is negative.
    """
    size = int(params.get("maxResults", _MAX_PAGE))
    if size < 0:
        raise ApiError(400, f"Invalid maxResults: {size}", reason="invalid", location="maxResults")
    return min(size or _MAX_PAGE, _MAX_PAGE)


def as_token(value: Any) -> str:
    """Return a page token that holds a value."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def read_token(token: str) -> Any:
    """Return the value that a page token holds; None for the first page.

    :raises ApiError: 400 if it is no page token.
    """
    if not token:
        return None
    try:
        return json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except ValueError:
        raise _invalid_token() from None


def _invalid_token() -> ApiError:
    return ApiError(400, "Invalid page token.", reason="invalid", location="pageToken")


def _page(items: list[dict[str, Any]], prefixes: list[str], token: str) -> dict[str, Any]:
    page: dict[str, Any] = {"kind": "storage#objects"}
    if items:
        page["items"] = items
    if prefixes:
        page["prefixes"] = prefixes
    if token:
        page["nextPageToken"] = token
    return page


def compile_glob(text: str) -> re.Pattern[str]:
    """Return the regular expression of a ``matchGlob``.

    ``*`` is any characters but slashes, ``**`` any characters, ``?`` one that is no slash, ``[…]`` one of
    some, ``[!…]`` and ``[^…]`` one of the others, ``{…,…}`` one of several patterns.

    :raises ApiError: 400 if it is no glob.
    """
    regex, depth, i = "", 0, 0
    while i < len(text):
        char = text[i]
        if text.startswith("**", i):
            regex, i = regex + ".*", i + 1
        elif char == "*":
            regex += "[^/]*"
        elif char == "?":
            regex += "[^/]"
        elif char == "[":
            end = text.find("]", i + 2)
            if end < 0:
                raise _invalid_glob(text)
            regex, i = regex + _one_of(text[i + 1 : end]), end
        elif char == "{":
            regex, depth = regex + "(?:", depth + 1
        elif char == "}" and depth:
            regex, depth = regex + ")", depth - 1
        elif char == "," and depth:
            regex += "|"
        else:
            regex += re.escape(char)
        i += 1
    if depth:
        raise _invalid_glob(text)
    try:
        return re.compile(regex, re.DOTALL)
    except re.error:
        raise _invalid_glob(text) from None


def _one_of(body: str) -> str:
    negated = body[0] in "!^"
    escaped = re.sub(r"([\\\[\]^&|~])", r"\\\1", body[1:] if negated else body)
    return f"[^/{escaped}]" if negated else f"[{escaped}]"


def _invalid_glob(text: str) -> ApiError:
    return ApiError(400, f"Invalid glob pattern: {text!r}", reason="invalid", location="matchGlob")
