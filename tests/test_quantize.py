"""The fixed-point twin against the integer reference, formats against brute force, accumulators against extremes."""

from dataclasses import replace
from fractions import Fraction
from math import floor

import msgspec
import numpy as np
import pytest
import torch
from random_networks import FUNCTIONS, random_network
from random_students import with_relus

from distill import data as data_sets
from distill import quantize
from distill import recipe as recipes
from distill import run as distillation
from distill import train as training_loop
from hw import functions
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Shape, Size
from hw.passes import ensemble
from hw.reference import forward, layer_outputs
from hw.student import Student, accumulator, load
from reports import students

SEEDS = range(80)
PIXEL = Format(8, 0, signed=False)


def float_weights(network, rng):
    """Weights that keep the spread of what goes through them; channels differ in scale."""
    weights = {}
    for layer in network.layers:
        for kind, shape in network.weight_shapes(layer).items():
            spread = 0.3 if kind == "bias" else 1 / np.sqrt(np.prod(shape[:-1]))
            weights[f"{layer.name}.{kind}"] = rng.normal(0, spread, shape) * rng.uniform(0.3, 1.5, shape[-1:])
    return weights


def twin(network, seed, bits=8, images=4, weights=None, settle=True):
    """A fixed-point module in float64 and the student of its integers; images as torch has them."""
    rng = np.random.default_rng(seed)
    weights = float_weights(network, rng) if weights is None else weights
    rows, cols, channels = network.input
    pixels = rng.integers(0, 256, (images, rows, cols, channels))
    x = torch.tensor(pixels / 256).permute(0, 3, 1, 2)
    formats = quantize.calibrate(network, weights, x.float(), bits, PIXEL)
    module = quantize.FixedPoint(network, weights, formats)
    settled, integers = quantize.integers(module)
    blank = np.zeros((images, *network.shapes[network.output.name]), np.int64)
    return module.double(), Student(network, settled, integers, pixels, np.zeros(images), blank, {}), x


def twins(seed, bits=8):
    return twin(with_relus(random_network(seed), seed), seed, bits)


def values_of(module, x):
    """Every layer's value in the twin."""
    return {name: value.permute(0, 2, 3, 1).numpy() for name, value in quantize.layer_values(module, x).items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_layer_of_the_twin_has_the_integers_of_the_reference(seed):
    module, student, x = twins(seed, bits=4 + seed % 7)
    expected = layer_outputs(student, student.images)
    for name, value in values_of(module, x).items():
        found = value * 2.0 ** student.fraction(name)
        assert np.array_equal(found, expected[name]), f"{name} of\n{student.network}"


@pytest.mark.parametrize("seed", range(40))
def test_tables_of_the_twin_have_the_integers_of_the_reference(seed):
    network = with_relus(random_network(seed, ("table", "upsample")), seed)
    module, student, x = twin(network, seed, bits=4 + seed % 7)
    expected = layer_outputs(student, student.images)
    for name, value in values_of(module, x).items():
        found = value * 2.0 ** student.fraction(name)
        assert np.array_equal(found, expected[name]), f"{name} of\n{student.network}"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_of_a_table_are_those_of_its_function(function):
    network = Network("n", Shape(1, 1, 4), (Layer("t", "table", (INPUT,), function=function),))
    formats = {INPUT: LayerFormats(Format(8, 4)), "t": LayerFormats(Format(8, 5))}
    module = quantize.FixedPoint(network, {}, formats).double()
    points = [-1.5, -0.25, 0.75, 2.5]
    x = torch.tensor(points, dtype=torch.float64).reshape(1, 4, 1, 1).requires_grad_()
    module(x).sum().backward()
    step = 1e-6
    ends = [functions.values(function, np.array(points) + side) for side in (step, -step)]
    np.testing.assert_allclose(x.grad.ravel().numpy(), (ends[0] - ends[1]) / (2 * step), atol=1e-6)


def test_the_gradient_of_a_table_stops_at_saturation():
    network = Network("n", Shape(1, 1, 2), (Layer("t", "table", (INPUT,), function="leaky_relu:0.5"),))
    formats = {INPUT: LayerFormats(Format(8, 4)), "t": LayerFormats(Format(4, 1))}
    x = torch.tensor([0.5, 3.0]).reshape(1, 2, 1, 1).requires_grad_()
    quantize.FixedPoint(network, {}, formats)(x).sum().backward()
    assert x.grad.ravel().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("seed", range(0, 80, 5))
def test_logits_of_the_twin_are_the_references_outputs(seed):
    module, student, x = twins(seed)
    with torch.no_grad():
        logits = module(x).reshape(len(x), student.outputs.shape[3], *student.outputs.shape[1:3])
    found = logits.permute(0, 2, 3, 1).numpy() * 2.0 ** student.fraction(student.network.output.name)
    assert np.array_equal(found, forward(student, student.images))


def test_the_random_twins_cover_every_kind_and_every_kind_of_end():
    networks = [with_relus(random_network(seed), seed) for seed in SEEDS]
    kinds = {"conv", "affine", "add", "concat", "max", "mean"}
    assert {layer.kind for network in networks for layer in network.layers} == kinds
    assert {network.output.kind for network in networks} == kinds
    assert any(network.output.relu and network.output.kind == "conv" for network in networks)


def test_an_ensemble_of_logits_is_exact_too():
    member = Network("m", Shape(4, 4, 2), (Layer("c", "conv", (INPUT,), 3, Size(4, 4), bias=True),))
    module, student, x = twin(ensemble("both", {"a": member, "b": member}), seed=4)
    with torch.no_grad():
        found = module(x).numpy() * 2.0 ** student.fraction("sum0")
    assert np.array_equal(found, forward(student, student.images).reshape(len(x), 3))


@pytest.mark.parametrize("seed", range(20))
def test_the_twin_stays_near_the_float_network(seed):
    network = with_relus(random_network(seed), seed)
    weights = float_weights(network, np.random.default_rng(seed))
    module, _, x = twin(network, seed, bits=14, weights=weights)
    tensors = {key: torch.tensor(value) for key, value in weights.items()}
    with torch.no_grad():
        exact = quantize.run(network, lambda layer, kind: tensors.get(f"{layer.name}.{kind}"), x, lambda _, v: v)
        found = module(x).reshape(exact.shape)
    assert float((found - exact).abs().max()) < 0.02 * max(1.0, float(exact.abs().max()))


def weighted(student):
    return [layer for layer in student.network.layers if layer.kind in ("conv", "affine")]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_input_whatever_leaves_an_accumulator(seed):
    _, student, _ = twins(seed, bits=2 + seed % 8)
    for layer in weighted(student):
        source, accumulator = student.formats[layer.inputs[0]].out, student.formats[layer.name].accumulator
        low = 0 if not source.signed else -(2 ** (source.width - 1))
        high = 2 ** (source.width - source.signed) - 1
        biases = student.integers.get(f"{layer.name}.bias")
        weight = student.integers[f"{layer.name}.weight"]
        for channel in range(weight.shape[-1]):
            column = weight[..., channel].ravel().tolist()
            bias = 0 if biases is None else int(biases[channel])
            most = sum(max(w * low, w * high) for w in column) + bias
            least = sum(min(w * low, w * high) for w in column) + bias
            for extreme in (most, least, most - bias, least - bias):
                assert -(2 ** (accumulator.width - 1)) <= extreme < 2 ** (accumulator.width - 1)
        assert accumulator.fraction == source.fraction + student.formats[layer.name].weight.fraction


def test_an_accumulator_is_as_wide_as_the_worst_image_needs():
    layer = Layer("c", "conv", (INPUT,), 1, Size(2, 2))
    weights = {"c.weight": np.full((2, 2, 1, 1), 0.5)}
    _, student, _ = twin(Network("n", Shape(2, 2, 1), (layer,)), 0, weights=weights)
    largest = 4 * 255 * int(student.integers["c.weight"][0, 0, 0, 0])
    worst = forward(student, np.full((1, 2, 2, 1), 255))
    assert worst.ravel().tolist() == [largest]
    assert 2 ** (student.formats["c"].accumulator.width - 2) <= largest


@pytest.mark.parametrize("seed", SEEDS)
def test_what_meets_in_an_add_has_one_fraction(seed):
    _, student, _ = twins(seed)
    for layer in student.network.layers:
        if layer.kind == "add":
            assert len({student.fraction(name) for name in layer.inputs if name != INPUT}) == 1
        if layer.kind == "max" and layer.inputs[0] != INPUT and layer is not student.network.output:
            assert student.fraction(layer.inputs[0]) == student.fraction(layer.name)


def test_shared_fractions_reach_through_chains_of_adds():
    def conv(name, source):
        return Layer(name, "conv", (source,), 2)

    layers = (
        conv("a", INPUT),
        conv("b", INPUT),
        conv("c", INPUT),
        Layer("ab", "add", ("a", "b")),
        Layer("bc", "add", ("b", "c")),
        Layer("all", "add", ("ab", "bc")),
        conv("head", "all"),
    )
    network = Network("n", Shape(3, 3, 2), layers)
    weights = float_weights(network, np.random.default_rng(1))
    weights["a.weight"] *= 16
    weights["c.weight"] /= 16
    _, student, _ = twin(network, 1, weights=weights)
    assert len({student.fraction(name) for name in "abc"}) == 1
    assert student.fraction("ab") == student.fraction("bc")
    alone = quantize.best_format(weights["c.weight"], 8, signed=True)
    assert student.fraction("c") < alone.fraction


@pytest.mark.parametrize("seed", SEEDS)
def test_results_have_a_sign_where_they_can_be_negative(seed):
    _, student, _ = twins(seed)
    can = {INPUT: False}
    for layer in student.network.layers:
        negative = layer.kind in ("conv", "affine") or any(can[name] for name in layer.inputs)
        can[layer.name] = negative and not layer.relu
        assert student.formats[layer.name].out.signed == can[layer.name], layer.name


def squared_error(values, width, integer, signed):
    """The error of a format, by exact rounding and saturation."""
    unit = Fraction(2) ** (integer - width)
    high = 2 ** (width - signed) - 1
    low = -(2 ** (width - 1)) if signed else 0
    rounded = [min(max(floor(Fraction(v) / unit + Fraction(1, 2)), low), high) * unit for v in values]
    return sum((float(r) - v) ** 2 for r, v in zip(rounded, values, strict=True))


@pytest.mark.parametrize("bits", [2, 4, 8, 12])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_format_has_the_least_error_of_all_around(seed, signed, bits):
    rng = np.random.default_rng(seed)
    draw = (rng.normal, rng.uniform, rng.laplace)[seed % 3]
    values = draw(0, 1, 60) * 2.0 ** rng.integers(-6, 7)
    values = values if signed else np.abs(values)
    fmt = quantize.best_format(values, bits, signed)
    holding = next(i for i in range(-30, 40) if 2.0 ** (i - signed) >= np.abs(values).max())
    errors = {i: squared_error(values.tolist(), bits, i, signed) for i in range(holding - 3, holding + 2)}
    assert (fmt.width, fmt.signed) == (bits, signed)
    assert fmt.integer in errors
    assert errors[fmt.integer] <= min(errors.values()) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("values", "bits", "signed", "integer"),
    [
        ([1.0, -1.0], 2, True, 2),
        ([1.0, 0.5], 2, False, 1),
        ([0.99, -0.7, 0.3], 8, True, 1),
        ([0.25] * 50 + [1.0], 2, True, 0),
        ([0.125, -0.125] * 50 + [1.0], 2, True, -1),
        ([0.0625, -0.0625] * 500 + [1.0], 2, True, -2),
        ([0.125] * 500 + [1.0], 1, False, -2),
    ],
)
def test_best_formats_worked_out_by_hand(values, bits, signed, integer):
    fmt = quantize.best_format(np.array(values), bits, signed)
    assert fmt == Format(bits, integer, signed)
    errors = [squared_error(values, bits, i, signed) for i in range(integer - 8, integer + 9)]
    assert errors[8] == min(errors)


def test_a_format_clips_an_outlier_where_that_costs_less():
    values = np.concatenate((np.linspace(-1, 1, 2000), [1.3]))
    assert quantize.best_format(values, 4, signed=True).integer == 1


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros((0, 3))])
@pytest.mark.parametrize("signed", [True, False])
def test_zeros_get_a_format_too(values, signed):
    fmt = quantize.best_format(values, 8, signed)
    assert (fmt.width, fmt.signed) == (8, signed)
    assert -2 <= fmt.integer <= 2


def test_a_layer_of_zeros_gives_zeros():
    layers = (Layer("c", "conv", (INPUT,), 2), Layer("head", "conv", ("c",), 3, Size(3, 3), bias=True))
    network = Network("n", Shape(3, 3, 2), layers)
    weights = float_weights(network, np.random.default_rng(0))
    weights["c.weight"] = np.zeros_like(weights["c.weight"])
    _, student, _ = twin(network, 0, weights=weights)
    assert not layer_outputs(student, student.images)["c"].any()
    assert (forward(student, student.images) == student.integers["head.bias"]).all()


@pytest.mark.parametrize("scale", [1e-10, 1e-30])
def test_a_layer_that_has_shrunk_to_nothing_keeps_its_bias(scale):
    network = Network("n", Shape(1, 1, 2), (Layer("c", "conv", (INPUT,), 2, bias=True),))
    weights = {"c.weight": np.full((1, 1, 2, 2), scale), "c.bias": np.array([0.75, -0.5])}
    _, student, _ = twin(network, 0, weights=weights)
    found = forward(student, student.images)[0].ravel() * 2.0 ** -student.fraction("c")
    assert found == pytest.approx([0.75, -0.5], abs=1e-4)


def test_gradients_pass_rounding_and_stop_at_saturation():
    network = Network("n", Shape(1, 1, 1), (Layer("c", "conv", (INPUT,), 1), Layer("d", "conv", ("c",), 1)))
    weights = {"c.weight": np.full((1, 1, 1, 1), 1.0), "d.weight": np.full((1, 1, 1, 1), 1.0)}
    module, _, _ = twin(network, 0, weights=weights)
    top = module.formats["c"].out.high * 2.0 ** -module.formats["c"].out.fraction
    for value, slope in ((top / 2, 1.0), (top * 4, 0.0)):
        x = torch.full((1, 1, 1, 1), value, dtype=torch.float64, requires_grad=True)
        quantize._on_grid(x, module.formats["c"].out).sum().backward()
        assert x.grad.item() == slope


def test_fine_tuning_reaches_every_weight():
    network = Network("n", Shape(4, 4, 2), (Layer("c", "conv", (INPUT,), 3, Size(2, 2), bias=True, relu=True),))
    module, _, x = twin(network, 2)
    module(x).square().sum().backward()
    assert {name for name, value in module.named_parameters() if value.grad.abs().sum() > 0} == {
        "values.c/weight",
        "values.c/bias",
    }


def widths(student):
    """Bits of all weights, and of all results but the input's and a last layer's with weights."""
    last = student.network.output
    weights = {student.formats[layer.name].weight.width for layer in weighted(student)}
    inner = [layer for layer in student.network.layers if layer is not last or layer not in weighted(student)]
    return weights, {student.formats[layer.name].out.width for layer in inner}


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("seed", range(0, 80, 4))
def test_weights_and_results_have_the_bits_that_were_asked_for(seed, bits):
    _, student, _ = twins(seed, bits)
    found = set().union(*widths(student))
    assert found <= {bits}
    assert student.formats[INPUT].out == PIXEL


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("seed", range(0, 80, 8))
def test_a_twin_that_was_trained_on_still_has_the_integers_of_the_reference(seed, bits):
    module, student, x = twins(seed, bits)
    optimizer = torch.optim.SGD(module.float().parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    before = {name: value.clone() for name, value in module.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        logits = module(torch.rand(x.shape, generator=generator))
        (logits / logits.detach().std().clamp_min(1e-3) - 1).square().mean().backward()
        optimizer.step()
    formats, integers = quantize.integers(module)
    trained = Student(student.network, formats, integers, student.images, student.labels, student.outputs, {})
    expected = layer_outputs(trained, trained.images)
    for name, value in values_of(module.double(), x).items():
        assert np.array_equal(value * 2.0 ** trained.fraction(name), expected[name]), f"{name} of\n{student.network}"
    for layer in weighted(trained):
        assert accumulator(trained, layer) == formats[layer.name].accumulator
    assert any(not torch.equal(value.float(), before[name]) for name, value in module.named_parameters())


def small_recipe(bits):
    """A teacher and its student, trained for a moment."""
    digits = recipes.load("digits")
    stages = tuple(stage for stage in digits.stages if stage.name in ("teacher", "kd"))
    return msgspec.structs.replace(
        digits,
        network=msgspec.structs.replace(digits.network, family="plain", depth=5),
        student=msgspec.structs.replace(digits.student, heads=("rows",)),
        training=msgspec.structs.replace(digits.training, epochs=2),
        quantisation=recipes.Quantisation(bits, epochs=2),
        stages=stages,
        seeds=1,
    )


def test_students_of_8_6_and_4_bits_equal_their_twins_on_every_test_image(tmp_path, monkeypatch):
    taught = []

    def train(stage, module, data, training, teachers, seed):
        taught.append((stage, [weight for weight, _ in teachers], training))
        return training_loop.train(stage, module, data, training, teachers, seed)

    monkeypatch.setattr(students, "train", train)
    for bits in (8, 6, 4):
        recipe = small_recipe(bits)
        distillation.run(recipe, tmp_path, workers=1)
        twins = students.make(tmp_path)
        assert (twins.bits, twins.equal_images) == (bits, (twins.test_images,))
        made = load(tmp_path / "student")
        assert set().union(*widths(made)) == {bits}
        assert np.array_equal(forward(made, made.images), made.outputs)
        assert all(accumulator(made, layer) == made.formats[layer.name].accumulator for layer in weighted(made))
        stage, weights, training = taught.pop()
        assert stage == recipe.stage("kd")
        assert weights == [1.0]
        assert (training.epochs, training.weight_decay, training.precision) == (2, 0.0, "float32")
    assert not taught


def test_a_wrong_weight_in_an_inner_layer_is_counted(tmp_path):
    recipe = msgspec.structs.replace(small_recipe(4), quantisation=recipes.Quantisation(4, epochs=0))
    distillation.run(recipe, tmp_path, workers=1)
    data = data_sets.load(recipe.data)
    stage = recipe.stage("kd")
    module = students._fine_tuned(recipe, tmp_path, stage, 0, data)
    made = students._integers(module, stage, 0, "")
    stem = made.network.layers[0].name
    weight = made.integers[f"{stem}.weight"].copy()
    weight.flat[int(np.abs(weight).argmax())] = 0
    wrong = replace(made, integers={**made.integers, f"{stem}.weight": weight})
    assert students._equal_images(module, made, data.test) == len(data.test)
    assert students._equal_images(module, wrong, data.test) < len(data.test)


@pytest.mark.parametrize("bits", [6, 4])
def test_recipes_of_fewer_bits_train_what_digits_trains(bits):
    fewer, digits = recipes.load(f"digits-{bits}-bits"), recipes.load("digits")
    assert fewer.quantisation.bits == bits
    for stage in digits.stages:
        marks = {recipes.fingerprint(recipe, stage.name, "rows", 1) for recipe in (fewer, digits)}
        assert len(marks) == 1
