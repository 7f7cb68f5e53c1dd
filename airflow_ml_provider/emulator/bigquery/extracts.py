"""Extract jobs and EXPORT DATA.

https://cloud.google.com/bigquery/docs/exporting-data
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.emulator.bigquery.catalog import Catalog, State, TableName
from airflow_ml_provider.emulator.bigquery.files import columnar, csv, ndjson
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.tables import Tables
from airflow_ml_provider.emulator.errors import ApiError

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.storage.store import ObjectStore

_SHARD_ROWS = 1_000_000
_Writer = Callable[[Sequence[Mapping[str, Any]], Sequence[Sequence[Any]], Mapping[str, Any]], bytes]
# By format: what writes it, its content type, its compressions.
_FORMATS: dict[str, tuple[_Writer, str, tuple[str, ...]]] = {
    "CSV": (csv.written, "text/csv", ("NONE", "GZIP")),
    "NEWLINE_DELIMITED_JSON": (ndjson.written, "application/json", ("NONE", "GZIP")),
    "PARQUET": (columnar.written_parquet, "application/octet-stream", ("NONE", "SNAPPY", "GZIP", "ZSTD")),
    "AVRO": (columnar.written_avro, "application/octet-stream", ("NONE", "DEFLATE", "SNAPPY")),
}
# Options of EXPORT DATA, and what an extract job calls them.
_OPTIONS = {
    "format": "destinationFormat",
    "compression": "compression",
    "header": "printHeader",
    "field_delimiter": "fieldDelimiter",
    "use_avro_logical_types": "useAvroLogicalTypes",
}


class Extracts:
    """Writes tables into Cloud Storage.

    :param catalog: what is where.
    :param tables: what they hold.
    :param store: Cloud Storage.
    """

    def __init__(self, catalog: Catalog, tables: Tables, store: ObjectStore) -> None:
        self._catalog = catalog
        self._tables = tables
        self._store = store

    def extract(self, config: Mapping[str, Any]) -> list[int]:
        """Run an extract job.

        :return: how many files each URI became.
        :raises ApiError: the table, the bucket or the combination of settings is wrong.
        """
        if "sourceTable" not in config:
            raise ApiError(400, "The emulator extracts tables only, no models.", reason="invalid")
        source = TableName.of(config["sourceTable"])
        state = self._catalog.state(source)
        if state.view is not None:
            message = f"{source} is not allowed for this operation because it is currently a VIEW."
            raise ApiError(400, message, reason="invalid")
        return self._written(state, config, config.get("destinationUris") or [config["destinationUri"]])

    def export(self, state: State, options: Mapping[str, Any]) -> None:
        """Carry out ``EXPORT DATA``.

        :raises ApiError: an option is wrong, or files are in the way.
        """
        given = {name: value for name, value in options.items() if name not in ("uri", "overwrite")}
        for name in given:
            if name not in _OPTIONS:
                raise unknown(f"option {name} of EXPORT DATA")
        uri = str(options.get("uri") or "")
        config = {_OPTIONS[name]: value for name, value in given.items()}
        kind = str(config.get("destinationFormat") or "").upper()
        config["destinationFormat"] = {"JSON": "NEWLINE_DELIMITED_JSON"}.get(kind, kind)
        if not kind or "*" not in uri:
            raise invalid("EXPORT DATA needs the options uri, with one wildcard, and format")
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        before, _, after = name.partition("*")
        self._store.require_bucket(bucket)
        there = [each for each in self._store.names(bucket, before) if each.endswith(after)]
        if there and not options.get("overwrite"):
            raise invalid(f"Invalid value: {uri} is not empty; set the option overwrite=true to write there")
        config.setdefault("printHeader", False)
        self._written(state, config, [uri])

    def _written(self, state: State, config: Mapping[str, Any], uris: Sequence[str]) -> list[int]:
        kind = config.get("destinationFormat", "CSV")
        compression = config.get("compression", "NONE")
        if kind not in _FORMATS:
            raise ApiError(400, f"The emulator does not extract {kind}.", reason="invalid")
        write, content_type, compressions = _FORMATS[kind]
        if compression not in compressions:
            raise ApiError(400, f"Compression {compression} is not supported for {kind}.", reason="invalid")
        nested = [f["name"] for f in state.schema if f["type"] == "RECORD" or f.get("mode") == "REPEATED"]
        if kind == "CSV" and nested:
            message = f"Operation cannot be performed on a nested schema. Field: {nested[0]}"
            raise ApiError(400, message, reason="invalid")
        if kind == "PARQUET" and any(f["type"] == "RECORD" and not f["fields"] for f in state.schema):
            raise ApiError(400, "An empty RECORD can't be written as Parquet.", reason="invalid")
        counts = []
        share = -(-max(state.rows, 1) // len(uris))
        for number, uri in enumerate(uris):
            bucket, _, name = uri.removeprefix("gs://").partition("/")
            if not uri.startswith("gs://") or not name or name.count("*") > 1 or "*" in bucket:
                raise ApiError(400, f"Invalid destination URI: {uri}", reason="invalid")
            self._store.require_bucket(bucket)
            first, last = number * share, min((number + 1) * share, state.rows)
            size = _SHARD_ROWS if "*" in name else max(last - first, 1)
            starts = list(range(first, last, size)) or [first]
            for shard, start in enumerate(starts):
                rows = self._tables.rows(state, start, min(size, last - start)) if last > start else []
                content = write(state.schema, rows, config)
                if compression == "GZIP" and kind in ("CSV", "NEWLINE_DELIMITED_JSON"):
                    content = gzip.compress(content, mtime=0)
                self._store.write(bucket, name.replace("*", f"{shard:012}"), content, content_type)
            counts.append(len(starts))
        return counts
