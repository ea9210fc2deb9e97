"""`Student -> Student`: the same integers, in layers that hls4ml 1.3 executes as written."""

from collections.abc import Callable

import msgspec
import numpy as np

from hw.fixed import Format, Integers, LayerFormats
from hw.hls import forms
from hw.network import Layer, Network
from hw.student import Student

BIT = Format(1, 1, signed=False)
Pieces = tuple[list[Layer], dict[str, LayerFormats], dict[str, Integers]]


def prepare(student: Student, *, wide_means: bool = False) -> Student:
    """All passes of this file, in their order; `wide_means` are for backends that take means in their input's type."""
    changed = widen_means(student) if wide_means else student
    return keep_unit_affines(separate_row_strides(join_by_adds(write_out_depthwise(changed))))


def write_out_depthwise(student: Student) -> Student:
    """Turn every depthwise conv into a plain one whose weights between different channels are 0.

    hls4ml has depthwise convs for streams of two of its backends alone. Zeros are products too where a reuse factor
    is given; without one they are constants, which a synthesis drops.
    """
    return _rewrite(student, _write_out)


def join_by_adds(student: Student) -> Student:
    """Turn every concat into 1x1 convs, each by the identity into channels of its own, and adds of two.

    A channel has a number from one input and zeros from the others, so that rounding once, in the conv, is all.
    hls4ml's own concatenation of streams takes two inputs of one type.
    """
    return _rewrite(student, _join)


def separate_row_strides(student: Student) -> Student:
    """Put a 1x1 identity of stride (s, 1) before every convolution of kernel (1, n > 1) and stride (s > 1, t).

    hls4ml's streaming convolution of kernel height 1 counts columns and no rows, so that it ignores the stride of
    rows, silently (`compute_output_buffer_1d`); its 1x1 convolution is another routine, and heeds it.
    """
    return _rewrite(student, _separate)


def widener(layer: Layer) -> str:
    """The name of the layer that widens what the mean `layer` reads."""
    return f"{layer.name}_wide"


def widen_means(student: Student) -> Student:
    """Put a 1x1 identity before every mean, whose result has room for the sum and the quotient.

    The averages of Quartus and Catapult (`avg` in their `nnet_pooling.h`) add up and divide in the type of their
    input: the sum saturates, and the quotient loses the bits by which it would be rounded. Their `pooling2d_cl` brings
    the kernel's extents into that type too.
    """
    return _rewrite(student, _widen)


def keep_unit_affines(student: Student) -> Student:
    """Turn every affine of scale 1 and shift 0 into a 1x1 convolution by the identity.

    hls4ml removes such a layer as one that does nothing, and the result's format, a ReLU perhaps, goes with it.
    """
    return _rewrite(student, _keep)


def _rewrite(student: Student, change: Callable[[Student, Layer], Pieces]) -> Student:
    layers: list[Layer] = []
    formats, integers = dict(student.formats), dict(student.integers)
    for layer in student.network.layers:
        pieces, new_formats, new_integers = change(student, layer)
        layers += pieces
        formats |= new_formats
        integers |= new_integers
    old = student.network
    network = Network(old.name, old.input, tuple(layers), old.row_step)
    return Student(network, formats, integers, student.images, student.labels, student.outputs, student.provenance)


def _separate(student: Student, layer: Layer) -> Pieces:
    layers = forms.selected(student.network, layer)
    if layers == [layer]:
        return layers, {}, {}
    name, channels = layers[0].name, layers[0].channels
    formats = LayerFormats(student.formats[layer.inputs[0]].out, BIT)
    return layers, {name: formats}, {f"{name}.weight": np.eye(channels, dtype=np.int64)[None, None]}


def _write_out(student: Student, layer: Layer) -> Pieces:
    layers = forms.plain(student.network, layer)
    if layers == [layer]:
        return layers, {}, {}
    weight = student.integers[f"{layer.name}.weight"]
    channels = np.arange(weight.shape[-1])
    whole = np.zeros((*weight.shape, channels.size), np.int64)
    whole[:, :, channels, channels] = weight
    return layers, {}, {f"{layer.name}.weight": whole}


def _join(student: Student, layer: Layer) -> Pieces:
    layers = forms.joined(student.network, layer)
    if layers == [layer]:
        return layers, {}, {}
    out, integers, first = student.formats[layer.name].out, {}, 0
    total = student.network.shapes[layer.name].channels
    for part in layers[: len(layer.inputs)]:
        own = student.network.shapes[part.inputs[0]].channels
        integers[f"{part.name}.weight"] = np.eye(own, total, first, dtype=np.int64)[None, None]
        first += own
    formats = {each.name: LayerFormats(out, BIT if each.kind == "conv" else None) for each in layers}
    return layers, formats, integers


def _widen(student: Student, layer: Layer) -> Pieces:
    if layer.kind != "mean":
        return [layer], {}, {}
    source, out = student.formats[layer.inputs[0]].out, student.formats[layer.name].out
    channels, name = student.network.input_shape(layer).channels, widener(layer)
    terms = layer.taps.bit_length()
    fraction = max(source.fraction, out.fraction + 1, 0) + terms
    integer = max(source.integer + (not source.signed), 1) + terms
    identity = Layer(name, "conv", layer.inputs, channels)
    rest = msgspec.structs.replace(layer, inputs=(name,))
    formats = LayerFormats(Format(integer + fraction, integer), BIT)
    return [identity, rest], {name: formats}, {f"{name}.weight": np.eye(channels, dtype=np.int64)[None, None]}


def _keep(student: Student, layer: Layer) -> Pieces:
    if layer.kind != "affine":
        return [layer], {}, {}
    weight, fmt = student.integers[f"{layer.name}.weight"], student.formats[layer.name].weight
    shift = student.integers[f"{layer.name}.bias"]
    if fmt is None or shift.any() or (weight * 2.0**-fmt.fraction != 1).any():
        return [layer], {}, {}
    conv = msgspec.structs.replace(layer, kind="conv", channels=len(weight), bias=True)
    return [conv], {}, {f"{layer.name}.weight": np.diag(weight)[None, None]}
