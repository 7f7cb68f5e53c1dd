"""Load and copy jobs.

https://cloud.google.com/bigquery/docs/loading-data
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, TableName
from airflow_ml_provider.emulator.bigquery.files import columnar, csv, ndjson
from airflow_ml_provider.emulator.bigquery.files.records import read_error
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value, quoted
from airflow_ml_provider.emulator.bigquery.tables import Tables
from airflow_ml_provider.emulator.errors import ApiError

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.storage.store import ObjectStore

_SETTINGS = ("timePartitioning", "rangePartitioning", "clustering")
# What would change what is read, and is not there.
_UNSUPPORTED = (
    *(
        "hivePartitioningOptions",
        "decimalTargetTypes",
        "columnNameCharacterMap",
        "jsonExtension",
        "nullMarkers",
    ),
    *("dateFormat", "datetimeFormat", "timeFormat", "timestampFormat", "timeZone", "sourceColumnMatch"),
    *("referenceFileSchemaUri", "projectionFields", "fileSetSpecType", "preserveAsciiControlCharacters"),
)


@dataclass(frozen=True)
class Loaded:
    """What a load job did."""

    rows: int
    files: int
    size: int
    bad: int


class Loads:
    """Runs load and copy jobs.

    :param catalog: what is where.
    :param tables: what they hold.
    :param store: Cloud Storage.
    """

    def __init__(self, catalog: Catalog, tables: Tables, store: ObjectStore) -> None:
        self._catalog = catalog
        self._tables = tables
        self._store = store

    def load(self, config: Mapping[str, Any], content: bytes | None) -> Loaded:
        """Run a load job.

        :param content: of an upload; otherwise the job names files in Cloud Storage.
        :raises ApiError: the files or the schema are wrong.
        """
        import pyarrow as pa

        target = TableName.of(config["destinationTable"])
        self._catalog.dataset(target.project, target.dataset)
        for name in _UNSUPPORTED:
            if config.get(name):
                raise ApiError(400, f"The emulator does not know {name} of a load job.", reason="invalid")
        existing = self._catalog.table(target)
        if existing is None and config.get("createDisposition") == "CREATE_NEVER":
            self._catalog.require_table(target)
        given = (config.get("schema") or {}).get("fields")
        schema = types.normalized(given) if given else None
        kept = list(self._catalog.state(target).schema) if existing is not None else None
        if schema is None and not (
            config.get("autodetect") and config.get("writeDisposition") == "WRITE_TRUNCATE"
        ):
            schema = kept or None
        files = [("upload", content)] if content is not None else self._files(config["sourceUris"])
        arrow, bad = [], 0
        for uri, data in files:
            made, schema, config, skipped = self._read(uri, data, schema, config)
            arrow.append(made)
            bad += skipped
            if bad > int(config.get("maxBadRecords", 0)):
                raise read_error(uri, f"Too many bad rows: {bad}.")
        loaded = pa.concat_tables(arrow, promote_options="permissive")
        rows = self._write(target, loaded, schema, config)
        return Loaded(rows, len(files), sum(len(data) for _, data in files), bad)

    def _read(
        self, uri: str, data: bytes, schema: list[dict[str, Any]] | None, config: Mapping[str, Any]
    ) -> tuple[Any, list[dict[str, Any]] | None, Mapping[str, Any], int]:
        kind = config.get("sourceFormat", "CSV")
        if kind == "PARQUET":
            return columnar.read_parquet(uri, data), schema, config, 0
        if kind == "AVRO":
            return columnar.read_avro(uri, data), schema, config, 0
        if kind not in ("CSV", "NEWLINE_DELIMITED_JSON"):
            raise ApiError(400, f"The emulator does not load {kind}.", reason="invalid")
        try:
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        except (OSError, EOFError, zlib.error) as error:
            raise read_error(uri, f"GZIP decompression failed: {error}.") from None
        if schema is None and config.get("autodetect"):
            if kind == "CSV":
                schema, config = csv.detected(uri, data, config)
            else:
                schema = ndjson.detected(uri, data)
        if schema is None:
            raise ApiError(400, "No schema specified on job or table.", reason="invalid")
        if kind == "CSV":
            nested = [f["name"] for f in schema if f["type"] == "RECORD" or f.get("mode") == "REPEATED"]
            if nested:
                message = f"Cannot load CSV data with a nested schema. Field: {nested[0]}"
                raise ApiError(400, message, reason="invalid")
        made, bad = (csv if kind == "CSV" else ndjson).read(uri, data, schema, config)
        return made, schema, config, bad

    def _write(
        self, target: TableName, loaded: Any, schema: list[dict[str, Any]] | None, config: Mapping[str, Any]
    ) -> int:
        settings = {key: config[key] for key in _SETTINGS if key in config}
        more = config.get("destinationTableProperties") or {}
        settings |= {key: more[key] for key in ("description", "friendlyName", "labels") if key in more}
        with self._tables.registered(loaded, "SELECT * FROM loaded") as sql:
            columns = self._tables.columns(sql)
            found = [types.field_from(name, kind) for name, kind in columns]
            if schema is None:
                schema = found
            made = _converted(sql, found, schema)
            return self._tables.write(
                target,
                made,
                schema,
                config.get("writeDisposition", "WRITE_APPEND"),
                settings=settings,
                updates=config.get("schemaUpdateOptions", ()),
            )

    def _files(self, uris: Sequence[str]) -> list[tuple[str, bytes]]:
        found = []
        for uri in uris:
            bucket, _, name = uri.removeprefix("gs://").partition("/")
            if not uri.startswith("gs://") or not name or name.count("*") > 1:
                raise ApiError(400, f"Invalid source URI: {uri}", reason="invalid")
            self._store.require_bucket(bucket)
            names = [name]
            if "*" in name:
                before, _, after = name.partition("*")
                names = [
                    n for n in self._store.names(bucket, before)
                    if n.endswith(after) and len(n) >= len(before) + len(after)
                ]  # fmt: skip
            if not names:
                raise ApiError(404, f"Not found: Files {uri}", reason="notFound")
            for each in names:
                try:
                    with self._store.open(bucket, each) as file:
                        found.append((f"gs://{bucket}/{each}", file.read()))
                except ApiError as error:
                    if error.code != 404:
                        raise
                    raise ApiError(404, f"Not found: URI {uri}", reason="notFound") from None
        return found

    def copy(self, config: Mapping[str, Any]) -> None:
        """Run a copy job: copies, snapshots, clones, and tables brought back from a snapshot.

        :raises ApiError: a source does not exist, or the schemas differ.
        """
        from airflow_ml_provider.emulator.bigquery.information import now, rfc3339

        given = config.get("sourceTables") or [config["sourceTable"]]
        names = [TableName.of(reference) for reference in given]
        sources = [self._catalog.state(name) for name in names]
        if any(source.view is not None for source in sources):
            raise ApiError(400, "A view can't be copied.", reason="invalid")
        if any(source.schema != sources[0].schema for source in sources):
            raise ApiError(400, "The source tables of a copy must have the same schema.", reason="invalid")
        old = self._catalog.table(names[0]) or {}
        settings: dict[str, Any] = {
            key: old[key] for key in (*_SETTINGS, "description", "labels") if key in old
        }
        operation = config.get("operationType", "COPY")
        base = {"baseTableReference": names[0].reference}
        if operation == "SNAPSHOT":
            settings["snapshotDefinition"] = {**base, "snapshotTime": rfc3339(now())}
        elif operation == "CLONE":
            settings["cloneDefinition"] = {**base, "cloneTime": rfc3339(now())}
        if config.get("destinationExpirationTime"):
            raise ApiError(400, "The emulator does not know destinationExpirationTime.", reason="invalid")
        union = " UNION ALL ".join(f"SELECT * FROM {source.physical}" for source in sources)
        target = TableName.of(config["destinationTable"])
        disposition = config.get("writeDisposition", "WRITE_EMPTY")
        if operation in ("SNAPSHOT", "CLONE") and self._catalog.table(target) is not None:
            raise ApiError(409, f"Already Exists: Table {target}", reason="duplicate")
        self._tables.write(target, union, list(sources[0].schema), disposition, settings=settings)


def _converted(sql: str, found: Sequence[Mapping[str, Any]], schema: Sequence[Mapping[str, Any]]) -> str:
    """Return a query whose columns are those of a schema, by name.

    :raises ApiError: 400 ``invalid``: a column of the file is missing in the schema, or of another type.
    """
    by_name = {field["name"].lower(): field for field in found}
    known = {field["name"].lower() for field in schema}
    extra = [name for name in by_name if name not in known]
    if extra:
        message = f"Provided Schema does not match the file. Cannot add fields (field: {extra[0]})"
        raise ApiError(400, message, reason="invalid")
    cells = []
    for field in schema:
        here = by_name.get(field["name"].lower())
        kind = types.type_of(field)
        if here is None:
            cells.append(f"CAST(NULL AS {kind.duckdb}) AS {quoted(field['name'])}")
            continue
        value = _fitting(Value(quoted(here["name"]), types.type_of(here)), kind, field["name"])
        cells.append(f"{value} AS {quoted(field['name'])}")
    return f"SELECT {', '.join(cells)} FROM ({sql})"


def _fitting(value: Value, kind: Type, name: str) -> str:
    from airflow_ml_provider.emulator.bigquery.sql.types import JSON, STRING, coerced

    made = coerced(value, kind)
    if made is None and value.type == STRING and kind == JSON:
        made = value
    if made is None and {value.type.kind, kind.kind} == {"TIMESTAMP", "DATETIME"}:
        made = Value(f"timezone('UTC', {value.sql})", kind)
    if made is None and (value.type.element is not None or value.type.kind == "STRUCT"):
        made = Value(f"CAST({value.sql} AS {kind.duckdb})", kind)
    if made is None:
        message = (
            "Provided Schema does not match the file. Field "
            f"{name} has changed type from {kind} to {value.type}"
        )
        raise ApiError(400, message, reason="invalid")
    return made.sql
