"""Layers that hls4ml 1.3 executes as written, in place of those that it does not: shapes and names alone.

What a layer becomes keeps its name in the last one. The weights that go with it are in `passes`.
"""

from collections.abc import Callable

import msgspec

from hw.network import Layer, Network, Size

Change = Callable[[Network, Layer], list[Layer]]


def as_generated(network: Network) -> Network:
    """The network with what `hw.hls.passes.prepare` puts in place of its layers.

    Two changes need more than shapes, and are missing here: means widened for some backends, and unit affines kept.
    """
    for change in (plain, joined, selected):
        layers = tuple(new for layer in network.layers for new in change(network, layer))
        network = msgspec.structs.replace(network, layers=layers)
    return network


def plain(network: Network, layer: Layer) -> list[Layer]:
    """A depthwise conv as a plain one."""
    if layer.kind != "depthwise":
        return [layer]
    return [msgspec.structs.replace(layer, kind="conv", channels=network.shapes[layer.name].channels)]


def joined(network: Network, layer: Layer) -> list[Layer]:
    """A concat as 1x1 convs that put each input into channels of its own, and adds of two that bring them together."""
    if layer.kind != "concat":
        return [layer]
    channels = network.shapes[layer.name].channels
    parts = [
        Layer(f"{layer.name}_part{i}", "conv", (source,), channels, relu=layer.relu)
        for i, source in enumerate(layer.inputs, 1)
    ]
    names = [part.name for part in parts]
    sums, before = [], names[0]
    for i, name in enumerate(names[1:], 1):
        own = layer.name if name == names[-1] else f"{layer.name}_sum{i}"
        sums.append(Layer(own, "add", (before, name), relu=layer.relu))
        before = own
    return [*parts, *sums]


def selected(network: Network, layer: Layer) -> list[Layer]:
    """A conv of kernel (1, n > 1) and stride (s > 1, t) as a 1x1 one of stride (s, 1) and one of stride (1, t)."""
    one_row = layer.kind == "conv" and layer.kernel.rows == 1 and layer.kernel.cols > 1
    if not one_row or layer.stride.rows == 1:
        return [layer]
    name, channels = f"{layer.name}_rows", network.input_shape(layer).channels
    selector = Layer(name, "conv", layer.inputs, channels, stride=Size(layer.stride.rows, 1))
    return [selector, msgspec.structs.replace(layer, inputs=(name,), stride=Size(1, layer.stride.cols))]
