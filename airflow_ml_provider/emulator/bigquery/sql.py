"""GoogleSQL into DuckDB's SQL: what is known to mean the same is translated, anything else is refused.

https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import sqlglot
from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.catalog import State, TableName
from airflow_ml_provider.emulator.bigquery.types import quoted
from airflow_ml_provider.emulator.errors import ApiError

# A node of sqlglot's trees, whose class has changed its name between versions.
Node = Any

# Node kinds whose meaning is the same in both, or made the same below. By the names of sqlglot's classes.
_STRUCTURE = (
    "Select From Where Group Having Order Ordered Limit Offset Join Subquery Union Intersect Except CTE With "
    "TableAlias Table Identifier Alias Column Star Literal Null Boolean Paren Distinct Var Tuple Qualify "
    "Window WindowSpec Placeholder Parameter Hint Interval DataType Create Drop Schema Version Where "
    "ColumnDef Properties Property ColumnConstraint"
)
_OPERATORS = "And Or Not EQ NEQ GT GTE LT LTE Add Sub Mul Neg Is In Between Like Case If Exists BitwiseAnd"
_FUNCTIONS = (
    "Abs Mod Concat Coalesce Count CountIf Sum Avg Min Max Round Floor Ceil Sqrt Exp Ln Lower "
    "Upper Length Replace StartsWith EndsWith FarmFingerprint TimestampSub TimestampAdd "
    "CurrentTimestamp CurrentDate RowNumber Rank DenseRank Lag Lead FirstValue LastValue Nullif Sign Pow "
    "SafeDivide Div Cast TryCast StddevSamp VarianceSamp Stddev Variance Corr LogicalAnd LogicalOr Reverse"
)
_ALLOWED = frozenset(f"{_STRUCTURE} {_OPERATORS} {_FUNCTIONS}".split())
_CASTS = {"TEXT", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMPTZ", "TIMESTAMP", "DECIMAL", "INT"}


@dataclass
class Statement:
    """One statement, ready to run.

    :param kind: BigQuery's ``statementType``.
    :param sql: a DuckDB query, or "" for a DROP.
    :param target: the table that a DDL statement makes or drops.
    :param replace: ``OR REPLACE``.
    :param lenient: ``IF [NOT] EXISTS``.
    :param reads: the tables that it reads.
    """

    kind: str
    sql: str
    target: TableName | None = None
    replace: bool = False
    lenient: bool = False
    reads: list[TableName] = field(default_factory=list)


Resolve = Callable[[TableName, float | None], State]


class Translator:
    """Translates for one project.

    :param project: of tables that are named without one.
    :param dataset: of tables that are named without one, or None.
    :param resolve: returns what a table holds, or held at a time.
    """

    def __init__(self, project: str, dataset: str | None, resolve: Resolve) -> None:
        self._project = project
        self._dataset = dataset
        self._resolve = resolve

    def statement(self, text: str, position: int) -> Statement:
        """Translate one statement of a script.

        :raises ApiError: 400 ``invalidQuery``: a construct that is not known.
        """
        return self._statement(split(text)[position])

    def _statement(self, tree: Node) -> Statement:
        if isinstance(tree, exp.Query):
            return self._query(tree, "SELECT")
        if isinstance(tree, exp.Create) and tree.kind == "TABLE" and tree.expression is not None:
            target = self._name(tree.this)
            made = self._query(tree.expression, "CREATE_TABLE_AS_SELECT")
            made.target = target
            made.replace = bool(tree.args.get("replace"))
            made.lenient = bool(tree.args.get("exists"))
            if tree.args.get("properties"):
                raise unknown("OPTIONS, PARTITION BY and CLUSTER BY in CREATE TABLE")
            return made
        if isinstance(tree, exp.Drop) and tree.args.get("kind") == "TABLE":
            (dropped,) = tree.args.get("tables") or [tree.this]
            return Statement("DROP_TABLE", "", self._name(dropped), lenient=bool(tree.args.get("exists")))
        raise unknown(f"statement {tree.key.upper()}")

    def _query(self, tree: Node, kind: str) -> Statement:
        reads: list[TableName] = []
        for node in list(tree.walk()):
            if isinstance(node, exp.Anonymous):
                raise invalid(f"Function not found: {node.name}")
            if type(node).__name__ not in _ALLOWED:
                raise unknown(node.sql("bigquery")[:80] or type(node).__name__)
        _name_columns(tree)
        tree = _rewritten(tree)
        names = {cte.alias for cte in tree.find_all(exp.CTE)}
        for table in list(tree.find_all(exp.Table)):
            if table.name in names and not table.db:
                continue
            name = self._name(table)
            reads.append(name)
            state = self._resolve(name, _system_time(table))
            new = exp.to_table(quoted(state.physical), dialect="duckdb")
            alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
            new.set("alias", alias)
            table.replace(new)
        return Statement(kind, tree.sql("duckdb"), reads=reads)

    def _name(self, table: Node) -> TableName:
        parts = [part.name for part in table.parts] if isinstance(table, exp.Table) else []
        parts = ".".join(parts).split(".")
        if len(parts) == 1 and self._dataset and parts[0]:
            parts = [self._dataset, *parts]
        if len(parts) == 2:
            parts = [self._project, *parts]
        if len(parts) != 3 or "*" in parts[2] or "INFORMATION_SCHEMA" in parts:
            if len(parts) == 1:
                raise invalid(f'Table "{parts[0]}" must be qualified with a dataset (e.g. dataset.table).')
            raise unknown(f"table {'.'.join(parts)}")
        return TableName(*parts)


def split(text: str) -> list[Node]:
    """Return the statements of a script.

    :raises ApiError: 400 ``invalidQuery``: a syntax error.
    """
    try:
        trees = [tree for tree in sqlglot.parse(text, read="bigquery") if tree is not None]
    except sqlglot.errors.ParseError as error:
        first = error.errors[0] if error.errors else {}
        where = f" at [{first.get('line', 1)}:{first.get('col', 1)}]"
        raise invalid(f"Syntax error: {first.get('description', error)}{where}") from None
    except sqlglot.errors.TokenError as error:
        raise invalid(f"Syntax error: {error}") from None
    if not trees:
        raise invalid("Syntax error: Unexpected end of statement")
    return trees


def invalid(message: str) -> ApiError:
    """Return BigQuery's error for a query that it refuses."""
    return ApiError(400, message, reason="invalidQuery", location="query", location_type="other")


def unknown(construct: str) -> ApiError:
    """Return the error for what the emulator does not translate."""
    return invalid(f"The emulator does not know this construct: {construct}")


# What DuckDB has to be told, because its own functions mean something else.
MACROS = """
CREATE OR REPLACE TEMP MACRO bq_divide(a, b) AS
  CASE WHEN b = 0 THEN error('division by zero') ELSE CAST(a AS DOUBLE) / CAST(b AS DOUBLE) END;
CREATE OR REPLACE TEMP MACRO bq_safe_divide(a, b) AS
  CASE WHEN b = 0 THEN NULL ELSE CAST(a AS DOUBLE) / CAST(b AS DOUBLE) END;
CREATE OR REPLACE TEMP MACRO bq_mod(a, b) AS
  CASE WHEN b = 0 THEN error('division by zero: MOD') ELSE a % b END;
CREATE OR REPLACE TEMP MACRO bq_to_int64(x) AS CAST(CASE
  WHEN typeof(x) IN ('DOUBLE', 'FLOAT') OR starts_with(typeof(x), 'DECIMAL')
    THEN CAST(CAST(round(TRY_CAST(x AS DOUBLE)) AS HUGEINT) AS VARCHAR)
  WHEN typeof(x) = 'BOOLEAN' THEN CASE WHEN CAST(x AS VARCHAR) = 'true' THEN '1' ELSE '0' END
  WHEN typeof(x) = 'VARCHAR' AND NOT regexp_full_match(CAST(x AS VARCHAR), '\\s*[+-]?\\d+\\s*')
    THEN error('Bad int64 value: ' || CAST(x AS VARCHAR))
  ELSE CAST(x AS VARCHAR) END AS BIGINT);
CREATE OR REPLACE TEMP MACRO bq_to_string(x) AS CASE
  WHEN typeof(x) IN ('DOUBLE', 'FLOAT') AND regexp_full_match(CAST(x AS VARCHAR), '-?\\d+\\.0')
    THEN regexp_replace(CAST(x AS VARCHAR), '\\.0$', '')
  ELSE CAST(x AS VARCHAR) END;
"""


def _name_columns(tree: Node) -> None:
    """Give columns without a name the names f0_, f1_ and so on, as BigQuery does."""
    outermost = tree
    while isinstance(outermost, exp.SetOperation | exp.Subquery):
        outermost = outermost.this
    if not isinstance(outermost, exp.Select):
        return
    count = 0
    for column in list(outermost.expressions):
        if not isinstance(column, exp.Alias | exp.Column | exp.Star):
            column.replace(exp.alias_(column.copy(), f"f{count}_"))
            count += 1


def _rewritten(tree: Node) -> Node:
    """Return a tree in which nodes of other meaning are calls of our macros, the innermost first."""
    holder = exp.Paren(this=tree)
    for node in reversed(list(tree.walk())):
        new = _replacement(node)
        if new is not None:
            node.replace(new)
    return holder.this


def _replacement(node: Node) -> Node | None:
    if isinstance(node, exp.Literal) and not node.is_string and not node.this.isdecimal():
        # A number with a point or an exponent is a FLOAT64; DuckDB takes it for a decimal.
        return exp.cast(node.copy(), "DOUBLE")
    if isinstance(node, exp.FarmFingerprint):
        return _call("farm_fingerprint", *(node.expressions or [node.this]))
    if isinstance(node, exp.SafeDivide):
        return _call("bq_safe_divide", node.this, node.expression)
    if isinstance(node, exp.Div):
        return _call("bq_divide", node.this, node.expression)
    if isinstance(node, exp.Mod):
        return _call("bq_mod", node.this, node.expression)
    if isinstance(node, exp.Cast):
        kind = node.to.this.value if hasattr(node.to.this, "value") else str(node.to.this)
        if kind not in _CASTS:
            raise unknown(f"CAST to {node.to.sql('bigquery')}")
        if kind in ("BIGINT", "INT", "TEXT"):
            if isinstance(node, exp.TryCast):
                raise unknown("SAFE_CAST to INT64 or STRING")
            return _call("bq_to_string" if kind == "TEXT" else "bq_to_int64", node.this)
    return None


def _call(name: str, *arguments: Node) -> Node:
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _system_time(table: exp.Table) -> float | None:
    version = table.args.get("version")
    if version is None:
        return None
    at = version.expression
    while isinstance(at, exp.Cast):
        at = at.this
    if not (isinstance(at, exp.Literal) and at.is_string):
        raise unknown(f"FOR SYSTEM_TIME AS OF {version.expression.sql('bigquery')}")
    text = re.sub(r"(?i)\s*(utc|z)$", "+00:00", at.this.strip())
    text = re.sub(r"([+-]\d\d)$", r"\1:00", text)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Invalid timestamp: {at.this!r}") from None
    if moment.tzinfo is None:
        # A bare string in this clause is Californian time.
        moment = moment.replace(tzinfo=ZoneInfo("America/Los_Angeles"))
    return moment.timestamp()
