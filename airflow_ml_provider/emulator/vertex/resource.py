"""A custom job as the service writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ml_provider.emulator.discovery import Api
from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.vertex.validation import is_used

# Enums of which the document does not tell that their numbers have gaps.
# https://github.com/googleapis/googleapis/blob/master/google/cloud/aiplatform/v1/accelerator_type.proto and
# custom_job.proto
ENUM_NUMBERS: Mapping[str, Mapping[int, str]] = {
    "GoogleCloudAiplatformV1MachineSpec.acceleratorType": {
        0: "ACCELERATOR_TYPE_UNSPECIFIED",
        1: "NVIDIA_TESLA_K80",
        2: "NVIDIA_TESLA_P100",
        3: "NVIDIA_TESLA_V100",
        4: "NVIDIA_TESLA_P4",
        5: "NVIDIA_TESLA_T4",
        6: "TPU_V2",
        7: "TPU_V3",
        8: "NVIDIA_TESLA_A100",
        9: "NVIDIA_A100_80GB",
        10: "TPU_V4_POD",
        11: "NVIDIA_L4",
        12: "TPU_V5_LITEPOD",
        13: "NVIDIA_H100_80GB",
        14: "NVIDIA_H100_MEGA_80GB",
        15: "NVIDIA_H200_141GB",
        16: "NVIDIA_B200",
        17: "NVIDIA_GB200",
        18: "NVIDIA_RTX_PRO_6000",
    },
    "GoogleCloudAiplatformV1Scheduling.strategy": {
        0: "STRATEGY_UNSPECIFIED",
        1: "ON_DEMAND",
        2: "LOW_COST",
        3: "STANDARD",
        4: "SPOT",
        6: "FLEX_START",
    },
}
_OUTPUT_ONLY = (
    "name",
    "state",
    "createTime",
    "startTime",
    "endTime",
    "updateTime",
    "error",
    "webAccessUris",
    "satisfiesPzs",
    "satisfiesPzi",
)
_INT32 = ("acceleratorCount", "bootDiskSizeGb")
# Maps, in which an empty value is a value.
_MAPS = ("labels",)


def normalized(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a requested job as the service keeps it.

    Output-only fields are ignored, fields with their type's default value left out, int64 are strings, and
    the service's own defaults filled in.

    :param job: a ``CustomJob`` that was checked.
    """
    kept = _without_defaults({name: value for name, value in job.items() if name not in _OUTPUT_ONLY})
    spec = kept["jobSpec"]
    for pool in spec["workerPoolSpecs"]:
        if not is_used(pool):
            pool.clear()
            continue
        disk = pool.setdefault("diskSpec", {})
        ultra = pool["machineSpec"]["machineType"] == "a3-ultragpu-8g"
        disk.setdefault("bootDiskType", "hyperdisk-balanced" if ultra else "pd-ssd")
        disk.setdefault("bootDiskSizeGb", 100)
    if spec.get("scheduling", {}).get("disableRetries"):
        spec["scheduling"].pop("restartJobOnWorkerRestart", None)
    directory = spec.get("baseOutputDirectory")
    if directory and not directory["outputUriPrefix"].endswith("/"):
        directory["outputUriPrefix"] += "/"
    return kept


def masked(job: dict[str, Any], mask: str | None, api: Api) -> dict[str, Any]:
    """Return those fields of a job that a ``readMask`` names.

    :param mask: paths in either spelling, separated by commas; empty for all.
    :raises ApiError: 400, for a path that a job cannot have.
    """
    if not mask or mask == "*":
        return job
    picked: dict[str, Any] = {}
    for path in mask.split(","):
        _pick(job, picked, _checked_path(path.strip(), api))
    return picked


def _without_defaults(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, item in value.items():
        if name in _MAPS:
            if item:
                kept[name] = item
        elif isinstance(item, dict):
            kept[name] = _without_defaults(item)
        elif isinstance(item, list):
            if item:
                kept[name] = [_without_defaults(i) if isinstance(i, dict) else i for i in item]
        elif name == "replicaCount":
            if int(item):
                kept[name] = str(int(item))
        elif name in _INT32:
            if int(item):
                kept[name] = int(item)
        elif item and not (isinstance(item, str) and item.endswith("_UNSPECIFIED")):
            kept[name] = item
    return kept


def _checked_path(path: str, api: Api) -> Sequence[str]:
    schema: Mapping[str, Any] = api.schemas["GoogleCloudAiplatformV1CustomJob"]
    segments = []
    for segment in path.split("."):
        name = re.sub(r"_([a-z0-9])", lambda m: m.group(1).upper(), segment)
        if "additionalProperties" in schema:
            # The key of a map, with nothing below it.
            segments.append(segment)
            schema = {}
            continue
        spec = schema.get("properties", {}).get(name)
        if spec is None:
            raise ApiError(
                400, f'Invalid field mask: "{path}" is no field of a CustomJob.', location="readMask"
            )
        segments.append(name)
        schema = api.schemas[spec["$ref"]] if "$ref" in spec else spec
    return segments


def _pick(source: Mapping[str, Any], target: dict[str, Any], path: Sequence[str]) -> None:
    name, *rest = path
    if name not in source:
        return
    if rest and isinstance(source[name], Mapping):
        _pick(source[name], target.setdefault(name, {}), rest)
    else:
        target[name] = source[name]
