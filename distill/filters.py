"""From NxN to 1xN filters: which layers change, and what strides and heads then do with rows.

A 1xN layer sees one row. A stride of 2 in its rows therefore drops every other row unread, so a student says what
becomes of them: `skip` lets them go, `keep` takes every row through (vertical stride 1 in all convolutions), `mean`
averages pairs of rows first. Pools are left as they are: they read all their rows.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.networks import DataShape, GlobalHead, RowHead, initialise
from hw.errors import BadInput, did_you_mean

Plan = Mapping[str, str]
"""Convolution's name -> what it becomes: full, row, split or sum. Convolutions that are not named stay full."""

KINDS = ("full", "row", "split", "sum")
PLANS = (*KINDS, "alternate", "early", "late")
ROW_POLICIES = ("skip", "keep", "mean")
HEADS = ("global", "rows")
STEMS = ("row", "full")


def convert(
    model: nn.Module,
    plan: Plan,
    *,
    n: int | None = None,
    rows: str = "skip",
    head: str = "global",
    data_shape: DataShape | None = None,
) -> nn.Module:
    """A copy of `model` with the convolutions of `plan` changed; changed layers start from fresh weights.

    Args:
        model: any CNN; 1x1 convolutions keep their weights and change at most their stride.
        plan: convolution's name -> full, row (NxN -> 1xN), split (half of the output channels NxN, half 1xN,
            concatenated) or sum (NxN + 1xN).
        n: width of the 1xN filters; None takes each kernel's own.
        rows: skip (strides as they are), keep (vertical stride 1 everywhere) or mean (of a stride's rows).
        head: global (left as it is) or rows (a `RowHead` in place of the `GlobalHead`).
        data_shape: channels, rows and cols of an image; needed by the head `rows` only.

    Raises:
        BadInput: an unknown layer or word, or a layer that cannot be changed so.
    """
    for what, found, wanted in (("rows", rows, ROW_POLICIES), ("head", head, HEADS)):
        check_word(what, found, wanted)
    _check_weights(model)
    converted = _replace_convolutions(copy.deepcopy(model), plan, n)
    if rows != "skip":
        converted = _change_row_strides(converted, rows)
    if head == "rows":
        converted = _know_rows(converted, data_shape)
    return converted


def on_the_fly(
    model: nn.Module,
    n: int | None = None,
    rows: str = "skip",
    stem: str = "row",
    data_shape: DataShape | None = None,
) -> nn.Module:
    """Any CNN with every KxK filter made 1xN (but the first one, if `stem` is full), at the same depth and width.

    Every `nn.Conv2d` with a kernel above 1x1 changes, grouped, dilated, strided and asymmetric ones too; a module used
    in several places stays one module. 1x1 filters, other layers (`Conv1d`, `Conv3d`, transposed ones) and convolutions
    that a forward pass writes out itself stay as they are.

    With rows skipped, a filter of odd height padded by half a kernel or more gives maps of its old size (of even
    height: at most a row more or less). One padded with less keeps the rows, and where 1xN is narrower than the kernel
    the columns, that its twin would have lost at the border. Beside a pool that loses them its maps no longer fit: with
    `data_shape` (channels, rows, cols) an empty image is shown to the result, and these convolutions are told.

    Raises:
        BadInput: as `convert`; an N of the other parity than a kernel's width; a convolution that does more than
            `nn.Conv2d` does; an image of `data_shape` that the result cannot take.
    """
    made = convert(model, plan_of(model, "row", stem), n=n, rows=rows)
    if data_shape is not None:
        _check_fits(model, made, data_shape)
    return made


def plan_of(model: nn.Module, kind: str, stem: str | None = None) -> dict[str, str]:
    """A plan for every convolution with a kernel above 1x1, counted in the order in which the network defines them.

    Args:
        model: any CNN.
        kind: full, row, split or sum make all of them so; of the kinds that leave whole layers NxN, `alternate` makes
            every second one 1xN, `early` the first half (of an odd number the smaller one), `late` all the others.
        stem: row or full, for the convolution named "stem" or else the first one; None as the kind says.
    """
    check_word("kind", kind, PLANS)
    names = [name for name, conv in _convolutions(model) if conv.kernel_size != (1, 1)]
    plan = {name: _kind_at(kind, i, len(names)) for i, name in enumerate(names)}
    if stem is not None and names:
        check_word("stem", stem, STEMS)
        plan["stem" if "stem" in plan else names[0]] = stem
    return plan


def _kind_at(kind: str, position: int, count: int) -> str:
    """What a whole network's `kind` means for one of its `count` convolutions."""
    if kind in KINDS:
        return kind
    half = count // 2
    is_row = {"alternate": position % 2 == 1, "early": position < half, "late": position >= half}[kind]
    return "row" if is_row else "full"


def check_word(what: str, found: str, wanted: tuple[str, ...]) -> None:
    """Demand one of a few words.

    Raises:
        BadInput: names what was found, what is wanted and, where one is near, the word that was meant.
    """
    if found not in wanted:
        raise BadInput(
            f"{what} {found!r} is unknown; wanted is one of {', '.join(wanted)}{did_you_mean(found, wanted)}"
        )


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


def _convolutions(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d):
            yield name, part


def _replace_convolutions(model: nn.Module, plan: Plan, n: int | None) -> nn.Module:
    convolutions = dict(_convolutions(model))
    for name in plan:
        if name not in convolutions:
            raise BadInput(f"plan: the network has no convolution {name!r}{did_you_mean(name, list(convolutions))}")
    for name, kind in plan.items():
        check_word(f"plan: {name}:", kind, KINDS)
        model = _put(model, convolutions[name], _converted(name, convolutions[name], kind, n))
    return model


def _put(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """`model` with `new` under every name of `old`: a module that is used in two places has two names."""
    if model is old:
        return new
    for name in [name for name, part in model.named_modules(remove_duplicate=False) if part is old]:
        model.set_submodule(name, new)
    return model


def _check_weights(model: nn.Module) -> None:
    """A weight that is computed (weight norm, pruning) would be lost, or cannot even be copied."""
    for name, conv in _convolutions(model):
        if "weight" not in conv._parameters:
            raise BadInput(f"{name}: its weight is computed from other tensors; make weight norm or pruning permanent")


def _check_plain(name: str, conv: nn.Conv2d) -> None:
    """What cannot be made anew from its sizes alone would lose what it does beside."""
    same = type(conv).forward is nn.Conv2d.forward and type(conv)._conv_forward is nn.Conv2d._conv_forward
    if isinstance(conv, nn.LazyConv2d) or not same:
        cure = "show it an image first" if isinstance(conv, nn.LazyConv2d) else "put an nn.Conv2d in its place"
        raise BadInput(f"{name}: it is a {type(conv).__name__}, which cannot be made 1xN; {cure}")


def _converted(name: str, conv: nn.Conv2d, kind: str, n: int | None) -> nn.Module:
    if kind == "full" or conv.kernel_size == (1, 1):
        return conv
    row = _row_geometry(name, conv, n)
    if kind == "row" and row == _geometry(conv):
        return conv
    _check_plain(name, conv)
    if kind == "row":
        return _remade(conv, row)
    _check_side_by_side(name, conv, kind)
    if kind == "sum":
        return SumConv(conv, _remade(conv, replace(row, bias=False)))
    half = conv.out_channels // 2
    full = replace(_geometry(conv), outputs=conv.out_channels - half)
    return SplitConv(_remade(conv, full), _remade(conv, replace(row, outputs=half)))


def _geometry(conv: nn.Conv2d) -> _Geometry:
    padding = conv.padding if isinstance(conv.padding, str) else _pair(conv.padding)
    return _Geometry(conv.out_channels, _pair(conv.kernel_size), _pair(conv.stride), padding, conv.bias is not None)


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
    return _Geometry(conv.out_channels, (1, cols), _pair(conv.stride), padding, conv.bias is not None)


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
        _pair(conv.dilation),
        conv.groups,
        geometry.bias,
        conv.padding_mode,
        conv.weight.device,
        conv.weight.dtype,
    )
    initialise(made)
    return made


def _change_row_strides(model: nn.Module, rows: str) -> nn.Module:
    for name, conv in list(_convolutions(model)):
        down, across = _pair(conv.stride)
        if down == 1:
            continue
        if rows == "keep":
            conv.stride = (1, across)
        elif conv.kernel_size[0] == 1:
            _check_plain(name, conv)
            model = _put(model, conv, _averaging(conv))
    return model


def _averaging(conv: nn.Conv2d) -> RowMeanConv2d:
    """`conv` with its own weights, reading means of rows where it strode over them."""
    made = RowMeanConv2d(
        conv.in_channels,
        conv.out_channels,
        _pair(conv.kernel_size),
        (1, conv.stride[1]),
        _geometry(conv).padding,
        _pair(conv.dilation),
        conv.groups,
        conv.bias is not None,
        conv.padding_mode,
    )
    made.row_means = conv.stride[0]
    made.weight, made.bias = conv.weight, conv.bias
    return made


def _know_rows(model: nn.Module, data_shape: DataShape | None) -> nn.Module:
    heads = [(name, part) for name, part in model.named_modules() if isinstance(part, GlobalHead)]
    if len(heads) != 1:
        raise BadInput(
            f"head: rows wants a network with one distill.networks.GlobalHead, found {len(heads)}; take the head global"
        )
    if data_shape is None:
        raise BadInput("head: rows wants the data_shape (channels, rows, cols), to find how many rows reach the head")
    name, head = heads[0]
    rows = _rows_at(model, head, data_shape)
    model.set_submodule(name, RowHead(head.linear.in_features, rows, head.linear.out_features))
    return model


def _rows_at(model: nn.Module, part: nn.Module, data_shape: DataShape) -> int:
    """Rows of the feature map that reaches `part`, found by running an empty image."""
    found: list[int] = []
    hook = part.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].shape[2]))
    try:
        _show(model, data_shape)
    finally:
        hook.remove()
    return found[0]


def _show(model: nn.Module, data_shape: DataShape) -> None:
    """Run an empty image in evaluation mode, of the type of the weights."""
    weights = next(model.parameters(), torch.zeros(0))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(weights.new_zeros(1, *data_shape))
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check_fits(model: nn.Module, made: nn.Module, data_shape: DataShape) -> None:
    """Show the 1xN twin an image; where it fails, name what of `model` loses rows that the twin keeps."""
    try:
        _show(made, data_shape)
    except RuntimeError as error:
        named = [name for name, conv in _convolutions(model) if _loses_rows(conv)]
        cure = f"; as 1xN more rows are kept by {', '.join(named)}; padding by half a kernel would do" if named else ""
        channels, rows, cols = data_shape
        raise BadInput(
            f"network: as 1xN it cannot take an image of {channels} channels, {rows} rows and {cols} cols "
            f"({error}){cure}"
        ) from error


def _loses_rows(conv: nn.Conv2d) -> bool:
    """Whether it is padded by less than half a kernel."""
    if conv.padding == "same":
        return False
    padding = 0 if isinstance(conv.padding, str) else conv.padding[0]
    return 2 * padding < conv.dilation[0] * (conv.kernel_size[0] - 1)


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    return value[0], value[1]
