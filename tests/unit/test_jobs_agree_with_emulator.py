"""The job's own checks and the emulator's refusals are two readings of the same rules of Vertex AI."""

from __future__ import annotations

from itertools import product

import pytest

from airflow_ml_provider.emulator.errors import ApiError
from airflow_ml_provider.emulator.vertex.validation import check_job
from airflow_ml_provider.jobs import InvalidTrainingJob, TrainingJob
from airflow_ml_provider.jobs.machines import MACHINES

IMAGE = "europe-docker.pkg.dev/proj/repo/trainer:1"
KINDS = (
    "",
    "NVIDIA_TESLA_K80",
    "NVIDIA_TESLA_P100",
    *sorted({k for m in MACHINES.values() for k in m.accelerators}),
)
RESERVED = "projects/p/zones/us-central1-a/reservations/r"


def own(**fields):
    try:
        TrainingJob(image_uri=IMAGE, **fields)
    except InvalidTrainingJob:
        return False
    return True


def emulated(machine, **spec):
    pool = {"machineSpec": machine, "replicaCount": "1", "containerSpec": {"imageUri": IMAGE}}
    try:
        check_job({"displayName": "d", "jobSpec": {"workerPoolSpecs": [pool], **spec}}, "us-central1")
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("machine_type", [*MACHINES, "n1-highcpu-8", "n1-standard-1", "g2-standard-64"])
def test_both_know_which_accelerators_a_machine_can_have(machine_type):
    for kind, count in product(KINDS, (1, 3, 4, 8, 32)):
        reservation = {"reservationAffinityType": "ANY_RESERVATION"}
        machine = {"machineType": machine_type, "reservationAffinity": reservation}
        if kind:
            machine |= {"acceleratorType": kind, "acceleratorCount": count}
        topology = next(iter(MACHINES[machine_type].topologies), None) if machine_type in MACHINES else None
        if topology:
            if kind:
                continue
            machine["tpuTopology"] = topology
        accelerator = f"{kind}:{count}" if kind else ""
        fields = {"machine_type": machine_type, "accelerator": accelerator, "tpu_topology": topology}
        assert own(reservation="ANY_RESERVATION", **fields) == emulated(machine), (kind, count)


@pytest.mark.parametrize("strategy", ["STANDARD", "SPOT", "FLEX_START"])
@pytest.mark.parametrize(
    "machine_type", ["n1-standard-8", "g2-standard-8", "a4x-highgpu-4g", "a3-highgpu-2g"]
)
@pytest.mark.parametrize("reservation", [None, "ANY_RESERVATION", "NO_RESERVATION", RESERVED, "short"])
@pytest.mark.parametrize("timeout", [3600, 8 * 24 * 3600])
@pytest.mark.parametrize("wait", [None, 0, 60])
def test_both_know_the_rules_of_scheduling(strategy, machine_type, reservation, timeout, wait):
    machine = {"machineType": machine_type}
    accelerator = MACHINES[machine_type].own_accelerator
    if accelerator:
        machine |= {"acceleratorType": accelerator[0], "acceleratorCount": accelerator[1]}
    if reservation in ("ANY_RESERVATION", "NO_RESERVATION"):
        machine["reservationAffinity"] = {"reservationAffinityType": reservation}
    elif reservation:
        machine["reservationAffinity"] = {
            "reservationAffinityType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [reservation],
        }
    scheduling = {"strategy": strategy, "timeout": f"{timeout}s"}
    if wait is not None:
        scheduling["maxWaitDuration"] = f"{wait}s"
    fields = {"scheduling_strategy": strategy, "timeout": timeout, "max_wait_duration": wait}
    assert own(machine_type=machine_type, reservation=reservation, **fields) == emulated(
        machine, scheduling=scheduling
    )
