"""Grouped and dilated convolutions written out as plain ones: the same outputs, with zeros between the weights.

The machines execute plain and depthwise convolutions without dilation, and nothing between. What is gained in being
executed is paid for in weights and products: a convolution of g groups has g times as many.
"""

from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from distill.convolutions import check_plain, check_weight
from distill.filters import copied


def dense(model: nn.Module, *, depthwise: bool = False) -> nn.Module:
    """A copy of `model` whose grouped or dilated `nn.Conv2d`s are plain ones; outputs equal but for rounding.

    Padding by zeros stays as it is, counted in pixels. Convolutions with padding by other than zeros are left alone.
    A weight that torch computes anew (`torch.nn.utils.parametrizations`) is taken as it is now.

    Args:
        model: any module; it is not changed.
        depthwise: depthwise convolutions without dilation too, for HLS; else they stay as they are.

    Raises:
        BadInput: one of these convolutions has a forward pass of its own, or a weight that hooks compute; `model`
            cannot be copied.
    """
    written = copied(model)
    if _is_sparse(written, depthwise):
        return _plain("network", written)
    made: dict[nn.Module, nn.Module] = {}  # a module that is used in two places has two names and stays one
    for name, part in list(written.named_modules(remove_duplicate=False)):
        if _is_sparse(part, depthwise):
            made[part] = made.get(part) or _plain(name, part)
            written.set_submodule(name, made[part])
    return written


def _is_sparse(conv: nn.Module, depthwise: bool) -> TypeGuard[nn.Conv2d]:
    if not isinstance(conv, nn.Conv2d) or conv.padding_mode != "zeros":
        return False
    kept = conv.groups == conv.in_channels == conv.out_channels and not depthwise
    return any(step > 1 for step in conv.dilation) or (conv.groups > 1 and not kept)


def _plain(name: str, conv: nn.Conv2d) -> nn.Conv2d:
    """One whose kernel spans the dilation; of as many inputs as the groups have together."""
    check_plain(name, conv, "written out")
    if not is_parametrized(conv, "weight"):  # what hooks compute may be of the pass before
        check_weight(name, conv)
    kernel = [step * (size - 1) + 1 for size, step in zip(conv.kernel_size, conv.dilation, strict=True)]
    sizes = conv.in_channels, conv.out_channels, (kernel[0], kernel[1])
    made = nn.Conv2d(*sizes, conv.stride, conv.padding, bias=conv.bias is not None)  # type: ignore[arg-type]
    weight = torch.zeros(made.weight.shape, dtype=conv.weight.dtype, device=conv.weight.device)
    for outputs, inputs in _groups(conv):
        weight[outputs, inputs, :: conv.dilation[0], :: conv.dilation[1]] = conv.weight.detach()[outputs]
    made.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
    if conv.bias is not None:
        made.bias = nn.Parameter(conv.bias.detach().clone(), requires_grad=conv.bias.requires_grad)
    return made.train(conv.training)


def _groups(conv: nn.Conv2d) -> Iterator[tuple[slice, slice]]:
    """Output and input channels of each group."""
    made, read = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    for group in range(conv.groups):
        yield slice(group * made, (group + 1) * made), slice(group * read, (group + 1) * read)
