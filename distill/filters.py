"""From NxN to 1xN filters: which layers change, and what strides and heads then do with rows.

A 1xN layer sees one row. A stride of 2 in its rows therefore drops every other row unread, so a student says what
becomes of them: `skip` lets them go, `keep` takes every row through (vertical stride 1 in all convolutions), `mean`
averages pairs of rows first. Pools are left as they are: they read all their rows.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from distill.blocks import GlobalHead, RowHead
from distill.convolutions import KINDS, averaging, check_weight, converted, loses_rows, pair
from distill.networks import DataShape
from hw.errors import BadInput, check_word, did_you_mean

Plan = Mapping[str, str]
"""Convolution's name -> what it becomes: full, row, split or sum. Convolutions that are not named stay full."""

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
    converted = _replace_convolutions(copied(model), plan, n)
    if rows != "skip":
        converted = _change_row_strides(converted, rows)
    if head == "rows":
        converted = _know_rows(converted, data_shape)
    return converted


def check_module(model: object) -> None:
    """Demand a module that can be changed.

    Raises:
        BadInput: something else, or a scripted module.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise BadInput(f"network: a {type(model).__name__} was found; a torch.nn.Module is wanted, as Python wrote it")


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model`.

    Raises:
        BadInput: no module, a scripted one, or torch cannot copy it: it holds a tensor that a computation left behind,
            as weight norm by hooks does.
    """
    check_module(model)
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        cure = "make weight norm or pruning permanent, and keep no tensor of a computation in a module"
        raise BadInput(f"network: it cannot be copied ({str(error).split(' at the moment')[0]}); {cure}") from error


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
    check_module(model)
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
        model = _put(model, convolutions[name], converted(name, convolutions[name], kind, n))
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
        check_weight(name, conv)


def _change_row_strides(model: nn.Module, rows: str) -> nn.Module:
    for name, conv in list(_convolutions(model)):
        down, across = pair(conv.stride)
        if down == 1:
            continue
        if rows == "keep":
            conv.stride = (1, across)
        elif conv.kernel_size[0] == 1:
            model = _put(model, conv, averaging(name, conv))
    return model


def _know_rows(model: nn.Module, data_shape: DataShape | None) -> nn.Module:
    heads = [(name, part) for name, part in model.named_modules() if isinstance(part, GlobalHead)]
    if len(heads) != 1:
        raise BadInput(
            f"head: rows wants a network with one distill.blocks.GlobalHead, found {len(heads)}; take the head global"
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
    sizes = list(data_shape) if isinstance(data_shape, Iterable) else []
    if len(sizes) != 3 or not all(type(size) is int and size > 0 for size in sizes):
        raise BadInput(f"data_shape: {data_shape!r} was found; (channels, rows, cols) is wanted")
    try:
        _show(made, data_shape)
    except Exception as error:  # whatever a forward pass says of a map that it does not want
        named = [name for name, conv in _convolutions(model) if loses_rows(conv)]
        cure = f"; as 1xN more rows are kept by {', '.join(named)}; padding by half a kernel would do" if named else ""
        channels, rows, cols = data_shape
        raise BadInput(
            f"network: as 1xN it cannot take an image of {channels} channels, {rows} rows and {cols} cols "
            f"({error}){cure}"
        ) from error
