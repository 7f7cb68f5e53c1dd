"""Which functions there are: tables of signatures with what they are in DuckDB's SQL.

A line of a table reads ``NAME(TYPE, …) TYPE = SQL``; ``{0}`` is the first argument. Types are GoogleSQL's,
or: ``T`` anything, the same wherever it stands; ``N`` a number; ``O`` what has an order; ``[T]`` an
array of T; ``TYPE*`` any number of further arguments of the type, which ``{all}`` lists.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow_ml_provider.emulator.bigquery.sql.errors import invalid
from airflow_ml_provider.emulator.bigquery.sql.types import Type, Value, coerced, supertype
from airflow_ml_provider.emulator.errors import ApiError

_LINE = re.compile(r"^([A-Z0-9_.]+)\((.*?)\) (\S+) = (.*)$")
_NUMBERS = (Type("INT64"), Type("NUMERIC"), Type("FLOAT64"))
_VARIABLES = ("T", "N", "O", "U")


@dataclass(frozen=True)
class Signature:
    """One way to call a function."""

    name: str
    parameters: tuple[str, ...]
    returns: str
    template: str

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.parameters)})"


def table(text: str) -> dict[str, list[Signature]]:
    """Read a table of signatures; a line that begins with a space goes on with the one before."""
    found: dict[str, list[Signature]] = {}
    for line in re.sub(r"\n\s+", " ", text.strip()).splitlines():
        match = _LINE.match(line)
        assert match is not None, line
        name, parameters, returns, template = match.groups()
        given = tuple(part.strip() for part in parameters.split(",")) if parameters.strip() else ()
        found.setdefault(name, []).append(Signature(name, given, returns, template))
    return found


@dataclass(frozen=True)
class Chosen:
    """A signature with arguments of its types."""

    signature: Signature
    arguments: tuple[Value, ...]
    returns: Type

    def fill(self, **more: str) -> str:
        """Return the template with the arguments in their places."""
        texts = [argument.sql for argument in self.arguments]
        fixed = len(self.signature.parameters) - 1
        return self.signature.template.format(*texts, **{"all": ", ".join(texts[max(fixed, 0) :])}, **more)


def choose(candidates: Sequence[Signature], arguments: Sequence[Value]) -> Chosen:
    """Return the signature that fits best: the one that changes the fewest arguments, literals the last.

    :raises ApiError: 400 ``invalidQuery``: none fits.
    """
    best: tuple[tuple[int, int], Chosen] | None = None
    wrong: ApiError | None = None
    for signature in candidates:
        try:
            fitted = _fitted(signature, arguments)
        except ApiError as error:
            # A literal that is none of this signature's type; another may take it.
            fitted, wrong = None, error
        if fitted is None:
            continue
        changed = [
            a for a, b in zip(arguments, fitted.arguments, strict=True) if a.type != b.type and not a.null
        ]
        cost = (sum(not a.literal for a in changed), len(changed))
        if best is None or cost < best[0]:
            best = (cost, fitted)
    if best is None and wrong is not None:
        raise wrong
    if best is None:
        name = candidates[0].name
        given = ", ".join("NULL" if a.null else str(a.type) for a in arguments)
        supported = "; ".join(str(s) for s in candidates[:6])
        plural = "types" if len(arguments) != 1 else "type"
        raise invalid(
            f"No matching signature for function {name} for argument {plural}: {given or '()'}. "
            f"Supported signature: {supported}"
        )
    return best[1]


def _fitted(signature: Signature, arguments: Sequence[Value]) -> Chosen | None:
    kinds = list(signature.parameters)
    if kinds and kinds[-1].endswith("*"):
        last = kinds.pop().removesuffix("*")
        kinds += [last] * (len(arguments) - len(kinds))
    if len(kinds) != len(arguments):
        return None
    bound: dict[str, Type] = {}
    for variable in _VARIABLES:
        given = [
            _element(a, k) for a, k in zip(arguments, kinds, strict=True) if k in (variable, f"[{variable}]")
        ]
        if not given:
            continue
        if any(value is None for value in given):
            return None
        common = supertype([value for value in given if value is not None])
        if common is None:
            return None
        if variable == "N" and common.kind == "NULL":
            common = Type("INT64")
        if (variable == "N" and common not in _NUMBERS) or (variable == "O" and not common.orderable):
            return None
        bound[variable] = common
    made = []
    for argument, kind in zip(arguments, kinds, strict=True):
        value = coerced(argument, _type(kind, bound))
        if value is None:
            return None
        made.append(value)
    return Chosen(signature, tuple(made), _type(signature.returns, bound))


def _element(argument: Value, kind: str) -> Value | None:
    if not kind.startswith("["):
        return argument
    if argument.null:
        return argument
    if argument.type.element is None:
        return None
    return replace(argument, type=argument.type.element)


def _type(kind: str, bound: dict[str, Type]) -> Type:
    if kind.startswith("["):
        return Type("ARRAY", _type(kind[1:-1], bound))
    return bound.get(kind) or Type(kind)
