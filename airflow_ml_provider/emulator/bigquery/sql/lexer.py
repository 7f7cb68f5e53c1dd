"""The text of a script: its statements, and its string literals in the one form that the parser reads right.

https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from airflow_ml_provider.emulator.bigquery.sql.errors import invalid

# In this order: a comment hides quotes, three quotes are not an empty string and a quote.
_TOKEN = re.compile(
    r"""(?P<comment>(?:--|\#)[^\n]*|/\*.*?\*/)
    |(?P<prefix>[rRbB]{0,2})(?P<quote>'{3}|"{3}|'|")
    |(?P<name>`[^`]*`)
    |(?P<word>@?@?[A-Za-z_][A-Za-z0-9_]*)
    |(?P<end>;)
    |(?P<space>\s+)
    |(?P<other>\d[A-Za-z0-9_.]*|.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:([0-7]{3})|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.)|)", re.DOTALL
)
_PLAIN = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))
# What a bytes literal becomes for the parser: a call that the translator knows.
BYTES_FUNCTION = "__BYTES__"
# What a positional parameter becomes: a named one.
POSITIONAL = "__positional_"


def statements(script: str, *, raw: bool = False) -> list[str]:
    """Return the statements of a script, with string literals rewritten.

    :param raw: as they were written instead.
    :raises ApiError: 400 ``invalidQuery``: a literal that does not end or has an unknown escape.
    """
    found: list[str] = []
    pieces: list[str] = []
    positional = itertools.count()
    for kind, piece in _tokens(script, raw=raw):
        if kind == "end":
            found.append("".join(pieces))
            pieces = []
        elif kind == "other" and piece == "?" and not raw:
            # The n-th of the whole script, whatever order a tree is walked in.
            pieces.append(f"@{POSITIONAL}{next(positional)}")
        else:
            pieces.append(piece)
    found.append("".join(pieces))
    return [each.strip() for each in found if each.strip()]


def words(statement: str, count: int) -> list[str]:
    """Return the first words of a statement, in capitals, e.g. to tell what it is."""
    found: list[str] = []
    for kind, piece in _tokens(statement):
        if kind == "space":
            continue
        if kind not in ("word", "name") or len(found) == count:
            break
        found.append(piece.upper())
    return found


def namespaced(statement: str, namespaces: Sequence[str]) -> str:
    """Return the first function of some namespaces that a statement calls, or ""."""
    pieces = [piece.upper() for kind, piece in _tokens(statement) if kind != "space"]
    for at, piece in enumerate(pieces[:-3]):
        if piece in namespaces and pieces[at + 1] == "." and pieces[at + 3] == "(":
            return f"{piece}.{pieces[at + 2]}"
    return ""


def split_at(statement: str, *separators: str) -> tuple[str, str, str]:
    """Return what is before, the first of some words or signs outside brackets, and what is after it."""
    depth = 0
    before: list[str] = []
    pieces = list(_tokens(statement))
    for position, (kind, piece) in enumerate(pieces):
        if piece in "([<" and kind == "other":
            depth += 1
        elif piece in ")]>" and kind == "other":
            depth -= 1
        elif depth == 0 and piece.upper() in separators:
            return "".join(before), piece.upper(), "".join(piece for _, piece in pieces[position + 1 :])
        before.append(piece)
    return statement, "", ""


def _tokens(script: str, *, raw: bool = False) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(script):
        found = _TOKEN.match(script, at)
        assert found is not None
        kind = str(found.lastgroup)
        if kind == "quote":
            start = at
            piece, at = _literal(script, found)
            yield "literal", script[start:at] if raw else piece
            continue
        at = found.end()
        yield ("space", " ") if kind == "comment" and not raw else (kind, found.group())


def _literal(script: str, start: re.Match[str]) -> tuple[str, int]:
    """Return a string literal as the parser reads it right, and where it ends."""
    prefix, quote = start.group("prefix").lower(), start.group("quote")
    at = start.end()
    while True:
        if script.startswith(quote, at):
            break
        if at >= len(script) or (len(quote) == 1 and script[at] == "\n"):
            raise invalid(f"Syntax error: Unclosed string literal {_where(script, start.start())}")
        at += 2 if script[at] == "\\" else 1
    body = script[start.end() : at]
    data = "b" in prefix
    where = _where(script, start.start())
    value = body if "r" in prefix else _ESCAPE.sub(lambda found: _unescaped(found, data, where), body)
    if data:
        content = "".join(f"{byte:02x}" for byte in _bytes(value, "r" in prefix))
        return f"{BYTES_FUNCTION}('{content}')", at + len(quote)
    clean = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{clean}'", at + len(quote)


def _unescaped(found: re.Match[str], data: bool, where: str) -> str:
    octal, two, four, eight, plain = found.groups()
    if octal or two:
        code = int(octal, 8) if octal else int(two, 16)
        # In bytes an escape is a byte, which is told from a character by the surrogate that stands for it.
        return chr(0xDC00 + code) if data and code > 127 else chr(code)
    if four or eight:
        code = int(four or eight, 16)
        if not data and code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code)
    elif plain in _PLAIN:
        return _PLAIN[plain]
    raise invalid(f"Syntax error: Illegal escape sequence: {found.group()} {where}")


def _bytes(value: str, raw: bool) -> bytes:
    return value.encode() if raw else value.encode("utf-8", "surrogateescape")


def _where(script: str, at: int) -> str:
    line = script.count("\n", 0, at) + 1
    return f"at [{line}:{at - (script.rfind(chr(10), 0, at) + 1) + 1}]"
