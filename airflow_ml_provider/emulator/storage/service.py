"""The JSON API: buckets and objects over HTTP.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.http import Application, Call, Handler, Request, Response
from airflow_ml_provider.emulator.storage.batch import answer_batch
from airflow_ml_provider.emulator.storage.conditions import Conditions, NotModified, check_etag
from airflow_ml_provider.emulator.storage.content import CHUNK, ContentWriter, read
from airflow_ml_provider.emulator.storage.resources import (
    BUCKET_OUTPUT,
    OBJECT_FIELDS,
    bucket_etag,
    bucket_resource,
    merged,
    object_etag,
    object_resource,
    settable,
)
from airflow_ml_provider.emulator.storage.store import MAX_COMPOSE, Change, ObjectStore, StoredObject
from airflow_ml_provider.emulator.storage.uploads import Uploads

_MAX_PAGE = 1000
_ROLE = {"role": "roles/storage.admin", "members": ["allUsers"]}


class CloudStorage:
    """Answers the JSON API from an :class:`ObjectStore`."""

    legacy_errors = True

    def __init__(self, store: ObjectStore) -> None:
        self.api = Api("storage", "v1")
        self._store = store
        self.handlers: Mapping[str, Handler] = {
            "storage.buckets.insert": self._insert_bucket,
            "storage.buckets.get": self._get_bucket,
            "storage.buckets.list": self._list_buckets,
            "storage.buckets.patch": self._patch_bucket,
            "storage.buckets.update": self._update_bucket,
            "storage.buckets.delete": self._delete_bucket,
            "storage.buckets.getIamPolicy": self._get_policy,
            "storage.buckets.testIamPermissions": self._test_permissions,
            "storage.objects.insert": Uploads(store).insert,
            "storage.objects.get": self._get,
            "storage.objects.list": self._list,
            "storage.objects.patch": self._patch,
            "storage.objects.update": self._update,
            "storage.objects.delete": self._delete,
            "storage.objects.compose": self._compose,
            "storage.objects.copy": self._copy,
            "storage.objects.rewrite": self._rewrite,
            "storage.objects.move": self._move,
        }

    def undocumented(self, request: Request) -> Response | None:
        """Answer batches and the paths of downloads, which the API's document leaves out."""
        if request.path.startswith("/download/storage/v1/"):
            path = request.path.removeprefix("/download")
            query = {**request.query, "alt": ["media"]}
            return self._again(
                Request(request.http_method, path, query, request.headers, request.stream, request.base_url)
            )
        if request.path in ("/batch/storage/v1", "/batch") and request.http_method == "POST":
            return answer_batch(request, self._again)
        return None

    def _again(self, request: Request) -> Response:
        return Application([self]).dispatch(request)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    # --- buckets

    def _insert_bucket(self, call: Call) -> dict[str, Any]:
        resource = call.json()
        if not resource.get("name"):
            raise ApiError(400, "Required: name", reason="required", location="name")
        fields = settable(resource, lambda name: name not in BUCKET_OUTPUT)
        made = self._store.insert_bucket(resource["name"], call.params["project"], fields)
        return bucket_resource(made, call.base_url)

    def _get_bucket(self, call: Call) -> Response | dict[str, Any]:
        bucket = self._store.bucket(call.params["bucket"])
        try:
            Conditions.of(call.params).check(0, bucket.metageneration, reading=True)
            check_etag(call, bucket_etag(bucket), reading=True)
        except NotModified:
            return Response(304)
        return bucket_resource(bucket, call.base_url)

    def _list_buckets(self, call: Call) -> dict[str, Any]:
        found = self._store.buckets(call.params["project"], call.params.get("prefix", ""))
        after = _token(call)
        found = [bucket for bucket in found if bucket.name > after]
        size = _page_size(call)
        page = {"kind": "storage#buckets", "items": [bucket_resource(b, call.base_url) for b in found[:size]]}
        if len(found) > size:
            page["nextPageToken"] = _as_token(found[size - 1].name)
        return page

    def _patch_bucket(self, call: Call) -> dict[str, Any]:
        patch = settable(_patch(call), lambda name: name not in BUCKET_OUTPUT)
        return self._change_bucket(call, lambda old: merged(old, patch))

    def _update_bucket(self, call: Call) -> dict[str, Any]:
        fields = settable(call.json(), lambda name: name not in BUCKET_OUTPUT)
        return self._change_bucket(call, lambda old: fields)

    def _change_bucket(self, call: Call, change: Change) -> dict[str, Any]:
        conditions = Conditions.of(call.params)
        return bucket_resource(
            self._store.change_bucket(call.params["bucket"], change, conditions), call.base_url
        )

    def _delete_bucket(self, call: Call) -> Response:
        self._store.delete_bucket(call.params["bucket"], Conditions.of(call.params))
        return Response(204)

    def _get_policy(self, call: Call) -> dict[str, Any]:
        bucket = self._store.bucket(call.params["bucket"])
        return {
            "kind": "storage#policy",
            "resourceId": f"projects/_/buckets/{bucket.name}",
            "version": 1,
            "etag": bucket_etag(bucket),
            "bindings": [_ROLE],
        }

    def _test_permissions(self, call: Call) -> dict[str, Any]:
        self._store.require_bucket(call.params["bucket"])
        return {"kind": "storage#testIamPermissionsResponse", "permissions": call.params["permissions"]}

    # --- objects

    def _get(self, call: Call) -> Response | dict[str, Any]:
        params = call.params
        key = (params["bucket"], params["object"], params.get("generation"))
        conditions = Conditions.of(params)
        if self._store.find(*key) is None:
            conditions.check(0, 0)
        # Opened at once with its metadata, so that what is checked is what is sent.
        found, file = self._store.opened(*key)
        try:
            conditions.check(found.generation, found.metageneration, reading=True)
            check_etag(call, object_etag(found), reading=True)
            if params.get("alt") == "media":
                return _media(call, found, file)
        except NotModified:
            file.close()
            return Response(304)
        except ApiError:
            file.close()
            raise
        file.close()
        return object_resource(found, call.base_url)

    def _list(self, call: Call) -> dict[str, Any]:
        params = call.params
        delimiter, prefix = params.get("delimiter", ""), params.get("prefix", "")
        versions = params.get("versions", False)
        glob = _glob(params["matchGlob"]) if params.get("matchGlob") else None
        start, skip = _listing_start(call)
        items: list[dict[str, Any]] = []
        prefixes: list[str] = []
        size = _page_size(call)
        last = ""
        for found in self._store.objects(
            params["bucket"], prefix=prefix, start=start, end=params.get("endOffset", ""), versions=versions
        ):
            name = found.name
            if skip and (name == skip[0] and (found.generation <= skip[1] or not versions)):
                continue
            if skip and skip[1] < 0 and name.startswith(skip[0]):
                continue
            if glob and not glob.match(name):
                continue
            at = name.find(delimiter, len(prefix)) if delimiter else -1
            folder = name[: at + len(delimiter)] if at >= 0 else ""
            if folder and prefixes and prefixes[-1] == folder:
                if name == folder and params.get("includeTrailingDelimiter"):
                    items.append(object_resource(found, call.base_url))
                continue
            if len(items) + len(prefixes) >= size:
                return _listing(items, prefixes, last)
            if folder:
                prefixes.append(folder)
                last = _as_token(json.dumps([folder, -1]))
                if name == folder and params.get("includeTrailingDelimiter"):
                    items.append(object_resource(found, call.base_url))
            else:
                items.append(object_resource(found, call.base_url))
                last = _as_token(json.dumps([name, found.generation]))
        return _listing(items, prefixes, "")

    def _patch(self, call: Call) -> dict[str, Any]:
        patch = settable(_patch(call), OBJECT_FIELDS.__contains__)
        return self._change(call, lambda old: merged(old, patch))

    def _update(self, call: Call) -> dict[str, Any]:
        fields = settable(call.json(), OBJECT_FIELDS.__contains__)
        return self._change(call, lambda old: fields)

    def _change(self, call: Call, change: Change) -> dict[str, Any]:
        params = call.params
        conditions = Conditions.of(params)
        changed = self._store.change(
            params["bucket"], params["object"], params.get("generation"), change, conditions
        )
        return object_resource(changed, call.base_url)

    def _delete(self, call: Call) -> Response:
        params = call.params
        conditions = Conditions.of(params)
        self._store.delete(params["bucket"], params["object"], params.get("generation"), conditions)
        return Response(204)

    def _compose(self, call: Call) -> dict[str, Any]:
        params, body = call.params, call.json()
        bucket = params["destinationBucket"]
        sources = body.get("sourceObjects", [])
        if not 1 <= len(sources) <= MAX_COMPOSE:
            message = f"{len(sources)} source components exceed the maximum ({MAX_COMPOSE})."
            if not sources:
                message = "You must provide at least one source component."
            raise ApiError(400, message, reason="invalid")
        parts = []
        for source in sources:
            generation = source.get("generation")
            found, file = self._store.opened(
                bucket, source.get("name", ""), int(generation) if generation is not None else None
            )
            parts.append((found, file))
            wanted = (source.get("objectPreconditions") or {}).get("ifGenerationMatch")
            conditions = Conditions(generation_match=int(wanted) if wanted is not None else None)
            conditions.check(found.generation, found.metageneration)
        fields = settable(body.get("destination", {}), OBJECT_FIELDS.__contains__)
        fields.setdefault("contentType", parts[0][0].fields.get("contentType", "application/octet-stream"))
        components = sum(found.components or 1 for found, _ in parts)
        chunks = (chunk for found, file in parts for chunk in read(file, 0, found.content.size))
        made = self._write(
            bucket, params["destinationObject"], chunks, fields, Conditions.of(params), components
        )
        if body.get("deleteSourceObjects"):
            for found, _ in parts:
                if found.name != made.name:
                    self._store.delete(
                        bucket, found.name, None, Conditions(generation_match=found.generation)
                    )
        return object_resource(made, call.base_url)

    def _copy(self, call: Call) -> dict[str, Any]:
        return object_resource(self._copied(call), call.base_url)

    def _rewrite(self, call: Call) -> dict[str, Any]:
        made = self._copied(call)
        return {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(made.content.size),
            "objectSize": str(made.content.size),
            "done": True,
            "resource": object_resource(made, call.base_url),
        }

    def _copied(self, call: Call) -> StoredObject:
        params, body = call.params, call.json()
        generation = params.get("sourceGeneration")
        found, file = self._store.opened(params["sourceBucket"], params["sourceObject"], generation)
        Conditions.of(params, "ifSource").check(found.generation, found.metageneration)
        fields = settable(body, OBJECT_FIELDS.__contains__) or dict(found.fields)
        chunks = read(file, 0, found.content.size)
        bucket, name = params["destinationBucket"], params["destinationObject"]
        return self._write(bucket, name, chunks, fields, Conditions.of(params), found.components)

    def _move(self, call: Call) -> dict[str, Any]:
        params = call.params
        bucket, source = params["bucket"], params["sourceObject"]
        found, file = self._store.opened(bucket, source)
        Conditions.of(params, "ifSource").check(found.generation, found.metageneration)
        chunks = read(file, 0, found.content.size)
        name, conditions = params["destinationObject"], Conditions.of(params)
        made = self._write(bucket, name, chunks, found.fields, conditions, found.components)
        self._store.delete(bucket, source, None, Conditions(generation_match=found.generation))
        return object_resource(made, call.base_url)

    def _write(
        self,
        bucket: str,
        name: str,
        chunks: Iterable[bytes],
        fields: Mapping[str, Any],
        conditions: Conditions,
        components: int | None,
    ) -> StoredObject:
        self._store.require_bucket(bucket)
        writer = ContentWriter(self._store.content)
        try:
            writer.write_all(chunks)
            content = writer.finish(composed=components is not None)
            return self._store.put(bucket, name, content, fields, conditions, components)
        except BaseException:
            writer.discard()
            raise


def _patch(call: Call) -> dict[str, Any]:
    """Return a patch with its nulls, which mean removal."""
    raw = call.stream.read()
    call.message(raw)
    value: dict[str, Any] = json.loads(raw) if raw.strip() else {}
    return value


def _media(call: Call, found: StoredObject, file: Any) -> Response:
    content = found.content
    headers = {
        "Content-Type": str(found.fields.get("contentType", "application/octet-stream")),
        "ETag": object_etag(found),
        "Accept-Ranges": "bytes",
        "x-goog-generation": str(found.generation),
        "x-goog-metageneration": str(found.metageneration),
        "x-goog-storage-class": str(found.fields.get("storageClass", "STANDARD")),
        "x-goog-stored-content-length": str(content.size),
        "x-goog-stored-content-encoding": str(found.fields.get("contentEncoding", "identity")),
        "x-goog-hash": f"crc32c={content.crc32c}" + (f",md5={content.md5}" if content.md5 else ""),
        "Last-Modified": _http_date(found.updated),
    }
    for field, header in (
        ("cacheControl", "Cache-Control"),
        ("contentDisposition", "Content-Disposition"),
        ("contentLanguage", "Content-Language"),
    ):
        if field in found.fields:
            headers[header] = str(found.fields[field])
    encoding = found.fields.get("contentEncoding")
    if encoding == "gzip" and "gzip" not in (call.headers.get("Accept-Encoding") or ""):
        # Decompressive transcoding: the whole object, whatever range was asked for.
        headers["Transfer-Encoding"] = "chunked"
        headers["Warning"] = "214 UploadServer gunzipped"
        return Response(200, _chunked(gzip.GzipFile(fileobj=file)), headers)
    if encoding:
        headers["Content-Encoding"] = str(encoding)
    start, end = _range(call.headers.get("Range"), content.size)
    if start is None or end is None:
        headers["Content-Length"] = str(content.size)
        return Response(200, read(file, 0, content.size), headers)
    headers["Content-Length"] = str(end - start + 1)
    headers["Content-Range"] = f"bytes {start}-{end}/{content.size}"
    return Response(206, read(file, start, end - start + 1), headers)


def _range(header: str | None, size: int) -> tuple[int | None, int | None]:
    found = re.match(r"^bytes=(\d*)-(\d*)$", (header or "").strip())
    if not found or not (found.group(1) or found.group(2)):
        return None, None
    if not found.group(1):
        start, end = max(0, size - int(found.group(2))), size - 1
    else:
        start, end = int(found.group(1)), min(int(found.group(2) or size), size - 1)
    if start >= size or start > end:
        if size == 0 and start == 0 and not found.group(1):
            return None, None
        raise ApiError(416, "The requested range cannot be satisfied.", reason="requestedRangeNotSatisfiable")
    return start, end


def _chunked(file: gzip.GzipFile) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
    yield b"0\r\n\r\n"


def _http_date(seconds: float) -> str:
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


def _page_size(call: Call) -> int:
    size = call.params.get("maxResults", _MAX_PAGE)
    if size < 0:
        raise ApiError(400, f"Invalid maxResults: {size}", reason="invalid", location="maxResults")
    return min(size or _MAX_PAGE, _MAX_PAGE)


def _as_token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _token(call: Call) -> str:
    try:
        return base64.urlsafe_b64decode(call.params.get("pageToken", "")).decode()
    except ValueError:
        raise ApiError(400, "Invalid page token.", reason="invalid", location="pageToken") from None


def _listing_start(call: Call) -> tuple[str, tuple[str, int] | None]:
    """Return the first name to look at, and what the page before ended with."""
    start = call.params.get("startOffset", "")
    token = _token(call)
    if not token:
        return start, None
    try:
        name, generation = json.loads(token)
    except ValueError:
        raise ApiError(400, "Invalid page token.", reason="invalid", location="pageToken") from None
    return max(start, name), (name, generation)


def _listing(items: list[dict[str, Any]], prefixes: list[str], token: str) -> dict[str, Any]:
    page: dict[str, Any] = {"kind": "storage#objects"}
    if items:
        page["items"] = items
    if prefixes:
        page["prefixes"] = prefixes
    if token:
        page["nextPageToken"] = token
    return page


def _glob(text: str) -> re.Pattern[str]:
    """Compile a ``matchGlob``, see https://cloud.google.com/storage/docs/json_api/v1/objects/list."""
    regex, depth, i = "", 0, 0
    while i < len(text):
        char = text[i]
        if text.startswith("**", i):
            regex, i = regex + ".*", i + 1
        elif char == "*":
            regex += "[^/]*"
        elif char == "?":
            regex += "[^/]"
        elif char == "[" and "]" in text[i:]:
            end = text.index("]", i)
            body = text[i + 1 : end].replace("\\", "\\\\")
            regex += "[" + ("^" + body[1:] if body.startswith("!") else body) + "]"
            i = end
        elif char == "{":
            regex, depth = regex + "(?:", depth + 1
        elif char == "}" and depth:
            regex, depth = regex + ")", depth - 1
        elif char == "," and depth:
            regex += "|"
        else:
            regex += re.escape(char)
        i += 1
    return re.compile(f"^{regex}$", re.DOTALL)
