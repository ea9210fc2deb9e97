import msgspec
import pytest

from distill import recipe as recipes
from distill import run
from distill.data import DataSpec
from distill.methods import Phase, Stage
from distill.networks import NetworkSpec
from distill.plans import SCHEDULES, Chain, stages_of
from distill.recipe import Recipe, Training
from hw.errors import BadInput

PRESETS = ("digits-methods", "digits-pacemakers", "digits-schedules")
THIRD = 1 / 3
SPLIT = Chain(pacemaker="split", schedule="joint", students=1)
DENSE = msgspec.structs.replace(SPLIT, schedule="dense", temperature=9.0)


def student(**fields):
    return stages_of(msgspec.structs.replace(SPLIT, **fields))[-1]


def test_without_a_word_the_logits_of_the_teacher_and_three_students_teach():
    made = stages_of(Chain())
    names = ["teacher", "ce", "ce-2", "ce-3"]
    assert [stage.name for stage in made] == [*names, "logits-3", "logits-3-pacemaker"]
    assert made[4].members == dict.fromkeys(names, 0.25)
    assert (made[5].teachers, made[5].alpha, made[5].temperature) == ({"logits-3": 1.0}, 0.5, 4.0)


@pytest.mark.parametrize(
    ("fields", "name", "teachers"),
    [
        ({"schedule": "teacher"}, "kd", {"teacher": 1.0}),
        ({"schedule": "pacemaker"}, "split-pacemaker", {"split": 1.0}),
        ({"schedule": "joint", "weight": 0.75}, "split-joint", {"split": 0.75, "teacher": 0.25}),
        ({"schedule": "dense"}, "split-dense", {"teacher": 1.0, "split": 1.0}),
        ({"pacemaker": "logits", "schedule": "pacemaker"}, "logits-pacemaker", {"logits": 1.0}),
        ({"pacemaker": "logits", "students": 2}, "logits-2-joint", {"logits-2": 0.5, "teacher": 0.5}),
        (
            {"pacemaker": "set", "schedule": "pacemaker", "students": 2},
            "set-2-pacemaker",
            {"teacher": THIRD, "ce": THIRD, "ce-2": THIRD},
        ),
        ({"pacemaker": "set"}, "set-joint", {"teacher": 0.75, "ce": 0.25}),
        ({"pacemaker": "set", "schedule": "dense"}, "set-dense", {"teacher": 1.0, "ce": 1.0}),
        (
            {"pacemaker": "early", "method": "dkd", "start": "row"},
            "early-joint-dkd-row",
            {"early": 0.5, "teacher": 0.5},
        ),
        ({"schedule": "teacher", "method": "dkd", "standardise": True}, "dkd-standardised", {"teacher": 1.0}),
        ({"name": "mine"}, "mine", {"split": 0.5, "teacher": 0.5}),
    ],
)
def test_a_schedule_gives_the_student_these_teachers(fields, name, teachers):
    found = student(**fields)
    assert (found.name, found.kind) == (name, "row")
    assert found.teachers == pytest.approx(teachers)
    assert found.drop == (1 if fields.get("schedule") == "dense" else 0)
    assert not found.phases


def test_sequential_is_two_phases():
    found = student(pacemaker="sum", schedule="sequential", share=0.75)
    assert found.phases == (Phase(0.75, {"sum": 1.0}), Phase(0.25, {"teacher": 1.0}))
    assert found.name == "sum-sequential"


@pytest.mark.parametrize("kind", ["split", "sum", "alternate", "early", "late"])
def test_a_trained_pacemaker_learns_from_the_teacher(kind):
    made = stages_of(Chain(pacemaker=kind, schedule="joint", temperature=2.0, alpha=0.9, method="dkd"))
    assert made[:2] == [Stage("teacher", "full"), Stage("ce", "row")]
    assert made[2] == Stage(kind, kind, {"teacher": 1.0}, temperature=2.0, alpha=0.9)
    assert len(made) == 4


def test_a_committee_has_the_teacher_and_so_many_students():
    made = stages_of(Chain(pacemaker="logits", schedule="joint", students=3))
    assert [stage.name for stage in made] == ["teacher", "ce", "ce-2", "ce-3", "logits-3", "logits-3-joint"]
    assert made[4] == Stage("logits-3", "ensemble", members=dict.fromkeys(["teacher", "ce", "ce-2", "ce-3"], 0.25))


def test_takd_learns_from_the_one_above_and_dgkd_from_all_above():
    takd = stages_of(Chain(pacemaker=("sum", "late", "split"), schedule="pacemaker"))
    assert {stage.name: list(stage.teachers) for stage in takd[2:]} == {
        "sum": ["teacher"],
        "sum-late": ["sum"],
        "sum-late-split": ["sum-late"],
        "sum-late-split-pacemaker": ["sum-late-split"],
    }
    dgkd = stages_of(Chain(pacemaker=("sum", "late", "split"), schedule="dense"))
    above = ["teacher", "sum", "sum-late-dense", "sum-late-split-dense"]
    assert [list(stage.teachers) for stage in dgkd[2:]] == [above[:count] for count in (1, 2, 3, 4)]
    assert [stage.drop for stage in dgkd[2:]] == [0, 1, 1, 1]
    assert [stage.kind for stage in dgkd[2:]] == ["sum", "late", "split", "row"]


@pytest.mark.parametrize(
    ("fields", "start", "part"),
    [
        ({}, None, "middle"),
        ({"start": "middle"}, "teacher", "middle"),
        ({"start": "row"}, "split", "row"),
        ({"start": "row", "schedule": "teacher"}, "split", "row"),
        ({"start": "row", "pacemaker": "logits"}, "ce", "middle"),
        ({"start": "row", "pacemaker": "set"}, "ce", "middle"),
    ],
)
def test_a_student_starts_from(fields, start, part):
    found = student(**fields)
    assert (found.start, found.start_part) == (start, part)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"pacemaker": "spilt"},
            "chain: pacemaker 'spilt' is unknown; wanted is one of split, sum, alternate, early, late, logits, set; "
            "did you mean split?",
        ),
        (
            {"pacemaker": ("sum", "logits")},
            "chain: pacemaker logits is one of several, wanted are trained ones: split, sum, alternate, early, late",
        ),
        ({"pacemaker": ()}, "chain: pacemaker is an empty list, wanted is one or more"),
        (
            {"schedule": "both"},
            "chain: schedule 'both' is unknown; wanted is one of teacher, pacemaker, joint, sequential, dense",
        ),
        ({"start": "rows"}, "chain: start 'rows' is unknown; wanted is one of scratch, middle, row; did you mean row?"),
        ({"weight": 1.0}, "chain: weight is 1.0, wanted is 0.01 to 0.99"),
        ({"students": 0}, "chain: students is 0, wanted is 1 to 100"),
        ({"students": 10**9}, "chain: students is 1000000000, wanted is 1 to 100"),
        ({"beta": 2.0}, "chain: beta is of the method dkd only, found is kd"),
        ({"temperature": 0.0}, "chain: temperature is 0.0, wanted is above 0"),
    ],
)
def test_chains_are_checked_at_birth(fields, sentence):
    with pytest.raises(BadInput) as error:
        Chain(**fields)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "logits-3-pacemaker-squared-error"),
        ({"schedule": "teacher"}, "squared-error"),
        ({"pacemaker": "split", "schedule": "joint"}, "split-joint-squared-error"),
    ],
)
def test_the_students_name_has_the_function_of_a_loss_of_ones_own(fields, name):
    assert stages_of(Chain(method="mine.losses:_Squared_Error", **fields))[-1].name == name


def recipe(chain, *stages):
    return Recipe("trial", DataSpec(), NetworkSpec("wrn", 10), stages, chain=chain)


def test_a_recipe_writes_its_chain_out_into_stages():
    made = recipe(SPLIT, Stage("more", "row", {"split-joint": 1.0}))
    assert [stage.name for stage in made.stages] == ["teacher", "ce", "split", "split-joint", "more"]
    assert made.chain == ()
    assert msgspec.json.decode(msgspec.json.encode(made), type=Recipe) == made


def test_chains_share_their_stages_and_a_written_stage_takes_its_namesakes_place():
    own = Stage("split", "split")
    made = recipe((SPLIT, DENSE), own)
    assert [stage.name for stage in made.stages] == ["teacher", "ce", "split", "split-joint", "split-dense"]
    assert made.stage("split") == own


def test_chains_that_mean_different_stages_by_one_name_are_told():
    with pytest.raises(BadInput) as error:
        recipe((SPLIT, DENSE))
    assert str(error.value) == (
        "chain: two chains make the stage split differently; give the student a name, or write the stage among the "
        "stages"
    )
    with pytest.raises(BadInput) as error:
        recipe(SPLIT, Stage("split", "split"), Stage("split", "sum"))
    assert str(error.value) == "stage split: the name is given twice"


def test_a_wrong_chain_names_file_and_place(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndata: {name: digits}\nnetwork: {family: plain, depth: 5}\n"
        "chain: {pacemaker: split, schedul: joint}\n"
    )
    with pytest.raises(BadInput) as error:
        recipes.load(str(path))
    assert str(error.value).startswith(f"{path}: Object contains unknown field `schedul` - at `$.chain`")


def test_the_presets_hold_every_reading():
    kinds = {stage.kind for stage in recipes.load("digits-pacemakers").stages}
    assert kinds == {"full", "split", "sum", "alternate", "early", "late", "ensemble", "row"}
    names = [stage.name for stage in recipes.load("digits-schedules").stages]
    assert ["kd", "split", *(f"split-{schedule}" for schedule in SCHEDULES[1:])] == names[2:8]
    methods = {stage.name: stage for stage in recipes.load("digits-methods").stages}
    assert {"ce", "kd", "dkd", "takd", "dgkd", "kd-standardised", "dkd-standardised"} <= set(methods)
    assert list(methods["dgkd"].teachers) == ["teacher", "sum", "sum-split-dense"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_reading_runs(name, tmp_path):
    preset = recipes.load(name)
    dry = msgspec.structs.replace(
        preset,
        data=DataSpec(train_images=40),
        network=NetworkSpec("plain", 5),
        training=Training(epochs=1, batch=20, learning_rate=0.01),
        seeds=1,
    )
    outcome = run.run(dry, tmp_path, workers=1)
    assert [record.stage for record in outcome.records] == [stage.name for stage in preset.stages]
    assert all(0 <= record.validation_accuracy <= 1 for record in outcome.records)
    students = [(tmp_path / f"weights/{stage.name}-0.safetensors") for stage in dry.stages if stage.kind == "row"]
    assert len({path.read_bytes() for path in students}) == len(students)
