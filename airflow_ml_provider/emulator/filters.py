"""Google's filter language, as far as both Vertex AI's lists and Cloud Logging's queries go.

https://google.aip.dev/160 and https://cloud.google.com/logging/docs/view/logging-query-language: unlike
in SQL, ``OR`` binds tighter than ``AND``, and two expressions side by side are both required.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
      | (?P<operator>=~|!~|!=|<=|>=|=|<|>|:)
      | (?P<bracket>[(),])
      | (?P<term>(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"'()=<>!:~,])+)""",
    re.VERBOSE | re.DOTALL,
)
_PIECE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\.|[^."']+""", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)


class FilterError(ValueError):
    """A filter that is not one; the message says where it goes wrong."""


@dataclass(frozen=True)
class Value:
    """The right side of a comparison: its text, and whether it was quoted."""

    text: str
    quoted: bool


@dataclass(frozen=True)
class Comparison:
    """``labels.team = "ads"``.

    :param path: the field's segments, unquoted.
    :param operator: one of ``= != < <= > >= : =~ !~``.
    """

    path: tuple[str, ...]
    operator: str
    value: Value

    @property
    def field(self) -> str:
        """The field as one would type it."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Search:
    """A text on its own, to be found in any field."""

    value: Value


@dataclass(frozen=True)
class Not:
    """Negation."""

    term: Filter


@dataclass(frozen=True)
class And:
    """All of them."""

    terms: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """Any of them."""

    terms: tuple[Filter, ...]


Filter = Comparison | Search | Not | And | Or


def parse(text: str) -> Filter | None:
    """Return a filter's tree, or None for a blank one.

    :raises FilterError: the text is no filter.
    """
    tokens = list(_tokens(text))
    if not tokens:
        return None
    parser = _Parser(text, tokens)
    try:
        tree = parser.expression()
    except RecursionError:
        raise FilterError("The filter is nested too deeply.") from None
    parser.expect_end()
    return tree


def required(tree: Filter | None) -> Iterator[Comparison]:
    """Yield the comparisons that must all hold, for narrowing a search; others may be required too."""
    if isinstance(tree, Comparison):
        yield tree
    elif isinstance(tree, And):
        for term in tree.terms:
            yield from required(term)


def nanoseconds(text: str) -> int:
    """Return an RFC 3339 time, or a date alone, as nanoseconds since 1970.

    :raises FilterError: it is neither.
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        raise FilterError(f"Invalid timestamp {text!r}: RFC 3339 is expected, such as 2026-01-31T23:59:59Z")
    day, clock, fraction, zone = found.groups()
    offset = (zone or "Z").upper().replace("Z", "+00:00")
    try:
        moment = dt.datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{offset}")
    except ValueError as error:
        raise FilterError(f"Invalid timestamp {text!r}: {error}") from None
    whole = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)
    return whole * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def rfc3339(moment: int, digits: int = 6) -> str:
    """Return nanoseconds since 1970 as Google writes them.

    :param digits: of the fraction: 6 or 9.
    """
    seconds, rest = divmod(moment, 1_000_000_000)
    day = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{day}.{f'{rest:09d}'[:digits]}Z"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found or found.lastgroup is None:
            raise FilterError(f"Unexpected character {text[at]!r} at position {at} of the filter: {text}")
        if found.lastgroup != "space":
            yield _Token(found.lastgroup, found.group(), at)
        at = found.end()


class _Parser:
    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0

    def expression(self) -> Filter:
        terms = [self._factor()]
        while True:
            if self._word("AND"):
                self._at += 1
            elif self._peek() is None or self._bracket(")"):
                return terms[0] if len(terms) == 1 else And(tuple(terms))
            terms.append(self._factor())

    def expect_end(self) -> None:
        if self._peek() is not None:
            raise self._error("expected the end")

    def _factor(self) -> Filter:
        terms = [self._term()]
        while self._word("OR"):
            self._at += 1
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self) -> Filter:
        token = self._peek()
        if self._word("NOT"):
            self._at += 1
            return Not(self._term())
        if token and token.kind == "term" and token.text.startswith("-"):
            if token.text == "-":
                self._at += 1
            else:
                self._tokens[self._at] = _Token("term", token.text[1:], token.at + 1)
            return Not(self._term())
        if self._bracket("("):
            self._at += 1
            inner = self.expression()
            self._close()
            return inner
        return self._restriction()

    def _restriction(self) -> Filter:
        token = self._peek()
        if token is None or token.kind != "term" or self._word("AND") or self._word("OR"):
            raise self._error("expected a field or a value")
        self._at += 1
        if self._bracket("("):
            raise FilterError(f"The function {token.text}() is not supported in a filter: {self._text}")
        operator = self._peek()
        if operator is None or operator.kind != "operator":
            return Search(self._value(token))
        self._at += 1
        path = _path(token.text)
        if not all(path):
            raise FilterError(
                f"{token.text!r} at position {token.at} of the filter is no field: {self._text}"
            )
        if self._bracket("("):
            self._at += 1
            values = self._values(path, operator.text)
            self._close()
            return values
        return Comparison(path, operator.text, self._argument())

    def _values(self, path: tuple[str, ...], operator: str) -> Filter:
        """Parse ``field = ("a" OR "b")``."""
        groups: list[Filter] = []
        while True:
            alternatives: list[Filter] = []
            while True:
                negated = self._word("NOT")
                self._at += negated
                comparison = Comparison(path, operator, self._argument())
                alternatives.append(Not(comparison) if negated else comparison)
                if not self._word("OR"):
                    break
                self._at += 1
            groups.append(alternatives[0] if len(alternatives) == 1 else Or(tuple(alternatives)))
            if self._word("AND"):
                self._at += 1
            elif self._peek() is None or self._bracket(")"):
                return groups[0] if len(groups) == 1 else And(tuple(groups))

    def _argument(self) -> Value:
        token = self._peek()
        if token is None or token.kind != "term":
            raise self._error("expected a value")
        self._at += 1
        return self._value(token)

    def _value(self, token: _Token) -> Value:
        text = token.text
        if text[0] in "\"'":
            if not re.fullmatch(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", text, re.DOTALL):
                raise FilterError(f"{text} at position {token.at} of the filter is no value: {self._text}")
            return Value(_unquoted(text), quoted=True)
        if '"' in text or "'" in text:
            raise FilterError(f"{text} at position {token.at} of the filter is no value: {self._text}")
        return Value(text, quoted=False)

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _word(self, word: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "term" and token.text == word

    def _bracket(self, bracket: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "bracket" and token.text == bracket

    def _close(self) -> None:
        if not self._bracket(")"):
            raise self._error("expected ')'")
        self._at += 1

    def _error(self, expected: str) -> FilterError:
        token = self._peek()
        found = f"{token.text!r} at position {token.at}" if token else "the end"
        return FilterError(f"Invalid filter, {expected} but found {found}: {self._text}")


def _path(text: str) -> tuple[str, ...]:
    segments, current = [], ""
    for piece in _PIECE.findall(text):
        if piece == ".":
            segments.append(current)
            current = ""
        else:
            current += _unquoted(piece) if piece[0] in "\"'" else piece
    return (*segments, current)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), text[1:-1], flags=re.DOTALL)
