"""What names mean at a place in a query."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_ml_provider.emulator.bigquery.catalog import State, TableName
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value, named, quoted


@dataclass(frozen=True)
class Rows:
    """A query in DuckDB's SQL, whose columns are called c0, c1 and so on.

    :param columns: their names in BigQuery, "" for those without one, and their types.
    :param values: whether a row is its one column's value: ``SELECT AS STRUCT`` and ``AS VALUE``.
    """

    sql: str
    columns: tuple[tuple[str, Type], ...]
    values: bool = False


@dataclass
class Relation:
    """One item of a FROM clause.

    :param alias: its name, or "".
    :param columns: what ``*`` shows.
    :param hidden: columns that only their names reach, as ``_TABLE_SUFFIX``.
    :param row: what its name alone means; a STRUCT of its columns if None.
    """

    alias: str
    columns: list[Value]
    hidden: list[Value] = field(default_factory=list)
    row: Value | None = None

    def find(self, name: str) -> list[Value]:
        """Return its columns of a name."""
        return [c for c in (*self.columns, *self.hidden) if c.name.lower() == name.lower()]

    def whole(self) -> Value:
        """Return a row as a value."""
        return self.row if self.row is not None else struct(self.columns)


def struct(values: Sequence[Value]) -> Value:
    """Return a STRUCT of values, named as they are."""
    kind = Type("STRUCT", fields=tuple((value.name, value.type) for value in values))
    names = [name.lower() for name, _ in named(kind.fields)]
    if len(set(names)) != len(names):
        raise invalid("The emulator does not know STRUCT values with two fields of one name")
    pairs = (f"{quoted(n)} := {v.sql}" for (n, _), v in zip(named(kind.fields), values, strict=True))
    literal = bool(values) and all(value.literal for value in values)
    return Value(f"struct_pack({', '.join(pairs)})", kind, literal=literal)


@dataclass
class Context:
    """What a statement is translated with.

    :param project: of tables that are named without one.
    :param dataset: of tables that are named without one, or None.
    :param resolve: returns what a table holds, or held at a time.
    :param siblings: returns the tables of a dataset, given a project and its name.
    :param parameters: of the query, as in its configuration.
    :param variables: of the script, by their name in small letters.
    :param functions: temporary functions, by their name in small letters.
    :param constant_time: returns a TIMESTAMP expression's value, in seconds since the epoch.
    :param information: returns a view of a dataset's ``INFORMATION_SCHEMA``.
    :param temporary: the script's temporary tables, by their name in small letters.
    :param reads: the tables that were read so far.
    """

    project: str
    dataset: str | None
    resolve: Callable[[TableName, float | None], State]
    siblings: Callable[[str, str], list[str]]
    constant_time: Callable[[str], float]
    information: Callable[[str, str, str], tuple[list[tuple[str, Type]], list[tuple[Any, ...]]]]
    parameters: Sequence[Mapping[str, Any]] = ()
    variables: dict[str, Value] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)
    temporary: dict[str, TableName] = field(default_factory=dict)
    reads: list[TableName] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def fresh(self, prefix: str) -> str:
        """Return a name that no other part of the statement has."""
        return f"{prefix}{next(self._numbers)}"


@dataclass
class Scope:
    """The names that an expression may use.

    :param relations: of the FROM clause.
    :param merged: columns of ``JOIN … USING``, which stand for those of both sides.
    :param parent: of the query around a subquery.
    :param aliases: of the SELECT list, where they are visible.
    :param tables: common table expressions: their name in DuckDB, and their columns.
    :param windows: named windows.
    :param fallback: names that count only where the tables have none such.
    :param ambiguous: names that two different columns of the SELECT list have.
    """

    context: Context
    relations: list[Relation] = field(default_factory=list)
    merged: list[Value] = field(default_factory=list)
    parent: Scope | None = None
    aliases: dict[str, Value] = field(default_factory=dict)
    tables: dict[str, tuple[str, Rows]] = field(default_factory=dict)
    windows: dict[str, Node] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)
    fallback: dict[str, Value] = field(default_factory=dict)

    def inner(self) -> Scope:
        """Return an empty scope for a subquery."""
        return Scope(self.context, parent=self, tables=dict(self.tables))

    def resolve(self, path: Sequence[str]) -> tuple[Value, int]:
        """Return what the beginning of a dotted path means, and how many of its names that took.

        :raises ApiError: 400 ``invalidQuery``: nothing, or more than one thing.
        """
        scope: Scope | None = self
        while scope is not None:
            found = scope._here(path)
            if found is not None:
                return found
            scope = scope.parent
        variable = self.context.variables.get(path[0].lower())
        if variable is not None:
            return variable, 1
        raise invalid(f"Unrecognized name: {path[0]}{self._near(path[0])}")

    def _here(self, path: Sequence[str]) -> tuple[Value, int] | None:
        first = path[0].lower()
        if first in self.ambiguous and len(path) == 1:
            raise invalid(f"Column name {path[0]} is ambiguous")
        if first in self.aliases:
            return self.aliases[first], 1
        owners = [relation for relation in self.relations if relation.alias.lower() == first]
        if owners and len(path) > 1:
            columns = owners[0].find(path[1])
            if columns:
                return _only(columns, path[1]), 2
            if owners[0].row is not None:
                return owners[0].row, 1
        merged = [value for value in self.merged if value.name.lower() == first]
        if merged:
            return merged[0], 1
        columns = [column for relation in self.relations for column in relation.find(first)]
        if columns:
            return _only(columns, path[0]), 1
        if owners:
            if len(path) > 1:
                raise invalid(f"Name {path[1]} not found inside {path[0]}")
            return owners[0].whole(), 1
        return (self.fallback[first], 1) if first in self.fallback else None

    def _near(self, name: str) -> str:
        import difflib

        names = {c.name for relation in self.relations for c in relation.columns if c.name}
        close = difflib.get_close_matches(name, sorted(names), 1)
        return f"; Did you mean {close[0]}?" if close else ""


def _only(columns: Sequence[Value], name: str) -> Value:
    if len(columns) > 1:
        raise invalid(f"Column name {name} is ambiguous")
    return columns[0]
