"""Functions on numbers.

https://cloud.google.com/bigquery/docs/reference/standard-sql/mathematical_functions
"""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal

from airflow_ml_provider.emulator.bigquery.sql.constants import numeric

_EXACT = Context(prec=80)


def power(base: float, exponent: float) -> float:
    """``POW``."""
    try:
        return math.pow(base, exponent)
    except (ValueError, OverflowError):
        raise ValueError(
            f"Floating point error in function: POW({float_text(base)}, {float_text(exponent)})"
        ) from None


def round_float(value: float, digits: int) -> float:
    """``ROUND`` to some digits, halves away from zero."""
    return _rounded(value, digits, ROUND_HALF_UP)


def trunc_float(value: float, digits: int) -> float:
    """``TRUNC`` to some digits."""
    return _rounded(value, digits, ROUND_DOWN)


def _rounded(value: float, digits: int, rounding: str) -> float:
    if not math.isfinite(value) or digits > 340:
        return value
    if digits < -340:
        return math.copysign(0.0, value)
    # Of the shortest text that is this number: 2.675 rounds to 2.68, although it is a little less.
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding, Context(prec=700)))


def round_numeric(value: Decimal, digits: int) -> Decimal:
    """``ROUND`` of a NUMERIC."""
    return numeric(value.quantize(Decimal(1).scaleb(-min(digits, 9)), ROUND_HALF_UP, _EXACT))


def trunc_numeric(value: Decimal, digits: int) -> Decimal:
    """``TRUNC`` of a NUMERIC."""
    return numeric(value.quantize(Decimal(1).scaleb(-min(digits, 9)), ROUND_DOWN, _EXACT))


def multiply_numeric(a: Decimal, b: Decimal) -> Decimal:
    """Multiply two NUMERIC values."""
    return numeric(_EXACT.multiply(a, b))


def divide_numeric(a: Decimal, b: Decimal) -> Decimal:
    """Divide two NUMERIC values."""
    if b == 0:
        raise ValueError(f"division by zero: {a.normalize():f} / 0")
    return numeric(_EXACT.divide(a, b))


def mod_numeric(a: Decimal, b: Decimal) -> Decimal:
    """``MOD`` of two NUMERIC values: it has the sign of the first."""
    if b == 0:
        raise ValueError("division by zero: MOD")
    return numeric(_EXACT.remainder(a, b))


def generate_array(start: float, end: float, step: float) -> list[float]:
    """``GENERATE_ARRAY`` of FLOAT64."""
    if step == 0 or not all(map(math.isfinite, (start, end, step))):
        raise ValueError("Sequence step cannot be 0.")
    count = math.floor((end - start) / step + 1e-12)
    return [start + n * step for n in range(count + 1)]


def shift_left(value: int, bits: int) -> int:
    """Shift left as 64 bits, those that fall out are lost."""
    if bits < 0:
        raise ValueError("Bitwise shift by a negative number")
    moved = (value << bits) & 0xFFFFFFFFFFFFFFFF if bits < 64 else 0
    return moved - (1 << 64) if moved >> 63 else moved


def shift_right(value: int, bits: int) -> int:
    """Shift right as 64 bits, filled with zeros."""
    if bits < 0:
        raise ValueError("Bitwise shift by a negative number")
    moved = (value & 0xFFFFFFFFFFFFFFFF) >> bits
    return moved - (1 << 64) if moved >> 63 else moved


def float_text(value: float) -> str:
    """Return a FLOAT64 as a string: with as few digits as tell it from others."""
    if not math.isfinite(value):
        return "NaN" if value != value else ("inf" if value > 0 else "-inf")
    if value == 0:
        return "0"
    short = f"{value:.15g}"
    return short if float(short) == value else f"{value:.17g}"


def to_float(text: str) -> float:
    """``CAST`` of a string as FLOAT64."""
    clean = text.strip()
    try:
        if "_" in clean:
            raise ValueError
        value = float(clean)
    except ValueError:
        raise ValueError(f"Bad double value: {text}") from None
    if math.isinf(value) and not clean.lower().lstrip("+-").startswith("inf"):
        raise ValueError(f"Bad double value: {text}")
    return value


def to_int(text: str) -> int:
    """``CAST`` of a string as INT64: decimal, or hexadecimal after 0x."""
    clean = text.strip()
    digits = clean.lstrip("+-")
    base = 16 if digits[:2].lower() == "0x" else 10
    try:
        if not digits.isascii() or "_" in digits or len(clean) - len(digits) > 1:
            raise ValueError
        value = int(clean, base)
    except ValueError:
        raise ValueError(f"Bad int64 value: {text}") from None
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"Bad int64 value: {text}")
    return value


def to_bool(text: str) -> bool:
    """``CAST`` of a string as BOOL."""
    clean = text.strip().lower()
    if clean not in ("true", "false"):
        raise ValueError(f"Bad bool value: {text}")
    return clean == "true"


def formatted(spec: str, value: int | float) -> str:
    """One element of ``FORMAT`` with a number.

    :param spec: as in C, ``%05.2f``; a quotation mark groups thousands.
    """
    flags, group = spec[1:-1], "'" in spec
    kind = spec[-1]
    flags = flags.replace("'", "")
    if kind == "i":
        kind = "d"
    if isinstance(value, float) and not math.isfinite(value):
        name = "nan" if value != value else ("inf" if value > 0 else "-inf")
        width = flags.lstrip("-+ 0").partition(".")[0]
        return f"%{'-' if '-' in flags else ''}{width}s" % name
    text = f"%{flags}{kind}" % value
    if not group:
        return text
    head, point, tail = text.partition(".")
    sign = head[: len(head) - len(head.lstrip("-+ "))]
    return f"{sign}{int(head.lstrip('-+ ')):,}{point}{tail}"
