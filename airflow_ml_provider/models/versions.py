"""The versions of one model: what each consists of, what was measured of it, and what was decided."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_ml_provider.models.bucket import Bucket
from airflow_ml_provider.models.decision import Decision
from airflow_ml_provider.models.errors import (
    IncompleteVersion,
    InvalidDocument,
    ModelStoreError,
)
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.manifest import Manifest
from airflow_ml_provider.models.uri import Place, checked_name

if TYPE_CHECKING:
    from google.cloud.storage import Client

# What stays of a version whose model was removed.
_EVIDENCE = {"manifest.removed.json", "evaluation.json", "decision.json", "report.html"}


class Versions:
    """The versions under ``ROOT/models/MODEL/versions/``.

    All failures are :class:`~airflow_ml_provider.models.errors.ModelStoreError`.

    :param client: a ``google.cloud.storage`` client with the caller's credentials.
    :param root: ``gs://BUCKET`` or ``gs://BUCKET/FOLDER``.
    :param model: the model's name.
    :raises InvalidName: the root or the model's name is not allowed.
    """

    def __init__(self, client: Client, root: str, model: str) -> None:
        self.model = checked_name("model", model)
        self._folder = Place.parse(root) / "models" / model
        self._bucket = Bucket(client, self._folder.bucket)

    def names(self) -> list[str]:
        """Return the names of all versions, complete or not, in order."""
        return self._bucket.folders(self._folder / "versions")

    def version_uri(self, version: str) -> str:
        """Return a version's folder, with a slash at its end."""
        return f"{self._version(version)}/"

    def evaluation_uri(self, version: str) -> str:
        """Return where a version's evaluation belongs."""
        return str(self._version(version) / "evaluation.json")

    def version_of(self, uri: str) -> str:
        """Return the version whose folder this is.

        :raises InvalidInput: it is no folder of a version of this model.
        """
        place = Place.parse(uri)
        version = checked_name("version", place.path.rpartition("/")[2])
        if place != self._version(version):
            raise InvalidDocument(uri, "", f"is not a version of {self._folder}")
        return version

    def manifest(self, version: str) -> Manifest:
        """Return what a version consists of.

        :raises DocumentNotFound: it has no manifest: its training has not finished.
        :raises InvalidDocument: its manifest is wrong.
        """
        place = self._version(version) / "manifest.json"
        advice = (
            "the version is incomplete, its training did not finish; look at the training job, or train again"
        )
        return Manifest.parse(str(place), self._bucket.document(place, advice))

    def verify(self, version: str, *, sha256: bool = False) -> Manifest:
        """Check that every file of a version is there.

        :param sha256: read each file and compare its content as well; the size is always compared.
        :return: the manifest.
        :raises DocumentNotFound: there is no manifest.
        :raises IncompleteVersion: files are missing or differ from what the manifest says.
        """
        manifest = self.manifest(version)
        folder = self._version(version)
        sizes = self._bucket.sizes(folder / "")
        problems = []
        for file in manifest.files:
            place = folder / file.path
            size = sizes.get(place.path)
            if size is None:
                problems.append(f"{file.path} is missing")
            elif size != file.size:
                problems.append(f"{file.path} has {size:,} bytes instead of {file.size:,}")
            elif sha256 and self._sha256(place) != file.sha256:
                problems.append(f"{file.path} has other content than was written")
        if problems:
            more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise IncompleteVersion(
                f"{folder}/ does not hold what its manifest lists: {'; '.join(problems[:5])}{more}. "
                "Nothing was changed. Train the version again, or restore the files."
            )
        return manifest

    def evaluation(self, version: str) -> Evaluation:
        """Return what was measured of a version.

        :raises DocumentNotFound: it has not been evaluated.
        :raises InvalidDocument: the file is wrong, or is about another version.
        """
        place = self._version(version) / "evaluation.json"
        raw = self._bucket.document(place, "the evaluation job did not write it; look at that job's log")
        evaluation = Evaluation.parse(str(place), raw)
        if evaluation.challenger.uri.rstrip("/") != str(self._version(version)):
            problem = f"is {evaluation.challenger.uri}, but this should be about {self.version_uri(version)}"
            raise InvalidDocument(str(place), "models.challenger.uri", problem)
        for role, scored in (("champion", evaluation.champion), ("anchor", evaluation.anchor)):
            try:
                if scored is not None:
                    self.version_of(scored.uri)
            except ModelStoreError as error:
                raise InvalidDocument(str(place), f"models.{role}.uri", str(error)) from None
        return evaluation

    def decision(self, version: str) -> Decision:
        """Return what was decided on a version.

        :raises DocumentNotFound: nothing was.
        :raises InvalidDocument: the file is wrong, or is about another version.
        """
        place = self._version(version) / "decision.json"
        raw = self._bucket.document(place, "the gate has not decided on this version; run it first")
        decision = Decision.parse(str(place), raw)
        if decision.challenger != version:
            raise InvalidDocument(str(place), "challenger", f"is {decision.challenger!r}, not {version!r}")
        return decision

    def is_decided(self, version: str) -> bool:
        """Return whether the gate has decided on a version."""
        return self._bucket.read(self._version(version) / "decision.json") is not None

    def trained(self, version: str) -> datetime | None:
        """Return when the newest file of a version's model was written, None if it has no model."""
        folder = self._version(version)
        written = self._bucket.written(folder / "")
        return max((at for name, at in written.items() if not _is_evidence(name, folder)), default=None)

    def remove_model(self, version: str) -> int:
        """Remove a version's files, and leave what was measured and decided; what is gone already is fine.

        Its manifest goes first, and is kept as ``manifest.removed.json``: from then on the version is
        incomplete, and nothing can point at it.

        :return: the bytes that were freed.
        """
        folder = self._version(version)
        manifest = self._bucket.read(folder / "manifest.json")
        if manifest is not None:
            self._bucket.put(folder / "manifest.removed.json", manifest.content, "application/json")
            self._bucket.delete(folder / "manifest.json")
        freed = 0
        for name, size in self._bucket.sizes(folder / "").items():
            if not _is_evidence(name, folder):
                self._bucket.delete(Place(folder.bucket, name))
                freed += size
        return freed

    def _version(self, version: str) -> Place:
        return self._folder / "versions" / checked_name("version", version)

    def _sha256(self, place: Place) -> str:
        digest = hashlib.sha256()
        for chunk in self._bucket.chunks(place):
            digest.update(chunk)
        return digest.hexdigest()


def _is_evidence(name: str, folder: Place) -> bool:
    return name.removeprefix(f"{folder.path}/") in _EVIDENCE


def models_in(client: Client, root: str) -> list[str]:
    """Return the names of the models under ``ROOT/models/``, in order."""
    place = Place.parse(root)
    return Bucket(client, place.bucket).folders(place / "models")
