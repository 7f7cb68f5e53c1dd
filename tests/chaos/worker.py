"""Plays Airflow's worker and triggerer: every try and every trigger is a process that can be killed.

Runs as ``python -m tests.chaos.worker MODULE:FUNCTION SPEED FOLDER``, where the function builds a task from
what a command says. It imports all it needs once, then forks a child for each command that it reads: a line
of JSON. A child waits for its ``go``, does its work in time that runs SPEED times as fast, writes what came
of it into a file of FOLDER, and leaves.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import select
import selectors
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from tests.chaos.schedules import CONTROL

real_monotonic, real_sleep = time.monotonic, time.sleep
_set_timeout = socket.socket.settimeout


def hurry(speed):
    """Let the process's time run faster: sleeps, clocks, event loops and timeouts of sockets alike."""
    time.sleep = lambda seconds: real_sleep(seconds / speed)
    time.monotonic = lambda: real_monotonic() * speed
    socket.socket.settimeout = lambda self, value: _set_timeout(self, value and value / speed)

    class Selector(selectors.DefaultSelector):
        def select(self, timeout=None):
            return super().select(timeout and timeout / speed)

    return lambda: asyncio.SelectorEventLoop(Selector())


def main(target, speed, folder):
    loop_factory = hurry(float(speed))
    module, function = target.split(":")
    build = getattr(importlib.import_module(module), function)
    children = {}
    stdin = sys.stdin.buffer
    os.set_blocking(stdin.fileno(), False)
    say(ready=True)
    pending = b""
    while True:
        if select.select([stdin], [], [], 0.02)[0]:
            chunk = stdin.read()
            if chunk == b"":
                os._exit(0)
            pending += chunk or b""
        *lines, pending = pending.split(b"\n")
        for line in lines:
            command = json.loads(line)
            if "go" in command:
                os.write(children[command["go"]][1], b".")
                os.close(children[command["go"]][1])
                continue
            start, go = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(go)
                live(command, build, loop_factory, start, Path(folder))
            os.close(start)
            children[command["id"]] = (pid, go)
            say(id=command["id"], pid=pid)
        for number, (pid, _) in list(children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del children[number]
                say(id=number, status=os.waitstatus_to_exitcode(status))


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def live(command, build, loop_factory, start, folder):
    """Be the child."""
    log = os.open(folder / f"{command['id']}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin.close()
    os.read(start, 1)
    try:
        result = trigger(command, loop_factory) if "trigger" in command else task(command, build)
        text = json.dumps(result)
    except BaseException:
        traceback.print_exc()
        text = json.dumps({"failed": "the driver itself", "message": traceback.format_exc()})
    if command.get("kill_result"):
        os.kill(os.getpid(), signal.SIGKILL)
    part = folder / f"{command['id']}.part"
    part.write_text(text)
    part.rename(folder / f"{command['id']}.json")
    sys.stdout.flush()
    os._exit(0)


class TaskInstance:
    """What an operator sees of its task instance."""

    map_index = -1
    id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, command, task):
        from datetime import UTC, datetime

        self.dag_id, self.task_id = "chaos", "train"
        self.run_id = command["run_id"]
        if command["mode"] == CONTROL:
            self.run_id += f" {command['try_number']}"
        self.try_number, self.max_tries = command["try_number"], command["retries"]
        self.start_date = datetime.now(UTC)
        self.task = task
        self._kill_push = command.get("kill_push")
        self._pushed = 0

    def xcom_push(self, key, value, **_):
        json.dumps(value)
        if self._pushed == self._kill_push:
            os.kill(os.getpid(), signal.SIGKILL)
        self._pushed += 1

    def xcom_pull(self, *_, **__):
        return None

    def get_first_reschedule_date(self, *_):
        return None


def task(command, build):
    """Execute or resume a task; return what Airflow would learn."""
    from airflow_ml_provider.compat import AirflowFailException

    made = build(command)
    ti = TaskInstance(command, made)
    context = {"ti": ti, "task_instance": ti, "task": made, "run_id": command["run_id"], "dag_run": None}

    def on_signal(*_):
        # As Airflow 3.3 does: the task is told, and goes on.
        made.on_kill()

    signal.signal(signal.SIGTERM, on_signal)
    try:
        if command.get("method"):
            value = made.resume_execution(command["method"], command["kwargs"], context)
        else:
            value = made.execute(context)
    except AirflowFailException as error:
        return {"failed": "permanently", "message": str(error)}
    except BaseException as error:
        name = type(error).__name__
        if name == "TaskDeferred":
            classpath, arguments = error.trigger.serialize()
            return {
                "deferred": {"classpath": classpath, "arguments": arguments},
                "method": error.method_name,
                "kwargs": error.kwargs or {},
            }
        if name == "AirflowRescheduleException":
            return {"reschedule": True}
        traceback.print_exc()
        return {"failed": name, "message": str(error)}
    return {"returned": value}


def trigger(command, loop_factory):
    """Run a trigger until its first event, beside others for the same job, as in a fleet."""
    made = command["trigger"]
    module, _, name = made["classpath"].rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    instance, *others = (kind(**made["arguments"]) for _ in range(1 + command["companions"]))

    async def first():
        running, *_beside = [asyncio.ensure_future(anext(aiter(one.run()))) for one in (instance, *others)]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        try:
            event = await running
        except asyncio.CancelledError:
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            await instance.cleanup()
        return {"event": event.payload}

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(first())
    except Exception as error:
        traceback.print_exc()
        return {"failed": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    main(*sys.argv[1:])
