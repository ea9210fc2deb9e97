"""Random students on the random networks: ReLUs, biases, formats, weights and images, all from a seed."""

from random import Random

import msgspec
import numpy as np
from random_networks import random_network

from hw.fixed import Format, LayerFormats, accumulator_width
from hw.network import INPUT, Network
from hw.student import Student


def with_relus(network, seed, share=0.4):
    """Some layers clipped by a ReLU, some convs given a bias."""
    rng = Random(f"relus {seed}")
    layers = [
        msgspec.structs.replace(
            layer, relu=rng.random() < share, bias=layer.kind in ("conv", "depthwise") and rng.random() < 0.5
        )
        for layer in network.layers
    ]
    return Network(network.name, network.input, tuple(layers), network.row_step)


def random_student(seed, images=2, more=(), depthwise=False):
    """Formats of 3 to 10 bits whose range is near the spread of what they hold, so that some results saturate."""
    rng = np.random.default_rng(seed)
    network = with_relus(random_network(seed, more, depthwise), seed)
    formats = {INPUT: LayerFormats(_format(rng, int(rng.integers(-2, 9)), bool(rng.integers(2))))}
    weights = {}
    for layer in network.layers:
        signed = not layer.relu
        if layer.kind in ("conv", "depthwise", "affine"):
            _weigh(rng, network, layer, formats, weights, signed)
        else:
            finest = min(formats[name].out.fraction for name in layer.inputs)
            if layer.kind == "table":
                finest = min(max(finest, 3), 9)  # most functions end near 1
            formats[layer.name] = LayerFormats(_format(rng, finest + int(rng.integers(-2, 2)), signed))
    fmt = formats[INPUT].out
    pixels = rng.integers(fmt.low, fmt.high + 1, (images, *network.input))
    outputs = np.zeros((images, *network.shapes[network.output.name]), np.int64)
    labels = rng.integers(0, 10, images)
    return Student(network, formats, weights, pixels, labels, outputs, {"made_by": "a test"})


def _format(rng, fraction, signed):
    width = int(rng.integers(3, 11))
    return Format(width, width - fraction, signed)


def _weigh(rng, network, layer, formats, weights, signed):
    """Weights, a bias, and formats in which a typical sum of products fills the result."""
    source = formats[layer.inputs[0]].out
    weight_format = _format(rng, int(rng.integers(-1, 8)), True)
    shapes = network.weight_shapes(layer)
    weight = rng.integers(weight_format.low, weight_format.high + 1, shapes["weight"])
    typical = int(np.abs(weight).mean() * source.high * np.sqrt(np.prod(shapes["weight"][:-1]))) + 1
    bias = rng.integers(-typical, typical + 1, shapes.get("bias", (0,)))
    fraction = source.fraction + weight_format.fraction
    out = _format(rng, fraction, signed)
    shift = typical.bit_length() - out.width + int(rng.integers(-2, 2))
    largest = np.abs(weight).sum() * max(source.high, -source.low) + np.abs(bias).max(initial=0)
    width = accumulator_width(int(largest))
    formats[layer.name] = LayerFormats(
        msgspec.structs.replace(out, integer=out.integer + shift), weight_format, Format(width, width - fraction)
    )
    weights |= {f"{layer.name}.weight": weight} | ({f"{layer.name}.bias": bias} if len(bias) else {})
