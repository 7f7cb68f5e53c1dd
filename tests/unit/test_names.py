from __future__ import annotations

import re

import pytest

from airflow_ml_provider.names import slug


@pytest.mark.parametrize(
    "run_id",
    ["scheduled__2026-11-20T03:00:00+00:00", "manual__x", "1", "Übung für morgen", "a" * 250, "--", "A/B?c"],
)
def test_a_slug_is_legal_in_paths_tables_and_labels(run_id):
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,44}", slug(run_id))


def test_runs_that_differ_only_in_stripped_characters_get_different_slugs():
    assert slug("run+1") != slug("run-1")


def test_a_slug_is_stable_and_readable():
    assert slug("scheduled__2026-11-20T03:00:00+00:00").startswith("scheduled_2026_11_20t03_00_00_00_00_")
    assert slug("x") == slug("x")


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="empty"):
        slug("")
