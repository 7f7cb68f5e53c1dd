"""Objects in Cloud Storage, read and written so that no writer undoes another's work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.models.errors import (
    AccessDenied,
    BucketNotFound,
    DocumentNotFound,
    InvalidDocument,
    ModelStoreError,
    StoreUnavailable,
    TooManyWriters,
)
from airflow_ml_provider.models.uri import Place

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

_TIMEOUT = 60.0
_DOCUMENT_LIMIT = 16 << 20
_CHUNK = 8 << 20
_ATTEMPTS = 20


class Conflict(Exception):
    """The object was not at the generation that the write asked for."""


@dataclass(frozen=True)
class Stored:
    """An object's content and the generation that it had."""

    content: bytes
    generation: int


class Bucket:
    """The objects of one bucket.

    Every write names the generation that it replaces, since the client repeats a write whose answer was
    lost. Every failure is a :class:`~airflow_ml_provider.models.errors.ModelStoreError`.

    :param client: acts with the caller's credentials.
    :param name: the bucket's.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._bucket = client.bucket(name)
        self._client = client

    def read(self, place: Place) -> Stored | None:
        """Return a small object, or None if there is none.

        :raises InvalidDocument: it is larger than 16 MiB.
        :raises BucketNotFound: there is no bucket either.
        """
        from google.api_core.exceptions import NotFound, PreconditionFailed

        for _ in range(_ATTEMPTS):
            with _explained(f"read {place}", place):
                blob = self._bucket.get_blob(place.path, timeout=_TIMEOUT)
            if blob is None:
                # A missing bucket looks the same, and must not pass for an object that is not there yet.
                self.sizes(place, most=1)
                return None
            if (blob.size or 0) > _DOCUMENT_LIMIT:
                raise InvalidDocument(str(place), "", f"has {blob.size:,} bytes, at most {_DOCUMENT_LIMIT:,}")
            try:
                with _explained(f"read {place}", place, NotFound, PreconditionFailed):
                    content = blob.download_as_bytes(if_generation_match=blob.generation, timeout=_TIMEOUT)
            except (NotFound, PreconditionFailed):
                continue
            return Stored(content, int(blob.generation))
        raise TooManyWriters(f"{place} was replaced {_ATTEMPTS} times while it was read; try again")

    def document(self, place: Place, advice: str) -> bytes:
        """Return a small object that must be there.

        :param advice: what to do if it is not.
        :raises DocumentNotFound: it is not.
        """
        stored = self.read(place)
        if stored is None:
            raise DocumentNotFound(f"{place} does not exist: {advice}")
        return stored.content

    def write(self, place: Place, content: bytes, generation: int, content_type: str) -> int:
        """Write an object in place of the given generation, and return the new one.

        :param generation: of what is replaced; 0 if nothing must be there.
        :raises Conflict: the object is at another generation. After a lost answer that may be our own.
        """
        from google.api_core.exceptions import PreconditionFailed

        blob = self._bucket.blob(place.path)
        blob.cache_control = "no-store"
        try:
            with _explained(f"write {place}", place, PreconditionFailed):
                blob.upload_from_string(
                    content, content_type=content_type, if_generation_match=generation, timeout=_TIMEOUT
                )
        except PreconditionFailed:
            raise Conflict(str(place)) from None
        return int(blob.generation or 0)

    def put(self, place: Place, content: bytes, content_type: str) -> None:
        """Make an object hold this content, whatever it held; nothing is written if it does already.

        :raises TooManyWriters: others kept replacing it.
        """
        for _ in range(_ATTEMPTS):
            stored = self.read(place)
            if stored is not None and stored.content == content:
                return
            try:
                self.write(place, content, stored.generation if stored else 0, content_type)
            except Conflict:
                continue
            return
        raise TooManyWriters(f"{place} was replaced {_ATTEMPTS} times while it was to be written; try again")

    def sizes(self, prefix: Place, *, start: Place | None = None, most: int | None = None) -> dict[str, int]:
        """Return the objects whose name begins with a place's path, by name, with their sizes in bytes.

        :param start: names before this one are left out.
        :param most: how many to return.
        """
        with _explained(f"list {prefix}*", prefix):
            blobs = self._client.list_blobs(
                self._bucket,
                prefix=prefix.path,
                start_offset=start.path if start else None,
                max_results=most,
                timeout=_TIMEOUT,
            )
            return {blob.name: int(blob.size or 0) for blob in blobs}

    def folders(self, place: Place) -> list[str]:
        """Return the names of the folders directly in a place, in order."""
        prefix = f"{place.path}/"
        with _explained(f"list {place}/", place):
            blobs = self._client.list_blobs(self._bucket, prefix=prefix, delimiter="/", timeout=_TIMEOUT)
            # The folders come with the pages.
            for page in blobs.pages:
                del page
            return sorted(name.removeprefix(prefix).rstrip("/") for name in blobs.prefixes)

    def written(self, prefix: Place) -> dict[str, datetime]:
        """Return the objects whose name begins with a place's path, by name, with when they were written."""
        with _explained(f"list {prefix}*", prefix):
            blobs = self._client.list_blobs(self._bucket, prefix=prefix.path, timeout=_TIMEOUT)
            return {blob.name: blob.updated for blob in blobs}

    def delete(self, place: Place) -> None:
        """Remove an object; one that is not there is fine."""
        from google.api_core.exceptions import NotFound

        try:
            with _explained(f"delete {place}", place, NotFound):
                self._bucket.blob(place.path).delete(timeout=_TIMEOUT)
        except NotFound:
            # A deletion whose answer was lost is repeated by the client.
            return

    def chunks(self, place: Place) -> Iterator[bytes]:
        """Yield a large object's content, a few MiB at a time and all of one generation.

        :raises DocumentNotFound: it is not there.
        """
        with _explained(f"read {place}", place):
            blob = self._bucket.get_blob(place.path, timeout=_TIMEOUT)
            if blob is None:
                raise DocumentNotFound(f"{place} does not exist")
            yield from self._ranges(blob)

    def _ranges(self, blob: Blob) -> Iterator[bytes]:
        with blob.open("rb", chunk_size=_CHUNK, if_generation_match=blob.generation) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk


@contextmanager
def _explained(doing: str, place: Place, *expected: type[Exception]) -> Iterator[None]:
    """Turn what the client raises into an error that says what to do, except what the caller expects."""
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except expected:
        raise
    except ModelStoreError:
        raise
    except api.NotFound as error:
        raise BucketNotFound(
            f"Can't {doing}: there is no bucket {place.bucket!r}, or the object vanished meanwhile. "
            f"Create the bucket, or correct the root in the DAG. Cloud Storage said: {error.message}"
        ) from error
    except (api.Forbidden, api.Unauthorized) as error:
        raise AccessDenied(
            f"Can't {doing}: access denied. Grant the account that the connection uses "
            f"roles/storage.objectAdmin on bucket {place.bucket!r}. Cloud Storage said: {error.message}"
        ) from error
    except (api.ServerError, api.TooManyRequests, api.RetryError) as error:
        raise StoreUnavailable(
            f"Can't {doing}: Cloud Storage kept failing: {error.message}. Try again later."
        ) from error
    except api.GoogleAPICallError as error:
        raise ModelStoreError(f"Can't {doing}: Cloud Storage refused it: {error.message}") from error
    except auth.TransportError as error:
        raise StoreUnavailable(
            f"Can't {doing}: no token could be fetched: {error}. Try again later."
        ) from error
    except auth.GoogleAuthError as error:
        raise AccessDenied(
            f"Can't {doing}: no valid credentials: {error}. Look at the Google Cloud connection."
        ) from error
    except (requests.RequestException, ConnectionError, TimeoutError) as error:
        raise StoreUnavailable(
            f"Can't {doing}: Cloud Storage can't be reached: {_reason(error)}. Look at the network, or at "
            "STORAGE_EMULATOR_HOST, and try again."
        ) from error


def _reason(error: Any) -> str:
    return f"{type(error).__name__}: {error}"
