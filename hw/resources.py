"""LUTs, flip-flops, DSPs and block RAMs, each figure with its source.

Until synthesis stands behind them, they are counted from the structure and marked `estimate`: multipliers of convs and
affines and the memories that the RTL declares; LUTs and flip-flops are rough.
"""

from typing import Literal

import msgspec

from hw.accelerator import Engine, Pipeline
from hw.network import Layer, Network

BLOCK_RAM_BITS = 18 * 1024
LUT_RAM_BITS = 64
"""Bits that one LUT holds as distributed RAM or ROM on a 7-series device (UG474)."""
BLOCK_RAM_FROM_BITS = 4096
"""Memories of fewer bits go to LUTs."""
CONTROL_LUTS = 120
"""Counters and flow control of one engine: assumed."""


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a design takes. `error` is the measured relative error of an estimate, None while nobody has measured it."""

    lut: int
    ff: int
    dsp: int
    bram18: int
    design: Literal["hls", "rtl"]
    source: Literal["vendor", "synthesis", "estimate"]
    tool: str
    error: float | None


def estimate(network: Network, pipeline: Pipeline, activation_bits: int, weight_bits: int) -> Resources:
    """The RTL pipeline on a 7-series device: one DSP a multiplier, memories of 4096 bits or more in block RAM.

    `network` in the form that hardware runs.
    """
    totals = [0, 0, 0]
    dsp = 0
    for layer in network.layers:
        engine = pipeline.engines[layer.name]
        dsp += engine.pe * engine.simd if layer.kind == "conv" else engine.pe * (layer.kind == "affine")
        for i, value in enumerate(_engine(network, layer, engine, activation_bits, weight_bits)):
            totals[i] += value
    for edge, fifo in pipeline.fifos.items():
        channels = network.shapes[edge.partition(" -> ")[0]].channels
        bits = fifo.depth * channels * activation_bits
        memory = _block(bits, channels * activation_bits) if fifo.ram == "block" else (-(-bits // LUT_RAM_BITS), 0)
        totals[0] += memory[0]
        totals[2] += memory[1]
    return Resources(totals[0], totals[1], dsp, totals[2], "rtl", "estimate", "structural count", None)


def _engine(
    network: Network, layer: Layer, engine: Engine, activation_bits: int, weight_bits: int
) -> tuple[int, int, int]:
    """LUTs, flip-flops and block RAMs of one engine: adders, requantising, window, line buffer, weights, control."""
    inputs = network.input_shape(layer)
    sum_bits = activation_bits + weight_bits + 8
    lut = CONTROL_LUTS + engine.pe * sum_bits * 2
    ff = engine.pe * sum_bits * 2
    if layer.kind == "conv":
        lut += engine.pe * (engine.simd - 1) * sum_bits // 2
        ff += layer.kernel.cols * inputs.channels * activation_bits
    rows_bits = (layer.kernel.rows - 1) * inputs.cols * inputs.channels * activation_bits if layer.windowed else 0
    rows_bits *= _copies(layer, engine, inputs.channels)
    if layer.accumulates:
        rows_bits = network.shapes[layer.name].cols * inputs.channels * sum_bits
    lines = _memory(rows_bits, inputs.channels * activation_bits)
    weights = _memory(network.layer_weights(layer) * weight_bits, engine.pe * engine.simd * weight_bits)
    return lut + lines[0] + weights[0], ff, lines[1] + weights[1]


def _copies(layer: Layer, engine: Engine, channels: int) -> int:
    """Copies of a window's ring: one for every tap that is read in a cycle."""
    if layer.kind == "conv":
        return max(1, engine.simd // channels)
    return 1 if layer.accumulates else layer.taps


def _memory(bits: int, width_bits: int) -> tuple[int, int]:
    """LUTs and 18-kbit block RAMs of a memory that may be either."""
    return (-(-bits // LUT_RAM_BITS), 0) if bits < BLOCK_RAM_FROM_BITS else _block(bits, width_bits)


def _block(bits: int, width_bits: int) -> tuple[int, int]:
    """No LUTs; block RAMs side by side for the width and behind each other for the words, in their best shape.

    An 18-kbit block RAM has 512 words of 36 bits, or 1024 of 18, ... (UG473).
    """
    words = -(-bits // width_bits)
    deep = [(512 << k, 36 >> k) for k in range(5)]
    return 0, min(-(-words // depth) * -(-width_bits // max(width, 1)) for depth, width in deep)
