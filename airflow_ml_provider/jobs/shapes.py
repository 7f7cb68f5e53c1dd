"""Whether a field holds a text, a list or a mapping at all, which its rules take for granted."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from airflow_ml_provider.jobs.values import is_later

T = TypeVar("T")

_TEXTS = {
    "image_uri",
    "machine_type",
    "accelerator",
    "gpu_partition_size",
    "tpu_topology",
    "boot_disk_type",
    "base_output_dir",
    "display_name",
    "scheduling_strategy",
    "service_account",
    "network",
    "kms_key",
    "tensorboard",
    "experiment",
    "experiment_run",
    "persistent_resource_id",
    "protected_artifact_location",
    "region",
}
_LISTS = {"args", "command", "reserved_ip_ranges", "nfs_mounts", "lustre_mounts"}
_MAPPINGS = {"env", "labels"}


def shaped(owner: T, where: str = "") -> tuple[T, list[str]]:
    """Return a copy whose fields have the shapes that they should have, and what was wrong.

    A field of another shape, or one whose list or mapping is known only when the task runs, has its default
    in the copy, so that the rest can be checked.

    :param owner: a data class.
    :param where: what the names of its fields begin with in messages.
    """
    made = copy.copy(owner)
    found = []
    for field in dataclasses.fields(owner):  # type: ignore[arg-type]
        value = getattr(owner, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value is default:
            continue
        problem = _problem(field.name, value)
        if problem:
            found.append(f"{where}{field.name}: {value!r} {problem}")
        if problem or (field.name in _LISTS | _MAPPINGS and is_later(value)):
            # Where there is no default, templates are let through by every rule.
            content = "{{ }}" if default is dataclasses.MISSING else default
            object.__setattr__(made, field.name, content)
    return made, found


def _problem(name: str, value: Any) -> str:
    if name in _TEXTS and not isinstance(value, str) and not (value is not None and is_later(value)):
        return "is not a text"
    if name in _LISTS and (isinstance(value, str | bytes) or not _is(value, Sequence)):
        return "must be a list of words, not one text" if isinstance(value, str) else "is not a list"
    if name in _MAPPINGS and not _is(value, Mapping):
        return "is not a mapping"
    if name == "reservation" and not isinstance(value, str):
        if isinstance(value, bytes) or not _is(value, Sequence) or not all(map(_is_text, value)):
            return "is neither a reservation's name nor a list of names"
    return ""


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) or (is_later(value) and not isinstance(value, str))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or is_later(value)
