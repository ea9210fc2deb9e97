"""The integer forward pass against loops over Python integers with fractions, which share nothing with it."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from random_students import random_student

from hw.errors import BadInput
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.reference import forward, layer_outputs
from hw.student import Student

SEEDS = range(90)


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
    if layer.kind in ("max", "mean"):
        seen = [pixel[k] for _, _, pixel in _window(layer, first, r, c)]
        chosen = max(seen) if layer.kind == "max" else Fraction(sum(seen), layer.kernel.rows * layer.kernel.cols)
        return chosen * unit[0]
    weight = student.integers[f"{layer.name}.weight"].tolist()
    total = student.integers[f"{layer.name}.bias"].tolist()[k] if f"{layer.name}.bias" in student.integers else 0
    if layer.kind == "affine":
        total += first[r][c][k] * weight[k]
    else:
        for i, j, pixel in _window(layer, first, r, c):
            total += sum(x * weight[i][j][channel][k] for channel, x in enumerate(pixel))
    return total * unit[0] * _unit(student.formats[layer.name].weight)


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
