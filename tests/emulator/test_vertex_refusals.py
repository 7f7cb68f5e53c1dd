"""What Vertex AI would refuse is refused, with the field's name."""

from __future__ import annotations

import io
import json
from copy import deepcopy
from email.message import Message

import pytest

from airflow_ml_provider.emulator.http import Application, Request
from airflow_ml_provider.emulator.logging.store import LogStore
from airflow_ml_provider.emulator.vertex.pace import Pace
from airflow_ml_provider.emulator.vertex.service import VertexAI

IMAGE = "europe-docker.pkg.dev/p/r/trainer:1"
POOL = {
    "machineSpec": {"machineType": "n1-standard-4"},
    "replicaCount": "1",
    "containerSpec": {"imageUri": IMAGE},
}


class NoCluster:
    """A cluster for jobs that stay in the queue."""

    def start(self, job, output, on_exit):
        raise AssertionError("nothing is to be started")

    def close(self):
        pass


class Service:
    def __init__(self, folder, **fields):
        self.logs = LogStore(folder / "logging")
        pace = Pace(queued=600)
        self.vertex = VertexAI(
            folder / "vertex", NoCluster(), self.logs, project="proj-x", pace=pace, **fields
        )
        self.application = Application([self.vertex])

    def request(self, method, path, body=None, **query):
        raw = b"" if body is None else json.dumps(body).encode()
        parameters = {name: [text] for name, text in query.items()}
        response = self.application.dispatch(
            Request(method, path, parameters, Message(), io.BytesIO(raw), "http://localhost")
        )
        return response.status, json.loads(response.body)

    def create(self, job, region="us-central1"):
        return self.request("POST", f"/v1/projects/proj-x/locations/{region}/customJobs", job)

    def list(self, **query):
        return self.request("GET", "/v1/projects/proj-x/locations/us-central1/customJobs", **query)

    def close(self):
        self.application.close()
        self.logs.close()


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    service.close()


def job(*pools, **spec):
    return {
        "displayName": "nightly",
        "jobSpec": {"workerPoolSpecs": list(pools) if pools else [deepcopy(POOL)], **spec},
    }


def pool(machine=None, container=None, **fields):
    made = deepcopy(POOL) | fields
    made["machineSpec"] |= machine or {}
    made["containerSpec"] |= container or {}
    return made


def machine(kind, accelerator=None, count=None):
    given = {"machineType": kind, "acceleratorType": accelerator, "acceleratorCount": count}
    return pool(machine={name: value for name, value in given.items() if value is not None})


def refused(service, body, *texts, status=400, region="us-central1"):
    code, reply = service.create(body, region)
    assert code == status, reply
    assert reply["error"]["code"] == status
    for text in texts:
        assert text in reply["error"]["message"]
    assert service.list()[1] == {}
    return reply["error"]


def accepted(service, body):
    code, reply = service.create(body)
    assert code == 200, reply
    return reply


WRONG = {
    "no display name": (
        {"jobSpec": {"workerPoolSpecs": [POOL]}},
        "custom_job.display_name",
        "Required field",
    ),
    "long display name": (job() | {"displayName": "x" * 129}, "custom_job.display_name", "128"),
    "no spec": ({"displayName": "d"}, "custom_job.job_spec"),
    "no pools": ({"displayName": "d", "jobSpec": {"workerPoolSpecs": []}}, "job_spec"),
    "empty first pool": (job({}, pool()), "job_spec.worker_pool_specs[0]", "primary replica"),
    "first pool with two": (job(pool(replicaCount="2")), "worker_pool_specs[0].replica_count", "is 2"),
    "first pool with none": (job(pool(replicaCount="0")), "worker_pool_specs[0].replica_count", "is 0"),
    "workers without count": (job(pool(), pool(replicaCount=None)), "worker_pool_specs[1].replica_count"),
    "negative workers": (job(pool(), pool(replicaCount="-1")), "worker_pool_specs[1].replica_count"),
    "five pools": (job(*[pool()] * 5), "at most 4"),
    "no image": (job(pool(container={"imageUri": None})), "container_spec.image_uri", "Required field"),
    "no container": (job(pool(containerSpec={})), "container_spec.image_uri"),
    "bad image": (job(pool(container={"imageUri": "gcr.io/P/UPPER image"})), "not a valid container image"),
    "no machine": (job(pool(machineSpec={})), "machine_spec.machine_type", "Required field"),
    "machine of gone days": (job(machine("n1-highcpu-8")), 'Machine type "n1-highcpu-8" is not supported.'),
    "legacy machine": (job(machine("complex_model_m")), 'Machine type "complex_model_m" is not supported.'),
    "k80": (
        job(machine("n1-standard-4", "NVIDIA_TESLA_K80", 1)),
        'Accelerator "NVIDIA_TESLA_K80" is not supported for machine type "n1-standard-4"',
    ),
    "p100": (job(machine("n1-standard-8", "NVIDIA_TESLA_P100", 1)), "NVIDIA_TESLA_P100"),
    "gpu on e2": (job(machine("e2-standard-8", "NVIDIA_TESLA_T4", 1)), "NVIDIA_TESLA_T4", "e2-standard-8"),
    "three t4": (job(machine("n1-standard-8", "NVIDIA_TESLA_T4", 3)), "accelerator_count", "1, 2, 4"),
    "one v100 for 32 cpus": (job(machine("n1-standard-32", "NVIDIA_TESLA_V100", 1)), "4, 8"),
    "type without count": (job(machine("n1-standard-8", "NVIDIA_TESLA_T4")), "Both `accelerator_type`"),
    "count without type": (job(machine("n1-standard-8", count=1)), "Both `accelerator_type`"),
    "a2 without gpu": (job(machine("a2-highgpu-1g")), "must be used with 1 x NVIDIA_TESLA_A100"),
    "a2 with too many": (job(machine("a2-highgpu-1g", "NVIDIA_TESLA_A100", 2)), "accelerator_count"),
    "g2 with t4": (job(machine("g2-standard-8", "NVIDIA_TESLA_T4", 1)), "NVIDIA_TESLA_T4"),
    "tpu with workers": (job(machine("cloud-tpu", "TPU_V3", 8), pool()), "single worker pool"),
    "tpu with another's topology": (
        job(pool(machine={"machineType": "ct6e-standard-1t", "tpuTopology": "4x4"})),
        "tpu_topology",
        "1x1",
    ),
    "topology without tpu": (job(pool(machine={"tpuTopology": "2x2"})), "tpu_topology"),
    "tpu pod on spot": (
        job(
            pool(machine={"machineType": "ct6e-standard-4t", "tpuTopology": "4x4"}),
            scheduling={"strategy": "SPOT"},
        ),
        "TPU Pods",
    ),
    "a part of two gpus": (
        job(
            pool(
                machine={
                    "machineType": "a3-highgpu-2g",
                    "acceleratorType": "NVIDIA_H100_80GB",
                    "acceleratorCount": 2,
                    "gpuPartitionSize": "1g.10gb",
                }
            )
        ),
        "gpu_partition_size",
    ),
    "gb200 without reservation": (job(machine("a4x-highgpu-4g", "NVIDIA_GB200", 4)), "needs a reservation"),
    "reservation without name": (
        job(pool(machine={"reservationAffinity": {"reservationAffinityType": "SPECIFIC_RESERVATION"}})),
        "reservation_affinity.key",
        "reservation_affinity.values",
    ),
    "reservation by short name": (
        job(
            pool(
                machine={
                    "reservationAffinity": {
                        "reservationAffinityType": "SPECIFIC_RESERVATION",
                        "key": "compute.googleapis.com/reservation-name",
                        "values": ["mine"],
                    }
                }
            )
        ),
        "full resource name",
    ),
    "flex start from a reservation": (
        job(
            pool(
                machine={
                    "machineType": "g2-standard-8",
                    "acceleratorType": "NVIDIA_L4",
                    "acceleratorCount": 1,
                    "reservationAffinity": {"reservationAffinityType": 2},
                }
            ),
            scheduling={"strategy": "FLEX_START"},
        ),
        "together with reservations",
    ),
    "a wait without flex start": (job(scheduling={"maxWaitDuration": "60s"}), "max_wait_duration"),
    "ranges without network": (job(reservedIpRanges=["r"]), "reserved_ip_ranges"),
    "two ways into a network": (
        job(
            network="projects/1/global/networks/n",
            pscInterfaceConfig={"networkAttachment": "projects/p/regions/r/networkAttachments/n"},
        ),
        "psc_interface_config",
    ),
    "peering without dot": (
        job(
            pscInterfaceConfig={
                "networkAttachment": "n",
                "dnsPeeringConfigs": [{"domain": "corp", "targetProject": "p", "targetNetwork": "n"}],
            }
        ),
        "end with a dot",
    ),
    "run without experiment": (
        job(experimentRun="projects/p/locations/us-central1/metadataStores/default/contexts/e-r"),
        "job_spec.experiment",
    ),
    "tpu without topology": (job(machine("ct5lp-hightpu-4t")), "tpu_topology"),
    "bad disk": (job(pool(diskSpec={"bootDiskType": "floppy"})), "disk_spec.boot_disk_type"),
    "small disk": (job(pool(diskSpec={"bootDiskSizeGb": 10})), "disk_spec.boot_disk_size_gb"),
    "label in capitals": (job() | {"labels": {"Team": "a"}}, "custom_job.labels", "lowercase"),
    "label value with dots": (job() | {"labels": {"team": "a.b"}}, "custom_job.labels"),
    "label key with dash first": (job() | {"labels": {"-a": ""}}, "start with a letter or number"),
    "long label": (job() | {"labels": {"team": "a" * 64}}, "less than 64"),
    "65 labels": (job() | {"labels": {f"l{i}": "" for i in range(65)}}, "no more than 64 labels"),
    "101 variables": (
        job(pool(container={"env": [{"name": f"A{i}", "value": "1"} for i in range(101)]})),
        "container_spec.env",
        "100",
    ),
    "variable with dash": (
        job(pool(container={"env": [{"name": "A-B", "value": "1"}]})),
        "env[0].name",
        "C identifier",
    ),
    "variable without value": (job(pool(container={"env": [{"name": "A"}]})), "env[0].value"),
    "long arguments": (
        job(pool(container={"args": ["x" * 60_000]}), pool(container={"args": ["y" * 60_000]})),
        "100000",
    ),
    "directory elsewhere": (job(baseOutputDirectory={"outputUriPrefix": "/tmp/x"}), "output_uri_prefix"),
    "directory without bucket": (
        job(baseOutputDirectory={"outputUriPrefix": "gs:///x"}),
        "output_uri_prefix",
    ),
    "no directory": (job(baseOutputDirectory={}), "output_uri_prefix", "Required field"),
    "negative timeout": (job(scheduling={"timeout": "-1s"}), "scheduling.timeout"),
    "flex start without gpu": (job(scheduling={"strategy": "FLEX_START"}), "FLEX_START needs accelerators"),
    "flex start with t4": (
        job(machine("n1-standard-8", "NVIDIA_TESLA_T4", 1), scheduling={"strategy": 6}),
        "FLEX_START needs accelerators",
    ),
    "flex start of two kinds": (
        job(
            machine("g2-standard-8", "NVIDIA_L4", 1),
            machine("g2-standard-24", "NVIDIA_L4", 2),
            scheduling={"strategy": 6},
        ),
        "same machine spec",
    ),
    "flex start for 8 days": (
        job(machine("g2-standard-8", "NVIDIA_L4", 1), scheduling={"strategy": 6, "timeout": "691200s"}),
        "7 days",
    ),
    "key elsewhere": (
        job()
        | {"encryptionSpec": {"kmsKeyName": "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"}},
        "europe-west4",
        "us-central1",
    ),
    "no key": (job() | {"encryptionSpec": {"kmsKeyName": "k"}}, "kms_key_name"),
    "network by id": (job(network="projects/proj-x/global/networks/n"), "job_spec.network"),
    "tensorboard without account": (
        job(tensorboard="projects/p/locations/us-central1/tensorboards/1"),
        "job_spec.service_account",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_job_that_the_service_would_refuse_is_refused(service, name):
    body, *texts = WRONG[name]
    error = refused(service, body, "List of found errors:\t1.Field: ", *texts)
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"][0]["fieldViolations"]


RIGHT = {
    "a cluster with a gap": job(pool(), {}, pool(replicaCount="3"), pool()),
    "default messages for a gap": job(
        pool(), {"replicaCount": "0", "machineSpec": {"machineType": ""}, "containerSpec": {}}, pool()
    ),
    "gpus": job(machine("n1-highmem-16", "NVIDIA_TESLA_V100", 2)),
    "no gpus said": job(machine("n1-standard-4", "ACCELERATOR_TYPE_UNSPECIFIED", 0)),
    "a3": job(machine("a3-megagpu-8g", "NVIDIA_H100_MEGA_80GB", 8)),
    "l4": job(machine("g2-standard-96", "NVIDIA_L4", 8), scheduling={"strategy": "FLEX_START"}),
    "tpu": job(machine("cloud-tpu", "TPU_V3", 8)),
    "tpu by topology": job(pool(machine={"machineType": "ct6e-standard-4t", "tpuTopology": "2x2"})),
    "spot": job(scheduling={"strategy": "SPOT", "restartJobOnWorkerRestart": True, "timeout": "60.5s"}),
    "numbers": job(pool(replicaCount=1)),
    "a part of a gpu": job(
        pool(
            machine={
                "machineType": "a3-highgpu-1g",
                "acceleratorType": "NVIDIA_H100_80GB",
                "acceleratorCount": 1,
                "gpuPartitionSize": "1g.10gb",
            }
        )
    ),
    "any reservation": job(pool(machine={"reservationAffinity": {"reservationAffinityType": 2}})),
    "one reservation": job(
        pool(
            machine={
                "reservationAffinity": {
                    "reservationAffinityType": "SPECIFIC_RESERVATION",
                    "key": "compute.googleapis.com/reservation-name",
                    "values": ["projects/p/zones/us-central1-a/reservations/n"],
                }
            }
        )
    ),
    "private service connect": job(
        pscInterfaceConfig={
            "networkAttachment": "projects/p/regions/us-central1/networkAttachments/n",
            "dnsPeeringConfigs": [{"domain": "corp.", "targetProject": "p", "targetNetwork": "n"}],
        }
    ),
    "dashboard and elsewhere": job(enableDashboardAccess=True, protectedArtifactLocationId="us-east1"),
    "international labels": job() | {"labels": {"équipe": "日本", "1": "", "a" * 63: "b" * 63}},
    "snake case": {"display_name": "d", "job_spec": {"worker_pool_specs": [POOL]}},
    "128 characters": job() | {"displayName": "ü" * 128},
    "nulls": job() | {"labels": None, "encryptionSpec": None},
    "docker hub": job(pool(container={"imageUri": "python:3.12"})),
    "digest": job(pool(container={"imageUri": f"{IMAGE}@sha256:{'0' * 64}"})),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_job_that_the_service_would_take_is_taken(service, name):
    created = accepted(service, RIGHT[name])
    schema = "GoogleCloudAiplatformV1CustomJob"
    assert service.vertex.api.message(schema, created) == created


def test_all_problems_are_told_at_once(service):
    error = refused(service, {"jobSpec": {"workerPoolSpecs": [pool(replicaCount="3", machineSpec={})]}})
    assert [v["field"] for v in error["details"][0]["fieldViolations"]] == [
        "custom_job.display_name",
        "job_spec.worker_pool_specs[0].replica_count",
        "job_spec.worker_pool_specs[0].machine_spec.machine_type",
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (job(pool(pythonPackageSpec={"pythonModule": "t"})), "workerPoolSpecs[0].pythonPackageSpec"),
        (job(pool(nfsMounts=[{"server": "s"}])), "workerPoolSpecs[0].nfsMounts"),
        (job(persistentResourceId="p"), "jobSpec.persistentResourceId"),
    ],
)
def test_what_the_emulator_cannot_do_is_refused_by_name(service, body, text):
    refused(service, body, text, "not implemented by the emulator", status=501)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (job() | {"displayname": "d"}, 'Unknown name "displayname"'),
        (job(workers=2), "Unknown name \"workers\" at 'jobSpec'"),
        (job(pool(replicaCount="two")), "jobSpec.workerPoolSpecs[0].replicaCount"),
        (job(pool(machine={"acceleratorType": 99})), "acceleratorType"),
        (job(pool(machine={"acceleratorType": "NVIDIA_T4"})), "acceleratorType"),
        (job(scheduling={"strategy": 5}), "strategy"),
        (job(scheduling={"timeout": "1h"}), "timeout"),
    ],
)
def test_fields_and_values_that_the_api_does_not_know_are_refused(service, body, text):
    refused(service, body, text)


@pytest.mark.parametrize("region", ["us-central3", "us", "global", "europe"])
def test_an_unknown_region_is_refused(service, region):
    code, reply = service.create(job(), region)
    assert code == 400
    assert f'Unsupported region "{region}"' in reply["error"]["message"]


def test_an_output_directory_in_a_bucket_that_does_not_exist_is_refused(tmp_path):
    asked = []
    service = Service(tmp_path, bucket_exists=lambda name: asked.append(name) or name == "there")
    try:
        accepted(service, job(baseOutputDirectory={"outputUriPrefix": "gs://there/x"}))
        code, reply = service.create(job(baseOutputDirectory={"outputUriPrefix": "gs://missing/x"}))
        assert (code, reply["error"]["status"]) == (400, "FAILED_PRECONDITION")
        assert "gs://missing/x/" in reply["error"]["message"]
        assert asked == ["there", "missing"]
    finally:
        service.close()


@pytest.fixture
def listed(service):
    """Jobs a to d, in the order of their creation."""
    times = {}
    for name, labels in (
        ("a", {"team": "ads", "key": "1"}),
        ("b", {"team": "ads"}),
        ("c", {}),
        ("d", {"key": "1"}),
    ):
        created = accepted(service, job() | {"displayName": f"retrain-{name}", "labels": labels})
        times[name] = created["createTime"]
    return times


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "dcba"),
        ("labels.team=ads", "ba"),
        ('labels.team="ads" AND labels.key=1', "a"),
        ("labels.team=ads labels.key=1", "a"),
        ("labels.key:*", "da"),
        ("labels:team", "ba"),
        ("NOT labels.key:*", "cb"),
        ("labels.team=ads OR labels.key=1", "dba"),
        ('labels.team=ads AND (labels.key=1 OR displayName="retrain-b")', "ba"),
        ("labels.team=ads AND labels.key=1 OR labels.team=ads", "ba"),
        ('labels."team"="ads"', "ba"),
        ('display_name="retrain-c"', "c"),
        ('displayName!="retrain-c"', "dba"),
        ('displayName:"retrain-*"', "dcba"),
        ('displayName:"*-c"', "c"),
        ('display_name:"train-d"', "d"),
        ('displayName="retrain-*"', ""),
        ('state="JOB_STATE_QUEUED"', "dcba"),
        ("state=JOB_STATE_RUNNING", ""),
        ('state!="JOB_STATE_FAILED" AND NOT displayName="retrain-a"', "dcb"),
        ('createTime>"2020-01-01T00:00:00Z"', "dcba"),
        ('create_time<"2020-01-01T00:00:00+01:00"', ""),
        ('createTime>="{b}"', "dcb"),
        ('createTime>"{b}" AND createTime<="{c}"', "c"),
        ('createTime="{b}"', "b"),
        ('createTime!="{b}"', "dca"),
    ],
)
def test_a_list_is_filtered_and_newest_first(service, listed, query, found):
    status, reply = service.list(filter=query.format(**listed))
    assert status == 200, reply
    assert "".join(j["displayName"][-1] for j in reply.get("customJobs", [])) == found


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("name=x", "'name'"),
        ("endTime>x", "'endTime'"),
        ("labels=x", "labels.key"),
        ("labels.a.b=x", "'labels.a.b'"),
        ("state:RUNNING", "':'"),
        ("state=RUNNING", "'RUNNING'"),
        ('createTime:"2020-01-01T00:00:00Z"', "':'"),
        ("createTime>yesterday", "yesterday"),
        ('displayName>"a"', "'>'"),
        ("retrain", "'retrain'"),
        ("labels.a=b and labels.c=d", "'and'"),
        ("(labels.a=b", "')'"),
        ("labels.a=", "a value"),
        ("displayName=x:y", "':'"),
        ("(" * 5000 + "state=x" + ")" * 5000, "too deeply"),
    ],
)
def test_a_filter_that_the_api_does_not_know_is_refused(service, query, text):
    status, reply = service.list(filter=query)
    assert (status, reply["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert text in reply["error"]["message"]


def test_a_list_comes_in_pages(service, listed):
    found, token, sizes = "", "", []
    while True:
        query = {"pageSize": "2", "filter": "labels.key:* OR labels.team:*"} | (
            {"pageToken": token} if token else {}
        )
        status, reply = service.list(**query)
        assert status == 200
        found += "".join(j["displayName"][-1] for j in reply["customJobs"])
        sizes.append(len(reply["customJobs"]))
        token = reply.get("nextPageToken")
        if not token:
            break
    assert (found, sizes) == ("dba", [2, 1])


def test_pages_are_asked_for_as_documented(service, listed):
    assert service.list(page_size="1")[1]["nextPageToken"]
    token = service.list(pageSize="1")[1]["nextPageToken"]
    assert service.list(pageSize="1", pageToken=token, filter="labels.key=1")[0] == 400
    assert service.list(pageToken="garbage")[0] == 400
    assert service.list(pageSize="-1")[0] == 400
    assert service.list(orderBy="createTime")[0] == 400


def test_a_list_can_be_masked(service, listed):
    reply = service.list(readMask="name,display_name,labels.key,jobSpec.workerPoolSpecs")[1]
    newest = reply["customJobs"][0]
    assert sorted(newest) == ["displayName", "jobSpec", "labels", "name"]
    assert newest["labels"] == {"key": "1"}
    assert service.list(readMask="*")[1] == service.list()[1]
    status, refusal = service.list(readMask="name,nonsense")
    assert status == 400
    assert "nonsense" in refusal["error"]["message"]
