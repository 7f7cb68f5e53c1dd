from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_ml_provider import __version__
from airflow_ml_provider.get_provider_info import get_provider_info

AIRFLOW = str(Path(sys.executable).with_name("airflow"))


def test_the_description_fits_airflows_schema():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_everything_the_description_names_exists():
    info = get_provider_info()
    for kind in ("operators", "sensors", "triggers", "hooks"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                importlib.import_module(module)
    for path in info["extra-links"]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("words", [["providers", "list"], ["providers", "get", "airflow-ml-provider"]])
def test_airflow_shows_the_provider_without_a_warning(words):
    run = subprocess.run([AIRFLOW, *words], capture_output=True, text=True, check=True)
    assert "airflow-ml-provider" in run.stdout
    assert __version__ in run.stdout
    complaints = [line for line in run.stderr.splitlines() if "airflow_ml" in line or "airflow-ml" in line]
    assert complaints == []
