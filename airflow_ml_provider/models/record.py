"""One act on a model: the newest record is the champion pointer, all of them are the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_ml_provider.models.decision import to_json
from airflow_ml_provider.models.document import Document
from airflow_ml_provider.models.errors import InvalidRecord

SCHEMA = 1
# Together they keep the pointer small enough to be read and swapped in one piece.
POINTER_LIMIT = 4096
_EVIDENCE_LIMIT = 1200
_BY_LIMIT = 160
_WHY_LIMIT = 500
EARLIER_LIMIT = 8
BLOCKED_LIMIT = 10
PRUNED_LIMIT = 4


@dataclass(frozen=True)
class Record:
    """What was done, and how things stand after it.

    :param number: from 1 on, in the order in which it happened.
    :param act: ``promoted``, ``refused``, ``rolled_back`` or ``pruned``.
    :param model: the model's name.
    :param version: what was promoted, refused or rolled back to; the champion where versions were pruned.
    :param champion: the version in production after the act, or None.
    :param champion_since: the number of the record that put it there, or None.
    :param previous: the version in production before the act, or None.
    :param by: who did it.
    :param at: when, RFC 3339.
    :param why: the reason.
    :param forced: whether a person overruled a refusal.
    :param evidence: the numbers it rests on, see
        :meth:`~airflow_ml_provider.models.decision.Decision.evidence`.
    :param earlier: former champions that a rollback would return to, the latest first.
    :param blocked: versions that were rolled back from, the latest first.
    :param anchor: after the act, the version that challengers are also held against, so that many small
        steps down don't add up; None before the first promotion.
    :param pruned: versions whose removal was begun last; nothing returns to them.
    :param data_until: the end of the data that the champion was trained on, RFC 3339, or None if unknown.
    :param nonce: drawn for this record alone, so that its writer recognises it.
    """

    number: int
    act: str
    model: str
    version: str
    champion: str | None
    champion_since: int | None
    previous: str | None
    by: str
    at: str
    why: str
    forced: bool
    evidence: Mapping[str, Any] | None
    earlier: tuple[str, ...]
    blocked: tuple[str, ...]
    pruned: tuple[str, ...]
    data_until: str | None
    nonce: str
    anchor: str | None = None

    @classmethod
    def parse(cls, uri: str, raw: bytes | str) -> Record:
        """Read ``champion.json`` or a file of the history.

        :param uri: where it stands, for messages.
        :param raw: the file's content.
        :raises InvalidDocument: a field is missing or wrong.
        """
        document = Document.parse(uri, raw)
        document.schema(SCHEMA)
        champion = document.optional_text("champion")
        since = document.optional_integer("champion_since")
        if (champion is None) != (since is None):
            raise document.refuse("champion_since", "must be null exactly if champion is null")
        return cls(
            number=document.integer("number", minimum=1),
            act=document.choice("act", "promoted", "refused", "rolled_back", "pruned"),
            model=document.text("model"),
            version=document.text("version"),
            champion=champion,
            champion_since=since,
            previous=document.optional_text("previous"),
            by=document.text("by"),
            at=document.time("at"),
            why=document.text("why"),
            forced=document.boolean("forced"),
            evidence=None if document.is_null("evidence") else dict(document.child("evidence").items()),
            earlier=document.texts("earlier"),
            blocked=document.texts("blocked"),
            pruned=document.texts("pruned"),
            data_until=None if document.is_null("data_until") else document.time("data_until"),
            nonce=document.text("nonce"),
            anchor=document.optional_text("anchor"),
        )

    def to_json(self) -> bytes:
        """Return the file's content."""
        content = to_json({"schema": SCHEMA, **asdict(self)})
        if len(content) > POINTER_LIMIT:
            raise InvalidRecord(f"record {self.number} has {len(content)} bytes, at most {POINTER_LIMIT} fit")
        return content


def checked_act(
    by: str, why: str, evidence: Mapping[str, Any] | None
) -> tuple[str, str, dict[str, Any] | None]:
    """Return who, why and the evidence, bounded as the pointer needs it; long texts end in '…'.

    :raises InvalidRecord: nobody or no reason is named, or the evidence is not JSON or too large.
    """
    for name, text in (("by", by), ("why", why)):
        if not isinstance(text, str) or not text.strip():
            raise InvalidRecord(f"{name} is {text!r}: the history needs who acted and why")
    if evidence is not None:
        try:
            size = len(to_json(dict(evidence)))
            evidence = json.loads(json.dumps(evidence))
        except (TypeError, ValueError) as error:
            raise InvalidRecord(f"the evidence can't be written as JSON: {error}") from None
        if size > _EVIDENCE_LIMIT:
            raise InvalidRecord(
                f"the evidence has {size:,} bytes, at most {_EVIDENCE_LIMIT:,} fit into a record: "
                "give Decision.evidence(), the whole decision stands in decision.json"
            )
    return _clip(by, _BY_LIMIT), _clip(why, _WHY_LIMIT), None if evidence is None else dict(evidence)


def _clip(text: str, limit: int) -> str:
    # Measured as it will be written: a quote or a line feed takes two bytes.
    text = text.strip().encode(errors="replace").decode()
    if _written(text) <= limit:
        return text
    while _written(text) > limit - 3:
        text = text[: max(1, len(text) * (limit - 3) // _written(text)) - 1]
    return text + "…"


def _written(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2
