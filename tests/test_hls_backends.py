"""Every backend, io type and strategy gives the reference's integers; each fault is shown without its pass."""

import sys

import hls_students as students
import numpy as np
import pytest
from random_networks import random_network

from hw.accelerator import Budget
from hw.errors import BadInput, DoesNotFit, MissingTool, UnsupportedLayer
from hw.fixed import Format
from hw.hls import backends, compare, compiler_available, generate, layers, passes, project, reuse
from hw.hls.backends import BACKENDS, TESTED
from hw.hls.layers import identifiers, layer_list
from hw.hls.passes import prepare, widen_means
from hw.network import INPUT, Edge, Network, Shape
from hw.reference import layer_outputs
from hw.student import Student
from sim.folding import pipeline

hls4ml = pytest.importorskip("hls4ml")
needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no g++")
PLACES = [("Vitis", "io_parallel"), ("Vivado", "io_stream"), ("Quartus", "io_parallel"), ("Catapult", "io_parallel")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def exact(student, folder, **options):
    generated = generate(student, folder / "hls", **options)
    comparison = compare(student, generated)
    assert comparison.exact, str(comparison)
    return generated


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("backend", "io_type"), PLACES)
@pytest.mark.parametrize("make", [students.residual, students.pooled])
def test_a_plain_and_a_residual_student_on_every_backend(make, backend, io_type, tmp_path):
    exact(make(images=20), tmp_path, backend=backend, io_type=io_type)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("backend", "io_type"), [("Vitis", "io_stream"), *PLACES])
@pytest.mark.parametrize("strategy", ["Latency", "Resource", "distributed_arithmetic"])
def test_strategies(strategy, backend, io_type, tmp_path):
    if strategy not in BACKENDS[backend].strategies:
        pytest.skip("refused, as test_refusals_of_a_strategy shows")
    if strategy == "distributed_arithmetic":
        pytest.importorskip("da4ml")
    student = students.residual(images=20)
    machine = pipeline(student.network, Budget("12 multipliers", macs=16))
    folded = reuse.from_pipeline(student.network, machine, one_sum=backends.one_sum(backend, io_type))
    factors = folded if strategy == "Resource" else None
    generated = exact(student, tmp_path, backend=backend, io_type=io_type, strategy=strategy, reuse_factors=factors)
    found = {layer.strategy for layer in generated.manifest.layers if layer.hls_class in ("Conv2D", "Dense")}
    assert found == {strategy}
    if factors:
        assert {factors[layer.name] for layer in generated.manifest.layers if layer.name in factors} != {1}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("backend", ["Vitis", "Quartus", "Catapult"])
@pytest.mark.parametrize("seed", [0, 15, 27, 28, 31, 59])
def test_random_networks_in_parallel(seed, backend, tmp_path):
    network, rng = random_network(seed), np.random.default_rng(seed)
    formats = {}
    for name in (INPUT, *network.by_name):
        width = int(rng.integers(3, 11))
        formats[name] = Format(width, int(rng.integers(-1, width + 3)), bool(rng.integers(2)))
    student = students.student_of(network, seed, 20, formats)
    try:
        exact(student, tmp_path, backend=backend, io_type="io_parallel")
    except UnsupportedLayer:
        pytest.skip("a pooling or a concat that is not generated")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("bits", [4, 6])
def test_fewer_bits(bits, tmp_path):
    network = students.residual(images=1).network
    formats = {layer.name: Format(bits, 4 if layer.relu else 5, signed=not layer.relu) for layer in network.layers}
    student = students.student_of(network, 7, 100, formats | {INPUT: Format(bits, 4, signed=False)})
    assert min(students.spread(student).values()) > 4
    exact(student, tmp_path)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("backend", ["Quartus", "Catapult"])
def test_quartus_and_catapult_take_means_in_their_inputs_type(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "widen_means", lambda student: student)
    student = students.pooled(images=20)
    comparison = compare(student, generate(student, tmp_path / "hls", backend=backend, io_type="io_parallel"))
    mended = f"this hls4ml takes {backend}'s means in a type of their own: hw.hls.passes.widen_means can go"
    assert comparison.wrong_outputs > 0, mended
    assert comparison.wrong_layers[0] == "mean2", mended


@pytest.mark.parametrize("make", [students.residual, students.pooled])
def test_wider_means_keep_the_integers(make):
    student = make(images=30)
    changed = widen_means(student)
    found, expected = layer_outputs(changed, student.images), layer_outputs(student, student.images)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    means = [layer for layer in changed.network.layers if layer.kind == "mean"]
    assert means
    for layer in means:
        wide, source = changed.formats[layer.inputs[0]].out, found[layer.inputs[0]]
        assert wide.low <= layer.taps * source.min() < layer.taps * source.max() <= wide.high


def test_hls4ml_cannot_follow_a_global_mean_in_parallel(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "keep_rows_and_columns", lambda node: node)
    try:
        generate(students.residual(images=2), tmp_path / "hls", io_type="io_parallel")
    except IndexError:
        return
    pytest.fail("this hls4ml knows global means in io_parallel: hw.hls.layers.keep_rows_and_columns can go")


@pytest.mark.slow
def test_hls4ml_cannot_follow_a_global_mean_in_distributed_arithmetic(tmp_path, monkeypatch):
    pytest.importorskip("da4ml")
    monkeypatch.setattr(layers, "dense_of_a_pixel", lambda node: node)
    try:
        generate(students.residual(images=2), tmp_path / "hls", strategy="distributed_arithmetic")
    except ValueError:
        return
    pytest.fail("this hls4ml knows single pixels in distributed arithmetic: hw.hls.layers.dense_of_a_pixel can go")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # hls4ml leaves its file open
def test_quartus_cannot_write_many_weights_with_reuse(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "tell_products", lambda node: node)
    network = Network("net", Shape(2, 4, 32), (students.conv("many", INPUT, 32, (1, 3)),))
    student = students.student_of(network, 0, 2)
    try:
        generate(student, tmp_path / "hls", backend="Quartus", io_type="io_parallel", reuse_factors={"many": 2})
    except TypeError:
        return
    pytest.fail("this hls4ml writes Quartus' weights with reuse: hw.hls.layers.tell_products can go")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("backend", "factor"), [("Vitis", 96), ("Vivado", 96), ("Quartus", 192), ("Catapult", 192)])
def test_many_weights_with_reuse_in_parallel(backend, factor, tmp_path):
    network = Network("net", Shape(2, 4, 32), (students.conv("many", INPUT, 32, (1, 3)),))
    student = students.student_of(network, 0, 20)
    exact(student, tmp_path, backend=backend, io_type="io_parallel", reuse_factors={"many": factor})


@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
def test_a_multiplier_of_whole_maps_serves_one_sum(backend, tmp_path):
    student = students.student_of(Network("net", Shape(2, 4, 4), (students.conv("c", INPUT, 8, (1, 3)),)), 0, 2)
    with pytest.raises(BadInput) as told:
        generate(student, tmp_path / "hls", backend=backend, io_type="io_parallel", reuse_factors={"c": 24})
    assert str(told.value) == "layer c: reuse factor 24 cannot be built; the nearest that can is 12"


@pytest.mark.slow
@needs_compiler
def test_vitis_computes_a_second_sum_of_whole_maps_wrongly(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "one_sum", lambda backend, io_type: False)
    student = students.student_of(Network("net", Shape(2, 4, 4), (students.conv("c", INPUT, 8, (1, 3)),)), 0, 4)
    generated = generate(student, tmp_path / "hls", io_type="io_parallel", reuse_factors={"c": 24})
    assert not compare(student, generated).exact, "this hls4ml is right: hw.hls.backends.one_sum can go for Vitis"


def test_hls4ml_silently_takes_another_reuse_factor(tmp_path):
    student = students.strided(images=2)
    names = identifiers((INPUT, *student.network.by_name))
    config = project._config(student, names, {"only": 4}, "Resource")
    settings = {"Backend": "Vitis", "IOType": "io_stream", "OutputDir": str(tmp_path)}
    with project._quiet():
        model = project._graph(config | settings, layer_list(student, names))
    node = next(node for node in model.get_layers() if node.name == "only")
    found = node.get_attr("reuse_factor")
    assert found != 4, "this hls4ml builds or refuses every reuse factor: hw.hls.reuse.allowed can go"
    assert found in reuse.allowed(student.network, student.network.output)


def test_single_pixels_become_dense_layers_and_global_means_windows():
    student = prepare(students.residual(images=2))
    names = identifiers((INPUT, *student.network.by_name))
    kinds = {
        (io_type, strategy): [node["class_name"] for node in layer_list(student, names, io_type, strategy)][-2:]
        for io_type, strategy in (
            ("io_stream", "auto"),
            ("io_stream", "distributed_arithmetic"),
            ("io_parallel", "distributed_arithmetic"),
        )
    }
    assert list(kinds.values()) == [
        ["GlobalAveragePooling2D", "Conv2D"],
        ["GlobalAveragePooling2D", "Dense"],
        ["AveragePooling2D", "Conv2D"],
    ]


def test_reuse_factors_from_a_folding():
    network = students.wide_resnet(images=1).network
    machine = pipeline(network, Budget("300 multipliers", macs=300))
    found = reuse.from_pipeline(network, machine)
    convs = [layer for layer in network.layers if layer.kind == "conv"]
    assert list(found) == [layer.name for layer in convs]
    assert len(set(found.values())) > 3
    for layer in convs:
        folding = machine.engines[layer.name]
        terms = layer.taps * network.input_shape(layer).channels
        wanted = terms * layer.channels / (folding.pe * folding.simd)
        ratios = {factor: max(factor, wanted) / min(factor, wanted) for factor in reuse.allowed(network, layer)}
        assert ratios[found[layer.name]] == min(ratios.values())
    assert reuse.choose(network, found, "Resource") | found == reuse.choose(network, found, "Resource")


def test_a_folding_of_another_network_is_refused():
    network = students.strided(images=1).network
    machine = pipeline(students.residual(images=1).network, Budget("other", macs=100))
    with pytest.raises(BadInput) as error:
        reuse.from_pipeline(network, machine)
    assert str(error.value) == "layer only: machine other has no engine for it; fold this network again"


def test_unroll_limits(tmp_path):
    network = Network("net", Shape(4, 8, 64), (students.conv("wide", INPUT, 64, (1, 3)),))
    student = students.student_of(network, 0, 2)
    for strategy in ("Latency", "distributed_arithmetic"):
        with pytest.raises(DoesNotFit) as error:
            reuse.choose(network, {}, strategy)
        assert str(error.value) == (
            f"layer wide: {strategy} with reuse factor 1 unrolls 12288 multiplications; 4096 at most are unrolled; "
            "take Resource with a reuse factor of 3 or more"
        )
    with pytest.raises(DoesNotFit) as error:
        generate(student, tmp_path / "hls", reuse_factors={"wide": 2})
    assert str(error.value) == (
        "layer wide: Resource with reuse factor 2 unrolls 6144 multiplications; 4096 at most are unrolled; "
        "take Resource with a reuse factor of 3 or more"
    )
    with pytest.raises(BadInput) as error:
        generate(student, tmp_path / "hls", strategy="Latency", reuse_factors={"wide": 3})
    assert str(error.value) == "layer wide: reuse factor 3 goes with strategy Resource, Latency has none"
    assert not (tmp_path / "hls").exists()


def test_maps_too_large_for_registers(tmp_path):
    network = Network("net", Shape(16, 16, 3), (students.conv("big", INPUT, 17, (1, 3)),))
    with pytest.raises(DoesNotFit) as error:
        generate(students.student_of(network, 0, 2), tmp_path / "hls", backend="Quartus", io_type="io_parallel")
    assert str(error.value) == (
        "layer big: io_parallel keeps its whole map of 16x16x17, 4352 values, in registers; "
        "4096 at most are partitioned; take io_stream"
    )


def test_depths_without_fifos(tmp_path):
    student = students.strided(images=2)
    with pytest.raises(BadInput) as error:
        generate(student, tmp_path / "hls", io_type="io_parallel", fifo_depths={Edge(INPUT, "only"): 3})
    assert str(error.value) == "io_type io_parallel: FIFO depths were given, and there are no FIFOs; take io_stream"


def test_refusals_of_a_strategy(tmp_path):
    student = students.strided(images=2)
    sentences = {
        ("Quartus", "io_parallel", "Latency"): "strategy Latency: not generated for Quartus; known are auto, Resource",
        ("Catapult", "io_parallel", "distributed_arithmetic"): (
            "strategy distributed_arithmetic: not generated for Catapult; known are auto, Latency, Resource"
        ),
        ("Quartus", "io_stream", "auto"): "io_type io_stream: not generated for Quartus; known are io_parallel",
    }
    for (backend, io_type, strategy), sentence in sentences.items():
        with pytest.raises(BadInput) as error:
            generate(student, tmp_path / "hls", backend=backend, io_type=io_type, strategy=strategy)
        assert str(error.value) == sentence


def test_missing_packages(tmp_path, monkeypatch):
    student = students.strided(images=2)
    monkeypatch.setitem(sys.modules, "da4ml", None)
    with pytest.raises(MissingTool) as error:
        generate(student, tmp_path / "hls", strategy="distributed_arithmetic")
    assert str(error.value) == (
        "strategy distributed_arithmetic needs the package da4ml, which is not installed: "
        "pip install 'pacemaker-codesign[hls]'"
    )
    monkeypatch.setitem(sys.modules, "hls4ml", None)
    with pytest.raises(MissingTool) as error:
        generate(student, tmp_path / "hls")
    assert str(error.value) == (
        "generating HLS needs the package hls4ml, which is not installed: pip install 'pacemaker-codesign[hls]'"
    )


def test_weights_outside_their_format():
    student = students.strided(images=2)
    outside = dict(student.integers) | {"only.weight": student.integers["only.weight"] + 1000}
    with pytest.raises(BadInput) as error:
        Student(student.network, student.formats, outside, student.images, student.labels, student.outputs, {})
    low, high = outside["only.weight"].min(), outside["only.weight"].max()
    assert str(error.value) == f"layer only: weights {low} to {high} lie outside fixed<8,2>"


def test_a_version_that_was_not_tested_is_told(tmp_path, monkeypatch):
    assert hls4ml.__version__ in TESTED, "run the slow tests of this file, then add the version to backends.TESTED"
    monkeypatch.setattr(hls4ml, "__version__", "9.9.9")
    said = []
    generate(students.strided(images=2), tmp_path / "hls", progress=said.append)
    assert said[0] == "hls4ml 9.9.9 is not a version tested here (1.3.0): trust what is compared"


@pytest.mark.slow
@needs_compiler
def test_fake_quantised_torch_reference_and_c_simulation_are_equal_in_every_layer(tmp_path):
    torch = pytest.importorskip("torch")
    from distill import quantize

    rng = np.random.default_rng(3)
    network = students.residual(images=1).network
    weights = {}
    for layer in network.layers:
        for kind, shape in network.weight_shapes(layer).items():
            spread = 1 / np.sqrt(np.prod(shape[:-1])) if kind == "weight" and layer.kind == "conv" else 0.5
            weights[f"{layer.name}.{kind}"] = rng.normal(1.0 if layer.kind == "affine" else 0.0, spread, shape)
    pixels = rng.integers(0, 256, (20, *network.input))
    images = torch.tensor(pixels).permute(0, 3, 1, 2).double() / 256
    formats = quantize.calibrate(network, weights, images.float(), 8, Format(8, 0, signed=False))
    module = quantize.FixedPoint(network, weights, formats).eval()
    formats, integers = quantize.integers(module)
    labels, outputs = np.zeros(20, np.int64), np.zeros((20, 1, 1, 10), np.int64)
    student = Student(network, formats, integers, pixels, labels, outputs, {})
    seen = {}

    def note(name, value):
        seen[name] = module.result(name, value)
        return seen[name]

    with torch.no_grad():
        quantize.run(network, module.double().weight, images, note)
    for name, expected in layer_outputs(student, pixels).items():
        found = seen[name].permute(0, 2, 3, 1).numpy() * 2.0 ** student.fraction(name)
        assert np.array_equal(found, expected), name
    exact(student, tmp_path)


def test_hls4ml_refuses_distributed_arithmetic_on_the_input(tmp_path, monkeypatch):
    pytest.importorskip("da4ml")
    config = project._config

    def everywhere(student, names, factors, strategy):
        made = config(student, names, factors, strategy)
        for layer in made["HLSConfig"]["LayerName"].values():
            layer["Strategy"] = strategy
        return made

    monkeypatch.setattr(project, "_config", everywhere)
    with pytest.raises(Exception, match="is not supported by DA optimizer"):
        generate(students.strided(images=2), tmp_path / "hls", strategy="distributed_arithmetic")
