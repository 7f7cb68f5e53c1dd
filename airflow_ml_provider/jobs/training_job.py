"""A training job: one container image on one machine or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow_ml_provider.jobs import document
from airflow_ml_provider.jobs.custom_job import custom_job
from airflow_ml_provider.jobs.errors import InvalidTrainingJob
from airflow_ml_provider.jobs.mounts import LustreMount, NfsMount
from airflow_ml_provider.jobs.private_network import PscInterface
from airflow_ml_provider.jobs.replicas import Replicas
from airflow_ml_provider.jobs.secret_env import warn_of_secrets
from airflow_ml_provider.jobs.validation import problems


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What runs where: turned into a Vertex AI CustomJob.

    Strings may hold Jinja templates when the job is given to an operator; they are checked once rendered.
    ``docs/training-job.md`` goes through the fields by purpose. Their names are those of
    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec and of Google's Python SDK.

    :param image_uri: the container image, ``REGISTRY/PATH:TAG`` or ``…@sha256:DIGEST``.
    :param args: arguments of the image's entrypoint; every role gets them unless it has its own.
    :param command: replaces the image's entrypoint.
    :param env: environment variables, at most 100. No secrets: they are readable in the job, and what looks
        like one causes a warning.
    :param machine_type: e.g. ``n1-standard-4``.
    :param accelerator: ``TYPE`` or ``TYPE:COUNT``, e.g. ``NVIDIA_TESLA_T4:2``. Machines that come with
        theirs, such as ``a2-highgpu-1g``, need none said.
    :param gpu_partition_size: takes a part of a GPU (MIG), e.g. ``1g.10gb``.
    :param tpu_topology: how many TPU chips, for machines that have them by topology, e.g. ``2x2``.
    :param reservation: Compute Engine reservations to use: names such as
        ``projects/P/zones/Z/reservations/N``, or ``ANY_RESERVATION``, or ``NO_RESERVATION``.
    :param boot_disk_type: ``pd-ssd`` (Vertex AI's default), ``pd-standard`` or ``hyperdisk-balanced``.
    :param boot_disk_gb: size of the boot disk in GB, 100 to 64000; Vertex AI's default is 100.
    :param nfs_mounts: shares of NFS servers, see :class:`NfsMount`.
    :param lustre_mounts: Lustre file systems, see :class:`LustreMount`.
    :param workers: how many workers beside the chief, or :class:`Replicas`.
    :param parameter_servers: likewise; on GPU clusters the place of a reduction server.
    :param evaluator: likewise.
    :param base_output_dir: ``gs://`` folder below which ``AIP_MODEL_DIR``, ``AIP_CHECKPOINT_DIR`` and
        ``AIP_TENSORBOARD_LOG_DIR`` lie.
    :param display_name: at most 128 characters; an operator derives one from the run.
    :param labels: at most 64; keys start with a letter. The operator adds three of its own.
    :param timeout: the longest time the job may run, in seconds or as timedelta; Vertex AI's default is
        7 days.
    :param queue_timeout: the longest time the job may wait before it runs, in seconds or as timedelta; no
        limit by default. Vertex AI has no such limit: the operator keeps it, cancelling the job and failing
        the task. It is no part of :meth:`to_custom_job`.
    :param scheduling_strategy: ``STANDARD``; ``SPOT``, cheaper machines that may be taken away; or
        ``FLEX_START``, which waits until all machines are to be had at once.
    :param max_wait_duration: with ``FLEX_START``, how long Vertex AI waits for machines, in seconds or as
        timedelta; 0 for ever. Vertex AI's default is a day.
    :param restart_job_on_worker_restart: whether the whole job starts again when one replica does, for
        training that can't take a replica back.
    :param disable_retries: whether Vertex AI leaves the job failed after an internal error of its own.
    :param service_account: what the container runs as.
    :param network: VPC network to peer with, ``projects/NUMBER/global/networks/NAME``.
    :param reserved_ip_ranges: names of the network's ranges that the job's addresses come from.
    :param psc_interface: the other way into a network, see :class:`PscInterface`.
    :param kms_key: Cloud KMS key that encrypts the job.
    :param tensorboard: resource name of a Vertex AI TensorBoard that shows the job's logs.
    :param experiment: metadata context of a Vertex AI Experiment.
    :param experiment_run: metadata context of the run within it.
    :param persistent_resource_id: runs on the machines of a persistent resource instead of new ones.
    :param protected_artifact_location: where protected artifacts are kept, if not in the job's region.
    :param enable_web_access: whether one may open a shell on the replicas from the console.
    :param enable_dashboard_access: whether one may open a dashboard that the chief serves.
    :param region: where to run it, for those who keep it with the job; the operator's ``region`` goes first.
    :param migration_notes: what :meth:`from_ai_platform` could not translate one to one.
    :raises InvalidTrainingJob: with all problems at once.
    """

    image_uri: str
    args: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    machine_type: str = "n1-standard-4"
    accelerator: str | None = None
    gpu_partition_size: str | None = None
    tpu_topology: str | None = None
    reservation: str | Sequence[str] | None = None
    boot_disk_type: str | None = None
    boot_disk_gb: int | str | None = None
    nfs_mounts: Sequence[NfsMount] = ()
    lustre_mounts: Sequence[LustreMount] = ()
    workers: int | str | Replicas = 0
    parameter_servers: int | str | Replicas = 0
    evaluator: int | str | Replicas = 0
    base_output_dir: str | None = None
    display_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout: float | str | timedelta | None = None
    queue_timeout: float | str | timedelta | None = None
    scheduling_strategy: str = "STANDARD"
    max_wait_duration: float | str | timedelta | None = None
    restart_job_on_worker_restart: bool | str = False
    disable_retries: bool | str = False
    service_account: str | None = None
    network: str | None = None
    reserved_ip_ranges: Sequence[str] = ()
    psc_interface: PscInterface | None = None
    kms_key: str | None = None
    tensorboard: str | None = None
    experiment: str | None = None
    experiment_run: str | None = None
    persistent_resource_id: str | None = None
    protected_artifact_location: str | None = None
    enable_web_access: bool | str = False
    enable_dashboard_access: bool | str = False
    region: str | None = None
    migration_notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        found = problems(self)
        if found:
            raise InvalidTrainingJob(found)
        roles = (self.workers, self.parameter_servers, self.evaluator)
        # The line that makes the job: beyond this method and the one that dataclass wrote.
        environments = [self.env, *(role.env for role in roles if isinstance(role, Replicas))]
        warn_of_secrets([env for env in environments if isinstance(env, Mapping)], stacklevel=3)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TrainingJob:
        """Return the job that :meth:`to_dict` gave.

        :raises InvalidTrainingJob: unknown field, or a value that :class:`TrainingJob` refuses.
        """
        return document.build(cls, value)

    @classmethod
    def from_yaml(cls, path: str | Path) -> TrainingJob:
        """Return the job in a YAML file, as :meth:`to_yaml` writes it.

        :param path: of the file.
        :raises InvalidTrainingJob: as :meth:`from_dict`, and for a file that can't be read.
        """
        return document.build(cls, document.load(path))

    @classmethod
    def from_ai_platform(
        cls, source: Mapping[str, Any] | str | Path, image_uri: str | None = None
    ) -> TrainingJob:
        """Return the job that AI Platform's ``trainingInput`` described.

        :param source: a ``trainingInput`` or what holds one under that key: a mapping, or the path of a YAML
            or JSON file.
        :param image_uri: an image that holds the Python package of a job that had no image; such a job is
            refused without it.
        :return: the job; what is not one to one is in its ``migration_notes``.
        :raises InvalidTrainingJob: every problem at once, and for what has no equivalent what to do instead.
        """
        from airflow_ml_provider.jobs.ai_platform import training_job

        return training_job(source, image_uri=image_uri)

    @classmethod
    def from_gcloud(
        cls,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        folder: str | Path | None = None,
        image_uri: str | None = None,
    ) -> TrainingJob:
        """Return the job that ``gcloud ai-platform jobs submit training …`` would have started.

        :param command: the command line, or a script that holds it and sets variables for it, as one text; or
            the command line in words.
        :param env: values of the shell variables in a text that it does not set itself, or sets in a way that
            only running it would tell. ``$(date +FORMAT)`` becomes a template with the run's date.
        :param folder: where ``--config``, and what a script reads with ``source``, are looked for; the
            current one by default.
        :param image_uri: as of :meth:`from_ai_platform`.
        :return: as :meth:`from_ai_platform`; flags override ``--config``.
        :raises InvalidTrainingJob: as :meth:`from_ai_platform`, and for an unknown flag or variable.
        """
        from airflow_ml_provider.jobs import ai_platform, gcloud

        submission = gcloud.submission(command, env, Path(folder) if folder else None)
        return submission.job_by(lambda job, notes: ai_platform.training_job(job, notes, image_uri))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain data that Airflow can template."""
        return document.plain(self)

    def to_yaml(self) -> str:
        """Return the job as the text of a YAML file, with the migration notes as comments at its top."""
        return document.dump(self.to_dict(), comments=self.migration_notes)

    def to_custom_job(self, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the body of ``customJobs.create``.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs

        :param labels: added to the job's own.
        """
        return custom_job(self, labels or {})
