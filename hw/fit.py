"""A pipeline held against a network: what every execution of it takes for granted."""

from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import BadInput, nearest
from hw.network import INPUT, OUTPUT, Edge, Layer, Network

LARGEST = 1 << 40
"""Pixels of a FIFO or a buffer: more would leave 64-bit integers no room to count."""


def check(network: Network, pipeline: Pipeline) -> None:
    """That a pipeline belongs to a network: foldings divide, FIFOs are there, buffers are large enough.

    Raises:
        BadInput: what does not fit, with the layer or the edge.
    """
    for name in (INPUT, OUTPUT):
        port_channels(network, pipeline, name)
    for layer in network.layers:
        engine(network, pipeline, layer)
        for source in layer.inputs:
            fifo(pipeline, Edge(source, layer.name))
        if layer.windowed:
            window_pixels(network, pipeline, layer)
    fifo(pipeline, Edge(network.output.name, OUTPUT))
    sizes = [(edge, fifo.depth) for edge, fifo in pipeline.fifos.items()] + list(pipeline.buffers.items())
    for edge, size in sizes:
        if size > LARGEST:
            raise BadInput(f"edge {edge}: {size} pixels were found, at most {LARGEST} are wanted")
    edges = [*map(str, network.edges), str(Edge(network.output.name, OUTPUT))]
    for name in pipeline.engines:
        if name not in network.by_name:
            raise BadInput(f"machine {pipeline.name}: engine {name} is of no layer{nearest(name, network.by_name)}")
    for edge in pipeline.fifos:
        if edge not in edges:
            raise BadInput(f"machine {pipeline.name}: FIFO {edge} is of no edge{nearest(edge, edges)}")
    windowed = [str(Edge(layer.inputs[0], layer.name)) for layer in network.layers if layer.windowed]
    for edge in pipeline.buffers:
        if edge not in windowed:
            raise BadInput(f"machine {pipeline.name}: buffer {edge} is no edge to a window{nearest(edge, windowed)}")


def engine(network: Network, pipeline: Pipeline, layer: Layer) -> Engine:
    """The engine of a layer, its folding checked.

    Raises:
        BadInput: the machine has none, or its folding does not divide the layer.
    """
    found = pipeline.engines.get(layer.name)
    if found is None:
        raise BadInput(f"layer {layer.name}: machine {pipeline.name} has no engine for it; is it another network's?")
    outputs = network.shapes[layer.name].channels
    if found.pe < 1 or outputs % found.pe:
        raise BadInput(f"layer {layer.name}: {found.pe} PEs do not divide its {outputs} output channels")
    if not layer.convolves and found.simd != 1:
        raise BadInput(f"layer {layer.name}: SIMD {found.simd} was found, {layer.kind} wants 1")
    if layer.kind == "depthwise" and (found.simd < 1 or layer.taps % found.simd):
        raise BadInput(
            f"layer {layer.name}: SIMD {found.simd} does not divide the {layer.taps} taps of a depthwise conv"
        )
    for source in layer.inputs if layer.kind == "concat" else ():
        if network.shapes[source].channels % found.pe:
            raise BadInput(
                f"layer {layer.name}: {found.pe} PEs do not divide the {network.shapes[source].channels} channels "
                f"of its input {source}"
            )
    inputs = network.input_shape(layer).channels
    wide = found.simd % inputs == 0 and layer.taps % max(found.simd // inputs, 1) == 0 if found.simd > 0 else False
    if layer.kind == "conv" and not (found.simd > 0 and inputs % found.simd == 0) and not wide:
        raise BadInput(
            f"layer {layer.name}: SIMD {found.simd} neither divides its {inputs} input channels "
            f"nor is {inputs} times a divisor of its {layer.taps} taps"
        )
    return found


def fifo(pipeline: Pipeline, edge: Edge) -> Fifo:
    """The FIFO of an edge.

    Raises:
        BadInput: the machine has none, or one without a slot.
    """
    found = pipeline.fifos.get(str(edge))
    if found is None:
        raise BadInput(f"edge {edge}: machine {pipeline.name} has no FIFO for it; one of at least 1 pixel is wanted")
    if found.depth < 1:
        raise BadInput(f"edge {edge}: a FIFO of depth {found.depth} was found, at least 1 is wanted")
    return found


def least_window_pixels(network: Network, layer: Layer) -> int:
    """Least capacity of a windowed layer's buffer: (KH - 1) rows and KW pixels of its input; of an upsample a row.

    An upsample that repeats no rows keeps a pixel.
    """
    cols = network.input_shape(layer).cols
    if layer.kind == "upsample":
        return cols if layer.factor.rows > 1 else 1
    return (layer.kernel.rows - 1) * cols + layer.kernel.cols


def window_pixels(network: Network, pipeline: Pipeline, layer: Layer) -> int:
    """Capacity of a windowed layer's buffer: as the machine says, or the least and one pixel more.

    A layer that keeps sums takes exactly the least: a pixel more would be added to a sum that was not read yet.

    Raises:
        BadInput: less than the least, or more where sums are kept.
    """
    least = least_window_pixels(network, layer)
    usual = least if layer.accumulates else least + 1
    capacity = pipeline.buffers.get(str(Edge(layer.inputs[0], layer.name)), usual)
    if capacity < least:
        raise BadInput(
            f"layer {layer.name}: a window buffer of {capacity} pixels was found, at least {least} are wanted"
        )
    if layer.accumulates and capacity > least:
        raise BadInput(
            f"layer {layer.name}: a window buffer of {capacity} pixels was found; it keeps sums, {least} are wanted"
        )
    return capacity


def port_channels(network: Network, pipeline: Pipeline, name: str) -> int:
    """Channels a cycle of the source (`input`) or the sink (`output`).

    Raises:
        BadInput: they do not divide a pixel.
    """
    channels = network.shapes[INPUT if name == INPUT else network.output.name].channels
    given = pipeline.source_channels if name == INPUT else pipeline.sink_channels
    if given < 0 or channels % (given or channels):
        key = "source_channels" if name == INPUT else "sink_channels"
        raise BadInput(f"machine {pipeline.name}: {key} {given} was found, a divisor of {channels} is wanted, or 0")
    return given or channels
