from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Sequence
from datetime import timedelta

import pytest
from google.cloud.aiplatform_v1 import CustomJob, CustomJobSpec
from google.cloud.aiplatform_v1.types import AcceleratorType, ReservationAffinity, Scheduling
from google.protobuf import json_format

from airflow_ml_provider.jobs import (
    DnsPeering,
    InvalidTrainingJob,
    LustreMount,
    NfsMount,
    PscInterface,
    Replicas,
    TrainingJob,
)

IMAGE = "europe-docker.pkg.dev/proj/repo/trainer@sha256:" + "ab" * 32

CONTEXT = "projects/p/locations/europe-west4/metadataStores/default/contexts"
FULL = TrainingJob(
    image_uri=IMAGE,
    args=["--train-file", "gs://bucket/part-*.csv", "--num_iters", 20],
    command=["python", "-m", "trainer.task"],
    env={"A": "1"},
    machine_type="n1-standard-16",
    accelerator="NVIDIA_TESLA_T4:2",
    boot_disk_gb=200,
    boot_disk_type="pd-standard",
    workers=Replicas(count=3, machine_type="n1-standard-8", accelerator="", env={"B": "2"}),
    parameter_servers=Replicas(count=2, image_uri="gcr.io/proj/ps:1", args=["--ps"], command=["ps"]),
    evaluator=1,
    base_output_dir="gs://bucket/jobs/1",
    display_name="nightly",
    labels={"team": "ml"},
    timeout=timedelta(hours=6),
    scheduling_strategy="SPOT",
    service_account="trainer@proj.iam.gserviceaccount.com",
    network="projects/123/global/networks/vpc",
    kms_key="projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k",
    reservation=["projects/p/zones/europe-west4-a/reservations/nightly"],
    nfs_mounts=[NfsMount(server="10.0.0.2", path="/share", mount_point="data")],
    lustre_mounts=[
        LustreMount(instance_ip="10.0.0.3", volume_handle="v/1", filesystem="fs", mount_point="fast")
    ],
    reserved_ip_ranges=["vertex-range"],
    restart_job_on_worker_restart=True,
    tensorboard="projects/p/locations/europe-west4/tensorboards/1",
    experiment=f"{CONTEXT}/shop",
    experiment_run=f"{CONTEXT}/shop-night-1",
    protected_artifact_location="us-central1",
    enable_web_access=True,
    enable_dashboard_access=True,
    region="europe-west4",
)


def as_proto(job: TrainingJob) -> CustomJob:
    """Parse with the official protos, which refuse a field that they do not know."""
    proto = CustomJob()
    json_format.ParseDict(job.to_custom_job(), proto._pb, ignore_unknown_fields=False)
    return proto


def test_every_field_arrives_in_the_official_proto():
    proto = as_proto(FULL)
    chief, workers, servers, evaluator = proto.job_spec.worker_pool_specs
    assert proto.display_name == "nightly"
    assert dict(proto.labels) == {"team": "ml"}
    assert proto.encryption_spec.kms_key_name.endswith("cryptoKeys/k")
    assert proto.job_spec.base_output_directory.output_uri_prefix == "gs://bucket/jobs/1"
    assert proto.job_spec.scheduling.timeout.total_seconds() == 6 * 3600
    assert proto.job_spec.scheduling.strategy == Scheduling.Strategy.SPOT
    assert chief.container_spec.args == ["--train-file", "gs://bucket/part-*.csv", "--num_iters", "20"]
    assert chief.container_spec.command == ["python", "-m", "trainer.task"]
    assert chief.machine_spec.accelerator_type == AcceleratorType.NVIDIA_TESLA_T4
    assert chief.machine_spec.accelerator_count == 2
    assert (chief.replica_count, workers.replica_count, servers.replica_count) == (1, 3, 2)
    assert workers.machine_spec.machine_type == "n1-standard-8"
    assert workers.machine_spec.accelerator_count == 0
    assert {e.name: e.value for e in workers.container_spec.env} == {"A": "1", "B": "2"}
    assert servers.container_spec.image_uri == "gcr.io/proj/ps:1"
    assert servers.container_spec.command == ["ps"]
    assert evaluator.container_spec.image_uri == IMAGE
    assert evaluator.disk_spec.boot_disk_size_gb == 200
    assert [m.mount_point for m in workers.nfs_mounts] == ["data"]
    assert (chief.nfs_mounts[0].server, chief.nfs_mounts[0].path) == ("10.0.0.2", "/share")
    lustre = chief.lustre_mounts[0]
    assert (lustre.instance_ip, lustre.volume_handle, lustre.filesystem) == ("10.0.0.3", "v/1", "fs")
    affinity = chief.machine_spec.reservation_affinity
    assert affinity.reservation_affinity_type == ReservationAffinity.Type.SPECIFIC_RESERVATION
    assert affinity.key == "compute.googleapis.com/reservation-name"
    assert affinity.values == ["projects/p/zones/europe-west4-a/reservations/nightly"]
    spec = proto.job_spec
    assert spec.scheduling.restart_job_on_worker_restart
    assert spec.reserved_ip_ranges == ["vertex-range"]
    assert spec.tensorboard.endswith("tensorboards/1")
    assert (spec.experiment, spec.experiment_run) == (f"{CONTEXT}/shop", f"{CONTEXT}/shop-night-1")
    assert spec.protected_artifact_location_id == "us-central1"
    assert (spec.enable_web_access, spec.enable_dashboard_access) == (True, True)


def test_what_excludes_other_fields_arrives_in_the_official_proto_too():
    proto = as_proto(
        TrainingJob(
            image_uri=IMAGE,
            machine_type="a2-highgpu-1g",
            gpu_partition_size="1g.5gb",
            scheduling_strategy="FLEX_START",
            max_wait_duration=0,
            disable_retries="true",
            persistent_resource_id="pr-1",
            psc_interface=PscInterface(
                network_attachment="projects/p/regions/europe-west4/networkAttachments/n",
                dns_peerings=[DnsPeering(domain="corp.", target_project="p", target_network="n")],
            ),
        )
    )
    spec = proto.job_spec
    machine = spec.worker_pool_specs[0].machine_spec
    assert (machine.accelerator_type, machine.accelerator_count) == (AcceleratorType.NVIDIA_TESLA_A100, 1)
    assert machine.gpu_partition_size == "1g.5gb"
    assert spec.scheduling.strategy == Scheduling.Strategy.FLEX_START
    assert "max_wait_duration" in spec.scheduling
    assert spec.scheduling.disable_retries
    assert spec.persistent_resource_id == "pr-1"
    assert spec.psc_interface_config.network_attachment.endswith("/n")
    assert spec.psc_interface_config.dns_peering_configs[0].target_network == "n"


def test_no_field_of_the_official_spec_is_forgotten():
    """But for Python packages, whose images are gone, and fields of Google's own jobs."""
    left_out = {"models", "worker_pool_specs.python_package_spec"}
    tpu = TrainingJob(image_uri=IMAGE, machine_type="ct6e-standard-4t", tpu_topology="2x2")
    spot = TrainingJob(image_uri=IMAGE, machine_type="a2-highgpu-1g", gpu_partition_size="1g.5gb")
    flex = TrainingJob(
        image_uri=IMAGE,
        machine_type="g2-standard-8",
        scheduling_strategy="FLEX_START",
        max_wait_duration=60,
        disable_retries=True,
        persistent_resource_id="p",
        psc_interface=PscInterface(network_attachment="n"),
    )
    written = {path for job in (FULL, tpu, spot, flex) for path in paths(as_proto(job).job_spec._pb)}
    assert all_paths(CustomJobSpec.pb().DESCRIPTOR) - left_out - written == set()


def paths(message, prefix=""):
    for field, value in message.ListFields():
        yield prefix + field.name
        if field.type == field.TYPE_MESSAGE and field.message_type.full_name.startswith("google.cloud"):
            for item in value if isinstance(value, Sequence) or hasattr(value, "add") else [value]:
                yield from paths(item, f"{prefix}{field.name}.")


def all_paths(descriptor, prefix=""):
    found = set()
    for field in descriptor.fields:
        found.add(prefix + field.name)
        inner = field.message_type
        if inner is None or not inner.full_name.startswith("google.cloud"):
            continue
        if field.name in ("python_package_spec", "psc_interface_config"):
            continue
        found |= all_paths(inner, f"{prefix}{field.name}.")
    return found


def test_a_role_that_is_left_out_leaves_its_place_empty():
    proto = as_proto(TrainingJob(image_uri=IMAGE, evaluator=1))
    counts = [pool.replica_count for pool in proto.job_spec.worker_pool_specs]
    assert counts == [1, 0, 0, 1]


def test_a_job_on_one_machine_has_one_pool():
    assert len(TrainingJob(image_uri=IMAGE).to_custom_job()["jobSpec"]["workerPoolSpecs"]) == 1


def test_a_job_survives_the_way_through_json():
    assert (
        TrainingJob.from_dict(json.loads(json.dumps(FULL.to_dict()))).to_custom_job() == FULL.to_custom_job()
    )


def test_numbers_may_come_as_rendered_templates():
    job = TrainingJob(image_uri=IMAGE, workers="2", timeout="3600", boot_disk_gb="150")
    spec = job.to_custom_job()["jobSpec"]
    assert spec["workerPoolSpecs"][1]["replicaCount"] == "2"
    assert spec["scheduling"]["timeout"] == "3600s"
    assert spec["workerPoolSpecs"][0]["diskSpec"]["bootDiskSizeGb"] == 150


def test_templates_are_let_through_and_checked_once_rendered():
    job = TrainingJob(image_uri="{{ var.value.image }}", workers="{{ params.workers }}", timeout="{{ t }}")
    with pytest.raises(InvalidTrainingJob, match="image_uri"):
        TrainingJob.from_dict({**job.to_dict(), "image_uri": "no image"})


def test_all_problems_are_reported_at_once():
    with pytest.raises(InvalidTrainingJob) as caught:
        TrainingJob(
            image_uri="Not An Image",
            args="--one --text",
            env={"1A": "x"},
            machine_type="N1 STANDARD",
            accelerator="t4",
            workers=-1,
            evaluator=Replicas(count=0),
            base_output_dir="/local/folder",
            display_name="x" * 129,
            labels={"Team": "ml", "ok": "Not OK"},
            timeout=0,
            queue_timeout="soon",
        )
    text = str(caught.value)
    for part in (
        "image_uri",
        "args",
        "'1A'",
        "machine_type",
        "accelerator",
        "workers",
        "evaluator",
        "base_output_dir",
        "display_name: 129",
        "'Team'",
        "'Not OK'",
        "timeout",
        "queue_timeout: 'soon'",
    ):
        assert part in text
    assert len(caught.value.problems) == 13


@pytest.mark.parametrize(
    "image",
    ["trainer", "gcr.io/p/img", "localhost:5000/img:latest", "eu.gcr.io/p/a/b-c_d:v1@sha256:" + "0" * 64],
)
def test_image_uris_that_registries_accept_are_accepted(image):
    TrainingJob(image_uri=image)


@pytest.mark.parametrize(
    "image", ["", "a b", "img:", "img@sha256:12", "gs://bucket/image", "img;rm -rf", 5, None]
)
def test_image_uris_that_are_none_are_refused(image):
    with pytest.raises(InvalidTrainingJob, match="image_uri"):
        TrainingJob(image_uri=image)


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(InvalidTrainingJob, match="machine_typ: no such field"):
        TrainingJob.from_dict({"image_uri": IMAGE, "machine_typ": "n1-standard-4"})
    with pytest.raises(InvalidTrainingJob, match=r"workers\.image: no such field"):
        TrainingJob.from_dict({"image_uri": IMAGE, "workers": {"count": 1, "image": "x"}})


def test_a_limit_of_the_wait_stays_with_the_job_and_is_not_told_to_the_service():
    job = TrainingJob(image_uri=IMAGE, queue_timeout=timedelta(hours=2))
    assert "scheduling" not in job.to_custom_job()["jobSpec"]
    assert TrainingJob.from_dict(json.loads(json.dumps(job.to_dict()))).queue_timeout == 7200


def test_a_job_survives_the_way_through_yaml(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(FULL.to_yaml(), encoding="utf-8")
    assert TrainingJob.from_yaml(path).to_custom_job() == FULL.to_custom_job()


def test_notes_of_a_migration_are_comments_in_the_yaml(tmp_path):
    job = TrainingJob(image_uri="{{ var.value.image }}", migration_notes=("one\ntwo", "three"))
    assert job.to_yaml().startswith("# one\n# two\n# three\nimage_uri: '{{ var.value.image }}'\n")
    path = tmp_path / "job.yaml"
    path.write_text(job.to_yaml())
    assert TrainingJob.from_yaml(path) == job


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_uri: a\nimage_uri: b\n", "'image_uri' is said twice"),
        ("image_uri: {{ var.value.image }}\n", "needs quotes"),
        ("- a\n", "a mapping expected, found list"),
        ("", "a mapping expected, found NoneType"),
        ("image_uri: a\nworkers: {count: 1, gpus: 2}\n", r"workers\.gpus: no such field"),
        (
            "image_uri: a\nnfs_mounts: [{server: 10.0.0.1, path: /x}]\n",
            r"nfs_mounts\[0\]\.mount_point: required",
        ),
        ("machine_type: n1-standard-4\n", "image_uri: required"),
        ("image_uri: a\nenv: {DEBUG: true}\n", "env: DEBUG is True"),
        ("image_uri: a\nargs: [--debug, true]\n", "args: True has no one spelling"),
    ],
)
def test_a_yaml_file_with_a_mistake_is_refused(tmp_path, text, message):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(InvalidTrainingJob, match=message):
        TrainingJob.from_yaml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidTrainingJob, match=r"none\.yaml"):
        TrainingJob.from_yaml(tmp_path / "none.yaml")


def test_long_times_and_short_ones_are_written_in_full():
    scheduling = TrainingJob(image_uri=IMAGE, timeout=1_234_567.5).to_custom_job()["jobSpec"]["scheduling"]
    assert scheduling["timeout"] == "1234567.5s"


def test_a_role_with_its_own_machine_does_not_take_over_the_accelerator():
    job = TrainingJob(
        image_uri=IMAGE,
        machine_type="n1-standard-8",
        accelerator="NVIDIA_TESLA_T4:2",
        workers=2,
        parameter_servers=Replicas(machine_type="e2-standard-4"),
    )
    chief, workers, servers = (pool["machineSpec"] for pool in pools(job))
    assert workers == chief
    assert servers == {"machineType": "e2-standard-4"}


def pools(job):
    return job.to_custom_job()["jobSpec"]["workerPoolSpecs"]


MOUNT = NfsMount(server="10.0.0.2", path="/share", mount_point="data")
PUBLIC = NfsMount(server="8.8.8.8", path="share", mount_point="a/b")
REFUSED = {
    "k80": ({"accelerator": "NVIDIA_TESLA_K80"}, "NVIDIA K80 is gone; use NVIDIA_TESLA_T4"),
    "p100": (
        {"workers": Replicas(accelerator="NVIDIA_TESLA_P100:2")},
        "workers.accelerator: NVIDIA P100 reached its end of support",
    ),
    "short gpu": ({"accelerator": "NVIDIA_T4"}, "NVIDIA_T4 is unknown; there are"),
    "three t4": ({"accelerator": "NVIDIA_TESLA_T4:3"}, "can't have 3 NVIDIA_TESLA_T4; it can have 1, 2, 4"),
    "one v100 for 32 cores": (
        {"machine_type": "n1-standard-32", "accelerator": "NVIDIA_TESLA_V100"},
        "it can have 4, 8",
    ),
    "gpu on e2": (
        {"machine_type": "e2-standard-8", "accelerator": "NVIDIA_L4"},
        "e2-standard-8 can't have NVIDIA_L4; machines that can: g2-standard-4,",
    ),
    "chief's gpu on the worker's machine": (
        {"workers": Replicas(machine_type="g2-standard-8", accelerator="NVIDIA_TESLA_T4")},
        "workers.accelerator: g2-standard-8 can't have NVIDIA_TESLA_T4",
    ),
    "a2 without its gpu": (
        {"machine_type": "a2-highgpu-1g", "accelerator": ""},
        "a2-highgpu-1g comes with NVIDIA_TESLA_A100:1",
    ),
    "small highcpu": ({"machine_type": "n1-highcpu-8"}, "of its kind there are n1-highcpu-16,"),
    "tpu without topology": ({"machine_type": "ct6e-standard-4t"}, "tpu_topology: None, but"),
    "topology without tpu": ({"tpu_topology": "2x2"}, "tpu_topology: n1-standard-4 is no TPU machine"),
    "tpu cluster": (
        {"machine_type": "cloud-tpu", "accelerator": "TPU_V3:8", "workers": 1},
        "workers: a job with TPUs has a chief only",
    ),
    "spot tpu pod": (
        {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "4x4", "scheduling_strategy": "SPOT"},
        "SPOT is not to be had for TPUs on several machines",
    ),
    "a part of two gpus": (
        {"machine_type": "a3-highgpu-2g", "gpu_partition_size": "1g.10gb"},
        "gpu_partition_size: needs an accelerator, and one of it",
    ),
    "partition": ({"gpu_partition_size": "half"}, "gpu_partition_size: 'half'"),
    "gb200 without reservation": (
        {"machine_type": "a4x-highgpu-4g"},
        "reservation: required for NVIDIA_GB200",
    ),
    "reservation by short name": ({"reservation": "mine"}, "reservation: 'mine' is not projects/"),
    "reservations and any": ({"reservation": ["ANY_RESERVATION", "x"]}, "ANY_RESERVATION and others"),
    "flex start from a reservation": (
        {
            "machine_type": "g2-standard-8",
            "scheduling_strategy": "FLEX_START",
            "reservation": "ANY_RESERVATION",
        },
        "reservation: excluded by FLEX_START",
    ),
    "reserved persistent resource": (
        {"persistent_resource_id": "p", "reservation": "ANY_RESERVATION"},
        "excluded by persistent_resource_id",
    ),
    "flex start without gpu": ({"scheduling_strategy": "FLEX_START"}, "n1-standard-4 has none"),
    "flex start of two kinds": (
        {
            "machine_type": "g2-standard-8",
            "workers": Replicas(machine_type="g2-standard-24"),
            "scheduling_strategy": "FLEX_START",
        },
        "FLEX_START needs the same machine",
    ),
    "flex start for 8 days": (
        {"machine_type": "g2-standard-8", "scheduling_strategy": "FLEX_START", "timeout": timedelta(days=8)},
        "timeout: at most 7 days",
    ),
    "old strategy": ({"scheduling_strategy": "LOW_COST"}, "LOW_COST is deprecated, use SPOT"),
    "no strategy": ({"scheduling_strategy": "spot"}, "'spot' is not one of"),
    "wait without flex start": ({"max_wait_duration": 60}, "queue_timeout limits every job's wait"),
    "negative wait": ({"max_wait_duration": -1}, "at least 0 needed"),
    "retries": (
        {"disable_retries": True, "restart_job_on_worker_restart": True},
        "disable_retries switches it off",
    ),
    "a switch": ({"enable_web_access": "maybe"}, "'maybe' is neither true nor false"),
    "disk": ({"boot_disk_type": "floppy"}, "boot_disk_type"),
    "small disk": ({"boot_disk_gb": 50}, "100 to 64000"),
    "network by id": ({"network": "projects/p/global/networks/n"}, "with the project's number"),
    "two ways into a network": (
        {
            "network": "projects/1/global/networks/n",
            "psc_interface": PscInterface(network_attachment="n"),
        },
        "psc_interface: excluded by network",
    ),
    "ranges": ({"reserved_ip_ranges": ["r"]}, "reserved_ip_ranges: only with network"),
    "domain": (
        {
            "psc_interface": PscInterface(
                network_attachment="n",
                dns_peerings=[DnsPeering(domain="corp", target_project="p", target_network="n")],
            )
        },
        "'corp' must end with a dot",
    ),
    "mounts without network": ({"nfs_mounts": [MOUNT]}, "network: required with mounts"),
    "public server": ({"nfs_mounts": [PUBLIC]}, "8.8.8.8 is a public address"),
    "relative path": ({"nfs_mounts": [PUBLIC]}, "path: 'share' must be absolute"),
    "deep mount point": ({"nfs_mounts": [PUBLIC]}, "mount_point: 'a/b' is not a folder's name"),
    "two mounts": (
        {"nfs_mounts": [MOUNT, MOUNT], "network": "projects/1/global/networks/n"},
        "two mounts at 'data'",
    ),
    "tensorboard": (
        {"tensorboard": "projects/p/locations/r/tensorboards/1"},
        "service_account: required with tensorboard",
    ),
    "run without experiment": ({"experiment_run": f"{CONTEXT}/a-b"}, "only with experiment"),
    "run of another experiment": (
        {"experiment": f"{CONTEXT}/a", "experiment_run": f"{CONTEXT}/b-1"},
        "must be the experiment's name",
    ),
    "key elsewhere": (
        {"kms_key": "projects/p/locations/us-east1/keyRings/r/cryptoKeys/k", "region": "europe-west4"},
        "must be in the job's region",
    ),
    "account": ({"service_account": "trainer"}, "service_account"),
    "region": ({"region": "Belgium"}, "region"),
    "persistent resource": ({"persistent_resource_id": "Big"}, "persistent_resource_id"),
    "empty variable": ({"env": {"A": ""}}, "A is ''"),
    "variables of both": (
        {
            "env": {f"A{n}": "1" for n in range(60)},
            "workers": Replicas(env={f"B{n}": "1" for n in range(60)}),
        },
        "workers.env: 120 variables",
    ),
    "arguments of all": ({"args": ["x" * 60_000], "workers": 1}, "120,000 characters together"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_service_would_refuse_is_refused(name):
    fields, message = REFUSED[name]
    with pytest.raises(InvalidTrainingJob) as caught:
        TrainingJob(**{"image_uri": IMAGE, **fields})
    assert message in str(caught.value)


def test_a_family_of_machines_that_is_newer_than_the_list_is_left_to_the_service(caplog):
    job = TrainingJob(image_uri=IMAGE, machine_type="x9-gigagpu-8g", accelerator="NVIDIA_L4:8")
    assert pools(job)[0]["machineSpec"]["machineType"] == "x9-gigagpu-8g"
    assert "x9-gigagpu-8g is not in the list" in caplog.text


def test_another_tasks_output_may_stand_for_any_text():
    output = object()
    job = TrainingJob(image_uri=output, args=["--data", output], env={"DATA": output}, base_output_dir=output)
    assert job.to_dict()["args"] == ["--data", output]


def test_templates_may_stand_in_every_field_of_text():
    names = [
        "machine_type",
        "accelerator",
        "gpu_partition_size",
        "tpu_topology",
        "reservation",
        "boot_disk_type",
        "boot_disk_gb",
        "workers",
        "parameter_servers",
        "evaluator",
        "base_output_dir",
        "display_name",
        "timeout",
        "queue_timeout",
        "scheduling_strategy",
        "max_wait_duration",
        "restart_job_on_worker_restart",
        "disable_retries",
        "network",
        "kms_key",
        "service_account",
        "tensorboard",
        "experiment",
        "experiment_run",
        "persistent_resource_id",
        "region",
        "protected_artifact_location",
        "enable_web_access",
        "enable_dashboard_access",
    ]
    job = TrainingJob(image_uri="{{ i }}", **dict.fromkeys(names, "{{ x }}"), labels={"a": "{{ b }}"})
    assert set(job.to_dict()) == {"image_uri", "labels", *names}


@pytest.mark.parametrize(
    "env",
    [
        {"DB_PASSWORD": "hunter2"},
        {"API_KEY": "abc-123"},
        {"AWS_ACCESS_KEY_ID": "AKIA" + "A" * 16},
        {"SETTINGS": '{"private_key": "x"}'},
        {"DATABASE": "postgresql://me:pw@10.0.0.1/db"},
        {"X": "ghp_" + "a" * 36},
    ],
)
def test_a_secret_in_the_environment_is_warned_of_once_without_telling_it(env):
    with pytest.warns(UserWarning, match=next(iter(env))) as caught:
        TrainingJob(image_uri=IMAGE, workers=Replicas(env=env))
    assert next(iter(env.values())) not in str(caught[0].message)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainingJob(image_uri=IMAGE, env=env)


@pytest.mark.parametrize(
    "env",
    [
        {"TOKENIZERS_PARALLELISM": "false"},
        {"PASSWORD_FILE": "/run/pw"},
        {"API_TOKEN": "projects/p/secrets/token/versions/1"},
        {"OTHER_TOKEN": "{{ var.value.token }}"},
        {"PAD_TOKEN": "0"},
        {"URL": "https://example.com/a@b"},
        {"GOOGLE_APPLICATION_CREDENTIALS": "/secrets/key.json"},
    ],
)
def test_what_only_leads_to_a_secret_is_not_warned_of(env):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainingJob(image_uri=IMAGE, env=env)


STRANGE = [
    *(None, 5, -1, True, "", "x", b"x", float("nan"), float("inf"), 1e300, "1e400", "٣", {"a"}),
    *([], ["a"], [None], [5], [[]], ("a",), {}, {"a": 1}, {"a": None}, {1: 2}, Replicas(), MOUNT),
]


@pytest.mark.parametrize("owner", [TrainingJob, Replicas])
def test_a_value_of_any_type_is_refused_with_the_field_or_arrives_in_the_official_proto(owner):
    for field in dataclasses.fields(owner):
        if field.name == "migration_notes":
            continue
        for value in STRANGE:
            fields = {field.name: value}
            try:
                job = (
                    TrainingJob(**{"image_uri": IMAGE, **fields})
                    if owner is TrainingJob
                    else TrainingJob(image_uri=IMAGE, workers=Replicas(**fields))
                )
            except InvalidTrainingJob as error:
                where = "workers" if field.name == "count" else field.name
                assert where in str(error) or field.name in REASONS_ELSEWHERE, (fields, str(error))
                continue
            as_proto(job)
            again = TrainingJob.from_dict(json.loads(json.dumps(job.to_dict())))
            assert again.to_custom_job() == job.to_custom_job(), fields


# Fields whose lack or excess is another one's fault.
REASONS_ELSEWHERE = {"nfs_mounts", "lustre_mounts"}


def test_a_whole_list_or_mapping_may_be_another_tasks_output():
    output = object()
    job = TrainingJob(image_uri=IMAGE, args=output, env=output, labels=output)
    assert job.to_dict() == {"image_uri": IMAGE, "args": output, "env": output, "labels": output}
    with pytest.raises(InvalidTrainingJob, match="args: 5 is not a list"):
        TrainingJob.from_dict({**job.to_dict(), "args": 5})
