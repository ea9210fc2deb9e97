"""Depthwise convolutions on every execution: the random networks of the other tests, most of their layers made so."""

import re
import subprocess
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hls_students import conv, student_of
from random_networks import random_network, random_pipeline
from random_students import random_student, with_relus
from test_designs import machines, one_by_one
from test_engine import agree, bits_of, random_engine
from test_onnx_out import assert_exact
from test_pipeline_oracle import expect_equal
from test_quantize import twin, values_of
from test_rtl import expect_exact, needs, pauses
from test_screening import points_of
from test_trace import agrees
from torch import nn

from distill import filters
from hw import onnx_file, onnx_out, rtl
from hw.accelerator import Budget, Engine, Fifo, LineEngine, Pipeline
from hw.errors import BadInput
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed, fold_affines, fold_weights, lift_row_strides
from hw.reference import layer_outputs
from hw.resources import estimate
from hw.student import lifted, load, save
from hw.synth import yosys
from hw.synth.shapes import modules, of_bits
from sim import bounds, designs, energy, folding, screening
from sim.engine import sweep
from sim.pipeline import ALWAYS, multipliers, stamps
from sim.run import simulate

SEEDS = [
    seed
    for seed in range(60)
    if any(layer.kind == "depthwise" for layer in random_network(seed, depthwise=True).layers)
]


def depthwise(name="d", source=INPUT, kernel=(3, 3), stride=(1, 1), **fields):
    rows, cols = kernel
    around = Padding(rows // 2, (rows - 1) // 2, cols // 2, (cols - 1) // 2)
    fields = {"padding": around} | fields
    return Layer(name, "depthwise", (source,), kernel=Size(*kernel), stride=Size(*stride), **fields)


def lone(shape=(5, 6, 4), **fields):
    return Network("lone", Shape(*shape), (depthwise(**fields),))


def machine(network, engine, ram="lut"):
    edges = [*map(str, network.edges), f"{network.output.name} -> output"]
    engines = {layer.name: engine if layer.kind == "depthwise" else Engine(1) for layer in network.layers}
    return Pipeline("m", 100.0, engines, {edge: Fifo(2, ram) for edge in edges})


def test_shapes_weights_products_and_text():
    network = lone(bias=True, relu=True, stride=(2, 1))
    layer = network.layers[0]
    assert network.shapes["d"] == Shape(3, 6, 4)
    assert network.weight_shapes(layer) == {"weight": (3, 3, 4), "bias": (4,)}
    assert (network.macs, network.parameters) == (3 * 6 * 4 * 9, 36 + 4)
    assert str(network) == (
        "lone: input 5x6x4\n  d  depthwise 3x3 stride 2,1 padding 1,1,1,1 bias relu  input -> 3x6x4"
    )


def test_the_random_networks_cover_what_they_are_for():
    found = [
        (network, layer) for network in map(by_seed, SEEDS) for layer in network.layers if layer.kind == "depthwise"
    ]
    layers = [layer for _, layer in found]
    assert len(layers) > 90
    assert any(layer.padding.top > 0 and layer.stride.rows > 1 for layer in layers)
    assert any(layer.kernel.rows == 1 and layer.stride.rows > 1 for layer in layers)
    engines = [random_pipeline(seed, by_seed(seed)).engines for seed in SEEDS]
    folded = [(network, layer, engines[SEEDS.index(int(network.name[6:]))][layer.name]) for network, layer in found]
    assert any(1 < engine.simd < layer.taps for _, layer, engine in folded)
    assert any(
        engine.simd < layer.taps and engine.pe < network.shapes[layer.name].channels
        for network, layer, engine in folded
    )


def by_seed(seed):
    return random_network(seed, depthwise=True)


@pytest.mark.parametrize("seed", SEEDS[::3])
def test_the_reference_is_a_loop_over_taps(seed):
    student = random_student(seed, depthwise=True)
    values = layer_outputs(student, student.images)
    for layer in student.network.layers:
        if layer.kind != "depthwise":
            continue
        weight = student.integers[f"{layer.name}.weight"].tolist()
        bias = student.integers.get(f"{layer.name}.bias", np.zeros(len(weight[0][0]), np.int64)).tolist()
        given, made = values[layer.inputs[0]][0].tolist(), values[layer.name][0]
        fmt = student.formats[layer.name].out
        unit = Fraction(2) ** (fmt.fraction - student.product_fraction(layer))
        for (y, x, k), number in np.ndenumerate(made):
            total = bias[k]
            for i in range(layer.kernel.rows):
                for j in range(layer.kernel.cols):
                    row, col = (
                        y * layer.stride.rows + i - layer.padding.top,
                        x * layer.stride.cols + j - layer.padding.left,
                    )
                    if 0 <= row < len(given) and 0 <= col < len(given[0]):
                        total += given[row][col][k] * weight[i][j][k]
            assert number == min(max(floor(total * unit + Fraction(1, 2)), fmt.low), fmt.high)


@pytest.mark.parametrize("seed", SEEDS)
def test_stamps_equal_the_oracles(seed):
    network = by_seed(seed)
    expect_equal(network, random_pipeline(seed, network), frames=1 + seed % 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_line_engines_equal_the_oracles(seed):
    network = executed(by_seed(seed)) if seed % 2 else by_seed(seed)
    agree(network, random_engine(seed, network), bits_of(seed))


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_many_designs_are_those_of_each(seed):
    network = by_seed(seed)
    given = machines(network, seed)
    found = designs.finishes(network, designs.of_pipelines(network, given), 2)
    assert found.tolist() == [one_by_one(network, pipeline, 2) for pipeline in given]


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_bounds_of_many_points_are_those_of_each(seed):
    network = by_seed(seed)
    space = screening.space(network)
    points = points_of(space, seed, 8)
    found = screening.screen(space, points)
    for i, point in enumerate(points):
        edges = [*map(str, network.edges), f"{network.output.name} -> output"]
        made = Pipeline("point", 1.0, screening.engines(space, point), dict.fromkeys(edges, Fifo(400)))
        assert (found.latency_cycles[i], found.interval_cycles[i]) == bounds.pipeline_bound(network, made)
        assert found.multipliers[i] == multipliers(network, made)
        assert stamps(network, made, 1).frees[edges[-1]][-1] >= found.latency_cycles[i]


@pytest.mark.parametrize("seed", SEEDS[::2])
def test_the_twin_has_the_integers_of_the_reference(seed):
    module, student, x = twin(with_relus(by_seed(seed), seed), seed, bits=4 + seed % 7)
    expected = layer_outputs(student, student.images)
    for name, value in values_of(module, x).items():
        assert np.array_equal(value * 2.0 ** student.fraction(name), expected[name]), name


@needs("icarus")
@pytest.mark.parametrize("seed", SEEDS)
def test_random_students_are_exact_in_the_rtl(seed):
    student = random_student(seed, images=3, depthwise=True)
    pipeline = random_pipeline(seed, student.network)
    expect_exact(student, pipeline, frames=(1, 3)[seed % 2], handshakes=pauses(seed) if seed % 4 > 1 else ALWAYS)


@needs("icarus")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_many_random_students_are_exact_in_the_rtl(seed):
    student = random_student(seed, images=3, depthwise=True)
    pipeline = random_pipeline(seed, student.network)
    expect_exact(student, pipeline, frames=1 + seed % 3, handshakes=pauses(seed) if seed % 2 else ALWAYS)


@needs("icarus")
@pytest.mark.parametrize("engine", [Engine(1, 1), Engine(2, 3), Engine(4, 9), Engine(1, 9), Engine(2, 1)], ids=str)
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_foldings_in_the_rtl(engine, stride):
    student = student_of(Network("n", Shape(6, 7, 4), (conv("c", INPUT, 4, (1, 1)), depthwise("d", "c"))), 1, images=2)
    student = student if stride == (1, 1) else student_of(lone(stride=stride), 2, images=2)
    expect_exact(student, machine(student.network, engine, "block"), frames=2)


@needs("verilator")
@pytest.mark.parametrize("seed", SEEDS[:8])
def test_designs_are_clean_under_verilators_lint(seed, tmp_path):
    student = random_student(seed, images=1, depthwise=True)
    design = rtl.write(student, random_pipeline(seed, student.network), tmp_path)
    command = ["verilator", "--lint-only", "-Wall", "--top-module", "student", *design.sources]
    done = subprocess.run(command, cwd=design.folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_batch_norm_folds_into_it():
    network = Network("n", Shape(4, 4, 3), (depthwise(), Layer("bn", "affine", ("d",), relu=True)))
    rng = np.random.default_rng(0)
    shapes = {"d.weight": (3, 3, 3), "bn.weight": (3,), "bn.bias": (3,)}
    weights = {key: rng.normal(0, 1, shape) for key, shape in shapes.items()}
    folded, values = fold_affines(network), fold_weights(network, weights)
    assert [(layer.kind, layer.bias, layer.relu) for layer in folded.layers] == [("depthwise", True, True)]
    assert np.allclose(values["d.weight"], weights["d.weight"] * weights["bn.weight"])
    assert np.allclose(values["d.bias"], weights["bn.bias"])


def test_row_strides_are_lifted_through_it():
    student = student_of(lone((8, 6, 4), kernel=(1, 3), stride=(2, 1)), 3, images=2)
    short = lifted(student)
    assert short.network == lift_row_strides(student.network)
    assert (short.network.row_step, short.network.layers[0].stride) == (2, Size(1, 1))
    assert np.array_equal(layer_outputs(short, short.images)["d"], layer_outputs(student, student.images)["d"])


def test_a_budget_is_spent_on_its_taps_too():
    network = lone((16, 16, 6))
    few, many = (folding.pipeline(network, Budget("b", macs, 100.0)).engines["d"] for macs in (3, 54))
    assert few.pe * few.simd == 3
    assert (many.pe, many.simd) == (6, 9)
    result = simulate(network, folding.pipeline(network, Budget("b", 54, 100.0)))
    assert result.interval_cycles == 256
    assert result.utilisation == 1.0


def test_an_array_multiplies_as_many_taps_at_once_as_it_has():
    # Two groups of 2 and 1 channels, 9 taps by 4 at a time: 6 pixels of 3 cycles, twice, for each of 5 rows.
    network = lone((5, 6, 3))
    engine = LineEngine("l", 2, 4, 1 << 20, 1 << 20, 1e9, 0, 100.0, resident="all")
    result = simulate(network, engine)
    assert result.cycles_by_cause["compute"] == 5 * (2 * 6 * 3 + 6)
    assert result.layers[0].weight_bytes == 27
    assert sweep(network, [engine]).latency_cycles[0] == result.latency_cycles


def test_energy_counts_its_products_and_reads_a_window_once():
    network = lone((4, 4, 4), bias=True)
    pipeline = machine(network, Engine(2, 3))
    found = {}
    for action in energy.actions(network, pipeline, {}):
        found[action.part] = found.get(action.part, 0) + action.amount
    assert found["multiply"] == network.macs == 4 * 4 * 4 * 9
    assert found["window_read"] == network.macs
    assert found["accumulate"] == 64 * 3 + 64
    assert found["add"] == network.macs - 64 * 3


def test_a_systolic_array_takes_it_channel_by_channel():
    # Per channel ceil(30 / 4) blocks of rows, one of columns, of 9 + 4 + 4 - 2 cycles.
    assert bounds.systolic_network_cycles(lone((5, 6, 4)), 4, 4) == {"d": 4 * (8 * 15 - 1)}


def test_synthesis_tells_every_engine_apart():
    named = {
        module
        for seed in SEEDS
        for _, module, _ in modules(of_bits(by_seed(seed), 8, 8), random_pipeline(seed, by_seed(seed)))
    }
    assert "pm_depthwise" in named
    assert named <= set(yosys.ENGINES)


def test_an_estimate_has_a_dsp_a_multiplier():
    network = lone((8, 8, 8))
    assert estimate(network, machine(network, Engine(4, 3)), 8, 8).dsp == 12


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
def test_torch_modules_trace_to_it(stride):
    layers = [nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, stride, 1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    network = agrees(nn.Sequential(*layers, nn.Conv2d(6, 6, (1, 3), groups=6)), Shape(7, 8, 3))
    assert [layer.kind for layer in network.layers] == ["conv", "depthwise", "affine", "depthwise"]
    assert [layer.bias for layer in network.layers[1:]] == [False, False, True]


def test_row_filters_of_it_are_depthwise_too():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1))
    row = filters.on_the_fly(model, n=5)
    assert (row[0].kernel_size, row[0].groups, row[0].padding) == ((1, 5), 4, (0, 2))
    assert agrees(row, Shape(6, 6, 4)).layers[0].kind == "depthwise"


@pytest.mark.parametrize("seed", SEEDS[::5])
def test_onnx_exact_and_back(seed, tmp_path):
    student = random_student(seed, images=2, depthwise=True)
    assert_exact(student)
    onnx_out.write(student, tmp_path / "net.onnx")
    read = onnx_file.read(tmp_path / "net.onnx")
    assert [layer.kind for layer in read.layers].count("depthwise") == [
        layer.kind for layer in student.network.layers if student.network.input_shape(layer).channels > 1
    ].count("depthwise")


def test_a_student_on_disk(tmp_path):
    student = random_student(SEEDS[0], depthwise=True)
    save(student, tmp_path / "student")
    found = load(tmp_path / "student")
    assert found.network == student.network
    assert all(np.array_equal(found.integers[key], value) for key, value in student.integers.items())


def test_foldings_that_do_not_divide_are_refused():
    network = lone()
    for engine, sentence in (
        (Engine(4, 2), "layer d: SIMD 2 does not divide the 9 taps of a depthwise conv"),
        (Engine(3, 9), "layer d: 3 PEs do not divide its 4 output channels"),
    ):
        with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
            stamps(network, machine(network, engine), 1)
        with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
            designs.finishes(network, designs.of_pipelines(network, [machine(network, engine)]), 1)


def test_weights_of_a_wrong_shape_are_refused():
    student = student_of(lone(), 6, images=1)
    wrong = {"d.weight": np.zeros((3, 3, 1, 4), np.int64)}
    with pytest.raises(BadInput, match=r"^layer d: weight of shape \(3, 3, 1, 4\) was found, \(3, 3, 4\) is wanted$"):
        type(student)(student.network, student.formats, wrong, student.images, student.labels, student.outputs, {})
