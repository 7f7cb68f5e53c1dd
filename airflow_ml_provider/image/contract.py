"""What a training image has to do, tried out on the image itself.

The jobs run as containers in the emulator, by the requests that Vertex AI gets; see ``docs/container.md``.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.image.engine import ImageError, connect
from airflow_ml_provider.jobs import TrainingJob

if TYPE_CHECKING:
    from google.cloud.storage import Bucket

PASSED, FAILED, ADVICE = "passed", "failed", "advice"

_BUCKET, _PROJECT, _REGION = "contract", "contract-project", "europe-west4"
# Vertex AI documents no time between SIGTERM and SIGKILL; GKE gives Spot pods at most 15 seconds.
_GRACE_SECONDS = 10
_PATIENCE_SECONDS = 900
_POLL_SECONDS = 0.5
_OVER = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"}
_SHELLS = {"sh", "bash", "ash", "dash"}


@dataclass(frozen=True)
class Finding:
    """What one check found.

    :param check: what was tried, as a sentence that is true of a good image.
    :param outcome: ``passed``, ``failed``, or ``advice``: it works, but not as well as it could.
    :param text: what was seen, and what to do about it.
    """

    check: str
    outcome: str
    text: str = ""


@dataclass(frozen=True)
class Ended:
    """A job that is over.

    :param seconds: from the request to cancel it until its end, where it was cancelled.
    """

    state: str
    message: str
    log: Sequence[str]
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether the job ended well."""
        return self.state == "JOB_STATE_SUCCEEDED"

    def __str__(self) -> str:
        lines = [f"{self.state}: {self.message.splitlines()[0] if self.message else ''}", *self.log[-5:]]
        return "\n".join(lines)


def check(
    image_uri: str,
    *,
    data: Path,
    args: Sequence[str],
    hyperparameters: Mapping[str, str],
    cluster: bool = True,
) -> Iterator[Finding]:
    """Try an image against the contract, and yield each finding as it is made.

    :param image_uri: an image on this machine, or one that Docker can pull.
    :param data: folder of training data; small, since the image trains on it about six times.
    :param args: the image's arguments. In them ``{data}``, ``{job}`` and ``{output}`` stand for the ``gs://``
        folders of the data, of the job (checkpoints) and of the model to write.
    :param hyperparameters: arguments that can be tuned, with a value each.
    :param cluster: whether the image can train on several replicas.
    :raises ImageError: there is no engine or no such image.
    """
    yield from _inspect(image_uri)
    with (
        tempfile.TemporaryDirectory(prefix="airflow-ml-contract-") as folder,
        _emulated(folder) as (
            address,
            bucket,
        ),
    ):
        _upload(data, bucket)
        yield from _Trial(image_uri, tuple(args), address, bucket).findings(hyperparameters, cluster)


class _Trial:
    def __init__(self, image_uri: str, args: tuple[str, ...], address: str, bucket: Bucket) -> None:
        self._image_uri = image_uri
        self._args = args
        self._jobs = f"{address}/v1/projects/{_PROJECT}/locations/{_REGION}/customJobs"
        self._address = address
        self._bucket = bucket

    def findings(self, hyperparameters: Mapping[str, str], cluster: bool) -> Iterator[Finding]:
        """Yield what each job shows."""
        name = "Trains on one machine"
        first = self._run("one")
        if not first.succeeded:
            yield Finding(name, FAILED, f"With its arguments the job ended as {first}")
            return
        yield Finding(name, PASSED)
        yield self._model("one")
        if cluster:
            both = self._run("cluster", workers=1)
            yield _verdict("Trains on a chief and a worker", both.succeeded, f"The job ended as {both}")
        for flag, value in hyperparameters.items():
            # Both forms are seen: https://cloud.google.com/vertex-ai/docs/training/using-hyperparameter-tuning
            for form in ((f"--{flag}={value}",), (f"--{flag}", _as_float(value))):
                tuned = self._run(f"tuned-{flag}-{len(form)}", *form)
                yield _verdict(
                    f"Takes the hyperparameter {' '.join(form)}", tuned.succeeded, f"The job ended as {tuned}"
                )
        wrong = self._run("wrong", "--no-such-argument-exists=1")
        yield self._refusal("Refuses an argument that it does not know with exit code 2", wrong)
        empty = self._run("empty", data="nothing")
        yield self._refusal("Refuses to train without data with exit code 2", empty)
        yield from self._leaving()

    def _leaving(self) -> Iterator[Finding]:
        name = f"Leaves within {_GRACE_SECONDS} seconds of SIGTERM"
        stopped = self._run("stopped", cancel=True)
        if stopped.state != "JOB_STATE_CANCELLED":
            text = f"It was over before it could be cancelled ({stopped.state}): give it more data to tell."
            yield Finding(name, ADVICE, text)
        elif stopped.seconds < _GRACE_SECONDS:
            yield Finding(name, PASSED, f"after {stopped.seconds:.1f} s")
        else:
            text = (
                "It had to be killed. Handle SIGTERM: write a checkpoint and exit; see also the entrypoint."
            )
            yield Finding(name, FAILED, text)
        after = self._run("stopped")
        yield _verdict(
            "Goes on after it was stopped, in the same job folder", after.succeeded, f"It ended as {after}"
        )

    def _model(self, run: str) -> Finding:
        name = "Writes a model, and a manifest of it"
        written = {blob.name: blob for blob in self._bucket.list_blobs(prefix=f"output/{run}/")}
        written |= {blob.name: blob for blob in self._bucket.list_blobs(prefix=f"job/{run}/model/")}
        if not written:
            text = "Nothing was written to {output} nor to AIP_MODEL_DIR."
            return Finding(name, FAILED, text)
        manifests = [path for path in written if path.endswith("/manifest.json")]
        if not manifests:
            text = (
                "There is no manifest.json: the model store can't promote what has none (docs/container.md)."
            )
            return Finding(name, ADVICE, text)
        manifest = written[manifests[0]]
        folder = manifest.name.removesuffix("manifest.json")
        for file in json.loads(manifest.download_as_bytes()).get("files", []):
            blob = written.get(folder + file["path"])
            if blob is None:
                return Finding(name, FAILED, f"manifest.json lists {file['path']}, which does not exist.")
            if hashlib.sha256(blob.download_as_bytes()).hexdigest() != file["sha256"]:
                return Finding(name, FAILED, f"{file['path']} is not what manifest.json says (sha256).")
            if blob.updated > manifest.updated:
                return Finding(name, FAILED, f"{file['path']} was written after manifest.json, not before.")
        return Finding(name, PASSED)

    def _refusal(self, name: str, ended: Ended) -> Finding:
        if "non-zero status of 2." not in ended.message:
            return Finding(name, FAILED, f"The job ended as {ended}")
        if any("Traceback (most recent call last)" in line for line in ended.log):
            return Finding(name, ADVICE, "It printed a traceback rather than one line that says what to do.")
        return Finding(name, PASSED, ended.log[-1] if ended.log else "")

    def _run(self, run: str, *more: str, workers: int = 0, data: str = "data", cancel: bool = False) -> Ended:
        """Run a job to its end, or cancel it once it has begun to work."""
        import requests

        folders = {
            "{data}": f"gs://{_BUCKET}/{data}",
            "{job}": f"gs://{_BUCKET}/job/{run}",
            "{output}": f"gs://{_BUCKET}/output/{run}",
        }
        job = TrainingJob(
            image_uri=self._image_uri,
            args=[*(_replaced(arg, folders) for arg in self._args), *more],
            workers=workers,
            base_output_dir=folders["{job}"],
            display_name=f"contract {run}",
        )
        created = requests.post(self._jobs, json=job.to_custom_job(), timeout=60)
        if created.status_code != 200:
            raise ImageError(f"The emulator refused the job: {created.text}")
        name = created.json()["name"]
        cancelled_at = 0.0
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found: dict[str, Any] = requests.get(f"{self._address}/v1/{name}", timeout=60).json()
            if found["state"] in _OVER and ("error" in found or found["state"] != "JOB_STATE_FAILED"):
                seconds = time.monotonic() - cancelled_at if cancelled_at else 0.0
                message = found.get("error", {}).get("message", "")
                return Ended(found["state"], message, self._log(name), seconds)
            if time.monotonic() > deadline:
                requests.post(f"{self._address}/v1/{name}:cancel", json={}, timeout=60)
                raise ImageError(f"A job did not end within {_PATIENCE_SECONDS} s; give it less data.")
            if cancel and not cancelled_at and self._log(name):
                requests.post(f"{self._address}/v1/{name}:cancel", json={}, timeout=60)
                cancelled_at = time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _log(self, name: str) -> list[str]:
        """Return what the job's replicas printed."""
        import requests

        job_id = name.rpartition("/")[2]
        query = {
            "resourceNames": [f"projects/{_PROJECT}"],
            "filter": f'resource.type="ml_job" AND resource.labels.job_id="{job_id}" '
            'AND resource.labels.task_name!="service"',
            "pageSize": 1000,
        }
        reply = requests.post(f"{self._address}/v2/entries:list", json=query, timeout=60).json()
        return [
            str(entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", ""))
            for entry in reply.get("entries", [])
        ]


def _inspect(image_uri: str) -> Iterator[Finding]:
    from docker.errors import DockerException, ImageNotFound

    with connect() as client:
        try:
            try:
                image = client.images.get(image_uri)
            except ImageNotFound:
                image = client.images.pull(image_uri)
        except DockerException as error:
            raise ImageError(
                f"{image_uri} is neither on this machine nor can it be pulled: {error}"
            ) from error
    config = image.attrs["Config"]
    entrypoint = config.get("Entrypoint") or config.get("Cmd") or []
    shell = "-c" in entrypoint[1:3] and any(Path(word).name in _SHELLS for word in entrypoint[:2])
    yield _verdict(
        "Its program is its entrypoint, not a shell's child",
        not shell,
        "SIGTERM would reach the shell alone. Write ENTRYPOINT as a JSON list of program and arguments.",
    )
    user = str(config.get("User") or "root").partition(":")[0]
    if user in ("root", "0"):
        yield Finding(
            "Does not run as root", ADVICE, "Add a USER to the Dockerfile; nothing here needs root."
        )
    else:
        yield Finding("Does not run as root", PASSED, f"user {user}")


@contextmanager
def _emulated(folder: str) -> Iterator[tuple[str, Bucket]]:
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    try:
        from airflow_ml_provider.emulator.server import Settings, running
    except ImportError as error:
        raise ImageError(
            f"The emulator is missing ({error}): pip install 'airflow-ml-provider[emulator,image]'"
        ) from None
    settings = Settings(data=Path(folder), project=_PROJECT, docker=True, pace=0.05)
    with running(settings) as address:
        client = storage.Client(
            project=_PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=address),
        )
        yield address, client.create_bucket(_BUCKET, location=_REGION)


def _upload(data: Path, bucket: Bucket) -> None:
    files = [path for path in sorted(data.rglob("*")) if path.is_file()]
    if not files:
        raise ImageError(f"There are no files in {data} to train on.")
    for path in files:
        bucket.blob(f"data/{path.relative_to(data).as_posix()}").upload_from_filename(str(path))


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _as_float(value: str) -> str:
    """Return a number as Vertex AI passes integers: ``80`` as ``80.0``."""
    return f"{value}.0" if value.isdigit() else value


def _verdict(name: str, good: bool, otherwise: str) -> Finding:
    return Finding(name, PASSED) if good else Finding(name, FAILED, otherwise)
