"""Which Airflow task a job belongs to, written on the job as labels.

Vertex AI gives a create no request id and lets labels never change, so the labels are the only truth that
a retry, on another machine and after any crash, can find again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

KEY = "airflow-key"
GENERATION = "airflow-gen"
TRY = "airflow-try"


@dataclass(frozen=True)
class JobIdentity:
    """The task instance that a job runs for.

    :param key: the same for every try of one task in one run.
    :param generation: changes when a person clears the task, not when Airflow retries it.
    :param try_number: from 1.
    """

    key: str
    generation: int
    try_number: int

    @classmethod
    def of_task(
        cls,
        *,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int,
        generation: int,
        try_number: int,
        loop: str = "",
    ) -> JobIdentity:
        """Return the identity of a task instance.

        :param map_index: -1 where it is not mapped.
        :param loop: the region of a task loop (Airflow 3.4), where two task instances share all the rest.
        """
        parts = [dag_id, run_id, task_id, str(map_index), *([loop] if loop else [])]
        text = "\x00".join(parts)
        return cls(hashlib.sha256(text.encode()).hexdigest()[:32], generation, try_number)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that a new job gets."""
        return {KEY: self.key, GENERATION: str(self.generation), TRY: str(self.try_number)}

    def filter(self, since: str) -> str:
        """Return the list filter for all jobs of this task.

        :param since: RFC 3339; older jobs are not looked at.
        """
        return f'labels.{KEY}={self.key} AND createTime>"{since}"'


def generation_of(labels: Mapping[str, str]) -> int:
    """Return the generation in a job's labels, -1 where it has none."""
    text = labels.get(GENERATION, "")
    return int(text) if text.isdigit() else -1
