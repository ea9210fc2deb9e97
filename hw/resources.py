"""LUTs, flip-flops, DSPs and block RAMs, each figure with its source.

Until synthesis stands behind them, they are counted from the structure and marked `estimate`: multipliers and memories
are exact counts of what the design asks for, LUTs and flip-flops are rough.
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
        memory = _memory(fifo.depth * channels * activation_bits, channels * activation_bits)
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
    if layer.accumulates:
        rows_bits = network.shapes[layer.name].cols * inputs.channels * sum_bits
    lines = _memory(rows_bits, inputs.channels * activation_bits)
    weights = _memory(network.layer_weights(layer) * weight_bits, engine.pe * engine.simd * weight_bits)
    return lut + lines[0] + weights[0], ff, lines[1] + weights[1]


def _memory(bits: int, width_bits: int) -> tuple[int, int]:
    """LUTs and 18-kbit block RAMs of a memory; a block RAM's port is at most 36 bits wide."""
    if bits < BLOCK_RAM_FROM_BITS:
        return -(-bits // LUT_RAM_BITS), 0
    return 0, max(-(-bits // BLOCK_RAM_BITS), -(-width_bits // 36))
