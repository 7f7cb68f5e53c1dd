"""A whole Airflow: scheduler, triggerer, executor and API, as processes that can be killed one by one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import airflow
import psutil

from tests.airflow.deployment.postgres import free_port

VERSION_3 = not airflow.__version__.startswith("2.")
_SERVER = "api-server" if VERSION_3 else "webserver"
COMPONENTS = {
    "server": (_SERVER,),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    **({"dag-processor": ("dag-processor",)} if VERSION_3 else {}),
}
TASK = "train"


class Deployment:
    """Airflow with a LocalExecutor.

    :param home: an empty folder.
    :param database: SQLAlchemy's address of an empty database.
    :param environment: more variables, e.g. those that lead to the emulator.
    """

    def __init__(self, home: Path, database: str, environment: dict[str, str]) -> None:
        self.home = home
        self.dags = home / "dags"
        self.dags.mkdir(parents=True)
        self.port = free_port()
        self._environment = {**os.environ, **environment, **_settings(home, self.port, database)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._left: list[psutil.Process] = []

    def start(self) -> None:
        """Make the tables, start everything and wait until it works."""
        # Whoever is not logged in may do all; the server listens on this machine only.
        (self.home / "webserver_config.py").write_text(
            "AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = False\n"
        )
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(command, env=self._environment, check=True, capture_output=True)
        for name in COMPONENTS:
            self.launch(name)
        health = "/monitor/health" if VERSION_3 else "/health"

        def healthy():
            reply = self.ask("GET", health)
            return all(reply[name]["status"] == "healthy" for name in ("scheduler", "triggerer"))

        self.wait_for(healthy, "Airflow to be healthy", 180)

    def launch(self, name: str) -> None:
        """Start one component."""
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *COMPONENTS[name]],
                env=self._environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def end(self, name: str, number: int, *, group: bool = True) -> None:
        """Signal a component, and wait for its end.

        :param group: whether its children get the signal too, as when the machine goes.
        """
        process = self._processes.pop(name)
        # Some make a group of their own and would outlive the tests.
        self._left += psutil.Process(process.pid).children(recursive=True)
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(60)

    def stop(self) -> None:
        """End everything."""
        for process in self._processes.values():
            self._left += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            process.terminate()
        psutil.wait_procs(self._left, timeout=5)
        for process in self._left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in self._processes.values():
            process.wait(10)

    def wait_for(self, condition, what: str, seconds: float = 90):
        """Return what a condition returns once it is true.

        :raises AssertionError: it did not become true; with the end of the components' logs.
        """
        deadline = time.monotonic() + seconds
        problem: object = None
        while time.monotonic() < deadline:
            try:
                if value := condition():
                    return value
                problem = value
            except (OSError, KeyError, urllib.error.URLError) as error:
                problem = error
            time.sleep(0.5)
        raise AssertionError(f"waited {seconds} s for {what}: {problem!r}\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of every component's log."""
        logs = sorted(self.home.glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def task_logs(self, dag_id: str) -> str:
        """Return all that the tries of a DAG's task logged."""
        logs = sorted(self.home.glob(f"logs/**/*{dag_id}*/**/*.log*"))
        return "\n".join(f"== {log}\n{log.read_text(errors='replace')}" for log in logs)

    # --- what a person does in the UI, by the API that the UI uses

    def trigger(self, dag_id: str) -> None:
        body = {"dag_run_id": "night", **({"logical_date": None} if VERSION_3 else {})}
        self.ask("POST", f"/dags/{dag_id}/dagRuns", body)

    def task(self, dag_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/dags/{dag_id}/dagRuns/night/taskInstances/{TASK}")

    def result(self, dag_id: str) -> dict[str, Any]:
        """Return the XCom that the task returned."""
        path = f"/dags/{dag_id}/dagRuns/night/taskInstances/{TASK}/xcomEntries/return_value"
        value = self.ask("GET", path)["value"]
        if isinstance(value, str):
            import ast

            value = ast.literal_eval(value)
        return value

    def mark(self, dag_id: str, state: str) -> None:
        body = {"new_state": state, **({} if VERSION_3 else {"dry_run": False})}
        self.ask("PATCH", f"/dags/{dag_id}/dagRuns/night/taskInstances/{TASK}", body)

    def clear(self, dag_id: str) -> None:
        if not VERSION_3:
            # Airflow 2's API forgets to mark a running task; its UI and its command don't.
            command = [sys.executable, "-m", "airflow", "tasks", "clear", "--yes", dag_id]
            subprocess.run(command, env=self._environment, check=True, capture_output=True)
            return
        body = {
            "dag_run_id": "night",
            "task_ids": [TASK],
            "only_failed": False,
            "only_running": False,
            "reset_dag_runs": True,
            "dry_run": False,
        }
        self.ask("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def pause(self, dag_id: str, paused: bool) -> None:
        self.ask("PATCH", f"/dags/{dag_id}?update_mask=is_paused", {"is_paused": paused})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        root = f"http://127.0.0.1:{self.port}/api/{'v2' if VERSION_3 else 'v1'}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(root + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise OSError(f"{method} {path}: {error.code} {text[:1000]}") from None


def _settings(home: Path, port: int, database: str) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        # Deaths are noticed within seconds instead of minutes.
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        # Airflow 3
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": "only for this test",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only for this test, and long enough to be one",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # Airflow 2
        "AIRFLOW__API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        "AIRFLOW__WEBSERVER__WORKERS": "1",
        "AIRFLOW__WEBSERVER__SECRET_KEY": "only for this test",
    }
