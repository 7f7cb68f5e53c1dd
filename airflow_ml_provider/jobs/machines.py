"""Machine types and accelerators of Vertex AI training, as data.

https://cloud.google.com/vertex-ai/docs/training/configure-compute, as of August 2026; NVIDIA_TESLA_P100 has
left since (end of support on 2026-09-15).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MachineType:
    """What a machine has, and what can be put into it.

    :param cpus: virtual CPUs.
    :param memory_gb: in GB.
    :param accelerators: how many of which accelerator it can have.
    :param bound: whether it can't do without one.
    :param topologies: of its TPUs, which say how many chips there are and on how many machines.
    """

    cpus: int
    memory_gb: float
    accelerators: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    bound: bool = False
    topologies: Mapping[str, int] = field(default_factory=dict)

    @property
    def own_accelerator(self) -> tuple[str, int] | None:
        """The only accelerator that this machine can have, and their number; None if there is a choice."""
        if self.bound and len(self.accelerators) == 1:
            kind, counts = next(iter(self.accelerators.items()))
            if len(counts) == 1:
                return kind, counts[0]
        return None


# Sizes by family, and GB of memory for each CPU.
_FAMILIES: Mapping[str, tuple[tuple[int, ...], float]] = {
    "e2-standard": ((4, 8, 16, 32), 4),
    "e2-highmem": ((2, 4, 8, 16), 8),
    "e2-highcpu": ((16, 32), 1),
    "n1-standard": ((4, 8, 16, 32, 64, 96), 3.75),
    "n1-highmem": ((2, 4, 8, 16, 32, 64, 96), 6.5),
    "n1-highcpu": ((16, 32, 64, 96), 0.9),
    "n2-standard": ((4, 8, 16, 32, 48, 64, 80), 4),
    "n2-highmem": ((2, 4, 8, 16, 32, 48, 64, 80), 8),
    "n2-highcpu": ((16, 32, 48, 64, 80), 1),
    "n4-standard": ((2, 4, 8, 16, 32, 48, 64, 80), 4),
    "n4-highmem": ((2, 4, 8, 16, 32, 48, 64, 80), 8),
    "n4-highcpu": ((2, 4, 8, 16, 32, 48, 64, 80), 2),
    "c2-standard": ((4, 8, 16, 30, 60), 4),
    "m1-ultramem": ((40, 80, 160), 24.025),
    "m1-megamem": ((96,), 14.93),
    "g2-standard": ((4, 8, 12, 16, 24, 32, 48, 96), 4),
    "g4-standard": ((48, 96, 192, 384), 3.75),
}
# Machines that are named after their accelerators: CPUs and GB of memory.
_NAMED: Mapping[str, tuple[int, float]] = {
    "a2-highgpu-1g": (12, 85),
    "a2-highgpu-2g": (24, 170),
    "a2-highgpu-4g": (48, 340),
    "a2-highgpu-8g": (96, 680),
    "a2-megagpu-16g": (96, 1360),
    "a2-ultragpu-1g": (12, 170),
    "a2-ultragpu-2g": (24, 340),
    "a2-ultragpu-4g": (48, 680),
    "a2-ultragpu-8g": (96, 1360),
    "a3-highgpu-1g": (26, 234),
    "a3-highgpu-2g": (52, 468),
    "a3-highgpu-4g": (104, 936),
    "a3-highgpu-8g": (208, 1872),
    "a3-megagpu-8g": (208, 1872),
    "a3-ultragpu-8g": (224, 2952),
    "a4-highgpu-8g": (224, 3968),
    "a4x-highgpu-4g": (140, 884),
    "cloud-tpu": (96, 335),
    "ct5lp-hightpu-1t": (24, 48),
    "ct5lp-hightpu-4t": (112, 192),
    "ct5lp-hightpu-8t": (224, 384),
    "ct6e-standard-1t": (44, 176),
    "ct6e-standard-4t": (180, 720),
    "ct6e-standard-8t": (180, 1440),
    "tpu7x-standard-4t": (224, 960),
}
# N1 machines take GPUs: the least number of them, by the machine's CPUs.
_N1_T4_P4 = {2: (1, 2, 4), 4: (1, 2, 4), 8: (1, 2, 4), 16: (1, 2, 4), 32: (2, 4), 64: (4,), 96: (4,)}
_N1_V100 = {
    2: (1, 2, 4, 8),
    4: (1, 2, 4, 8),
    8: (1, 2, 4, 8),
    16: (2, 4, 8),
    32: (4, 8),
    64: (8,),
    96: (8,),
}
_TPU_POD_CHIPS = tuple(range(32, 2049, 32))
# Machines that come with accelerators and can't do without: kind and numbers.
_BOUND: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    **{
        f"g2-standard-{size}": {"NVIDIA_L4": (count,)}
        for size, count in {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}.items()
    },
    **{
        f"g4-standard-{size}": {"NVIDIA_RTX_PRO_6000": (count,)}
        for size, count in {48: 1, 96: 2, 192: 4, 384: 8}.items()
    },
    **{f"a2-highgpu-{n}g": {"NVIDIA_TESLA_A100": (n,)} for n in (1, 2, 4, 8)},
    "a2-megagpu-16g": {"NVIDIA_TESLA_A100": (16,)},
    **{f"a2-ultragpu-{n}g": {"NVIDIA_A100_80GB": (n,)} for n in (1, 2, 4, 8)},
    **{f"a3-highgpu-{n}g": {"NVIDIA_H100_80GB": (n,)} for n in (1, 2, 4, 8)},
    "a3-megagpu-8g": {"NVIDIA_H100_MEGA_80GB": (8,)},
    "a3-ultragpu-8g": {"NVIDIA_H200_141GB": (8,)},
    "a4-highgpu-8g": {"NVIDIA_B200": (8,)},
    "a4x-highgpu-4g": {"NVIDIA_GB200": (4,)},
    "cloud-tpu": {"TPU_V2": (8, *_TPU_POD_CHIPS), "TPU_V3": (8, *_TPU_POD_CHIPS)},
}
_V5E_AND_V6E = {"2x2": 1, "2x4": 2, "4x4": 4, "4x8": 8, "8x8": 16, "8x16": 32, "16x16": 64}
# TPU machines that say by a topology, not by a number, how many chips they have: machines by topology.
_TOPOLOGIES: Mapping[str, Mapping[str, int]] = {
    "ct5lp-hightpu-1t": {"1x1": 1},
    "ct5lp-hightpu-4t": _V5E_AND_V6E,
    "ct5lp-hightpu-8t": {"2x4": 1},
    "ct6e-standard-1t": {"1x1": 1},
    "ct6e-standard-4t": _V5E_AND_V6E,
    "ct6e-standard-8t": {"2x4": 1},
    "tpu7x-standard-4t": {
        "2x2x1": 1,
        "2x2x2": 2,
        "2x2x4": 4,
        "2x4x4": 8,
        "4x4x4": 16,
        "4x4x8": 32,
        "4x8x8": 64,
        "8x8x8": 128,
        "8x8x16": 256,
    },
}
# With the strategy FLEX_START. https://cloud.google.com/vertex-ai/docs/training/schedule-jobs-dws#requirements
FLEX_START_ACCELERATORS = (
    "NVIDIA_L4",
    "NVIDIA_TESLA_A100",
    "NVIDIA_A100_80GB",
    "NVIDIA_H100_80GB",
    "NVIDIA_H100_MEGA_80GB",
    "NVIDIA_H200_141GB",
    "NVIDIA_B200",
)
# To be had only through a reservation.
RESERVED_ACCELERATORS = ("NVIDIA_GB200",)
# Accelerators that are gone: what to use instead, how many of it a machine can have at most, and why.
# https://cloud.google.com/compute/docs/eol/k80-eol, https://cloud.google.com/compute/docs/eol/p100-eos
RETIRED: Mapping[str, tuple[str, int, str]] = {
    "NVIDIA_TESLA_K80": ("NVIDIA_TESLA_T4", 4, "NVIDIA K80 is gone"),
    "NVIDIA_TESLA_P100": ("NVIDIA_TESLA_T4", 4, "NVIDIA P100 reached its end of support on 2026-09-15"),
}


def _accelerators(name: str, cpus: int) -> Mapping[str, tuple[int, ...]]:
    if name in _BOUND:
        return _BOUND[name]
    if name.startswith("n1-"):
        few = _N1_T4_P4[cpus]
        return {"NVIDIA_TESLA_T4": few, "NVIDIA_TESLA_P4": few, "NVIDIA_TESLA_V100": _N1_V100[cpus]}
    return {}


def _machine(name: str, cpus: int, memory_gb: float) -> MachineType:
    bound = name in _BOUND or name in _TOPOLOGIES
    return MachineType(cpus, memory_gb, _accelerators(name, cpus), bound, _TOPOLOGIES.get(name, {}))


MACHINES: Mapping[str, MachineType] = {
    **{
        f"{family}-{size}": _machine(f"{family}-{size}", size, round(size * memory, 2))
        for family, (sizes, memory) in _FAMILIES.items()
        for size in sizes
    },
    **{name: _machine(name, cpus, memory) for name, (cpus, memory) in _NAMED.items()},
}
ACCELERATORS = frozenset(kind for machine in MACHINES.values() for kind in machine.accelerators)


def family(machine_type: str) -> str:
    """Return a machine type's family: ``n1-highcpu`` of ``n1-highcpu-16``."""
    return machine_type.rpartition("-")[0]


def siblings(machine_type: str) -> list[str]:
    """Return the known machine types of a machine type's family, small ones first."""
    return [name for name in MACHINES if family(name) == family(machine_type)]


def machines_with(accelerator: str) -> list[str]:
    """Return the known machine types that can have an accelerator."""
    return [name for name, machine in MACHINES.items() if accelerator in machine.accelerators]
