"""What is wrong with a request, told as the service tells it.

The form of the errors is the service's: ``List of found errors: 1.Field: job_spec.worker_pool_specs[0]
.machine_spec.accelerator_type; Message: …``.
"""

from __future__ import annotations

from airflow_ml_provider.emulator.errors import ApiError

REQUIRED = "Required field is not set."


class Problems:
    """What is wrong with a request, field by field."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, field: str, message: str) -> None:
        """Note a problem.

        :param field: its path, in the API's snake case.
        """
        self.found.append((field, message))

    def refuse(self) -> None:
        """Raise them all at once, if there are any.

        :raises ApiError: 400.
        """
        if not self.found:
            return
        listed = "".join(
            f"{n}.Field: {field}; Message: {text}\t" for n, (field, text) in enumerate(self.found, 1)
        )
        raise ApiError(
            400,
            f"List of found errors:\t{listed}",
            details=[
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": f, "description": text} for f, text in self.found],
                }
            ],
        )
