"""What was exported for one run: its files, and their statistics, kept as ``dataset.json`` beside them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.data.profile import Profile, Profiler
from airflow_ml_provider.data.table import Table, UnreadableData
from airflow_ml_provider.models.errors import ModelStoreError
from airflow_ml_provider.models.uri import Place

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

SCHEMA = 1
NAME = "dataset.json"
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Shard:
    """One file.

    :param uri: ``gs://…``.
    :param size: in bytes.
    :param crc32c: as Cloud Storage tells it, base64.
    :param generation: of the object.
    :param rows: in this file.
    """

    uri: str
    size: int
    crc32c: str
    generation: str
    rows: int


@dataclass(frozen=True)
class Dataset:
    """What one run trains on.

    :param uri: the files' pattern.
    :param shards: in the order of their names.
    :param profile: of all of them together.
    """

    uri: str
    shards: tuple[Shard, ...]
    profile: Profile

    @property
    def description(self) -> str:
        """Where ``dataset.json`` lies."""
        return str(_beside(self.uri))

    def to_json(self) -> bytes:
        """Return the content of ``dataset.json``."""
        value = {"schema": SCHEMA, "uri": self.uri, "rows": self.profile.rows}
        value |= {"shards": [asdict(shard) for shard in self.shards], "profile": self.profile.to_mapping()}
        return json.dumps(value, indent=1, allow_nan=False).encode()

    @classmethod
    def parse(cls, uri: str, raw: bytes) -> Dataset:
        """Read ``dataset.json``.

        :param uri: where it stands, for messages.
        :raises UnreadableData: it is no such file.
        """
        try:
            value: Mapping[str, Any] = json.loads(raw)
            if value["schema"] != SCHEMA:
                raise ValueError(f"schema {value['schema']} is not {SCHEMA}")
            shards = tuple(Shard(**shard) for shard in value["shards"])
            return cls(str(value["uri"]), shards, Profile.from_mapping(value["profile"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableData([f"{uri} is not a description of a dataset: {error!r}"]) from error


class Datasets:
    """Reads and describes exports in Cloud Storage.

    :param client: a ``google.cloud.storage`` client.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def read(self, uri: str) -> Dataset | None:
        """Return the dataset that a file belongs to, None where no ``dataset.json`` lies beside it.

        :param uri: a file, a pattern, or the folder with a slash at its end.
        """
        from google.api_core.exceptions import NotFound

        place = _beside(uri)
        try:
            raw = self._client.bucket(place.bucket).blob(place.path).download_as_bytes(timeout=_TIMEOUT)
        except NotFound:
            return None
        return Dataset.parse(str(place), raw)

    def description(self, uri: str) -> str:
        """Return where the description of the files at a URI lies."""
        return str(_beside(uri))

    def describe(self, uri: str, types: Mapping[str, str] | None = None) -> Dataset:
        """Read all files of an export once, and write ``dataset.json`` beside them.

        A description that is there and whose files are still the same is returned as it is.

        :param uri: one file, or a pattern with ``*`` in its last part: CSV with a header, newline-delimited
            JSON or Parquet; ``.gz`` is unpacked.
        :param types: what columns hold, see :class:`~airflow_ml_provider.data.profile.Column`; taken from the
            first rows where it is not given.
        :raises UnreadableData: lists the first problem of each file.
        """
        blobs = self._blobs(uri)
        known = self.read(uri)
        if known is not None and [shard.generation for shard in known.shards] == [
            str(blob.generation) for blob in blobs
        ]:
            return known
        table = Table(types or {})
        profiler, shards, problems = Profiler(), [], []
        for blob in blobs:
            name = f"gs://{blob.bucket.name}/{blob.name}"
            rows = 0
            try:
                with _local(blob) as path:
                    for batch in table.batches(path, name):
                        profiler.add(batch)
                        rows += batch.num_rows
            except UnreadableData as error:
                problems += error.problems
            shards.append(Shard(name, int(blob.size), blob.crc32c, str(blob.generation), rows))
        if problems:
            raise UnreadableData(problems)
        dataset = Dataset(uri, tuple(shards), profiler.profile())
        place = _beside(uri)
        self._client.bucket(place.bucket).blob(place.path).upload_from_string(
            dataset.to_json(), content_type="application/json", timeout=_TIMEOUT
        )
        return dataset

    def _blobs(self, uri: str) -> list[Blob]:
        from google.api_core.exceptions import NotFound

        try:
            description = _beside(uri)
        except ModelStoreError as error:
            raise UnreadableData([str(error)]) from error
        start, star, end = uri.removeprefix(f"gs://{description.bucket}/").partition("*")
        try:
            found = list(self._client.list_blobs(description.bucket, prefix=start, timeout=_TIMEOUT))
        except NotFound:
            raise UnreadableData([f"{uri}: there is no bucket {description.bucket!r}"]) from None
        pattern = re.compile(re.escape(start) + ("[^/]*" if star else "") + re.escape(end))
        blobs = [blob for blob in found if pattern.fullmatch(blob.name) and blob.name != description.path]
        if not blobs:
            raise UnreadableData([f"{uri}: there is no such file; was anything exported?"])
        return sorted(blobs, key=lambda blob: str(blob.name))


def _beside(uri: str) -> Place:
    """Return where the description of the files at a URI lies."""
    place = Place.parse(uri.partition("*")[0] + "x" if "*" in uri or uri.endswith("/") else uri)
    folder, slash, _ = place.path.rpartition("/")
    return Place(place.bucket, f"{folder}{slash}{NAME}")


@contextmanager
def _local(blob: Blob) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="airflow-ml-shard-") as folder:
        path = Path(folder) / blob.name.rpartition("/")[2]
        blob.download_to_filename(str(path), if_generation_match=blob.generation, timeout=_TIMEOUT)
        yield path
