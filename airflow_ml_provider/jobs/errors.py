"""What is wrong with a description of a job."""

from __future__ import annotations

from collections.abc import Sequence


class InvalidTrainingJob(ValueError):
    """A job that Vertex AI would refuse or that can't mean what was written. Lists every problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("Invalid training job:\n" + "\n".join(f"  - {problem}" for problem in problems))
