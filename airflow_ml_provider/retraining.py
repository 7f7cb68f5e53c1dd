"""The whole chain from a table to production: export, check, train, evaluate, gate, promote."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

from airflow_ml_provider.compat import DAG, BaseOperator, TaskGroup, approval_operator
from airflow_ml_provider.jobs import TrainingJob
from airflow_ml_provider.models.settings import GateSettings
from airflow_ml_provider.models.uri import checked_name
from airflow_ml_provider.names import slug
from airflow_ml_provider.operators import (
    BigQueryExportOperator,
    EvaluateModelOperator,
    ModelGateOperator,
    PromoteModelOperator,
    TrainingJobOperator,
    ValidateTrainingDataOperator,
)

RUN = "{{ run_id | slug }}"
ATTEMPT = "{{ ti.try_number }}"
# The end of the run's data interval; of a run without one (Airflow 3), when it was due.
NIGHT = "TIMESTAMP '{{ dag_run.data_interval_end or dag_run.run_after }}'"
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")


@dataclass(frozen=True)
class Export:
    """What BigQuery exports each night.

    :param train: query of the rows to train on (templated).
    :param holdout: query of the rows that models are compared on (templated); none may be among the former.
    :param file_format: ``csv``, ``json`` or ``parquet``.
    :param location: of the dataset; BigQuery finds it if None (templated).
    """

    train: str
    holdout: str
    file_format: str = "csv"
    location: str | None = None

    @classmethod
    def by_hash(
        cls,
        table: str,
        *,
        columns: Sequence[str],
        key: Sequence[str],
        time: str,
        percent: int = 10,
        delay_hours: int = 24,
        **options: Any,
    ) -> Export:
        """Hold rows out by a hash of their key, so that none ever moves between training and evaluation.

        Held-out rows are scored once they have some age: a night's own batch, which may be broken, must not
        vouch for the model that learned it.

        :param table: ``DATASET.TABLE``, or a query in parentheses (templated).
        :param columns: to export.
        :param key: columns whose values decide on which side a row is, e.g. user and item.
        :param time: the timestamp column that says when a row arrived.
        :param percent: of the keys that are held out, 1 to 99.
        :param delay_hours: the age from which on held-out rows are scored.
        :param options: ``file_format`` and ``location``.
        :raises ValueError: a column can't have that name, or a number is out of its range.
        """
        if not columns or not key:
            raise ValueError("Export.by_hash needs columns to export, and a key")
        for name in (*columns, *key, time):
            if not _COLUMN.fullmatch(name):
                raise ValueError(f"Export.by_hash: {name!r} is not the name of a column")
        if not 1 <= percent <= 99 or delay_hours < 0:
            raise ValueError("Export.by_hash: percent must be 1 to 99, and delay_hours at least 0")
        # A row without a part of its key is exported too, for the check to see it.
        values = ", ':', ".join(f"COALESCE(CAST({name} AS STRING), '')" for name in key)
        bucket = f"ABS(MOD(FARM_FINGERPRINT(CONCAT({values})), 100))"
        select = f"SELECT {', '.join(columns)} FROM {table} WHERE {bucket}"  # noqa: S608
        aged = f"TIMESTAMP_SUB({NIGHT}, INTERVAL {delay_hours} HOUR)"
        return cls(
            train=f"{select} >= {percent} AND {time} < {NIGHT}",
            holdout=f"{select} < {percent} AND {time} < {aged}",
            **options,
        )


@dataclass(frozen=True)
class Files:
    """Data that is in Cloud Storage already, instead of an export.

    :param train: files to train on, ``gs://…``, with wildcards as the image understands them (templated).
    :param holdout: files of the rows that models are compared on (templated).
    """

    train: str
    holdout: str


@dataclass(frozen=True)
class Promote:
    """How a version is promoted, see :class:`~airflow_ml_provider.operators.PromoteModelOperator`.

    :param allow_older_data: whether a backfill may replace a champion with newer data.
    :param keep_last: how many versions are kept; all if None.
    """

    allow_older_data: bool = False
    keep_last: int | None = None


@dataclass(frozen=True)
class Approval:
    """A person decides before the promotion. Needs Airflow 3.1.

    :param hours: to wait; then it counts as rejected, and the champion stays.
    :param notifiers: Airflow notifiers that tell that somebody is waited for.
    :param assigned_users: who may decide, as ``{"id": …, "name": …}``; everybody who may if None.
    """

    hours: float = 12
    notifiers: Sequence[Any] = ()
    assigned_users: Sequence[Mapping[str, str]] | None = None


@dataclass(frozen=True)
class Names:
    """What the steps of one chain call each other's results: templates, for steps of your own.

    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/``.
    :param model: the model's name.
    :param new_version: what the training step shall call its version, different at each attempt.
    :param version: what it did call it: the version that is evaluated and promoted.
    :param train_data: files to train on.
    :param holdout_data: files to compare models on.
    :param job_dir: a folder for the run's checkpoints.
    :param decision: the gate's decision, an expression for templates.
    """

    root: str
    model: str
    new_version: str
    version: str
    train_data: str
    holdout_data: str
    job_dir: str
    decision: str

    @property
    def output_dir(self) -> str:
        """The folder of the new version."""
        return f"{self.root}/models/{self.model}/versions/{self.new_version}"


Step = Callable[[Names], BaseOperator]


@dataclass(frozen=True)
class Retraining:
    """What is retrained, and how.

    Each step can be replaced by a function that makes an operator of the chain's :class:`Names`, and all but
    the training can be left out with None.

    :param model: the model's name.
    :param root: ``gs://BUCKET/FOLDER`` that holds ``models/`` (templated).
    :param data: what to export, or files that are there.
    :param train: the job. Its image is started with the job's own ``args``, followed by
        ``--train-file=FILES --job-dir=FOLDER --output-dir=FOLDER``. A step of your own must return
        ``{"labels": {"version": NAME}}``, as a job with that label does.
    :param region: of the jobs, e.g. ``europe-west4``; by default each job's own (templated).
    :param check: what is expected of the data to train on, as
        :class:`~airflow_ml_provider.operators.ValidateTrainingDataOperator` takes it.
    :param evaluate: the job that scores the models; the training's image with ``["evaluate"]`` if empty.
    :param gate: what is required of a new version. Without a gate there is nothing to promote by: leave
        ``promote`` out too, or replace it.
    :param approve: whether a person is asked before the promotion.
    :param promote: how it is promoted.
    :param on_promoted: called with the task's context after a promotion: notifiers, or any callables.
    :param on_refused: called after HOLD or BLOCK; ``decision`` is in the context, for templates too.
    :param connection: arguments of all operators: ``gcp_conn_id``, ``project_id``, ``impersonation_chain``.
    :raises ValueError: settings contradict each other.
    """

    model: str
    root: str
    data: Export | Files
    train: TrainingJob | Step
    region: str | None = None
    check: Mapping[str, Any] | str | Step | None = field(default_factory=dict)
    evaluate: TrainingJob | Mapping[str, Any] | Step | None = field(default_factory=dict)
    gate: GateSettings | Mapping[str, Any] | Step | None = field(default_factory=GateSettings)
    approve: Approval | Step | None = None
    promote: Promote | Step | None = field(default_factory=Promote)
    on_promoted: Any = ()
    on_refused: Any = ()
    connection: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name("model", self.model)
        if self.gate is None and isinstance(self.promote, Promote):
            raise ValueError("Without a gate nothing says that a version may be promoted: give promote=None")
        if self.evaluate == {} and not isinstance(self.train, TrainingJob):
            raise ValueError("Give evaluate: the image is not known where train is a step of your own")
        unknown = self.connection.keys() - {"gcp_conn_id", "project_id", "impersonation_chain"}
        if unknown:
            raise ValueError(f"connection has no {', '.join(sorted(unknown))}")


def retraining_dag(dag_id: str, settings: Retraining, **arguments: Any) -> DAG:
    """Return a DAG that retrains a model: export, check, train, evaluate, gate, promote.

    By default it does not catch up, runs once at a time and retries a task twice.

    :param dag_id: its name.
    :param settings: what is retrained, and how.
    :param arguments: of Airflow's ``DAG``, e.g. ``schedule`` and ``start_date``.
    """
    retries = {"retries": 2, "retry_delay": timedelta(minutes=1)}
    defaults = {**retries, **(arguments.pop("default_args", None) or {})}
    arguments = {"catchup": False, "max_active_runs": 1, **arguments}
    with DAG(dag_id, default_args=defaults, **arguments) as dag:
        RetrainingTaskGroup("retraining", settings, prefix_group_id=False)
    return dag


class RetrainingTaskGroup(TaskGroup):
    """The chain of :func:`retraining_dag` as a group of tasks within a DAG.

    The tasks are ``export_train``, ``export_holdout``, ``check``, ``train``, ``evaluate``, ``gate``,
    ``approve`` and ``promote``, as far as the settings ask for them.

    :param group_id: its name, and the prefix of its tasks' ids.
    :param settings: what is retrained, and how.
    :param arguments: of Airflow's ``TaskGroup``.
    """

    def __init__(self, group_id: str, settings: Retraining, **arguments: Any) -> None:
        super().__init__(group_id, **arguments)
        _offer_slug(self.dag)
        with self:
            self._add(settings)

    def _add(self, settings: Retraining) -> None:
        names = self._names(settings)
        makers: dict[str, tuple[Any, Callable[[Retraining, Names, str], BaseOperator]]] = {
            "check": (settings.check, _check),
            "train": (settings.train, _train),
            "evaluate": (settings.evaluate, _evaluate),
            "gate": (settings.gate, _gate),
            "approve": (settings.approve, _approve),
            "promote": (settings.promote, _promote),
        }
        steps = {}
        for name, (setting, make) in makers.items():
            if setting is not None:
                steps[name] = setting(names) if callable(setting) else make(settings, names, name)
        tasks = list(steps.values())
        for task, after in pairwise(tasks):
            task >> after
        if isinstance(settings.data, Export):
            self._export("train", settings, settings.data.train) >> tasks[0]
            if "evaluate" in steps:
                self._export("holdout", settings, settings.data.holdout) >> steps["evaluate"]

    def _names(self, settings: Retraining) -> Names:
        train, holdout = (
            (settings.data.train, settings.data.holdout)
            if isinstance(settings.data, Files)
            else (self._result("export_train", "[0]"), self._result("export_holdout", "[0]"))
        )
        folder = self._task_id("").rstrip(".")
        return Names(
            root=settings.root,
            model=settings.model,
            new_version=f"{RUN}_{ATTEMPT}",
            version=self._result("train", ".labels.version"),
            train_data=train,
            holdout_data=holdout,
            job_dir="/".join([settings.root, "jobs", *([folder] if folder else []), RUN]),
            decision=f"ti.xcom_pull('{self._task_id('gate')}', key='decision')",
        )

    def _task_id(self, name: str) -> str:
        return str(self.child_id(name))  # type: ignore[no-untyped-call]

    def _result(self, name: str, part: str) -> str:
        return f"{{{{ ti.xcom_pull('{self._task_id(name)}'){part} }}}}"

    def _export(self, split: str, settings: Retraining, query: str) -> BaseOperator:
        data = settings.data
        assert isinstance(data, Export)
        # A folder for each attempt, so that the shards of two attempts never mix.
        folder = f"{settings.root}/datasets/{settings.model}/{RUN}/{split}_{ATTEMPT}"
        return BigQueryExportOperator(
            task_id=f"export_{split}",
            query=query,
            uri=f"{folder}/part-*.{data.file_format}",
            file_format=data.file_format,
            location=data.location,
            **settings.connection,
        )


def _check(settings: Retraining, names: Names, task_id: str) -> BaseOperator:
    return ValidateTrainingDataOperator(
        task_id=task_id,
        uri=names.train_data,
        expectations=settings.check,  # type: ignore[arg-type]
        root=names.root,
        model=names.model,
        **settings.connection,
    )


def _train(settings: Retraining, names: Names, task_id: str) -> BaseOperator:
    job = settings.train
    assert isinstance(job, TrainingJob)
    added = [
        f"--train-file={names.train_data}",
        f"--job-dir={names.job_dir}",
        f"--output-dir={names.output_dir}",
    ]
    labels = {**job.labels, "version": names.new_version}
    job = replace(job, args=[*job.args, *added], labels=labels)
    return TrainingJobOperator(task_id=task_id, job=job, region=settings.region, **settings.connection)


def _evaluate(settings: Retraining, names: Names, task_id: str) -> BaseOperator:
    job: Any = settings.evaluate
    if job == {}:
        assert isinstance(settings.train, TrainingJob)
        job = TrainingJob(image_uri=settings.train.image_uri, args=["evaluate"], region=settings.train.region)
    return EvaluateModelOperator(
        task_id=task_id,
        job=job,
        region=settings.region,
        root=names.root,
        model=names.model,
        version=names.version,
        data=names.holdout_data,
        **settings.connection,
    )


def _gate(settings: Retraining, names: Names, task_id: str) -> BaseOperator:
    return ModelGateOperator(
        task_id=task_id,
        root=names.root,
        model=names.model,
        version=names.version,
        settings=settings.gate,  # type: ignore[arg-type]
        on_refused=settings.on_refused,
        **settings.connection,
    )


def _approve(settings: Retraining, names: Names, task_id: str) -> BaseOperator:
    approval = settings.approve
    assert isinstance(approval, Approval)
    gate = None if settings.gate is None or callable(settings.gate) else names.decision
    return approval_operator(
        task_id=task_id,
        subject=f"Promote {names.version} of {names.model}?",
        body=gate and f"{{{{ {gate}.reasons | join(' ') }}}} Report: {{{{ {gate}.report }}}}",
        hours=approval.hours,
        notifiers=approval.notifiers,
        assigned_users=approval.assigned_users,
    )


def _promote(settings: Retraining, names: Names, task_id: str) -> BaseOperator:
    promote = settings.promote
    assert isinstance(promote, Promote)
    return PromoteModelOperator(
        task_id=task_id,
        root=names.root,
        model=names.model,
        version=names.version,
        allow_older_data=promote.allow_older_data,
        keep_last=promote.keep_last,
        **({"on_success_callback": settings.on_promoted} if settings.on_promoted else {}),
        **settings.connection,
    )


def _offer_slug(dag: DAG) -> None:
    """Offer the filter that the steps' templates use."""
    filters = dict(dag.user_defined_filters or {})
    if filters.setdefault("slug", slug) is not slug:
        raise ValueError(f"DAG {dag.dag_id} has another filter 'slug', which the retraining's steps need")
    dag.user_defined_filters = filters
