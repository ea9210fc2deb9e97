"""LUTs, flip-flops, DSPs and block RAMs, each figure with its source.

`estimate` is for every design that nobody has synthesised: DSPs and block RAMs follow from yosys' own rules
(`hw.synth.mapping`), LUTs and flip-flops from a fit to syntheses (docs/resources.md). `budgeted` is the quick count
that a folding reckons with. Synthesis itself: `hw.synth`. What hls4ml's design takes is estimated in `hw.hls.estimate`
and read from a vendor's report in `hw.hls.vendor`.
"""

from functools import cache
from importlib import resources as package
from typing import Literal, NamedTuple

import msgspec

from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import BadInput, nearest
from hw.files import read_json
from hw.network import INPUT, Layer, Network
from hw.student import Student
from hw.synth import features, shapes

LUT_RAM_BITS = 64
"""Bits that one LUT holds as distributed RAM or ROM on a 7-series device (UG474)."""
BLOCK_RAM_FROM_BITS = 4096
"""Memories of fewer bits are budgeted for in LUTs."""
CONTROL_LUTS = 120
"""Counters and flow control of one engine of an HLS design: assumed."""


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one design takes, by one source: never a sum over designs or sources.

    `error` is the measured relative error of an estimate, None while nobody has measured it. `version` is the tool's;
    "" where the tool is this package. `family` is the FPGA family whose cells were counted, "" where nobody said.

    Raises:
        BadInput: a number below 0.
    """

    lut: int
    ff: int
    dsp: int
    bram18: int
    design: Literal["hls", "rtl"]
    source: Literal["vendor", "synthesis", "estimate"]
    tool: str
    error: float | None
    version: str = ""
    family: str = ""

    def __post_init__(self) -> None:
        for key, number in (*self.counts.items(), ("error", self.error or 0)):
            if not number >= 0:
                raise BadInput(f"resources by {self.tool}: {key} {number} was found, at least 0 is wanted")

    @property
    def counts(self) -> dict[str, int]:
        """The four numbers by name."""
        return {"lut": self.lut, "ff": self.ff, "dsp": self.dsp, "bram18": self.bram18}


def with_error(estimated: Resources, measured: Resources) -> Resources:
    """An estimate with its error against a measurement of the same design: the greatest of the four numbers'.

    A number of which the measurement found none has the error of the number itself, against one.

    Raises:
        BadInput: they are of different designs, or not an estimate and a measurement.
    """
    if estimated.design != measured.design:
        raise BadInput(
            f"resources: an estimate of {estimated.design} was held against {measured.design}; one is wanted"
        )
    if estimated.source != "estimate" or measured.source == "estimate":
        raise BadInput(
            f"resources: {estimated.source} was held against {measured.source}; "
            "an estimate against a vendor's report or a synthesis is wanted"
        )
    errors = (abs(estimated.counts[key] - found) / max(found, 1) for key, found in measured.counts.items())
    return msgspec.structs.replace(estimated, error=max(errors))


class Memory(NamedTuple):
    """What a memory takes: LUTs as distributed RAM or ROM, or block RAMs of 18 kbit."""

    lut: int
    bram18: int


class Coefficients(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """LUTs and flip-flops a feature of one kind of engine, and how far off they are on engines that the fit never saw.

    `lut_error` and `ff_error` are means of the relative errors of `tested` such engines, `lut_worst` and `ff_worst` the
    greatest.
    """

    lut: dict[str, float]
    ff: dict[str, float]
    fitted: int
    tested: int
    lut_error: float
    ff_error: float
    lut_worst: float
    ff_worst: float


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fit to one family's syntheses, with the tool that made them: kinds of engine by name."""

    tool: str
    version: str
    kinds: dict[str, Coefficients]


class Estimated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One engine or FIFO. Of its block RAMs `weight_bram18` hold weights, `line_bram18` rows, sums or a FIFO's pixels.

    The errors are those of its kind (`Coefficients`).
    """

    kind: str
    lut: int
    ff: int
    dsp: int
    weight_bram18: int
    line_bram18: int
    lut_error: float
    ff_error: float


@cache
def calibrations() -> dict[str, Calibration]:
    """The fits of `docs/make_resources.py`, by family."""
    with package.as_file(package.files("hw.synth") / "coefficients.json") as path:
        return read_json(path, dict[str, Calibration])


def calibration(family: str) -> Calibration:
    """The fit of one family.

    Raises:
        BadInput: there is none.
    """
    found = calibrations()
    if family not in found:
        raise BadInput(f"family {family}: no estimate for it{nearest(family, found)}")
    return found[family]


def estimate(
    network: Network,
    pipeline: Pipeline,
    activation_bits: int,
    weight_bits: int,
    family: str = "xc7",
    student: Student | None = None,
    input_bits: int = 0,
) -> Resources:
    """The RTL pipeline as yosys makes it: DSPs and block RAMs by its rules, LUTs and flip-flops by a fit to syntheses.

    `network` in the form that hardware runs; with its `student` every width is known, without it they are typical, and
    `input_bits` those of the input's channels (0: `activation_bits`).
    `error` is the mean relative error of engines that the fit never saw, each with its share.

    Raises:
        BadInput: no fit for the family.
    """
    fitted = calibration(family)
    if student is None:
        widths = shapes.of_bits(network, activation_bits, weight_bits, input_bits)
    else:
        widths = shapes.of_student(student)
    found = engine_estimates(widths, pipeline, family).values()
    lut, ff = sum(each.lut for each in found), sum(each.ff for each in found)
    lut_error = sum(each.lut * each.lut_error for each in found) / max(lut, 1)
    ff_error = sum(each.ff * each.ff_error for each in found) / max(ff, 1)
    return Resources(
        lut=lut,
        ff=ff,
        dsp=sum(each.dsp for each in found),
        bram18=sum(each.weight_bram18 + each.line_bram18 for each in found),
        design="rtl",
        source="estimate",
        tool=f"fit to {fitted.tool}",
        error=round(max(lut_error, ff_error), 4),
        version=fitted.version,
        family=family,
    )


class Budgeted(NamedTuple):
    """What a folding reckons with: LUTs of memories only, one DSP a multiplier, block RAMs by size."""

    lut: int
    dsp: int
    bram18: int


def budgeted(
    network: Network, pipeline: Pipeline, activation_bits: int, weight_bits: int, input_bits: int = 0
) -> Budgeted:
    """What `sim.folding` keeps within a budget: a count that knows each layer by itself, quick and a little rough.

    Memories of 4096 bits and more are in block RAM here, and words of FIFOs are whole pixels. `input_bits` of 0 are
    `activation_bits`.
    """
    others = {INPUT: input_bits or activation_bits}
    lut = dsp = bram18 = 0
    for layer in network.layers:
        engine = pipeline.engines[layer.name]
        dsp += dsps(layer, engine)
        read_bits = others.get(layer.inputs[0], activation_bits)
        for memory in engine_memories(network, layer, engine, read_bits, weight_bits, activation_bits):
            lut += memory.lut
            bram18 += memory.bram18
    for edge, fifo in pipeline.fifos.items():
        memory = fifo_memory(network, edge, fifo, others.get(edge.partition(" -> ")[0], activation_bits))
        lut += memory.lut
        bram18 += memory.bram18
    return Budgeted(lut, dsp, bram18)


def engine_estimates(widths: shapes.Widths, pipeline: Pipeline, family: str = "xc7") -> dict[str, Estimated]:
    """Every engine (by layer) and every FIFO (by edge) of a pipeline.

    Raises:
        BadInput: no fit for the family.
    """
    fitted = calibration(family).kinds
    found = {}
    for name, module, parameters in shapes.modules(widths, pipeline):
        parts = features.parts(module, parameters, family)
        by = fitted[parts.kind]
        lut = parts.lut + sum(by.lut.get(key, 1.0) * value for key, value in parts.luts.items())
        ff = sum(by.ff.get(key, 1.0) * value for key, value in parts.ffs.items())
        counts = (round(lut), round(ff), parts.dsp, parts.weight_bram18, parts.line_bram18)
        found[name] = Estimated(parts.kind, *counts, by.lut_error, by.ff_error)
    return found


def dsps(layer: Layer, engine: Engine) -> int:
    """DSPs of an engine: one a multiplier, so that this counts its multipliers too."""
    if layer.convolves:
        return engine.pe * engine.simd
    return engine.pe if layer.kind == "affine" else 0


def engine_memories(
    network: Network, layer: Layer, engine: Engine, read_bits: int, weight_bits: int, made_bits: int = 0
) -> tuple[Memory, Memory]:
    """The rows that an engine keeps, in a copy for every tap that it reads in a cycle, and its weights.

    `read_bits` are those of a channel that the layer reads, `made_bits` of one that it makes (0: as many).
    """
    channels, cols = network.input_shape(layer).channels, network.input_shape(layer).cols
    weights = _memory(network.layer_weights(layer) * weight_bits, engine.pe * engine.simd * weight_bits)
    if layer.accumulates:
        sum_bits = _sum_bits(read_bits, weight_bits)
        return _memory(network.shapes[layer.name].cols * channels * sum_bits, engine.pe * sum_bits), weights
    if layer.kind == "table":  # a copy for every PE
        copy = _memory((made_bits or read_bits) << read_bits, made_bits or read_bits)
        return Memory(0, 0), Memory(engine.pe * copy.lut, engine.pe * copy.bram18)
    if not layer.windowed:
        return Memory(0, 0), weights
    word_channels = min(engine.simd, channels) if layer.kind == "conv" else engine.pe
    taps_at_once = {"conv": max(1, engine.simd // channels), "depthwise": engine.simd}
    copies = taps_at_once.get(layer.kind, layer.taps)
    rows = int(layer.factor.rows > 1) if layer.kind == "upsample" else layer.kernel.rows - 1
    copy = _memory(rows * cols * channels * read_bits, word_channels * read_bits)
    return Memory(copies * copy.lut, copies * copy.bram18), weights


def fifo_memory(network: Network, edge: str, fifo: Fifo, source_bits: int) -> Memory:
    """A FIFO on an edge "source -> target", in the RAM that it asks for; `source_bits` are a channel's."""
    width_bits = network.shapes[edge.partition(" -> ")[0]].channels * source_bits
    bits = fifo.depth * width_bits
    return _block(bits, width_bits) if fifo.ram == "block" else Memory(-(-bits // LUT_RAM_BITS), 0)


def stream_memory(depth: int, width_bits: int) -> Memory:
    """A FIFO of `depth` words: in block RAM where it is deeper than a LUT RAM."""
    if depth > LUT_RAM_BITS:
        return _block(depth * width_bits, width_bits)
    return Memory(-(-depth * width_bits // LUT_RAM_BITS), 0)


def rom_memory(words: int, width_bits: int) -> Memory:
    """Words that are asked to be in block RAM."""
    return _block(words * width_bits, width_bits)


def _sum_bits(read_bits: int, weight_bits: int) -> int:
    return read_bits + weight_bits + 8


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
