"""Dates and times as texts of any format.

https://cloud.google.com/bigquery/docs/reference/standard-sql/format-elements
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from airflow_ml_provider.emulator.bigquery.sql.constants import moment, time_zone

_ELEMENT = re.compile(r"%(E(?:\d|\*)[SY]|Ez|E[a-zA-Z]|O[a-zA-Z]|[a-zA-Z%])")
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SHORTHANDS = {
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "c": "%a %b %e %H:%M:%S %Y",
    "x": "%m/%d/%y",
    "X": "%H:%M:%S",
    "r": "%I:%M:%S %p",
}
_DATE_ONLY = set("AaBbChcDdeFGgjmUuVWwxYyQ") | {"E4Y"}
_TIME_ONLY = set("HIklMPpRrSTXf") | {"E*S"}


def to_timestamp(text: str, zone: str) -> dt.datetime:
    """``CAST`` of a string as TIMESTAMP."""
    return dt.datetime.fromisoformat(moment(text, "TIMESTAMP", zone))


def to_datetime(text: str) -> dt.datetime:
    """``CAST`` of a string as DATETIME."""
    return dt.datetime.fromisoformat(moment(text, "DATETIME"))


def to_date(text: str) -> dt.date:
    """``CAST`` of a string as DATE."""
    return dt.date.fromisoformat(moment(text, "DATE"))


def to_time(text: str) -> dt.time:
    """``CAST`` of a string as TIME."""
    return dt.time.fromisoformat(moment(text, "TIME"))


def local(value: dt.datetime, zone: str) -> dt.datetime:
    """Return a UTC time as the clocks of a zone show it."""
    return value.replace(tzinfo=dt.UTC).astimezone(time_zone(zone)).replace(tzinfo=None)


def instant(value: dt.datetime, zone: str) -> dt.datetime:
    """Return the UTC time at which the clocks of a zone show a time."""
    return value.replace(tzinfo=time_zone(zone)).astimezone(dt.UTC).replace(tzinfo=None)


def timestamp_text(value: dt.datetime, zone: str) -> str:
    """Return a TIMESTAMP as a string, as ``2026-01-31 08:30:00+00``."""
    shown = value.replace(tzinfo=dt.UTC).astimezone(time_zone(zone))
    return f"{datetime_text(shown.replace(tzinfo=None))}{_offset(shown, short=True)}"


def datetime_text(value: dt.datetime) -> str:
    """Return a DATETIME as a string: with milliseconds or microseconds where there are any."""
    return f"{value:%Y-%m-%d} {time_text(value.time())}".rjust(19, "0")


def time_text(value: dt.time) -> str:
    """Return a TIME as a string."""
    micros = value.microsecond
    fraction = "" if not micros else (f".{micros // 1000:03}" if micros % 1000 == 0 else f".{micros:06}")
    return f"{value:%H:%M:%S}{fraction}"


def _offset(value: dt.datetime, *, short: bool, colon: bool = True) -> str:
    seconds = int((value.utcoffset() or dt.timedelta()).total_seconds())
    sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
    if short and minutes % 60 == 0:
        return f"{sign}{minutes // 60:02}"
    return f"{sign}{minutes // 60:02}{':' if colon else ''}{minutes % 60:02}"


def format_moment(pattern: str, value: dt.datetime, kind: str, zone: str) -> str:
    """``FORMAT_DATE``, ``FORMAT_DATETIME``, ``FORMAT_TIME`` and ``FORMAT_TIMESTAMP``.

    :param value: a TIMESTAMP in UTC.
    :param kind: its type.
    """
    shown = value.replace(tzinfo=dt.UTC).astimezone(time_zone(zone)) if kind == "TIMESTAMP" else value

    def element(found: re.Match[str]) -> str:
        name = found.group(1)
        if (kind == "DATE" and name in _TIME_ONLY) or (kind == "TIME" and name in _DATE_ONLY):
            raise ValueError(f"The emulator does not know the format element %{name} with {kind}")
        if name in _SHORTHANDS:
            return _ELEMENT.sub(element, _SHORTHANDS[name])
        if name in ("Z", "z", "Ez") and kind != "TIMESTAMP":
            raise ValueError(f"The emulator does not know the format element %{name} with {kind}")
        if name not in _FORMATS:
            raise ValueError(f"The emulator does not know the format element %{name}")
        return _FORMATS[name](shown)

    return _ELEMENT.sub(element, pattern)


def _week(value: dt.datetime, first: int) -> int:
    """Return a week's number where a week begins with a day (0 is Sunday), 0 before the first such day."""
    weekday = (value.isoweekday() - first) % 7
    return (value.timetuple().tm_yday - 1 + 7 - weekday) // 7


def _zone_name(value: dt.datetime) -> str:
    name = value.tzname() or "UTC"
    return (
        _offset(value, short=True)
        if name[:1] in "+-" or name.startswith("UTC+") or name.startswith("UTC-")
        else name
    )


_FORMATS: dict[str, Callable[[dt.datetime], str]] = {
    "%": lambda v: "%",
    "A": lambda v: _DAYS[v.isoweekday() % 7],
    "a": lambda v: _DAYS[v.isoweekday() % 7][:3],
    "B": lambda v: _MONTHS[v.month - 1],
    "b": lambda v: _MONTHS[v.month - 1][:3],
    "h": lambda v: _MONTHS[v.month - 1][:3],
    "C": lambda v: f"{v.year // 100:02}",
    "d": lambda v: f"{v.day:02}",
    "e": lambda v: f"{v.day:2}",
    "G": lambda v: f"{v.isocalendar().year}",
    "g": lambda v: f"{v.isocalendar().year % 100:02}",
    "H": lambda v: f"{v.hour:02}",
    "I": lambda v: f"{(v.hour + 11) % 12 + 1:02}",
    "j": lambda v: f"{v.timetuple().tm_yday:03}",
    "k": lambda v: f"{v.hour:2}",
    "l": lambda v: f"{(v.hour + 11) % 12 + 1:2}",
    "M": lambda v: f"{v.minute:02}",
    "m": lambda v: f"{v.month:02}",
    "n": lambda v: "\n",
    "P": lambda v: "am" if v.hour < 12 else "pm",
    "p": lambda v: "AM" if v.hour < 12 else "PM",
    "Q": lambda v: f"{(v.month + 2) // 3}",
    "S": lambda v: f"{v.second:02}",
    "s": lambda v: f"{int(v.timestamp() if v.tzinfo else v.replace(tzinfo=dt.UTC).timestamp() // 1)}",
    "t": lambda v: "\t",
    "U": lambda v: f"{_week(v, 0):02}",
    "u": lambda v: f"{v.isoweekday()}",
    "V": lambda v: f"{v.isocalendar().week:02}",
    "W": lambda v: f"{_week(v, 1):02}",
    "w": lambda v: f"{v.isoweekday() % 7}",
    "Y": lambda v: f"{v.year}",
    "y": lambda v: f"{v.year % 100:02}",
    "Z": _zone_name,
    "z": lambda v: _offset(v, short=False, colon=False),
    "Ez": lambda v: _offset(v, short=False),
    "E4Y": lambda v: f"{v.year:04}",
    "E*S": lambda v: f"{v.second:02}" + f".{v.microsecond:06}".rstrip("0").rstrip("."),
    **{
        f"E{n}S": lambda v, n=n: f"{v.second:02}.{f'{v.microsecond:06}000'[:n]}"  # type: ignore[misc]
        for n in range(1, 10)
    },
}


def parse_moment(pattern: str, text: str, kind: str, zone: str) -> dt.datetime:
    """``PARSE_DATE``, ``PARSE_DATETIME``, ``PARSE_TIME`` and ``PARSE_TIMESTAMP``.

    :return: a TIMESTAMP in UTC.
    :raises ValueError: the text is not of the format, or the emulator does not know an element.
    """
    names: list[str] = []
    regex = _regex(pattern, names)
    found = re.fullmatch(rf"\s*{regex}\s*", text, re.IGNORECASE)
    if not found:
        raise ValueError(f"Failed to parse input string {text!r}")
    read = dict(zip(names, found.groups(), strict=True))
    try:
        return _assembled(read, zone)
    except (ValueError, OverflowError):
        raise ValueError(f"Failed to parse input string {text!r}") from None


_NUMBERS = {
    "Y": 4,
    "E4Y": 4,
    "y": 2,
    "m": 2,
    "d": 2,
    "e": 2,
    "H": 2,
    "k": 2,
    "I": 2,
    "l": 2,
    "M": 2,
    "S": 2,
    "j": 3,
}
_PATTERNS = {
    "E*S": r"(\d{1,2}(?:\.\d{1,9})?)",
    "p": "([AP]M)",
    "P": "([AP]M)",
    "s": r"(-?\d+)",
    "z": r"([+-]\d\d:?\d\d|[+-]\d\d)",
    "Ez": r"([+-]\d\d:?\d\d|Z)",
    "Z": r"([A-Za-z_]+(?:/\w+)*(?:[+-]\d+)?)",
    **dict.fromkeys("Bbh", "(" + "|".join(_MONTHS) + "|" + "|".join(m[:3] for m in _MONTHS) + ")"),
    **dict.fromkeys("Aa", "(?:" + "|".join(_DAYS) + "|" + "|".join(d[:3] for d in _DAYS) + ")"),
    **{f"E{n}S": r"(\d{1,2}(?:\.\d{1,9})?)" for n in range(1, 10)},
}


def _regex(pattern: str, names: list[str]) -> str:
    made, at = "", 0
    for found in _ELEMENT.finditer(pattern):
        made += _plain(pattern[at : found.start()])
        at, name = found.end(), found.group(1)
        if name in _SHORTHANDS:
            made += _regex(_SHORTHANDS[name], names)
        elif name == "%":
            made += "%"
        elif name in ("n", "t"):
            made += r"\s+"
        elif name in _NUMBERS:
            names.append(name)
            made += rf"\s*(\d{{1,{_NUMBERS[name]}}})"
        elif name in _PATTERNS:
            if name not in "Aa":
                names.append(name)
            made += _PATTERNS[name]
        else:
            raise ValueError(f"The emulator does not parse the format element %{name}")
    return made + _plain(pattern[at:])


def _plain(part: str) -> str:
    return "".join(r"\s*" if char.isspace() else re.escape(char) for char in part)


def _assembled(read: dict[str, str], zone: str) -> dt.datetime:
    if "s" in read:
        return dt.datetime(1970, 1, 1) + dt.timedelta(seconds=int(read["s"]))
    year = int(read.get("Y") or read.get("E4Y") or 1970)
    if "y" in read:
        short = int(read["y"])
        year = short + (1900 if short >= 69 else 2000)
    month = int(read.get("m", 1))
    for name in "Bbh":
        if name in read:
            month = next(n for n, full in enumerate(_MONTHS, 1) if full[:3].lower() == read[name][:3].lower())
    day = int(read.get("d") or read.get("e") or 1)
    hour = int(read.get("H") or read.get("k") or 0)
    if "I" in read or "l" in read:
        hour = int(read.get("I") or read["l"])
        if not 1 <= hour <= 12:
            raise ValueError("hour")
        hour = hour % 12 + (12 if (read.get("p") or read.get("P") or "AM").upper() == "PM" else 0)
    fraction = next(
        (text for name, text in read.items() if re.fullmatch(r"E(\d|\*)S", name)), read.get("S", "0")
    )
    second, _, rest = fraction.partition(".")
    moment_ = dt.datetime(
        year, month, day, hour, int(read.get("M", 0)), int(second), int((rest + "000000")[:6])
    )
    if "j" in read and "m" not in read:
        moment_ = moment_.replace(month=1, day=1) + dt.timedelta(days=int(read["j"]) - 1)
    return instant(moment_, read.get("z") or read.get("Ez") or read.get("Z") or zone)


def date_array(first: dt.date, last: dt.date, step: int, part: str) -> list[dt.date]:
    """``GENERATE_DATE_ARRAY``: months are counted from the first date, so that its day is kept."""
    if step == 0:
        raise ValueError("Sequence step cannot be 0.")
    days, months = {"DAY": (1, 0), "WEEK": (7, 0), "MONTH": (0, 1), "QUARTER": (0, 3), "YEAR": (0, 12)}[part]
    made: list[dt.date] = []
    while True:
        total = len(made) * step
        month = first.year * 12 + first.month - 1 + total * months
        year, number = divmod(month, 12)
        last_day = (dt.date(year + number // 11, (number + 1) % 12 + 1, 1) - dt.timedelta(days=1)).day
        at = dt.date(year, number + 1, min(first.day, last_day)) + dt.timedelta(days=total * days)
        if (at > last) if step > 0 else (at < last):
            return made
        made.append(at)


def timestamp_array(first: dt.datetime, last: dt.datetime, step: int, part: str) -> list[dt.datetime]:
    """``GENERATE_TIMESTAMP_ARRAY``."""
    if step == 0:
        raise ValueError("Sequence step cannot be 0.")
    units = {"MICROSECOND": 1, "MILLISECOND": 1000, "SECOND": 10**6, "MINUTE": 60 * 10**6}
    micros = step * {**units, "HOUR": 3600 * 10**6, "DAY": 86400 * 10**6}[part]
    count = (last - first) // dt.timedelta(microseconds=micros)
    return [first + dt.timedelta(microseconds=n * micros) for n in range(max(count + 1, 0))]
