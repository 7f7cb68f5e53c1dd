"""The champion pointer and the history behind it: every act recorded, in order, whoever dies when."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from airflow_ml_provider.models.bucket import Bucket, Conflict
from airflow_ml_provider.models.errors import InvalidDocument, ModelStoreError, TooManyWriters
from airflow_ml_provider.models.record import Record
from airflow_ml_provider.models.uri import Place

log = logging.getLogger(__name__)

_JSON = "application/json"
_ATTEMPTS = 50
_RECORD = re.compile(r"/([0-9]{12})\.json$")


@dataclass(frozen=True)
class Pointer:
    """``champion.json`` as it was read: no record and generation 0 if there is none."""

    record: Record | None
    generation: int
    content: bytes = b""

    @property
    def champion(self) -> str | None:
        """The version in production."""
        return self.record.champion if self.record else None

    @property
    def earlier(self) -> tuple[str, ...]:
        """Former champions, the latest first."""
        return self.record.earlier if self.record else ()

    @property
    def blocked(self) -> tuple[str, ...]:
        """Versions that were rolled back from."""
        return self.record.blocked if self.record else ()

    @property
    def anchor(self) -> str | None:
        """The version that challengers are also held against."""
        return self.record.anchor if self.record else None

    @property
    def pruned(self) -> tuple[str, ...]:
        """Versions that are being removed, or were."""
        return self.record.pruned if self.record else ()

    @property
    def data_until(self) -> str | None:
        """The end of the data that the champion was trained on."""
        return self.record.data_until if self.record else None


# Given how things stand, returns the act's record, or None if the act has been done already.
Act = Callable[[Pointer], "Record | None"]


class Journal:
    """One model's ``champion.json`` and ``history/``.

    ``champion.json`` holds the newest record and is the only object that moves: each act replaces it with
    ``ifGenerationMatch``, after the record that it held was copied to ``history/``, and then copies its own.
    Whatever dies when, at most the newest record is missing from the history, and that one is in the
    pointer.

    :param bucket: that holds them.
    :param folder: the model's.
    :param model: its name.
    """

    def __init__(self, bucket: Bucket, folder: Place, model: str) -> None:
        self.uri = folder / "champion.json"
        self._history = folder / "history"
        self._bucket = bucket
        self._model = model

    def read(self) -> Pointer:
        """Return how things stand.

        :raises InvalidDocument: the pointer is no record of this model.
        """
        stored = self._bucket.read(self.uri)
        if stored is None:
            return Pointer(None, 0)
        try:
            record = Record.parse(str(self.uri), stored.content)
        except InvalidDocument as error:
            raise InvalidDocument(
                error.uri,
                error.field,
                f"{error.problem}. Put the newest good record of {self._history}/ in its place: "
                f"gcloud storage cp {self._history}/NUMBER.json {self.uri} "
                f"--if-generation-match={stored.generation}",
            ) from None
        if record.model != self._model:
            raise InvalidDocument(str(self.uri), "model", f"is {record.model!r}, not {self._model!r}")
        return Pointer(record, stored.generation, stored.content)

    def commit(self, act: Act) -> Pointer:
        """Carry out an act on what the pointer says, again if another writer came first.

        :param act: called with how things stand, once or more; may raise to refuse.
        :return: how things stand after it.
        :raises TooManyWriters: others came first every time.
        """
        for _ in range(_ATTEMPTS):
            pointer = self.read()
            draft = act(pointer)
            if draft is None:
                return pointer
            last = 0
            if pointer.record is not None:
                last = pointer.record.number
                self._keep(pointer.record, pointer.content)
            draft = replace(draft, number=self._last_number(last) + 1)
            if draft.champion is not None and draft.act in ("promoted", "rolled_back"):
                draft = replace(draft, champion_since=draft.number)
            content = draft.to_json()
            try:
                generation = self._bucket.write(self.uri, content, pointer.generation, _JSON)
            except Conflict:
                won = self._won(draft)
                if won is None:
                    continue
                generation = won
            try:
                self._keep(draft, content)
            except ModelStoreError as error:
                # It stands in the pointer; the next writer or reader of the history copies it.
                log.warning("record %s is not yet in the history: %s", draft.number, error)
            return Pointer(draft, generation, content)
        raise TooManyWriters(
            f"{self.uri} was moved {_ATTEMPTS} times by others while it was to be moved; try again"
        )

    def records(self, limit: int | None = None) -> list[Record]:
        """Return what was done, oldest first; a record that its writer could not copy is copied now.

        :param limit: only the newest so many.
        """
        pointer = self.read()
        if pointer.record is not None:
            try:
                self._keep(pointer.record, pointer.content)
            except ModelStoreError as error:
                log.warning("record %s stays out of the history for now: %s", pointer.record.number, error)
        found = self._bucket.sizes(self._history / "")
        names = sorted(name for name in found if _RECORD.search(name))
        records = {}
        for name in names[-limit:] if limit else names:
            place = Place(self.uri.bucket, name)
            raw = self._bucket.document(place, "it was there a moment ago, and no record is ever deleted")
            record = Record.parse(str(place), raw)
            records[record.number] = record
        if pointer.record is not None:
            records.setdefault(pointer.record.number, pointer.record)
        newest = [records[number] for number in sorted(records)]
        return newest[-limit:] if limit else newest

    def promotion(self, newest: Record | None) -> Record | None:
        """Return the record that made the champion what it is, or None if there is no champion."""
        if newest is None or newest.champion is None or newest.champion_since is None:
            return None
        if newest.champion_since == newest.number:
            return newest
        place = self._place(newest.champion_since)
        stored = self._bucket.read(place)
        if stored is None:
            log.warning("%s is gone, so nobody knows who promoted %s", place, newest.champion)
            return newest
        return Record.parse(str(place), stored.content)

    def _won(self, draft: Record) -> int | None:
        """Return the generation of our own write that was answered with 412 after a lost reply, if it was."""
        now = self.read()
        if now.record is not None and now.record.nonce == draft.nonce:
            return now.generation
        # Another writer may have moved on since; it has copied our record before.
        place = self._place(draft.number)
        stored = self._bucket.read(place)
        if stored is not None and Record.parse(str(place), stored.content).nonce == draft.nonce:
            return now.generation
        return None

    def _keep(self, record: Record, content: bytes) -> None:
        """Copy a record to the history, unless it is there."""
        place = self._place(record.number)
        try:
            self._bucket.write(place, content, 0, _JSON)
        except Conflict:
            stored = self._bucket.read(place)
            if stored is not None and stored.content != content:
                log.warning("%s differs from what %s says: that was edited by hand", place, self.uri)

    def _last_number(self, least: int) -> int:
        """Return the newest record's number, also where the pointer was deleted or put back by hand."""
        folder = self._history / ""
        names = self._bucket.sizes(folder, start=self._place(least))
        found = map(_RECORD.search, names)
        return max([least, *(int(match[1]) for match in found if match)])

    def _place(self, number: int) -> Place:
        return self._history / f"{number:012d}.json"
