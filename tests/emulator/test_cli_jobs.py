from __future__ import annotations

from click.testing import CliRunner

from airflow_ml_provider.cli.main import main


def test_a_job_is_submitted_with_gclouds_flags(emulator, script):
    script.write_text("print('hello')\n")
    words = ["jobs", "submit", "training", "hello_1", "--region", "europe-west4", "--project", "demo-project"]
    words += ["--master-image-uri", "europe-docker.pkg.dev/demo-project/retraining/replica:1"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "Submitted projects/" in result.output
    assert "/locations/europe-west4/customJobs/" in result.output


def test_what_the_service_refuses_is_told(emulator, script):
    words = ["jobs", "submit", "training", "x", "--region", "europe-west4", "--project", "demo-project"]
    words += ["--master-image-uri", "trainer", "--scale-tier=custom", "--master-machine-type=n9-standard-4"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "n9-standard-4" in result.output
