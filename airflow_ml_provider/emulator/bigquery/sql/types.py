"""GoogleSQL's types, the values of expressions, and which type becomes which without being asked.

https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_rules
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from airflow_ml_provider.emulator.bigquery.sql import constants
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown

_DUCKDB = {
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "NUMERIC": "DECIMAL(38,9)",
    "BOOL": "BOOLEAN",
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "DATE": "DATE",
    "DATETIME": "TIMESTAMP",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMPTZ",
    "JSON": "VARCHAR",
    # The type of a bare NULL, until something says which it is to have.
    "NULL": "BIGINT",
}
_ALIASES = {
    **dict.fromkeys(("INT", "SMALLINT", "INTEGER", "BIGINT", "TINYINT", "BYTEINT"), "INT64"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "FLOAT64"),
    **dict.fromkeys(("BOOLEAN",), "BOOL"),
    **dict.fromkeys(("DECIMAL",), "NUMERIC"),
    **dict.fromkeys(("VARCHAR", "TEXT"), "STRING"),
    **dict.fromkeys(("BINARY", "VARBINARY"), "BYTES"),
    "TIMESTAMPTZ": "TIMESTAMP",
}
_WIDER = {"INT64": ("NUMERIC", "FLOAT64"), "NUMERIC": ("FLOAT64",), "DATE": ("DATETIME",)}
_LITERAL = {"STRING": ("DATE", "DATETIME", "TIME", "TIMESTAMP"), "FLOAT64": ("NUMERIC",)}
_NUMBERS = ("INT64", "NUMERIC", "FLOAT64")


@dataclass(frozen=True)
class Type:
    """A type.

    :param kind: its name, as ``INT64``; ``NULL`` for a NULL of no type yet.
    :param element: of an ``ARRAY``.
    :param fields: of a ``STRUCT``: name and type; the name is "" for a field without one.
    """

    kind: str
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()

    def __str__(self) -> str:
        if self.element is not None:
            return f"ARRAY<{self.element}>"
        if self.kind == "STRUCT":
            return f"STRUCT<{', '.join(f'{name} {kind}'.strip() for name, kind in self.fields)}>"
        return "INT64" if self.kind == "NULL" else self.kind

    @property
    def duckdb(self) -> str:
        """DuckDB's type."""
        if self.element is not None:
            return f"{self.element.duckdb}[]"
        if self.kind == "STRUCT":
            inner = ", ".join(f"{quoted(name)} {kind.duckdb}" for name, kind in named(self.fields))
            return f"STRUCT({inner})"
        return _DUCKDB[self.kind]

    @property
    def items(self) -> Type:
        """The element of an array type."""
        assert self.element is not None
        return self.element

    @property
    def settled(self) -> Type:
        """The type with every NULL in it an INT64, as BigQuery names it."""
        if self.kind == "NULL":
            return INT64
        if self.element is not None:
            return Type("ARRAY", self.element.settled)
        return replace(self, fields=tuple((name, kind.settled) for name, kind in self.fields))

    @property
    def groupable(self) -> bool:
        """Whether ``GROUP BY`` and ``DISTINCT`` take it."""
        return self.kind != "JSON"

    @property
    def orderable(self) -> bool:
        """Whether ``ORDER BY``, ``MIN`` and ``MAX`` take it."""
        return self.kind not in ("ARRAY", "STRUCT", "JSON")


INT64, FLOAT64, NUMERIC, BOOL = Type("INT64"), Type("FLOAT64"), Type("NUMERIC"), Type("BOOL")
STRING, BYTES, JSON = Type("STRING"), Type("BYTES"), Type("JSON")
DATE, DATETIME, TIME, TIMESTAMP = Type("DATE"), Type("DATETIME"), Type("TIME"), Type("TIMESTAMP")
NULL = Type("NULL")


@dataclass(frozen=True)
class Value:
    """An expression in DuckDB's SQL, with the type that BigQuery gives it.

    :param sql: one operand: safe to put between operators.
    :param literal: whether it is a literal or a parameter, which takes more types than other expressions.
    :param constant: what a literal holds, in Python.
    :param name: that it has as a column when no alias gives one.
    """

    sql: str
    type: Type
    literal: bool = False
    constant: object = None
    name: str = ""

    @property
    def null(self) -> bool:
        """Whether it is a bare NULL."""
        return self.type == NULL


def type_named(name: str) -> Type:
    """Return a scalar type by its name in SQL.

    :raises ApiError: the emulator does not know it, or there is no such type.
    """
    upper = name.upper()
    kind = _ALIASES.get(upper, upper)
    if kind in _DUCKDB and kind != "NULL":
        return Type(kind)
    if kind in ("BIGNUMERIC", "BIGDECIMAL", "INTERVAL", "GEOGRAPHY", "RANGE"):
        raise unknown(f"type {kind}")
    raise invalid(f"Type not found: {name}")


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a string literal of DuckDB's."""
    if "\0" in value:
        parts = value.split("\0")
        return "(" + " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in parts) + ")"
    return "'" + value.replace("'", "''") + "'"


def named(fields: Iterable[tuple[str, Type]]) -> list[tuple[str, Type]]:
    """Return a struct's fields with the names that BigQuery shows for those without one."""
    return [(name or f"_field_{position}", kind) for position, (name, kind) in enumerate(fields, 1)]


def coerced(value: Value, target: Type) -> Value | None:
    """Return a value as one of another type, if BigQuery does that without a CAST."""
    here = value.type
    if here == target:
        return value
    if value.null:
        return replace(value, sql=f"CAST({value.sql} AS {target.duckdb})", type=target)
    if here.element is not None and target.element is not None:
        probe = Value("", here.element, literal=value.literal)
        if here.element == NULL or (value.literal and coerced(probe, target.element) is not None):
            return replace(value, sql=f"CAST({value.sql} AS {target.duckdb})", type=target)
        return None
    if here.kind == "STRUCT" and target.kind == "STRUCT":
        return _coerced_struct(value, target)
    if value.literal and target.kind in _LITERAL.get(here.kind, ()):
        if isinstance(value.constant, str) and here == STRING:
            return constants_of(value.constant, target)
        if value.constant is not None or here == FLOAT64:
            return replace(value, sql=f"CAST({value.sql} AS {target.duckdb})", type=target)
        return None
    if target.kind in _WIDER.get(here.kind, ()):
        return replace(value, sql=f"CAST({value.sql} AS {target.duckdb})", type=target)
    return None


def constants_of(written: str, target: Type) -> Value:
    """Return a literal of a type that is written as text, as ``DATE '2026-01-31'``.

    :raises ApiError: 400 ``invalidQuery``: the text is none of its values.
    """
    try:
        if target == NUMERIC:
            number = constants.numeric(written)
            return Value(f"CAST('{number:f}' AS DECIMAL(38,9))", NUMERIC, literal=True, constant=number)
        shown = constants.moment(written, target.kind)
    except ValueError as error:
        raise invalid(str(error)) from None
    return Value(f"CAST('{shown}' AS {target.duckdb})", target, literal=True, constant=written)


def _coerced_struct(value: Value, target: Type) -> Value | None:
    if len(value.type.fields) != len(target.fields):
        return None
    pairs = []
    for (name, kind), (new, wanted) in zip(named(value.type.fields), named(target.fields), strict=True):
        field = coerced(Value(f"({value.sql}).{quoted(name)}", kind, literal=value.literal), wanted)
        if field is None:
            return None
        pairs.append(f"{quoted(new)} := {field.sql}")
    packed = f"struct_pack({', '.join(pairs)})"
    return replace(value, sql=f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {packed} END", type=target)


def supertype(values: Sequence[Value]) -> Type | None:
    """Return the type that several values share in ``CASE``, ``UNION``, ``COALESCE`` and the like.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_rules#supertypes
    """
    typed = [value for value in values if not value.null]
    if not typed:
        return NULL
    firm = [value for value in typed if not value.literal]
    for group in (firm, typed):
        for candidate in _candidates(group):
            if all(coerced(value, candidate) is not None for value in typed):
                return candidate
    return None


def _candidates(values: Sequence[Value]) -> list[Type]:
    """Return the types that could be it, the narrowest number first."""
    kinds = list(dict.fromkeys(value.type for value in values))
    numbers = [Type(kind) for kind in _NUMBERS if Type(kind) in kinds]
    others = [kind for kind in kinds if kind not in numbers and not _untyped(kind)]
    others.sort(key=lambda kind: kind == DATETIME)
    return [*numbers, *others, *(kind for kind in kinds if _untyped(kind))]


def _untyped(kind: Type) -> bool:
    return kind.element == NULL


def unified(values: Sequence[Value], what: str) -> tuple[list[Value], Type]:
    """Return values as ones of their common type.

    :param what: that needs it, for the error.
    :raises ApiError: 400 ``invalidQuery``: there is none.
    """
    target = supertype(values)
    if target is None:
        kinds = ", ".join(dict.fromkeys(str(value.type) for value in values))
        raise invalid(f"No matching signature for {what} for argument types: {kinds}")
    made = [coerced(value, target) for value in values]
    return [value for value in made if value is not None], target
