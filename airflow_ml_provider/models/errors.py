"""What can go wrong between a model and production, told to the person on call."""

from __future__ import annotations


class ModelStoreError(Exception):
    """The model store could not do what was asked. The message names the object and what to do."""


class BucketNotFound(ModelStoreError):
    """The bucket does not exist."""


class AccessDenied(ModelStoreError):
    """The credentials are missing, or don't allow it."""


class StoreUnavailable(ModelStoreError):
    """Cloud Storage did not answer, also after the client's own retries; trying later may help."""


class TooManyWriters(ModelStoreError):
    """Others moved the pointer again and again between reading and writing it."""


class InvalidInput(ModelStoreError):
    """What was given is wrong, and would be wrong on a retry as well."""


class InvalidName(InvalidInput, ValueError):
    """A model, a version, a bucket or a folder has a name that is not allowed."""


class InvalidSettings(InvalidInput, ValueError):
    """The gate's settings contradict themselves or name something unknown."""


class InvalidRecord(InvalidInput, ValueError):
    """An act can't be recorded as given: nobody or no reason named, or its evidence is too large."""


class InvalidDocument(InvalidInput):
    """A JSON file in the bucket does not say what it should.

    :param uri: the file.
    :param field: the path to the field at fault, e.g. ``paired.squared_error.sums.n``; empty for the whole.
    :param problem: what is wrong with it, and what was expected.
    """

    def __init__(self, uri: str, field: str, problem: str) -> None:
        super().__init__(f"{uri}: {field + ': ' if field else ''}{problem}")
        self.uri = uri
        self.field = field
        self.problem = problem


class DocumentNotFound(InvalidInput):
    """A file that should be in the bucket is not there."""


class IncompleteVersion(InvalidInput):
    """A version lacks its manifest, or files that its manifest lists."""


class VersionBlocked(InvalidInput):
    """The version was rolled back from and must not come back by itself."""


class NotJustified(InvalidInput):
    """The decision on the version does not allow its promotion."""


class NoEarlierChampion(InvalidInput):
    """There is nothing to roll back to."""


class ChampionChanged(ModelStoreError):
    """The champion is no longer the one that the decision was about.

    :param champion: the version that is champion now, or None.
    """

    def __init__(self, message: str, champion: str | None) -> None:
        super().__init__(message)
        self.champion = champion


class OlderData(ModelStoreError):
    """The version was trained on older data than the champion: a backfill must not overtake it."""


class VersionPruned(InvalidInput):
    """The version was removed, or is being removed, to save space."""
