"""GoogleSQL into DuckDB's SQL: what is known to mean the same is translated, anything else is refused.

https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
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
    "SafeDivide Div IntDiv Cast TryCast StddevSamp VarianceSamp Stddev Variance Corr LogicalAnd LogicalOr "
    "Reverse Greatest Least Trim Substring GroupConcat RegexpLike RegexpReplace RegexpExtract DateAdd "
    "DateSub DateDiff DateTrunc TimestampTrunc TimestampDiff Extract Date DateFromParts UnixSeconds Unnest "
    "ArrayAgg "
    "IgnoreNulls Array Struct PropertyEQ ArraySize Bracket Split AnyValue ApproxDistinct Rand Timestamp Dot "
    "RawString Rollup Cube GroupingSets Filter Lateral Values Insert Delete Update Pivot PivotAlias"
)
_ALLOWED = frozenset(f"{_STRUCTURE} {_OPERATORS} {_FUNCTIONS}".split())
_DATE_UNITS = {"DAY": "day", "WEEK": "week", "MONTH": "month", "QUARTER": "quarter", "YEAR": "year"}
_TRUNCATIONS = {"DAY": "day", "ISOWEEK": "week", "MONTH": "month", "QUARTER": "quarter", "YEAR": "year"}
_TIMES = {"HOUR": "hour", "MINUTE": "minute", "SECOND": "second"}
_PARTS = {part: part.lower() for part in ("YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND")}
_PARTS |= {"ISOWEEK": "week", "ISOYEAR": "isoyear", "DAYOFYEAR": "doy", "DAYOFWEEK": "dow"}
_DML = {"insert": "INSERT", "delete": "DELETE", "update": "UPDATE"}
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
    :param fields: the columns of a table that is made empty.
    :param view: the query of a view that is made.
    """

    kind: str
    sql: str
    target: TableName | None = None
    replace: bool = False
    lenient: bool = False
    reads: list[TableName] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)
    view: str | None = None


# Stands for the table that a DML statement changes.
TARGET = "dml_target"

Resolve = Callable[[TableName, float | None], State]


class Translator:
    """Translates for one project.

    :param project: of tables that are named without one.
    :param dataset: of tables that are named without one, or None.
    :param resolve: returns what a table holds, or held at a time.
    :param parameters: of the query, as in its configuration.
    """

    def __init__(
        self,
        project: str,
        dataset: str | None,
        resolve: Resolve,
        parameters: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._parameters = parameters
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
        if isinstance(tree, exp.Create) and tree.kind == "TABLE" and isinstance(tree.this, exp.Schema):
            return self._create(tree)
        if isinstance(tree, exp.Create) and tree.kind == "VIEW" and not tree.args.get("properties"):
            made = self._query(tree.expression.copy(), "CREATE_VIEW")
            made.target = self._name(tree.this)
            made.replace = bool(tree.args.get("replace"))
            made.lenient = bool(tree.args.get("exists"))
            made.view = tree.expression.sql("bigquery")
            return made
        if isinstance(tree, exp.Insert | exp.Delete | exp.Update):
            table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
            target = self._name(table)
            alias = table.args.get("alias")
            table.replace(exp.Table(this=exp.to_identifier(TARGET), alias=alias.copy() if alias else None))
            made = self._query(tree, _DML[tree.key])
            made.target = target
            return made
        if isinstance(tree, exp.Drop) and tree.args.get("kind") in ("TABLE", "VIEW"):
            (dropped,) = tree.args.get("tables") or [tree.this]
            kind = f"DROP_{tree.args['kind']}"
            return Statement(kind, "", self._name(dropped), lenient=bool(tree.args.get("exists")))
        raise unknown(f"statement {tree.key.upper()}")

    def _create(self, tree: Node) -> Statement:
        if tree.args.get("properties"):
            raise unknown("OPTIONS, PARTITION BY and CLUSTER BY in CREATE TABLE")
        fields = []
        for column in tree.this.expressions:
            constraints = column.args.get("constraints") or []
            required = [c for c in constraints if isinstance(c.kind, exp.NotNullColumnConstraint)]
            kind = column.args.get("kind")
            if kind is None or len(constraints) != len(required):
                raise unknown(column.sql("bigquery"))
            mode = "REQUIRED" if required else "NULLABLE"
            fields.append({"name": column.name, "type": kind.sql("bigquery"), "mode": mode})
        return Statement(
            "CREATE_TABLE",
            "",
            self._name(tree.this.this),
            replace=bool(tree.args.get("replace")),
            lenient=bool(tree.args.get("exists")),
            fields=fields,
        )

    def _query(self, tree: Node, kind: str) -> Statement:
        reads: list[TableName] = []
        for node in list(tree.walk()):
            if isinstance(node, exp.Anonymous):
                path = node.parent.sql("bigquery") if isinstance(node.parent, exp.Dot) else node.name
                raise invalid(f"Function not found: {path.partition('(')[0]}")
            if type(node).__name__ not in _ALLOWED:
                raise unknown(node.sql("bigquery")[:80] or type(node).__name__)
        _name_columns(tree)
        self._fill_in(tree)
        tree = _rewritten(tree)
        names = {cte.alias for cte in tree.find_all(exp.CTE)}
        for table in list(tree.find_all(exp.Table)):
            if (table.name in names or table.name == TARGET) and not table.db:
                continue
            name = self._name(table)
            reads.append(name)
            state = self._resolve(name, _system_time(table))
            if state.view is not None:
                table.replace(self._view(table, state.view))
                continue
            new = exp.to_table(quoted(state.physical), dialect="duckdb")
            alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
            new.set("alias", alias)
            table.replace(new)
        return Statement(kind, tree.sql("duckdb"), reads=reads)

    def _view(self, table: Node, query: str) -> Node:
        """Return a view's query in its place."""
        (tree,) = split(query)
        inner = Translator(self._project, None, self._resolve)._query(tree, "SELECT").sql
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
        return exp.Subquery(this=sqlglot.parse_one(inner, read="duckdb"), alias=alias.copy())

    def _fill_in(self, tree: Node) -> None:
        """Put the values of parameters in their places."""
        position = 0
        for node in list(tree.find_all(exp.Parameter, exp.Placeholder, bfs=False)):
            if isinstance(node, exp.Parameter):
                found = [p for p in self._parameters if p.get("name", "").lower() == node.name.lower()]
                if not found:
                    raise invalid(f"Query parameter '{node.name}' not found")
                given = found[0]
            else:
                if position >= len(self._parameters):
                    raise invalid(f"Query parameter number {position + 1} is missing")
                given = self._parameters[position]
                position += 1
            node.replace(_literal(given["parameterType"], given.get("parameterValue", {})))

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
CREATE OR REPLACE TEMP MACRO bq_int_divide(a, b) AS
  CASE WHEN b = 0 THEN error('division by zero: DIV') ELSE a // b END;
CREATE OR REPLACE TEMP MACRO bq_safe_int64(x) AS TRY_CAST(CASE
  WHEN typeof(x) IN ('DOUBLE', 'FLOAT') OR starts_with(typeof(x), 'DECIMAL')
    THEN CAST(TRY_CAST(round(TRY_CAST(x AS DOUBLE)) AS HUGEINT) AS VARCHAR)
  WHEN typeof(x) = 'BOOLEAN' THEN CASE WHEN CAST(x AS VARCHAR) = 'true' THEN '1' ELSE '0' END
  WHEN typeof(x) = 'VARCHAR' AND NOT regexp_full_match(CAST(x AS VARCHAR), '\\s*[+-]?\\d+\\s*') THEN NULL
  ELSE CAST(x AS VARCHAR) END AS BIGINT);
CREATE OR REPLACE TEMP MACRO bq_trim(x) AS regexp_replace(x, '^\\s+|\\s+$', '', 'g');
CREATE OR REPLACE TEMP MACRO bq_start(x, p) AS
  CASE WHEN p = 0 THEN 1 WHEN p < -length(x) THEN 1 ELSE p END;
CREATE OR REPLACE TEMP MACRO bq_date(x, what) AS CASE WHEN typeof(x) = 'DATE' THEN x
  ELSE error('The emulator knows ' || what || ' of DATE only, not of ' || typeof(x)) END;
CREATE OR REPLACE TEMP MACRO bq_instant(x, what) AS CASE WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE' THEN x
  ELSE error('The emulator knows ' || what || ' of TIMESTAMP only, not of ' || typeof(x)) END;
CREATE OR REPLACE TEMP MACRO bq_element(x, i, what) AS CASE WHEN i < 0 OR i >= len(x)
  THEN error('Array index ' || i || ' is out of bounds (' || what || ')') ELSE x[i + 1] END;
CREATE OR REPLACE TEMP MACRO bq_safe_element(x, i) AS CASE WHEN i < 0 THEN NULL ELSE x[i + 1] END;
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
    if isinstance(node, exp.IgnoreNulls | exp.ArrayAgg):
        # Where an element is taken of it, that is done together.
        parent = node.parent
        if isinstance(parent, exp.Bracket | exp.IgnoreNulls):
            return None
        return _aggregated(node)
    if isinstance(node, exp.Tuple) and isinstance(node.parent, exp.Array | exp.Struct):
        raise unknown(f"the tuple {node.sql('bigquery')} in an array: name its fields with STRUCT")
    if isinstance(node, exp.Struct) and not all(isinstance(e, exp.PropertyEQ) for e in node.expressions):
        raise unknown(f"{node.sql('bigquery')}: give its fields names")
    if isinstance(node, exp.RawString):
        return exp.Literal.string(node.this)
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
        if isinstance(node, exp.TryCast) and kind not in ("BIGINT", "INT", "TEXT"):
            if kind not in ("DOUBLE", "DATE", "TIMESTAMPTZ"):
                raise unknown(f"SAFE_CAST to {node.to.sql('bigquery')}")
            return None
        if isinstance(node, exp.TryCast) and kind != "TEXT":
            return _call("bq_safe_int64", node.this)
        if kind in ("BIGINT", "INT", "TEXT"):
            return _call("bq_to_string" if kind == "TEXT" else "bq_to_int64", node.this)
    return _rewritten_function(node)


def _rewritten_function(node: Node) -> Node | None:
    """Replace functions whose DuckDB namesakes mean something else."""
    if isinstance(node, exp.IntDiv):
        return _call("bq_int_divide", node.this, node.expression)
    if isinstance(node, exp.Trim):
        if node.args.get("expression") is not None or node.args.get("position"):
            raise unknown(node.sql("bigquery"))
        return _call("bq_trim", node.this)
    if isinstance(node, exp.Substring):
        start = _call("bq_start", node.this, node.args["start"])
        more = [node.args["length"]] if node.args.get("length") is not None else []
        return _call("substring", node.this, start, *more)
    if isinstance(node, exp.DateAdd | exp.DateSub):
        unit = _unit(node, _DATE_UNITS)
        step = exp.cast(_call(f"to_{unit}s", exp.cast(node.expression.copy(), "INTEGER")), "INTERVAL")
        day = _call("bq_date", node.this, exp.Literal.string("DATE_ADD and DATE_SUB"))
        kind = exp.Add if isinstance(node, exp.DateAdd) else exp.Sub
        return exp.cast(exp.Paren(this=kind(this=day, expression=step)), "DATE")
    if isinstance(node, exp.DateDiff):
        what = exp.Literal.string("DATE_DIFF")
        pair = [_call("bq_date", value, what) for value in (node.expression, node.this)]
        return _call("date_diff", exp.Literal.string(_unit(node, _TRUNCATIONS)), *pair)
    if isinstance(node, exp.TimestampDiff):
        what = exp.Literal.string("TIMESTAMP_DIFF")
        pair = [_call("bq_instant", value, what) for value in (node.expression, node.this)]
        return _call("date_sub", exp.Literal.string(_unit(node, {**_TIMES, "DAY": "day"})), *pair)
    if isinstance(node, exp.DateTrunc):
        day = _call("bq_date", node.this, exp.Literal.string("DATE_TRUNC"))
        return exp.cast(_call("date_trunc", exp.Literal.string(_unit(node, _TRUNCATIONS)), day), "DATE")
    if isinstance(node, exp.TimestampTrunc):
        moment = _call("bq_instant", node.this, exp.Literal.string("TIMESTAMP_TRUNC"))
        return _call("date_trunc", exp.Literal.string(_unit(node, {**_TIMES, **_TRUNCATIONS})), moment)
    if isinstance(node, exp.Extract):
        part = node.this.name.upper()
        if part == "DATE":
            return exp.cast(node.expression.copy(), "DATE")
        if part not in _PARTS:
            raise unknown(f"EXTRACT({part} FROM …)")
        found = _call("date_part", exp.Literal.string(_PARTS[part]), node.expression)
        number = exp.cast(found, "BIGINT")
        return exp.Paren(this=number + 1) if part == "DAYOFWEEK" else number
    if isinstance(node, exp.Date) and (node.expressions or node.args.get("zone")):
        raise unknown(node.sql("bigquery"))
    if isinstance(node, exp.UnixSeconds):
        return exp.cast(_call("floor", _call("epoch", node.this)), "BIGINT")
    if isinstance(node, exp.ApproxDistinct):
        return exp.Count(this=exp.Distinct(expressions=[node.this.copy()]))
    if isinstance(node, exp.RegexpReplace):
        flags = exp.Literal.string("g")
        return _call("regexp_replace", node.this, node.expression, node.args["replacement"], flags)
    if isinstance(node, exp.Bracket):
        return _element(node)
    if isinstance(node, exp.Unnest) and not isinstance(node.parent, exp.In):
        return _unnested(node)
    return None


def _unit(node: Node, known: Mapping[str, str]) -> str:
    name = node.args["unit"].name.upper()
    if name not in known:
        raise unknown(f"{name} in {node.sql('bigquery')}")
    return known[name]


def _element(node: Node) -> Node:
    offset, safe = node.args.get("offset"), node.args.get("safe")
    if len(node.expressions) != 1 or offset is None:
        raise unknown(node.sql("bigquery"))
    index = node.expressions[0].copy()
    index = exp.Paren(this=index - offset) if offset else index
    inner = node.this
    if isinstance(inner, exp.IgnoreNulls | exp.ArrayAgg):
        inner = _aggregated(inner)
    if safe:
        return _call("bq_safe_element", inner, index)
    return _call("bq_element", inner, index, exp.Literal.string(node.sql("bigquery")[:60]))


def _aggregated(node: Node) -> Node:
    """Return ``ARRAY_AGG`` without what DuckDB does not know inside it: IGNORE NULLS, and LIMIT."""
    ignore = isinstance(node, exp.IgnoreNulls)
    aggregate = node.this if ignore else node
    if not isinstance(aggregate, exp.ArrayAgg):
        raise unknown(node.sql("bigquery"))
    inner, limit = aggregate.this, None
    if isinstance(inner, exp.Limit):
        limit, inner = inner.expression.copy(), inner.this
    value = inner.this if isinstance(inner, exp.Order) else inner
    made: Node = exp.ArrayAgg(this=inner.copy())
    if ignore:
        present = exp.Is(this=value.copy(), expression=exp.Null())
        made = exp.Filter(this=made, expression=exp.Where(this=exp.Not(this=present)))
    return _call("list_slice", made, exp.Literal.number(1), limit) if limit is not None else made


def _unnested(node: Node) -> Node:
    """Return ``UNNEST`` as a subquery: of structs with their fields as columns, of others with one column."""
    (array,) = node.expressions
    alias = node.args.get("alias")
    name = alias.name if alias is not None and alias.name else ""
    if not name and alias is not None and alias.columns:
        name = alias.columns[0].name
    root = node.root()
    fields = name and any(c.table == name for c in root.find_all(exp.Column))
    spread = not name or fields
    array_sql = array.sql("duckdb")
    depth = ", max_depth := 2" if spread else ""
    columns = f"unnest({array_sql}{depth})" + ("" if spread else f" AS {quoted(name)}")
    offset = node.args.get("offset")
    if offset:
        label = getattr(offset, "name", "") or "offset"
        columns += f", generate_subscripts({array_sql}, 1) - 1 AS {quoted(label)}"
    inner = sqlglot.parse_one(f"SELECT {columns}", read="duckdb")
    return exp.Subquery(
        this=inner, alias=exp.TableAlias(this=exp.to_identifier(name or "_unnested", quoted=True))
    )


_PARAMETERS = {
    **dict.fromkeys(("INT64", "INTEGER"), "BIGINT"),
    **dict.fromkeys(("FLOAT64", "FLOAT"), "DOUBLE"),
    **dict.fromkeys(("BOOL", "BOOLEAN"), "BOOLEAN"),
    "STRING": "TEXT",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP",
}


def _literal(kind: Mapping[str, Any], value: Mapping[str, Any]) -> Node:
    """Return a query parameter's value."""
    name = kind["type"].upper()
    if name == "ARRAY":
        items = value.get("arrayValues", [])
        return exp.Array(expressions=[_literal(kind["arrayType"], item) for item in items])
    text = value.get("value")
    target = _PARAMETERS.get(name)
    if target is None:
        raise unknown(f"query parameters of type {name}")
    literal = exp.Null() if text is None else exp.Literal.string(str(text))
    if name in ("INT64", "INTEGER") and text is not None:
        return exp.Paren(this=exp.Literal.number(int(text)))
    return exp.cast(literal, target)


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
