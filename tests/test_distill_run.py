import json
import math

import msgspec
import numpy as np
import pytest
import torch

from distill import checkpoint, log, run
from distill import data as data_sets
from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Stage, StudentSpec, Training
from distill.train import accuracy, learning_rates, to_input
from hw.errors import BadInput
from hw.files import alone, read_arrays, read_json, write_arrays

STAGES = (
    Stage("teacher", "full"),
    Stage("split", "split", {"teacher": 1.0}),
    Stage("ce", "row"),
    Stage("both", "ensemble", members={"teacher": 1.0, "ce": 1.0}),
    Stage("kd", "row", {"both": 0.5, "split": 0.5}),
    Stage("warm", "row", start="teacher"),
)
TINY = Recipe(
    "tiny",
    DataSpec(train_images=128),
    NetworkSpec("plain", 5),
    STAGES,
    training=Training(epochs=2, batch=32, learning_rate=0.05),
    seeds=2,
)


def tiny(**changes):
    return msgspec.structs.replace(TINY, **changes)


def weights(folder):
    return {path.name: read_arrays(path) for path in sorted((folder / "weights").rglob("*.safetensors"))}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].keys() == other[name].keys()
        for key in one[name]:
            assert np.array_equal(one[name][key], other[name][key]), (name, key)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny recipe, run in this process; its folder, outcome and progress. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("run")
    seen = []
    outcome = run.run(TINY, folder, workers=1, on_progress=seen.append)
    return folder, outcome, seen


@pytest.fixture
def own_copy(finished, tmp_path):
    """A run folder that a test may spoil."""
    for path in finished[0].rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(finished[0])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


def test_a_run_leaves_weights_and_records(finished):
    folder, outcome, _ = finished
    assert [(record.stage, record.seed) for record in outcome.records] == [
        (stage.name, seed) for stage in STAGES for seed in (0, 1)
    ]
    for record in outcome.records:
        stem = folder / "weights" / f"{record.stage}-{record.seed}"
        assert stem.with_suffix(".json").is_file()
        assert stem.with_suffix(".safetensors").is_file() == (record.stage != "both")
        assert len(record.loss) == (0 if record.stage == "both" else 2)
        assert record.head == (outcome.head if record.stage in ("ce", "kd", "warm") else "global")
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_progress_tells_every_epoch(finished):
    _, _, seen = finished
    assert len(seen) == run.expected_epochs(TINY)
    assert {(p.stage, p.seed, p.head) for p in seen if p.stage == "ce"} == {
        ("ce", seed, head) for seed in (0, 1) for head in ("rows", "global")
    }
    assert all(p.epoch <= p.epochs and 0 <= p.validation_accuracy <= 1 for p in seen)


def test_the_head_with_the_best_mean_validation_accuracy_is_chosen(finished):
    folder, outcome, _ = finished
    means = {}
    for head in ("rows", "global"):
        records = [json.loads((folder / f"weights/heads/ce-{head}-{seed}.json").read_text()) for seed in (0, 1)]
        means[head] = sum(record["validation"][-1] for record in records) / 2
    assert outcome.head == ("rows" if means["rows"] >= means["global"] else "global")


def test_two_processes_give_the_same_bits_as_one(finished, tmp_path):
    seen = []
    outcome = run.run(TINY, tmp_path, workers=2, on_progress=seen.append)
    assert_equal_weights(weights(tmp_path), weights(finished[0]))
    assert outcome.records == finished[1].records
    assert sorted(map(but_speed, seen)) == sorted(map(but_speed, finished[2]))
    assert [line.loss for line in log.read(tmp_path / "log.jsonl")] == [progress.loss for progress in seen]


def but_speed(progress):
    return repr(msgspec.structs.replace(progress, images_per_second=None))


def test_a_seed_is_the_same_alone_and_beside_others(finished, tmp_path):
    recipe = tiny(seeds=1, stages=STAGES[:2])
    run.run(recipe, tmp_path, seed=1, workers=1)
    for name in ("teacher-1", "split-1"):
        path = f"weights/{name}.safetensors"
        assert (tmp_path / path).read_bytes() == (finished[0] / path).read_bytes()
    assert (finished[0] / "weights/teacher-0.safetensors").read_bytes() != (
        finished[0] / "weights/teacher-1.safetensors"
    ).read_bytes()


def test_a_finished_run_trains_nothing(own_copy, finished):
    seen = []
    outcome = run.run(TINY, own_copy, workers=1, on_progress=seen.append)
    assert seen == []
    assert outcome.records == finished[1].records


def test_a_run_goes_on_with_what_is_missing(own_copy, finished):
    for suffix in (".json", ".safetensors"):
        (own_copy / f"weights/split-0{suffix}").unlink()
    seen = []
    run.run(TINY, own_copy, workers=1, on_progress=seen.append)
    assert {(p.stage, p.seed) for p in seen} == {("split", 0)}
    assert_equal_weights(weights(own_copy), weights(finished[0]))


def test_a_changed_stage_is_trained_again_and_others_are_not(own_copy):
    softer = msgspec.structs.replace(STAGES[1], temperature=8.0)
    seen = []
    run.run(tiny(stages=(STAGES[0], softer, *STAGES[2:])), own_copy, workers=1, on_progress=seen.append)
    assert {p.stage for p in seen} == {"split", "kd"}


def test_another_seed_more_keeps_the_first_ones(own_copy):
    seen = []
    run.run(tiny(seeds=3), own_copy, workers=1, on_progress=seen.append)
    assert {p.seed for p in seen if p.stage in ("teacher", "split")} == {2}


def test_a_damaged_record_is_made_again(own_copy, finished):
    (own_copy / "weights/kd-1.json").write_text("{")
    seen = []
    run.run(TINY, own_copy, workers=1, on_progress=seen.append)
    assert {(p.stage, p.seed) for p in seen} == {("kd", 1)}
    assert_equal_weights(weights(own_copy), weights(finished[0]))


def test_test_accuracies_are_measured_once(own_copy):
    first = run.accuracies_on_test(own_copy)
    module = checkpoint.load_module(TINY, own_copy, "both", 1)
    assert first["both"][1] == accuracy(module, data_sets.load(TINY.data).test)
    kept = (own_copy / "test.json").read_bytes()
    (own_copy / "weights/kd-0.safetensors").unlink()
    assert run.accuracies_on_test(own_copy) == first
    assert (own_copy / "test.json").read_bytes() == kept


def test_summary_has_mean_and_sample_deviation():
    found = run.summary({"a": [0.5, 0.7, 0.9], "b": [0.25]})
    assert found["a"].mean == pytest.approx(0.7)
    assert found["a"].deviation == pytest.approx(0.2)
    assert found["b"] == run.Spread(0.25, None)


def test_modules_come_back_in_evaluation_mode_with_their_weights(finished):
    folder, outcome, _ = finished
    module = checkpoint.load_module(TINY, folder, "kd", 0)
    assert not module.training
    data = data_sets.load(TINY.data)
    assert accuracy(module, data.validation) == outcome.validation["kd"][0]


def test_inputs_are_exactly_integers_over_256():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(to_input(pixels).flatten() * 256, torch.arange(256.0))


def spoil(own_copy, change):
    path = own_copy / "weights/teacher-0.safetensors"
    arrays = read_arrays(path)
    change(arrays)
    write_arrays(path, arrays)
    return path


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda arrays: arrays.pop("stem.weight"),
            "the tensor stem.weight is missing; remove the file and distil again",
        ),
        (
            lambda arrays: arrays.update(extra=np.zeros(1, np.float32)),
            "the tensor extra belongs to another network; remove the file and distil again",
        ),
        (
            lambda arrays: arrays.update({"bn.weight": np.zeros(3, np.float32)}),
            "bn.weight is torch.float32 [3], wanted is torch.float32 [16]; remove the file and distil again",
        ),
    ],
)
def test_weights_of_another_network_are_refused(own_copy, change, sentence):
    path = spoil(own_copy, change)
    with pytest.raises(BadInput) as error:
        checkpoint.load_module(TINY, own_copy, "teacher", 0)
    assert str(error.value) == f"{path}: {sentence}"


def test_a_damaged_checkpoint_is_told_also_from_a_worker(own_copy):
    path = own_copy / "weights/teacher-0.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    for seed in (0, 1):
        (own_copy / f"weights/split-{seed}.json").unlink()
    with pytest.raises(BadInput, match=f"^{path}: not a whole safetensors file"):
        run.run(TINY, own_copy, workers=2)


def test_a_loss_that_is_not_finite_stops_with_a_cure(tmp_path):
    recipe = tiny(training=Training(epochs=2, batch=32, learning_rate=1e30), stages=STAGES[:1], seeds=1)
    with pytest.raises(BadInput) as error:
        run.run(recipe, tmp_path, workers=1)
    message = str(error.value)
    assert message.startswith("stage teacher, seed 0: the loss is ")
    assert message.endswith("; try a training.learning_rate below 1e+30")
    assert not list(tmp_path.glob("weights/*"))


def flat_factory(classes, channels, rows, cols):
    convolution = torch.nn.Conv2d(channels, 2, 3, stride=2, padding=1)
    return torch.nn.Sequential(convolution, torch.nn.Flatten(), torch.nn.Linear(2 * rows * cols // 4, classes))


def wordy_factory(classes, channels, rows, cols):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * rows * cols, classes + 1))


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        (
            "flat_factory",
            "network: its row form cannot take an image of 1 channels, 8 rows and 8 cols (mat1 and mat2 shapes cannot "
            "be multiplied (1x64 and 32x10)); filters and strides change the rows, so end with a mean over rows "
            "and cols",
        ),
        ("wordy_factory", "network: its full form gives [1, 11] for one image, wanted are logits [1, 10]"),
    ],
)
def test_networks_are_tried_before_any_training(tmp_path, factory, sentence):
    network = NetworkSpec(factory=f"{__name__}:{factory}")
    recipe = tiny(network=network, student=StudentSpec(heads=("global",)), stages=(STAGES[0], STAGES[2]))
    with pytest.raises(BadInput) as error:
        run.run(recipe, tmp_path, workers=2)
    assert str(error.value) == sentence
    assert not list(tmp_path.glob("weights/*"))


def flat_loss(student, teacher, labels, temperature):
    return torch.tensor(1.0)


def squared(student, teacher, labels, temperature):
    return ((student - teacher) / temperature).square().sum(dim=1).mean()


def test_losses_of_ones_own_are_tried_before_any_training(tmp_path):
    def recipe(loss):
        kd = Stage("kd", "row", {"teacher": 1.0}, method=f"{__name__}:{loss}")
        return tiny(student=StudentSpec(heads=("global",)), stages=(STAGES[0], kd))

    with pytest.raises(BadInput) as error:
        run.run(recipe("flat_loss"), tmp_path, workers=2)
    assert str(error.value) == (
        f"method {__name__}:flat_loss has no gradient by the student's logits; wanted are torch's operations"
    )
    assert not list(tmp_path.glob("weights/*"))
    trained = run.run(recipe("squared"), tmp_path / "own", workers=1)
    assert set(trained.validation) == {"teacher", "kd"}
    assert list((tmp_path / "own" / "weights").glob("kd-*.safetensors"))


def test_folders_that_are_no_runs_are_told(tmp_path):
    with pytest.raises(BadInput) as error:
        run.outcome(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no run here (recipe.json is missing); make one with: pacemaker distill RECIPE --out {tmp_path}"
    )


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "steps"])
def test_every_schedule_ends_lower_than_it_was(schedule):
    rates = learning_rates(Training(epochs=8, schedule=schedule), steps=5)
    assert len(rates) == 40
    assert max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[-1] < 0.01 * 1.01
    assert all(math.isfinite(rate) for rate in rates)


def test_a_batch_too_small_for_a_batch_norm_is_told(tmp_path):
    import torch
    from torch import nn

    from distill import train
    from distill.methods import Stage
    from distill.recipe import Training

    data = data_sets.load(TINY.data)
    pooled = nn.AdaptiveAvgPool2d(1)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), pooled, nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 10))
    with torch.random.fork_rng(devices=[]), pytest.raises(BadInput) as error:
        train.train(Stage("a", "full"), module, data, Training(epochs=1, batch=1), [], 0, who="stage a")
    assert str(error.value) == (
        "stage a: a batch norm found one value a channel, of one image of 1x1, and wants two or more; "
        "set training.batch to 2 or more"
    )


def test_a_record_without_an_accuracy_is_told(tmp_path):
    path = tmp_path / "ce-0.json"
    path.write_text(
        '{"stage": "ce", "seed": 0, "head": "global", "loss": [], "validation": [], "fingerprint": "0123456789abcdef"}'
    )
    with pytest.raises(BadInput) as error:
        read_json(path, checkpoint.Record)
    assert str(error.value) == f"{path}: stage ce, seed 0: its record has no accuracy; remove it"


def test_a_second_process_in_the_same_folder_is_told(tmp_path):
    with alone(tmp_path, "held"), pytest.raises(BadInput) as error:
        run.run(TINY, tmp_path, workers=1)
    assert str(error.value) == (
        f"{tmp_path}: another process trains here; wait until it is over, or name another folder"
    )
