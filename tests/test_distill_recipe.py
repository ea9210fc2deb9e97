import csv
from pathlib import Path

import msgspec
import pytest

from distill import data as data_sets
from distill import own
from distill import recipe as recipes
from distill.data import DATA_SETS, DataSpec
from distill.methods import Phase
from distill.networks import NetworkSpec
from distill.recipe import Recipe, Stage, StudentSpec, Training
from hw.errors import BadInput

TEACHER, CE = Stage("teacher", "full"), Stage("ce", "row")


def make(*stages, **changes):
    return Recipe("trial", DataSpec(), NetworkSpec("wrn", 10), stages, **changes)


@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_presets_load(name):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert name in recipes.presets()
    assert recipe.network == NetworkSpec("wrn", 10, 1)
    assert recipe.seeds == 3
    assert [stage.kind for stage in recipe.stages].count("ensemble") == 1


def test_a_yaml_file_loads(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndata: {name: digits}\nnetwork: {family: plain, depth: 5}\nstages: [{name: teacher, kind: full}]\n"
    )
    assert recipes.load(str(path)).network.family == "plain"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("naem: x", "Object contains unknown field `naem`"),
        ("name: 3", "Expected `str`, got `int` - at `$.name`"),
        ("training: {shedule: cosine}", "Object contains unknown field `shedule` - at `$.training`"),
        (
            "training: {schedule: cosin}",
            "training: schedule 'cosin' is unknown; wanted is one of onecycle, cosine, steps; did you mean cosine? "
            "- at `$.training`",
        ),
        (
            "data: {name: digit}",
            f"data: name 'digit' is unknown; wanted is one of {', '.join(DATA_SETS)} - at `$.data`",
        ),
        ("stages: [{name: a, kind: full, alpha: 1.5}]", "stage a: alpha is 1.5, wanted is 0 to 1 - at `$.stages[0]`"),
        ("name: [", "while parsing a flow node"),
    ],
)
def test_a_wrong_yaml_file_names_file_and_place(tmp_path, text, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as error:
        recipes.load(str(path))
    assert str(error.value).startswith(f"{path}: {sentence}")


def test_an_unknown_preset_is_told_with_the_nearest():
    with pytest.raises(BadInput) as error:
        recipes.load("digit")
    assert str(error.value) == (
        f"recipe 'digit': neither a YAML file nor a preset; presets are {', '.join(recipes.presets())}; "
        "did you mean digits?"
    )
    with pytest.raises(BadInput) as error:
        recipes.load("missing.yaml")
    assert str(error.value) == "missing.yaml: no such file"


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ([], "stages: none found, wanted is one or more"),
        ([TEACHER, TEACHER], "stage teacher: the name is given twice"),
        (
            [TEACHER, Stage("kd", "full", {"techer": 1.0})],
            "stage kd: no stage 'techer', found are teacher, kd; did you mean teacher?",
        ),
        (
            [Stage("kd", "full", {"teacher": 1.0}), TEACHER],
            "stage kd: teacher must stand above it, since it is needed first",
        ),
        ([Stage("own", "full", start="own")], "stage own: own must stand above it, since it is needed first"),
        (
            [TEACHER, Stage("kd", "row", {"teacher": 1.0})],
            "student: several heads want a stage of kind row without teachers and start, to choose by; "
            "add one or give one head",
        ),
    ],
)
def test_stages_that_cannot_run_are_told(stages, sentence):
    with pytest.raises(BadInput) as error:
        make(*stages)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("record", "arguments", "sentence"),
    [
        (
            Stage,
            {"name": "../x", "kind": "row"},
            "stage '../x': wanted is a name of lower-case letters, digits and hyphens",
        ),
        (
            Stage,
            {"name": "a", "kind": "rows"},
            "stage a: kind 'rows' is unknown; wanted is one of full, split, sum, alternate, early, late, row, "
            "ensemble; did you mean row?",
        ),
        (Stage, {"name": "a", "kind": "row", "alpha": -0.1}, "stage a: alpha is -0.1, wanted is 0 to 1"),
        (Stage, {"name": "a", "kind": "row", "alpha": float("nan")}, "stage a: alpha is nan, wanted is 0 to 1"),
        (Stage, {"name": "a", "kind": "row", "temperature": 0.0}, "stage a: temperature is 0.0, wanted is above 0"),
        (
            Stage,
            {"name": "a", "kind": "row", "teachers": {"b": 0.0}},
            "stage a: the weight of b is 0.0, wanted is above 0",
        ),
        (
            Stage,
            {"name": "a", "kind": "ensemble"},
            "stage a: an ensemble wants members, and neither teachers nor start",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "members": {"b": 1.0}},
            "stage a: kind row has no members; wanted is kind ensemble, or teachers",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "method": "dkt"},
            "stage a: method 'dkt' is unknown; wanted is one of kd, dkd; did you mean dkd?",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "beta": 6.0},
            "stage a: beta is of the method dkd only, found is kd",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "method": "dkd", "target": -1.0},
            "stage a: target is -1.0, wanted is 0 or more",
        ),
        (Stage, {"name": "a", "kind": "row", "truth": -0.5}, "stage a: truth is -0.5, wanted is 0 or more"),
        (Stage, {"name": "a", "kind": "row", "warm_up": 2.0}, "stage a: warm_up is 2.0, wanted is 0 to 1"),
        (
            Stage,
            {"name": "a", "kind": "row", "teachers": {"b": 1.0}, "drop": 1},
            "stage a: drop is 1, wanted is less than its number of teachers, 1",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "start_part": "row"},
            "stage a: start_part is row, but it has no start; name a stage there",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "start": "b", "start_part": "top"},
            "stage a: start_part 'top' is unknown; wanted is one of middle, row",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "phases": (Phase(0.5, {"b": 1.0}), Phase(0.25))},
            "stage a: the shares of its phases sum to 0.75, wanted is 1",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "phases": (Phase(1.5), Phase(-0.5))},
            "stage a: the share of a phase is -0.5, wanted is above 0",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "phases": (Phase(1.0, {"b": 0.0}),)},
            "stage a: the weight of b in a phase is 0.0, wanted is above 0",
        ),
        (
            Stage,
            {"name": "a", "kind": "row", "teachers": {"b": 1.0}, "phases": (Phase(1.0, {"c": 1.0}),)},
            "stage a: its phases name the teachers; leave teachers out",
        ),
        (StudentSpec, {"heads": ()}, "student: heads are [], wanted are one or more different ones"),
        (
            StudentSpec,
            {"heads": ("row",)},
            "student: head 'row' is unknown; wanted is one of global, rows; did you mean rows?",
        ),
        (Training, {"epochs": 0}, "training: epochs is 0, wanted is 1 or more"),
        (
            Training,
            {"precision": "float8"},
            "training: precision 'float8' is unknown; wanted is one of float32, bfloat16, float16; did you mean "
            "float32?",
        ),
        (
            Training,
            {"augmentation_seed": "share"},
            "training: augmentation_seed 'share' is unknown; wanted is one of own, shared; did you mean shared?",
        ),
        (Training, {"learning_rate": 0.0}, "training: learning_rate is 0.0, wanted is above 0"),
        (Training, {"momentum": 0.0}, "training: nesterov wants a momentum above 0; set nesterov: false"),
        (DataSpec, {"validation": 1.0}, "data: validation is 1.0, wanted is a share between 0 and 1"),
        (DataSpec, {"rows": 0}, "data: rows is 0, wanted is 1 or more"),
        (recipes.Quantisation, {"bits": 1}, "quantisation: bits is 1, wanted is 2 to 16"),
    ],
)
def test_records_are_checked_at_birth(record, arguments, sentence):
    with pytest.raises(BadInput) as error:
        record(**arguments)
    assert str(error.value) == sentence


def test_an_unknown_stage_is_told():
    with pytest.raises(BadInput) as error:
        make(TEACHER, CE).stage("teach")
    assert str(error.value) == "recipe trial: no stage 'teach', found are teacher, ce; did you mean teacher?"


def test_the_trial_is_the_first_student_without_teachers():
    assert make(TEACHER, Stage("kd", "row", {"teacher": 1.0}), CE).trial == CE
    assert make(TEACHER, CE, student=StudentSpec(heads=("global",))).trial is None


def test_the_fingerprint_changes_with_what_the_weights_depend_on():
    kd = Stage("kd", "row", {"teacher": 1.0})
    recipe = make(TEACHER, CE, kd)

    def stamp(changed, stage="kd", head="rows", seed=0):
        return recipes.fingerprint(changed, stage, head, seed)

    same = [make(TEACHER, kd, CE), make(TEACHER, CE, kd, seeds=5), make(TEACHER, CE, kd, Stage("more", "row"))]
    assert {stamp(other) for other in same} == {stamp(recipe)}
    other_training = make(TEACHER, CE, kd, training=Training(epochs=3))
    other_teacher = make(msgspec.structs.replace(TEACHER, kind="sum"), CE, kd)
    different = [stamp(other_training), stamp(other_teacher), stamp(recipe, head="global"), stamp(recipe, seed=1)]
    assert len({stamp(recipe), *different}) == 5
    assert stamp(recipe, "teacher", "rows") == stamp(recipe, "teacher", "global")


def test_the_fingerprint_changes_with_the_file_of_a_network_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = recipes.load("digits-small")
    mine = msgspec.structs.replace(given, network=NetworkSpec(factory="own_network:build"))
    stage = mine.stages[0].name
    missing = recipes.fingerprint(mine, stage, None, 0)
    (tmp_path / "own_network.py").write_text("def build(classes, channels, rows, cols): ...\n")
    first = recipes.fingerprint(mine, stage, None, 0)
    assert first == recipes.fingerprint(mine, stage, None, 0)
    (tmp_path / "own_network.py").write_text("def build(classes, channels, rows, cols): return None\n")
    assert len({missing, first, recipes.fingerprint(mine, stage, None, 0)}) == 3


def test_the_fingerprint_changes_with_what_such_a_file_imports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = msgspec.structs.replace(recipes.load("digits-small"), network=NetworkSpec(factory="fp_net:build"))
    (tmp_path / "fp_net.py").write_text(
        "import json\nfrom fp_parts import layers\nimport fp_missing\nimport torch.nn\n"
    )
    (tmp_path / "fp_other.py").write_text("not imported")

    def stamps(*changes):
        found = []
        for name, text in changes:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
            found.append(recipes.fingerprint(mine, mine.stages[0].name, None, 0))
        return found

    changed = (
        ("fp_parts/__init__.py", ""),
        ("fp_parts/layers.py", "from . import deep\nfrom .deep import value\n"),
        ("fp_parts/deep.py", "value = 1\n"),
        ("fp_parts/deep.py", "value = 2\nfrom ..fp_parts import layers\n"),
        ("fp_net.py", "from fp_parts import layers\n"),
        ("fp_net.py", "from fp_parts import layers, (\n"),
        ("fp_net.py", "from fp_parts import layers, value\n"),
    )
    assert len(set(stamps(*changed))) == len(changed)
    assert (
        len(set(stamps(changed[-1], ("fp_other.py", "x = 1"), (".venv/lib/site-packages/fp_parts.py", "x = 2")))) == 1
    )


def test_the_packages_around_a_module_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = {
        "fp_outer/__init__.py": "",
        "fp_outer/inner/__init__.py": "",
        "fp_outer/inner/net.py": "from fp_around.part import layer\n",
        "fp_around/__init__.py": "",
        "fp_around/part.py": "layer = 1\n",
    }
    for name, text in first.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [own.digest("fp_outer.inner.net:build")]
    for name, text in first.items():
        (tmp_path / name).write_text(f"{text}changed = True\n")
        found.append(own.digest("fp_outer.inner.net:build"))
    assert len(set(found)) == 1 + len(first)


def test_of_a_library_only_the_functions_file_counts(tmp_path, monkeypatch):
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    (place / "fp_library.py").write_text("import fp_helper\n")
    (place / "fp_helper.py").write_text("")
    first = own.digest("fp_library:build")
    (place / "fp_helper.py").write_text("changed = True\n")
    assert own.digest("fp_library:build") == first
    (place / "fp_library.py").write_text("import fp_helper, os\n")
    assert own.digest("fp_library:build") not in (first, "")
    assert own.digest("fp_nowhere:build") == ""


def test_the_fingerprint_changes_with_images_of_ones_own(tmp_path):
    def stamp(pixel, name="one.npz"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes([pixel]))
        data = DataSpec("arrays", str(file))
        data_sets.digest.cache_clear()
        return recipes.fingerprint(msgspec.structs.replace(make(TEACHER), data=data), "teacher", None, 0)

    assert len({stamp(1), stamp(2), recipes.fingerprint(make(TEACHER), "teacher", None, 0)}) == 3
    assert stamp(1) == stamp(1, "moved.npz")
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / "images" / name).parent.mkdir(parents=True)
        (tmp_path / "images" / name).write_bytes(b"x")
    found = set()
    for name in ("cat/1.png", "cat/2.png", "cat/notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"y")
        data_sets.digest.cache_clear()
        found.add(data_sets.digest(DataSpec("folder", str(tmp_path / "images"))))
    assert len(found) == 2
    with pytest.raises(BadInput, match="no such file"):
        data_sets.digest(DataSpec("arrays", str(tmp_path / "nowhere.npz")))


def test_the_fingerprint_changes_with_a_loss_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kd = Stage("kd", "row", {"teacher": 1.0}, method="fp_losses:squared")

    def stamps():
        return [recipes.fingerprint(make(TEACHER, CE, kd), stage, "rows", 0) for stage in ("kd", "ce")]

    missing = stamps()
    (tmp_path / "fp_losses.py").write_text("def squared(student, teacher, labels, temperature): ...\n")
    found = stamps()
    assert found[0] != missing[0]
    assert found[1] == missing[1]


@pytest.mark.parametrize(
    ("name", "stage", "stamp"),
    [
        ("digits", "teacher", "8898e2295fca4cfb"),
        ("digits", "joint", "d8575bf5bd078325"),
        ("digits-small", "logits-student", "b5dfed470c4e49fd"),
        ("fashion-mnist", "split", "296d0814c594d657"),
    ],
)
def test_later_fields_leave_the_first_releases_weights_valid(name, stage, stamp):
    assert recipes.fingerprint(recipes.load(name), stage, "rows", 0) == stamp


def test_later_fields_change_the_fingerprint_where_they_say_something():
    kd = Stage("kd", "row", {"teacher": 1.0}, start="teacher")
    changes = ({"method": "dkd"}, {"standardise": True}, {"truth": 1.0}, {"warm_up": 0.5}, {"start_part": "row"})
    others = [msgspec.structs.replace(kd, **change) for change in changes]
    phased = Stage("kd", "row", start="teacher", phases=(Phase(0.5), Phase(0.5, {"teacher": 2.0})))
    assert phased.teachers == kd.teachers
    stamps = {recipes.fingerprint(make(TEACHER, CE, stage), "kd", "rows", 0) for stage in (kd, *others, phased)}
    assert len(stamps) == 7
    ways = ({}, {"precision": "bfloat16"}, {"compile": True}, {"augmentation_seed": "shared"})
    recipes_of = [make(TEACHER, CE, kd, training=Training(**way)) for way in ways]
    assert len({recipes.fingerprint(recipe, "kd", "rows", 0) for recipe in recipes_of}) == 4


def test_phases_name_the_teachers_and_what_is_needed():
    stage = Stage("a", "row", phases=(Phase(0.25, {"b": 1.0}), Phase(0.75, {"b": 1.0, "c": 2.0})))
    assert stage.teachers == {"b": 1.0, "c": 1.5}
    assert stage.needs == ("b", "c")
    assert msgspec.structs.replace(stage, alpha=0.9).phases == stage.phases


def test_a_recipe_survives_json_with_phases_and_chains():
    student = Stage("x", "row", phases=(Phase(1 / 3, {"teacher": 0.1}), Phase(2 / 3, {"teacher": 0.7})))
    recipe = make(TEACHER, CE, student)
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe


STUDY = Path(__file__).parents[1] / "docs" / "study"


@pytest.mark.parametrize("path", sorted(STUDY.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_studys_recipes_have_the_stages_of_their_results(path):
    made = recipes.load(str(path))
    if path.with_suffix(".csv").is_file():
        with path.with_suffix(".csv").open(newline="") as file:
            assert {row["stage"] for row in csv.DictReader(file)} == {stage.name for stage in made.stages}
