"""What Google's APIs accept, read from the discovery documents that ship with ``googleapiclient``.

They decide which paths exist, which parameters and fields a call may have and of which type, so the
emulator is as strict as the services without repeating their definitions.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from airflow_ml_provider.emulator.errors import ApiError

_DURATION = re.compile(r"^-?\d+(\.\d{1,9})?s$")
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$")
# Sent by Google's clients to every API, absent from the documents.
_UNLISTED_PARAMETERS = {"$alt", "$prettyPrint", "access_token", "key", "projection"}
_UNLISTED_PARAMETERS |= {"upload_id", "upload_protocol"}


@dataclass(frozen=True)
class Method:
    """One method of an API, e.g. ``storage.objects.get``."""

    id: str
    http_method: str
    pattern: re.Pattern[str]
    upload_pattern: re.Pattern[str] | None
    parameters: Mapping[str, Mapping[str, Any]]
    request: str | None
    response: str | None


@dataclass(frozen=True)
class Match:
    """A method found for a request, and the parameters its path held."""

    method: Method
    path_params: dict[str, str]
    upload: bool


@dataclass
class Api:
    """One API's document.

    :param name: as in the document's file name, e.g. ``aiplatform``.
    :param version: e.g. ``v1``.
    :param enum_numbers: for enums whose numbers have gaps: schema and field, joined by a dot, to the
        names by number. Other enums count from 0 in the order of the document.
    :param snake_case: whether the API takes ``display_name`` for ``displayName``, as the newer ones do.
    :param numbers_as_text: whether it takes a number for a string, as BigQuery does.
    """

    name: str
    version: str
    enum_numbers: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    snake_case: bool = False
    numbers_as_text: bool = False

    def __post_init__(self) -> None:
        import googleapiclient.discovery_cache as cache

        path = Path(cache.__file__).parent / "documents" / f"{self.name}.{self.version}.json"
        document = json.loads(path.read_text(encoding="utf-8"))
        self.schemas: dict[str, dict[str, Any]] = document["schemas"]
        self.common_parameters: dict[str, Any] = document.get("parameters", {})
        self.service_path: str = document["servicePath"]
        self.locations: frozenset[str] = frozenset(e["location"] for e in document.get("endpoints", []))
        self.methods = list(self._methods(document.get("resources", {})))
        self._by_beginning: dict[str, list[Method]] = {}
        for method in self.methods:
            for pattern in (method.pattern, method.upload_pattern):
                if pattern is not None:
                    self._by_beginning.setdefault(_beginning(pattern.pattern), []).append(method)

    def _methods(self, resources: Mapping[str, Any]) -> Iterator[Method]:
        for resource in resources.values():
            for raw in resource.get("methods", {}).values():
                uploads = raw.get("mediaUpload", {}).get("protocols", {})
                upload_path = uploads.get("simple", {}).get("path")
                yield Method(
                    id=raw["id"],
                    http_method=raw["httpMethod"],
                    pattern=_pattern("/" + self.service_path + raw.get("flatPath", raw["path"])),
                    upload_pattern=_pattern(upload_path) if upload_path else None,
                    parameters=raw.get("parameters", {}),
                    request=raw.get("request", {}).get("$ref"),
                    response=raw.get("response", {}).get("$ref"),
                )
            yield from self._methods(resource.get("resources", {}))

    def match(self, http_method: str, path: str) -> Match | None:
        """Return the method for a request, or None.

        :param http_method: ``GET``, …; a resumable upload's ``PUT`` finds the method that began it.
        :param path: still percent-encoded, without the query.
        """
        for method in self._by_beginning.get(_beginning(path), ()):
            found = method.pattern.match(path)
            if found and method.http_method == http_method:
                return Match(method, _unquoted(found), upload=False)
            found = method.upload_pattern and method.upload_pattern.match(path)
            if found and http_method in (method.http_method, "PUT", "DELETE"):
                return Match(method, _unquoted(found), upload=True)
        return None

    def parameters(self, match: Match, query: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return path and query parameters in their declared types; unknown ones are refused.

        :raises ApiError: 400, naming the parameter.
        """
        values: dict[str, Any] = dict(match.path_params)
        for name, raw in query.items():
            if name in _UNLISTED_PARAMETERS:
                values[name] = raw[-1]
                continue
            spec = match.method.parameters.get(name) or self.common_parameters.get(name)
            if spec is None and self.snake_case:
                spec = match.method.parameters.get(_camel(name))
            if spec is None:
                raise ApiError(
                    400,
                    f"Invalid JSON payload received. Unknown name {name!r}: Cannot bind query parameter. "
                    f"{match.method.id} has no such parameter.",
                    location=name,
                )
            converted = [_parameter(name, spec, text) for text in raw]
            canonical = _camel(name) if self.snake_case else name
            values[canonical] = converted if spec.get("repeated") else converted[-1]
        for name, spec in match.method.parameters.items():
            if spec.get("required") and spec.get("location") == "query" and name not in values:
                raise ApiError(400, f"Required parameter: {name}", reason="required", location=name)
        return values

    def message(self, schema: str, value: Any) -> dict[str, Any]:
        """Return a JSON message as the service would understand it, or refuse it.

        Fields get their documented names, enums their names, nulls are dropped; int64 stay as they came.

        :param schema: name of the message's schema.
        :param value: the parsed JSON.
        :raises ApiError: 400, naming every unknown field, wrong type or value at once.
        """
        problems: list[tuple[str, str]] = []
        clean = self._object(self.schemas[schema], value, "", problems)
        if problems:
            text = "\n".join(message for _, message in problems)
            violations = [{"field": where, "description": message} for where, message in problems]
            raise ApiError(
                400,
                text,
                location=problems[0][0],
                location_type="other",
                details=[
                    {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
                ],
            )
        return clean

    def _object(
        self, schema: Mapping[str, Any], value: Any, where: str, problems: list[tuple[str, str]]
    ) -> dict[str, Any]:
        if not isinstance(value, dict):
            problems.append((where, _wrong_type(where, "an object", value)))
            return {}
        properties: Mapping[str, Any] = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        clean: dict[str, Any] = {}
        for name, item in value.items():
            canonical = _camel(name) if self.snake_case and name not in properties else name
            spec = properties.get(canonical)
            if spec is None and extra is not None:
                canonical, spec = name, extra
            path = f"{where}.{canonical}" if where else canonical
            if spec is None:
                at = f" at '{where}'" if where else ""
                problems.append(
                    (path, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')
                )
            elif item is not None:
                clean[canonical] = self._value(spec, item, path, schema, canonical, problems)
        return clean

    def _value(
        self,
        spec: Mapping[str, Any],
        value: Any,
        where: str,
        owner: Mapping[str, Any],
        name: str,
        problems: list[tuple[str, str]],
    ) -> Any:
        if "$ref" in spec:
            target = self.schemas[spec["$ref"]]
            if target.get("type") == "object":
                return self._object(target, value, where, problems)
            spec = target
        kind = spec.get("type")
        if kind == "array":
            if not isinstance(value, list):
                problems.append((where, _wrong_type(where, "a list", value)))
                return []
            return [
                self._value(spec["items"], item, f"{where}[{i}]", owner, name, problems)
                for i, item in enumerate(value)
            ]
        if kind == "object":
            return self._object(spec, value, where, problems)
        if "enum" in spec:
            return self._enum(spec, value, where, f"{owner.get('id', '')}.{name}", problems)
        if kind == "string" and self.numbers_as_text and type(value) in (int, float) and "format" not in spec:
            return str(value)
        if kind != "any" and not _is_scalar(kind, spec.get("format"), value):
            problems.append((where, _wrong_type(where, spec.get("format") or str(kind), value)))
        return value

    def _enum(
        self, spec: Mapping[str, Any], value: Any, where: str, key: str, problems: list[tuple[str, str]]
    ) -> Any:
        names: list[str] = spec["enum"]
        if isinstance(value, int) and not isinstance(value, bool):
            numbers = self.enum_numbers.get(key, dict(enumerate(names)))
            if value in numbers:
                return numbers[value]
        elif value in names:
            return value
        problems.append((where, f"Invalid value at '{where}': {json.dumps(value)} is not one of {names}."))
        return value


def _pattern(template: str) -> re.Pattern[str]:
    """Compile a document's path template; a parameter spans one encoded segment, ``{+x}`` many."""
    parts = re.split(r"\{(\+?\w+)\}", template)
    regex = ""
    for i, part in enumerate(parts):
        if i % 2 == 0:
            regex += re.escape(part)
        elif part.startswith("+"):
            regex += f"(?P<{part[1:]}>.+?)"
        else:
            regex += f"(?P<{part}>[^/]+?)"
    return re.compile(f"^{regex}$")


def _beginning(path: str) -> str:
    """Return a path's first segment, which is the same for all of an API's methods, or nearly."""
    return path.lstrip("^").split("/", 2)[1]


def _unquoted(found: re.Match[str]) -> dict[str, str]:
    return {name: unquote(text) for name, text in found.groupdict().items()}


def _parameter(name: str, spec: Mapping[str, Any], text: str) -> Any:
    kind, form = spec.get("type"), spec.get("format", "")
    if kind == "boolean":
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif form in ("int32", "uint32", "int64", "uint64") or kind == "integer":
        if re.fullmatch(r"-?\d+", text):
            return int(text)
    elif "enum" in spec and text not in spec["enum"]:
        if name == "alt" or text.lower() not in [e.lower() for e in spec["enum"]]:
            raise ApiError(
                400, f"Invalid value for parameter {name}: {text!r}, one of {spec['enum']}.", location=name
            )
        return next(e for e in spec["enum"] if e.lower() == text.lower())
    else:
        return text
    raise ApiError(400, f"Invalid value for parameter {name}: {text!r} is not {form or kind}.", location=name)


def _is_scalar(kind: str | None, form: str | None, value: Any) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if form in ("int32", "uint32", "int64", "uint64"):
        if isinstance(value, str):
            return re.fullmatch(r"-?\d+", value) is not None
        return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    if kind in ("number", "integer"):
        if isinstance(value, str):
            return (
                value in ("NaN", "Infinity", "-Infinity") or re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
            )
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if form == "google-duration":
        return _DURATION.match(value) is not None
    if form in ("google-datetime", "date-time"):
        return _TIMESTAMP.match(value) is not None
    if form == "byte":
        try:
            base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error:
            return False
    return True


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda m: m.group(1).upper(), name)


def _wrong_type(where: str, expected: str, value: Any) -> str:
    return f"Invalid value at '{where}' ({expected}), {json.dumps(value)[:200]}"
