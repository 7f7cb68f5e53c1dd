"""The columns of a table, what each is to a model, and the label: inferred from the data or given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer import files
from trainer.errors import InputError

# Texts of a category that get an id of their own, and hash buckets for all others.
LARGEST_VOCABULARY = 10_000
_BUCKETS = 64
_QUANTILES = 32
_CROSSES = 4
_CROSS_BUCKETS = 10_000
_LABELS = ("label", "target", "y", "class", "income_bracket", "rating")
_SAMPLE = 200_000
_IDENTIFIER = re.compile(
    r"(?i:(?:^|_)(?:id|zip|code)|^(?:user|item|movie|product|customer|client|content|visitor)id)$"
    r"|(?<=[a-z])I[dD]$"
)


@dataclass(frozen=True)
class Column:
    """A feature.

    :param name: in the files' header.
    :param kind: ``number`` or ``category``.
    :param vocabulary: of a category: its texts, most frequent first.
    :param hash_buckets: of a category: for texts that are not in the vocabulary.
    :param quantiles: of a number: increasing values that cut its range where it is dense.
    """

    name: str
    kind: str
    vocabulary: tuple[str, ...] = ()
    hash_buckets: int = _BUCKETS
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Schema:
    """What a model needs to know of a table.

    :param label: the column to predict.
    :param task: ``binary`` or ``regression``.
    :param classes: for ``binary``: the texts of the negative and the positive class.
    :param columns: the features.
    :param crosses: groups of columns of which each combination of values is a feature of its own.
    :param mean: of the label; for ``binary`` the share of the positive class.
    :param deviation: standard deviation of the label.
    """

    label: str
    task: str
    classes: tuple[str, ...]
    columns: tuple[Column, ...]
    crosses: tuple[tuple[str, ...], ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    def to_json(self) -> str:
        """Return it as JSON, which :meth:`from_json` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def summary(self) -> dict[str, Any]:
        """Return what a manifest says of it: enough to read such tables, not to use the model."""
        return {
            "label": self.label,
            "task": self.task,
            "classes": list(self.classes),
            "columns": {column.name: column.kind for column in self.columns},
        }

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any]) -> Schema:
        """Read what :meth:`summary` gave, among other entries."""
        columns = tuple(Column(name, kind) for name, kind in summary["columns"].items())
        return cls(summary["label"], summary["task"], tuple(summary["classes"]), columns)

    @classmethod
    def from_json(cls, text: str | bytes) -> Schema:
        """Read what :meth:`to_json` gave.

        :raises ValueError: it is something else.
        """
        values = json.loads(text)
        try:
            columns = tuple(
                Column(
                    **{k: tuple(v) if isinstance(v, list) else v for k, v in column.items()},
                )
                for column in values.pop("columns")
            )
            crosses = tuple(tuple(cross) for cross in values.pop("crosses"))
            return cls(columns=columns, crosses=crosses, classes=tuple(values.pop("classes")), **values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is not a schema: {error!r}") from error


@dataclass(frozen=True)
class Wishes:
    """What a person says about the columns; everything else is inferred.

    :param label: the column to predict.
    :param positive: the text of the positive class.
    :param task: ``binary`` or ``regression``.
    :param kinds: ``number``, ``category`` or ``ignore`` by column name.
    :param hash_buckets: by column name.
    :param crosses: groups of columns; None: inferred.
    """

    label: str | None = None
    positive: str | None = None
    task: str | None = None
    kinds: Mapping[str, str] | None = None
    hash_buckets: Mapping[str, int] | None = None
    crosses: tuple[tuple[str, ...], ...] | None = None

    @classmethod
    def read(cls, path: str) -> Wishes:
        """Read a schema file.

        ``{"label": "bought", "positive": "yes", "task": "binary",
        "columns": {"age": "number", "shop": {"kind": "category", "hash_buckets": 100}, "note": "ignore"},
        "crosses": [["shop", "age"]]}``, each part optional.

        :param path: local or ``gs://``.
        :raises InputError: there is no such file, or it says something else.
        """
        content = files.read(path)
        if content is None:
            raise InputError(f"{path}: no such file")
        try:
            given = json.loads(content)
            unknown = given.keys() - {"label", "positive", "task", "columns", "crosses"}
            if unknown:
                raise ValueError(f"unknown {', '.join(sorted(unknown))}")
            columns = {
                name: {"kind": value} if isinstance(value, str) else dict(value)
                for name, value in (given.get("columns") or {}).items()
            }
            for name, column in columns.items():
                if column.get("kind") not in ("number", "category", "ignore", None):
                    raise ValueError(f"column {name}: kind {column['kind']!r}")
                if not 1 <= int(column.get("hash_buckets", 1)) <= 1 << 24:
                    raise ValueError(f"column {name}: hash_buckets {column['hash_buckets']}")
            crosses = given.get("crosses")
            return cls(
                given.get("label"),
                given.get("positive"),
                given.get("task"),
                {name: column["kind"] for name, column in columns.items() if column.get("kind")},
                {n: int(column["hash_buckets"]) for n, column in columns.items() if "hash_buckets" in column},
                None if crosses is None else tuple(tuple(map(str, cross)) for cross in crosses),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: is not a schema file: {error} (see docs/wide-deep.md)") from error


def is_identifier(name: str) -> bool:
    """Tell whether a column's name says that its numbers are names: ``userId``, ``item_id``, ``zip_code``."""
    return bool(_IDENTIFIER.search(name))


def find_label(names: list[str], wanted: str | None) -> str:
    """Return the column to predict.

    :raises InputError: it is not there, or nobody said which it is.
    """
    if wanted:
        if wanted not in names:
            raise InputError(f"--label {wanted}: there is no such column; the files have {', '.join(names)}")
        return wanted
    found = [name for name in names if name.lower() in _LABELS]
    if len(found) != 1:
        raise InputError(f"which column is to be predicted? give --label, one of {', '.join(names)}")
    return found[0]


def infer(table: pa.Table, wishes: Wishes, label: str) -> Schema:
    """Return the schema of a table as it was read.

    :param table: numbers as float64, texts as dictionaries, without rows that lack the label.
    :param wishes: what a person says.
    :param label: the column to predict.
    :raises InputError: the label has one value only, or the wishes do not fit the table.
    """
    schema = _label(table.column(label), label, wishes)
    kinds = wishes.kinds or {}
    buckets = wishes.hash_buckets or {}
    known = set(table.column_names)
    wanted = [name for name, kind in kinds.items() if kind != "ignore"]
    for name in (*wanted, *buckets, *(name for cross in wishes.crosses or () for name in cross)):
        if name not in known:
            raise InputError(f"the schema names column {name}, which the files lack")
    columns = []
    for name in table.column_names:
        if name == label or kinds.get(name) == "ignore":
            continue
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            vocabulary = _vocabulary(column)
            columns.append(Column(name, "category", vocabulary, buckets.get(name, _BUCKETS)))
        else:
            columns.append(Column(name, "number", quantiles=_quantiles(column)))
    if not columns:
        raise InputError(f"there is no column beside the label {label}")
    schema = replace(schema, columns=tuple(columns))
    crosses = wishes.crosses if wishes.crosses is not None else _crosses(table, schema)
    features = {column.name for column in columns}
    for cross in crosses:
        if len(set(cross)) < 2 or not set(cross) <= features:
            raise InputError(f"cross {' x '.join(cross)}: expected two or more different feature columns")
    return replace(schema, crosses=tuple(crosses))


def targets(column: pa.ChunkedArray, schema: Schema, where: str) -> np.ndarray:
    """Return the label as float32: 0 and 1, or the number.

    :param column: of texts or numbers.
    :param schema: of the training data.
    :param where: the rows are from, for messages.
    :raises InputError: it has other classes than the training data.
    """
    if schema.task == "regression":
        return np.asarray(column.combine_chunks(), np.float64).astype(np.float32)
    texts = _texts(column)
    values = texts.dictionary.to_pylist()
    place = np.array([_class(value, schema.classes) for value in values], np.int64)
    present = np.unique(np.asarray(texts.indices))
    strange = [values[at] for at in present if place[at] < 0]
    if strange:
        raise InputError(
            f"{where}: label {schema.label}: {strange[0]!r} is neither {schema.classes[0]!r} nor "
            f"{schema.classes[1]!r}, as the model knows it"
        )
    return place[np.asarray(texts.indices)].astype(np.float32)


def _class(text: str, classes: tuple[str, ...]) -> int:
    # The census' test file, as it is published, ends its labels with a full stop.
    for spelled in (text, text.rstrip(".")):
        if spelled in classes:
            return classes.index(spelled)
    try:
        return [float(name) for name in classes].index(float(text))
    except ValueError:
        return -1


def _label(column: pa.ChunkedArray, label: str, wishes: Wishes) -> Schema:
    is_text = pa.types.is_dictionary(column.type)
    texts = _texts(column)
    counts = np.bincount(np.asarray(texts.indices), minlength=len(texts.dictionary))
    values = [text for text, count in zip(texts.dictionary.to_pylist(), counts, strict=True) if count]
    if len(values) < 2:
        raise InputError(
            f"label {label}: all {len(column)} rows are {values[0]!r}; a model needs both classes"
            if values
            else f"label {label}: there are no rows"
        )
    binary = wishes.task == "binary" or (wishes.task is None and (is_text or len(values) == 2))
    if not binary:
        if is_text:
            raise InputError(f"label {label}: {values[0]!r} is not a number")
        numbers = np.asarray(column.combine_chunks(), np.float64)
        with np.errstate(over="ignore"):
            mean, deviation = float(numbers.mean()), float(numbers.std())
        if not np.isfinite([mean, deviation]).all() or abs(numbers).max() > np.finfo(np.float32).max:
            largest = int(np.argmax(abs(numbers)))
            raise InputError(f"label {label}: {numbers[largest]:g} (row {largest + 1}) is too large to learn")
        return Schema(label, "regression", (), (), mean=mean, deviation=deviation or 1.0)
    if len(values) > 2:
        shown = ", ".join(map(repr, sorted(values)[:5]))
        raise InputError(f"label {label}: {len(values)} different texts ({shown} …), expected two or numbers")
    ordered = sorted(values) if is_text else sorted(values, key=float)
    if wishes.positive is not None:
        if wishes.positive not in ordered:
            raise InputError(f"--positive-label {wishes.positive}: the labels are {' and '.join(ordered)}")
        ordered.sort(key=lambda text: text == wishes.positive)
    mean = float(counts[texts.dictionary.to_pylist().index(ordered[1])] / len(column))
    return Schema(label, "binary", tuple(ordered), (), mean=mean)


def _texts(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a label as a dictionary; a number as its shortest text, so that 1 and 1.0 are the same."""
    if not pa.types.is_dictionary(column.type):
        column = pc.cast(pc.cast(column, pa.float64()), pa.string()).dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    return array if isinstance(array, pa.DictionaryArray) else array.chunk(0)


def _vocabulary(column: pa.ChunkedArray) -> tuple[str, ...]:
    counted = pc.value_counts(pc.cast(column, pa.string()).drop_null())
    order = sorted(counted.to_pylist(), key=lambda entry: (-entry["counts"], entry["values"]))
    return tuple(entry["values"] for entry in order[:LARGEST_VOCABULARY])


def _quantiles(column: pa.ChunkedArray) -> tuple[float, ...]:
    values = np.asarray(column.drop_null().combine_chunks(), np.float64)
    largest = np.finfo(np.float32).max
    values = np.clip(values[~np.isnan(values)], -largest, largest).astype(np.float32)
    if not len(values):
        return (0.0, 1.0)
    shares = np.linspace(0, 1, _QUANTILES + 1)
    # Of the rows and of the different values: where most rows are 0, the others matter.
    cuts = [np.quantile(part, shares, method="nearest") for part in (values, np.unique(values))]
    found = np.unique(np.concatenate(cuts))
    return tuple(map(float, found)) if len(found) > 1 else (float(found[0]), float(found[0]) + 1.0)


def _crosses(table: pa.Table, schema: Schema) -> tuple[tuple[str, ...], ...]:
    """Return the pairs of categories that say most about the label, by mutual information."""
    names = [c.name for c in schema.columns if c.kind == "category" and 2 < len(c.vocabulary) <= 1000]
    step = max(1, table.num_rows // _SAMPLE)
    taken = table.select([*names, schema.label]).take(np.arange(0, table.num_rows, step))
    target = targets(taken.column(schema.label), schema, "the training rows")
    above = (target > schema.mean).astype(np.int64)
    codes, sizes = {}, {}
    for name in names:
        array = taken.column(name).unify_dictionaries().combine_chunks()
        codes[name] = np.asarray(array.indices.fill_null(len(array.dictionary)), np.int64)
        sizes[name] = len(array.dictionary) + 1
    gains = {}
    for one, other in combinations(names, 2):
        size = sizes[one] * sizes[other]
        if size <= _CROSS_BUCKETS:
            gains[one, other] = _information(codes[one] * sizes[other] + codes[other], above, size)
    return tuple(sorted(gains, key=lambda pair: -gains[pair])[:_CROSSES])


def _information(code: np.ndarray, above: np.ndarray, size: int) -> float:
    joint = np.bincount(code * 2 + above, minlength=2 * size).reshape(size, 2) / len(code)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    held = joint > 0
    return float((joint[held] * np.log(joint[held] / independent[held])).sum())
