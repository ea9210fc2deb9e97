"""A layer as the array sees it: its word of numbers, its weights as bytes, and what the RTL refuses."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hw import functions
from hw.accelerator import LineEngine
from hw.errors import BadInput, PacemakerError, UnsupportedLayer
from hw.network import Layer, Network
from hw.rtl.engines import division
from hw.student import Student, accumulator

SUM_BITS = 32
BIAS_BYTES = 4
BYTES_PER_CYCLE = (1, 2, 4, 8)
MOST_ALIGN = 20
"""Bits by which an add may shift an input to the finer one's grid; more would leave the sum's bits."""
MOST_RIGHT, MOST_LEFT = 34, 8
"""Shifts of a sum beyond which every result is 0, or saturated."""
KINDS = ("conv", "affine", "add", "max", "mean", "sums", "table", "depthwise")
"""As `pl_fields.sv` numbers them; a concat is an add of which every channel has one input, an upsample one of one."""


class Port(NamedTuple):
    """A port of line memory that a layer reads by.

    A pixel's or chunk's bytes lie `offset` ahead of where the layer is in `row` of the window, `step` bytes from pixel
    to pixel; those count that are, with the offset, from 0 to below `limit`. Values are shifted left by `align` bits.
    """

    row: int
    offset: int
    limit: int
    step: int
    row_bytes: int
    align: int
    signed: int


@dataclass(frozen=True)
class Word:
    """A layer's numbers in the order of `pl_fields.sv`, by its names; its ports; a mean's constants."""

    numbers: Mapping[str, int]
    ports: tuple[Port, ...]
    addend: int
    multiplier: int
    work_bits: int


def check(student: Student, engine: LineEngine) -> None:
    """Refuse what the RTL does not do.

    Raises:
        BadInput: lanes, a rate, or a latency that it does not have.
        UnsupportedLayer: a layer, or numbers that do not fit into a byte.
    """
    name = f"machine {engine.name}"
    if engine.lanes != 1:
        raise BadInput(f"{name}: {engine.lanes} lanes were found, the RTL of the line engine has 1")
    if engine.dram_bytes_per_cycle not in BYTES_PER_CYCLE:
        raise BadInput(
            f"{name}: dram_bytes_per_cycle {engine.dram_bytes_per_cycle} was found, the RTL wants 1, 2, 4 or 8"
        )
    if engine.dram_latency_cycles < 1:
        raise BadInput(f"{name}: dram_latency_cycles 0 was found; the RTL wants 1, in which line memory is read")
    for layer in student.network.layers:
        _check_layer(student, layer)
    for own, formats in student.formats.items():
        if formats.out.width > 8:
            raise UnsupportedLayer(
                f"layer {own}: {formats.out} was found, the RTL of the line engine wants 8 bits at most; that of a "
                "pipeline has no such limit"
            )


def _check_layer(student: Student, layer: Layer) -> None:
    def refuse(text: str) -> PacemakerError:
        return UnsupportedLayer(f"layer {layer.name}: {text}")

    weight = student.formats[layer.name].weight
    if weight is not None and (weight.width > 8 or not weight.signed):
        raise refuse(f"weights of {weight} were found, the RTL of the line engine wants signed ones of 8 bits at most")
    if weight is not None and accumulator(student, layer).width > SUM_BITS:
        raise refuse(f"sums of {accumulator(student, layer).width} bits were found, at most {SUM_BITS} are wanted")
    apart = max(_aligns(student, layer))
    if apart > MOST_ALIGN:
        raise refuse(f"inputs {apart} bits apart were found, at most {MOST_ALIGN} are wanted")


def task_rows(layer: Layer) -> int:
    """Input rows of a row task: of an add or concat one of each input, of a mean of disjoint windows one."""
    if layer.kind in ("add", "concat"):
        return len(layer.inputs)
    return 1 if layer.accumulates else layer.kernel.rows


def groups(network: Network, engine: LineEngine, layer: Layer) -> int:
    """Groups of pe channels."""
    return math.ceil(network.shapes[layer.name].channels / engine.pe)


def sum_words(network: Network, engine: LineEngine, layer: Layer) -> int:
    """Words of pe sums that a mean of disjoint windows keeps."""
    return groups(network, engine, layer) * network.shapes[layer.name].cols if layer.accumulates else 0


def _products(network: Network, layer: Layer) -> int:
    """Weights of a channel."""
    return network.layer_terms(layer) or int(layer.kind == "affine")


def _biased(layer: Layer) -> bool:
    return layer.kind == "affine" or (layer.convolves and layer.bias)


def weights(student: Student, engine: LineEngine, layer: Layer, first: int, count: int) -> bytes:
    """Biases and weights of some groups as they lie in DRAM and in weight memory; empty for layers without any.

    A group: its biases, four bytes each, the lowest first; then chunk by chunk, channel by channel, `simd` weights, or
    as many as are left.
    """
    network = student.network
    if not (layer.convolves or layer.kind == "affine"):
        return b""
    channels = network.shapes[layer.name].channels
    weight = student.integers[f"{layer.name}.weight"].reshape(-1, channels)
    parts = []
    for group in range(first, first + count):
        own = slice(group * engine.pe, min(channels, (group + 1) * engine.pe))
        if _biased(layer):
            parts.append(student.integers[f"{layer.name}.bias"][own].astype("<i4").tobytes())
        for chunk in range(0, len(weight), engine.simd):
            parts.append(weight[chunk : chunk + engine.simd, own].T.astype(np.int8).tobytes())
    return b"".join(parts)


def word(student: Student, engine: LineEngine, layer: Layer, first_sum: int) -> Word:
    """A layer's numbers; the sums that it keeps begin at word `first_sum`."""
    network = student.network
    source, made = network.input_shape(layer), network.shapes[layer.name]
    conv, depth, products = layer.convolves, source.channels, _products(network, layer)
    chunks = math.ceil(products / engine.simd) if conv else 1
    span = layer.kernel.cols * depth if conv else 1
    apart = depth if layer.kind == "depthwise" else 1
    row_step, term_step = divmod(engine.simd, span // apart) if conv else (0, 0)
    bias = BIAS_BYTES * _biased(layer)
    out = student.formats[layer.name].out
    mean = _mean(student, layer)
    right, left = _shifts(student, layer)
    numbers = {
        "KIND": KINDS.index(_kind(layer)),
        "COLS": made.cols if conv else max(source.cols, made.cols),
        "OUT_COLS": made.cols,
        "CHUNKS": chunks,
        "START": -layer.padding.left * depth,
        "SPAN": span,
        "ROW_STEP": row_step,
        "SPAN_STEP": term_step * apart,
        "LAST": made.channels - engine.pe * (groups(network, engine, layer) - 1),
        "CHANNELS": made.channels,
        "REST": products - engine.simd * (chunks - 1) if conv else 1,
        "BIAS": bias,
        "GROUP_BYTES": engine.pe * (products + bias),
        "KERNEL_COLS": layer.kernel.cols,
        "RIGHT": right,
        "LEFT": left,
        "HIGH": out.high,
        "LOW": out.low,
        "UP": mean["UP"],
        "DROP": mean["DROP"],
        "ZERO": mean["ZERO"],
        "SUMS": first_sum,
        "TABLE": tables(student).index(layer.name) if layer.kind == "table" else 0,
        "REPEAT": layer.factor.cols,
    }
    return Word(numbers, _ports(student, engine, layer), mean["ADDEND"], mean["MULTIPLIER"], mean["WORK_BITS"])


def tables(student: Student) -> list[str]:
    """The layers that look up, in order."""
    return [layer.name for layer in student.network.layers if layer.kind == "table"]


def table_bytes(student: Student, layer: Layer) -> list[int]:
    """What a table says of each byte; of those that its input never holds, the word of the nearest that it does."""
    source, out = student.formats[layer.inputs[0]].out, student.formats[layer.name].out
    read = np.arange(256)
    read = np.where(read < 128, read, read - 256) if source.signed else read
    found = functions.looked_up(layer.function, np.clip(read, source.low, source.high), source, out)
    return [int(number) & 255 for number in found]


def _kind(layer: Layer) -> str:
    if layer.accumulates:
        return "sums"
    return "add" if layer.kind in ("concat", "upsample") else layer.kind


def _ports(student: Student, engine: LineEngine, layer: Layer) -> tuple[Port, ...]:
    """Those of a layer.

    Rows in which a chunk of a conv has products, taps of a depthwise conv's chunk, inputs of an add or concat, taps of
    a pooling.
    """
    network = student.network
    source = network.input_shape(layer)
    depth, channels = source.channels, network.shapes[layer.name].channels
    step = depth if layer.accumulates else layer.stride.cols * depth
    bytes_and_sign = source.cols * depth, 0, int(student.formats[layer.inputs[0]].out.signed)
    if layer.kind == "conv":
        span = layer.kernel.cols * depth
        count = _spanned(span, layer.kernel.rows * span, engine.simd)
        return tuple(Port(j, -j * span, span, step, *bytes_and_sign) for j in range(count))
    if layer.kind in ("add", "concat"):
        return tuple(_joined(student, layer))
    taps = [(row, col * depth) for row in range(layer.kernel.rows) for col in range(layer.kernel.cols)]
    beyond = channels + engine.pe
    if layer.kind == "depthwise":
        within = layer.kernel.cols * depth + beyond
        return tuple(Port(row, offset, within, step, *bytes_and_sign) for row, offset in taps[: engine.simd])
    read = taps[:1] if layer.accumulates else taps
    return tuple(Port(row, offset, offset + beyond, step, *bytes_and_sign) for row, offset in read)


def _joined(student: Student, layer: Layer) -> Iterator[Port]:
    before = 0
    for row, (name, align) in enumerate(zip(layer.inputs, _aligns(student, layer), strict=True)):
        _, cols, depth = student.network.shapes[name]
        signed = int(student.formats[name].out.signed)
        yield Port(row, -before, depth, depth, cols * depth, align, signed)
        before += depth * (layer.kind == "concat")


def _spanned(span: int, products: int, simd: int) -> int:
    """The most rows of a window in which a chunk has products."""
    return max((min(first + simd, products) - 1) // span - first // span + 1 for first in range(0, products, simd))


def _shifts(student: Student, layer: Layer) -> tuple[int, int]:
    """Fraction bits of a sum to drop, or to add."""
    if layer.kind in ("mean", "table"):
        return 0, 0
    if layer.convolves or layer.kind == "affine":
        fraction = student.product_fraction(layer)
    else:
        fraction = max(student.fraction(name) for name in layer.inputs)
    shift = fraction - student.fraction(layer.name)
    return min(max(shift, 0), MOST_RIGHT), min(max(-shift, 0), MOST_LEFT)


def _aligns(student: Student, layer: Layer) -> list[int]:
    """Bits by which each input is shifted to the finest one's grid."""
    fractions = [student.fraction(name) for name in layer.inputs]
    return [max(fractions) - fraction for fraction in fractions]


def _mean(student: Student, layer: Layer) -> dict[str, int]:
    """A mean's constants, those of `pm_divide`; 0 of other layers."""
    if layer.kind != "mean":
        return dict.fromkeys(("UP", "DROP", "ZERO", "ADDEND", "MULTIPLIER", "WORK_BITS"), 0)
    return division(student, layer)
