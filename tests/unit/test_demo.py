from __future__ import annotations

import pytest

from airflow_ml_provider.cli.demo import DemoFailed, run


def test_a_folder_that_no_demo_made_is_not_emptied(tmp_path):
    repository = tmp_path / "repository"
    for needed in ("dags/recommender_nightly.py", "container/.venv/bin/python"):
        (repository / needed).parent.mkdir(parents=True)
        (repository / needed).touch()
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoFailed, match="give another --folder"):
        run(home, repository)
    assert (home / "thesis.txt").read_text() == "years of work"


def test_what_the_demo_needs_and_is_not_there_is_named(tmp_path):
    with pytest.raises(DemoFailed, match=r"recommender_nightly\.py, .*python"):
        run(tmp_path / "demo", tmp_path)
    assert not (tmp_path / "demo").exists()
