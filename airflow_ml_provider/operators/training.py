"""Training on Vertex AI as an Airflow task."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_ml_provider import links
from airflow_ml_provider.compat import (
    BaseOperator,
    default_deferrable,
    deferral_errors,
    notes_of,
    run_of,
)
from airflow_ml_provider.jobs import InvalidTrainingJob, TrainingJob
from airflow_ml_provider.jobs.validation import MAX_DISPLAY_NAME
from airflow_ml_provider.operators.failure import TrainingFailed, airflow_error

if TYPE_CHECKING:
    from airflow_ml_provider.compat import Context
    from airflow_ml_provider.vertex.client import VertexClient
    from airflow_ml_provider.vertex.identity import JobIdentity
    from airflow_ml_provider.vertex.job import Job
    from airflow_ml_provider.vertex.protocol import JobProtocol

# A killed worker process has 5 seconds.
CANCEL_WITHIN = 3.5
# Airflow's own timeout of a deferral comes only if the trigger's deadline did not.
BACKSTOP = timedelta(seconds=60)
# After so many failed deferrals the task waits in the worker.
MOST_FAILED_DEFERRALS = 3


@dataclass(frozen=True)
class Progress:
    """What a task must still know after it was deferred. Plain values, kept in Airflow's database.

    :param job: its job's name.
    :param deadline: when its time is up, ISO 8601, or None.
    :param uncertain: whether a create had no clear answer.
    :param passed_over: regions that had no machines.
    :param failures: how many deferrals ended without a result.
    """

    job: str | None = None
    deadline: str | None = None
    uncertain: bool = False
    passed_over: tuple[str, ...] = ()
    failures: int = 0


class TrainingJobOperator(BaseOperator):
    """Train in a container image on Vertex AI, and succeed when the job does.

    A retry of the task finds the job that an earlier try started and goes on waiting for it; a job that
    failed, or a task that a person cleared, gets a new one. Bad input, and whatever would fail the same
    way again, fails the task without further retries. What failed is ``context["exception"].error`` in
    callbacks, one of :mod:`airflow_ml_provider.vertex.errors`.

    :param job: what to run (templated). :class:`TrainingJob`, or the mapping that its ``to_dict`` gives.
    :param region: where to run it, e.g. ``europe-west4``; by default the job's own ``region`` (templated).
    :param regions: instead of ``region``: several, in order of preference; where one has no machines, the
        job is created in the next (templated).
    :param project_id: the connection's project by default (templated).
    :param wait_for_completion: whether to wait for the job's end; if not, a
        :class:`~airflow_ml_provider.sensors.training.TrainingJobSensor` can.
    :param deferrable: whether to wait in the triggerer, without a worker; by default what Airflow's
        ``operators.default_deferrable`` says. Recommended for jobs of more than 5 minutes.
    :param poll_interval: seconds between two looks at the job, once it has run for a while.
    :param cancel_on_kill: whether to cancel the job when the task is killed, cleared or timed out.
    :param gcp_conn_id: Google Cloud connection (templated).
    :param impersonation_chain: service account to impersonate, or a chain of them (templated).

    Airflow's ``execution_timeout`` ends the job too, deferred or not. Returns the job as a small mapping:
    ``job`` (its name), ``job_id``, ``state``, ``labels``, ``output_dir``, ``model_dir``, times,
    ``queue_seconds``, ``run_seconds``, ``accelerator_hours``, ``restarts`` and ``console_url``.
    """

    template_fields: Sequence[str] = (
        "job",
        "region",
        "regions",
        "project_id",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers = {"job": "json"}
    operator_extra_links = (
        links.TrainingJobLink(),
        links.TrainingLogsLink(),
        links.TrainingTensorBoardLink(),
    )
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: TrainingJob | Mapping[str, Any],
        region: str | None = None,
        regions: Sequence[str] | None = None,
        project_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float = 30,
        cancel_on_kill: bool = True,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if poll_interval <= 0:
            raise ValueError(f"poll_interval must be more than 0 seconds, not {poll_interval!r}")
        if region is not None and regions is not None:
            raise ValueError("Give region or regions, not both")
        # As a mapping, Airflow can template it, find XComArgs in it and show it.
        self.job = job.to_dict() if isinstance(job, TrainingJob) else job
        self.region = region
        self.regions = regions
        self.project_id = project_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.cancel_on_kill = cancel_on_kill
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self._client: VertexClient | None = None
        self._protocol: JobProtocol | None = None
        self._running: Job | None = None
        self._killed = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job, or find the one that runs already."""
        limit = self.execution_timeout
        deadline = (datetime.now(UTC) + limit).isoformat() if limit else None
        return self._train(context, Progress(deadline=deadline))

    def execute_complete(self, context: Context, event: Mapping[str, Any], **progress: Any) -> dict[str, Any]:
        """Go on after the triggerer's wait. Its event is a claim: the job is read again."""
        from airflow_ml_provider.vertex.errors import ExecutionTimeout

        told = Progress(**{**progress, "passed_over": tuple(progress.get("passed_over", ()))})
        with self._failing(context):
            client, protocol = self._connect(context)
            name = str(told.job or event["job"])
            job = self._running = client.run(protocol.look(name))
            status = event.get("status")
            if not job.is_over and status == "timeout":
                if self.cancel_on_kill:
                    job = self._running = client.run(protocol.cancel_and_wait(name))
                raise ExecutionTimeout(replace(job, error_message=_TIME_IS_UP))
            if status not in ("over", "timeout", "queue_timeout"):
                self.log.warning("The trigger could not wait for %s: %s", name, event.get("message"))
                told = replace(told, failures=told.failures + 1)
            if job.is_over and status == "timeout" and not job.succeeded:
                raise ExecutionTimeout(replace(job, error_message=_TIME_IS_UP))
        return self._train(context, told, job, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral; also after one that Airflow itself ended, where the job runs on."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except deferral_errors() as error:
            if next_method != "__fail__":
                raise
            return self._after_failed_deferral(context, error)

    def training_job(self, context: Context) -> TrainingJob:
        """Return what to run, once templates are rendered.

        :raises TrainingFailedForGood: it is no valid job.
        """
        try:
            return TrainingJob.from_dict(self.job)
        except InvalidTrainingJob as error:
            raise airflow_error(error, permanent=True) from error

    def result(self, context: Context, job: Job) -> dict[str, Any]:
        """Return the task's XCom for a job that succeeded."""
        return job.summary()

    def on_kill(self) -> None:
        """Cancel the job that this task waits for. Runs in a signal handler, with seconds to live."""
        self._killed = True
        running, client = self._known_job(), self._client
        if not self.cancel_on_kill or running is None or client is None or running.is_over:
            return
        error = client.cancel_within(running.name, CANCEL_WITHIN)
        if error is None:
            self.log.warning("Cancelled %s: the task was killed\n%s", running.name, running.console_url)
        else:
            self.log.error("Could not cancel %s: %s\n%s", running.name, error, running.console_url)

    def dry_run(self) -> None:
        """Print the request that would create the job; nothing is sent."""
        job = TrainingJob.from_dict(self.job)
        print(json.dumps(job.to_custom_job(), indent=2))
        for note in job.migration_notes:
            print(f"note: {note}")

    def _train(
        self,
        context: Context,
        progress: Progress,
        resumed: Job | None = None,
        event: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Bring a job to its end, in as many regions as it takes.

        :param resumed: the job that was waited for in the triggerer, as just read.
        :param event: the trigger's.
        """
        from airflow_ml_provider.vertex.errors import StockOut

        with self._failing(context):
            while True:
                try:
                    job = resumed
                    if job is None:
                        job, progress = self._start(context, progress)
                        if not self.wait_for_completion:
                            return job.summary()
                    job = self._await(context, job, progress, event)
                    break
                except StockOut as error:
                    passed_over = (*progress.passed_over, error.job.region)
                    if set(self._regions()) <= set(passed_over):
                        raise
                    self.log.warning("%s\nTrying the next region", error)
                    progress, resumed, event = replace(progress, passed_over=passed_over), None, None
            self._stop_if_killed(context)
            if progress.uncertain:
                client, protocol = self._connect(context)
                client.run(protocol.end_others(job, self._identity(context)))
        return self.result(context, job)

    def _start(self, context: Context, progress: Progress) -> tuple[Job, Progress]:
        spec = self.training_job(context)
        client, protocol = self._connect(context)
        run = run_of(context, self.retries or 0)
        # The container writes it into the manifest of what it trains.
        spec = replace(spec, env={"TRAINING_IMAGE_URI": spec.image_uri, **spec.env})
        body = spec.to_custom_job()
        if spec.display_name is None:
            body["displayName"] = f"{run['dag_id']}.{run['task_id']} {run['run_id']}"[:MAX_DISPLAY_NAME]
        started = client.run(
            protocol.find_or_create(body, self._identity(context), self._hint(context), progress.passed_over)
        )
        self._running = started.job
        links.persist(context, started.job)
        self._note(context, started.job.name)
        self.log.info("Job %s\n%s", started.job.name, started.job.console_url)
        self._stop_if_killed(context)
        return started.job, replace(progress, job=started.job.name, uncertain=started.uncertain)

    def _await(
        self,
        context: Context,
        job: Job,
        progress: Progress,
        event: Mapping[str, Any] | None,
    ) -> Job:
        client, protocol = self._connect(context)
        queue_timeout = _seconds(self.job.get("queue_timeout"))
        if event is not None and event.get("status") == "queue_timeout":
            # The trigger asked for its end; it may still have started in the last moment.
            client.run(protocol.give_up_queueing(job))
            job = client.run(protocol.look(job.name))
        if job.is_over:
            turn = float((event or {}).get("log_turn", 0.0))
            return self._over(client.run(protocol.conclude(job, turn)))
        if self.deferrable and progress.failures < MOST_FAILED_DEFERRALS:
            self._defer(job, progress, queue_timeout)
        return self._over(client.run(protocol.wait(job, self.poll_interval, queue_timeout)))

    def _over(self, job: Job) -> Job:
        self._running = job
        return job

    def _defer(self, job: Job, progress: Progress, queue_timeout: float | None) -> None:
        from airflow_ml_provider.triggers.training import TrainingJobTrigger

        queue_deadline = job.create_time + timedelta(seconds=queue_timeout) if queue_timeout else None
        left = datetime.fromisoformat(progress.deadline) - datetime.now(UTC) if progress.deadline else None
        self.defer(
            trigger=TrainingJobTrigger(
                job=job.name,
                created=job.create_time.isoformat(),
                project_id=job.project,
                gcp_conn_id=self.gcp_conn_id,
                impersonation_chain=self.impersonation_chain,
                poll_interval=self.poll_interval,
                deadline=progress.deadline,
                queue_deadline=queue_deadline.isoformat() if queue_deadline else None,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
            kwargs=asdict(replace(progress, job=job.name)) | {"passed_over": list(progress.passed_over)},
            timeout=max(left, timedelta(0)) + BACKSTOP if left is not None else None,
        )

    def _after_failed_deferral(self, context: Context, error: Exception) -> dict[str, Any]:
        from airflow_ml_provider.vertex.errors import ExecutionTimeout

        with self._failing(context):
            client, protocol = self._connect(context)
            # Airflow gives no arguments on this way, so that the job is found by its labels.
            identity = self._identity(context)
            found = client.run(protocol.find(replace(identity, try_number=max(2, identity.try_number))))
            job = self._running = found.adopt
            if job is None:
                raise error
            if "timeout" in str(error).lower():
                if self.cancel_on_kill and not job.is_over:
                    job = self._running = client.run(protocol.cancel_and_wait(job.name))
                if not job.succeeded:
                    raise ExecutionTimeout(replace(job, error_message=_TIME_IS_UP)) from error
        self.log.warning("The triggerer could not wait for %s, so this worker does: %s", job.name, error)
        job = client.run(protocol.look(job.name))
        return self._train(context, Progress(job=job.name, failures=MOST_FAILED_DEFERRALS), job)

    @contextmanager
    def _failing(self, context: Context) -> Iterator[None]:
        """Turn errors into Airflow's, and leave no job behind where no try is left to find it."""
        from airflow_ml_provider.vertex.errors import VertexError

        try:
            yield
        except VertexError as error:
            failed = airflow_error(error)
            ti = context["ti"]
            last = not isinstance(failed, TrainingFailed) or ti.try_number > (ti.max_tries or 0)
            job = getattr(error, "job", None) or self._known_job()
            if last and job is not None and not job.is_over and self._client is not None:
                if self.cancel_on_kill and not self._killed:
                    trouble = self._client.cancel_within(job.name, CANCEL_WITHIN)
                    self.log.warning(
                        "No try is left to wait for %s: %s", job.name, trouble or "it is cancelled"
                    )
            raise failed from error

    def _stop_if_killed(self, context: Context) -> None:
        """Fail a task that was told to stop: its handler returns, and the task would go on.

        :raises TrainingFailed: it was.
        """
        if not self._killed:
            return
        job = self._known_job()
        if job is not None and self.cancel_on_kill and not job.is_over:
            self._note(context, job.name, given_up=True)
            if self._client is not None:
                self._client.cancel_within(job.name, CANCEL_WITHIN)
        what = "no job was started" if job is None else f"{job.name} was cancelled"
        if job is not None and not self.cancel_on_kill:
            what = f"{job.name} runs on, a retry of this task finds it"
        raise TrainingFailed(RuntimeError(f"The task was told to stop (SIGTERM); {what}"))

    def _known_job(self) -> Job | None:
        created = self._protocol.created if self._protocol is not None else None
        return self._running or created

    def _connect(self, context: Context) -> tuple[VertexClient, JobProtocol]:
        if self._client is None or self._protocol is None:
            from airflow_ml_provider.hooks.vertex import VertexHook

            def sleep(seconds: float) -> None:
                until = time.monotonic() + seconds
                while True:
                    self._stop_if_killed(context)
                    left = until - time.monotonic()
                    if left <= 0:
                        return
                    # In slices: a signal handler that returns does not end a sleep.
                    time.sleep(min(left, 0.5))

            regions = self._regions()
            hook = VertexHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
            self._client = hook.get_client(region=regions[0], project_id=self.project_id, sleep=sleep)
            self._protocol = hook.get_protocol(regions, self.project_id)
        return self._client, self._protocol

    def _regions(self) -> list[str]:
        regions = list(self.regions) if self.regions else [self.region or self.job.get("region") or ""]
        if not all(regions):
            raise airflow_error(ValueError("No region: give region, regions or job.region"), permanent=True)
        return list(dict.fromkeys(regions))

    def _identity(self, context: Context) -> JobIdentity:
        from airflow_ml_provider.vertex.identity import JobIdentity

        return JobIdentity.of_task(**run_of(context, self.retries or 0))

    def _hint(self, context: Context) -> Any:
        from airflow_ml_provider.vertex.protocol import Hint

        noted = notes_of(context).read(_NOTE) or {}
        return Hint(noted.get("job"), frozenset(noted.get("given_up", ())))

    def _note(self, context: Context, name: str, *, given_up: bool = False) -> None:
        notes = notes_of(context)
        before = (notes.read(_NOTE) or {}).get("given_up", [])
        # A few are enough: what was given up long ago is over.
        notes.write(_NOTE, {"job": name, "given_up": [*before, name][-10:] if given_up else before})


_NOTE = "training_job"
_TIME_IS_UP = "the task's execution_timeout is over"


def _seconds(value: float | str | timedelta | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else None if value is None else float(value)


__all__ = ["InvalidTrainingJob", "TrainingJob", "TrainingJobOperator"]
