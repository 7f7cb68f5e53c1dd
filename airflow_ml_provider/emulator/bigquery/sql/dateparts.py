"""Functions on dates and times that take a part: ``DATE_TRUNC``, ``EXTRACT`` and the like.

https://cloud.google.com/bigquery/docs/reference/standard-sql/date_functions
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlglot import exp

from airflow_ml_provider.emulator.bigquery.sql import expressions, types
from airflow_ml_provider.emulator.bigquery.sql.errors import invalid, unknown
from airflow_ml_provider.emulator.bigquery.sql.parser import Node
from airflow_ml_provider.emulator.bigquery.sql.scope import Scope
from airflow_ml_provider.emulator.bigquery.sql.types import (
    DATE,
    DATETIME,
    INT64,
    STRING,
    TIME,
    TIMESTAMP,
    Type,
    Value,
)

_WEEKDAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
_MICROS = {
    "MICROSECOND": 1,
    "MILLISECOND": 1000,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000,
}
_CLOCK = tuple(_MICROS)[:-1]
_CALENDAR = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


class Part(NamedTuple):
    """A part of a date or a time; ``first`` is the day with which a WEEK begins, 0 for Sunday."""

    name: str
    first: int = 0


def part_of(node: Node) -> Part:
    """Read a part.

    :raises ApiError: 400 ``invalidQuery``: there is no such part.
    """
    if isinstance(node, exp.Anonymous) and node.name.upper() == "WEEK" and len(node.expressions) == 1:
        day = node.expressions[0].name.upper()
        if day not in _WEEKDAYS:
            raise invalid(f"Invalid weekday {day} in WEEK({day})")
        return Part("WEEK", _WEEKDAYS.index(day))
    if isinstance(node, exp.WeekStart):
        return Part("WEEK", _WEEKDAYS.index(node.name.upper()))
    name = node.name.upper()
    if name == "ISOWEEK":
        return Part("WEEK", 1)
    return Part(name)


def call(name: str, nodes: list[Node], scope: Scope) -> Value:
    """Translate ``DATE_ADD``, ``TIMESTAMP_TRUNC``, ``DATETIME_DIFF``, ``LAST_DAY`` and so on.

    :raises ApiError: 400 ``invalidQuery``: the type does not have the part.
    """
    family, _, verb = name.rpartition("_")
    if name == "LAST_DAY":
        return _last_day(nodes, scope)
    value = _moment(nodes[0], scope, family) if nodes else None
    if value is None:
        raise invalid(f"No matching signature for function {name}")
    if verb in ("ADD", "SUB") and len(nodes) == 2 and isinstance(nodes[1], exp.Interval):
        return moved(value, nodes[1], scope, minus=verb == "SUB", what=name)
    if verb == "TRUNC" and len(nodes) in (2, 3):
        return _truncated(value, part_of(nodes[1]), nodes[2:], scope, name)
    if verb == "DIFF" and len(nodes) == 3:
        return _difference(value, _moment(nodes[1], scope, family), part_of(nodes[2]), name)
    raise invalid(f"No matching signature for function {name}")


def _moment(node: Node, scope: Scope, family: str) -> Value:
    """Return an argument as the type of its family of functions; DATE's take the others too."""
    value = expressions.expression(node, scope)
    if family == "DATE" and value.type in (DATE, DATETIME, TIMESTAMP):
        return value
    if family == "DATETIME" and value.type == TIMESTAMP:
        raise invalid(f"No matching signature for function {family}_… for argument type TIMESTAMP")
    made = types.coerced(value, Type(family))
    if made is None:
        raise invalid(f"No matching signature for a function on {family} for argument type: {value.type}")
    return made


def interval_of(node: Node, scope: Scope) -> tuple[Value, Part]:
    """Return how many of which part an INTERVAL is.

    :raises ApiError: 400 ``invalidQuery``: it is of another form.
    """
    unit = node.args.get("unit")
    if unit is None or isinstance(unit, exp.IntervalSpan):
        raise unknown(node.sql("bigquery"))
    if isinstance(node.this, exp.Literal):
        written = node.this.this
        amount = expressions.number(written) if written.lstrip("-").isdigit() else Value("", STRING)
    else:
        amount = expressions.expression(node.this, scope)
    made = types.coerced(amount, INT64)
    if made is None:
        raise unknown(node.sql("bigquery"))
    return made, part_of(unit)


def moved(value: Value, interval: Node, scope: Scope, *, minus: bool, what: str = "") -> Value:
    """Add an INTERVAL to a date or a time, or take it away."""
    amount, part = interval_of(interval, scope)
    if not what and value.type == DATE:
        # With an operator, a DATE becomes a DATETIME.
        value = Value(f"CAST({value.sql} AS TIMESTAMP)", DATETIME)
    sign = "-" if minus else "+"
    kind = value.type
    allowed = {
        "DATE": _CALENDAR,
        "DATETIME": (*_MICROS, *_CALENDAR),
        "TIMESTAMP": tuple(_MICROS),
        "TIME": _CLOCK,
    }.get(kind.kind, ())
    if part.name not in allowed or (part.name == "WEEK" and part.first):
        raise invalid(
            f"{what or 'INTERVAL'} does not support the {part.name} "
            f"date part when the argument is {kind} type"
        )
    if part.name in ("DAY", "WEEK") and kind == DATE:
        return Value(
            f"({value.sql} {sign} CAST({amount.sql} * {7 if part.name == 'WEEK' else 1} AS INTEGER))", DATE
        )
    if part.name in _MONTHS:
        step = f"to_months(CAST({amount.sql} * {_MONTHS[part.name]} AS INTEGER))"
    elif part.name == "WEEK":
        step = f"to_days(CAST({amount.sql} * 7 AS INTEGER))"
    else:
        step = f"to_microseconds({amount.sql} * CAST({_MICROS[part.name]} AS BIGINT))"
    return Value(f"CAST({value.sql} {sign} {step} AS {kind.duckdb})", kind)


def local(value: Value, zone: Value | None) -> Value:
    """Return a TIMESTAMP as the DATETIME that the clocks of a zone show."""
    utc = f"timezone('UTC', {value.sql})"
    return Value(utc if zone is None else f"bq_local({utc}, {zone.sql})", DATETIME)


def instant(value: Value, zone: Value | None) -> Value:
    """Return the TIMESTAMP at which the clocks of a zone show a DATETIME."""
    utc = value.sql if zone is None else f"bq_instant({value.sql}, {zone.sql})"
    return Value(f"timezone('UTC', {utc})", TIMESTAMP)


def zone_of(nodes: list[Node], scope: Scope) -> Value | None:
    """Read the argument that names a time zone, if there is one."""
    if not nodes:
        return None
    zone = types.coerced(expressions.expression(nodes[0], scope), STRING)
    if zone is None:
        raise invalid("A time zone must be a STRING")
    return zone


def _truncated(value: Value, part: Part, zone_nodes: list[Node], scope: Scope, what: str) -> Value:
    zone = zone_of(zone_nodes, scope)
    if value.type == TIMESTAMP:
        shown = local(value, zone)
        return instant(truncated(shown, part, what), zone)
    if zone is not None:
        raise invalid(f"{what} takes a time zone for TIMESTAMP only")
    return truncated(value, part, what)


def truncated(value: Value, part: Part, what: str) -> Value:
    """Return the beginning of the part in which a DATE, DATETIME or TIME lies."""
    kind, sql = value.type, value.sql
    clock = kind in (DATETIME, TIME) and part.name in _CLOCK
    if part.name == "WEEK" and kind != TIME:
        return Value(_week_start(sql, part.first, kind), kind)
    if part.name == "ISOYEAR" and kind != TIME:
        start = f"date_trunc('week', make_date(CAST(date_part('isoyear', {sql}) AS BIGINT), 1, 4))"
        return Value(f"CAST({start} AS {kind.duckdb})", kind)
    if not clock and (kind == TIME or part.name not in ("DAY", *_MONTHS)):
        raise invalid(f"{what} does not support the {part.name} date part with type {kind}")
    if kind == TIME:
        return Value(f"CAST(date_trunc('{part.name}', DATE '1970-01-01' + {sql}) AS TIME)", kind)
    return Value(f"CAST(date_trunc('{part.name.lower()}', {sql}) AS {kind.duckdb})", kind)


def _week_start(sql: str, first: int, kind: Type) -> str:
    back = f"CAST((dayofweek({sql}) + {7 - first}) % 7 AS INTEGER)"
    if kind == DATE:
        return f"({sql} - {back})"
    return f"CAST(CAST({sql} AS DATE) - {back} AS {kind.duckdb})"


def _difference(later: Value, earlier: Value, part: Part, what: str) -> Value:
    (a, b), kind = types.unified([later, earlier], f"function {what}")
    if kind == TIMESTAMP:
        if part.name not in _MICROS:
            raise invalid(f"{what} does not support the {part.name} date part")
        return Value(f"((epoch_us({a.sql}) - epoch_us({b.sql})) // {_MICROS[part.name]})", INT64)
    if part.name == "WEEK" and kind != TIME:
        pair = [f"CAST({_week_start(value.sql, part.first, kind)} AS DATE)" for value in (a, b)]
        return Value(f"CAST(({pair[0]} - {pair[1]}) // 7 AS BIGINT)", INT64)
    if part.name == "ISOYEAR" and kind != TIME:
        pair = [f"date_part('isoyear', {value.sql})" for value in (a, b)]
        return Value(f"CAST({pair[0]} - {pair[1]} AS BIGINT)", INT64)
    allowed = {"DATE": ("DAY", *_MONTHS), "DATETIME": (*_MICROS, *_MONTHS), "TIME": _CLOCK}[kind.kind]
    if part.name not in allowed:
        raise invalid(f"{what} does not support the {part.name} date part")
    return Value(f"CAST(date_diff('{part.name.lower()}', {b.sql}, {a.sql}) AS BIGINT)", INT64)


def _last_day(nodes: list[Node], scope: Scope) -> Value:
    value = _moment(nodes[0], scope, "DATE")
    part = part_of(nodes[1]) if len(nodes) > 1 else Part("MONTH")
    day = value if value.type == DATE else Value(f"CAST({value.sql} AS DATE)", DATE)
    start = truncated(day, part, "LAST_DAY").sql
    if part.name == "WEEK":
        return Value(f"({start} + 6)", DATE)
    if part.name not in _MONTHS:
        raise invalid(f"LAST_DAY does not support the {part.name} date part")
    return Value(f"CAST({start} + to_months({_MONTHS[part.name]}) - to_days(1) AS DATE)", DATE)


_EXTRACTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "MICROSECOND": ("date_part('microsecond', {0}) % 1000000", ("DATETIME", "TIME")),
    "MILLISECOND": ("(date_part('microsecond', {0}) % 1000000) // 1000", ("DATETIME", "TIME")),
    "SECOND": ("date_part('second', {0})", ("DATETIME", "TIME")),
    "MINUTE": ("date_part('minute', {0})", ("DATETIME", "TIME")),
    "HOUR": ("date_part('hour', {0})", ("DATETIME", "TIME")),
    "DAYOFWEEK": ("dayofweek({0}) + 1", ("DATE", "DATETIME")),
    "DAY": ("date_part('day', {0})", ("DATE", "DATETIME")),
    "DAYOFYEAR": ("date_part('doy', {0})", ("DATE", "DATETIME")),
    "ISOWEEK": ("date_part('week', {0})", ("DATE", "DATETIME")),
    "MONTH": ("date_part('month', {0})", ("DATE", "DATETIME")),
    "QUARTER": ("date_part('quarter', {0})", ("DATE", "DATETIME")),
    "YEAR": ("date_part('year', {0})", ("DATE", "DATETIME")),
    "ISOYEAR": ("date_part('isoyear', {0})", ("DATE", "DATETIME")),
}


def extract(node: Node, scope: Scope) -> Value:
    """Translate ``EXTRACT(part FROM value [AT TIME ZONE zone])``.

    :raises ApiError: 400 ``invalidQuery``: the value does not have the part.
    """
    inner, zone = node.expression, None
    if isinstance(inner, exp.AtTimeZone):
        zone = zone_of([inner.args["zone"]], scope)
        inner = inner.this
    value = expressions.expression(inner, scope)
    if value.type == TIMESTAMP:
        value = local(value, zone)
    elif zone is not None:
        raise invalid(f"EXTRACT … AT TIME ZONE takes a TIMESTAMP, not {value.type}")
    name = node.this.name.upper()
    whole: dict[str, Type] = {"DATE": DATE, "TIME": TIME, "DATETIME": DATETIME}
    if name in whole and value.type == DATETIME:
        return Value(f"CAST({value.sql} AS {whole[name].duckdb})", whole[name])
    part = part_of(node.this)
    if part.name == "WEEK" and name != "ISOWEEK" and value.type in (DATE, DATETIME):
        day = f"(dayofweek({value.sql}) + {7 - part.first}) % 7"
        return Value(f"CAST((date_part('doy', {value.sql}) + 6 - {day}) // 7 AS BIGINT)", INT64)
    template, kinds = _EXTRACTED.get(name, ("", ()))
    if value.type.kind not in kinds:
        raise invalid(f"EXTRACT from {value.type} does not support the {name} date part")
    return Value(f"CAST({template.format(value.sql)} AS BIGINT)", INT64)


def series(name: str, nodes: list[Node], scope: Scope) -> Value:
    """Translate ``GENERATE_DATE_ARRAY`` and ``GENERATE_TIMESTAMP_ARRAY``.

    :raises ApiError: 400 ``invalidQuery``: other arguments than it takes.
    """
    kind = DATE if name == "GENERATE_DATE_ARRAY" else TIMESTAMP
    ends = [types.coerced(expressions.expression(node, scope), kind) for node in nodes[:2]]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or len(nodes) > 3:
        raise invalid(f"No matching signature for function {name}")
    step, part = interval_of(nodes[2], scope) if len(nodes) == 3 else (expressions.number("1"), Part("DAY"))
    if (kind == DATE and part.name not in _CALENDAR) or (kind == TIMESTAMP and part.name not in _MICROS):
        raise invalid(f"{name} does not support the {part.name} date part")
    first, last = ends[0].sql, ends[1].sql
    if kind == TIMESTAMP:
        first, last = f"timezone('UTC', {first})", f"timezone('UTC', {last})"
    made = f"bq_{kind.kind.lower()}_array({first}, {last}, {step.sql}, '{part.name}')"
    return Value(f"CAST({made} AS {kind.duckdb}[])", Type("ARRAY", kind))


NAMES: dict[str, Callable[[str, list[Node], Scope], Value]] = {
    **{
        f"{family}_{verb}": call
        for family in ("DATE", "DATETIME", "TIMESTAMP", "TIME")
        for verb in ("ADD", "SUB", "TRUNC", "DIFF")
    },
    "LAST_DAY": call,
    "GENERATE_DATE_ARRAY": series,
    "GENERATE_TIMESTAMP_ARRAY": series,
}
