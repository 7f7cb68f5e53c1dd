"""The life of a custom job, from the queue to its end.

https://cloud.google.com/vertex-ai/docs/training/understanding-training-service
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from airflow_ml_provider.emulator.cluster.replicas import (
    PRIMARY,
    Cluster,
    Exit,
    ImageError,
    Job,
    Machine,
    Replica,
    Run,
)
from airflow_ml_provider.emulator.faults.rules import Rule, Rulebook
from airflow_ml_provider.emulator.filters import rfc3339
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.store import JobStore
from airflow_ml_provider.emulator.vertex.validation import is_used, seconds
from airflow_ml_provider.jobs.machines import MACHINES

log = logging.getLogger(__name__)

QUEUED = "JOB_STATE_QUEUED"
PENDING = "JOB_STATE_PENDING"
RUNNING = "JOB_STATE_RUNNING"
SUCCEEDED = "JOB_STATE_SUCCEEDED"
FAILED = "JOB_STATE_FAILED"
CANCELLING = "JOB_STATE_CANCELLING"
CANCELLED = "JOB_STATE_CANCELLED"
TERMINAL = frozenset({SUCCEEDED, FAILED, CANCELLED})

# google.rpc.Code
_CANCELLED_CODE, _INVALID_ARGUMENT, _NOT_FOUND, _RESOURCE_EXHAUSTED, _INTERNAL = 1, 3, 5, 8, 13
_DEFAULT_TIMEOUT = 7 * 24 * 3600.0
# Beyond it, waiting overflows.
_LONGEST_TIMEOUT = 3650 * 24 * 3600.0


_LOST = (
    "Internal error occurred for the current attempt: the emulator was {} while this job was not over, and "
    "its replicas with it. Create the job again."
)


class _Interrupt(Enum):
    CANCEL = "cancel"
    CLOSE = "close"


@dataclass(frozen=True)
class _End:
    """How a job ends.

    :param code: of its error; 0 for none.
    """

    state: str
    code: int = 0
    message: str = ""


class JobRunner:
    """Runs jobs, each in a thread of its own.

    What the service does after a replica has crashed, starting it or the whole job again, is left out: here a
    crash is always the job's end.

    :param rules: which jobs go wrong, and how; none if None.
    """

    def __init__(
        self, store: JobStore, cluster: Cluster, logs: LogStore, pace: Pace, rules: Rulebook | None = None
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._logs = logs
        self._pace = pace
        self._rules = rules
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._executions: dict[str, _Execution] = {}
        self._settle_former()

    def submit(self, job: Mapping[str, Any]) -> None:
        """Begin a job that is in the store, in ``JOB_STATE_QUEUED``."""
        job_id = id_of(job)
        with self._lock:
            if self._closing.is_set():
                raise RuntimeError("the emulator is shutting down")
            execution = _Execution(self, job)
            self._executions[job_id] = execution
            execution.thread.start()

    def cancel(self, job_id: str) -> None:
        """Begin to cancel a job that is not over; it may still end otherwise."""
        with self._lock:
            execution = self._executions.get(job_id)
        if execution:
            execution.events.put(_Interrupt.CANCEL)

    def close(self) -> None:
        """End all jobs; they are FAILED then, with a message that says why."""
        with self._lock:
            self._closing.set()
            executions = list(self._executions.values())
        for execution in executions:
            execution.events.put(_Interrupt.CLOSE)
        for execution in executions:
            execution.thread.join()
        self._store.show_errors()

    def _settle_former(self) -> None:
        """Settle the jobs of an emulator that was killed; their replicas are gone with it."""
        for job_id in self._store.unfinished(TERMINAL):
            self._store.hold_error(
                job_id,
                {
                    "code": _INTERNAL,
                    "message": _LOST.format("killed"),
                },
            )
            self._store.change(
                job_id, lambda body: body.update(state=FAILED, endTime=rfc3339(time.time_ns()))
            )
        self._store.show_errors()


class _Execution:
    def __init__(self, runner: JobRunner, job: Mapping[str, Any]) -> None:
        self._runner = runner
        self._store = runner._store
        self._job = job
        self._id = id_of(job)
        self._number = job["name"].split("/")[1]
        self._region = job["name"].split("/")[3]
        self._project = self._store.project_id(self._number)
        self._fault = runner._rules.for_job(job) if runner._rules else None
        self._error_delay = runner._pace.error
        if self._fault and self._fault.fault == "late-error":
            self._error_delay = self._fault.seconds or 0
        self.events: queue.SimpleQueue[Exit | _Interrupt] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._live, name=f"job-{self._id}", daemon=True)

    def _live(self) -> None:
        try:
            end = self._run()
        except Exception as error:
            log.exception("Job %s failed in the emulator", self._id)
            end = _End(FAILED, _INTERNAL, f"Internal error occurred for the current attempt: {error}")
        self._finish(end)
        with self._runner._lock:
            self._runner._executions.pop(self._id, None)

    def _run(self) -> _End:
        pace, fault = self._runner._pace, self._fault
        self._tell("Waiting for job to be provisioned.")
        queued = pace.queued
        if fault and fault.fault == "stuck-queued":
            queued = _LONGEST_TIMEOUT if fault.seconds is None else fault.seconds
        interrupt = self._next(queued)
        if interrupt is None:
            self._change_unless_cancelling(PENDING)
            self._tell("Vertex AI is setting up this job.")
            interrupt = self._next(pace.pending)
        if interrupt is not None:
            return self._interrupted(interrupt)
        if fault and fault.fault == "stock-out":
            return self._ordered(fault)
        self._tell("Waiting for training program to start.")
        try:
            run = self._runner._cluster.start(cluster_job(self._job), self._take_line, self.events.put)
        except ImageError as error:
            return _End(FAILED, _NOT_FOUND, error.message)
        except OSError as error:
            log.exception("The replicas of job %s could not be started", self._id)
            return _End(FAILED, _INTERNAL, f"Internal error occurred for the current attempt: {error}")
        return self._follow(run)

    def _follow(self, run: Run) -> _End:
        timeout = _timeout(self._job["jobSpec"].get("scheduling", {}))
        fault = self._fault if self._fault and self._fault.fault in _ENDINGS else None
        patience = min(timeout, (fault.seconds or 0) if fault else timeout)
        deadline = time.monotonic() + patience
        try:
            self._change_unless_cancelling(RUNNING, startTime=rfc3339(time.time_ns()))
            self._tell("Job is running.")
            while True:
                event = self._next(deadline - time.monotonic())
                if event is None and fault is not None and patience < timeout:
                    return self._ordered(fault)
                if event is None:
                    self._tell(f"The job ran longer than its timeout of {timeout:g}s.", "ERROR")
                    return _End(
                        CANCELLED,
                        _CANCELLED_CODE,
                        f"CANCELED: the job ran longer than its timeout of {timeout:g}s.",
                    )
                if isinstance(event, _Interrupt):
                    return self._interrupted(event)
                if event.status:
                    return _End(FAILED, *self._failure(event))
                if event.replica == PRIMARY:
                    return _End(SUCCEEDED)
        finally:
            run.stop()

    def _next(self, patience: float) -> Exit | _Interrupt | None:
        try:
            return self.events.get(timeout=max(patience, 0.0))
        except queue.Empty:
            return None

    def _interrupted(self, interrupt: Exit | _Interrupt) -> _End:
        if interrupt is _Interrupt.CANCEL:
            return _End(CANCELLED, _CANCELLED_CODE, "CANCELED")
        return _End(
            FAILED,
            _INTERNAL,
            _LOST.format("shut down"),
        )

    def _ordered(self, fault: Rule) -> _End:
        """Return the end that somebody asked for, to rehearse it."""
        code, message = _ENDINGS[fault.fault]
        return _End(FAILED, code, fault.message or message.format(region=self._region))

    def _failure(self, end: Exit) -> tuple[int, str]:
        link = (
            f"https://console.cloud.google.com/logs/viewer?project={self._number}"
            f"&resource=ml_job%2Fjob_id%2F{self._id}&advancedFilter=resource.type%3D%22ml_job%22%0A"
            f"resource.labels.job_id%3D%22{self._id}%22"
        )
        hint = f"\n\nTo find out more about why your job exited please check the logs: {link}"
        status = f"exited with a non-zero status of {end.status}."
        if end.out_of_memory:
            return _RESOURCE_EXHAUSTED, f"The replica {end.replica} ran out of memory and {status}{hint}"
        return _INVALID_ARGUMENT, f"The replica {end.replica} {status} Termination reason: Error.{hint}"

    def _finish(self, end: _End) -> None:
        if end.message and end.state == FAILED:
            for line in end.message.splitlines():
                self._tell(line, "ERROR")
        self._tell(_LAST_WORDS[end.state])
        self._runner._logs.flush()
        if end.code:
            self._store.hold_error(self._id, {"code": end.code, "message": end.message})
        self._store.change(
            self._id, lambda body: body.update(state=end.state, endTime=rfc3339(time.time_ns()))
        )
        if end.code:
            self._runner._closing.wait(self._error_delay)
            self._store.show_errors(self._id)

    def _change_unless_cancelling(self, state: str, **fields: str) -> None:
        def change(body: dict[str, Any]) -> None:
            if body["state"] != CANCELLING:
                body.update(state=state, **fields)

        self._store.change(self._id, change)

    def _take_line(self, replica: str, line: str, is_error: bool) -> None:
        # As the service does: what comes by stderr is an error, unless a structured line says otherwise.
        self._tell(line, "ERROR" if is_error else "INFO", replica)

    def _tell(self, line: str, severity: str = "INFO", task: str = "service") -> None:
        self._runner._logs.append(self._id, task, line, project=self._project, severity=severity)


# https://cloud.google.com/vertex-ai/docs/training/understanding-training-service and, for STOCKOUT,
# https://cloud.google.com/vertex-ai/docs/training/use-spot-vms
_ENDINGS = {
    "stock-out": (
        _RESOURCE_EXHAUSTED,
        "Resources are insufficient in region: {region}. Try a different region or use a different "
        "accelerator.",
    ),
    "out-of-memory": (
        _RESOURCE_EXHAUSTED,
        f"The replica {PRIMARY} ran out of memory and exited with a non-zero status of 137.",
    ),
    "preemption": (
        _RESOURCE_EXHAUSTED,
        "STOCKOUT: the Spot VMs of this job were preempted in {region} and could not be started again.",
    ),
    "internal-error": (_INTERNAL, "Internal error occurred for the current attempt."),
}
_LAST_WORDS = {
    SUCCEEDED: "Job completed successfully.",
    FAILED: "Job failed.",
    CANCELLED: "Job cancelled.",
}


def id_of(job: Mapping[str, Any]) -> str:
    """Return a job's numeric id."""
    return str(job["name"]).rpartition("/")[2]


def cluster_job(job: Mapping[str, Any]) -> Job:
    """Return what the cluster has to run for a ``CustomJob``."""
    _, number, _, region, _, job_id = job["name"].split("/")
    spec = job["jobSpec"]
    replicas = tuple(
        _replica(pool, position, index)
        for position, pool in enumerate(spec["workerPoolSpecs"])
        if is_used(pool)
        for index in range(int(pool["replicaCount"]))
    )
    return Job(job_id, number, replicas, spec, _environment(spec, region))


def _replica(pool: Mapping[str, Any], position: int, index: int) -> Replica:
    container = pool["containerSpec"]
    machine = MACHINES[pool["machineSpec"]["machineType"]]
    return Replica(
        pool=position,
        index=index,
        image=container["imageUri"],
        command=tuple(container.get("command", ())),
        args=tuple(container.get("args", ())),
        env=tuple((variable["name"], variable["value"]) for variable in container.get("env", ())),
        machine=Machine(machine.cpus, machine.memory_gb),
    )


def _environment(spec: Mapping[str, Any], region: str) -> dict[str, str]:
    env: dict[str, str] = {}
    if "baseOutputDirectory" in spec:
        base = spec["baseOutputDirectory"]["outputUriPrefix"]
        env["AIP_MODEL_DIR"] = f"{base}model/"
        env["AIP_CHECKPOINT_DIR"] = f"{base}checkpoints/"
        env["AIP_TENSORBOARD_LOG_DIR"] = f"{base}logs/"
    if "tensorboard" in spec:
        env["AIP_TENSORBOARD_RESOURCE_NAME"] = spec["tensorboard"]
        env["AIP_TENSORBOARD_API_URI"] = f"https://{region}-aiplatform.googleapis.com"
    for field, name in (("experiment", "AIP_EXPERIMENT_NAME"), ("experimentRun", "AIP_EXPERIMENT_RUN_NAME")):
        if field in spec:
            env[name] = spec[field].rpartition("/")[2]
    return env


def _timeout(scheduling: Mapping[str, Any]) -> float:
    return min(seconds(scheduling.get("timeout", "0s")) or _DEFAULT_TIMEOUT, _LONGEST_TIMEOUT)
