"""The model store: versions in a bucket, the pointer to the champion, and the history of both."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_ml_provider.models.decision import Decision, Outcome, to_json
from airflow_ml_provider.models.errors import (
    ChampionChanged,
    DocumentNotFound,
    InvalidRecord,
    NoEarlierChampion,
    NotJustified,
    OlderData,
    VersionBlocked,
    VersionPruned,
)
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.journal import Journal, Pointer
from airflow_ml_provider.models.manifest import Manifest
from airflow_ml_provider.models.record import BLOCKED_LIMIT, EARLIER_LIMIT, PRUNED_LIMIT, Record, checked_act
from airflow_ml_provider.models.uri import checked_name
from airflow_ml_provider.models.versions import Versions

if TYPE_CHECKING:
    from google.cloud.storage import Client

_JSON = "application/json"
_NIGHTS_IN_REPORT = 60
# Vertex AI keeps a job at most 7 days running.
_JOB_AT_WORK = timedelta(days=8)


@dataclass(frozen=True)
class Champion:
    """The version in production.

    :param version: its name.
    :param generation: of ``champion.json`` when it was read.
    :param record: the act that made it champion.
    """

    version: str
    generation: int
    record: Record


class ModelStore(Versions):
    """One model's versions, champion and history, under ``ROOT/models/MODEL/``.

    All failures are :class:`~airflow_ml_provider.models.errors.ModelStoreError`.

    :param client: a ``google.cloud.storage`` client with the caller's credentials.
    :param root: ``gs://BUCKET`` or ``gs://BUCKET/FOLDER``.
    :param model: the model's name.
    :param clock: tells the time, with its zone.
    :raises InvalidName: the root or the model's name is not allowed.
    """

    def __init__(
        self,
        client: Client,
        root: str,
        model: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(client, root, model)
        self._journal = Journal(self._bucket, self._folder, self.model)
        self._clock = clock

    def champion(self) -> Champion | None:
        """Return the version in production, or None if there has been none.

        :raises InvalidDocument: the pointer can't be read.
        """
        pointer = self._journal.read()
        record = self._journal.promotion(pointer.record)
        if record is None or pointer.champion is None:
            return None
        return Champion(pointer.champion, pointer.generation, record)

    def promote(
        self,
        version: str,
        decision: Decision | None = None,
        *,
        by: str,
        why: str | None = None,
        expected: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        data_until: datetime | None = None,
        force: bool = False,
    ) -> Champion:
        """Make a version the champion. Doing it again changes nothing.

        :param version: complete, and not blocked.
        :param decision: the gate's; reason, expected champion and evidence are taken from it.
        :param by: who promotes.
        :param why: the reason; required without a decision, and to force.
        :param expected: without a decision, the champion that the version was compared with, or None.
        :param evidence: without a decision, at most 1.2 kB of JSON.
        :param data_until: the end of the data that the version was trained on, with its zone. A version with
            older data than the champion's does not replace it.
        :param force: promote although the decision is not PROMOTE, the data is older than the champion's, or
            the version was rolled back from.
        :return: the champion, with the record of its promotion.
        :raises ChampionChanged: the champion is another than expected: evaluate again.
        :raises NotJustified: the decision is not PROMOTE.
        :raises OlderData: the champion was trained on newer data.
        :raises VersionBlocked: the version was rolled back from.
        :raises VersionPruned: the version was removed.
        :raises IncompleteVersion: files are missing.
        :raises InvalidRecord: who or why is missing, or the evidence is too large.
        """
        if force and not why:
            raise InvalidRecord("a forced promotion needs a reason: give why")
        if decision is not None:
            if decision.challenger != version:
                raise InvalidRecord(f"the decision is about {decision.challenger!r}, not {version!r}")
            if decision.outcome is not Outcome.PROMOTE and not force:
                raise NotJustified(
                    f"{version} is not promoted, the gate decided {decision.summary} "
                    "To overrule it, promote with force and a reason."
                )
            why, expected, evidence = why or decision.summary, decision.champion, decision.evidence()
        # Whoever overrules the gate sets a new mark for the nights to come.
        anchor = version if force or decision is None else decision.anchor
        by, why, evidence = checked_act(by, why or "", evidence)
        until = _written(data_until)
        manifest = self.verify(version)

        def act(pointer: Pointer) -> Record | None:
            current = self._journal.promotion(pointer.record)
            if current and pointer.champion == version:
                if evidence == current.evidence or expected == version:
                    return None
            if pointer.champion != expected:
                raise self._changed(version, expected, pointer.champion, current)
            if version in pointer.blocked and not force:
                raise VersionBlocked(
                    f"{manifest.uri}: {version} was rolled back from and is blocked, so that a "
                    "retry can't bring it back. Train a new version, or promote this one with "
                    "force and a reason."
                )
            self._refuse_pruned(pointer, version)
            if until and pointer.data_until and until < pointer.data_until and not force:
                raise OlderData(
                    f"{self._journal.uri}: {version} was trained on data until {until}, and the champion "
                    f"{pointer.champion} on data until {pointer.data_until}. A backfill does not replace a "
                    "newer champion unless it is told to: promote it with force and a reason."
                )
            return self._draft(
                pointer,
                "promoted",
                version,
                champion=version,
                by=by,
                why=why,
                evidence=evidence,
                forced=force,
                anchor=anchor,
                earlier=(*([pointer.champion] if pointer.champion else []), *pointer.earlier),
                blocked=tuple(name for name in pointer.blocked if name != version),
                data_until=until,
            )

        return self._as_champion(self._journal.commit(act))

    def rollback(self, to: str | None = None, *, by: str, why: str, expected: str | None = None) -> Champion:
        """Return to an earlier version, and block those that came after it.

        :param to: the version; by default the one that was champion before the current one.
        :param by: who rolls back.
        :param why: the reason.
        :param expected: the champion to leave. Whoever may try again must give it: only then is a rollback
            that has happened recognised as such, and not done twice.
        :return: the champion, with the record of the rollback.
        :raises ChampionChanged: the champion is another than expected, or changed meanwhile.
        :raises NoEarlierChampion: there was none, or ``to`` is the champion already.
        :raises VersionBlocked: ``to`` was itself rolled back from.
        :raises IncompleteVersion: files of the earlier version are missing.
        """
        by, why, _ = checked_act(by, why, None)
        if to is not None:
            checked_name("version", to)
        left = expected

        def act(pointer: Pointer) -> Record | None:
            nonlocal left
            current, champion = self._journal.promotion(pointer.record), pointer.champion
            if current is None or champion is None:
                raise NoEarlierChampion(f"{self._journal.uri}: there is no champion to roll back from")
            done = champion == to if to else left is not None and current.previous == left
            if current.act == "rolled_back" and done:
                return None
            left = left or champion
            if champion != left:
                raise self._changed(to or "an earlier version", left, champion, current)
            target = to or next((name for name in pointer.earlier if name not in pointer.blocked), None)
            if target is None:
                raise NoEarlierChampion(
                    f"{self._journal.uri}: no champion before {champion} is known. Name the version to "
                    f"return to; the history stands under {self._folder}/history/."
                )
            if target == champion:
                raise NoEarlierChampion(f"{self._journal.uri}: {champion} is the champion already")
            if target in pointer.blocked:
                raise VersionBlocked(
                    f"{self._journal.uri}: {target} was itself rolled back from. If it is to return "
                    "nevertheless, promote it with force and a reason."
                )
            self._refuse_pruned(pointer, target)
            self.verify(target)
            skipped, rest = _split(pointer.earlier, target)
            return self._draft(
                pointer,
                "rolled_back",
                target,
                champion=target,
                by=by,
                why=why,
                anchor=target if pointer.anchor in {None, champion, *skipped} else pointer.anchor,
                earlier=rest,
                blocked=tuple(dict.fromkeys((champion, *skipped, *pointer.blocked))),
                data_until=self._data_until(target),
            )

        return self._as_champion(self._journal.commit(act))

    def refuse(
        self,
        version: str,
        decision: Decision | None = None,
        *,
        by: str,
        why: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> Record:
        """Record that a version was not promoted. The champion stays.

        :param decision: the gate's; reason and evidence are taken from it.
        :param by: who refused it.
        :param why: the reason; required without a decision.
        :param evidence: without a decision, at most 1.2 kB of JSON.
        :return: the record; the newest one if that is the same refusal.
        :raises InvalidRecord: who or why is missing, the evidence is too large, or the decision is PROMOTE.
        """
        checked_name("version", version)
        if decision is not None:
            if decision.challenger != version or decision.outcome is Outcome.PROMOTE:
                raise InvalidRecord(
                    f"{version} can't be refused by the decision {decision.outcome.value} "
                    f"on {decision.challenger}"
                )
            why, evidence = why or decision.summary, decision.evidence()
        by, why, evidence = checked_act(by, why or "", evidence)

        def act(pointer: Pointer) -> Record | None:
            newest = pointer.record
            if newest and (newest.act, newest.version, newest.evidence) == ("refused", version, evidence):
                return None
            return self._draft(
                pointer,
                "refused",
                version,
                champion=pointer.champion,
                by=by,
                why=why,
                evidence=evidence,
                earlier=pointer.earlier,
                blocked=pointer.blocked,
            )

        record = self._journal.commit(act).record
        assert record is not None
        return record

    def evaluation(self, version: str) -> Evaluation:
        """Return what was measured of a version, by ``metrics.json`` where there is no ``evaluation.json``.

        :raises DocumentNotFound: it has not been evaluated.
        :raises InvalidDocument: the file is wrong, or is about another version.
        """
        plain = self._plain_evaluation(version)
        return plain if plain is not None else super().evaluation(version)

    def _plain_evaluation(self, version: str) -> Evaluation | None:
        """Return what ``metrics.json`` says of a version whose image writes no ``evaluation.json``."""
        raw = self._bucket.read(self._version(version) / "metrics.json")
        if raw is None or self._bucket.read(self._version(version) / "evaluation.json") is not None:
            return None
        champion, given = self.champion(), None
        if champion is not None and champion.version != version:
            other = self._version(champion.version) / "metrics.json"
            content = self._bucket.document(other, "the champion's image wrote it beside its manifest before")
            given = (self.version_uri(champion.version), str(other), content)
        own = (self.version_uri(version), str(self._version(version) / "metrics.json"), raw.content)
        return Evaluation.of_metrics(own, given, self.manifest(version).created)

    def holdout_uses(self, evaluation: Evaluation) -> int:
        """Return how many recorded decisions on other versions rest on the same held-out rows.

        Looks at the newest 60 records; decisions that were not recorded are not known.
        """
        if not evaluation.holdout:
            return 0
        used = {
            record.version
            for record in self.history(limit=_NIGHTS_IN_REPORT)
            if record.evidence and record.evidence.get("holdout") == evaluation.holdout
        }
        return len(used - {evaluation.challenger.version})

    def write_decision(self, version: str, decision: Decision) -> str:
        """Write a decision beside its version, as ``decision.json`` and as ``report.html`` for people.

        :return: the report's URI.
        :raises InvalidRecord: the decision is about another version, or about another evaluation than the
            one that is in the bucket now.
        """
        from airflow_ml_provider.models.report import render

        folder = self._version(version)
        evaluation = self.evaluation(version)
        if decision.challenger != version or decision.fingerprint != evaluation.fingerprint:
            raise InvalidRecord(
                f"{evaluation.uri} is not what the decision on {decision.challenger!r} "
                "was made from: decide again"
            )
        history = self.history(limit=_NIGHTS_IN_REPORT)
        report = render(
            decision,
            evaluation,
            self.manifest(version),
            history,
            model=self.model,
            before=self._known_manifest(decision.champion),
        )
        self._bucket.put(folder / "report.html", report.encode(), "text/html; charset=utf-8")
        self._bucket.put(folder / "decision.json", to_json(decision.to_mapping()), _JSON)
        return str(folder / "report.html")

    def _known_manifest(self, version: str | None) -> Manifest | None:
        try:
            return self.manifest(version) if version else None
        except DocumentNotFound:
            return None

    def prune(self, keep_last: int, *, by: str) -> list[str]:
        """Remove the models of old versions; what was measured and decided of them stays.

        Kept are the champion, the anchor, the versions that a rollback would return to, the newest
        ``keep_last`` beside them, and whatever was written in the last eight days without being decided on
        yet, since a job may be at work on it. Removal is an act of the history: from its record on nothing
        returns to the version.

        :param keep_last: how many, at least 1.
        :param by: who prunes.
        :return: what was removed, including what an earlier call that was killed had begun.
        """
        if keep_last < 1:
            raise InvalidRecord(f"keep_last is {keep_last}: keep at least one version")
        by, why, _ = checked_act(by, f"keep the last {keep_last}", None)
        removed = self._finish_removal(self._journal.read())
        old = self._removable(keep_last)
        while old:
            batch, old = old[:PRUNED_LIMIT], old[PRUNED_LIMIT:]

            def act(pointer: Pointer, batch: Sequence[str] = batch) -> Record | None:
                pruned = tuple(name for name in batch if name not in _needed(pointer))
                if not pruned:
                    return None
                # The record forgets the last ones, so by then they must be gone.
                self._finish_removal(pointer)
                champion = pointer.champion or batch[0]
                return self._draft(
                    pointer, "pruned", champion, champion=pointer.champion, by=by, why=why, pruned=pruned
                )

            removed += self._finish_removal(self._journal.commit(act))
        return removed

    def history(self, limit: int | None = None) -> list[Record]:
        """Return what was done, oldest first; a record that its writer could not copy is copied now.

        :param limit: only the newest so many.
        """
        return self._journal.records(limit)

    def _removable(self, keep_last: int) -> list[str]:
        """Return the versions that may go, the oldest first."""
        needed = _needed(self._journal.read())
        trained = {name: at for name in self.names() if (at := self.trained(name)) is not None}
        oldest_first = sorted(trained, key=lambda name: (trained[name], name))
        recent = self._clock() - _JOB_AT_WORK
        return [
            name
            for name in oldest_first[:-keep_last]
            if name not in needed and (trained[name] < recent or self.is_decided(name))
        ]

    def _finish_removal(self, pointer: Pointer) -> list[str]:
        """Remove what the pointer says is being removed; return what of that was still there."""
        return [version for version in pointer.pruned if self.remove_model(version)]

    def _refuse_pruned(self, pointer: Pointer, version: str) -> None:
        if version in pointer.pruned:
            raise VersionPruned(
                f"{self.version_uri(version)}: its files were removed to save space. Train it again, "
                "with the image, data and arguments in its manifest.removed.json."
            )

    def _data_until(self, version: str) -> str | None:
        """Return until when the data reached that a former champion was trained on, if that is known."""
        records = reversed(self.history())
        return next((r.data_until for r in records if (r.act, r.version) == ("promoted", version)), None)

    def _draft(self, pointer: Pointer, act: str, version: str, **given: Any) -> Record:
        """Return a record that still lacks its number."""
        fields = {
            "forced": False,
            "evidence": None,
            "earlier": pointer.earlier,
            "blocked": pointer.blocked,
            "pruned": pointer.pruned,
            "data_until": pointer.data_until,
            "anchor": pointer.anchor,
            **given,
        }
        fields["earlier"] = fields["earlier"][:EARLIER_LIMIT]
        fields["blocked"] = fields["blocked"][:BLOCKED_LIMIT]
        return Record(
            number=0,
            act=act,
            model=self.model,
            version=version,
            champion_since=pointer.record.champion_since if pointer.record else None,
            previous=pointer.champion,
            at=self._clock().astimezone(UTC).isoformat(timespec="seconds"),
            nonce=secrets.token_hex(16),
            **fields,
        )

    def _as_champion(self, pointer: Pointer) -> Champion:
        record = self._journal.promotion(pointer.record)
        assert record is not None
        assert record.champion is not None
        return Champion(record.champion, pointer.generation, record)

    def _changed(
        self, version: str, expected: str | None, champion: str | None, record: Record | None
    ) -> ChampionChanged:
        now = "there is no champion"
        if record is not None:
            verb = "was rolled back to" if record.act == "rolled_back" else "was promoted"
            now = f"the champion is {champion}, which {verb} at {record.at} by {record.by} ({record.why})"
        then = f"with {expected} as champion" if expected else "without a champion"
        if champion == version:
            advice = "It is what was asked for, but on other evidence; nothing needs to be done."
        else:
            advice = "Nothing was changed. Evaluate it against that champion, and decide again."
        return ChampionChanged(
            f"{self._journal.uri}: {version} was decided on {then}, but now {now}. {advice}", champion
        )


def _split(earlier: tuple[str, ...], target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return those promoted after the target, and those before it."""
    if target not in earlier:
        return (), earlier
    at = earlier.index(target)
    return earlier[:at], earlier[at + 1 :]


def _needed(pointer: Pointer) -> set[str]:
    """Return the versions that the pointer names: champion, anchor and those that a rollback returns to."""
    return {name for name in (pointer.champion, pointer.anchor, *pointer.earlier) if name}


def _written(moment: datetime | None) -> str | None:
    """Return a time as records hold it, so that later ones compare as greater.

    :raises InvalidRecord: it has no zone.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidRecord(f"data_until is {moment}, without a time zone")
    return moment.astimezone(UTC).isoformat(timespec="seconds")
