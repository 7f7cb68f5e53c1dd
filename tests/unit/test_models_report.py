"""The report: complete, self-contained, and safe whatever stands in the files."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from airflow_ml_provider.models.decision import Decision, Outcome
from airflow_ml_provider.models.evaluation import Evaluation
from airflow_ml_provider.models.gate import GateSettings, decide
from airflow_ml_provider.models.manifest import Manifest
from airflow_ml_provider.models.record import Record
from airflow_ml_provider.models.report import render
from tests.evaluations import document, of_users

VOID = {"meta"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\xa0", " ")


def evaluation(ratio: float = 1.0, *, champion: bool = True, word: str = "v2") -> Evaluation:
    users = 150
    a = [(1 + user / users) * ratio * (1 + 0.01 * (user % 3)) for user in range(users)]
    b = [1 + user / users for user in range(users)]

    found = of_users([2] * users, [a, b] if champion else [a], root=False)
    versions = {"challenger": word, "champion": "v1"} if champion else {"challenger": word}
    content = document(
        {"error": found}, versions, rows=2 * users, units=users, root="gs://b/models/m/versions",
        holdout="c0ffee",
    )  # fmt: skip
    return Evaluation.parse("gs://b/models/m/versions/v2/evaluation.json", json.dumps(content))


def manifest(word: str = "value") -> Manifest:
    content = {
        "schema": 1,
        "model": word,
        "files": [{"path": "model.bin", "size": 1234567, "sha256": "a" * 64}],
        "arguments": {word: word},
        "seed": 7,
        "data": {"files": [], "rows": 90570, "users": 943, "items": None},
        "image": word,
        "job": None,
        "metrics": {},
        "framework": {word: word},
        "created": "2026-11-20T02:00:00Z",
    }
    return Manifest.parse("gs://b/models/m/versions/v2/manifest.json", json.dumps(content))


def record(number: int, act: str, value: Any, *, metric: str = "error", word: str = "v") -> Record:
    return Record(
        number=number,
        act=act,
        model="m",
        version=f"{word}{number}",
        champion=None,
        champion_since=None,
        previous=None,
        by=word,
        at=f"2026-10-{number:02d}T03:00:00+00:00",
        why=word,
        forced=False,
        evidence={"metric": metric, "challenger": value},
        earlier=(),
        blocked=(),
        pruned=(),
        data_until=None,
        nonce="0",
    )


def decided(ratio: float = 1.0, *, champion: bool = True, **settings: Any) -> tuple[Decision, Evaluation]:
    found = evaluation(ratio, champion=champion)
    return decide(found, GateSettings(metric="error", margin=0.05, **settings)), found


@pytest.mark.parametrize(
    ("ratio", "word", "outcome"),
    [
        (0.9, "Cleared for promotion", Outcome.PROMOTE),
        (1.04, "Held", Outcome.HOLD),
        (2.0, "Blocked", Outcome.BLOCK),
    ],
)
def test_the_report_says_the_verdict_its_reasons_and_every_check(
    ratio: float, word: str, outcome: Outcome
) -> None:
    decision, found = decided(ratio)
    assert decision.outcome is outcome

    page = Page(render(decision, found, manifest(), [], model="recommender"))

    assert word in page.text
    for text in [*decision.reasons, *(check.text for check in decision.checks)]:
        assert text in page.text
    for text in (
        "recommender",
        "v2",
        "against v1",
        "90,570 rows, 943 users",
        "1,234,567 bytes",
        "c0ffee",
    ):
        assert text in page.text
    assert page.open == []


def test_the_report_says_what_changed_and_how_to_go_back() -> None:
    decision, found = decided(0.9)
    before = replace(manifest(), image="trainer:old", arguments={**manifest().arguments, "extra": 7})

    page = Page(render(decision, found, manifest(), [], model="recommender", before=before))

    changed = page.text.partition("What changed since the champion")[2].partition("How to roll back")[0]
    assert "trainer:old" in changed
    assert "Argument extra7unknown" in changed
    assert "943" not in changed
    assert "airflow-ml models rollback recommender --root" in page.text
    assert "--to v1" in page.text


def test_a_refused_version_needs_no_way_back() -> None:
    decision, found = decided(2.0)
    page = Page(render(decision, found, manifest(), [], model="recommender", before=manifest()))
    assert "roll back" not in page.text
    assert "Nothing that is known." in page.text


def test_the_report_of_the_first_version_needs_no_comparison() -> None:
    decision, found = decided(champion=False)

    page = Page(render(decision, found, manifest(), [], model="recommender"))

    assert "the first version" in page.text
    assert "Bootstrap" in page.text


def test_nights_are_marked_as_promoted_or_refused() -> None:
    history = [record(1, "promoted", 1.5), record(2, "refused", 3.0), record(3, "promoted", 1.4)]
    decision, found = decided(0.9)

    page = Page(render(decision, found, manifest(), history, model="m"))

    assert "v1: 1.5, promoted 2026-10-01" in page.text
    assert "v2: 3, refused 2026-10-02" in page.text
    assert ("aria-label", f"4 nights; the last one {decision.value:.4g}") in page.attributes


@pytest.mark.parametrize(
    "history",
    [
        [],
        [record(1, "promoted", 0.68175)],
        [record(1, "promoted", 0.0), record(2, "refused", 0)],
        [record(1, "promoted", None), record(2, "promoted", "x"), record(3, "promoted", 1, metric="other")],
        [record(number % 28 + 1, "promoted", -number) for number in range(60)],
        [record(1, "promoted", 1e300), record(2, "refused", 1e-300)],
    ],
)
def test_any_history_can_be_drawn(history: list[Record]) -> None:
    decision, found = decided(0.9)

    page = render(decision, found, manifest(), history, model="m")

    assert "nan" not in page.lower()
    assert "inf" not in [value for _, value in Page(page).attributes]


def test_tonight_is_drawn_once_although_a_retried_gate_finds_its_own_record() -> None:
    decision, found = decided(2.0)
    own = record(2, "refused", decision.value)
    own = Record(**{**own.__dict__, "evidence": decision.evidence()})

    page = Page(render(decision, found, manifest(), [record(1, "promoted", 1.0), own], model="m"))

    assert any(value.startswith("2 nights;") for _, value in page.attributes)


def test_the_report_loads_and_runs_nothing() -> None:
    decision, found = decided(0.9)

    page = Page(render(decision, found, manifest(), [record(1, "promoted", 1.0)], model="m"))

    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not {"src", "href", "xlink:href", "action"} & {name for name, _ in page.attributes}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert "url(" not in page.text
    assert "prefers-color-scheme: dark" in page.text


def test_what_comes_from_files_is_shown_as_text() -> None:
    attack = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"
    found = evaluation(0.9, word=attack.replace("/", "|"))
    decision = decide(found, GateSettings(metric="error"))
    history = [record(1, "promoted", 1.0, word=attack)]

    page = Page(render(decision, found, manifest(attack), history, model=attack))

    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert attack in page.text
    assert page.open == []
