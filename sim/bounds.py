"""Closed forms: lower bounds of the pipeline, and the systolic array that users compare with."""

from math import ceil
from typing import Literal, NamedTuple

from hw import fit
from hw.accelerator import Pipeline
from hw.network import INPUT, OUTPUT, Edge, Layer, Network
from sim.packing import DEPTH_CYCLES, copy_cycles, issue_cycles, windows_of

Dataflow = Literal["os", "ws"]


class Bound(NamedTuple):
    """Cycles that no run of a pipeline goes below."""

    latency_cycles: int
    interval_cycles: int


class _Node(NamedTuple):
    """Least cycles in which a node's first and last pixel of a frame can be in its FIFOs, and its ii."""

    first: int
    last: int
    ii: int


def pipeline_bound(network: Network, pipeline: Pipeline) -> Bound:
    """Lower bounds of latency and interval: every engine at full rate, FIFOs without end (docs/pipeline.md).

    A node's first pixel waits for the first window of its input, its last one for the last pixel of its input and for
    its own issues. Frame f, counted from 0, ends no earlier than f intervals after the start.

    Raises:
        BadInput: the machine does not belong to the network.
    """
    fit.check(network, pipeline)
    source = network.shapes[INPUT]
    ii = source.channels // fit.port_channels(network, pipeline, INPUT)
    nodes = {INPUT: _Node(ii, ii * source.pixels, ii)}
    busiest = ii * source.pixels
    for layer in network.layers:
        node = _node(network, pipeline, layer, nodes)
        nodes[layer.name] = node
        copies = copy_cycles(network, layer, pipeline.engines[layer.name]) * network.input_shape(layer).pixels
        busiest = max(busiest, node.ii * network.shapes[layer.name].pixels, copies)
    result = network.shapes[network.output.name]
    words = result.channels // fit.port_channels(network, pipeline, OUTPUT)
    output = nodes[network.output.name]
    latency = max(output.last + words, output.first + words * result.pixels)
    return Bound(latency, max(busiest, words * result.pixels))


def _node(network: Network, pipeline: Pipeline, layer: Layer, nodes: dict[str, _Node]) -> _Node:
    engine = pipeline.engines[layer.name]
    ii = issue_cycles(network, layer, engine)
    latencies = [fit.fifo(pipeline, Edge(source, layer.name)).read_latency_cycles for source in layer.inputs]
    d = DEPTH_CYCLES[layer.kind]
    if not layer.windowed:
        d += max(latencies)
        first = max(nodes[source].first for source in layer.inputs)
        last = max(nodes[source].last for source in layer.inputs)
    else:
        shape, source = network.input_shape(layer), nodes[layer.inputs[0]]
        copy = copy_cycles(network, layer, engine)
        window = windows_of(network, layer)
        rate = max(source.ii, copy)
        first = source.first + window.first_need * rate + copy + latencies[0]
        needs_all = window.greatest_need == shape.pixels - 1
        last = max(source.last if needs_all else 0, source.first + window.greatest_need * rate) + copy + latencies[0]
    pixels = network.shapes[layer.name].pixels
    return _Node(first + ii + d, max(last + ii, first + pixels * ii) + d, ii)


def systolic_cycles(outputs: int, depth: int, channels: int, rows: int, cols: int, dataflow: Dataflow = "os") -> int:
    """Compute cycles of a matrix product on a rows x cols systolic array, as SCALE-Sim 3.0.0 counts them.

    Args:
        outputs: M, output pixels.
        depth: K, kernel rows x kernel columns x input channels.
        channels: N, output channels.
        rows: of the array.
        cols: of the array.
        dataflow: `os` output stationary, ceil(M/R) ceil(N/C) (K + R + C - 2) - 1; `ws` weight stationary,
            ceil(K/R) ceil(N/C) (2 R + C + M - 2) - 1 (Samajdar et al. 2020, section III).
    """
    if dataflow == "os":
        return ceil(outputs / rows) * ceil(channels / cols) * (depth + rows + cols - 2) - 1
    return ceil(depth / rows) * ceil(channels / cols) * (2 * rows + cols + outputs - 2) - 1


def systolic_network_cycles(network: Network, rows: int, cols: int, dataflow: Dataflow = "os") -> dict[str, int]:
    """`systolic_cycles` of every conv; such an array runs the layers one by one and knows no adds or pools.

    A depthwise conv is a product for each channel, of one column.
    """
    found = {}
    for layer in network.layers:
        if layer.kind == "conv":
            shape = network.shapes[layer.name]
            depth = layer.taps * network.input_shape(layer).channels
            found[layer.name] = systolic_cycles(shape.pixels, depth, shape.channels, rows, cols, dataflow)
        if layer.kind == "depthwise":
            shape = network.shapes[layer.name]
            found[layer.name] = shape.channels * systolic_cycles(shape.pixels, layer.taps, 1, rows, cols, dataflow)
    return found
