"""What goes wrong, and when: all of it follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

OPERATOR_MODES = ("operator-sync", "operator-deferrable")
SENSOR_MODES = ("sensor-poke", "sensor-reschedule", "sensor-deferrable")
MODES = OPERATOR_MODES + SENSOR_MODES
# Every try takes itself for the first: what an operator without a look-up does.
CONTROL = "operator-forgetful"

RETRIES = 8
_CREATE, _GET, _LIST, _CANCEL = "create", "get", "list", "cancel"
# Exit statuses that a trainer may have, and the faults that end a job; those that a retry can cure.
CURABLE = ("exit-7", "internal-error", "preemption", "stock-out")
PERMANENT = ("exit-2", "out-of-memory")


@dataclass(frozen=True)
class Kill:
    """The end of one process.

    :param at: ``request`` (before or after it is done, by ``phase``), ``push`` (of an XCom) or ``result``
        (all is done, and Airflow does not hear of it).
    :param index: of the request or push, from 0.
    :param gently: by SIGTERM, as when a worker is scaled in, instead of SIGKILL.
    """

    at: str
    index: int = 0
    phase: str = "before"
    gently: bool = False


@dataclass(frozen=True)
class Schedule:
    """One task's fate.

    :param mode: one of ``MODES``.
    :param kills: by number of the process: those that execute, resume or trigger, counted together from 0.
    :param faults: rules for the emulator, without their ``resource``.
    :param endings: of the first jobs, in order; later ones succeed.
    :param seconds: for which a job runs.
    :param by_filter: whether a sensor looks for its job by label instead of by name.
    :param companions: triggers that wait beside it: with a few, a triggerer lists instead of reading each.
    """

    mode: str
    seed: int
    kills: dict[int, Kill] = field(default_factory=dict)
    faults: tuple[dict[str, Any], ...] = ()
    endings: tuple[str, ...] = ()
    seconds: float = 0.3
    companions: int = 0
    by_filter: bool = False

    @property
    def run_id(self) -> str:
        return f"{self.mode}-{self.seed}"

    @property
    def project(self) -> str:
        """A project of its own, so that faults strike nobody else."""
        kinds = (*MODES, CONTROL)
        return str(100_000_000_000 + kinds.index(self.mode) * 1_000_000 + self.seed)


def schedule(mode: str, seed: int) -> Schedule:
    """Return the schedule of a seed.

    Successive seeds go through the steps at which a process is killed and the calls that a fault strikes one
    by one, so that a few dozen cover every one of them; what is added beside is chance.
    """
    dice = random.Random(f"{mode} {seed}")
    kills: dict[int, Kill] = {}
    faults: list[dict[str, Any]] = []
    steps, calls = _steps(), _calls(mode)
    if seed % 2:
        kills[seed // 2 // len(steps) % 3] = steps[seed // 2 % len(steps)]
    else:
        faults.append(_fault(*calls[seed // 2 % len(calls)], dice))
    for process in range(4):
        if process not in kills and dice.random() < 0.25:
            kills[process] = dice.choice(steps)
    while dice.random() < 0.4 and len(faults) < 3:
        faults.append(_fault(*dice.choice(calls), dice))
    endings: tuple[str, ...] = ()
    fate = dice.random()
    if fate < 0.25:
        endings = tuple(dice.choice(CURABLE) for _ in range(dice.choice((1, 1, 2))))
    elif fate < 0.35:
        endings = (dice.choice(PERMANENT),)
    return Schedule(
        mode,
        seed,
        kills,
        tuple(faults),
        endings,
        seconds=dice.uniform(0.1, 0.8),
        companions=dice.choice((0, 5)),
        by_filter=dice.random() < 0.5,
    )


def _steps() -> list[Kill]:
    requests = [Kill("request", index, phase) for index in range(8) for phase in ("before", "after")]
    gentle = [Kill("request", index, "after", gently=True) for index in (1, 3, 5)]
    return [*requests, *gentle, Kill("push", 0), Kill("push", 1), Kill("result")]


def _calls(mode: str) -> list[tuple[str, str]]:
    """Return every fault with every method that this mode calls."""
    methods = (_CREATE, _GET, _LIST, _CANCEL) if mode.startswith("operator") else (_GET, _LIST)
    pairs = [(fault, method) for method in methods for fault in ("lost-reply", "reset", "status", "slow")]
    return [*pairs, ("stale-list", _LIST), ("empty-page", _LIST)]


def _fault(fault: str, method: str, dice: random.Random) -> dict[str, Any]:
    rule: dict[str, Any] = {"fault": fault, "method": f"*.customJobs.{method}", "seed": dice.randrange(10**6)}
    rule |= {"after": dice.choice((0, 0, 1, 2)), "count": dice.choice((1, 1, 2, 4))}
    match fault:
        case "status":
            rule |= {"status": dice.choice((429, 500, 503)), "retry_after": dice.choice((None, 1))}
        case "slow":
            # Longer than the deadline of a call, in the hurried time, or shorter.
            rule |= {"seconds": dice.choice((0.2, 4.0)), "count": 1}
        case "stale-list":
            rule |= {"seconds": dice.choice((0.05, 0.2)), "after": 0, "count": None}
        case "empty-page":
            rule |= {"count": None, "probability": 0.5, "after": 0}
    return rule
