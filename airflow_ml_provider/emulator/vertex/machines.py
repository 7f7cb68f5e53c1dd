"""What Vertex AI refuses in the machine of a worker pool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_ml_provider.emulator.vertex.problems import REQUIRED, Problems
from airflow_ml_provider.jobs.machines import MACHINES, RESERVED_ACCELERATORS, MachineType
from airflow_ml_provider.jobs.reservations import NAME_KEY, RESERVATION

_PARTITION = re.compile(r"\d+g\.\d+gb", re.ASCII)


def check_machine(machine: Mapping[str, Any], where: str, problems: Problems) -> None:
    """Note what is wrong with a machine.

    :param machine: a ``MachineSpec``.
    :param where: its path, in the API's snake case.
    """
    name = machine.get("machineType", "")
    if not name:
        problems.add(f"{where}.machine_type", REQUIRED)
        return
    known = MACHINES.get(name)
    if known is None:
        problems.add(f"{where}.machine_type", f'Machine type "{name}" is not supported.')
        return
    _check_accelerator(name, known, machine, where, problems)
    _check_partition(machine, where, problems)
    _check_reservation(machine, where, problems)


def is_tpu(machine_type: str) -> bool:
    """Tell whether a machine type has TPUs."""
    known = MACHINES.get(machine_type)
    return bool(known and (known.topologies or "TPU_V3" in known.accelerators))


def is_tpu_pod(machine: Mapping[str, Any]) -> bool:
    """Tell whether a machine's TPUs are more than one machine holds."""
    name = machine.get("machineType", "")
    if not is_tpu(name):
        return False
    topologies = MACHINES[name].topologies
    if topologies:
        return topologies.get(machine.get("tpuTopology", ""), 1) > 1
    return int(machine.get("acceleratorCount", 0)) > 8


def is_reserved(machine: Mapping[str, Any]) -> bool:
    """Tell whether a machine may come from a reservation."""
    return _reservation(machine) not in ("", "NO_RESERVATION")


def _check_accelerator(
    name: str, known: MachineType, machine: Mapping[str, Any], where: str, problems: Problems
) -> None:
    accelerator, count = _accelerator(machine), int(machine.get("acceleratorCount", 0))
    topology = machine.get("tpuTopology", "")
    if known.topologies:
        if topology not in known.topologies:
            problems.add(
                f"{where}.tpu_topology",
                f'"{topology}" is not supported for machine type "{name}": it must be one of '
                f"{', '.join(known.topologies)}.",
            )
        return
    if topology:
        problems.add(f"{where}.tpu_topology", f'It must not be set for machine type "{name}".')
    if bool(accelerator) != bool(count):
        problems.add(
            f"{where}.accelerator_type",
            "Both `accelerator_type` and `accelerator_count` should be specified or none.",
        )
        return
    allowed = known.accelerators
    if not accelerator:
        if known.bound:
            needed = " or ".join(f"{n} x {kind}" for kind, counts in allowed.items() for n in counts[:1])
            problems.add(f"{where}.accelerator_type", f'Machine type "{name}" must be used with {needed}.')
    elif accelerator not in allowed:
        problems.add(
            f"{where}.accelerator_type",
            f'Accelerator "{accelerator}" is not supported for machine type "{name}".',
        )
    elif count not in allowed[accelerator]:
        listed = ", ".join(map(str, allowed[accelerator][:8]))
        problems.add(
            f"{where}.accelerator_count",
            f'Accelerator count {count} of "{accelerator}" is not supported for machine type "{name}": '
            f"it must be one of {listed}.",
        )


def _accelerator(machine: Mapping[str, Any]) -> str:
    accelerator = str(machine.get("acceleratorType", ""))
    return "" if accelerator == "ACCELERATOR_TYPE_UNSPECIFIED" else accelerator


def _check_partition(machine: Mapping[str, Any], where: str, problems: Problems) -> None:
    partition = machine.get("gpuPartitionSize", "")
    if not partition:
        return
    field = f"{where}.gpu_partition_size"
    if not _PARTITION.fullmatch(partition):
        problems.add(field, f'"{partition}" is not a GPU partition size.')
    elif not _accelerator(machine) or int(machine.get("acceleratorCount", 0)) != 1:
        problems.add(field, "It can only be set when `accelerator_count` is 1.")


def _check_reservation(machine: Mapping[str, Any], where: str, problems: Problems) -> None:
    affinity = machine.get("reservationAffinity", {})
    field = f"{where}.reservation_affinity"
    kind = _reservation(machine)
    if affinity and not kind:
        problems.add(f"{field}.reservation_affinity_type", REQUIRED)
    names = affinity.get("values", [])
    if kind == "SPECIFIC_RESERVATION":
        if affinity.get("key") != NAME_KEY:
            problems.add(f"{field}.key", f'It must be "{NAME_KEY}" for SPECIFIC_RESERVATION.')
        if not names:
            problems.add(f"{field}.values", REQUIRED)
        for name in names:
            if not RESERVATION.fullmatch(name):
                problems.add(f"{field}.values", f'"{name}" is not the full resource name of a reservation.')
    elif names or affinity.get("key"):
        problems.add(field, f"Key and values can only be set for SPECIFIC_RESERVATION, not for {kind}.")
    if _accelerator(machine) in RESERVED_ACCELERATORS and not is_reserved(machine):
        problems.add(field, f'Accelerator "{_accelerator(machine)}" needs a reservation.')


def _reservation(machine: Mapping[str, Any]) -> str:
    kind = str(machine.get("reservationAffinity", {}).get("reservationAffinityType", ""))
    return "" if kind == "TYPE_UNSPECIFIED" else kind
