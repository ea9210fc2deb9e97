"""The integer forward pass against loops over Python integers with fractions, which share nothing with it."""

import math
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import random_students
from random_networks import FUNCTIONS
from random_students import random_student

from hw import reference
from hw.errors import BadInput
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.reference import forward, layer_outputs
from hw.student import Student

SEEDS = range(90)
BITS = {"few": (2, 7), "to 16": (2, 16), "wide": (12, 22), "wider": (20, 26)}
WIDE = [(bits, seed) for bits in BITS for seed in range(12)]


def naive_outputs(student, image):
    """Every layer's integers of one image (nested lists [row][col][channel]), one output number at a time."""
    network = student.network
    values = {INPUT: [row for i, row in enumerate(image) if i % network.row_step == 0]}
    for layer in network.layers:
        rows, cols, channels = network.shapes[layer.name]
        values[layer.name] = [
            [[_number(student, layer, values, r, c, k) for k in range(channels)] for c in range(cols)]
            for r in range(rows)
        ]
    return values


def _number(student, layer, values, r, c, k):
    """One number: the exact value that the layer gives there, rounded half up on its grid, clipped to its bits."""
    fmt = student.formats[layer.name].out
    exact = _exact(student, layer, values, r, c, k)
    scaled = exact * Fraction(2) ** (fmt.width - fmt.integer)
    rounded = floor(scaled + Fraction(1, 2))
    if layer.relu:
        rounded = max(rounded, 0)
    top = 2 ** (fmt.width - 1) - 1 if fmt.signed else 2**fmt.width - 1
    bottom = -(2 ** (fmt.width - 1)) if fmt.signed else 0
    return min(max(rounded, bottom), top)


def _exact(student, layer, values, r, c, k):
    unit = [_unit(student.formats[name].out) for name in layer.inputs]
    first = values[layer.inputs[0]]
    if layer.kind == "add":
        return first[r][c][k] * unit[0] + values[layer.inputs[1]][r][c][k] * unit[1]
    if layer.kind == "concat":
        joined = [x * u for name, u in zip(layer.inputs, unit, strict=True) for x in values[name][r][c]]
        return joined[k]
    if layer.kind == "upsample":
        return first[r // layer.factor.rows][c // layer.factor.cols][k] * unit[0]
    if layer.kind in ("max", "mean"):
        seen = [pixel[k] for _, _, pixel in _window(layer, first, r, c)]
        chosen = max(seen) if layer.kind == "max" else Fraction(sum(seen), layer.kernel.rows * layer.kernel.cols)
        return chosen * unit[0]
    if layer.kind == "table":
        return _function(layer.function, first[r][c][k] * unit[0])
    weight = student.integers[f"{layer.name}.weight"].tolist()
    total = student.integers[f"{layer.name}.bias"].tolist()[k] if f"{layer.name}.bias" in student.integers else 0
    if layer.kind == "affine":
        total += first[r][c][k] * weight[k]
    else:
        for i, j, pixel in _window(layer, first, r, c):
            total += sum(x * weight[i][j][channel][k] for channel, x in enumerate(pixel))
    return total * unit[0] * _unit(student.formats[layer.name].weight)


def _function(word, x):
    """The function in fractions where they hold it, else by Python's own floats; its definition in a book."""
    name, *numbers = word.split(":")
    numbers = [float(number) for number in numbers]
    if name == "leaky_relu":
        return x if x >= 0 else x * Fraction(numbers[0])
    if name == "clip":
        return min(max(x, Fraction(numbers[0])), Fraction(numbers[1]))
    hard = min(max(x + 3, Fraction(0)), Fraction(6)) / 6
    if name in ("hardsigmoid", "hardswish"):
        return hard if name == "hardsigmoid" else x * hard
    return Fraction(_smooth(name, numbers, float(x)))


def _smooth(name, numbers, x):
    if name == "elu":
        return x if x > 0 else numbers[0] * (math.exp(x) - 1)
    if name == "gelu":
        return x * math.erfc(-x / math.sqrt(2)) / 2
    if name == "softplus":
        return max(x, 0) + math.log1p(math.exp(-abs(x)))
    if name == "tanh":
        return math.tanh(x)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    z = 2 * inner if name == "gelu_tanh" else x
    logistic = 1 / (1 + math.exp(-z)) if z > -700 else 0.0
    return logistic if name == "sigmoid" else x * logistic


def _unit(fmt):
    return Fraction(2) ** (fmt.integer - fmt.width)


def _window(layer, rows, r, c):
    """Places in the kernel, and pixels there; places outside of the map are left out."""
    for i in range(layer.kernel.rows):
        for j in range(layer.kernel.cols):
            y, x = r * layer.stride.rows + i - layer.padding.top, c * layer.stride.cols + j - layer.padding.left
            if 0 <= y < len(rows) and 0 <= x < len(rows[0]):
                yield i, j, rows[y][x]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_layer_gives_the_integers_of_a_naive_implementation(seed):
    student = random_student(seed)
    found = layer_outputs(student, student.images)
    for n, image in enumerate(student.images.tolist()):
        for name, expected in naive_outputs(student, image).items():
            assert found[name][n].tolist() == expected, f"{name} of\n{student.network}"


@pytest.mark.parametrize("seed", range(60))
def test_tables_give_the_integers_of_their_functions(seed):
    student = random_student(seed, more=("table", "upsample"))
    found = layer_outputs(student, student.images)
    for n, image in enumerate(student.images.tolist()):
        for name, expected in naive_outputs(student, image).items():
            assert found[name][n].tolist() == expected, f"{name} of\n{student.network}"


def test_the_random_students_have_every_function():
    layers = [layer for seed in range(60) for layer in random_student(seed, more=("table", "upsample")).network.layers]
    assert {layer.function for layer in layers if layer.kind == "table"} == set(FUNCTIONS)


def wide_student(monkeypatch, bits, seed):
    """A random student whose numbers have other widths: sums of 4 to about 60 bits."""

    def fmt(rng, fraction, signed):
        width = int(rng.integers(BITS[bits][0], BITS[bits][1] + 1))
        return Format(width, width - fraction, signed)

    monkeypatch.setattr(random_students, "_format", fmt)
    return random_student(seed)


@pytest.mark.parametrize(("bits", "seed"), WIDE)
def test_numbers_of_few_and_of_many_bits_are_as_exact(monkeypatch, bits, seed):
    student = wide_student(monkeypatch, bits, seed)
    found = layer_outputs(student, student.images)
    for n, image in enumerate(student.images.tolist()):
        for name, expected in naive_outputs(student, image).items():
            assert found[name][n].tolist() == expected, f"{name} of\n{student.network}"


def test_sums_of_the_random_students_fit_float32_float64_and_neither(monkeypatch):
    students = [wide_student(monkeypatch, bits, seed) for bits, seed in WIDE]
    widths = [f.accumulator.width - 1 for student in students for f in student.formats.values() if f.accumulator]
    assert sum(width <= 24 for width in widths) > 10
    assert sum(24 < width <= 53 for width in widths) > 10
    assert sum(width > 53 for width in widths) > 3


def lone_conv(source, weights, out, bias=()):
    """A student of one 1x1 conv, from len(weights) channels to one."""
    layer = Layer("c", "conv", (INPUT,), 1, bias=bool(bias))
    network = Network("net", Shape(1, 1, len(weights)), (layer,))
    integers = {"c.weight": np.array(weights).reshape(1, 1, -1, 1)} | ({"c.bias": np.array(bias)} if bias else {})
    formats = {INPUT: LayerFormats(source), "c": LayerFormats(out, Format(40, 40))}
    none = np.zeros((0, 1, 1, len(weights)), np.int64)
    return Student(network, formats, integers, none, np.zeros(0, np.int64), none[..., :1], {})


@pytest.mark.parametrize(("pixel", "weight"), [(11, 12), (12, 12), (13, 12), (26, 26), (26, 27), (27, 27), (30, 29)])
def test_a_sum_is_exact_where_each_of_its_products_would_fit_a_narrower_float(pixel, weight):
    source, largest = Format(pixel, pixel, signed=False), (1 << weight) - 1
    student = lone_conv(source, (largest, largest), Format(62, 62))
    images = np.array([[source.high, source.high - 1], [source.high, 0], [1, 0]]).reshape(-1, 1, 1, 2)
    expected = [(2 * source.high - 1) * largest, source.high * largest, largest]
    assert forward(student, images).ravel().tolist() == expected


@pytest.mark.parametrize("bits", [23, 24, 52, 53, 60])
def test_a_bias_beside_a_power_of_two_is_not_rounded_away(bits):
    student = lone_conv(Format(2, 2), (1,), Format(62, 62), bias=(1 << bits,))
    assert forward(student, np.array([-1, 1]).reshape(2, 1, 1, 1)).ravel().tolist() == [
        (1 << bits) - 1,
        (1 << bits) + 1,
    ]


@pytest.mark.parametrize("width", [23, 24, 25, 52, 53, 54, 60])
def test_a_sum_of_two_inputs_may_need_a_bit_more_than_either(width):
    pool = Layer("m", "max", (INPUT,))
    network = Network("net", Shape(1, 1, 1), (pool, Layer("a", "add", (INPUT, "m"))))
    formats = {
        INPUT: LayerFormats(Format(width, width, signed=False)),
        "m": LayerFormats(Format(width, width)),
        "a": LayerFormats(Format(width + 1, width + 1, signed=False)),
    }
    even, clipped = (1 << width) - 2, (1 << width - 1) - 1
    image = np.array([even, clipped, 1]).reshape(3, 1, 1, 1)
    student = Student(network, formats, {}, image, np.zeros(3, np.int64), image, {})
    assert forward(student, image).ravel().tolist() == [even + clipped, 2 * clipped, 2]


@pytest.mark.parametrize("cached", [1, 300, 1 << 30])
def test_how_many_images_go_at_once_changes_nothing(monkeypatch, cached):
    student = random_student(11, images=7)
    one_by_one = np.concatenate([forward(student, student.images[n : n + 1]) for n in range(7)])
    alone = [layer_outputs(student, student.images[n : n + 1]) for n in range(7)]
    monkeypatch.setattr(reference, "CACHED", cached)
    assert np.array_equal(forward(student, student.images), one_by_one)
    for name, values in layer_outputs(student, student.images).items():
        assert values.dtype == np.int64
        assert np.array_equal(values, np.concatenate([outputs[name] for outputs in alone]))


def test_pixels_may_come_as_bytes_and_are_left_alone():
    student = lone_conv(Format(8, 8, signed=False), (3, -7), Format(16, 16))
    pixels = np.array([[255, 0], [0, 255], [1, 2]], np.uint8).reshape(3, 1, 1, 2)
    assert forward(student, pixels).ravel().tolist() == [765, -1785, -11]
    assert layer_outputs(student, pixels)[INPUT].ravel().tolist() == pixels.ravel().tolist() == [255, 0, 0, 255, 1, 2]


def test_the_random_students_cover_what_can_go_wrong():
    layers = [(student, layer) for student in map(random_student, SEEDS) for layer in student.network.layers]
    assert {layer.kind for _, layer in layers} == {"conv", "affine", "add", "concat", "max", "mean"}

    def inputs(student, layer):
        return [student.formats[name].out for name in layer.inputs]

    for kind in ("add", "concat"):
        assert any(len({f.fraction for f in inputs(s, x)}) > 1 for s, x in layers if x.kind == kind)
    assert any(any(x.padding) and inputs(s, x)[0].signed for s, x in layers if x.kind == "max")
    assert any(x.taps % 2 and x.taps > 1 for _, x in layers if x.kind == "mean")
    assert any(x.relu and x is s.network.output for s, x in layers)
    assert any(s.network.row_step > 1 for s, _ in layers)


def test_many_random_results_are_neither_clipped_nor_zero():
    inside = total = 0
    for student in map(random_student, SEEDS):
        outputs = layer_outputs(student, student.images)
        for layer in student.network.layers:
            fmt, values = student.formats[layer.name].out, outputs[layer.name]
            inside += ((values > fmt.low) & (values < fmt.high) & (values != 0)).sum()
            total += values.size
    assert inside > 0.4 * total


def test_a_maximum_of_negative_numbers_ignores_its_padding():
    layer = Layer("max", "max", (INPUT,), kernel=Size(3, 3), padding=Padding(1, 1, 1, 1))
    network = Network("net", Shape(2, 2, 1), (layer,))
    formats = dict.fromkeys((INPUT, "max"), LayerFormats(Format(8, 8)))
    image = np.array([-5, -7, -9, -3]).reshape(1, 2, 2, 1)
    student = Student(network, formats, {}, image, np.zeros(1, np.int64), image, {})
    assert forward(student, image).ravel().tolist() == [-3, -3, -3, -3]


def test_a_mean_rounds_half_up_on_both_sides_of_zero():
    layer = Layer("mean", "mean", (INPUT,), kernel=Size(1, 2), stride=Size(1, 2))
    network = Network("net", Shape(1, 8, 1), (layer,))
    formats = dict.fromkeys((INPUT, "mean"), LayerFormats(Format(8, 8)))
    image = np.array([1, 2, -1, -2, 0, -1, 127, 127]).reshape(1, 1, 8, 1)
    student = Student(network, formats, {}, image, np.zeros(1, np.int64), image, {})
    assert forward(student, image).ravel().tolist() == [2, -1, 0, 127]


def test_forward_is_the_last_layers_output():
    student = random_student(3)
    last = student.network.output.name
    assert np.array_equal(forward(student, student.images), layer_outputs(student, student.images)[last])


def test_no_images_give_no_outputs():
    student = random_student(3)
    assert forward(student, student.images[:0]).shape == (0, *student.outputs.shape[1:])


def small_student():
    network = Network("net", Shape(2, 3, 1), (Layer("max", "max", (INPUT,)),))
    formats = dict.fromkeys((INPUT, "max"), LayerFormats(Format(4, 4)))
    images = np.zeros((1, 2, 3, 1), np.int64)
    return Student(network, formats, {}, images, np.zeros(1, np.int64), images, {})


@pytest.mark.parametrize(("value", "span"), [(8, "0 to 8"), (-9, "-9 to 0")])
def test_images_outside_the_format_are_refused(value, span):
    images = np.zeros((2, 2, 3, 1), np.int64)
    images[1, 1, 2, 0] = value
    with pytest.raises(BadInput) as error:
        forward(small_student(), images)
    assert str(error.value) == f"network net: images {span} lie outside fixed<4,4>"


def test_images_at_both_ends_of_the_format_are_taken():
    images = np.array([-8, 7, 0, 1, 2, 3]).reshape(1, 2, 3, 1)
    assert np.array_equal(forward(small_student(), images), images)


@pytest.mark.parametrize(
    ("shape", "found"), [((1, 3, 2, 1), "(3, 2, 1)"), ((2, 3, 1), "(3, 1)"), ((1, 2, 3, 1, 1), "(2, 3, 1, 1)")]
)
def test_images_of_another_shape_are_refused(shape, found):
    with pytest.raises(BadInput) as error:
        forward(small_student(), np.zeros(shape, np.int64))
    assert str(error.value) == f"network net: images of {found} were found, 2x3x1 is wanted"
