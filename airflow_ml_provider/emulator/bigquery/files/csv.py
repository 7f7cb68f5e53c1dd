"""CSV: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-csv ."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_ml_provider.emulator.bigquery import types
from airflow_ml_provider.emulator.bigquery.files.detection import kind_of
from airflow_ml_provider.emulator.bigquery.files.records import Field, arrow_table, read_error, value_of

# Stands for a field that is empty between quotation marks, which is no NULL.
_EMPTY = "\0"


def read(uri: str, data: bytes, schema: Sequence[Field], config: Mapping[str, Any]) -> tuple[Any, int]:
    """Return a file's rows as an Arrow table, and how many bad rows were passed over.

    :param config: of the load job.
    :raises ApiError: 400 ``invalid``: more bad rows than the job allows.
    """
    skip = int(config.get("skipLeadingRows", 0))
    null = config.get("nullMarker", "")
    columns: list[list[Any]] = [[] for _ in schema]
    problems: list[str] = []
    fields = [{**field, "_text": True} for field in schema]
    allowed = int(config.get("maxBadRecords", 0))
    for number, (line, row) in enumerate(_rows(uri, data, config)):
        if number < skip or not row:
            continue
        try:
            values = _parsed(row, fields, config, null)
        except ValueError as error:
            problems.append(f"{error}; line_number: {line}")
            if len(problems) > allowed:
                raise read_error(uri, problems[-1]) from None
            continue
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return arrow_table(schema, columns), len(problems)


def _parsed(row: Sequence[str], schema: Sequence[Field], config: Mapping[str, Any], null: str) -> list[Any]:
    if len(row) > len(schema) and not config.get("ignoreUnknownValues"):
        raise ValueError("Too many values in line.")
    if len(row) < len(schema) and not config.get("allowJaggedRows"):
        raise ValueError(
            f"CSV table references column position {len(schema) - 1}, "
            f"but line contains only {len(row)} columns."
        )
    values = []
    for position, field in enumerate(schema):
        text: str | None = row[position] if position < len(row) else None
        if text == null or (text == _EMPTY and field["type"] not in ("STRING", "BYTES")):
            text = None
        elif text == _EMPTY:
            text = ""
        values.append(value_of(field, text))
    return values


def _rows(uri: str, data: bytes, config: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    encoding = {"UTF-8": "utf-8-sig", "ISO-8859-1": "latin-1"}.get(config.get("encoding", "UTF-8").upper())
    if encoding is None:
        raise read_error(uri, f"The emulator does not know the encoding {config['encoding']}.")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise read_error(uri, f"Invalid UTF-8 at byte {error.start}.") from None
    quote = config.get("quote", '"')
    if quote:
        text = _marked(text, quote, delimiter(config))
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter(config),
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        strict=True,
    )
    started = 1
    try:
        for row in reader:
            if reader.line_num > started and not config.get("allowQuotedNewlines"):
                raise read_error(
                    uri, f"Data between close quote character and field separator; line_number: {started}; "
                    "a quoted field has a newline: set allowQuotedNewlines."
                )  # fmt: skip
            yield started, row
            started = reader.line_num + 1
    except csv.Error as error:
        raise read_error(uri, f"{error}; line_number: {reader.line_num}") from None


def _marked(text: str, quote: str, separator: str) -> str:
    """Mark fields that are empty between quotation marks."""
    if quote * 2 not in text:
        return text
    pieces = []
    for line in text.split("\n"):
        end = "\r" if line.endswith("\r") else ""
        cells = line.removesuffix("\r").split(separator)
        pieces.append(separator.join(_EMPTY if cell == quote * 2 else cell for cell in cells) + end)
    return "\n".join(pieces)


def delimiter(config: Mapping[str, Any]) -> str:
    """Return what is between a file's fields."""
    given = str(config.get("fieldDelimiter") or ",")
    return {"tab": "\t", "\\t": "\t"}.get(given, given)


def detected(uri: str, data: bytes, config: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the schema of a file, and the job with its header skipped.

    A first line of texts above other lines that are not all texts is a header, as in BigQuery:
    https://cloud.google.com/bigquery/docs/schema-detect

    :raises ApiError: 400 ``invalid``: the file is empty.
    """
    rows = [row for _, row in _rows(uri, data, config)]
    skip = int(config.get("skipLeadingRows", 0))
    skipped, rows = rows[:skip], [row for row in rows[skip:] if row][:500]
    if not rows:
        raise read_error(uri, "the file is empty")
    first, rest = rows[0], rows[1:]
    all_kinds, rest_kinds = _kinds(rows), _kinds(rest, len(first))
    if skipped:
        # The last line that is skipped is taken for the header.
        names, kinds, header = skipped[-1], all_kinds, 0
    elif rest and kind_of(first) == "STRING" and any(kind != "STRING" for kind in rest_kinds):
        names, kinds, header = first, rest_kinds, 1
    else:
        kinds, header = all_kinds, 0
        names = [f"{_NAMES[kind]}_field_{n}" for n, kind in enumerate(kinds)]
    schema = [{"name": n, "type": k, "mode": "NULLABLE"} for n, k in zip(names, kinds, strict=True)]
    return schema, {**config, "skipLeadingRows": skip + header}


def _kinds(rows: Sequence[Sequence[str]], width: int = 0) -> list[str]:
    count = max(width, max((len(row) for row in rows), default=0))
    return [kind_of([row[n] for row in rows if n < len(row) and row[n].strip(_EMPTY)]) for n in range(count)]


_NAMES = {
    "INTEGER": "int64",
    "FLOAT": "double",
    "BOOLEAN": "bool",
    "TIMESTAMP": "timestamp",
    "DATE": "date",
    "STRING": "string",
}


def written(fields: Sequence[Field], rows: Sequence[Sequence[Any]], config: Mapping[str, Any]) -> bytes:
    """Return rows as a file of an extract job."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter(config), lineterminator="\n")
    if config.get("printHeader", True):
        writer.writerow([field["name"] for field in fields])
    for row in rows:
        # An empty string is quoted, to be told from NULL.
        texts = ["" if v is None else types.text_of(f["type"], v) for f, v in zip(fields, row, strict=True)]
        if any(v == "" for v in row):
            cells = [
                '""' if v == "" else _cell(text, delimiter(config))
                for v, text in zip(row, texts, strict=True)
            ]
            out.write(delimiter(config).join(cells) + "\n")
        else:
            writer.writerow(texts)
    return out.getvalue().encode()


def _cell(text: str, separator: str) -> str:
    if any(char in text for char in (separator, '"', "\n", "\r")):
        return '"' + text.replace('"', '""') + '"'
    return text
