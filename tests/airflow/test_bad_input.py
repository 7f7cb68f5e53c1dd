"""Bad input at every door of the nightly DAG, run by Airflow against the emulator with the real trainer.

Whatever is wrong: the task that meets it fails and says what and where, nothing is promoted, nothing runs on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TRAINER = REPOSITORY / "container/.venv/bin/python"
IDS = [("userId", "INT64"), ("itemId", "INT64")]
RATED_AT = ("rated_at", "TIMESTAMP")
NUMBERS = [*IDS, ("rating", "FLOAT64"), RATED_AT]
DAY = "2026-01-01 00:00:00 UTC"
RATINGS = [f"{u},{i},{(u * i) % 5 + 1},{DAY}" for u in range(1, 40) for i in range(1, 30)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not TRAINER.exists(), reason="needs the trainer's environment: make container/.venv/ready"
    ),
]


class Nights:
    """An emulator, and Airflow to run nights against it."""

    def __init__(self, folder, environment):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery, storage

        anonymous = AnonymousCredentials()
        self.files = storage.Client(project="demo-project", credentials=anonymous)
        self.warehouse = bigquery.Client(project="demo-project", credentials=anonymous)
        self.bucket = self.files.create_bucket("retraining")
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.airflow.night_runner"],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "runner.log").open("w"),
            text=True,
        )

    def close(self):
        self._process.stdin.close()
        self._process.wait(30)

    def load(self, rows, columns=NUMBERS):
        """Load CSV rows into a new dataset's table of ratings; return the dataset."""
        from google.cloud import bigquery

        dataset = f"shop_{self._count}"
        self._count += 1
        self.warehouse.create_dataset(dataset)
        schema = [bigquery.SchemaField(*column) for column in columns]
        table = self.warehouse.create_table(bigquery.Table(f"demo-project.{dataset}.ratings", schema))
        if rows:
            config = bigquery.LoadJobConfig(source_format="CSV", schema=schema)
            content = BytesIO("\n".join(rows).encode())
            self.warehouse.load_table_from_file(content, table, job_config=config).result()
        return dataset

    def run(self, dataset, *, image=None, bucket="retraining", region="europe-west4", **job):
        """Run a night; return the states of its tasks and what it logged."""
        log = self._folder / f"night-{self._count}.log"
        variables = {"dataset": dataset, "bucket": bucket, "region": region}
        variables["image"] = image or "europe-docker.pkg.dev/demo-project/retraining/trainer:1"
        case = {"variables": variables, "job": job, "log": str(log)}
        print(json.dumps(case), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, (self._folder / "runner.log").read_text()[-3000:] + log.read_text()[-3000:]
        return json.loads(answer), log.read_text()

    def fails(self, task, said, dataset, **options):
        """A night fails at a task, with all of these words, promotes nothing and leaves nothing running."""
        from airflow_ml_provider.hooks.vertex import VertexHook

        night, log = self.run(dataset, **options)
        assert night["state"] == "failed"
        assert night["tasks"][task] == "failed", night
        assert night["tasks"]["promote"] == "upstream_failed"
        for words in said:
            assert words in log, log[-6000:]
        jobs = VertexHook().get_client(region="europe-west4").jobs('createTime>"2020-01-01T00:00:00Z"')
        assert all(job.is_over for job in jobs)
        assert not list(self.bucket.list_blobs(match_glob="**/champion.json"))
        return log


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    from airflow_ml_provider.emulator.server import Settings, exports, running

    folder = tmp_path_factory.mktemp("nights")
    before = Path.cwd()
    os.chdir(REPOSITORY)
    with pytest.MonkeyPatch.context() as patch, running(Settings(data=folder / "data", pace=0.05)) as address:
        for name, value in exports(address, "demo-project").items():
            patch.setenv(name, value)
        patch.setenv("AIRFLOW_HOME", str(folder / "airflow"))
        migrated = subprocess.run(
            [str(Path(sys.executable).with_name("airflow")), "db", "migrate"], capture_output=True, text=True
        )
        assert migrated.returncode == 0, migrated.stderr[-3000:]
        nights = Nights(folder, dict(os.environ))
        yield nights
        nights.close()
    os.chdir(before)


def test_an_empty_table(nights):
    nights.fails("check", ["must not be trained on", "part-*.csv"], nights.load([]))


def test_a_table_without_the_column(nights):
    rows = [f"{u},{i},{DAY}" for u in range(9) for i in range(9)]
    nights.fails("export_train", ["invalidQuery", "rating"], nights.load(rows, [*IDS, RATED_AT]))


def test_a_table_that_does_not_exist(nights):
    nights.warehouse.create_dataset("empty_shop")
    nights.fails("export_train", ["Not found", "empty_shop.ratings"], "empty_shop")


def test_a_rating_that_is_no_number(nights):
    rows = [*RATINGS, *(f"{u},1,terrible,{DAY}" for u in range(50, 80))]
    dataset = nights.load(rows, [*IDS, ("rating", "STRING"), RATED_AT])
    nights.fails("check", ["part-000000000000.csv", "terrible", "must not be trained on"], dataset)


def test_a_rating_that_is_nan(nights):
    dataset = nights.load([*RATINGS, *(f"{u},1,NaN,{DAY}" for u in range(50, 80))])
    nights.fails("check", ["rating", "must not be trained on"], dataset)


def test_users_without_a_rating(nights):
    dataset = nights.load([*RATINGS, *(f"{u},1,,{DAY}" for u in range(50, 80))])
    nights.fails("check", ["rating", "must not be trained on"], dataset)


def test_a_shard_of_no_bytes(nights):
    """Somebody's upload of a shard broke off after it began."""
    over = threading.Event()

    def break_off():
        while not over.is_set():
            for blob in nights.bucket.list_blobs(match_glob="**/train_1/part-000000000000.csv"):
                if blob.time_created.timestamp() > began:
                    name = blob.name.replace("part-000000000000", "part-000000000001")
                    nights.bucket.blob(name).upload_from_string(b"")
                    return
            time.sleep(0.05)

    began = time.time()
    dataset = nights.load(RATINGS)
    spoiler = threading.Thread(target=break_off)
    spoiler.start()
    try:
        nights.fails("check", ["part-000000000001.csv", "must not be trained on"], dataset)
    finally:
        over.set()
        spoiler.join()


def test_an_image_that_is_unknown(nights):
    image = "europe-docker.pkg.dev/demo-project/retraining/nothing:1"
    nights.fails("train", [image], nights.load(RATINGS), image=image)


def test_a_machine_type_that_is_unknown(nights):
    said = ['Machine type "n9-huge-7" is not supported']
    nights.fails("train", said, nights.load(RATINGS), machine_type="n9-huge-7")


def test_a_region_that_is_unknown(nights):
    nights.fails("train", ["mars-north1"], nights.load(RATINGS), region="mars-north1")


def test_a_bucket_that_does_not_exist(nights):
    said = ["no-such-bucket"]
    nights.fails("export_train", said, nights.load(RATINGS), bucket="no-such-bucket")
