"""Operations of `torch.export` with weights or windows: convs, linear layers, batch norm, pools, means, upsampling."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hw.network import Padding, Size
from hw.trace_walk import Walk, added, args_of, dims_of, own_name, path_of, refuse, size_of, symmetric

_DENSE = "distill.dense.dense(model) makes it a plain conv with zeros between its weights"


def _conv(walk: Walk, node: Any) -> str:
    weight, bias, stride, padding, dilation, groups = args_of(node, None, None, [1, 1], [0, 0], [1, 1], 1)
    if size_of(dilation) != (1, 1):
        raise refuse(node, f"a conv of dilation {tuple(size_of(dilation))}", _DENSE)
    filters = walk.array(weight)
    depthwise = groups > 1 and filters.shape[:2] == (groups, 1)
    if groups != 1 and not depthwise:
        channels = f"{groups * filters.shape[1]} to {filters.shape[0]} channels"
        raise refuse(node, f"a conv of {groups} groups from {channels}", _DENSE)
    kernel = Size(*filters.shape[2:])
    own = _same(kernel) if padding == "same" else Padding() if padding == "valid" else symmetric(padding)
    edges = added(walk.pads.get(node.args[0].name), own)
    name = walk.add(
        walk.layer_name(node, weight),
        "depthwise" if depthwise else "conv",
        [walk.source(node.args[0])],
        channels=0 if depthwise else filters.shape[0],
        kernel=kernel,
        stride=size_of(stride),
        padding=edges,
        bias=bias is not None,
    )
    taps = filters.transpose(2, 3, 1, 0)
    walk.weights[f"{name}.weight"] = taps[:, :, 0] if depthwise else taps
    if bias is not None:
        walk.weights[f"{name}.bias"] = walk.array(bias)
    return name


def _same(kernel: Size) -> Padding:
    rows, cols = kernel.rows - 1, kernel.cols - 1
    return Padding(rows // 2, rows - rows // 2, cols // 2, cols - cols // 2)


def _linear(walk: Walk, node: Any) -> str:
    """A dense layer is a conv whose kernel is the whole map that was flattened, channels first."""
    weight, bias = args_of(node, None, None)
    if len(dims_of(node.args[0])) != 2:
        raise refuse(node, f"a linear layer on {len(dims_of(node.args[0]))} axes", "flatten(1) before it would do")
    source = walk.source(node.args[0])
    matrix = walk.array(weight)
    shape = walk.shape_of(source)
    name = walk.add(
        walk.layer_name(node, weight),
        "conv",
        [source],
        channels=matrix.shape[0],
        kernel=Size(shape.rows, shape.cols),
        bias=bias is not None,
    )
    filters = matrix.reshape(matrix.shape[0], shape.channels, shape.rows, shape.cols)
    walk.weights[f"{name}.weight"] = filters.transpose(2, 3, 1, 0)
    if bias is not None:
        walk.weights[f"{name}.bias"] = walk.array(bias)
    return name


def _batch_norm(walk: Walk, node: Any) -> str:
    gamma, beta, mean, variance, by_batch, _, epsilon, *_ = args_of(node)
    if mean is None or by_batch:
        raise refuse(node, "batch norm without running statistics", "track_running_stats=True would do")
    source = walk.source(node.args[0])
    if walk.array(variance).size != walk.shape_of(source).channels:
        raise refuse(node, "batch norm of a flattened map", "batch norm before flatten would do")
    deviation = np.sqrt(walk.array(variance) + epsilon)
    scale = (1.0 if gamma is None else walk.array(gamma)) / deviation
    shift = (0.0 if beta is None else walk.array(beta)) - walk.array(mean) * scale
    name = walk.add(path_of(node), "affine", [source])
    walk.weights |= {f"{name}.weight": scale, f"{name}.bias": shift}
    return name


def _upsample(walk: Walk, node: Any) -> str:
    """Nearest upsampling by whole factors: given scales must be those factors, since torch counts with them."""
    before, after = dims_of(node.args[0])[2:], dims_of(node)[2:]
    scales = [scale for given in node.args[2:] if given is not None for scale in _listed(given)]
    factor = Size(after[0] // before[0], after[1] // before[1])
    if (before[0] * factor.rows, before[1] * factor.cols) != after or (scales and scales != list(factor)):
        raise refuse(node, f"upsampling of {before[0]}x{before[1]} to {after[0]}x{after[1]}", "whole factors would do")
    if factor == (1, 1):
        return walk.source(node.args[0])
    return walk.add(own_name(node, "upsample"), "upsample", [walk.source(node.args[0])], factor=factor)


def _listed(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _max_pool(walk: Walk, node: Any) -> str:
    kernel, stride, padding, dilation, ceil_mode = args_of(node, None, [], [0, 0], [1, 1], False)
    if size_of(dilation) != (1, 1):
        raise refuse(node, "max pooling with dilation", "plain max pooling would do")
    size = size_of(kernel)
    step = size_of(stride) if stride else size
    edges = _edges(node, size, step, padding, ceil_mode)
    source = walk.source(node.args[0])
    return walk.add(own_name(node, "max"), "max", [source], kernel=size, stride=step, padding=edges)


def _avg_pool(walk: Walk, node: Any) -> str:
    kernel, stride, padding, ceil_mode, counts_padding, divisor = args_of(node, None, [], [0, 0], False, True, None)
    size = size_of(kernel)
    step = size_of(stride) if stride else size
    edges = symmetric(padding)
    if _edges(node, size, step, padding, ceil_mode) != edges:
        raise refuse(node, "average pooling with a last window cut short", "ceil_mode=False would do")
    if any(edges) and not counts_padding and divisor is None:
        raise refuse(node, "average pooling that leaves out its padding", "count_include_pad=True would do")
    if any(edges) or divisor is not None:
        return _weighted_mean(walk, node, size, step, edges, 1.0 / (divisor or size.rows * size.cols))
    return _mean_layer(walk, node, size, step)


def _weighted_mean(walk: Walk, node: Any, kernel: Size, stride: Size, padding: Padding, weight: float) -> str:
    """A mean that counts its padding: a depthwise conv of equal weights; of one channel a conv."""
    source, channels = walk.source(node.args[0]), dims_of(node)[1]
    shape = {"kernel": kernel, "stride": stride, "padding": padding}
    if channels == 1:
        name = walk.add(own_name(node, "mean"), "conv", [source], channels=1, **shape)
        walk.weights[f"{name}.weight"] = np.full((*kernel, 1, 1), weight)
        return name
    name = walk.add(own_name(node, "mean"), "depthwise", [source], **shape)
    walk.weights[f"{name}.weight"] = np.full((*kernel, channels), weight)
    return name


def _edges(node: Any, kernel: Size, stride: Size, padding: Any, ceil_mode: bool) -> Padding:
    """A pool's padding: below and to the right also what `ceil_mode` lets the last windows hang over."""
    around = symmetric(padding)
    if not ceil_mode:
        return around
    beyond = [
        max(0, (made - 1) * step + size - extent - 2 * pad)
        for made, step, size, extent, pad in zip(
            dims_of(node)[2:], stride, kernel, dims_of(node.args[0])[2:], size_of(padding), strict=True
        )
    ]
    return Padding(around.top, around.bottom + beyond[0], around.left, around.right + beyond[1])


def _adaptive_pool(walk: Walk, node: Any) -> str:
    (wanted,) = args_of(node)
    rows, cols = dims_of(node.args[0])[2:]
    size = Size(rows // size_of(wanted).rows, cols // size_of(wanted).cols)
    if rows % size_of(wanted).rows or cols % size_of(wanted).cols:
        raise refuse(
            node, f"adaptive pooling of {rows}x{cols} to {tuple(size_of(wanted))}", "sizes that divide would do"
        )
    return _mean_layer(walk, node, size, size)


def _mean(walk: Walk, node: Any) -> str:
    axes, keep = args_of(node, [], False)
    dims = dims_of(node.args[0])
    axes = sorted(axis % len(dims) for axis in axes)
    if len(dims) != 4 or axes not in ([2, 3], [3], [2]) or (axes != [2, 3] and not keep):
        raise refuse(
            node, f"a mean over axes {axes}", "a mean over rows and columns, or over one with keepdim=True, would do"
        )
    size = Size(dims[2] if 2 in axes else 1, dims[3] if 3 in axes else 1)
    return _mean_layer(walk, node, size, size)


def _mean_layer(walk: Walk, node: Any, kernel: Size, stride: Size) -> str:
    return walk.add(own_name(node, "mean"), "mean", [walk.source(node.args[0])], kernel=kernel, stride=stride)


HANDLERS: dict[str, Callable[[Walk, Any], str]] = {
    "conv2d": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    "upsample_nearest2d": _upsample,
    "_upsample_nearest_exact2d": _upsample,
}
"""What adds an operation's layers, by the operation's name; each returns the layer whose result it is."""
