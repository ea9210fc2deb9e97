"""LUTs, flip-flops, DSPs and block RAMs, each figure with its source.

Until synthesis stands behind them, they are counted from the structure and marked `estimate`: multipliers of convs and
affines and the memories that the RTL declares; LUTs and flip-flops are rough.
"""

from typing import Literal, NamedTuple

import msgspec

from hw.accelerator import Engine, Fifo, Pipeline
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


class Memory(NamedTuple):
    """What a memory takes: LUTs as distributed RAM or ROM, or block RAMs of 18 kbit."""

    lut: int
    bram18: int


def estimate(network: Network, pipeline: Pipeline, activation_bits: int, weight_bits: int) -> Resources:
    """The RTL pipeline on a 7-series device: one DSP a multiplier, memories of 4096 bits or more in block RAM.

    `network` in the form that hardware runs.
    """
    lut = ff = dsp = bram18 = 0
    for layer in network.layers:
        engine = pipeline.engines[layer.name]
        dsp += dsps(layer, engine)
        logic_lut, logic_ff = _logic(network, layer, engine, activation_bits, weight_bits)
        memories = engine_memories(network, layer, engine, activation_bits, weight_bits)
        lut += logic_lut + sum(memory.lut for memory in memories)
        ff += logic_ff
        bram18 += sum(memory.bram18 for memory in memories)
    for edge, fifo in pipeline.fifos.items():
        memory = fifo_memory(network, edge, fifo, activation_bits)
        lut += memory.lut
        bram18 += memory.bram18
    return Resources(lut, ff, dsp, bram18, "rtl", "estimate", "structural count", None)


def dsps(layer: Layer, engine: Engine) -> int:
    """DSPs of an engine: one a multiplier, so that this counts its multipliers too."""
    if layer.kind == "conv":
        return engine.pe * engine.simd
    return engine.pe if layer.kind == "affine" else 0


def engine_memories(
    network: Network, layer: Layer, engine: Engine, activation_bits: int, weight_bits: int
) -> tuple[Memory, Memory]:
    """The rows that an engine keeps, in a copy for every tap that it reads in a cycle, and its weights."""
    channels, cols = network.input_shape(layer).channels, network.input_shape(layer).cols
    weights = _memory(network.layer_weights(layer) * weight_bits, engine.pe * engine.simd * weight_bits)
    if layer.accumulates:
        sum_bits = _sum_bits(activation_bits, weight_bits)
        return _memory(network.shapes[layer.name].cols * channels * sum_bits, engine.pe * sum_bits), weights
    if not layer.windowed:
        return Memory(0, 0), weights
    word_channels = min(engine.simd, channels) if layer.kind == "conv" else engine.pe
    copies = max(1, engine.simd // channels) if layer.kind == "conv" else layer.taps
    copy = _memory((layer.kernel.rows - 1) * cols * channels * activation_bits, word_channels * activation_bits)
    return Memory(copies * copy.lut, copies * copy.bram18), weights


def fifo_memory(network: Network, edge: str, fifo: Fifo, activation_bits: int) -> Memory:
    """A FIFO on an edge "source -> target", in the RAM that it asks for."""
    width_bits = network.shapes[edge.partition(" -> ")[0]].channels * activation_bits
    bits = fifo.depth * width_bits
    return _block(bits, width_bits) if fifo.ram == "block" else Memory(-(-bits // LUT_RAM_BITS), 0)


def _sum_bits(activation_bits: int, weight_bits: int) -> int:
    return activation_bits + weight_bits + 8


def _logic(network: Network, layer: Layer, engine: Engine, activation_bits: int, weight_bits: int) -> tuple[int, int]:
    """LUTs and flip-flops of one engine beside its memories: adders, requantising, window, control."""
    sum_bits = _sum_bits(activation_bits, weight_bits)
    lut = CONTROL_LUTS + engine.pe * sum_bits * 2
    ff = engine.pe * sum_bits * 2
    if layer.kind == "conv":
        lut += engine.pe * (engine.simd - 1) * sum_bits // 2
        ff += layer.kernel.cols * network.input_shape(layer).channels * activation_bits
    return lut, ff


def _memory(bits: int, width_bits: int) -> Memory:
    """A memory that may be in LUTs or in block RAM."""
    return Memory(-(-bits // LUT_RAM_BITS), 0) if bits < BLOCK_RAM_FROM_BITS else _block(bits, width_bits)


def _block(bits: int, width_bits: int) -> Memory:
    """No LUTs; block RAMs side by side for the width and behind each other for the words, in their best shape.

    An 18-kbit block RAM has 512 words of 36 bits, or 1024 of 18, ... (UG473).
    """
    words = -(-bits // width_bits)
    deep = [(512 << k, 36 >> k) for k in range(5)]
    return Memory(0, min(-(-words // depth) * -(-width_bits // max(width, 1)) for depth, width in deep))
