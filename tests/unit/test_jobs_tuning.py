from __future__ import annotations

import json

import pytest
from google.cloud.aiplatform_v1 import HyperparameterTuningJob as OfficialTuningJob
from google.cloud.aiplatform_v1.types import StudySpec
from google.protobuf import json_format

from airflow_ml_provider.jobs import (
    ConditionalParameter,
    EarlyStopping,
    HyperparameterTuningJob,
    InvalidTrainingJob,
    Parameter,
    StudyStopping,
    TrainingJob,
)
from airflow_ml_provider.jobs.parameters import typed_values

TRIAL = TrainingJob(
    image_uri="europe-docker.pkg.dev/proj/repo/trainer:1",
    args=["--epochs", "3"],
    workers=1,
    labels={"team": "ml"},
    display_name="tune",
    kms_key="projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k",
    base_output_dir="gs://bucket/tuning",
)
LR = Parameter(name="lr", type="DOUBLE", min_value=1e-4, max_value=0.1, scale_type="UNIT_LOG_SCALE")
UNITS = Parameter(name="units", type="INTEGER", min_value=32, max_value=256)
BATCH = Parameter(name="batch", type="DISCRETE", values=[32, 64, 128])
OPTIMIZER = Parameter(
    name="optimizer",
    type="CATEGORICAL",
    values=["sgd", "adam"],
    conditional=[
        ConditionalParameter(
            parent_values=["sgd"],
            parameter=Parameter(name="momentum", type="DOUBLE", min_value=0, max_value=0.99),
        )
    ],
)


def job(**fields):
    made = {"trial": TRIAL, "metrics": {"val_loss": "MINIMIZE"}, "parameters": [LR], "max_trial_count": 20}
    return HyperparameterTuningJob(**{**made, **fields})


FULL = job(
    parameters=[LR, UNITS, BATCH, OPTIMIZER],
    parallel_trial_count="4",
    max_failed_trial_count=3,
    measurement_selection="BEST_MEASUREMENT",
    early_stopping=EarlyStopping(rule="CONVEX", max_step_count=100, use_elapsed_duration=True),
    study_stopping=StudyStopping(
        min_num_trials=5,
        max_num_trials=15,
        max_num_trials_no_progress=4,
        max_duration_no_progress=3600,
        minimum_runtime=60,
        maximum_runtime=7200,
        should_stop_asap=True,
    ),
)


def as_proto(tuning):
    proto = OfficialTuningJob()
    body = tuning.to_hyperparameter_tuning_job()
    json_format.ParseDict(body, proto._pb, ignore_unknown_fields=False)
    return proto


def test_every_field_arrives_in_the_official_proto():
    proto = as_proto(FULL)
    assert proto.display_name == "tune"
    assert dict(proto.labels) == {"team": "ml"}
    assert proto.encryption_spec.kms_key_name.endswith("cryptoKeys/k")
    assert (proto.max_trial_count, proto.parallel_trial_count, proto.max_failed_trial_count) == (20, 4, 3)
    assert [pool.replica_count for pool in proto.trial_job_spec.worker_pool_specs] == [1, 1]
    assert proto.trial_job_spec.base_output_directory.output_uri_prefix == "gs://bucket/tuning"
    study = proto.study_spec
    assert study.metrics[0].metric_id == "val_loss"
    assert study.metrics[0].goal == StudySpec.MetricSpec.GoalType.MINIMIZE
    lr, units, batch, optimizer = study.parameters
    assert lr.scale_type == StudySpec.ParameterSpec.ScaleType.UNIT_LOG_SCALE
    assert (lr.double_value_spec.min_value, lr.double_value_spec.max_value) == (1e-4, 0.1)
    assert (units.integer_value_spec.min_value, units.integer_value_spec.max_value) == (32, 256)
    assert list(batch.discrete_value_spec.values) == [32, 64, 128]
    assert list(optimizer.categorical_value_spec.values) == ["sgd", "adam"]
    condition = optimizer.conditional_parameter_specs[0]
    assert list(condition.parent_categorical_values.values) == ["sgd"]
    assert condition.parameter_spec.parameter_id == "momentum"
    assert condition.parameter_spec.double_value_spec.max_value == 0.99
    assert study.measurement_selection_type == StudySpec.MeasurementSelectionType.BEST_MEASUREMENT
    assert study.convex_automated_stopping_spec.max_step_count == 100
    assert study.convex_automated_stopping_spec.use_elapsed_duration
    stopping = study.study_stopping_config
    assert (stopping.min_num_trials, stopping.max_num_trials) == (5, 15)
    assert stopping.max_num_trials_no_progress == 4
    assert stopping.max_duration_no_progress.total_seconds() == 3600
    assert stopping.minimum_runtime_constraint.max_duration.total_seconds() == 60
    assert stopping.maximum_runtime_constraint.max_duration.total_seconds() == 7200
    assert stopping.should_stop_asap


@pytest.mark.parametrize(
    ("rule", "field"),
    [("MEDIAN", "median_automated_stopping_spec"), ("DECAY_CURVE", "decay_curve_stopping_spec")],
)
def test_an_early_stopping_rule_is_set_even_without_settings(rule, field):
    assert field in as_proto(job(early_stopping=EarlyStopping(rule=rule))).study_spec


def test_conditions_on_numbers_have_their_own_fields():
    child = Parameter(name="rate", type="DOUBLE", min_value=0, max_value=1)
    layers = Parameter(
        name="layers",
        type="INTEGER",
        min_value=1,
        max_value=4,
        conditional=[ConditionalParameter(parent_values=[3, 4], parameter=child)],
    )
    batch = Parameter(
        name="batch",
        type="DISCRETE",
        values=[0.5, 1],
        conditional=[ConditionalParameter(parent_values=[1], parameter=child)],
    )
    by_int, by_discrete = as_proto(job(parameters=[layers, batch])).study_spec.parameters
    assert list(by_int.conditional_parameter_specs[0].parent_int_values.values) == [3, 4]
    assert list(by_discrete.conditional_parameter_specs[0].parent_discrete_values.values) == [1]


def test_a_job_survives_the_way_through_json_and_yaml(tmp_path):
    plain = json.loads(json.dumps(FULL.to_dict()))
    again = HyperparameterTuningJob.from_dict(plain)
    assert again.to_hyperparameter_tuning_job() == FULL.to_hyperparameter_tuning_job()
    path = tmp_path / "tuning.yaml"
    path.write_text(FULL.to_yaml())
    from_yaml = HyperparameterTuningJob.from_yaml(path)
    assert from_yaml.to_hyperparameter_tuning_job() == FULL.to_hyperparameter_tuning_job()


def parameter(**fields):
    return {
        "parameters": [Parameter(**{"name": "p", "type": "DOUBLE", "min_value": 1, "max_value": 2, **fields})]
    }


def condition(*values, **fields):
    child = Parameter(name="c", type="INTEGER", min_value=1, max_value=2)
    item = ConditionalParameter(parent_values=values, parameter=child)
    return {"parameters": [Parameter(**{"name": "p", "conditional": [item], **fields})]}


REFUSED = {
    "no metric": ({"metrics": {}}, "metrics: at least one"),
    "metric with blanks": ({"metrics": {"my loss": "MINIMIZE"}}, "metrics: 'my loss'"),
    "goal": ({"metrics": {"loss": "minimize"}}, "metrics.loss: 'minimize' is not one of"),
    "no parameter": ({"parameters": []}, "parameters: at least one"),
    "twice": ({"parameters": [LR, LR]}, "parameters: 'lr' comes twice"),
    "a mapping": ({"parameters": [{"name": "lr"}]}, "is no Parameter"),
    "name": (parameter(name="a b"), "a name without blanks"),
    "type": (parameter(type="FLOAT"), "parameters.p.type: 'FLOAT'"),
    "range": (parameter(min_value=3), "min_value 3 is greater than max_value 2"),
    "no range": (parameter(max_value=None), "parameters.p.max_value: None is not a number"),
    "no number": (parameter(max_value=float("nan")), "max_value: nan is not a number"),
    "broken integer": (parameter(type="INTEGER", min_value=1.5), "min_value: 1.5 is not a whole number"),
    "values of a double": (parameter(values=[1]), "values: only for CATEGORICAL and DISCRETE"),
    "log of 0": (parameter(min_value=0, scale_type="UNIT_LOG_SCALE"), "UNIT_LOG_SCALE needs values above 0"),
    "scale": (parameter(scale_type="LOG"), "scale_type: 'LOG'"),
    "scale of categories": (
        {
            "parameters": [
                Parameter(name="p", type="CATEGORICAL", values=["a"], scale_type="UNIT_LINEAR_SCALE")
            ]
        },
        "not for CATEGORICAL",
    ),
    "no values": ({"parameters": [Parameter(name="p", type="DISCRETE")]}, "a list of values is needed"),
    "order": ({"parameters": [Parameter(name="p", type="DISCRETE", values=[2, 1])]}, "increasing order"),
    "1001": (
        {"parameters": [Parameter(name="p", type="DISCRETE", values=list(range(1001)))]},
        "1001 values, at most 1000",
    ),
    "same category": ({"parameters": [Parameter(name="p", type="CATEGORICAL", values=["a", "a"])]}, "twice"),
    "condition on a double": (condition(1, type="DOUBLE", min_value=1, max_value=2), "values of a DOUBLE"),
    "condition outside": (condition(9, type="INTEGER", min_value=1, max_value=4), "9 is no value of p"),
    "condition on another text": (condition("b", type="CATEGORICAL", values=["a"]), "'b' is no value of p"),
    "condition without values": (condition(type="CATEGORICAL", values=["a"]), "parent_values are needed"),
    "grid of doubles": ({"algorithm": "GRID_SEARCH"}, "GRID_SEARCH can't search a DOUBLE"),
    "grid of dependent doubles": (
        {"algorithm": "GRID_SEARCH", "parameters": [OPTIMIZER]},
        "parameters.momentum: GRID_SEARCH",
    ),
    "algorithm": ({"algorithm": "BAYES"}, "algorithm: 'BAYES'"),
    "selection": ({"measurement_selection": "BEST"}, "measurement_selection: 'BEST'"),
    "no trials": ({"max_trial_count": 0}, "max_trial_count: 0; a whole number from 1 on"),
    "more at once": (
        {"parallel_trial_count": 30},
        "parallel_trial_count: 30 is more than max_trial_count, 20",
    ),
    "more failed": ({"max_failed_trial_count": 30}, "max_failed_trial_count: 30 is more"),
    "rule": ({"early_stopping": EarlyStopping(rule="MEAN")}, "early_stopping.rule: 'MEAN'"),
    "steps": (
        {"early_stopping": EarlyStopping(max_step_count=1)},
        "max_step_count: only with the rule CONVEX",
    ),
    "study": ({"study_stopping": StudyStopping(max_num_trials=0)}, "study_stopping.max_num_trials: 0"),
    "trial": ({"trial": {"image_uri": "a"}}, "is no TrainingJob"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_service_would_refuse_is_refused(name):
    fields, message = REFUSED[name]
    with pytest.raises(InvalidTrainingJob) as caught:
        job(**fields)
    assert message in str(caught.value)


def test_the_same_name_may_depend_on_different_values():
    child = Parameter(name="c", type="INTEGER", min_value=1, max_value=2)
    both = [ConditionalParameter(parent_values=[value], parameter=child) for value in ("a", "b")]
    job(parameters=[Parameter(name="p", type="CATEGORICAL", values=["a", "b"], conditional=both)])
    with pytest.raises(InvalidTrainingJob, match="'c' comes twice for the same value"):
        job(parameters=[Parameter(name="p", type="CATEGORICAL", values=["a", "b"], conditional=both[:1] * 2)])


def test_counts_may_be_templates():
    tuning = job(max_trial_count="{{ params.trials }}", parallel_trial_count="{{ params.parallel }}")
    with pytest.raises(InvalidTrainingJob, match="max_trial_count: 'many'"):
        HyperparameterTuningJob.from_dict({**tuning.to_dict(), "max_trial_count": "many"})


def test_a_flag_that_is_tuned_too_is_warned_of(caplog):
    trial = TrainingJob(image_uri="trainer", args=["--lr=0.1"])
    job(trial=trial)
    assert "--lr is tuned too" in caplog.text


def test_a_trials_values_have_their_types():
    values = {"units": 80.0, "batch": "64.0", "lr": "0.01", "optimizer": "sgd", "momentum": 0.9, "x": 1}
    typed = typed_values(FULL.parameters, values)
    assert typed == {"units": 80, "batch": 64, "lr": 0.01, "optimizer": "sgd", "momentum": 0.9}
    assert [type(typed[name]) for name in ("units", "batch", "lr")] == [int, int, float]


BLOCK = {
    "goal": "MINIMIZE",
    "hyperparameterMetricTag": "Taxi Model Accuracy",
    "algorithm": "GRID_SEARCH",
    "maxTrials": "4",
    "maxParallelTrials": 2,
    "maxFailedTrials": 1,
    "enableTrialEarlyStopping": True,
    "params": [
        {"parameterName": "depth", "type": "integer", "minValue": 3.0, "maxValue": "8", "scaleType": "NONE"},
        {
            "parameterName": "kind",
            "type": "CATEGORICAL",
            "categoricalValues": ["a", True],
            "scaleType": "NONE",
        },
        {"parameterName": "size", "type": "DISCRETE", "discreteValues": [1, 2.5]},
    ],
}


@pytest.mark.parametrize("source", [BLOCK, {"trainingInput": {"hyperparameters": BLOCK}}])
def test_ai_platforms_block_is_read_alone_and_within_a_training_input(source):
    tuning = HyperparameterTuningJob.from_ai_platform(source, trial=TRIAL)
    proto = as_proto(tuning)
    assert proto.study_spec.metrics[0].metric_id == "Taxi_Model_Accuracy"
    assert proto.study_spec.algorithm == StudySpec.Algorithm.GRID_SEARCH
    assert "median_automated_stopping_spec" in proto.study_spec
    assert (proto.max_trial_count, proto.parallel_trial_count, proto.max_failed_trial_count) == (4, 2, 1)
    depth, kind, size = proto.study_spec.parameters
    assert (depth.integer_value_spec.min_value, depth.integer_value_spec.max_value) == (3, 8)
    assert list(kind.categorical_value_spec.values) == ["a", "true"]
    assert list(size.discrete_value_spec.values) == [1, 2.5]
    text = "\n".join(tuning.migration_notes)
    assert "became 'Taxi_Model_Accuracy'" in text
    assert "cloudml-hypertune" in text
    assert "became the rule MEDIAN" in text


def test_what_a_training_input_says_beside_the_block_is_the_trial():
    config = {
        "labels": {"a": "b"},
        "trainingInput": {
            "scaleTier": "CUSTOM",
            "masterType": "standard_gpu",
            "masterConfig": {"imageUri": "gcr.io/p/i:1"},
            "hyperparameters": {
                "params": [{"parameterName": "a", "type": "DOUBLE", "minValue": 0, "maxValue": 1}]
            },
        },
    }
    tuning = HyperparameterTuningJob.from_ai_platform(config)
    assert tuning.trial.accelerator == "NVIDIA_TESLA_T4:1"
    assert (tuning.max_trial_count, tuning.metrics) == (1, {"training/hptuning/metric": "MAXIMIZE"})
    assert any("standard_gpu became" in note for note in tuning.migration_notes)
    given = HyperparameterTuningJob.from_ai_platform(config, trial=TRIAL)
    assert given.trial == TRIAL
    assert any("masterType: not read" in note for note in given.migration_notes)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**BLOCK, "resumePreviousJobId": "x"}, "resumePreviousJobId: no equivalent"),
        ({**BLOCK, "maxTrial": 1}, "hyperparameters.maxTrial: no such field"),
        ({**BLOCK, "params": [{"parameterName": "a", "typ": "DOUBLE"}]}, r"params\[0\]\.typ: no such field"),
        ({**BLOCK, "params": {"a": 1}}, "hyperparameters.params: .* is not a list"),
        ({**BLOCK, "maxTrials": "many"}, "max_trial_count: 'many'"),
        ({"trainingInput": {"scaleTier": "BASIC"}}, "no such block"),
    ],
)
def test_what_can_not_be_read_is_refused(source, message):
    with pytest.raises(InvalidTrainingJob, match=message):
        HyperparameterTuningJob.from_ai_platform(source, trial=TRIAL)


def test_a_block_without_a_trial_asks_for_one():
    with pytest.raises(InvalidTrainingJob, match="give the TrainingJob that a trial runs as trial"):
        HyperparameterTuningJob.from_ai_platform(BLOCK)
