"""The RTL under Icarus and Verilator against the recurrence (every start cycle) and the reference (every bit)."""

import os
import subprocess

import msgspec
import numpy as np
import pytest
from hls_students import conv, student_of
from random_networks import random_network, random_pipeline
from random_students import random_student

from hw import presets, rtl
from hw.accelerator import Budget, Engine, Fifo, Pipeline
from hw.errors import BadInput
from hw.fixed import Format
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed, fold_affines
from hw.student import lifted
from sim import cosim, folding, rtl_simulators
from sim.pipeline import ALWAYS, Handshakes

MORE = ("table", "upsample")
"""Kinds that not every random student has."""


def needs(simulator):
    """Skip where the simulator is missing, but not in CI."""
    there = rtl_simulators.available(simulator)
    return pytest.mark.skipif(not there and not os.environ.get("CI"), reason=f"{simulator} is not installed")


def pauses(seed, cycles=1500):
    """Seeded random valid and ready, each with its own share of open cycles."""
    rng = np.random.default_rng(seed)
    valid, ready = (rng.random(cycles) < rng.choice([0.2, 0.5, 0.9]) for _ in range(2))
    return Handshakes(valid.astype(np.int64), ready.astype(np.int64))


def expect_exact(student, pipeline, frames=3, handshakes=ALWAYS, simulator="icarus"):
    images = student.images[:frames]
    assert len(images) == frames
    verdict = cosim.check(student, pipeline, images, handshakes=handshakes, simulator=simulator)
    assert verdict.exact, str(verdict)
    return verdict


@needs("icarus")
@pytest.mark.parametrize("seed", range(100))
def test_random_students_are_exact(seed):
    student = random_student(seed, images=3)
    pipeline = random_pipeline(seed, student.network)
    expect_exact(student, pipeline, frames=(1, 3)[seed % 2], handshakes=pauses(seed) if seed % 4 > 1 else ALWAYS)


@needs("icarus")
@pytest.mark.parametrize("seed", range(12))
def test_random_students_of_more_kinds_are_exact(seed):
    student = random_student(seed, images=3, more=MORE)
    pipeline = random_pipeline(seed, student.network)
    expect_exact(student, pipeline, frames=(1, 3)[seed % 2], handshakes=pauses(seed) if seed % 4 > 1 else ALWAYS)


@needs("icarus")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 1100))
def test_many_random_students_are_exact(seed):
    student = random_student(seed, images=3)
    pipeline = random_pipeline(seed, student.network)
    expect_exact(student, pipeline, frames=1 + seed % 3, handshakes=pauses(seed) if seed % 2 else ALWAYS)


def one_layer(kernel, stride, padding):
    rows, cols = kernel
    given = Padding(rows // 2, (rows - 1) // 2, cols // 2, (cols - 1) // 2) if padding else Padding()
    return Network(
        "one",
        Shape(7, 8, 4),
        (conv("conv", INPUT, 6, kernel, stride, given, relu=True), conv("end", "conv", 2, (1, 1))),
    )


def machine(network, depth=2, spare=1, pe=2, simd=2, **fields):
    engines = {}
    for layer in network.layers:
        engines[layer.name] = Engine(pe, simd) if layer.kind == "conv" else Engine(pe)
    edges = [*map(str, network.edges), f"{network.output.name} -> output"]
    buffers = {
        f"{layer.inputs[0]} -> {layer.name}": (layer.kernel.rows - 1) * network.input_shape(layer).cols
        + layer.kernel.cols
        + spare
        for layer in network.layers
        if layer.windowed and not layer.accumulates
    }
    return Pipeline("by hand", 100.0, engines, {edge: Fifo(depth) for edge in edges}, buffers, **fields)


KERNELS = [(1, 1), (1, 2), (1, 3), (1, 5), (2, 1), (2, 2), (3, 1), (3, 3), (3, 5), (4, 4), (5, 3), (5, 5)]


@needs("icarus")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_kernels_and_strides_at_the_least_buffer(kernel, stride):
    student = student_of(one_layer(kernel, stride, padding=stride != (2, 1)), seed=1, images=3)
    expect_exact(student, machine(student.network, depth=1 + sum(stride) % 2, spare=sum(kernel) % 2))


@needs("icarus")
@pytest.mark.parametrize("simd", [1, 4, 12, 36])
@pytest.mark.parametrize("ram", ["lut", "block"])
def test_folding_and_rams(simd, ram):
    student = student_of(one_layer((3, 3), (1, 1), padding=True), seed=2, images=3)
    made = machine(student.network)
    engines = {"conv": Engine(3, simd), "end": Engine(1, 6)}
    fifos = {edge: Fifo(2, ram) for edge in made.fifos}
    expect_exact(student, msgspec.structs.replace(made, engines=engines, fifos=fifos), handshakes=pauses(simd))


def residual():
    """A fork and a join over a 3x3 conv, whose skip FIFO must hold what the conv waits for."""
    layers = (
        conv("stem", INPUT, 4, (1, 1)),
        conv("body", "stem", 4, (3, 3)),
        Layer("add", "add", ("body", "stem"), relu=True),
        Layer("mean", "mean", ("add",), kernel=Size(6, 6), stride=Size(6, 6)),
        conv("head", "mean", 3, (1, 1)),
    )
    return student_of(Network("residual", Shape(6, 6, 2), layers), seed=3, images=3)


@needs("icarus")
def test_a_deadlock_is_one_in_the_rtl_too():
    student = residual()
    made = machine(student.network, pe=1, simd=2)
    fifos = made.fifos | {"stem -> add": Fifo(7)}
    verdict = expect_exact(student, msgspec.structs.replace(made, fifos=fifos))
    assert verdict.deadlock
    assert str(verdict) == "RTL and recurrence stop for ever, both"
    deeper = made.fifos | {"stem -> add": Fifo(8)}
    assert not expect_exact(student, msgspec.structs.replace(made, fifos=deeper)).deadlock


def preset_student(name, shape, classes=4):
    """A preset's architecture at a small size, batch norms folded where that can be, random weights."""
    network = fold_affines(name(shape=shape, classes=classes))
    return lifted(student_of(network, seed=4, images=3))


WHOLE = {
    "wrn-10-1": lambda: preset_student(lambda **size: presets.wrn(10, 1, **size), Shape(8, 8, 1)),
    "wrn-10-1-1x3": lambda: preset_student(lambda **size: presets.wrn(10, 1, rows="skip", **size), Shape(8, 8, 1)),
    "wrn-10-1-1x3-keep": lambda: preset_student(lambda **size: presets.wrn(10, 1, rows="keep", **size), Shape(8, 8, 1)),
    "resnet-8-1x3": lambda: preset_student(lambda **size: presets.resnet(8, rows="keep", **size), Shape(8, 8, 1)),
}


@needs("icarus")
@pytest.mark.parametrize("name", WHOLE)
def test_whole_residual_students_are_exact(name):
    student = WHOLE[name]()
    assert student.network == executed(student.network)
    pipeline = folding.pipeline(student.network, Budget("budget", 600, 100.0))
    expect_exact(student, pipeline, frames=1, handshakes=pauses(5, 4000))


@needs("verilator")
def test_a_whole_student_is_exact_under_verilator():
    student = WHOLE["wrn-10-1-1x3"]()
    pipeline = folding.pipeline(student.network, Budget("budget", 600, 100.0))
    expect_exact(student, pipeline, simulator="verilator", handshakes=pauses(6, 4000))


@needs("verilator")
@pytest.mark.parametrize(("seed", "more"), [*((seed, ()) for seed in range(0, 24, 2)), (2, MORE), (5, MORE), (7, MORE)])
def test_designs_are_clean_under_verilators_lint(seed, more, tmp_path):
    student = random_student(seed, images=1, more=more)
    design = rtl.write(student, random_pipeline(seed, student.network), tmp_path)
    command = ["verilator", "--lint-only", "-Wall", "--top-module", "student", *design.sources]
    done = subprocess.run(command, cwd=design.folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_meet_as_identifiers_stay_apart(tmp_path):
    layers = (conv("a.b", INPUT, 2, (1, 1)), conv("a_b", "a.b", 2, (1, 1)))
    student = student_of(Network("names", Shape(2, 2, 1), layers), seed=7, images=1)
    design = rtl.write(student, machine(student.network, simd=1), tmp_path)
    assert design.nodes == {"input": "n_input", "a.b": "n_a_b", "a_b": "n_a_b_", "output": "n_output"}


def test_a_machine_of_another_network_is_refused_before_anything_is_written(tmp_path):
    student = residual()
    with pytest.raises(BadInput, match=r"^layer stem: machine random1 has no engine for it"):
        rtl.write(student, random_pipeline(1, random_network(1)), tmp_path / "rtl")
    assert not (tmp_path / "rtl").exists()


@needs("icarus")
@pytest.mark.parametrize(
    ("kernel", "stride", "source", "out"),
    [
        ((16, 16), (16, 16), Format(16, 4, signed=False), Format(16, 1, signed=False)),
        ((16, 16), (16, 16), Format(16, 8), Format(16, 0)),
        ((7, 7), (1, 1), Format(16, 4), Format(16, -2)),
    ],
)
def test_means_of_wide_numbers(kernel, stride, source, out):
    pool = Layer("pool", "mean", (INPUT,), kernel=Size(*kernel), stride=Size(*stride))
    network = Network("wide", Shape(16, 16, 1), (pool,))
    student = student_of(network, 8, images=3, formats={INPUT: source, "pool": out})
    made = Pipeline("m", 100.0, {"pool": Engine(1)}, {"input -> pool": Fifo(2), "pool -> output": Fifo(2)})
    expect_exact(student, made)


@needs("icarus")
@pytest.mark.parametrize("out", [Format(8, 20), Format(8, 40), Format(4, 30, signed=False)])
def test_results_whose_every_bit_is_shifted_out(out):
    network = Network("coarse", Shape(3, 3, 2), (conv("a", INPUT, 2, (1, 1)), conv("b", "a", 2, (1, 1))))
    student = student_of(network, 9, images=3, formats={"a": out})
    expect_exact(student, machine(network))


MUTANTS = {
    "a slot freed when its pixel is taken": ("pm_window.sv", "word == WORD_BITS'(WORDS - 1)", "word == '0"),
    "need one pixel too small": (
        "pm_window.sv",
        "surplus <= index_t'(-FIRST_BOTTOM - FIRST_RIGHT - 1);",
        "surplus <= index_t'(-FIRST_BOTTOM - FIRST_RIGHT);",
    ),
    "the guard for the next row left out": ("pm_window.sv", "guarded || col < 0", "col < 0"),
    "the guard on the last row too": (
        "pm_window.sv",
        " && row != index_t'(LAST_ROW - DOWN);",
        ";",
    ),
    "a place reused a pixel early": (
        "pm_window.sv",
        "room <= index_t'(CAPACITY - 1);",
        "room <= index_t'(CAPACITY);",
    ),
    "a fork that asks one reader": ("student.sv", " & fifo_2_space", ""),
    "rounding down": ("pm_requantise.sv", " + WORK'({1'b0, in[DROP-1]})", ""),
    "no saturation below": ("pm_requantise.sv", "below ? '0 : beyond", "beyond"),
    "padding read as pixels": ("pm_ring.sv", "outside ? OUTSIDE : seen", "seen"),
    "a sum kept from the window before": (
        "pm_mean.sv",
        "assign prior = fresh ? '0 : same ? latest : stored;",
        "assign prior = same ? latest : stored;",
    ),
    "a table's word of the place before": ("pm_table.sv", "rom[value]", "rom[value - 1'b1]"),
    "a row of an upsample freed a turn early": (
        "pm_upsample.sv",
        "last & pixel_ends & row_leaves",
        "last & pixel_ends",
    ),
    "a row of an upsample given on": ("pm_upsample.sv", ": back ? at_row : moved", ": moved"),
    "block RAM as fast as a table": ("pm_window.sv", "ends <= free & ~rst;", "ends <= rd_en & ~rst;"),
}


@needs("icarus")
@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_in_the_rtl_is_seen(name, monkeypatch):
    file, text, fault = MUTANTS[name]
    run_bench, changed = cosim.run_bench, []

    def faulty(folder, sources, simulator):
        source = (folder / file).read_text()
        changed.append(text in source)
        (folder / file).write_text(source.replace(text, fault))
        return run_bench(folder, sources, simulator)

    monkeypatch.setattr(cosim, "run_bench", faulty)
    # Windows that lie wholly above the map but for their last row, which random networks hardly have.
    layers = (conv("a", INPUT, 2, (5, 2), padding=(4, 0, 0, 0)), conv("b", "a", 2, (1, 1)))
    above = student_of(Network("above", Shape(2, 6, 2), layers), 1, images=3)
    students = [random_student(seed, images=2, more=MORE) for seed in range(60)]
    seen = 0
    for seed, student in (*enumerate(students), *((seed, above) for seed in range(4))):
        verdict = cosim.check(student, random_pipeline(seed, student.network), student.images)
        seen += not verdict.exact
    assert any(changed)
    assert seen > 0
