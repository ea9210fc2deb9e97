"""The integer forward pass in numpy: the numbers that every execution must give, bit for bit.

Sums of products run through float64 matrix products, which are exact below 2**53; `accumulator` formats prove that no
sum comes near it.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hw.errors import BadInput
from hw.fixed import Format, Integers, divide, requantise
from hw.network import INPUT, Layer
from hw.student import Student


def forward(student: Student, images: Integers) -> Integers:
    """Outputs (n, rows, cols, channels) of integer images of that form, on the output format's grid."""
    return layer_outputs(student, images)[student.network.output.name]


def layer_outputs(student: Student, images: Integers) -> dict[str, Integers]:
    """Every layer's output, by name; the input, as it is read, among them.

    Raises:
        BadInput: images of another shape, or outside the input's format.
    """
    network = student.network
    if images.shape[1:] != tuple(network.input):
        raise BadInput(f"network {network.name}: images of {images.shape[1:]} were found, {network.input} is wanted")
    fmt = student.formats[INPUT].out
    if images.size and (images.min() < fmt.low or images.max() > fmt.high):
        raise BadInput(f"network {network.name}: images {images.min()} to {images.max()} lie outside {fmt}")
    results = {INPUT: images[:, :: network.row_step].astype(np.int64)}
    for layer in network.layers:
        results[layer.name] = _run(student, layer, [results[name] for name in layer.inputs])
    return results


def _run(student: Student, layer: Layer, inputs: list[Integers]) -> Integers:
    fmt = student.formats[layer.name].out
    fractions = [student.fraction(name) for name in layer.inputs]
    if layer.kind in ("conv", "affine"):
        weight = student.integers[f"{layer.name}.weight"]
        product = _convolve(layer, weight, inputs[0]) if layer.kind == "conv" else inputs[0] * weight
        total = product + student.integers.get(f"{layer.name}.bias", np.int64(0))
        return requantise(total, student.product_fraction(layer), fmt)
    if layer.kind in ("add", "concat"):
        return _join(layer, inputs, fractions, fmt)
    if layer.kind == "mean":
        total = _windows(layer, inputs[0], 0).sum(axis=(-2, -1))
        return divide(total, layer.taps, fractions[0], fmt)
    lowest = student.formats[layer.inputs[0]].out.low
    return requantise(_windows(layer, inputs[0], lowest).max(axis=(-2, -1)), fractions[0], fmt)


def _join(layer: Layer, inputs: list[Integers], fractions: list[int], fmt: Format) -> Integers:
    finest = max(fractions)
    aligned = [x << (finest - f) for x, f in zip(inputs, fractions, strict=True)]
    if layer.kind == "concat":
        return requantise(np.concatenate(aligned, axis=-1), finest, fmt)
    return requantise(aligned[0] + aligned[1], finest, fmt)


def _windows(layer: Layer, x: Integers, fill: int) -> Integers:
    """Windows (n, rows, cols, channels, kernel rows, kernel cols) of a padded input."""
    top, bottom, left, right = layer.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    windows = sliding_window_view(padded, tuple(layer.kernel), axis=(1, 2))
    return windows[:, :: layer.stride.rows, :: layer.stride.cols]


def _convolve(layer: Layer, weight: Integers, x: Integers) -> Integers:
    windows = _windows(layer, x, 0)
    matrix = weight.transpose(2, 0, 1, 3).reshape(-1, weight.shape[3]).astype(np.float64)
    columns = windows.reshape(*windows.shape[:3], len(matrix)).astype(np.float64)
    return (columns @ matrix).astype(np.int64)
