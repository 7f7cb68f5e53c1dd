from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from airflow_ml_provider.cli.main import main
from airflow_ml_provider.jobs import HyperparameterTuningJob, TrainingJob

IMAGE = "europe-docker.pkg.dev/my-project/retraining/wals:1"
SCRIPT = f"""
JOB_NAME=wals_$(date +%Y%m%d)
gcloud ai-platform jobs submit training $JOB_NAME --region europe-west4 --config config/wals.yaml \\
  --job-dir gs://$BUCKET/$JOB_NAME --master-image-uri {IMAGE} -- --train-file gs://$BUCKET/ratings.csv
gcloud ai-platform jobs stream-logs $JOB_NAME
"""


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def project(tmp_path):
    """A folder as people have it: a script with its config, one more config, and files of other kinds."""
    folder = tmp_path / "project"
    (folder / "config").mkdir(parents=True)
    (folder / "train-wals.sh").write_text(SCRIPT)
    (folder / "config" / "wals.yaml").write_text(
        "trainingInput: {scaleTier: CUSTOM, masterType: complex_model_m_gpu}\n"
    )
    (folder / "census.json").write_text(
        json.dumps({"trainingInput": {"region": "us-east1", "masterConfig": {"imageUri": IMAGE}}})
    )
    (folder / "deploy.yaml").write_text("kind: Deployment\n---\nkind: Service\n")
    (folder / "setup.sh").write_text("pip install -r requirements.txt\n")
    (folder / "model.bin").write_bytes(b"\xff\x00trainingInput submit training")
    (folder / ".git").mkdir()
    (folder / ".git" / "config.yaml").write_text("trainingInput: {}\n")
    return folder


def test_a_folder_becomes_jobs_and_a_dag(project, tmp_path):
    target = tmp_path / "dags"
    result = run("migrate", project, "--to", target)
    assert result.exit_code == 0, result.output
    assert "2 of 2 jobs migrated" in result.output
    assert {file.name for file in target.iterdir()} == {
        "train_wals.yaml",
        "census.yaml",
        "from_ai_platform.py",
    }
    job = TrainingJob.from_yaml(target / "train_wals.yaml")
    assert job.accelerator == "NVIDIA_TESLA_T4:4"
    assert job.args[1] == "gs://{{ var.value.bucket }}/ratings.csv"
    text = (target / "train_wals.yaml").read_text()
    assert "# $BUCKET: became the Airflow Variable bucket; set it" in text
    assert "# masterType: complex_model_m_gpu became" in text
    compile((target / "from_ai_platform.py").read_text(), "dag", "exec")
    assert 'task_id="census"' in (target / "from_ai_platform.py").read_text()


def test_variables_may_be_given(project, tmp_path):
    assert (
        run("migrate", project / "train-wals.sh", "--to", tmp_path / "t", "--env", "BUCKET=b-1").exit_code
        == 0
    )
    job = TrainingJob.from_yaml(tmp_path / "t" / "train_wals.yaml")
    assert job.args[1] == "gs://b-1/ratings.csv"


def test_what_is_refused_is_told_with_the_reason_and_the_rest_is_migrated(project, tmp_path):
    (project / "old.sh").write_text(
        "gcloud ml-engine jobs submit training j --module-name t.task --package-path ./t\n"
    )
    (project / "dag.py").write_text("train = MLEngineStartTrainingJobOperator(task_id='t')\n")
    (project / "two.sh").write_text("for x in a b; do\n  gcloud ml-engine jobs submit training $x\ndone\n")
    (project / "broken.sh").write_text("gcloud ml-engine jobs submit training 'x\n")
    result = run("migrate", project, "--to", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 of 6 jobs migrated" in result.output
    assert 'ENTRYPOINT ["python", "-m", "t.task"]' in result.output
    assert "MLEngine operators are gone" in result.output
    assert "$x: the variable of a loop" in result.output
    assert "broken.sh: refused\n  - not a shell script: a quote has no end" in result.output
    assert (tmp_path / "out" / "census.yaml").exists()


def test_files_that_are_there_are_not_written_over(project, tmp_path):
    assert run("migrate", project, "--to", tmp_path / "out").exit_code == 0
    again = run("migrate", project, "--to", tmp_path / "out")
    assert again.exit_code == 1
    assert "--force writes over it" in again.output
    assert run("migrate", project, "--to", tmp_path / "out", "--force").exit_code == 0


def test_several_jobs_of_one_script_get_names_of_their_own(tmp_path):
    line = f"gcloud ai-platform jobs submit training a --master-image-uri {IMAGE} --region us-east1\n"
    (tmp_path / "s.sh").write_text(f"if x; then\n{line}else\n{line}fi\n")
    assert run("migrate", tmp_path / "s.sh", "--to", tmp_path / "out").exit_code == 0
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"s.yaml", "s_2.yaml", "from_ai_platform.py"}


def test_a_notebook_is_read(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Training"]},
        {"cell_type": "code", "source": ["%%bash\n", "export JOB=nb_1\n"]},
        {
            "cell_type": "code",
            "source": f"!gcloud ai-platform jobs submit training {{JOB}} --master-image-uri {IMAGE}",
        },
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    assert run("migrate", tmp_path / "n.ipynb", "--to", tmp_path / "out").exit_code == 0
    assert TrainingJob.from_yaml(tmp_path / "out" / "n.yaml").display_name == "nb_1"


def test_a_tuning_job_becomes_a_file_that_the_dag_mentions(project, tmp_path):
    block = {"params": [{"parameterName": "a", "type": "DOUBLE", "minValue": 0, "maxValue": 1}]}
    given = {"trainingInput": {"masterConfig": {"imageUri": IMAGE}, "hyperparameters": block}}
    (project / "hp.yaml").write_text(yaml.safe_dump(given))
    assert run("migrate", project, "--to", tmp_path / "out").exit_code == 0
    assert HyperparameterTuningJob.from_yaml(tmp_path / "out" / "hp.yaml").max_trial_count == 1
    assert (
        "# hp.yaml is for HyperparameterTuningJob" in (tmp_path / "out" / "from_ai_platform.py").read_text()
    )
    assert run("migrate", project / "hp.yaml", "--to", tmp_path / "alone").exit_code == 0
    assert [file.name for file in (tmp_path / "alone").iterdir()] == ["hp.yaml"]


def test_a_folder_without_jobs_is_said_to_have_none(tmp_path):
    result = run("migrate", tmp_path)
    assert result.exit_code == 1
    assert "nothing in it that was submitted to AI Platform" in result.output


def test_a_dry_run_prints_the_custom_job():
    result = CliRunner().invoke(
        main,
        [
            *("jobs", "submit", "training", "wals_1", "--region=europe-west4", "--dry-run"),
            *(
                "--master-image-uri",
                IMAGE,
                "--scale-tier",
                "basic-gpu",
                "--",
                "--x",
                "1",
                "--dry-run",
                "--help",
            ),
        ],
    )
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    pool = body["jobSpec"]["workerPoolSpecs"][0]
    assert body["displayName"] == "wals_1"
    assert pool["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_T4"
    assert pool["containerSpec"]["args"] == ["--x", "1", "--dry-run", "--help"]
    assert "note: masterType: standard_gpu became" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["j", "--dry-run", "--gpu", "1", "--master-image-uri", IMAGE], "--gpu: no such flag"),
        (["j", "--dry-run"], "masterConfig.imageUri: required"),
        (["j", "--master-image-uri", IMAGE], "--region: required to submit"),
    ],
)
def test_a_wrong_command_line_is_explained(words, message):
    result = run("jobs", "submit", "training", *words)
    assert result.exit_code == 1
    assert message in result.output


def test_the_help_is_gclouds_and_ours():
    assert "--dry-run prints the CustomJob" in run("jobs", "submit", "training", "--help").output
