"""Reading ratings: who rated what, and how."""

from __future__ import annotations

import csv
import gzip
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from trainer.columns import Columns, Format, find_columns
from trainer.errors import InputError
from trainer.files import File, local_copy

_IDS = pa.dictionary(pa.int32(), pa.string())
# Beyond this, squares of float32 numbers overflow.
_LARGEST = 1e15
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Ratings:
    """Rows of user, item and rating.

    :param users: the distinct users' ids, sorted.
    :param items: the distinct items' ids, sorted.
    :param user: for each row, an index into ``users``.
    :param item: for each row, an index into ``items``.
    :param rating: for each row.
    :param data_type: what the rows are: ``user_ratings``, ``ratings`` or ``web_views``.
    """

    users: pa.StringArray
    items: pa.StringArray
    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    data_type: str

    def __len__(self) -> int:
        return len(self.rating)

    def take(self, rows: np.ndarray) -> Ratings:
        """Return some of the rows, with the same users and items."""
        return replace(self, user=self.user[rows], item=self.item[rows], rating=self.rating[rows])

    def compact(self) -> Ratings:
        """Return the same rows with only the users and items that have any."""
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        return replace(
            self,
            users=self.users.take(pa.array(users)),
            items=self.items.take(pa.array(items)),
            user=user.astype(np.int32),
            item=item.astype(np.int32),
        )

    def merged(self) -> Ratings:
        """Return one row for each pair of user and item, ordered by user and item.

        Of several ratings of one pair the mean is taken: exports have no order in which one would be the
        last. Durations of page views are added up.
        """
        key = self.user.astype(np.int64) * max(len(self.items), 1) + self.item
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = (
            np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.array([], int)
        )
        rows = order[first]
        if len(first) == len(key):
            return self.take(rows)
        # Sorted within a pair too, so that the sum does not depend on the order of the files' rows.
        values = self.rating[
            np.lexsort((self.rating, self.user.astype(np.int64) * len(self.items) + self.item))
        ]
        total = np.add.reduceat(values.astype(np.float64), first)
        if self.data_type != "web_views":
            total /= np.diff(np.append(first, len(key)))
        return replace(self.take(rows), rating=total.astype(np.float32))

    def index(self, other: Ratings) -> tuple[np.ndarray, np.ndarray]:
        """Return the users and items of other rows as indices into these; -1 for unknown ones."""
        return _index(other.users, self.users)[other.user], _index(other.items, self.items)[other.item]


def read_ratings(files: Sequence[File], form: Format) -> Ratings:
    """Read files as one set of rows.

    CSV, plain or gzip, and Parquet; a file with nothing but a header counts as one without rows, as BigQuery
    writes them.

    :param files: what to read.
    :param form: what the arguments say about them.
    :raises InputError: a file is empty or something in it can't be used; names file and line.
    """
    tables: list[pa.Table] = []
    problems: list[str] = []
    kinds = set()
    for file in files:
        try:
            data_type, table = _read_file(file, form)
        except InputError as error:
            problems.append(str(error))
            continue
        kinds.add(data_type)
        tables.append(table)
    if problems:
        more = f"; and {len(problems) - 3} more files" if len(problems) > 3 else ""
        raise InputError("; ".join(problems[:3]) + more)
    if len(kinds) > 1:
        raise InputError(f"the files hold different data: {', '.join(sorted(kinds))}; choose one --data-type")
    table = pa.concat_tables(tables)
    if not table.num_rows:
        raise InputError(f"no rows: {', '.join(file.uri for file in files[:5])} hold no rating at all")
    users, user = _encode(table["user"])
    items, item = _encode(table["item"])
    rating = table["rating"].to_numpy().astype(np.float32)
    return Ratings(users, items, user, item, rating, kinds.pop())


def _read_file(file: File, form: Format) -> tuple[str, pa.Table]:
    if not file.size:
        raise InputError(
            f"{file.uri}: is empty (0 bytes), not even a header: the export that wrote it failed"
        )
    with local_copy(file) as path:
        with path.open("rb") as raw:
            magic = raw.read(4)
        if magic == b"PAR1":
            return _read_parquet(file.uri, path, form)
        try:
            with _open(path, magic) as lines:
                first = lines.readline(1 << 20)
            text = first.decode("utf-8-sig").rstrip("\r\n")
        except (OSError, EOFError, gzip.zlib.error) as error:
            raise InputError(f"{file.uri}: can't be read: {error}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{file.uri}:1: is not UTF-8 text: {error}") from error
        if not first:
            raise InputError(f"{file.uri}: is empty once decompressed, not even a header")
        columns = find_columns(file.uri, text, form)
        return columns.data_type, _read_csv(file.uri, path, magic, columns)


def _open(path: Path, magic: bytes) -> IO[bytes]:
    return gzip.open(path, "rb") if magic[:2] == b"\x1f\x8b" else path.open("rb")


def _read_csv(uri: str, path: Path, magic: bytes, columns: Columns) -> pa.Table:
    names = [str(at) for at in range(columns.count)]
    user, item, rating = str(columns.user), str(columns.item), str(columns.rating)
    try:
        with _open(path, magic) as source:
            table = pa_csv.read_csv(
                source,
                read_options=pa_csv.ReadOptions(column_names=names, skip_rows=int(columns.header)),
                parse_options=pa_csv.ParseOptions(delimiter=columns.delimiter),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=[user, item, rating],
                    column_types={user: _IDS, item: _IDS, rating: pa.float64()},
                    null_values=[],
                    strings_can_be_null=False,
                ),
            ).rename_columns(["user", "item", "rating"])
    except (pa.ArrowInvalid, OSError, EOFError, gzip.zlib.error) as error:
        if isinstance(error, pa.ArrowInvalid) and "Empty CSV file" in str(error):
            return _table([], [], [])
        return _read_slowly(uri, path, magic, columns)
    return table if _is_clean(table) else _read_slowly(uri, path, magic, columns)


def _is_clean(table: pa.Table) -> bool:
    rating = table["rating"].to_numpy()
    with np.errstate(invalid="ignore"):
        if table["rating"].null_count or not bool((np.abs(rating) <= _LARGEST).all()):
            return False
    values = itertools.chain.from_iterable(
        chunk.dictionary.to_pylist() for name in ("user", "item") for chunk in table[name].chunks
    )
    return all(value.strip() and "\n" not in value and "\r" not in value for value in values)


def _read_slowly(uri: str, path: Path, magic: bytes, columns: Columns) -> pa.Table:
    """Read row by row, to name the lines that the fast reader refused."""
    problems: list[str] = []
    count = 0
    rows: tuple[list[str], list[str], list[float]] = ([], [], [])
    for line, values in _lines(uri, path, magic, columns):
        problem = _problem(values, columns)
        if problem is None:
            rows[0].append(values[columns.user])
            rows[1].append(values[columns.item])
            rows[2].append(float(values[columns.rating]))
            continue
        count += 1
        if count <= _SHOWN_PROBLEMS:
            problems.append(f"{uri}:{line}: {problem}")
    if count:
        more = f"; and {count - len(problems)} more bad rows in this file" if count > len(problems) else ""
        raise InputError("; ".join(problems) + more)
    return _table(*rows)


def _lines(uri: str, path: Path, magic: bytes, columns: Columns) -> Iterator[tuple[int, list[str]]]:
    with _open(path, magic) as raw:
        text = (
            line.decode("utf-8-sig" if at == 0 else "utf-8", "surrogateescape") for at, line in enumerate(raw)
        )
        reader = csv.reader(text, delimiter=columns.delimiter)
        try:
            for at, values in enumerate(reader):
                if values and not (at == 0 and columns.header):
                    yield reader.line_num, values
        except (OSError, EOFError, gzip.zlib.error, csv.Error) as error:
            raise InputError(f"{uri}:{reader.line_num + 1}: can't be read: {error}") from error


def _problem(values: Sequence[str], columns: Columns) -> str | None:
    if len(values) != columns.count:
        return (
            f"has {len(values)} columns instead of {columns.count}: {columns.delimiter.join(values)[:100]!r}"
        )
    names = columns.names
    for name, value in ((names[0], values[columns.user]), (names[1], values[columns.item])):
        if not value.strip():
            return f"{name} is empty"
        if "\n" in value or "\r" in value:
            return f"{name} {value[:50]!r} contains a line break"
        if any("\udc80" <= letter <= "\udcff" for letter in value):
            return f"{name} {value[:50]!r} is not UTF-8 text"
    return _rating_problem(names[2], values[columns.rating])


def _rating_problem(name: str, text: str) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return f"{name} {text[:50]!r} is not a number" if text.strip() else f"{name} is empty"
    if "_" in text or not math.isfinite(value):
        return f"{name} {text!r} is not a finite number"
    if abs(value) > _LARGEST:
        return f"{name} {text!r} is too large (at most {_LARGEST:g})"
    return None


def _read_parquet(uri: str, path: Path, form: Format) -> tuple[str, pa.Table]:
    try:
        file = pa_parquet.ParquetFile(path)
        names = file.schema_arrow.names
        columns = find_columns(uri, ",".join(names), Format(form.data_type, ","))
        if not columns.header:
            raise InputError(f"{uri}: columns userId, itemId, rating are missing: found {', '.join(names)}")
        wanted = [names[at] for at in (columns.user, columns.item, columns.rating)]
        table = file.read(columns=wanted).select(wanted).rename_columns(["user", "item", "rating"])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{uri}: is not a readable Parquet file: {error}") from error
    cast = []
    for name, shown in zip(table.column_names, wanted, strict=True):
        column = table[name]
        numeric = pa.types.is_integer(column.type)
        if name != "rating" and not (
            numeric or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        ):
            raise InputError(f"{uri}: column {shown} is {column.type}; expected text or integers")
        if name == "rating" and not (
            numeric or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
        ):
            raise InputError(f"{uri}: column {shown} is {column.type}; expected numbers")
        column = column.cast(pa.float64() if name == "rating" else pa.string())
        if name == "rating":
            bad = pc.invert(pc.fill_null(pc.less_equal(pc.abs(column), _LARGEST), False))
        else:
            bad = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)
        row = pc.index(bad, True).as_py()
        if row >= 0:
            value = column[row].as_py()
            raise InputError(
                f"{uri}: row {row + 1}: {shown} {value!r} is not "
                + ("a finite number" if name == "rating" else "an id")
            )
        cast.append(column if name == "rating" else column.dictionary_encode())
    return columns.data_type, pa.table(cast, names=["user", "item", "rating"])


def _table(user: list[str], item: list[str], rating: list[float]) -> pa.Table:
    ids = [pa.array(values, pa.string()).dictionary_encode() for values in (user, item)]
    return pa.table([*ids, pa.array(rating, pa.float64())], names=["user", "item", "rating"])


def _encode(column: pa.ChunkedArray) -> tuple[pa.StringArray, np.ndarray]:
    """Return the sorted distinct ids, without spaces around them, and each row's index into them."""
    values = [pc.utf8_trim_whitespace(chunk.dictionary) for chunk in column.chunks]
    ids = pc.unique(pa.chunked_array(values, pa.string()))
    ids = ids.take(pc.array_sort_indices(ids))
    parts: list[Any] = [
        _index(value, ids)[chunk.indices.to_numpy(zero_copy_only=False)]
        for value, chunk in zip(values, column.chunks, strict=True)
        if len(chunk)
    ]
    index = np.concatenate(parts)
    used = np.zeros(len(ids), bool)
    used[index] = True
    if used.all():
        return ids, index
    return ids.filter(pa.array(used)), (np.cumsum(used) - 1)[index].astype(np.int32)


def _index(values: pa.Array, ids: pa.Array) -> np.ndarray:
    found = pc.fill_null(pc.index_in(values, value_set=ids), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int32)
