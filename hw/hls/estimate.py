"""What hls4ml's design takes, counted from its templates: an estimate whose error nobody has measured.

A convolution has taps x inputs x outputs / reuse factor multipliers. Weights are constants where the reuse factor is 1,
and lie in block RAM where Resource reuses multipliers (`core=ROM_nP_BRAM`). Line buffers are `ap_shift_reg`, thus shift
registers in LUTs; windows are registers (`ARRAY_PARTITION complete`). Whatever a synthesis would decide is assumed in
the constants below.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hw.hls.backends import ADDERS
from hw.hls.fifos import PASSING_DEPTH
from hw.hls.templates import PIPELINED, Dataflow, Stream, padded_input
from hw.network import INPUT, Layer, Network
from hw.resources import CONTROL_LUTS, Resources, rom_memory, stream_memory
from hw.student import Student

DSP_FROM_BITS = 10
"""Products of which an operand has as many bits go to DSPs, narrower ones to LUTs: assumed."""
DSP_OPERANDS = (27, 18)
"""Bits of a DSP48E2's signed operands (UG579)."""
SHIFT_REGISTER_BITS = 32
"""Bits of a shift register that one LUT holds (UG474, UG574)."""
HLS4ML = "1.3.0"
"""The version whose templates are counted."""


class Bits(NamedTuple):
    """Bits of a pixel's channel by layer (and of the input), and of a weight by conv and affine."""

    activations: Mapping[str, int]
    weights: Mapping[str, int]


class _Count(NamedTuple):
    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram18: int = 0


def equal_bits(network: Network, activation_bits: int, weight_bits: int) -> Bits:
    """The same bits everywhere: where there is no student that says more."""
    names = (INPUT, *network.by_name)
    return Bits(dict.fromkeys(names, activation_bits), dict.fromkeys(names, weight_bits))


def student_bits(student: Student) -> Bits:
    """The bits of a student's formats; of one that is prepared for generation, those of all streams."""
    weights = {name: f.weight.width for name, f in student.formats.items() if f.weight is not None}
    return Bits({name: formats.out.width for name, formats in student.formats.items()}, weights)


def estimate(dataflow: Dataflow, depths: Mapping[str, int] | None, bits: Bits) -> Resources:
    """hls4ml's design with FIFOs of `depths` by edge; None for hls4ml's own, a whole frame each.

    `bits` are known for all layers of `dataflow.form`.
    """
    counts = [_layer(dataflow, layer, bits) for layer in dataflow.form.layers]
    counts += [_Count(lut=CONTROL_LUTS)] * len(dataflow.processes)
    counts += _fifos(dataflow, depths, bits)
    lut, ff, dsp, bram18 = (sum(column) for column in zip(*counts, strict=True))
    return Resources(lut, ff, dsp, bram18, "hls", "estimate", "count of hls4ml's templates", None, HLS4ML)


def project_depth(stream: Stream, depths: Mapping[str, int] | None) -> int:
    """The depth of a stream in a project generated with `depths` by edge; None for hls4ml's own."""
    if depths is None:
        return stream.pixels
    return depths.get(stream.edge, stream.pixels) if stream.edge else PASSING_DEPTH


def _fifos(dataflow: Dataflow, depths: Mapping[str, int] | None, bits: Bits) -> Iterator[_Count]:
    for stream in dataflow.streams:
        if not stream.port:
            width = stream.channels * bits.activations[stream.source]
            memory = stream_memory(project_depth(stream, depths), width)
            yield _Count(memory.lut, bram18=memory.bram18)


def _layer(dataflow: Dataflow, layer: Layer, bits: Bits) -> _Count:
    network = dataflow.form
    shape, source_bits = padded_input(network, layer), bits.activations[layer.inputs[0]]
    outputs = network.shapes[layer.name].channels
    registers = outputs * bits.activations[layer.name]
    if layer.kind == "add":
        return _Count(lut=outputs * (source_bits + 1), ff=registers)
    lines = window = 0
    # a mean over the whole map is hls4ml's global pooling, which keeps sums and no pixels
    if layer.windowed and not (layer.kind == "mean" and layer.kernel == shape[:2]):
        shift_register = math.ceil(shape.cols / SHIFT_REGISTER_BITS)
        lines = (layer.kernel.rows - 1) * shape.channels * source_bits * shift_register
        window = layer.taps * shape.channels * source_bits
    if layer.kind in ("max", "mean"):
        sum_bits = source_bits + (math.ceil(math.log2(layer.taps)) if layer.kind == "mean" else 0)
        operations = 1 if window == 0 else layer.taps - 1
        return _Count(lut=lines + operations * outputs * sum_bits, ff=window + outputs * sum_bits + registers)
    sums = _sums(dataflow, layer, source_bits, bits.weights[layer.name])
    return sums._replace(lut=sums.lut + lines, ff=sums.ff + window + registers)


def _sums(dataflow: Dataflow, layer: Layer, source_bits: int, weight_bits: int) -> _Count:
    """Multipliers, adders and weights of a conv or an affine."""
    network, factor, strategy = dataflow.form, dataflow.factors[layer.name], dataflow.strategies[layer.name]
    terms = layer.taps * network.input_shape(layer).channels if layer.kind == "conv" else 1
    products = math.ceil(terms * network.shapes[layer.name].channels / factor)
    sum_bits = source_bits + weight_bits + math.ceil(math.log2(terms))
    in_dsp = max(source_bits, weight_bits) >= DSP_FROM_BITS and strategy != ADDERS
    product_lut = 0 if in_dsp else _product_lut(source_bits, weight_bits, constant=factor == 1)
    stored = layer.kind == "conv" and factor > 1 and strategy not in PIPELINED
    return _Count(
        lut=products * (product_lut + sum_bits),
        ff=products * sum_bits,
        dsp=products * _product_dsp(source_bits, weight_bits) if in_dsp else 0,
        bram18=rom_memory(factor, products * weight_bits).bram18 if stored else 0,
    )


def _product_lut(a_bits: int, b_bits: int, *, constant: bool) -> int:
    """LUTs of a product: assumed. A constant has a digit in three that is not 0 in canonical signed digits."""
    if constant:
        return max(0, math.ceil(b_bits / 3) - 1) * (a_bits + b_bits)
    return math.ceil(a_bits * b_bits * 2 / 3)


def _product_dsp(a_bits: int, b_bits: int) -> int:
    wide, narrow = DSP_OPERANDS
    return math.ceil(max(a_bits, b_bits) / wide) * math.ceil(min(a_bits, b_bits) / narrow)
