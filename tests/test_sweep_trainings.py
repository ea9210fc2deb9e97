"""Designs as trainings: each done once, whatever asks for it, and what fails does not stop the others."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from distill import recipe as recipes
from distill import run as distillation
from distill.data import DataSpec
from distill.networks import NetworkSpec
from distill.plans import Chain
from distill.recipe import Quantisation, Recipe, Stage, StudentSpec, Training, fingerprint
from hw import student
from hw.errors import BadInput, Interrupted, UnsupportedLayer
from hw.files import read_json
from reports import students
from reports.sweep import columns, pool, subjects, trainings
from reports.sweep.designs import Design
from sim.run import named

ROOT = Path(__file__).parents[1]
BASE = Recipe(
    "base",
    DataSpec("digits", train_images=120),
    NetworkSpec("plain", 5),
    (Stage("ce", "row"),),
    training=Training(epochs=2, batch=30),
    quantisation=Quantisation(epochs=1),
    seeds=2,
)


def design(pacemaker: str = "none", **others: object) -> Design:
    sizes: dict[str, object] = {"family": "plain", "depth": 5, "students": 1, "pacemaker": pacemaker}
    return Design(**(sizes | others)).plain  # type: ignore[arg-type]


def network_columns(made: subjects.Made) -> dict[str, str]:
    """Text, since NaN does not equal itself."""
    return {each.name: repr((subject.key, subject.columns)) for each, subject in made.subjects.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subjects.Made]:
    """A pool with a student alone and one taught by an ensemble, in 8 and 4 bits."""
    folder = tmp_path_factory.mktemp("sweep") / "trained"
    designs = [design(pacemaker, bits=bits) for pacemaker in ("none", "logits") for bits in (8, 4)]
    return folder, subjects.make(designs, BASE, folder, workers=1)


@pytest.mark.parametrize(
    ("asked", "stages"),
    [
        (design(), ["ce row"]),
        (design("teacher"), ["teacher full", "kd row"]),
        (design("logits"), ["teacher full", "ce row", "logits ensemble", "logits-pacemaker row"]),
        (
            Design(),
            ["teacher full", "ce row", "ce-2 row", "ce-3 row", "logits-3 ensemble", "logits-3-pacemaker row"],
        ),
        (design("set", students=2), ["teacher full", "ce row", "ce-2 row", "set-2-pacemaker row"]),
        (design("split", schedule="joint"), ["teacher full", "split split", "split-joint row"]),
        (design("early", schedule="teacher"), ["teacher full", "kd row"]),
        (design("logits", filters="full"), ["teacher full"]),
    ],
)
def test_a_design_has_the_stages_that_it_needs_and_no_other(asked: Design, stages: list[str]) -> None:
    recipe, stage = trainings.recipe_of(asked, BASE)
    assert [f"{each.name} {each.kind}" for each in recipe.stages] == stages
    assert stage == recipe.stages[-1].name


def test_a_design_is_trained_as_the_chain_of_a_recipe_is() -> None:
    asked = Design("wrn", 16, 2, n=5, rows="mean", head="rows", stem="full", pacemaker="sum", schedule="sequential")
    asked = msgspec.structs.replace(asked, alpha=0.9, temperature=2.0, bits=6)
    digits = recipes.load("digits")
    recipe, stage = trainings.recipe_of(asked, digits, epochs=7, seeds=4)
    by_hand = Recipe(
        "another-name",
        digits.data,
        NetworkSpec("wrn", 16, 2),
        student=StudentSpec(5, "mean", ("rows",), "full"),
        training=msgspec.structs.replace(digits.training, epochs=7),
        chain=Chain("sum", "sequential", alpha=0.9, temperature=2.0),
    )
    for name in ("teacher", "sum", stage):
        assert fingerprint(recipe, name, "rows", 3) == fingerprint(by_hand, name, "rows", 3)
    assert (stage, recipe.seeds, recipe.quantisation) == ("sum-sequential", 4, Quantisation(6))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (design("splitt"), "chain: pacemaker 'splitt' is unknown; wanted is one of "),
        (design("split", schedule="jiont"), "chain: schedule 'jiont' is unknown; wanted is one of "),
        (msgspec.structs.replace(design(), family="wrm"), "networks: family 'wrm' is unknown; wanted is one of "),
        (design("split", alpha=1.5), "chain: alpha is 1.5, wanted is 0 to 1"),
    ],
)
def test_a_word_that_nobody_knows_stops_the_sweep(asked: Design, sentence: str, tmp_path: Path) -> None:
    for ask in (trainings.plan, trainings.train, subjects.make):
        with pytest.raises(BadInput) as told:
            ask([design(), asked], BASE, tmp_path)
        assert str(told.value).startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_a_factory_is_refused(tmp_path: Path) -> None:
    own = msgspec.structs.replace(BASE, network=NetworkSpec(factory="nets:small"))
    with pytest.raises(BadInput) as told:
        trainings.train([design()], own, tmp_path)
    assert str(told.value) == (
        "recipe base: its network is the factory nets:small, but a sweep's networks have a family, a depth and a "
        "width; wanted is a recipe with a family: wrn, resnet, vgg, plain"
    )


def test_nothing_is_trained_twice(trained: tuple[Path, subjects.Made]) -> None:
    folder, made = trained
    of_all = [design(pacemaker, bits=bits) for pacemaker in ("none", "logits", "teacher") for bits in (8, 4, 6)]
    # There are ce, teacher and logits-pacemaker; kd is missing, and 6 bits of all but kd, and kd in 8, 4 and 6 bits.
    plan = trainings.plan(of_all, BASE, folder)
    assert (plan.trainings, plan.trainings_there) == (2, 6)
    assert (plan.quantisations, plan.quantisations_there) == (2 * (2 + 3), 8)
    assert plan.seconds > 0
    plan = trainings.plan([design("teacher", bits=6)], BASE, folder, seeds=1, twins=False)
    assert (plan.trainings, plan.trainings_there, plan.quantisations) == (1, 1, 0)
    told: list[pool.Event] = []
    again = subjects.make(list(made.subjects), BASE, folder, on_progress=told.append)
    assert told == []
    assert network_columns(again) == network_columns(made)
    assert trainings.plan(list(made.subjects), BASE, folder).seconds == 0
    assert trainings.plan([design()], BASE, folder / "nowhere").seconds > 0


def test_another_sweep_trains_what_is_new_alone(trained: tuple[Path, subjects.Made], tmp_path: Path) -> None:
    told: list[pool.Event] = []
    by_teacher = design("teacher")
    outcome = trainings.train([by_teacher], BASE, trained[0], workers=1, seeds=1, on_progress=told.append)[0]
    assert [type(event).__name__ for event in told] == ["Epoch", "Epoch", "Done"]
    assert told[-1] == pool.Done(told[-1].key, "kd", 0, None, "plain-5-1 1x3 keep rows", number=1, of=1)
    assert [curve.seed for curve in outcome.curves] == [0]
    assert outcome.accuracy == outcome.curves[0].validation[-1]
    alone = trainings.train([by_teacher], BASE, tmp_path, workers=1, seeds=1)
    assert alone == (outcome,)


def test_a_design_has_the_integers_that_a_run_makes(
    trained: tuple[Path, subjects.Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = trained
    asked = design("logits", bits=4)
    recipe, stage = trainings.recipe_of(asked, BASE)
    distillation.run(recipe, tmp_path, workers=1)
    monkeypatch.setattr(students, "best_student", lambda recipe, folder: recipe.stage(stage))
    twins = students.make(tmp_path)
    subject = made.subjects[asked]
    assert subject.columns["accuracy"] == pytest.approx(np.mean(twins.validation), abs=1e-12)
    assert subject.columns["test_accuracy"] == pytest.approx(np.mean(twins.test), abs=1e-12)
    by_run = student.load(tmp_path / "student")
    by_sweep = student.load(made.students[subject.key])
    assert by_sweep.provenance == by_run.provenance
    assert by_sweep.formats == by_run.formats
    assert all(np.array_equal(by_sweep.integers[name], by_run.integers[name]) for name in by_run.integers)
    assert np.array_equal(by_sweep.outputs, by_run.outputs[: pool.TEST_VECTORS])
    records = distillation.outcome(tmp_path).validation[stage]
    assert [curve.validation[-1] for curve in made.curves[subject.key]] == records
    given = subjects.given([str(tmp_path)])
    assert given.subjects[0].key == subject.key
    assert given.subjects[0].columns["accuracy"] == subject.columns["accuracy"]
    assert given.subjects[0].columns["seeds"] == 2


def test_a_subject_has_every_column(trained: tuple[Path, subjects.Made]) -> None:
    _, made = trained
    for asked, subject in made.subjects.items():
        assert list(subject.columns) == [column.name for column in columns.NETWORK]
        for column in columns.NETWORK:
            assert isinstance(subject.columns[column.name], str) == (column.type == "text")
        assert subject.columns["bits"] == asked.bits
        assert subject.student is not None
        assert len(subject.student.images) == 0
    alone, taught = (made.subjects[each] for each in (design(), design("logits")))
    assert (alone.columns["pacemaker"], alone.columns["schedule"]) == ("none", "")
    assert math.isnan(float(alone.columns["temperature"]))
    assert (taught.columns["schedule"], taught.columns["temperature"]) == ("pacemaker", 4.0)
    assert len({subject.key for subject in made.subjects.values()}) == 4


def test_a_design_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = students.check_traceable

    def check(recipe: Recipe) -> None:
        if recipe.student.n == 5:
            raise UnsupportedLayer("layer stem: five is right out")
        checked(recipe)

    monkeypatch.setattr(students, "check_traceable", check)
    hopeless = design("teacher", temperature=1e-45)
    wrong = [msgspec.structs.replace(design(), depth=6), design(n=5), hopeless]
    told: list[pool.Event] = []
    made = subjects.make([*wrong, design()], BASE, tmp_path, seeds=1, workers=1, on_progress=told.append)
    assert list(made.subjects) == [design()]
    assert made.failed[wrong[0]] == "network: plain has no depth 6; wanted is 3m+2 with m of 1 or more"
    assert made.failed[wrong[1]] == "layer stem: five is right out"
    assert made.failed[hopeless].startswith("stage kd, seed 0: the loss is nan in epoch 1, step 1; try a training.")
    assert [event.reason for event in told if isinstance(event, pool.Failed)] == [made.failed[hopeless]]
    outcomes = trainings.train([hopeless, design()], BASE, tmp_path, seeds=1, workers=1)
    assert [bool(each.reason) for each in outcomes] == [True, False]


def test_what_a_failed_training_was_for_fails_by_its_reason(tmp_path: Path) -> None:
    hopeless = design("split", temperature=1e-45)
    outcome = trainings.train([hopeless], BASE, tmp_path, seeds=1, workers=1)[0]
    assert outcome.reason.startswith("stage split, seed 0: the loss is nan in epoch 1")
    assert outcome.curves == ()


def test_stopped_by_ctrl_c_it_goes_on_with_the_next_epoch(trained: tuple[Path, subjects.Made], tmp_path: Path) -> None:
    def stop(event: pool.Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as told:
        subjects.make([design()], BASE, tmp_path, workers=1, on_progress=stop)
    assert str(told.value) == f"{tmp_path}: stopped; finished epochs are kept, and the same command goes on"
    events: list[pool.Event] = []
    made = subjects.make([design()], BASE, tmp_path, workers=1, on_progress=events.append)
    epochs = [(event.progress.seed, event.progress.epoch) for event in events if isinstance(event, pool.Epoch)]
    assert epochs == [(0, 2), (1, 1), (1, 2)]
    assert network_columns(made)[design().name] == network_columns(trained[1])[design().name]
    assert not any((tmp_path / ".work").iterdir())


def test_one_sweep_at_a_time_and_what_a_killed_one_left_is_cleared(tmp_path: Path) -> None:
    torn = tmp_path / ".0123456789abcdef.x1y2"
    (torn / "new").mkdir(parents=True)
    with pool.held(tmp_path):
        assert not torn.exists()
        with pytest.raises(BadInput) as told:
            trainings.train([design()], BASE, tmp_path)
    assert str(told.value) == (
        f"{tmp_path}: another sweep is training here; wait until it is over, or name another folder"
    )


def test_a_folder_that_cannot_be_written_stops_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise BadInput("weights: cannot be written (No space left on device)") from OSError(28, "No space left")

    monkeypatch.setattr(pool, "perform", full)
    with pytest.raises(BadInput, match="No space left on device"):
        trainings.train([design()], BASE, tmp_path, workers=1)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"file: cannot be made a folder \(File exists\)$"):
        trainings.train([design()], BASE, tmp_path / "file", workers=1)
    for wrong, sentence in (({"workers": 0}, "workers is 0"), ({"device": "abacus"}, "device 'abacus'")):
        with pytest.raises(BadInput, match=sentence):
            trainings.train([design()], BASE, tmp_path / "new", **wrong)


def test_given_networks_are_taken_as_they_are_without_torch() -> None:
    program = (
        "import json, sys\n"
        "from reports.sweep import subjects\n"
        "found = subjects.given(['resnet-20-1x3', 'wrn-16-2'])\n"
        "assert 'torch' not in sys.modules\n"
        "print(json.dumps([{**s.columns, 'key': s.key} for s in found.subjects]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ}, cwd=ROOT
    )
    rows = json.loads(ran.stdout)
    assert [row["network"] for row in rows] == ["resnet-20-1x3", "wrn-16-2"]
    network, _ = named("wrn-16-2")
    assert rows[1]["role"] == "given"
    assert rows[1]["macs"] == network.macs == 101_118_464
    assert math.isnan(rows[1]["accuracy"])
    with pytest.raises(BadInput, match="wrn-16-x"):
        subjects.given(["wrn-16-x"])


def test_a_student_without_a_run_has_no_accuracy(trained: tuple[Path, subjects.Made]) -> None:
    _, made = trained
    subject = made.subjects[design()]
    found = subjects.given([str(made.students[subject.key])])
    assert found.subjects[0].key == subject.key
    assert math.isnan(float(found.subjects[0].columns["accuracy"]))
    assert found.curves == {}
    assert read_json(made.students[subject.key] / "student.json", dict)["provenance"]["stage"] == "ce"
