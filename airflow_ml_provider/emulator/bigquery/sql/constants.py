"""Dates, times and numbers as GoogleSQL writes them.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#canonical_format_for_timestamp_literals
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo

_DATE = r"(\d{4})-(\d{1,2})-(\d{1,2})"
_TIME = r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{0,9}))?"
_DATE_ONLY = re.compile(rf"{_DATE}$")
_TIME_ONLY = re.compile(rf"{_TIME}$")
_DATETIME = re.compile(rf"{_DATE}(?:[Tt ]{_TIME})?$")
_TIMESTAMP = re.compile(
    rf"{_DATE}(?:[Tt ]{_TIME})?(?: ?([Zz]|[+-]\d{{1,2}}(?::?\d\d)?)| ([A-Za-z_]+(?:[/+-]\w+)*))?$"
)
_OFFSET = re.compile(r"([+-])(\d{1,2})(?::?(\d\d))?$")
_SCALE = Decimal("1e-9")
_LIMIT = Decimal("99999999999999999999999999999.999999999")
_EXACT = Context(prec=80)


def numeric(written: str | Decimal | float) -> Decimal:
    """Return a NUMERIC: 29 digits before the point and 9 after it, halves rounded away from zero.

    :raises ValueError: it is no number, or out of range.
    """
    try:
        value = Decimal(written.strip() if isinstance(written, str) else written)
        rounded = value.quantize(_SCALE, rounding=ROUND_HALF_UP, context=_EXACT)
    except InvalidOperation:
        raise ValueError(f"Invalid NUMERIC value: {written}") from None
    if abs(rounded) > _LIMIT:
        raise ValueError(f"numeric out of range: {written}")
    return rounded


def moment(written: str, kind: str, zone: str = "UTC") -> str:
    """Return a DATE, TIME, DATETIME or TIMESTAMP as DuckDB writes it.

    :param kind: of these four.
    :param zone: of a TIMESTAMP that names none.
    :raises ValueError: it is none.
    """
    value = parsed(written, kind, zone)
    return value.isoformat() if isinstance(value, dt.date) and kind == "DATE" else str(value)


def parsed(written: str, kind: str, zone: str = "UTC") -> dt.date | dt.time | dt.datetime:
    """Return what a text says, see :func:`moment`.

    :raises ValueError: it is none.
    """
    clean = written.strip()
    try:
        if kind == "DATE":
            if found := _DATE_ONLY.match(clean):
                return dt.date(*(int(part) for part in found.groups()))
        elif kind == "TIME":
            if found := _TIME_ONLY.match(clean):
                return _time(found.groups())
        elif kind == "DATETIME":
            if found := _DATETIME.match(clean):
                return _datetime(found.groups())
        elif found := _TIMESTAMP.match(clean):
            *parts, offset, name = found.groups()
            return (
                _datetime(tuple(parts)).replace(tzinfo=time_zone(offset or name or zone)).astimezone(dt.UTC)
            )
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"Invalid {kind.lower()}: {written!r}")


def _time(parts: tuple[str | None, ...]) -> dt.time:
    hour, minute, second, fraction = parts
    micros = int(((fraction or "") + "000000")[:6])
    return dt.time(int(hour or 0), int(minute or 0), int(second or 0), micros)


def _datetime(parts: tuple[str | None, ...]) -> dt.datetime:
    day = dt.date(*(int(part or 0) for part in parts[:3]))
    return dt.datetime.combine(day, _time(parts[3:7]))


@lru_cache(maxsize=256)
def time_zone(name: str) -> dt.tzinfo:
    """Return a time zone by its name or its offset.

    :raises ValueError: there is none of that name.
    """
    if name in ("Z", "z", "UTC", "utc"):
        return dt.UTC
    if found := _OFFSET.match(name.removeprefix("UTC")):
        sign, hours, minutes = found.groups()
        if int(hours) > 14 or int(minutes or 0) > 59:
            raise ValueError(f"Invalid time zone: {name}")
        delta = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
        return dt.timezone(-delta if sign == "-" else delta)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"Invalid time zone: {name}") from None
