"""The code in the docs runs as it stands: YAML files are written first, Python blocks follow each other."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from airflow_ml_provider.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
# Pages whose code needs nothing but the package.
PAGES = ["training-job.md", "tuning-job.md", "moving-from-ai-platform.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    commands: list[list[str]] = []
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    for language, code in blocks:
        if language == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", code)
            assert name, f"{page}: a YAML block begins with '# NAME.yaml'"
            Path(name.group(1)).write_text(code)
        elif language == "python":
            exec(compile(code, page, "exec"), names)
        elif language == "sh":
            commands += [shlex.split(line)[1:] for line in code.splitlines()]
        else:
            pytest.fail(f"{page}: nothing knows how to run a block of {language}")
    # Commands look at files that later blocks show.
    Path("path/to").mkdir(parents=True)
    for words in commands:
        if "migrate" in words:
            shutil.copytree(tmp_path, "path/to/project", ignore=shutil.ignore_patterns("path"))
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
