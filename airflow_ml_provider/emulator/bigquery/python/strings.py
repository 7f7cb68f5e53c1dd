"""Functions on strings and bytes.

https://cloud.google.com/bigquery/docs/reference/standard-sql/string_functions
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from typing import Literal

_WORD_ENDS = ' \t\n\r\f\v[](){}/|<>!?@"^#$&~_,.:;*%+-'


def instr(text: str, part: str, position: int, occurrence: int) -> int:
    """``INSTR``: where the n-th occurrence of a part begins, from 1; 0 if there is none."""
    if position == 0 or occurrence < 1:
        raise ValueError("INSTR: position must not be 0 and occurrence must be positive")
    if not part:
        return 0
    if position > 0:
        at = position - 2
        for _ in range(occurrence):
            at = text.find(part, at + 1)
            if at < 0:
                return 0
        return at + 1
    limit = len(text) + position
    for _ in range(occurrence):
        at = text.rfind(part, 0, limit + len(part)) if limit >= 0 else -1
        if at < 0:
            return 0
        limit = at - 1
    return at + 1


def contains_substr(text: str, part: str) -> bool:
    """``CONTAINS_SUBSTR`` of a string."""
    return normalize(part, "NFKC", True) in normalize(text, "NFKC", True)


def substr_bytes(data: bytes, position: int, length: int) -> bytes:
    """``SUBSTR`` of bytes."""
    if length < 0:
        raise ValueError("Third argument in SUBSTR() cannot be negative")
    start = position - 1 if position > 0 else len(data) + position
    if position == 0 or start < 0:
        start = 0
    return data[start : start + length]


def replace(text: str, old: str, new: str) -> str:
    """``REPLACE``: nothing is replaced where nothing is looked for."""
    return text.replace(old, new) if old else text


def lpad(text: str, length: int, pattern: str) -> str:
    """``LPAD``."""
    return _padding(text, length, pattern) + text[:length]


def rpad(text: str, length: int, pattern: str) -> str:
    """``RPAD``."""
    return text[:length] + _padding(text, length, pattern)


def _padding(text: str, length: int, pattern: str) -> str:
    if length < 0 or not pattern:
        raise ValueError("LPAD and RPAD need a length of 0 or more and a pattern that is not empty")
    missing = max(length - len(text), 0)
    return (pattern * (missing // len(pattern) + 1))[:missing]


def initcap(text: str | None, delimiters: str | None) -> str | None:
    """``INITCAP``."""
    if text is None:
        return None
    ends = _WORD_ENDS if delimiters is None else delimiters
    made, first = [], True
    for char in text:
        made.append(char.upper() if first else char.lower())
        first = char in ends
    return "".join(made)


def translate(text: str, source: str, target: str) -> str:
    """``TRANSLATE``."""
    if len(set(source)) != len(source):
        raise ValueError("TRANSLATE: a source character occurs twice")
    table = {char: target[n] if n < len(target) else "" for n, char in enumerate(source)}
    return "".join(table.get(char, char) for char in text)


def edit_distance(a: str, b: str) -> int:
    """``EDIT_DISTANCE``: Levenshtein's."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def unicode(text: str, ascii_only: bool) -> int:
    """``ASCII`` and ``UNICODE``: the first character's code, 0 for an empty string."""
    if not text:
        return 0
    if ascii_only and ord(text[0]) > 127:
        raise ValueError(f"ASCII: {text[0]!r} is no ASCII character")
    return ord(text[0])


def character(code: int) -> str:
    """``CHR``."""
    return "" if code == 0 else from_code_points([code])


def code_points(text: str) -> list[int]:
    """``TO_CODE_POINTS`` of a string."""
    return [ord(char) for char in text]


def from_code_points(codes: list[int] | None) -> str:
    """``CODE_POINTS_TO_STRING``."""
    for code in codes or []:
        if not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000:
            raise ValueError(f"Invalid codepoint {code}")
    return "".join(map(chr, codes or []))


def normalize(text: str, form: Literal["NFC", "NFD", "NFKC", "NFKD"], casefold: bool) -> str:
    """``NORMALIZE`` and ``NORMALIZE_AND_CASEFOLD``."""
    made = unicodedata.normalize(form, text)
    return unicodedata.normalize(form, made.casefold()) if casefold else made


def digest(algorithm: str, data: bytes) -> bytes:
    """``MD5``, ``SHA1``, ``SHA256`` and ``SHA512``."""
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()


def from_hex(text: str) -> bytes:
    """``FROM_HEX``."""
    if not all(char in "0123456789abcdefABCDEF" for char in text):
        raise ValueError(f"Failed to decode invalid hexadecimal string: {text}")
    return bytes.fromhex(text if len(text) % 2 == 0 else f"0{text}")


def from_base64(text: str) -> bytes:
    """``FROM_BASE64``."""
    try:
        return base64.b64decode(text.encode(), validate=True)
    except binascii.Error:
        raise ValueError(f"Failed to decode invalid base64 string {text!r}") from None


def bytes_to_string(data: bytes) -> str:
    """``CAST`` of bytes as a string."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("Invalid UTF-8 string in CAST of BYTES to STRING") from None


def lossy_string(data: bytes) -> str:
    """``SAFE_CONVERT_BYTES_TO_STRING``."""
    return data.decode("utf-8", "replace")


def array_to_string(parts: list[str | None] | None, delimiter: str | None, null: str | None) -> str | None:
    """``ARRAY_TO_STRING``: NULLs are left out unless there is a text for them."""
    if parts is None or delimiter is None:
        return None
    return delimiter.join(
        part if part is not None else str(null) for part in parts if part is not None or null is not None
    )
