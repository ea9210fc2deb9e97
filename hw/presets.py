"""WRN, ResNet and VGG as `Network`s without torch: architecture only, batch norms not yet folded.

Names: `wrn-40-4` (NxN), `wrn-40-4-1x3` (1xN, vertical strides drop rows), `wrn-40-4-1x3-keep` (vertical strides are 1);
`resnet-20` and `vgg-8` likewise; a VGG has no strides, so that its two 1xN forms are one. 32x32x3 input and 100
classes, as CIFAR-100.
"""

import math
import re
from dataclasses import dataclass, field

from hw.errors import BadInput, nearest
from hw.network import INPUT, Layer, Network, Padding, Shape, Size

FULL = "full"
ROW_SKIP = "skip"
ROW_KEEP = "keep"
CIFAR = Shape(32, 32, 3)
_NAME = re.compile(
    r"(?:wrn-(?P<depth>\d{1,3})-(?P<width>\d{1,3})|resnet-(?P<resnet>\d{1,3})|vgg-(?P<vgg>\d{1,3}))(?:-1x(?P<n>\d{1,3})(?P<keep>-keep)?)?"
)
_VGG_GROUPS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@dataclass
class _Builder:
    """Layers as they come, in the filters asked for."""

    rows: str
    n: int
    layers: list[Layer] = field(default_factory=list)

    def conv(self, name: str, source: str, channels: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> str:
        if kernel > 1:
            kernel = self.n
        high = kernel if self.rows == FULL else 1
        size = Size(high, kernel)
        step = Size(1 if self.rows == ROW_KEEP else stride, stride)
        padding = Padding(high // 2, high // 2, kernel // 2, kernel // 2)
        return self._add(Layer(name, "conv", (source,), channels, size, step, padding, bias))

    def norm(self, name: str, source: str, relu: bool = True) -> str:
        return self._add(Layer(name, "affine", (source,), relu=relu))

    def join(self, name: str, a: str, b: str, relu: bool = False) -> str:
        return self._add(Layer(name, "add", (a, b), relu=relu))

    def halve(self, name: str, source: str) -> str:
        return self._add(Layer(name, "max", (source,), kernel=Size(2, 2), stride=Size(2, 2)))

    def head(self, source: str, pooled: Shape, classes: int) -> None:
        kernel = Size(pooled.rows, pooled.cols)
        mean = self._add(Layer("head.mean", "mean", (source,), kernel=kernel, stride=kernel))
        self._add(Layer("head.linear", "conv", (mean,), classes, bias=True))

    def _add(self, layer: Layer) -> str:
        self.layers.append(layer)
        return layer.name


def preset(name: str) -> Network:
    """A network by name.

    Raises:
        BadInput: no such preset; the nearest name is told.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadInput(f"network {name}: no such preset or run{nearest(name, presets())}")
    rows = FULL if match["n"] is None else ROW_KEEP if match["keep"] else ROW_SKIP
    n = int(match["n"] or 3)
    if n % 2 == 0:
        raise BadInput(f"network {name}: filters of width {n} were found, an odd width is wanted")
    if match["resnet"]:
        return resnet(int(match["resnet"]), rows=rows, n=n, name=name)
    if match["vgg"]:
        return vgg(int(match["vgg"]), rows=rows, n=n, name=name)
    return wrn(int(match["depth"]), int(match["width"]), rows=rows, n=n, name=name)


def presets() -> list[str]:
    """Names that `preset` knows; the pattern admits other depths and widths."""
    bases = ["wrn-40-4", "wrn-40-2", "wrn-16-4", "wrn-16-2", "wrn-16-1", "wrn-10-1", "resnet-20", "resnet-56"]
    strided = bases + [f"{base}-1x3{keep}" for base in bases for keep in ("", "-keep")]
    return [*strided, "vgg-8", "vgg-13", "vgg-8-1x3", "vgg-13-1x3"]


def wrn(
    depth: int,
    width: int,
    rows: str = FULL,
    n: int = 3,
    shape: Shape = CIFAR,
    classes: int = 100,
    name: str = "",
) -> Network:
    """A wide residual network (Zagoruyko and Komodakis 2016, arXiv 1605.07146), pre-activation.

    Raises:
        BadInput: a depth that is not 6 b + 4.
    """
    name = name or f"wrn-{depth}-{width}"
    if depth < 10 or (depth - 4) % 6 or width < 1:
        raise BadInput(f"network {name}: a WRN has a depth of 10, 16, 22, ... and a width of at least 1")
    build = _Builder(rows, n)
    x, channels = build.conv("stem", INPUT, 16), 16
    for group, outputs in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range((depth - 4) // 6):
            stride = 2 if group and block == 0 else 1
            x = _wrn_block(build, f"g{group + 1}.b{block}", x, channels, outputs, stride)
            channels = outputs
    x = build.norm("bn", x)
    build.head(x, _pooled(shape, rows), classes)
    return Network(name, shape, tuple(build.layers))


def _wrn_block(build: _Builder, name: str, x: str, inputs: int, outputs: int, stride: int) -> str:
    active = build.norm(f"{name}.bn1", x)
    y = build.conv(f"{name}.conv1", active, outputs, stride=stride)
    y = build.conv(f"{name}.conv2", build.norm(f"{name}.bn2", y), outputs)
    if inputs != outputs or stride != 1:
        x = build.conv(f"{name}.shortcut", active, outputs, kernel=1, stride=stride)
    return build.join(f"{name}.add", y, x)


def resnet(
    depth: int,
    rows: str = FULL,
    n: int = 3,
    shape: Shape = CIFAR,
    classes: int = 100,
    name: str = "",
) -> Network:
    """A CIFAR ResNet (He et al. 2015, arXiv 1512.03385, section 4.2) with 1x1 convs as shortcuts where shapes change.

    Raises:
        BadInput: a depth that is not 6 b + 2.
    """
    name = name or f"resnet-{depth}"
    if depth < 8 or (depth - 2) % 6:
        raise BadInput(f"network {name}: a CIFAR ResNet has a depth of 8, 14, 20, ...")
    build = _Builder(rows, n)
    x, channels = build.norm("bn", build.conv("stem", INPUT, 16)), 16
    for group, outputs in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            stride = 2 if group and block == 0 else 1
            x = _resnet_block(build, f"g{group + 1}.b{block}", x, channels, outputs, stride)
            channels = outputs
    build.head(x, _pooled(shape, rows), classes)
    return Network(name, shape, tuple(build.layers))


def _resnet_block(build: _Builder, name: str, x: str, inputs: int, outputs: int, stride: int) -> str:
    y = build.norm(f"{name}.bn1", build.conv(f"{name}.conv1", x, outputs, stride=stride))
    y = build.norm(f"{name}.bn2", build.conv(f"{name}.conv2", y, outputs), relu=False)
    if inputs != outputs or stride != 1:
        x = build.conv(f"{name}.shortcut", x, outputs, kernel=1, stride=stride)
        x = build.norm(f"{name}.shortcut_bn", x, relu=False)
    return build.join(f"{name}.add", y, x, relu=True)


def vgg(
    depth: int,
    rows: str = FULL,
    n: int = 3,
    shape: Shape = CIFAR,
    classes: int = 100,
    name: str = "",
) -> Network:
    """A VGG for CIFAR with batch norm (Simonyan and Zisserman 2014, arXiv 1409.1556), as in `distill.networks.vgg`.

    Raises:
        BadInput: a depth that is not 8, 11, 13, 16 or 19.
    """
    name = name or f"vgg-{depth}"
    if depth not in _VGG_GROUPS:
        raise BadInput(f"network {name}: a VGG has a depth of {', '.join(map(str, _VGG_GROUPS))}")
    build = _Builder(rows, n)
    x = build.norm("bn", build.conv("stem", INPUT, 64, bias=True))
    for group, (count, outputs) in enumerate(zip(_VGG_GROUPS[depth], (64, 128, 256, 512, 512), strict=True), start=1):
        for block in range(count - (group == 1)):
            conv = build.conv(f"g{group}.b{block}.conv", x, outputs, bias=True)
            x = build.norm(f"g{group}.b{block}.bn", conv)
        if group <= 3:
            x = build.halve(f"pool{group}.max", x)
    build.head(x, Shape(shape.rows // 8, shape.cols // 8, 0), classes)
    return Network(name, shape, tuple(build.layers))


def _pooled(shape: Shape, rows: str) -> Shape:
    """The map that the head sees, after two strides of 2."""
    height = shape.rows if rows == ROW_KEEP else math.ceil(shape.rows / 4)
    return Shape(height, math.ceil(shape.cols / 4), 0)
