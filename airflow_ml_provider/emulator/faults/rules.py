"""Which fault strikes when."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

CALL_FAULTS = {
    "lost-reply": "the call is done, and the connection breaks before its answer",
    "reset": "the connection breaks before the call is done",
    "status": "the call is refused with `status`, 503 by default",
    "slow": "the answer comes `seconds` late",
    "stale-list": "a list does not show what was created in the last `seconds`",
    "empty-page": "a list's first page is empty and names a next one",
}
JOB_FAULTS = {
    "stuck-queued": "the job stays JOB_STATE_QUEUED for `seconds`, for ever by default",
    "stock-out": "the region has no such machines",
    "out-of-memory": "a replica runs out of memory, `seconds` after the job began to run",
    "preemption": "the machines are taken away, `seconds` after the job began to run",
    "internal-error": "the service fails, `seconds` after the job began to run",
    "late-error": "a failed job's `error` appears `seconds` after its end",
}


class InvalidRule(ValueError):
    """A rule that can't be; says all that is wrong with it."""


@dataclass(frozen=True)
class Rule:
    """When to make which fault.

    :param fault: a name in ``CALL_FAULTS`` or ``JOB_FAULTS``.
    :param method: for calls: the API's method ids to strike, with ``*`` and ``?``: ``storage.objects.*``.
    :param resource: what to strike, with ``*`` and ``?``. For calls the path of the request; for jobs the
        job's name or display name.
    :param after: how many matching calls or jobs to let pass first.
    :param count: how many to strike; None for no end.
    :param probability: of a strike, for each that matches.
    :param seed: of the dice for ``probability``.
    :param seconds: see the fault.
    :param status: the HTTP status of ``status``.
    :param retry_after: its ``Retry-After`` header, in seconds; None for none.
    :param message: its message, or that of a job's error, instead of the usual one.
    :raises InvalidRule: any of these is out of range.
    """

    fault: str
    method: str = "*"
    resource: str = "*"
    after: int = 0
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    seconds: float | None = None
    status: int = 503
    retry_after: int | None = None
    message: str = ""

    def __post_init__(self) -> None:
        known = {**CALL_FAULTS, **JOB_FAULTS}
        problems = []
        if not all(isinstance(text, str) for text in (self.method, self.resource, self.message)):
            problems.append("method, resource and message are text")
        if self.fault not in known:
            problems.append(f"fault is {self.fault!r}, not one of {', '.join(known)}")
        if self.after < 0 or (self.count is not None and self.count < 1):
            problems.append("after must be at least 0, count at least 1")
        if not 0 <= self.probability <= 1:
            problems.append(f"probability is {self.probability!r}, not from 0 to 1")
        if self.seconds is not None and self.seconds < 0:
            problems.append(f"seconds is {self.seconds!r}, below 0")
        if self.seconds is None and self.fault in ("slow", "stale-list", "late-error"):
            problems.append(f"{self.fault} needs seconds")
        if not 400 <= self.status <= 599:
            problems.append(f"status is {self.status!r}, not from 400 to 599")
        if self.fault in JOB_FAULTS and self.method != "*":
            problems.append(f"{self.fault} strikes jobs: leave method out, and choose them by resource")
        if problems:
            raise InvalidRule("; ".join(problems))

    @classmethod
    def from_json(cls, value: Any) -> Rule:
        """Read a rule.

        :raises InvalidRule: it is no object, or has unknown fields, wrong types or values.
        """
        if not isinstance(value, Mapping):
            raise InvalidRule("a rule is a JSON object with the field fault")
        unknown = sorted(set(value) - {field.name for field in fields(cls)})
        if unknown or "fault" not in value:
            raise InvalidRule(f"unknown fields {unknown}" if unknown else "fault is missing")
        try:
            return cls(**value)
        except TypeError as error:
            raise InvalidRule(f"a field has the wrong type: {error}") from None


@dataclass
class _Entry:
    rule: Rule
    dice: random.Random
    matched: int = 0
    struck: int = 0


class Rulebook:
    """The rules in force. Of several that match, the first that is due strikes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}
        self._numbers = itertools.count(1)

    def add(self, rule: Rule) -> int:
        """Put a rule in force and return its number."""
        with self._lock:
            number = next(self._numbers)
            # Not a secret: the same seed must strike the same calls.
            self._entries[number] = _Entry(rule, random.Random(rule.seed))  # noqa: S311
            return number

    def remove(self, number: int | None = None) -> bool:
        """Lift one rule, or all of them; tell whether there was one."""
        with self._lock:
            if number is not None:
                return self._entries.pop(number, None) is not None
            found = bool(self._entries)
            self._entries.clear()
            return found

    def describe(self) -> list[dict[str, Any]]:
        """Return every rule with its number, and how often it matched and struck."""
        with self._lock:
            return [
                {"id": number, **vars(entry.rule), "matched": entry.matched, "struck": entry.struck}
                for number, entry in self._entries.items()
            ]

    def for_call(self, method: str, path: str) -> Rule | None:
        """Return the rule that strikes a call.

        :param method: the API's method id; empty for what no document describes.
        :param path: of the request, decoded.
        """
        return self._strike(CALL_FAULTS, lambda r: fnmatchcase(method, r.method) and _fits(r, path))

    def for_job(self, job: Mapping[str, Any]) -> Rule | None:
        """Return the rule that strikes a job; asked once, as it starts."""
        names = (job["name"], job.get("displayName", ""))
        return self._strike(JOB_FAULTS, lambda r: any(_fits(r, name) for name in names))

    def _strike(self, faults: Mapping[str, str], matches: Callable[[Rule], bool]) -> Rule | None:
        with self._lock:
            for entry in self._entries.values():
                rule = entry.rule
                if rule.fault not in faults or not matches(rule):
                    continue
                entry.matched += 1
                if entry.matched <= rule.after or (rule.count is not None and entry.struck >= rule.count):
                    continue
                if entry.dice.random() < rule.probability:
                    entry.struck += 1
                    return rule
            return None


def _fits(rule: Rule, name: str) -> bool:
    return fnmatchcase(name, rule.resource)
