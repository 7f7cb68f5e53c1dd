"""Running jobs: queries in DuckDB, loads from and extracts into Cloud Storage."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from airflow_ml_provider.emulator.bigquery import sql, types
from airflow_ml_provider.emulator.bigquery.catalog import Catalog, State, TableName, new_physical
from airflow_ml_provider.emulator.bigquery.fingerprint import farm_fingerprint
from airflow_ml_provider.emulator.errors import ApiError

if TYPE_CHECKING:
    from airflow_ml_provider.emulator.storage.store import ObjectStore

ANONYMOUS = "_anonymous"
_SHARD_ROWS = 1_000_000


class Engine:
    """Everything that touches data.

    :param folder: of the database.
    :param catalog: what is where.
    :param store: Cloud Storage.
    """

    def __init__(self, folder: Path, catalog: Catalog, store: ObjectStore) -> None:
        self._catalog = catalog
        self._store = store
        self._lock = threading.RLock()
        settings: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        self._db = duckdb.connect(str(folder / "data.duckdb"), config=settings)
        self._db.execute("SET TimeZone = 'UTC'")
        self._db.create_function(
            "farm_fingerprint", lambda text: farm_fingerprint(text.encode()), ["VARCHAR"], "BIGINT"
        )
        self._db.execute(sql.MACROS)
        # SQL of users reaches neither files nor the network.
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    # --- queries

    def query(self, project: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Run a query job.

        :return: ``destination`` (a table name or None), ``kind`` and ``dry``.
        :raises ApiError: the query is refused, or fails.
        """
        if config.get("useLegacySql", True):
            raise sql.invalid("The emulator does not know legacy SQL: set useLegacySql to false")
        dataset = (config.get("defaultDataset") or {}).get("datasetId")
        parameters = config.get("queryParameters", ())
        translator = sql.Translator(project, dataset, self._catalog.state, parameters)
        text = config.get("query") or ""
        outcome: dict[str, Any] = {}
        # Later statements of a script may read what earlier ones make: each is translated in its turn.
        count = len(sql.split(text))
        for position in range(count):
            statement = translator.statement(text, position)
            outcome = self._run(project, statement, config, last=position == count - 1)
        return outcome

    def check(self, project: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a query would return, without running it."""
        if config.get("useLegacySql", True):
            raise sql.invalid("The emulator does not know legacy SQL: set useLegacySql to false")
        dataset = (config.get("defaultDataset") or {}).get("datasetId")
        translator = sql.Translator(project, dataset, self._catalog.state)
        statement = translator.statement(config.get("query") or "", 0)
        fields = self._describe(statement.sql) if statement.sql else []
        return {"kind": statement.kind, "schema": fields}

    def _run(
        self, project: str, statement: sql.Statement, config: Mapping[str, Any], *, last: bool
    ) -> dict[str, Any]:
        if statement.kind in ("DROP_TABLE", "DROP_VIEW"):
            assert statement.target is not None
            if self._catalog.table(statement.target) is None and statement.lenient:
                return {"kind": statement.kind, "destination": None}
            self._catalog.delete_table(statement.target)
            return {"kind": statement.kind, "destination": None}
        if statement.kind in ("INSERT", "DELETE", "UPDATE"):
            return self._change(statement)
        if statement.target is not None:
            exists = self._catalog.table(statement.target) is not None
            if exists and statement.lenient:
                return {"kind": statement.kind, "destination": statement.target}
            if exists and not statement.replace:
                raise ApiError(409, f"Already Exists: Table {statement.target}", reason="duplicate")
            if statement.view is not None:
                self.create_view(project, statement.target, statement.view)
            elif statement.kind == "CREATE_TABLE":
                self._catalog.dataset(statement.target.project, statement.target.dataset)
                self.create(statement.target, types.normalized(statement.fields), {})
            else:
                self._write(statement.target, self._select(statement.sql), "WRITE_TRUNCATE")
            return {"kind": statement.kind, "destination": statement.target}
        given = config.get("destinationTable")
        target = TableName.of(given) if given else TableName(project, ANONYMOUS, new_physical())
        disposition = config.get("writeDisposition", "WRITE_EMPTY") if given else "WRITE_TRUNCATE"
        if given and config.get("createDisposition") == "CREATE_NEVER":
            self._catalog.require_table(target)
        self._write(target, self._select(statement.sql), disposition)
        return {"kind": statement.kind, "destination": target}

    def _change(self, statement: sql.Statement) -> dict[str, Any]:
        """Change a copy of a table, which then takes its place."""
        assert statement.target is not None
        table = self._catalog.require_table(statement.target)
        state = self._catalog.state(statement.target)
        if state.view is not None:
            raise ApiError(
                400, f"{statement.target} is a VIEW, which can't be changed.", reason="invalidQuery"
            )
        physical = new_physical()
        with self._lock:
            try:
                self._db.execute(f"CREATE TABLE {physical} AS SELECT * FROM {state.physical}")  # noqa: S608
                changed = self._db.execute(statement.sql.replace(sql.TARGET, physical)).fetchall()
            except duckdb.Error as error:
                self._db.execute(f"DROP TABLE IF EXISTS {physical}")
                raise _refused(error) from None
            more = {key: value for key, value in table.items() if key != "created"}
            self._catalog.put_table(statement.target, more, physical, state.schema, self._count(physical))
        return {"kind": statement.kind, "destination": statement.target, "affected": int(changed[0][0])}

    def _describe(self, query: str) -> list[dict[str, Any]]:
        with self._lock:
            try:
                relation = self._db.sql(query)
            except duckdb.Error as error:
                raise _refused(error) from None
            if relation is None:
                return []
            found = zip(relation.columns, relation.types, strict=True)
            return [types.field_of(name, _narrow(kind)) for name, kind in found]

    def _select(self, query: str) -> tuple[str, list[dict[str, Any]]]:
        """Return a query whose columns have BigQuery's types, and their schema."""
        fields = self._describe(query)
        return f"SELECT {_cast(fields)} FROM ({query})", fields  # noqa: S608

    def _write(self, target: TableName, made: tuple[str, list[dict[str, Any]]], disposition: str) -> None:
        query, fields = made
        if target.dataset != ANONYMOUS:
            self._catalog.dataset(target.project, target.dataset)
        existing = self._catalog.table(target)
        state = self._catalog.state(target) if existing is not None else None
        if state is not None and state.view is not None:
            raise ApiError(400, f"{target} is a VIEW, which can't be written to.", reason="invalid")
        if disposition == "WRITE_EMPTY" and state is not None and state.rows:
            raise ApiError(409, f"Already Exists: Table {target}", reason="duplicate")
        with self._lock:
            physical = new_physical()
            if disposition == "WRITE_APPEND" and state is not None:
                query, fields = self._appended(state, query, fields, target)
            try:
                self._db.execute(f"CREATE TABLE {physical} AS {query}")
            except duckdb.Error as error:
                raise _refused(error) from None
            rows = self._count(physical)
            if target.dataset == ANONYMOUS:
                self._ensure_anonymous(target.project)
            self._catalog.put_table(target, existing or {}, physical, fields, rows)
            for old in filter(None, self._catalog.expired()):
                self._db.execute(f"DROP TABLE IF EXISTS {old}")

    def _appended(
        self, state: State, query: str, fields: list[dict[str, Any]], target: TableName
    ) -> tuple[str, list[dict[str, Any]]]:
        old = {field["name"].lower(): field for field in state.schema}
        for field in fields:
            known = old.get(field["name"].lower())
            if known is None or known["type"] != field["type"]:
                raise ApiError(
                    400,
                    f"Provided Schema does not match Table {target}. "
                    f"Cannot add or change field {field['name']}",
                    reason="invalid",
                )
        names = {field["name"].lower() for field in fields}
        columns = ", ".join(
            types.quoted(field["name"])
            if field["name"].lower() in names
            else f"CAST(NULL AS {types.duckdb_type(field)}) AS {types.quoted(field['name'])}"
            for field in state.schema
        )
        union = f"SELECT * FROM {state.physical} UNION ALL SELECT {columns} FROM ({query})"  # noqa: S608
        return union, list(state.schema)

    def _ensure_anonymous(self, project: str) -> None:
        try:
            self._catalog.put_dataset(project, ANONYMOUS, {}, new=True)
        except ApiError as error:
            if error.code != 409:
                raise

    def _count(self, physical: str) -> int:
        ((count,),) = self._db.execute(f"SELECT count(*) FROM {physical}").fetchall()  # noqa: S608
        return int(count)

    # --- rows

    def create(self, target: TableName, fields: Sequence[Mapping[str, Any]], more: Mapping[str, Any]) -> None:
        """Make an empty table."""
        columns = ", ".join(f"{types.quoted(f['name'])} {types.duckdb_type(f)}" for f in fields)
        with self._lock:
            physical = new_physical()
            self._db.execute(f"CREATE TABLE {physical} ({columns or '_empty BOOLEAN'})")
            self._catalog.put_table(target, more, physical, fields, 0)

    def create_view(self, project: str, target: TableName, query: str) -> None:
        """Make a view.

        :raises ApiError: its query is refused.
        """
        self._catalog.dataset(target.project, target.dataset)
        (statement,) = [sql.Translator(project, None, self._catalog.state).statement(query, 0)]
        if statement.kind != "SELECT":
            raise sql.invalid("A view's query must be a SELECT statement.")
        more = {"view": {"query": query, "useLegacySql": False}}
        self._catalog.put_table(target, more, "", self._describe(statement.sql), 0)

    def rows(self, state: State, start: int, limit: int) -> list[tuple[Any, ...]]:
        """Return some of a table's rows.

        :raises ApiError: it is a view, which has none of its own.
        """
        if state.view is not None:
            raise ApiError(400, "Cannot list a table of type VIEW.", reason="invalid")
        with self._lock:
            return self._db.execute(
                f"SELECT * FROM {state.physical} LIMIT ? OFFSET ?",  # noqa: S608
                [limit, start],
            ).fetchall()

    def copy(self, config: Mapping[str, Any]) -> None:
        """Run a copy job.

        :raises ApiError: a source does not exist, or the schemas differ.
        """
        given = config.get("sourceTables") or [config["sourceTable"]]
        sources = [self._catalog.state(TableName.of(reference)) for reference in given]
        if any(source.view is not None for source in sources):
            raise ApiError(400, "A view can't be copied.", reason="invalid")
        if any(source.schema != sources[0].schema for source in sources):
            raise ApiError(400, "The source tables of a copy must have the same schema.", reason="invalid")
        union = " UNION ALL ".join(f"SELECT * FROM {source.physical}" for source in sources)  # noqa: S608
        target = TableName.of(config["destinationTable"])
        self._write(target, (union, list(sources[0].schema)), config.get("writeDisposition", "WRITE_EMPTY"))

    # --- loads

    def load(self, config: Mapping[str, Any], content: bytes | None) -> int:
        """Run a load job.

        :param content: of an upload; otherwise the job names files in Cloud Storage.
        :return: how many rows were loaded.
        :raises ApiError: the files or the schema are wrong.
        """
        import pyarrow as pa

        target = TableName.of(config["destinationTable"])
        self._catalog.dataset(target.project, target.dataset)
        existing = self._catalog.table(target)
        given = (config.get("schema") or {}).get("fields")
        schema = types.normalized(given) if given else None
        if schema is None and existing is not None:
            schema = list(self._catalog.state(target).schema)
        files = [("upload", content)] if content is not None else self._files(config["sourceUris"])
        kind = config.get("sourceFormat", "CSV")
        tables = []
        for uri, data in files:
            data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            if kind == "PARQUET":
                tables.append(_parquet(uri, data))
                continue
            if schema is None and kind == "CSV" and config.get("autodetect"):
                schema, config = _detected(data, config)
            if schema is None:
                raise ApiError(400, "No schema specified on job or table.", reason="invalid")
            if kind == "CSV":
                tables.append(_csv(uri, data, schema, config))
            elif kind == "NEWLINE_DELIMITED_JSON":
                tables.append(_ndjson(uri, data, schema, config))
            else:
                raise ApiError(400, f"The emulator does not load {kind}.", reason="invalid")
        loaded = pa.concat_tables(tables)
        with self._lock:
            self._db.register("loaded", loaded)
            try:
                if schema is None:
                    made = self._select("SELECT * FROM loaded")
                else:
                    made = (f"SELECT {_cast(schema)} FROM loaded", schema)  # noqa: S608
                self._write(target, made, config.get("writeDisposition", "WRITE_APPEND"))
            finally:
                self._db.unregister("loaded")
        return int(loaded.num_rows)

    def _files(self, uris: Sequence[str]) -> list[tuple[str, bytes]]:
        found = []
        for uri in uris:
            bucket, _, name = uri.removeprefix("gs://").partition("/")
            self._store.require_bucket(bucket)
            names = [name]
            if "*" in name:
                before, _, after = name.partition("*")
                names = [n for n in self._store.names(bucket, before) if n.endswith(after)]
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

    # --- extracts

    def extract(self, config: Mapping[str, Any]) -> list[int]:
        """Run an extract job.

        :return: how many files each URI became.
        :raises ApiError: the table, the bucket or the combination of settings is wrong.
        """
        source = TableName.of(config["sourceTable"])
        state = self._catalog.state(source)
        if state.view is not None:
            message = f"{source} is not allowed for this operation because it is currently a VIEW."
            raise ApiError(400, message, reason="invalid")
        kind = config.get("destinationFormat", "CSV")
        compression = config.get("compression", "NONE")
        allowed = {"CSV": ("NONE", "GZIP"), "NEWLINE_DELIMITED_JSON": ("NONE", "GZIP"),
                   "PARQUET": ("NONE", "SNAPPY", "GZIP", "ZSTD")}  # fmt: skip
        if kind not in allowed:
            raise ApiError(400, f"The emulator does not extract {kind}.", reason="invalid")
        if compression not in allowed[kind]:
            raise ApiError(400, f"Compression {compression} is not supported for {kind}.", reason="invalid")
        nested = [f["name"] for f in state.schema if f["type"] == "RECORD" or f.get("mode") == "REPEATED"]
        if kind == "CSV" and nested:
            message = f"Operation cannot be performed on a nested schema. Field: {nested[0]}"
            raise ApiError(400, message, reason="invalid")
        uris = config.get("destinationUris") or [config["destinationUri"]]
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
                rows = self.rows(state, start, min(size, last - start)) if last > start else []
                content = _serialized(kind, state, rows, config)
                if compression == "GZIP" and kind != "PARQUET":
                    content = gzip.compress(content, mtime=0)
                self._store.write(bucket, name.replace("*", f"{shard:012}"), content, _CONTENT_TYPES[kind])
            counts.append(len(starts))
        return counts


_CONTENT_TYPES = {
    "CSV": "text/csv",
    "NEWLINE_DELIMITED_JSON": "application/json",
    "PARQUET": "application/octet-stream",
}


def _cast(fields: Sequence[Mapping[str, Any]]) -> str:
    names = [(types.quoted(f["name"]), types.duckdb_type(f)) for f in fields]
    return ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in names)


def _narrow(kind: Any) -> Any:
    return "BIGINT" if str(kind) in ("HUGEINT", "UBIGINT", "UINTEGER") else kind


def _refused(error: duckdb.Error) -> ApiError:
    message = str(error).split("\n")[0]
    for prefix in ("Binder Error: ", "Conversion Error: ", "Invalid Input Error: ", "Out of Range Error: "):
        message = message.removeprefix(prefix)
    return sql.invalid(message)


def _detected(data: bytes, config: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of a CSV file, and the job with its header skipped.

    A first line of texts above other lines that are not all texts is a header, as in BigQuery:
    https://cloud.google.com/bigquery/docs/schema-detect
    """
    delimiter = {"tab": "\t", "\\t": "\t"}.get(
        config.get("fieldDelimiter", ","), config.get("fieldDelimiter", ",")
    )
    rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=delimiter or ","))
    skip = int(config.get("skipLeadingRows", 0))
    skipped, rows = rows[:skip], [row for row in rows[skip:] if row][:500]
    if not rows:
        raise ApiError(400, "Error while reading data, error message: the file is empty", reason="invalid")
    first, rest = rows[0], rows[1:]
    kinds = [_kind_of([row[n] for row in rest if n < len(row) and row[n]]) for n in range(len(first))]
    if skipped:
        # The last line that is skipped is taken for the header.
        names, header = skipped[-1], 0
        kinds = [_kind_of([row[n] for row in rows if n < len(row) and row[n]]) for n in range(len(first))]
    elif rest and _kind_of(first) == "STRING" and any(kind != "STRING" for kind in kinds):
        names, header = first, 1
    else:
        kinds = [_kind_of([row[n] for row in rows if n < len(row) and row[n]]) for n in range(len(first))]
        names, header = [f"{_NAMES[kind]}_field_{n}" for n, kind in enumerate(kinds)], 0
    schema = [{"name": n, "type": k, "mode": "NULLABLE"} for n, k in zip(names, kinds, strict=True)]
    return schema, {**config, "skipLeadingRows": skip + header}


_NAMES = {
    "INTEGER": "int64",
    "FLOAT": "double",
    "BOOLEAN": "bool",
    "TIMESTAMP": "timestamp",
    "STRING": "string",
}


def _kind_of(texts: Sequence[str]) -> str:
    """Return the narrowest type that all texts fit."""
    for kind in ("BOOLEAN", "INTEGER", "FLOAT", "TIMESTAMP"):
        if texts and all(_fits(kind, text) for text in texts):
            return kind
    return "STRING"


def _fits(kind: str, text: str) -> bool:
    if kind == "BOOLEAN":
        return text.lower() in ("true", "false")
    if kind == "TIMESTAMP":
        try:
            dt.datetime.fromisoformat(text.removesuffix(" UTC"))
        except ValueError:
            return False
        return len(text) > 10
    try:
        _parsed({"type": kind, "name": ""}, text, "")
    except ValueError:
        return False
    return True


def _csv(uri: str, data: bytes, schema: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    delimiter = {"tab": "\t", "\\t": "\t"}.get(
        config.get("fieldDelimiter", ","), config.get("fieldDelimiter", ",")
    )
    skip = int(config.get("skipLeadingRows", 0))
    null = config.get("nullMarker", "")
    text = io.StringIO(data.decode("utf-8"), newline="")
    columns: list[list[Any]] = [[] for _ in schema]
    problems: list[str] = []
    bad_allowed = int(config.get("maxBadRecords", 0))
    reader = csv.reader(text, delimiter=delimiter or ",", quotechar=config.get("quote", '"') or None)
    for number, row in enumerate(reader):
        if number < skip or not row:
            continue
        try:
            if len(row) > len(schema) and not config.get("ignoreUnknownValues"):
                raise ValueError("Too many values in line.")
            if len(row) < len(schema) and not config.get("allowJaggedRows"):
                raise ValueError(
                    f"CSV table references column position {len(schema) - 1}, "
                    f"but line contains only {len(row)} columns."
                )
            values = [_parsed(f, row[n] if n < len(row) else None, null) for n, f in enumerate(schema)]
        except ValueError as error:
            problems.append(f"{error}; line_number: {reader.line_num}")
            if len(problems) > bad_allowed:
                break
            continue
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    if len(problems) > bad_allowed:
        raise ApiError(
            400,
            f"Error while reading data, error message: {problems[-1]} File: {uri}",
            reason="invalid",
        )
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.table(arrays, names=[f["name"] for f in schema])


def _parsed(field: Mapping[str, Any], text: str | None, null: str) -> str | None:
    if text is None or text == null:
        if field.get("mode") == "REQUIRED":
            raise ValueError(f"Required column value for column '{field['name']}' is missing")
        return None
    kind = field["type"]
    try:
        if kind == "INTEGER":
            int(text)
        elif kind == "FLOAT":
            float(text)
        elif kind == "BOOLEAN":
            return _BOOLEANS[text.lower()]
        elif kind == "TIMESTAMP":
            return text.removesuffix(" UTC").removesuffix("Z") + ("" if _has_offset(text) else "+00:00")
    except (ValueError, KeyError):
        raise ValueError(
            f"Could not parse '{text}' as {_STANDARD.get(kind, kind)} for field {field['name']}"
        ) from None
    return text


_BOOLEANS = dict.fromkeys(("true", "t", "1", "yes", "y"), "true")
_BOOLEANS |= dict.fromkeys(("false", "f", "0", "no", "n"), "false")
_STANDARD = {"INTEGER": "INT64", "FLOAT": "DOUBLE", "BOOLEAN": "BOOL"}


def _has_offset(text: str) -> bool:
    return len(text) > 6 and text[-6] in "+-" and text[-3] == ":"


def _ndjson(uri: str, data: bytes, schema: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    names = {field["name"].lower(): field["name"] for field in schema}
    if any(field["type"] == "RECORD" or field.get("mode") == "REPEATED" for field in schema):
        raise ApiError(400, "The emulator does not load nested NDJSON.", reason="invalid")
    rows = []
    for number, line in enumerate(data.decode().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            unknown = [name for name in row if name.lower() not in names]
            if unknown and not config.get("ignoreUnknownValues"):
                raise ValueError(f"No such field: {unknown[0]}.")
            clean = {names[k.lower()]: v for k, v in row.items() if k.lower() in names}
            values = {}
            for field in schema:
                value = clean.get(field["name"])
                text = None if value is None else (value if isinstance(value, str) else json.dumps(value))
                values[field["name"]] = _parsed(field, text, "\x00")
            rows.append(values)
        except ValueError as error:
            raise ApiError(
                400,
                f"Error while reading data, error message: JSON parsing error in line {number}: {error} "
                f"File: {uri}",
                reason="invalid",
            ) from None
    columns = {f["name"]: pa.array([row[f["name"]] for row in rows], pa.string()) for f in schema}
    return pa.table(columns)


def _parquet(uri: str, data: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowInvalid as error:
        raise ApiError(
            400, f"Error while reading data, error message: {error} File: {uri}", reason="invalid"
        ) from None


def _serialized(kind: str, state: State, rows: Sequence[tuple[Any, ...]], config: Mapping[str, Any]) -> bytes:
    if kind == "PARQUET":
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = [f["name"] for f in state.schema]
        columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [() for _ in names]
        table = pa.table({name: pa.array(list(column)) for name, column in zip(names, columns, strict=True)})
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=config.get("compression", "NONE"))
        return sink.getvalue()
    if kind == "NEWLINE_DELIMITED_JSON":
        record = {"type": "RECORD", "fields": list(state.schema)}
        names = [f["name"] for f in state.schema]
        lines = [json.dumps(types.json_of(record, dict(zip(names, row, strict=True))), ensure_ascii=False,
                            separators=(",", ":")) for row in rows]  # fmt: skip
        text = "".join(f"{line}\n" for line in lines)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
    out = io.StringIO()
    delimiter = {"tab": "\t"}.get(config.get("fieldDelimiter", ","), config.get("fieldDelimiter", ","))
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if config.get("printHeader", True):
        writer.writerow([f["name"] for f in state.schema])
    for row in rows:
        texts = [
            "" if v is None else types.text_of(f["type"], v) for f, v in zip(state.schema, row, strict=True)
        ]
        writer.writerow(texts)
    return out.getvalue().encode()
