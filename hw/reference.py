"""The integer forward pass in numpy: the numbers that every execution must give, bit for bit.

A layer holds its integers in the narrowest of float32, float64 and int64 in which none on its way is rounded, whatever
the order of a sum: formats and weights prove it (`_largest`). Matrix products of floats are the fast ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hw import functions
from hw.errors import BadInput
from hw.fixed import Exact, Integers, divide, finer, requantise
from hw.network import INPUT, Layer
from hw.student import Student

Images = NDArray[np.integer[Any]]
Kind = type[np.float32 | np.float64 | np.int64]
FLOATS: tuple[tuple[int, Kind], ...] = ((24, np.float32), (53, np.float64))
"""Floats, and of how many bits they hold every integer, whatever its sign."""
CACHED = 1 << 17
"""Numbers in the largest map of the images that go through the layers together, so that they stay in a core's cache."""


def forward(student: Student, images: Images) -> Integers:
    """The last layer's output (n, rows, cols, channels) of integer images of that form; raises as `layer_outputs`."""
    name = student.network.output.name
    return _outputs(student, images, (name,))[name]


def layer_outputs(student: Student, images: Images) -> dict[str, Integers]:
    """Every layer's output, by name; the input, as it is read, among them.

    Raises:
        BadInput: images of another shape, or outside the input's format.
    """
    return _outputs(student, images, student.network.shapes)


def _outputs(student: Student, images: Images, names: Iterable[str]) -> dict[str, Integers]:
    network = student.network
    if images.shape[1:] != tuple(network.input):
        raise BadInput(f"network {network.name}: images of {images.shape[1:]} were found, {network.input} is wanted")
    fmt = student.formats[INPUT].out
    if images.size and (images.min() < fmt.low or images.max() > fmt.high):
        raise BadInput(f"network {network.name}: images {images.min()} to {images.max()} lie outside {fmt}")
    results = {name: np.empty((len(images), *network.shapes[name]), np.int64) for name in names}
    kinds = {layer.name: _narrowest(_largest(student, layer)) for layer in network.layers}
    weights = {key: x.astype(kinds.get(key.rpartition(".")[0], np.int64)) for key, x in student.integers.items()}
    at_once = max(1, CACHED // max(shape.pixels * shape.channels for shape in network.shapes.values()))
    for i in range(0, len(images), at_once):
        for name, values in _values(student, kinds, weights, images[i : i + at_once]):
            if name in results:
                results[name][i : i + at_once] = values
    return results


def _narrowest(largest: int) -> Kind:
    return next((kind for bits, kind in FLOATS if largest < 1 << bits), np.int64)


def _largest(student: Student, layer: Layer) -> int:
    """No integer on a layer's way has a larger magnitude: aligned inputs, sums in any order, what rounding adds."""
    sources = [student.formats[name].out for name in layer.inputs]
    if layer.kind == "table":
        return max(max(-fmt.low, fmt.high) for fmt in (*sources, student.formats[layer.name].out))
    fraction = max(source.fraction for source in sources)
    reach = [max(-source.low, source.high) << (fraction - source.fraction) for source in sources]
    total = {"add": sum(reach), "mean": reach[0] * layer.taps}.get(layer.kind, max(reach))
    if layer.weighted:
        # Floats do not wrap, and a sum of magnitudes that was rounded is at least 2**53.
        weight = np.abs(student.integers[f"{layer.name}.weight"]).astype(np.float64)
        bias = np.abs(student.integers.get(f"{layer.name}.bias", np.zeros(1, np.int64)))
        sums = weight.reshape(-1, weight.shape[-1]).sum(axis=0)
        total = max(reach[0], int((sums * reach[0] + bias).max()))
        fraction = student.product_fraction(layer)
    shift = fraction - student.fraction(layer.name)
    return total + (1 << shift >> 1) if shift > 0 else total << -shift


def _values(
    student: Student, kinds: Mapping[str, Kind], weights: Mapping[str, Exact], images: Images
) -> Iterator[tuple[str, Exact]]:
    """The input and every layer by name, each let go behind its last reader."""
    network = student.network
    live: dict[str, Exact] = {INPUT: images[:, :: network.row_step]}
    yield INPUT, live[INPUT]
    for layer in network.layers:
        inputs = [live[name].astype(kinds[layer.name], copy=False) for name in layer.inputs]
        live[layer.name] = _run(student, layer, weights, inputs)
        yield layer.name, live[layer.name]
        for name in layer.inputs:
            if network.consumers[name][-1] == layer.name:
                del live[name]


def _run(student: Student, layer: Layer, weights: Mapping[str, Exact], inputs: list[Exact]) -> Exact:
    fmt = student.formats[layer.name].out
    fractions = [student.fraction(name) for name in layer.inputs]
    if layer.weighted:
        total = _products(layer, weights[f"{layer.name}.weight"], inputs[0])
        total += weights.get(f"{layer.name}.bias", 0)
        return requantise(total, student.product_fraction(layer), fmt)
    if layer.kind in ("add", "concat"):
        finest = max(fractions)
        aligned = [finer(x, finest - fraction) for x, fraction in zip(inputs, fractions, strict=True)]
        joined = np.concatenate(aligned, axis=-1) if layer.kind == "concat" else aligned[0] + aligned[1]
        return requantise(joined, finest, fmt)
    if layer.kind == "mean":
        total = _windows(layer, inputs[0], 0).sum(axis=(3, 4)).astype(np.int64)
        return divide(total, layer.taps, fractions[0], fmt)
    if layer.kind == "table":
        source = student.formats[layer.inputs[0]].out
        found = functions.looked_up(layer.function, inputs[0].astype(np.int64), source, fmt)
        return found.astype(inputs[0].dtype)
    if layer.kind == "upsample":
        repeated = inputs[0].repeat(layer.factor.rows, axis=1).repeat(layer.factor.cols, axis=2)
        return requantise(repeated, fractions[0], fmt)
    lowest = student.formats[layer.inputs[0]].out.low
    return requantise(_windows(layer, inputs[0], lowest).max(axis=(3, 4)), fractions[0], fmt)


def _windows(layer: Layer, x: Exact, fill: int) -> Exact:
    """Windows (n, rows, cols, kernel rows, kernel cols, channels) of a padded input."""
    top, bottom, left, right = layer.padding
    if any(layer.padding):
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    windows = sliding_window_view(x, tuple(layer.kernel), axis=(1, 2))
    return windows[:, :: layer.stride.rows, :: layer.stride.cols].transpose(0, 1, 2, 4, 5, 3)


def _products(layer: Layer, weight: Exact, x: Exact) -> Exact:
    if layer.kind == "conv":
        return _convolve(layer, weight, x)
    if layer.kind == "affine":
        return x * weight
    return np.einsum("nyxijc,ijc->nyxc", _windows(layer, x, 0), weight)  # type: ignore[no-any-return]  # numpy is lax


def _convolve(layer: Layer, weight: Exact, x: Exact) -> Exact:
    windows = _windows(layer, x, 0)
    matrix = weight.reshape(-1, weight.shape[3])
    # A product a row: small ones stay on one thread, where a large one would spin on all of a busy machine's.
    return windows.reshape(*windows.shape[:3], len(matrix)) @ matrix
