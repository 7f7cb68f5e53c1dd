"""AI Platform Training's scale tiers and machine names, and what Vertex AI has in their place.

Tiers: https://cloud.google.com/ai-platform/training/docs/machine-types (archived). What Vertex AI offers:
https://cloud.google.com/vertex-ai/docs/training/configure-compute
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_ml_provider.jobs.machines import RETIRED


@dataclass(frozen=True)
class LegacyMachine:
    """What stands for a machine that AI Platform named.

    :param machine_type: Vertex AI's.
    :param accelerator: ``TYPE:COUNT``, or None.
    :param note: why it is not the same machine, or "" if it is.
    """

    machine_type: str
    accelerator: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Tier:
    """A scale tier: the machines of each role, by AI Platform's names, and how many."""

    master: str
    worker: str = ""
    workers: int = 0
    parameter_server: str = ""
    parameter_servers: int = 0


TIERS = {
    "BASIC": Tier("standard"),
    "STANDARD_1": Tier("complex_model_s", "complex_model_s", 4, "standard", 3),
    "PREMIUM_1": Tier("complex_model_m", "complex_model_m", 19, "large_model", 11),
    "BASIC_GPU": Tier("standard_gpu"),
}

_K80 = RETIRED["NVIDIA_TESLA_K80"][2]
_P100 = RETIRED["NVIDIA_TESLA_P100"][2]

MACHINES = {
    "standard": LegacyMachine("n1-standard-4"),
    "large_model": LegacyMachine("n1-highmem-8"),
    "complex_model_s": LegacyMachine("n1-standard-8", None, "Vertex AI's n1-highcpu starts at 16 cores"),
    "complex_model_m": LegacyMachine("n1-highcpu-16"),
    "complex_model_l": LegacyMachine("n1-highcpu-32"),
    "standard_gpu": LegacyMachine("n1-standard-8", "NVIDIA_TESLA_T4:1", _K80),
    "complex_model_m_gpu": LegacyMachine("n1-standard-16", "NVIDIA_TESLA_T4:4", _K80),
    "complex_model_l_gpu": LegacyMachine(
        "n1-standard-32",
        "NVIDIA_TESLA_T4:4",
        f"{_K80}, and no machine has 8 T4; NVIDIA_TESLA_V100:8 is the other way",
    ),
    "standard_p100": LegacyMachine("n1-standard-8", "NVIDIA_TESLA_T4:1", _P100),
    "complex_model_m_p100": LegacyMachine("n1-standard-16", "NVIDIA_TESLA_T4:4", _P100),
    "standard_v100": LegacyMachine("n1-standard-8", "NVIDIA_TESLA_V100:1"),
    "large_model_v100": LegacyMachine("n1-highmem-8", "NVIDIA_TESLA_V100:1"),
    "complex_model_m_v100": LegacyMachine("n1-standard-16", "NVIDIA_TESLA_V100:4"),
    "complex_model_l_v100": LegacyMachine("n1-standard-32", "NVIDIA_TESLA_V100:8"),
    "n1-highcpu-8": LegacyMachine("n1-standard-8", None, "Vertex AI's n1-highcpu starts at 16 cores"),
}

# TPUs beside a master, which the master drove over the network.
TPU_MACHINES = ("cloud_tpu", "standard_tpu")
