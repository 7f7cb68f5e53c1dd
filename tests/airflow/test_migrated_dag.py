from __future__ import annotations

from click.testing import CliRunner

from airflow_ml_provider.cli.main import main

SCRIPT = """
gcloud ai-platform jobs submit training wals_$(date +%Y%m%d_%H%M%S) \\
  --master-image-uri europe-docker.pkg.dev/p/r/wals:1 --job-dir gs://$BUCKET/jobs -- --train-file gs://$BUCKET/x
"""


def test_the_dag_that_a_migration_writes_parses_and_its_job_can_be_rendered(tmp_path):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    (tmp_path / "train.sh").write_text(SCRIPT)
    dags = tmp_path / "dags"
    result = CliRunner().invoke(main, ["migrate", str(tmp_path / "train.sh"), "--to", str(dags)])
    assert result.exit_code == 0, result.output
    bag = DagBag(dag_folder=str(dags))
    assert bag.import_errors == {}
    (task,) = bag.dags["from_ai_platform"].tasks
    assert task.task_id == "train"
    assert task.job["display_name"].startswith("wals_{{ (dag_run.logical_date or dag_run.run_after)")
    assert task.job["args"][1] == "gs://{{ var.value.bucket }}/x"
