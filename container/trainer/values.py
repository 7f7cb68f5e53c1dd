"""Whether values are what their column asks for, one by one and in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.tables import Column


def problem(column: Column, shown: str, value: Any) -> str | None:
    """Say what is wrong with a value as it stands in a file: text, a number, or None where there is none.

    :param column: the value's.
    :param shown: the column's name in the file.
    :param value: as read.
    """
    text = "" if value is None else str(value)
    if not text.strip():
        return None if column.optional else f"{shown} is empty"
    nested = isinstance(value, list | dict)
    if (
        nested
        or (isinstance(value, bool) and column.kind != "text")
        or (isinstance(value, float) and column.kind == "id")
    ):
        return f"{shown} {text[:50]!r} is not {_EXPECTED[column.kind]}"
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        return f"{shown} {text[:50]!r} is not UTF-8 text"
    if column.kind == "id":
        return f"{shown} {text[:50]!r} contains a line break" if "\n" in text or "\r" in text else None
    if column.kind == "text":
        return None
    try:
        number = int(text) if column.kind == "integer" else float(text)
    except (ValueError, OverflowError):
        return f"{shown} {text[:50]!r} is not {_EXPECTED[column.kind]}"
    if "_" in text or (column.kind == "integer" and not -(2**63) <= number < 2**63):
        return f"{shown} {text[:50]!r} is not {_EXPECTED[column.kind]}"
    if isinstance(number, float) and math.isnan(number) and column.optional:
        return None
    if not math.isfinite(number):
        return f"{shown} {text!r} is not a finite number"
    if abs(number) > column.largest:
        return f"{shown} {text!r} is too large (at most {column.largest:g})"
    return None


_EXPECTED = {
    "id": "text or an integer",
    "text": "text",
    "number": "a number",
    "integer": "an integer",
}


def converted(column: Column, value: Any) -> Any:
    """Return a value without problems as the batches hold it."""
    text = "" if value is None else str(value)
    if column.kind == "id":
        return text.strip()
    if column.kind == "text":
        return text.lower() if isinstance(value, bool) else text
    if not text.strip():
        return None
    if column.kind == "integer":
        return int(text)
    return None if math.isnan(float(text)) else float(text)


def batch_of(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Return rows of values without problems as a batch."""
    arrays = []
    for at, column in enumerate(columns):
        values = [converted(column, row[at]) for row in rows]
        plain = pa.array(values, pa.string() if column.kind == "id" else column.type)
        arrays.append(plain.dictionary_encode() if column.kind == "id" else plain)
    return pa.record_batch(arrays, names=[column.name for column in columns])


def clean(column: Column, values: pa.Array) -> pa.Array | None:
    """Return a column's values as the batches hold them, or None if any of them has a problem.

    :param column: what is asked for.
    :param values: of the column's own type, or of one that it can be cast to without loss.
    """
    try:
        return _clean(column, values)
    except pa.ArrowInvalid:
        return None


def _clean(column: Column, values: pa.Array) -> pa.Array | None:
    kind = values.type
    if column.kind == "id":
        if pa.types.is_floating(kind):
            return None
        if column.optional and values.null_count:
            values = values.dictionary_decode() if pa.types.is_dictionary(kind) else values
            values = pc.fill_null(values.cast(pa.string()), "")
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        ids = pc.utf8_trim_whitespace(values.dictionary.cast(pa.string()))
        blank = pc.any(pc.equal(pc.binary_length(ids), 0)).as_py()
        broken = pc.any(pc.match_substring_regex(ids, "[\r\n]")).as_py()
        if values.null_count or (blank and not column.optional) or broken:
            return None
        return pa.DictionaryArray.from_arrays(values.indices.cast(pa.int32()), ids)
    if column.kind == "text":
        if pa.types.is_dictionary(kind):
            values = values.dictionary_decode()
        values = values.cast(pa.string())
        if column.optional:
            return pc.fill_null(values, "")
        filled = pc.all(pc.not_equal(pc.utf8_trim_whitespace(values), "")).as_py()
        return None if values.null_count or filled is False else values
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = pc.utf8_trim_whitespace(values)
        if column.optional:
            values = pc.if_else(pc.equal(values, ""), None, values)
    values = values.cast(column.type)
    if column.kind == "integer":
        return None if values.null_count and not column.optional else values
    if column.optional:
        values = pc.if_else(pc.is_nan(values), None, values)
    elif values.null_count:
        return None
    largest = np.max(np.abs(values.drop_null().to_numpy()), initial=0)
    # NaN is not below anything.
    return values if largest <= column.largest and largest < np.inf else None
