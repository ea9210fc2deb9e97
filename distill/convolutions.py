"""One convolution: what it becomes as 1xN, as split or as sum, and over means of rows; nothing here knows a network."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.networks import initialise
from hw.errors import BadInput

KINDS = ("full", "row", "split", "sum")
"""What a convolution may become."""


class SplitConv(nn.Module):
    """The outputs of an NxN and of a 1xN convolution side by side: [full | row] along the channels."""

    def __init__(self, full: nn.Conv2d, row: nn.Conv2d) -> None:
        super().__init__()
        self.full = full
        self.row = row

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, rows, cols] -> [batch, out, rows, cols]."""
        return torch.cat((self.full(x), self.row(x)), dim=1)


class SumConv(nn.Module):
    """The sum of an NxN and of a 1xN convolution."""

    def __init__(self, full: nn.Conv2d, row: nn.Conv2d) -> None:
        super().__init__()
        self.full = full
        self.row = row

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, rows, cols] -> [batch, out, rows, cols]."""
        out: Tensor = self.full(x) + self.row(x)
        return out


class RowMeanConv2d(nn.Conv2d):
    """A convolution over the means of `row_means` rows each; left-over rows at the end are dropped."""

    row_means = 1

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, rows, cols] -> [batch, out, rows / row_means, cols]."""
        return super().forward(F.avg_pool2d(x, (self.row_means, 1)))


@dataclass(frozen=True)
class _Geometry:
    """What of a convolution changes: output channels, kernel, stride and padding; (rows, cols)."""

    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: str | tuple[int, int]
    bias: bool


def converted(name: str, conv: nn.Conv2d, kind: str, n: int | None) -> nn.Module:
    """A convolution as one of `KINDS`; a 1x1 one stays.

    Raises:
        BadInput: it cannot become that.
    """
    if kind == "full" or conv.kernel_size == (1, 1):
        return conv
    row = _row_geometry(name, conv, n)
    if kind == "row" and row == _geometry(conv):
        return conv
    check_plain(name, conv, "made 1xN")
    if kind == "row":
        return _remade(conv, row)
    _check_side_by_side(name, conv, kind)
    if kind == "sum":
        return SumConv(conv, _remade(conv, replace(row, bias=False)))
    half = conv.out_channels // 2
    full = replace(_geometry(conv), outputs=conv.out_channels - half)
    return SplitConv(_remade(conv, full), _remade(conv, replace(row, outputs=half)))


def _geometry(conv: nn.Conv2d) -> _Geometry:
    padding = conv.padding if isinstance(conv.padding, str) else pair(conv.padding)
    return _Geometry(conv.out_channels, pair(conv.kernel_size), pair(conv.stride), padding, conv.bias is not None)


def _row_geometry(name: str, conv: nn.Conv2d, n: int | None) -> _Geometry:
    """The 1xN twin, padded so that its output is as large as before, or larger where that would take less than none."""
    cols = conv.kernel_size[1] if n is None else n
    if cols < 1:
        raise BadInput(f"{name}: a filter of 1x{cols} was asked for; N is 1 or more")
    if isinstance(conv.padding, str):
        padding: str | tuple[int, int] = conv.padding
    else:
        twice_down = 2 * conv.padding[0] - conv.dilation[0] * (conv.kernel_size[0] - 1)
        twice = 2 * conv.padding[1] + conv.dilation[1] * (cols - conv.kernel_size[1])
        if twice > 0 and twice % 2:
            raise BadInput(
                f"{name}: its {conv.kernel_size[0]}x{conv.kernel_size[1]} filter padded by {conv.padding[1]} cannot "
                f"become 1x{cols} with the same output width; choose another N"
            )
        padding = (max(0, twice_down // 2), max(0, twice // 2))
    return _Geometry(conv.out_channels, (1, cols), pair(conv.stride), padding, conv.bias is not None)


def _check_side_by_side(name: str, conv: nn.Conv2d, kind: str) -> None:
    """NxN and 1xN outputs must be of one size, and halves of channels must not cut groups."""
    if kind == "split" and (conv.groups > 1 or conv.out_channels < 2):
        raise BadInput(
            f"{name}: {conv.out_channels} output channels in {conv.groups} groups cannot be split; "
            f"make this layer full, row or sum"
        )
    same = conv.padding == "same" or conv.padding[0] == conv.dilation[0] * (conv.kernel_size[0] - 1) / 2
    if not same:
        raise BadInput(
            f"{name}: {kind} wants rows padded by half a kernel, found {conv.padding}; make this layer full or row"
        )


def _remade(conv: nn.Conv2d, geometry: _Geometry) -> nn.Conv2d:
    made = nn.Conv2d(
        conv.in_channels,
        geometry.outputs,
        geometry.kernel,
        geometry.stride,
        geometry.padding,
        pair(conv.dilation),
        conv.groups,
        geometry.bias,
        conv.padding_mode,
        conv.weight.device,
        conv.weight.dtype,
    )
    initialise(made)
    return made


def averaging(name: str, conv: nn.Conv2d) -> RowMeanConv2d:
    """`conv` with its own weights, reading means of rows where it strode over them.

    Raises:
        BadInput: it does more than `nn.Conv2d` does.
    """
    check_plain(name, conv, "made 1xN")
    made = RowMeanConv2d(
        conv.in_channels,
        conv.out_channels,
        pair(conv.kernel_size),
        (1, conv.stride[1]),
        _geometry(conv).padding,
        pair(conv.dilation),
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
    )
    made.row_means = conv.stride[0]
    made.weight, made.bias = conv.weight, conv.bias
    return made


def check_plain(name: str, conv: nn.Conv2d, made: str) -> None:
    """Refuse a convolution that made anew from its sizes would lose what it does beside.

    Raises:
        BadInput: it is a subclass with a forward pass of its own, or knows no sizes yet.
    """
    same = type(conv).forward is nn.Conv2d.forward and type(conv)._conv_forward is nn.Conv2d._conv_forward
    if isinstance(conv, nn.LazyConv2d) or not same:
        cure = "show it an image first" if isinstance(conv, nn.LazyConv2d) else "put an nn.Conv2d in its place"
        raise BadInput(f"{name}: it is a {type(conv).__name__}, which cannot be {made}; {cure}")


def check_weight(name: str, conv: nn.Conv2d) -> None:
    """Refuse a convolution whose weight is no parameter.

    Raises:
        BadInput: it is computed, by hooks or by a parametrisation.
    """
    if "weight" not in conv._parameters:
        raise BadInput(f"{name}: its weight is computed from other tensors; make weight norm or pruning permanent")


def loses_rows(conv: nn.Conv2d) -> bool:
    """Whether it is padded by less than half a kernel."""
    if conv.padding == "same":
        return False
    padding = 0 if isinstance(conv.padding, str) else conv.padding[0]
    return 2 * padding < conv.dilation[0] * (conv.kernel_size[0] - 1)


def pair(value: tuple[int, ...]) -> tuple[int, int]:
    """Torch's sizes of rows and columns."""
    return value[0], value[1]
