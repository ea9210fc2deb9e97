"""Small integer students for the HLS tests, and one as deep as WRN-10-1: weights and images from a seed."""

import numpy as np

from hw.fixed import Format, LayerFormats, accumulator_width
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.reference import forward, layer_outputs
from hw.student import Student

UNSIGNED = Format(8, 4, signed=False)
SIGNED = Format(8, 4)
WEIGHT = Format(8, 2)


def conv(name, source, channels, kernel, stride=(1, 1), padding=None, relu=False, bias=True):
    """A convolution, padded by half its kernel where nothing else is said."""
    rows, cols = kernel[0] // 2, kernel[1] // 2
    around = Padding(rows, rows, cols, cols) if padding is None else Padding(*padding)
    return Layer(name, "conv", (source,), channels, Size(*kernel), Size(*stride), around, bias, relu)


def student_of(network, seed, images=100, formats=None):
    """A student with random weights, whose scales leave most results inside their formats and saturate some."""
    rng = np.random.default_rng(seed)
    given = formats or {}
    chosen = {INPUT: LayerFormats(given.get(INPUT, UNSIGNED))}
    integers = {}
    for layer in network.layers:
        source = chosen[layer.inputs[0]].out
        out = given.get(layer.name, UNSIGNED if layer.relu else SIGNED)
        if layer.kind not in ("conv", "depthwise", "affine"):
            keep = layer.kind in ("max", "mean") and layer.name not in given
            chosen[layer.name] = LayerFormats(source if keep else out)
            continue
        weight, bias = _weights(network, layer, source, rng)
        integers |= {f"{layer.name}.weight": weight} | ({f"{layer.name}.bias": bias} if len(bias) else {})
        accumulator = _accumulator(layer, weight, bias, source)
        last = layer is network.output
        chosen[layer.name] = LayerFormats(accumulator if last else out, WEIGHT, accumulator)
    fmt = chosen[INPUT].out
    pixels = rng.integers(fmt.low, fmt.high + 1, (images, *network.input))
    bare = Student(network, chosen, integers, pixels, np.zeros(images, np.int64), np.zeros((images, 1, 1, 1)), {})
    return bare.with_vectors(pixels, bare.labels, forward(bare, pixels))


def _weights(network, layer, source, rng):
    shapes = network.weight_shapes(layer)
    products = {"conv": layer.taps * network.input_shape(layer).channels, "depthwise": layer.taps}
    spread = 64 / products[layer.kind] ** 0.5 if layer.kind in products else 100
    weight = np.clip(np.round(rng.normal(0, spread, shapes["weight"])), WEIGHT.low, WEIGHT.high).astype(np.int64)
    bias = rng.integers(-(1 << 10), 1 << 10, shapes.get("bias", (0,)))
    return weight, bias


def _accumulator(layer, weight, bias, source):
    sums = np.abs(weight).sum(axis=tuple(range(weight.ndim - 1)))
    largest = sums * max(source.high, -source.low) + (np.abs(bias) if len(bias) else 0)
    width = accumulator_width(int(largest.max()))
    return Format(width, width - source.fraction - WEIGHT.fraction)


def residual(seed=1, images=100):
    """1x3 with stride (1,2), affine, a residual add, a pre-activation, the global mean, a dense layer."""
    layers = (
        conv("stem", INPUT, 6, (1, 3), (1, 2), relu=True),
        conv("block.0.a", "stem", 6, (1, 3), relu=True, bias=False),
        conv("block.0.b", "block.0.a", 6, (1, 3)),
        Layer("block.0.add", "add", ("block.0.b", "stem")),
        Layer("block.1.norm", "affine", ("block.0.add",), relu=True),
        conv("block.1.a", "block.1.norm", 8, (1, 3), (2, 2), relu=True),
        conv("block.1.skip", "block.1.norm", 8, (1, 1), (2, 2)),
        Layer("block.1.add", "add", ("block.1.a", "block.1.skip"), relu=True),
        Layer("pool", "mean", ("block.1.add",), kernel=Size(4, 2)),
        conv("dense", "pool", 10, (1, 1)),
    )
    formats = {"block.1.skip": Format(8, 5), "block.1.a": UNSIGNED}
    return student_of(Network("residual", Shape(8, 8, 3), layers), seed, images, formats)


def pooled(seed=2, images=100):
    """Every other row read; a 3x3 stem, maxima, signed means of two rows and of columns, a head over the rows."""
    layers = (
        conv("stem", INPUT, 4, (3, 3), (1, 1), (0, 1, 2, 0)),
        Layer("max", "max", ("stem",), kernel=Size(1, 2), stride=Size(1, 2)),
        Layer("mean2", "mean", ("max",), kernel=Size(2, 1), stride=Size(2, 1)),
        Layer("norm", "affine", ("mean2",)),
        Layer("columns", "mean", ("norm",), kernel=Size(1, 3)),
        conv("head", "columns", 5, (4, 1), padding=(0, 0, 0, 0)),
    )
    formats = {"mean2": Format(8, 3), "columns": Format(7, 4)}
    network = Network("pooled", Shape(17, 7, 2), layers, row_step=2)
    return student_of(network, seed, images, formats)


def dense(seed=3, images=50):
    """A kernel over the whole map, behind an affine that is the identity but for its ReLU."""
    layers = (
        conv("stem", INPUT, 4, (1, 3)),
        Layer("one", "affine", ("stem",), relu=True),
        conv("head", "one", 3, (4, 5), padding=(0, 0, 0, 0), bias=False),
    )
    base = student_of(Network("dense", Shape(4, 5, 2), layers), seed, images)
    integers = dict(base.integers) | {
        "one.weight": np.full(4, 1 << WEIGHT.fraction),
        "one.bias": np.zeros(4, np.int64),
    }
    changed = Student(base.network, base.formats, integers, base.images, base.labels, base.outputs, {})
    return changed.with_vectors(base.images, base.labels, forward(changed, base.images))


def strided(seed=4, images=40):
    """1x3 with stride (2,1) alone: what hls4ml computes wrongly when it is told so plainly."""
    layers = (conv("only", INPUT, 3, (1, 3), (2, 1)),)
    return student_of(Network("strided", Shape(6, 5, 2), layers), seed, images)


def wide_resnet(seed=5, images=100, width=16):
    """As WRN-10-1 with 1x3 filters and strides (1,2) on 8x8 digits: 10 convolutions, the head among them."""
    layers = [conv("stem", INPUT, 16, (1, 3), bias=False)]
    source = "stem"
    for group, (channels, stride) in enumerate(((width, 1), (2 * width, 2), (4 * width, 2))):
        name = f"group{group}"
        layers += [
            Layer(f"{name}.norm1", "affine", (source,), relu=True),
            conv(f"{name}.conv1", f"{name}.norm1", channels, (1, 3), (1, stride), relu=True),
            conv(f"{name}.conv2", f"{name}.conv1", channels, (1, 3)),
        ]
        skip = source
        if stride > 1:
            skip = f"{name}.skip"
            layers.append(conv(skip, f"{name}.norm1", channels, (1, 1), (1, stride)))
        layers.append(Layer(f"{name}.add", "add", (f"{name}.conv2", skip)))
        source = f"{name}.add"
    layers += [
        Layer("norm", "affine", (source,), relu=True),
        Layer("columns", "mean", ("norm",), kernel=Size(1, 2)),
        conv("head", "columns", 10, (8, 1), padding=(0, 0, 0, 0)),
    ]
    return student_of(Network("wide_resnet", Shape(8, 8, 1), tuple(layers)), seed, images)


def spread(student):
    """How many different values each layer takes: a layer that is always 0 or saturated tests nothing."""
    return {name: len(np.unique(values)) for name, values in layer_outputs(student, student.images).items()}
