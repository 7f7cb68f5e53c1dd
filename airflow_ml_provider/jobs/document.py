"""Jobs as YAML or JSON files, and as the plain data in them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount
from airflow_ml_provider.jobs.parameters import ConditionalParameter, Parameter
from airflow_ml_provider.jobs.private_network import DnsPeering, PscInterface
from airflow_ml_provider.jobs.replicas import Replicas
from airflow_ml_provider.jobs.stopping import EarlyStopping, StudyStopping

T = TypeVar("T")
# Fields that hold a record, or a list of records.
_RECORDS: Mapping[str, type] = {
    "workers": Replicas,
    "parameter_servers": Replicas,
    "evaluator": Replicas,
    "psc_interface": PscInterface,
    "parameter": Parameter,
    "early_stopping": EarlyStopping,
    "study_stopping": StudyStopping,
}
_RECORD_LISTS: Mapping[str, type] = {
    "nfs_mounts": NfsMount,
    "lustre_mounts": LustreMount,
    "dns_peerings": DnsPeering,
    "parameters": Parameter,
    "conditional": ConditionalParameter,
}


def load(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML or JSON file.

    :raises InvalidTrainingJob: the file can't be read, holds something else, or says a thing twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidTrainingJob([f"{path}: {error}"]) from error
    value = parse(text, str(path))
    if not isinstance(value, dict):
        raise InvalidTrainingJob([f"{path}: a mapping expected, found {type(value).__name__}"])
    return value


def parse(text: str, where: str) -> Any:
    """Return what a YAML or JSON text holds.

    :param where: what the text is, for messages.
    :raises InvalidTrainingJob: it is neither, or says a thing twice.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that comes twice, of which YAML's own would keep the last one."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is said twice", key.start_mark
                    )
                if isinstance(key, yaml.ScalarNode):
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return json.loads(text) if where.endswith(".json") else yaml.load(text, Loader)  # noqa: S506
    except (ValueError, TypeError, yaml.YAMLError) as error:
        hint = "\nA template needs quotes: '{{ … }}'" if "{{" in text or "{%" in text else ""
        raise InvalidTrainingJob([f"{where}: {error}{hint}"]) from error


def dump(value: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """Return plain data as YAML.

    :param comments: lines that come first.
    """
    import yaml

    lines = [f"# {line}\n" for comment in comments for line in comment.splitlines()]
    return "".join(lines) + yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=10_000)


def build(kind: type[T], value: Mapping[str, Any], where: str = "") -> T:
    """Return a data class made of plain data.

    :param where: what the names of the fields begin with in messages.
    :raises InvalidTrainingJob: unknown or missing fields, or values that the class refuses.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    found = [
        f"{where}{name}: no such field; there are {sorted(fields)}"
        for name in sorted(set(value) - set(fields))
    ]
    found += [
        f"{where}{name}: required"
        for name, item in fields.items()
        if name not in value
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    made: dict[str, Any] = {}
    for name, content in value.items():
        try:
            made[name] = _built(name, content, where)
        except InvalidTrainingJob as error:
            found += error.problems
    if found:
        raise InvalidTrainingJob(found)
    return kind(**made)


def _built(name: str, content: Any, where: str) -> Any:
    if name in _RECORDS and isinstance(content, Mapping):
        return build(_RECORDS[name], content, f"{where}{name}.")
    if name in _RECORD_LISTS and isinstance(content, list | tuple):
        kind = _RECORD_LISTS[name]
        return [
            build(kind, item, f"{where}{name}[{number}].") if isinstance(item, Mapping) else item
            for number, item in enumerate(content)
        ]
    return content


def plain(value: Any) -> dict[str, Any]:
    """Return a data class's fields that differ from their defaults, as plain data."""
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        content = getattr(value, item.name)
        default = item.default_factory() if callable(item.default_factory) else item.default
        if content == default or item.name == "migration_notes":
            continue
        fields[item.name] = _plain(content)
    return fields


def _plain(content: Any) -> Any:
    if dataclasses.is_dataclass(content):
        return plain(content)
    if isinstance(content, Mapping):
        return {key: _plain(item) for key, item in content.items()}
    if isinstance(content, timedelta):
        return content.total_seconds()
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [_plain(item) for item in content]
    return content
