"""The parameters of every module of a pipeline, from a student's formats, or where there is none yet from bit widths.

They are those that `hw.rtl` writes, without weights: an estimate needs no more, and needs it for networks that nobody
has trained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isqrt

import numpy as np

from hw import fit
from hw.accelerator import Engine, Pipeline
from hw.fixed import Format, LayerFormats, accumulator_width
from hw.network import INPUT, OUTPUT, Edge, Layer, Network
from hw.rtl import engines
from hw.rtl.engines import Parameters
from hw.student import Student, accumulator


@dataclass(frozen=True)
class Widths:
    """Formats of all results and weights, and bits of the sums of layers with weights, by layer."""

    network: Network
    formats: Mapping[str, LayerFormats]
    sum_bits: Mapping[str, int]


def of_student(student: Student) -> Widths:
    """The widths of a student."""
    summing = (layer for layer in student.network.layers if layer.weighted)
    return Widths(student.network, student.formats, {e.name: accumulator(student, e).width for e in summing})


def of_bits(network: Network, activation_bits: int, weight_bits: int, input_bits: int = 0) -> Widths:
    """Widths of a network that has no formats: unsigned activations, and sums of weights a fourth of the largest.

    `input_bits` of 0 are `activation_bits`. A layer without weights keeps the range of what it reads.
    """
    formats = {INPUT: LayerFormats(Format(input_bits or activation_bits, 0, signed=False))}
    sum_bits: dict[str, int] = {}
    for layer in network.layers:
        source = formats[layer.inputs[0]].out
        if not layer.weighted:
            formats[layer.name] = LayerFormats(Format(activation_bits, source.integer, signed=False))
            continue
        sum_bits[layer.name] = typical_sum_bits(network, layer, source.width, weight_bits)
        fraction = source.fraction + weight_bits - 1
        kept = fraction - max(0, sum_bits[layer.name] - 2 - activation_bits)
        out = Format(activation_bits, activation_bits - kept, signed=False)
        formats[layer.name] = LayerFormats(out, Format(weight_bits, 1))
    return Widths(network, formats, sum_bits)


def typical_sum_bits(network: Network, layer: Layer, read_bits: int, weight_bits: int) -> int:
    """Bits of the sums of a layer whose weights are a fourth of the largest on average."""
    terms = network.layer_terms(layer) if layer.convolves else 4
    return accumulator_width(max(1, terms << weight_bits >> 3) * ((1 << read_bits) - 1))


def modules(widths: Widths, pipeline: Pipeline) -> Iterator[tuple[str, str, Parameters]]:
    """Name, module and parameters of every engine (by layer) and every FIFO (by edge)."""
    network = widths.network
    for layer in network.layers:
        yield layer.name, *engine(widths, pipeline, layer)
    for edge in (*network.edges, Edge(network.output.name, OUTPUT)):
        yield str(edge), "pm_fifo", fifo(widths, pipeline, edge)


def fifo(widths: Widths, pipeline: Pipeline, edge: Edge) -> Parameters:
    """The parameters of an edge's FIFO."""
    network = widths.network
    own = pipeline.fifos[str(edge)]
    source = fit.port_channels(network, pipeline, INPUT) if edge.source == INPUT else pipeline.engines[edge.source].pe
    if edge.target == OUTPUT:
        target = fit.port_channels(network, pipeline, OUTPUT)
    else:
        target = engines.read_channels(network, network.by_name[edge.target], pipeline.engines[edge.target])
    return {
        "CHANNELS": network.shapes[edge.source].channels,
        "BITS": widths.formats[edge.source].out.width,
        "WRITE": source,
        "READ": target,
        "DEPTH": own.depth,
        "LATENCY": 0 if edge.target == OUTPUT else own.read_latency_cycles,
    }


def engine(widths: Widths, pipeline: Pipeline, layer: Layer) -> tuple[str, Parameters]:
    """Module and parameters of a layer's engine."""
    folding = pipeline.engines[layer.name]
    if layer.kind in ("add", "concat"):
        return "pm_join", _join(widths, pipeline, layer, folding)
    out, source = widths.formats[layer.name].out, widths.formats[layer.inputs[0]].out
    latency = pipeline.fifos[str(Edge(layer.inputs[0], layer.name))].read_latency_cycles
    if layer.kind == "table":
        widths_of = engines.table_widths(widths.network, layer, source, out)
        return "pm_table", {**widths_of, "PE": folding.pe, "LATENCY": latency}
    common: Parameters = {
        "PE": folding.pe,
        "IN_BITS": source.width,
        "IN_SIGNED": int(source.signed),
        "LATENCY": latency,
        "OUT_BITS": out.width,
        "OUT_SIGNED": int(out.signed),
    }
    if layer.weighted:
        common |= _sums(widths, layer)
    if layer.kind == "affine":
        return "pm_affine", {**common, "CHANNELS": widths.network.shapes[layer.name].channels}
    if layer.kind == "upsample":
        common |= engines.upsample_sizes(widths.network, layer)
        common |= {"CAPACITY": fit.window_pixels(widths.network, pipeline, layer)}
        return "pm_upsample", {**common, "SHIFT": source.fraction - out.fraction}
    common |= engines.geometry(widths.network, layer)
    if layer.accumulates:
        return "pm_mean", {**common, **_division(widths, layer)}
    common |= engines.steps(layer) | {"CAPACITY": fit.window_pixels(widths.network, pipeline, layer)}
    if layer.kind == "conv":
        outputs = widths.network.shapes[layer.name].channels
        return "pm_conv", {**common, "SIMD": folding.simd, "RADIX": _radix(folding.simd), "OUT_CHANNELS": outputs}
    if layer.kind == "depthwise":
        return "pm_depthwise", {**common, "SIMD": folding.simd, "RADIX": _radix(folding.simd)}
    common |= {"MEAN": int(layer.kind == "mean"), "RADIX": _radix(layer.taps)}
    if layer.kind == "mean":
        return "pm_pool", {**common, **_division(widths, layer)}
    return "pm_pool", {**common, "SHIFT": source.fraction - out.fraction}


def _radix(count: int) -> int:
    return isqrt(count - 1) + 1


def _sums(widths: Widths, layer: Layer) -> Parameters:
    weight, out = widths.formats[layer.name].weight, widths.formats[layer.name].out
    assert weight is not None
    fraction = widths.formats[layer.inputs[0]].out.fraction + weight.fraction
    return {"WEIGHT_BITS": weight.width, "SUM_BITS": widths.sum_bits[layer.name], "SHIFT": fraction - out.fraction}


def _division(widths: Widths, layer: Layer) -> Parameters:
    return engines.divider(widths, layer)  # type: ignore[arg-type]  # of a student it takes no more than formats


def _join(widths: Widths, pipeline: Pipeline, layer: Layer, folding: Engine) -> Parameters:
    formats = [widths.formats[name].out for name in layer.inputs]
    finest = max(fmt.fraction for fmt in formats)
    widest = max(fmt.width + finest - fmt.fraction for fmt in formats)
    latencies = [pipeline.fifos[str(Edge(name, layer.name))].read_latency_cycles for name in layer.inputs]
    out = widths.formats[layer.name].out
    return {
        "ADD": int(layer.kind == "add"),
        "INPUTS": len(formats),
        "CHANNELS": widths.network.shapes[layer.name].channels,
        "PE": folding.pe,
        "IN_BITS": max(fmt.width for fmt in formats),
        "LATENCY": int(np.dot(latencies, [1 << i for i in range(len(latencies))])),
        "SUM_BITS": widest + 1 + len(formats).bit_length(),
        "SHIFT": finest - out.fraction,
        "OUT_BITS": out.width,
        "OUT_SIGNED": int(out.signed),
    }
