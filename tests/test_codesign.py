"""The whole chain on a small recipe: real data, real training, a real project, the same bytes twice."""

import json
import shutil
import sys

import msgspec
import numpy as np
import pytest

from distill import recipe as recipes
from distill import run as distillation
from hw import reference, student
from hw.errors import BadInput, UnsupportedLayer
from hw.hls import chain, compiler_available
from reports import candidate, codesign, html, students

pytest.importorskip("hls4ml")
MACHINES = ("pipeline-64", "line-64", "line-64/layer_by_layer")


def small_recipe():
    digits = recipes.load("digits")
    return msgspec.structs.replace(
        digits,
        name="small",
        network=msgspec.structs.replace(digits.network, family="plain", depth=5),
        training=msgspec.structs.replace(digits.training, epochs=3),
        quantisation=msgspec.structs.replace(digits.quantisation, epochs=1),
        seeds=2,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one seed in folders of their own."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for folder, workers in zip(folders, (1, 2), strict=True):
        codesign.codesign(small_recipe(), folder, MACHINES, workers=workers)
    return folders


def test_the_same_seed_gives_the_same_candidates_byte_for_byte(runs):
    first, second = ((folder / "candidates.json").read_bytes() for folder in runs)
    assert first == second


def test_every_stage_and_the_quantised_student_are_candidates_on_every_machine(runs):
    report, record = candidate.read(runs[0])
    stages = [stage.name for stage in small_recipe().stages]
    assert [entry.name for entry in report.candidates] == [*stages, f"{report.chosen.student}-int8"]
    assert {entry.role for entry in report.candidates} == {"teacher", "pacemaker", "student", "quantised student"}
    for entry in report.candidates:
        assert set(entry.results) == set(MACHINES)
        assert [taken.source for taken in entry.resources.values()] == ["estimate"]
        assert len(entry.validation.seeds) == len(entry.test.seeds) == 2
    assert set(record.seconds) == {"distil", "quantise", "generate and compare HLS", "simulate"}


def test_only_networks_with_1xn_filters_keep_no_lines(runs):
    report, _ = candidate.read(runs[0])
    lines = {entry.name: entry.results["pipeline-64"].line_buffer_bytes for entry in report.candidates}
    roles = {entry.name: entry.role for entry in report.candidates}
    assert {name for name, size in lines.items() if size == 0} == {name for name in roles if "student" in roles[name]}


def test_c_simulation_equals_the_reference_on_every_test_image(runs):
    if not compiler_available():
        pytest.skip("no g++")
    report, _ = candidate.read(runs[0])
    assert report.hls is not None
    assert report.hls.exact, str(report.hls)
    assert report.hls.images == report.images["test"]


def test_fake_quantised_torch_equals_the_reference_on_every_test_image(runs):
    twins = msgspec.json.decode((runs[0] / "quantised.json").read_bytes(), type=students.Twins)
    assert set(twins.equal_images) == {twins.test_images}


def test_the_accuracy_of_the_report_is_that_of_the_integers(runs):
    made = student.lifted(student.load(runs[0] / "student"))
    outputs = reference.forward(made, made.images)
    assert np.array_equal(outputs, made.outputs)
    twins = msgspec.json.decode((runs[0] / "quantised.json").read_bytes(), type=students.Twins)
    right = (outputs.reshape(len(outputs), -1).argmax(1) == made.labels).mean()
    assert right == twins.test[twins.seed]


def test_the_best_student_is_chosen_on_validation(runs):
    report, _ = candidate.read(runs[0])
    validation = {entry.name: entry.validation.mean for entry in report.candidates if entry.role == "student"}
    assert validation[report.chosen.student] == max(validation.values())


def test_a_report_on_other_machines_keeps_accuracies_and_the_comparison(runs):
    before, _ = candidate.read(runs[1])
    after = codesign.report(runs[1], ["pipeline-128"])
    assert [entry.test for entry in after.candidates] == [entry.test for entry in before.candidates]
    assert set(after.candidates[0].results) == {"pipeline-128"}
    assert after.hls == before.hls
    assert html.write(runs[1]).stat().st_size > 10_000


def test_a_network_that_does_not_fit_is_told_in_its_row(runs, tmp_path):
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text(
        "machine: line_engine\nname: tiny\npe: 1\nsimd: 1\nline_memory_bytes: 1000\nweight_memory_bytes: 9000\n"
        "dram_bytes_per_cycle: 1.0\ndram_latency_cycles: 0\nclock_mhz: 1.0\n"
    )
    machines = {"tiny": codesign.machine(str(tiny))}
    report = codesign.assemble(runs[0], machines, None, "none")
    unfit = {entry.name for entry in report.candidates if entry.unfit}
    assert "teacher" in unfit
    assert all(entry.unfit["tiny"].startswith("machine tiny: ") for entry in report.candidates if entry.unfit)
    assert any(entry.results for entry in report.candidates)


def test_an_unknown_machine_is_told_before_anything_is_trained(tmp_path):
    with pytest.raises(BadInput, match=r"^machine pipelin-64: no such preset or file; did you mean pipeline-64\?$"):
        codesign.codesign(small_recipe(), tmp_path / "run", ["pipelin-64"])
    assert not (tmp_path / "run").exists()


def test_a_missing_hls4ml_is_told_and_the_rest_goes_on(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "hls4ml", None)
    said = []
    report = codesign.codesign(small_recipe(), runs[1], MACHINES[:1], say=said.append)
    assert said[0] == codesign.NO_HLS4ML
    assert report.hls is None
    assert json.loads((runs[1] / "candidates.json").read_text())["hls_missing"] == codesign.NO_HLS4ML


def test_a_missing_compiler_is_told_first_and_the_project_is_written_all_the_same(runs, monkeypatch):
    monkeypatch.setattr(codesign, "compiler_available", lambda: False)
    monkeypatch.setattr(chain, "compiler_available", lambda: False)
    said = []
    report = codesign.codesign(small_recipe(), runs[1], MACHINES[:1], say=said.append)
    assert said[0] == codesign.NO_COMPILER
    assert said.count(codesign.NO_COMPILER) == 1
    assert (report.hls, report.hls_missing) == (None, codesign.NO_COMPILER)
    assert (runs[1] / "hls" / "firmware").is_dir()


def factory_of(folder, body):
    """A module with a factory, and the recipe that names it."""
    (folder / "mynet.py").write_text(
        "from torch import nn\n\ndef make(classes, channels, rows, cols):\n"
        "    stem = nn.Conv2d(channels, 4, 3, padding=1)\n"
        f"    return nn.Sequential(stem, {body}, nn.Flatten(), nn.Linear(256, classes))\n"
    )
    small = small_recipe()
    network = type(small.network)(factory="mynet:make")
    student_spec = msgspec.structs.replace(small.student, heads=("global",), rows="keep")
    return msgspec.structs.replace(small, network=network, student=student_spec, seeds=1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    yield tmp_path
    sys.modules.pop("mynet", None)


def test_a_layer_that_no_machine_executes_is_told_before_anything_is_trained(here):
    recipe = factory_of(here, "nn.Mish()")
    with pytest.raises(UnsupportedLayer, match=r"^layer 1: mish is not supported; SiLU would do$"):
        codesign.codesign(recipe, here / "run", MACHINES[:1], workers=1)
    assert not (here / "run").exists()


def test_what_hls_alone_cannot_take_leaves_the_report_whole(here):
    recipe = factory_of(here, "nn.ReLU(), nn.MaxPool2d(3, 1, 1)")
    report = codesign.codesign(recipe, here / "run", MACHINES[:1], workers=1)
    assert report.hls is None
    assert report.hls_missing.startswith("no HLS project was made: layer ")
    assert (here / "run" / "candidates.json").is_file()


def test_a_factory_that_fails_is_told(here):
    recipe = factory_of(here, "nn.Nothing()")
    with pytest.raises(BadInput, match=r"^network: factory mynet:make failed \(AttributeError: .*Nothing.*\)$"):
        codesign.codesign(recipe, here / "run", MACHINES[:1], workers=1)


def test_a_run_that_was_trained_anew_gets_a_new_report_without_the_old_comparison(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0], folder)
    assert codesign.report(folder).hls is not None
    other = msgspec.structs.replace(small_recipe(), seeds=1)
    distillation.run(other, folder, seed=9, workers=1)
    made = codesign.report(folder)
    assert made.seeds == (9,)
    assert made.hls is None
