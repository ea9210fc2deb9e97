"""Bits and bytes that a layer keeps on chip: line buffer, window, weights. Counted from shapes, exact."""

import math

from hw.network import Layer, Network
from sim.result import Precision

ACCUMULATOR_BITS = 32
"""Bits of one sum where no student says how many it wants."""
BYTE_BITS = 8


def bytes_of(items: int, bits: int) -> int:
    """Whole bytes that hold `items` of `bits` each."""
    return -(-items * bits // BYTE_BITS)


def line_buffer_pixels(network: Network, layer: Layer) -> int:
    """Pixels of the KH - 1 rows that a layer keeps beside the one at hand.

    0 for a kernel of one row, for one as wide as its map that does not move sideways (its rows are its window), and for
    a layer that keeps sums. An upsample that repeats rows keeps the one at hand.
    """
    cols = network.input_shape(layer).cols
    if layer.kind == "upsample":
        return cols if layer.factor.rows > 1 else 0
    as_wide = layer.kernel.cols == cols and layer.padding.left == layer.padding.right == 0
    if not layer.mixes_rows or layer.accumulates or as_wide:
        return 0
    return (layer.kernel.rows - 1) * cols


def kept_sums(network: Network, layer: Layer) -> int:
    """Sums of all channels that a mean over disjoint windows has in progress: one, or a row of them."""
    if not layer.accumulates:
        return 0
    return network.shapes[layer.name].cols if layer.mixes_rows else 1


def line_buffer_bits(network: Network, layer: Layer, precision: Precision) -> int:
    """Bits of rows kept beside the one at hand: of pixels, or a row of sums in a mean over rows."""
    channels = network.input_shape(layer).channels
    sums = kept_sums(network, layer)
    row_of_sums = sums * channels * ACCUMULATOR_BITS if sums > 1 else 0
    return row_of_sums + line_buffer_pixels(network, layer) * channels * precision.bits_of(layer.inputs[0])


def line_buffer_bytes(network: Network, layer: Layer, precision: Precision) -> int:
    """`line_buffer_bits` in whole bytes."""
    return bytes_of(1, line_buffer_bits(network, layer, precision))


def window_bits(network: Network, layer: Layer, capacity_pixels: int, precision: Precision) -> int:
    """The rest of a windowed layer's buffer: pixels beyond the line buffer, or the sum at hand."""
    if not layer.windowed:
        return 0
    channels = network.input_shape(layer).channels
    if layer.accumulates:
        return channels * ACCUMULATOR_BITS if kept_sums(network, layer) == 1 else 0
    pixels = capacity_pixels - line_buffer_pixels(network, layer)
    return pixels * channels * precision.bits_of(layer.inputs[0])


def window_bytes(network: Network, layer: Layer, capacity_pixels: int, precision: Precision) -> int:
    """`window_bits` in whole bytes."""
    return bytes_of(1, window_bits(network, layer, capacity_pixels, precision))


def weight_bits(network: Network, layer: Layer, precision: Precision) -> int:
    """Weights in their width, biases and shifts in the accumulator's; a table's entries, once for all channels."""
    if layer.kind == "table":
        return precision.bits_of(layer.name) << precision.bits_of(layer.inputs[0])
    shapes = network.weight_shapes(layer)
    widths = {"weight": precision.weight_bits, "bias": ACCUMULATOR_BITS}
    return sum(math.prod(shape) * widths[key] for key, shape in shapes.items())


def weight_bytes(network: Network, layer: Layer, precision: Precision) -> int:
    """`weight_bits` in whole bytes: biases are whole bytes each, so that one rounding is enough."""
    return bytes_of(1, weight_bits(network, layer, precision))
