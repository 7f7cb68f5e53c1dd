"""Machine types and accelerators of Vertex AI training.

https://cloud.google.com/vertex-ai/docs/training/configure-compute, as of August 2026; NVIDIA_TESLA_P100 has
left since (end of support on 2026-09-15).
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_ml_provider.emulator.cluster.replicas import Machine

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
MACHINES: Mapping[str, Machine] = {
    **{
        f"{family}-{size}": Machine(size, round(size * memory, 2))
        for family, (sizes, memory) in _FAMILIES.items()
        for size in sizes
    },
    **{name: Machine(cpus, memory) for name, (cpus, memory) in _NAMED.items()},
}

_G2 = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}
_G4 = {48: 1, 96: 2, 192: 4, 384: 8}
_TPU_POD_CHIPS = tuple(range(32, 2049, 32))
# Machines that come with accelerators and cannot do without: kind and numbers.
BOUND: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    **{f"g2-standard-{size}": {"NVIDIA_L4": (count,)} for size, count in _G2.items()},
    **{f"g4-standard-{size}": {"NVIDIA_RTX_PRO_6000": (count,)} for size, count in _G4.items()},
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
# TPU machines that say by a topology, not by a number, how many chips they have.
TOPOLOGY_TPUS = ("ct5lp-", "ct6e-", "tpu7x-")
# With FLEX_START. https://cloud.google.com/vertex-ai/docs/training/schedule-jobs-dws#requirements
FLEX_START_ACCELERATORS = (
    "NVIDIA_L4",
    "NVIDIA_TESLA_A100",
    "NVIDIA_A100_80GB",
    "NVIDIA_H100_80GB",
    "NVIDIA_H100_MEGA_80GB",
    "NVIDIA_H200_141GB",
    "NVIDIA_B200",
)

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


def accelerator_counts(machine_type: str) -> Mapping[str, tuple[int, ...]]:
    """Return which accelerators, and how many of them, a known machine type can have."""
    if machine_type in BOUND:
        return BOUND[machine_type]
    if machine_type.startswith("n1-"):
        cpus = MACHINES[machine_type].cpus
        few = _N1_T4_P4[cpus]
        return {"NVIDIA_TESLA_T4": few, "NVIDIA_TESLA_P4": few, "NVIDIA_TESLA_V100": _N1_V100[cpus]}
    return {}
