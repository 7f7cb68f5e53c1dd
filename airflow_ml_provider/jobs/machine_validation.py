"""Whether a machine exists, with that accelerator, and whether it fits the rest of the job."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_ml_provider.jobs.machines import (
    ACCELERATORS,
    FLEX_START_ACCELERATORS,
    MACHINES,
    RESERVED_ACCELERATORS,
    RETIRED,
    machines_with,
    siblings,
)
from airflow_ml_provider.jobs.pools import Pool
from airflow_ml_provider.jobs.reservations import ANY_RESERVATION, NO_RESERVATION, RESERVATION, names
from airflow_ml_provider.jobs.scheduling import FLEX_START, SPOT
from airflow_ml_provider.jobs.values import is_later

if TYPE_CHECKING:
    from airflow_ml_provider.jobs.training_job import TrainingJob

log = logging.getLogger(__name__)


def machine_problems(
    where: str, machine_type: str | None, accelerator: str | None, partition: str | None
) -> list[str]:
    """Return what is wrong with the names of a machine and its accelerator, each by itself.

    :param where: what the names of the fields begin with.
    """
    found = []
    if machine_type is not None and not is_later(machine_type):
        found += _machine_type_problems(f"{where}machine_type", machine_type)
    if accelerator and not is_later(accelerator):
        found += _accelerator_problems(f"{where}accelerator", accelerator)
    if partition is not None and not is_later(partition):
        if not re.fullmatch(r"\d+g\.\d+gb", str(partition)):
            found.append(f"{where}gpu_partition_size: {partition!r} is not a size such as 1g.10gb")
    return found


def placement_problems(job: TrainingJob, pools: Sequence[Pool]) -> list[str]:
    """Return what is wrong with machines and their accelerators, and with them in this job."""
    found: list[str] = []
    for pool in pools:
        if pool.names_machine and not is_later(pool.machine_type) and not is_later(pool.accelerator):
            found += _pool_problems(pool)
        found += _reservation_problems(job, pool)
    if job.scheduling_strategy == FLEX_START:
        found += _flex_start_problems(pools)
    tpus = [pool for pool in pools if _is_tpu(pool)]
    if tpus and len(pools) > 1:
        found.append(
            f"{pools[1].role}: a job with TPUs has a chief only; tpu_topology says how many machines"
        )
    if tpus and job.scheduling_strategy == SPOT and _tpu_machines(tpus[0]) > 1:
        found.append("scheduling_strategy: SPOT is not to be had for TPUs on several machines")
    return found


def _machine_type_problems(where: str, machine_type: str) -> list[str]:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(machine_type)):
        return [f"{where}: {machine_type!r} is not a machine type such as n1-standard-8"]
    if machine_type in MACHINES:
        return []
    family = siblings(machine_type)
    if family:
        return [f"{where}: Vertex AI has no {machine_type}; of its kind there are {', '.join(family)}"]
    # A family that is newer than this table must not keep anybody from using it.
    log.warning("%s: %s is not in the list of August 2026; Vertex AI decides", where, machine_type)
    return []


def _accelerator_problems(where: str, accelerator: str) -> list[str]:
    found = re.fullmatch(r"([A-Z][A-Z0-9_]*)(:[1-9]\d*)?", str(accelerator))
    if not found:
        return [f"{where}: {accelerator!r} is not TYPE or TYPE:COUNT such as NVIDIA_TESLA_T4:2"]
    kind = found.group(1)
    if kind in RETIRED:
        other, most, reason = RETIRED[kind]
        return [f"{where}: {reason}; use {other}, at most {most} of it on a machine"]
    if kind.startswith("TPU_") and kind not in ACCELERATORS:
        return [f"{where}: {kind} is chosen by machine_type and tpu_topology, without accelerator"]
    if kind not in ACCELERATORS:
        return [f"{where}: {kind} is unknown; there are {', '.join(sorted(ACCELERATORS))}"]
    return []


def _pool_problems(pool: Pool) -> Iterator[str]:
    where = pool.field
    kind, accelerator, count = pool.machine
    known = MACHINES.get(kind)
    if pool.gpu_partition_size and not (accelerator and count == 1):
        yield f"{where}gpu_partition_size: needs an accelerator, and one of it, whose parts are used"
    if known is None:
        return
    if known.topologies:
        if accelerator:
            yield f"{where}accelerator: {kind} has its TPUs by tpu_topology, without accelerator"
        if not is_later(pool.tpu_topology) and pool.tpu_topology not in known.topologies:
            yield (
                f"{where}tpu_topology: {pool.tpu_topology!r}, but {kind} has one of "
                f"{', '.join(known.topologies)}"
            )
        return
    if pool.tpu_topology:
        yield f"{where}tpu_topology: {kind} is no TPU machine with a topology"
    if accelerator is None:
        if known.bound:
            yield f"{where}accelerator: {kind} comes with {_choices(known.accelerators)}"
    elif accelerator not in known.accelerators:
        fitting = machines_with(accelerator)
        yield (
            f"{where}accelerator: {kind} can't have {accelerator}; machines that can: "
            f"{', '.join(fitting[:8])}{', …' if len(fitting) > 8 else ''}"
        )
    elif count not in known.accelerators[accelerator]:
        counts = known.accelerators[accelerator]
        listed = ", ".join(map(str, counts[:8]))
        yield f"{where}accelerator: {kind} can't have {count} {accelerator}; it can have {listed}"


def _choices(accelerators: Mapping[str, Sequence[int]]) -> str:
    return " or ".join(f"{kind}:{counts[0]}" for kind, counts in accelerators.items())


def _reservation_problems(job: TrainingJob, pool: Pool) -> Iterator[str]:
    given = names(pool.reservation)
    if any(is_later(name) for name in given):
        return
    uses = bool(given) and given != [NO_RESERVATION]
    if not pool.role or pool.reservation != job.reservation:
        yield from _reservation_name_problems(f"{pool.field}reservation", given)
        if uses and job.scheduling_strategy == FLEX_START:
            yield f"{pool.field}reservation: excluded by FLEX_START"
        if uses and job.persistent_resource_id:
            yield f"{pool.field}reservation: excluded by persistent_resource_id, which has its machines"
    if is_later(pool.machine_type) or is_later(pool.accelerator):
        return
    if not uses and pool.machine[1] in RESERVED_ACCELERATORS:
        yield f"{pool.field}reservation: required for {pool.machine[1]}, which is to be had only so"


def _reservation_name_problems(where: str, given: Sequence[str]) -> Iterator[str]:
    special = [name for name in given if name in (ANY_RESERVATION, NO_RESERVATION)]
    if special and len(given) > 1:
        yield f"{where}: {special[0]} and others at once"
    for name in given:
        if not special and not RESERVATION.fullmatch(str(name)):
            yield (
                f"{where}: {name!r} is not projects/PROJECT/zones/ZONE/reservations/NAME, "
                f"{ANY_RESERVATION} or {NO_RESERVATION}"
            )


def _flex_start_problems(pools: Sequence[Pool]) -> list[str]:
    machines = [
        pool.machine for pool in pools if not is_later(pool.machine_type) and not is_later(pool.accelerator)
    ]
    without = [machine for machine in machines if machine[1] not in FLEX_START_ACCELERATORS]
    if without:
        return [
            f"scheduling_strategy: FLEX_START needs accelerators, of {', '.join(FLEX_START_ACCELERATORS)}; "
            f"{without[0][0]} has {without[0][1] or 'none'}"
        ]
    if len(set(machines)) > 1:
        return ["scheduling_strategy: FLEX_START needs the same machine and accelerators in all roles"]
    return []


def _is_tpu(pool: Pool) -> bool:
    known = None if is_later(pool.machine_type) else MACHINES.get(pool.machine_type)
    return bool(known and (known.topologies or "TPU_V3" in known.accelerators))


def _tpu_machines(pool: Pool) -> int:
    """Return on how many machines a pool's TPUs are; 8 of the older chips are on each."""
    topologies = MACHINES[pool.machine_type].topologies
    if topologies:
        return topologies.get(str(pool.tpu_topology), 1)
    return 1 if is_later(pool.accelerator) else pool.machine[2] // 8
