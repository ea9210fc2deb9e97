"""The CIFAR family of networks: WRN, ResNet, VGG and plain nets for small images, as torch modules.

A network is a stem convolution, three groups of blocks (the second and the third begin with stride 2) and a head; a VGG
has five groups, with maxima of 2x2 after the first three. Parameters read `stem.weight`, `g1.b0.conv1.weight`,
`g1.b0.bn1.weight`, ..., `head.linear.weight`. Tensors are [batch, channels, rows, cols].
"""

import math
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from torch import nn

from distill.blocks import GlobalHead, InputNorm, PlainBlock, PostActivationBlock, PreActivationBlock, Trunk, conv
from distill.factories import call_factory
from distill.norm import BatchNorm2d
from hw.errors import BadInput

DataShape = tuple[int, int, int]
"""Channels, rows and cols of one image."""

FAMILIES = ("wrn", "resnet", "vgg", "plain")
VGG_GROUPS = {8: (1, 1, 1, 1, 1), 11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each of the five groups; with the dense layer and the two that small images do without, the depth."""


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which network: a family with its sizes, or a factory `package.module:function`.

    A factory is called with the keywords classes, channels, rows and cols and returns a module that maps images to
    logits [batch, classes]; it is imported from the installed packages or from the current folder.

    Attributes:
        family: wrn, resnet, vgg or plain.
        depth: the number in the name, as WRN-40-4's 40.
        width: factor of the channels, as WRN-40-4's 4.
        factory: package.module:function.
        mean: of each channel of the input (integer / 256), taken off before the stem; empty leaves the input as it is.
        deviation: of each channel, divided by. `Data.statistics` tells both; in hardware they are an affine.
    """

    family: str | None = None
    depth: int | None = None
    width: int = 1
    factory: str | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if (self.family is None) == (self.factory is None):
            known = ", ".join(FAMILIES)
            raise BadInput(f"network: wants either a family ({known}) or a factory (package.module:function)")
        if self.family is not None:
            _check_sizes(self.family, self.depth, self.width)
        elif self.depth is not None or self.width != 1 or self.mean:
            raise BadInput(
                f"network: the factory {self.factory} takes no depth, width or mean; set them in the function"
            )
        _check_statistics(self.mean, self.deviation)


def _check_sizes(family: str, depth: int | None, width: int) -> None:
    if family not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise BadInput(f"network: family {family!r} is unknown; wanted is one of {known}, or a factory")
    if depth is None:
        raise BadInput(f"network: the family {family} wants a depth")
    if width < 1:
        raise BadInput(f"network: width is {width}, wanted is 1 or more")
    if family == "vgg":
        _vgg_groups(depth)
    else:
        blocks_per_group(family, depth)


def _check_statistics(mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
    if len(mean) != len(deviation):
        raise BadInput(f"network: {len(mean)} values of mean and {len(deviation)} of deviation; wanted are as many")
    if not all(map(math.isfinite, mean)) or not all(0 < value < math.inf for value in deviation):
        raise BadInput(
            f"network: mean {list(mean)} and deviation {list(deviation)}; wanted are finite ones, deviations above 0"
        )


def blocks_per_group(family: str, depth: int) -> int:
    """Blocks in each of the three groups: wrn (depth-4)/6, resnet (depth-2)/6, plain (depth-2)/3.

    Raises:
        BadInput: the depth does not give whole blocks.
    """
    layers, ends = {"wrn": (6, 4), "resnet": (6, 2), "plain": (3, 2)}[family]
    blocks, rest = divmod(depth - ends, layers)
    if rest or blocks < 1:
        raise BadInput(f"network: {family} has no depth {depth}; wanted is {layers}m+{ends} with m of 1 or more")
    return blocks


def build(spec: NetworkSpec, data_shape: DataShape, classes: int) -> nn.Module:
    """The network of `spec` with fresh weights from torch's generator, in training mode.

    Raises:
        BadInput: a factory that cannot be imported, or that returns no module.
    """
    channels, rows, cols = data_shape
    if spec.factory is not None:
        return call_factory(spec.factory, classes, channels, rows, cols)
    family = _BUILDERS[str(spec.family)](spec.depth or 0, spec.width, classes, channels)
    if not spec.mean:
        return family
    if len(spec.mean) != channels:
        raise BadInput(f"network: mean has {len(spec.mean)} values for images of {channels} channels; give one each")
    return Trunk(OrderedDict([("input_norm", InputNorm(spec.mean, spec.deviation)), *family.named_children()]))


def wrn(depth: int, width: int, classes: int, channels: int = 3) -> nn.Module:
    """WRN-depth-width with pre-activation blocks, without dropout (Zagoruyko and Komodakis 2016, table 1).

    Channels are 16 in the stem and 16, 32 and 64 times `width` in the groups.
    """
    blocks = blocks_per_group("wrn", depth)
    final = 64 * width
    parts = [("stem", conv(channels, 16, 3)), *_groups(PreActivationBlock, blocks, width)]
    parts += [("bn", BatchNorm2d(final)), ("relu", nn.ReLU()), ("head", GlobalHead(final, classes))]
    return initialise(Trunk(OrderedDict(parts)))


def resnet(depth: int, width: int, classes: int, channels: int = 3) -> nn.Module:
    """ResNet-depth for CIFAR (He et al. 2016, section 4.2) with 1x1 convolutions in changing shortcuts (option B)."""
    blocks = blocks_per_group("resnet", depth)
    parts = [("stem", conv(channels, 16, 3)), ("bn", BatchNorm2d(16)), ("relu", nn.ReLU())]
    parts += _groups(PostActivationBlock, blocks, width)
    parts += [("head", GlobalHead(64 * width, classes))]
    return initialise(Trunk(OrderedDict(parts)))


def plain(depth: int, width: int, classes: int, channels: int = 3) -> nn.Module:
    """Convolution, batch norm, ReLU, `depth` - 1 times in a row, without shortcuts, then the head."""
    blocks = blocks_per_group("plain", depth)
    parts = [("stem", conv(channels, 16, 3)), ("bn", BatchNorm2d(16)), ("relu", nn.ReLU())]
    parts += _groups(PlainBlock, blocks, width)
    parts += [("head", GlobalHead(64 * width, classes))]
    return initialise(Trunk(OrderedDict(parts)))


def vgg(depth: int, width: int, classes: int, channels: int = 3) -> nn.Module:
    """VGG-depth for CIFAR with batch norm (Simonyan and Zisserman 2015), as distillation uses it since CRD.

    64, 128, 256, 512 and 512 channels times `width`, and a dense layer on the mean of the last map. Of its four maxima
    the fourth is for images of 64 rows; here as there, 32x32 images see three (`models/vgg.py` of
    github.com/HobbitLong/RepDistiller, Tian et al. 2020, arXiv 1910.10699). Convolutions keep their biases, so that
    parameters count as published.
    """
    sizes = [64 * width, 128 * width, 256 * width, 512 * width, 512 * width]
    parts: list[tuple[str, nn.Module]] = [("stem", conv(channels, sizes[0], 3, bias=True))]
    parts += [("bn", BatchNorm2d(sizes[0])), ("relu", nn.ReLU())]
    before = sizes[0]
    for number, (after, count) in enumerate(zip(sizes, _vgg_groups(depth), strict=True), start=1):
        inputs = [after if block or number == 1 else before for block in range(count - (number == 1))]
        blocks = [(f"b{i}", PlainBlock(channels, after, 1, bias=True)) for i, channels in enumerate(inputs)]
        parts += [(f"g{number}", nn.Sequential(OrderedDict(blocks)))] if blocks else []
        parts += [(f"pool{number}", nn.MaxPool2d(2))] if number <= 3 else []
        before = after
    return initialise(Trunk(OrderedDict([*parts, ("head", GlobalHead(before, classes))])))


_BUILDERS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "wrn": wrn,
    "resnet": resnet,
    "vgg": vgg,
    "plain": plain,
}


def initialise(module: nn.Module) -> nn.Module:
    """Give every convolution of several inputs a normal start of variance 2 / fan-out (He et al. 2015, section 2.2)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    return module


def parameters(module: nn.Module) -> int:
    """The number of trained values; running statistics of batch norm do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def _vgg_groups(depth: int) -> tuple[int, ...]:
    """Convolutions in each group of a VGG.

    Raises:
        BadInput: no such depth.
    """
    if depth not in VGG_GROUPS:
        raise BadInput(f"network: vgg has no depth {depth}; wanted is one of {', '.join(map(str, VGG_GROUPS))}")
    return VGG_GROUPS[depth]


def _groups(block: Callable[[int, int, int], nn.Module], blocks: int, width: int) -> list[tuple[str, nn.Module]]:
    """The groups g1, g2 and g3, each of `blocks` blocks named b0, b1, ..."""
    groups: list[tuple[str, nn.Module]] = []
    before = 16
    for number, after in enumerate((16 * width, 32 * width, 64 * width), start=1):
        strides = [1 if number == 1 else 2] + [1] * (blocks - 1)
        parts = [(f"b{i}", block(after if i else before, after, stride)) for i, stride in enumerate(strides)]
        groups.append((f"g{number}", nn.Sequential(OrderedDict(parts))))
        before = after
    return groups
