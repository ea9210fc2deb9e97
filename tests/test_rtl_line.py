"""The line engine's RTL against simulation (every start and end) and reference (every bit)."""

import os
import re
import subprocess
from collections import Counter
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hls_students import conv, student_of
from random_students import random_student

from hw import presets
from hw import student as store
from hw.accelerator import LineEngine
from hw.accelerator import machine as preset
from hw.errors import BadInput, DoesNotFit, PacemakerError, UnsupportedLayer
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import fold_affines
from hw.rtl import line
from hw.rtl.line import Row, first_fit
from hw.rtl.line.layers import word
from hw.rtl.line.logits import byte_logits
from hw.student import lifted
from sim import cosim_engine, engine, planner, rtl_simulators
from sim import kernels_engine as kernel

SOURCES = Path(line.__file__).parent


def needs(simulator):
    """Skip where the simulator is missing, but not in CI."""
    there = rtl_simulators.available(simulator)
    return pytest.mark.skipif(not there and not os.environ.get("CI"), reason=f"{simulator} is not installed")


def pool(name, source, kind, kernel, stride, padding=(0, 0, 0, 0), **fields):
    return Layer(name, kind, (source,), 0, Size(*kernel), Size(*stride), padding=Padding(*padding), **fields)


def depthwise(name, source, kernel, stride, padding, **fields):
    return pool(name, source, "depthwise", kernel, stride, padding, **fields)


def student(network, seed=1):
    """A student whose result has 8 bits as everything else."""
    made = student_of(network, seed, images=2)
    name = network.output.name
    formats = dict(made.formats)
    if formats[name].out.width > 8:
        formats[name] = msgspec.structs.replace(formats[name], out=Format(8, 5))
    return replace(made, formats=formats)


def residual(*layers):
    return (
        conv("stem", INPUT, 4, (3, 3), relu=True),
        conv("a", "stem", 6, (1, 3), relu=True),
        conv("b", "a", 4, (3, 1)),
        Layer("add", "add", ("b", "stem"), relu=True),
        *layers,
    )


NETWORKS = {
    "1x3": Network("1x3", Shape(4, 7, 2), (conv("a", INPUT, 5, (1, 3), relu=True), conv("b", "a", 3, (1, 3)))),
    "3x3": Network("3x3", Shape(6, 5, 3), (conv("a", INPUT, 4, (3, 3)), conv("b", "a", 7, (3, 3), bias=False))),
    "strides": Network(
        "strides", Shape(9, 8, 2), (conv("a", INPUT, 6, (3, 3), (2, 2)), conv("b", "a", 3, (2, 2), (1, 2), (0,) * 4))
    ),
    "wide padding": Network("wide padding", Shape(5, 4, 2), (conv("a", INPUT, 3, (5, 3), (1, 1), (4, 1, 2, 2)),)),
    "residual": Network("residual", Shape(6, 5, 2), residual(conv("out", "add", 3, (1, 1)))),
    "affine": Network(
        "affine", Shape(4, 5, 5), (Layer("norm", "affine", (INPUT,), relu=True), conv("b", "norm", 2, (3, 3)))
    ),
    "concat": Network(
        "concat",
        Shape(4, 5, 3),
        (conv("a", INPUT, 4, (3, 3)), Layer("both", "concat", ("a", INPUT)), conv("b", "both", 3, (1, 3))),
    ),
    "max": Network(
        "max",
        Shape(8, 6, 3),
        (
            conv("a", INPUT, 5, (1, 1)),
            pool("same", "a", "max", (3, 3), (1, 1), (1, 1, 1, 1)),
            pool("half", "same", "max", (2, 2), (2, 2)),
        ),
    ),
    "means": Network(
        "means",
        Shape(6, 6, 3),
        (
            conv("a", INPUT, 5, (1, 3)),
            pool("half", "a", "mean", (2, 2), (2, 2)),
            pool("global", "half", "mean", (3, 3), (3, 3)),
            conv("dense", "global", 7, (1, 1)),
        ),
    ),
    "means that overlap": Network(
        "means that overlap", Shape(6, 7, 3), (pool("m", INPUT, "mean", (3, 2), (1, 2)), conv("b", "m", 3, (1, 1)))
    ),
    "tables": Network(
        "tables",
        Shape(5, 6, 3),
        (
            Layer("first", "table", (INPUT,), function="tanh"),
            conv("a", "first", 5, (1, 3)),
            Layer("soft", "table", ("a",), function="hardswish"),
            Layer("leaky", "table", ("a",), function="leaky_relu:0.25"),
            Layer("add", "add", ("soft", "leaky")),
            Layer("cut", "table", ("add",), function="clip:0:6", relu=True),
        ),
    ),
    "upsamples": Network(
        "upsamples",
        Shape(4, 3, 2),
        (
            conv("a", INPUT, 5, (1, 3)),
            Layer("twice", "upsample", ("a",), factor=Size(2, 2)),
            conv("b", "twice", 3, (3, 3), relu=True),
            Layer("wide", "upsample", ("b",), factor=Size(1, 3), relu=True),
            Layer("high", "upsample", ("wide",), factor=Size(3, 1)),
        ),
    ),
    "depthwise": Network(
        "depthwise",
        Shape(7, 6, 3),
        (
            conv("a", INPUT, 5, (1, 1), relu=True),
            depthwise("b", "a", (3, 3), (1, 1), (1, 1, 1, 1), bias=True, relu=True),
            depthwise("c", "b", (1, 3), (2, 1), (0, 0, 1, 1)),
            depthwise("d", "c", (2, 4), (1, 2), (1, 0, 0, 3), bias=True),
        ),
    ),
    "classifier": Network(
        "classifier",
        Shape(6, 6, 2),
        residual(pool("mean", "add", "mean", (6, 6), (6, 6)), conv("dense", "mean", 5, (1, 1))),
    ),
}
MORE = ("table", "upsample")
PLAIN = LineEngine("plain", 4, 2, 4000, 4000, 4.0, 10, 100.0)
MACHINES = {
    "two channels": {},
    "one channel": {"dma_channels": 1, "resident": "none", "pe": 3, "simd": 3},
    "no prefetch": {"prefetch": 0, "resident": "none", "dram_bytes_per_cycle": 1.0},
    "tiles": {"weight_memory_bytes": 120, "pe": 1, "simd": 4, "prefetch": 2, "dram_bytes_per_cycle": 2.0},
    "bursts": {"dram_burst_bytes": 11, "resident": "none", "dram_latency_cycles": 3, "pe": 1, "simd": 7, "prefetch": 1},
    "groups of two rows": {"row_group": 2, "pe": 5, "simd": 1, "dram_bytes_per_cycle": 8.0},
    "spilled": {"skips": "spill", "dma_channels": 1, "pe": 2, "simd": 6, "dram_latency_cycles": 25},
    "small": {"schedule": "layer_by_layer", "line_memory_bytes": 150, "weight_memory_bytes": 300, "pe": 2, "simd": 2},
    "large": {"schedule": "layer_by_layer", "row_group": 2, "dma_channels": 1, "pe": 3, "simd": 20, "prefetch": 3},
}


def machine(name):
    return msgspec.structs.replace(PLAIN, name=name, **MACHINES[name])


def expect_exact(made, given, **fields):
    verdict = cosim_engine.check(made, given, made.images, **fields)
    assert verdict.frames == 2
    assert verdict.exact, str(verdict)
    return verdict


LONGEST = {("large", "max"), ("large", "depthwise")}
PAIRS = [(of, name) for of in MACHINES for name in NETWORKS]


@needs("icarus")
@pytest.mark.parametrize(
    ("of", "name"), [pytest.param(*pair, marks=[pytest.mark.slow] if pair in LONGEST else []) for pair in PAIRS]
)
def test_every_cycle_and_every_bit(name, of):
    expect_exact(student(NETWORKS[name]), machine(of))


def test_the_cases_are_what_they_are_called():
    seen = Counter()
    for network in NETWORKS.values():
        for of in MACHINES:
            made = engine.run(network, machine(of), cosim_engine.PRECISION, 2)
            steps, loads, stores = made.program
            seen["tiles"] += any(made.scheduled.cost.tiles > 1)
            seen["tiles kept"] += (loads[:, kernel.L_KIND] == kernel.WEIGHTS).sum() < len(steps)
            seen["resident"] += bool(made.scheduled.resident)
            seen["some resident"] += 0 < len(made.scheduled.resident) < len(network.layers)
            seen["loads ahead"] += (loads[:, kernel.L_AFTER] + 1 < loads[:, kernel.L_STEP]).any()
            seen["stores behind"] += (stores[:, kernel.W_BEFORE] > stores[:, kernel.W_AFTER] + 1).any()
            seen["spills"] += (stores[:, kernel.W_KIND] == kernel.SPILLS_OUT).any()
            seen["several bursts"] += bool(machine(of).dram_burst_bytes) and (loads[:, kernel.L_BYTES] > 11).any()
    assert min(seen.values()) >= 5, seen


def narrowed(given):
    """The same student with at most 8 bits a number, its accumulators as wide as they must be."""
    formats, integers = {}, dict(given.integers)
    for name, old in given.formats.items():
        out, weight = old.out, old.weight
        out = msgspec.structs.replace(out, width=min(8, out.width))
        if weight is not None:
            width = min(8, weight.width)
            weight = Format(width, width - weight.fraction)
            integers[f"{name}.weight"] = np.clip(integers[f"{name}.weight"], weight.low, weight.high)
        formats[name] = LayerFormats(out, weight)
    images = np.clip(given.images, formats[INPUT].out.low, formats[INPUT].out.high)
    return replace(given, formats=formats, integers=integers, images=images)


def random_machine(seed, network):
    """At times too small, most of the time not."""
    rng = Random(f"line engine in RTL {seed}")
    rows = {name: shape.cols * shape.channels for name, shape in network.shapes.items()}
    maps, line = sum(rows[name] * shape.rows for name, shape in network.shapes.items()), sum(rows.values())
    weights = network.parameters + 3 * sum(network.shapes[layer.name].channels for layer in network.layers)
    return LineEngine(
        name=f"random{seed}",
        pe=rng.randint(1, 5),
        simd=rng.randint(1, 7),
        line_memory_bytes=rng.choice((3 * maps, 3 * line, rng.randint(line, 4 * line), 10**6)),
        weight_memory_bytes=max(60, rng.choice((rng.randint(weights // 8, weights), 2 * weights, 10**6))),
        dram_bytes_per_cycle=rng.choice((1.0, 2.0, 4.0, 8.0)),
        dram_latency_cycles=rng.choice((1, 7, 40)),
        clock_mhz=100.0,
        schedule=rng.choice(("line_by_line", "layer_by_layer")),
        row_group=rng.choice((1, 1, 1, 2, 3, 20)),
        prefetch=rng.choice((0, 1, 2, 5, 16)),
        resident=rng.choice(("none", "all", "auto", "auto")),
        skips=rng.choice(("keep", "spill", "auto")),
        dma_channels=rng.choice((1, 2)),
        dram_burst_bytes=rng.choice((0, 0, 1, 5, 16, 64)),
    )


def random_case(seed, **kinds):
    made = narrowed(lifted(random_student(seed, images=2, **kinds)))
    return made, random_machine(seed, made.network)


def expect_exact_or_refused(seed, **kinds):
    made, given = random_case(seed, **kinds)
    try:
        expect_exact(made, given)
    except (DoesNotFit, UnsupportedLayer):
        return


@needs("icarus")
@pytest.mark.parametrize("seed", range(40))
def test_random_students_on_random_machines(seed):
    expect_exact_or_refused(seed)


@needs("icarus")
@pytest.mark.parametrize("seed", range(8))
def test_random_students_of_more_kinds_on_random_machines(seed):
    expect_exact_or_refused(seed, more=MORE)


@needs("icarus")
@pytest.mark.parametrize("seed", range(12))
def test_random_depthwise_students_on_random_machines(seed):
    expect_exact_or_refused(seed, depthwise=True)


@needs("icarus")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 600))
def test_many_random_students_on_random_machines(seed):
    expect_exact_or_refused(seed)


@needs("icarus")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_many_random_depthwise_students_on_random_machines(seed):
    expect_exact_or_refused(seed, depthwise=True)


@needs("verilator")
def test_a_classifier_is_exact_under_verilator():
    expect_exact(student(NETWORKS["classifier"]), machine("tiles"), simulator="verilator")


@needs("icarus")
def test_any_address_map_will_do():
    def apart(rows):
        """No place is ever used again, and the first row lies last."""
        ends = accumulate(life.size + 3 for life in reversed(rows.values()))
        return {row: end - life.size for (row, life), end in zip(reversed(rows.items()), ends, strict=True)}

    made, given = student(NETWORKS["residual"]), machine("small")
    assert expect_exact(made, given, place=apart).line_bytes > expect_exact(made, given).line_bytes


@needs("icarus")
@pytest.mark.parametrize("seed", range(10))
def test_the_planners_address_map(seed):
    made, given = random_case(seed)

    def planned(rows):
        plan = planner.plan(made.network, given, cosim_engine.PRECISION, 2)
        places = {Row(b.frame, b.map, b.row, b.reader): a for b, a in zip(plan.buffers, plan.addresses, strict=True)}
        return {row: places[row] for row in rows}

    try:
        expect_exact(made, given, place=planned)
    except (DoesNotFit, UnsupportedLayer):
        return


@needs("icarus")
def test_an_address_map_without_a_row_is_refused():
    with pytest.raises(DoesNotFit, match="the address map has no place for it"):
        expect_exact(student(NETWORKS["1x3"]), PLAIN, place=lambda rows: dict(list(first_fit(rows).items())[1:]))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"lanes": 2}, "2 lanes were found"),
        ({"dram_bytes_per_cycle": 1.5}, "dram_bytes_per_cycle 1.5 was found"),
        ({"dram_latency_cycles": 0}, "dram_latency_cycles 0 was found"),
    ],
)
def test_machines_that_the_rtl_is_not_are_refused(fields, text):
    with pytest.raises(BadInput, match=text):
        line.check(student(NETWORKS["1x3"]), msgspec.structs.replace(PLAIN, **fields))


def test_students_that_the_rtl_cannot_hold_are_refused():
    made = student_of(NETWORKS["1x3"], 1, images=2)
    with pytest.raises(PacemakerError, match="the RTL of the line engine wants 8 bits at most"):
        line.check(made, PLAIN)


@needs("icarus")
def test_a_runs_wide_logits_get_a_byte_each(tmp_path):
    made = student_of(NETWORKS["1x3"], 1, images=3)
    store.save(made, tmp_path / "student")
    verdict = cosim_engine.check_run(tmp_path, PLAIN, 2)
    assert verdict.exact
    assert verdict.note.startswith("logits in fixed<8,")
    assert re.search(r" have the same class on [012] of 2$", str(verdict))
    narrow = byte_logits(made)
    out, wide = (each.formats[made.network.output.name].out for each in (narrow, made))
    assert out.width == 8
    # The largest logit fits, and would not with a bit more behind the point.
    assert np.abs(narrow.outputs).max() in range(64, 128)
    dropped = wide.fraction - out.fraction
    assert np.abs(narrow.outputs * 2.0**dropped - made.outputs).max() <= 2.0**dropped
    assert byte_logits(narrow) is narrow


def test_the_fields_of_a_layer_have_one_order():
    source = (SOURCES / "pl_fields.sv").read_text()
    places = {name: int(place) for name, place in re.findall(r"int F_(\w+) = (\d+);", source)}
    network = NETWORKS["1x3"]
    numbers = word(student(network), PLAIN, network.layers[0], 0).numbers
    assert places == {name: place for place, name in enumerate(numbers)}


@needs("verilator")
@pytest.mark.parametrize("name", NETWORKS)
def test_designs_are_clean_under_verilators_lint(name, tmp_path):
    made, given = student(NETWORKS[name]), machine(list(MACHINES)[len(name) % len(MACHINES)])
    run = engine.run(made.network, given, cosim_engine.PRECISION, 2)
    design = line.write(made, given, cosim_engine.lists(made.network, given, run), tmp_path)
    command = ["verilator", "--lint-only", "-Wall", "--top-module", "line_engine", *design.sources]
    done = subprocess.run(command, cwd=design.folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@needs("verilator")
def test_a_whole_residual_student_is_exact_under_verilator():
    network = fold_affines(presets.wrn(10, 1, rows="skip", shape=Shape(8, 8, 1), classes=4))
    made = narrowed(lifted(student_of(network, seed=4, images=2)))
    given = msgspec.structs.replace(preset("line-64"), weight_memory_bytes=4096)
    verdict = expect_exact(made, given, simulator="verilator")
    assert verdict.line_bytes <= given.line_memory_bytes


@pytest.mark.parametrize("seed", range(100))
def test_what_lives_in_a_step_fits_into_memory(seed):
    made, given = random_case(seed)
    try:
        line.check(made, given)
        run = engine.run(made.network, given, cosim_engine.PRECISION, 2)
    except PacemakerError:
        return
    lists = cosim_engine.lists(made.network, given, run)
    for lives, size in ((lists.rows, given.line_memory_bytes), (lists.tiles, given.weight_memory_bytes)):
        for s in range(len(lists.steps)):
            assert sum(life.size for life in lives.values() if life.begin <= s < life.end) <= size


MUTANTS = {
    "a register less at the end of a turn": ("pl_steps.sv", "drained == 4'(DRAIN - 1)", "drained == 4'(DRAIN - 2)"),
    "a step that waits for no load": ("pl_steps.sv", "loads >= after_loads && ", ""),
    "a step that waits for no store": ("pl_steps.sv", " && stores >= after_stores", ""),
    "a transfer that waits for no step": ("pl_dma.sv", " && steps >= after_steps", ""),
    "a load that waits for no store": ("pl_dma.sv", " && others >= after_others", ""),
    "transfers in one burst": ("pl_core.sv", ".BURST(BURST)", ".BURST(0)"),
    "a byte less in the last beat": ("pl_dma.sv", "beat && N'(i) < left;", "beat && N'(i) + 1 < left;"),
    "a store that reads the beat again": ("pl_core.sv", "write_beat ? store_place + store_taken : ", ""),
    "padding read as pixels": ("pl_steps.sv", "&& x + index_t'(i) >= 0 && x", "&& x"),
    "a window's next row read as its own": (
        "pl_steps.sv",
        "offset + index_t'(i) < index_t'(port_limit[p])",
        "offset + index_t'(i) <= index_t'(port_limit[p])",
    ),
    "a last chunk as long as the others": ("pl_steps.sv", "last_chunk ? layer[F_REST] : N'(SIMD)", "N'(SIMD)"),
    "a last group as wide as the others": ("pl_steps.sv", "short_group ? layer[F_LAST] : N'(PE)", "N'(PE)"),
    "taps that stay in their chunk's row": ("pl_steps.sv", "is_depthwise && ahead >=", "1'b0 && ahead >="),
    "the first tap for all": ("pl_array.sv", "values[(s*LANES+p)*9+:9]", "values[p*9+:9]"),
    "biases of the first group": (
        "pl_steps.sv",
        "bias_address <= weights + group_weights;",
        "bias_address <= weights;",
    ),
    "a sum kept from the window before": ("pl_array.sv", "fresh_3 ? '0 : kept[place]", "kept[place]"),
    "an upsample that never repeats": ("pl_steps.sv", "last_chunk && pixel_ends)", "last_chunk)"),
    "the first table for all": ("pl_array.sv", "{layer[F_TABLE], merged", "{N'(0), merged"),
    "rounding down": ("pl_requantise.sv", " + half) >>> right", ") >>> right"),
    "no saturation below": ("pl_requantise.sv", "(moved < WORK'(low)) ? low[7:0] : ", ""),
    "bytes in the next bank's row": (
        "pl_memory.sv",
        "N'(BANKS - 1 - b)) >> LANE);\n                always",
        "N'(0)) >> LANE);\n                always",
    ),
}


@needs("icarus")
@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_in_the_rtl_is_seen(name, monkeypatch):
    file, text, fault = MUTANTS[name]
    run_bench, changed = cosim_engine.run_bench, []

    def faulty(folder, sources, simulator):
        source = (folder / file).read_text()
        changed.append(text in source)
        (folder / file).write_text(source.replace(text, fault))
        return run_bench(folder, sources, simulator)

    monkeypatch.setattr(cosim_engine, "run_bench", faulty)
    cases = [
        ("tables", "tiles"),
        ("depthwise", "tiles"),
        ("classifier", "tiles"),
        ("upsamples", "tiles"),
        ("wide padding", "bursts"),
        ("means", "no prefetch"),
        ("3x3", "small"),
    ]
    verdicts = []
    for network, of in cases:
        made = student(NETWORKS[network])
        verdicts.append(cosim_engine.check(made, machine(of), made.images))
    assert all(changed)
    assert not all(verdict.exact for verdict in verdicts)
