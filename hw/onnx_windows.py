"""ONNX's operations with weights or windows: convs, dense layers, batch norm, pools, means, resizing.

Kernels, strides and paddings are [rows, cols] in ONNX and maps [batch, channels, rows, cols]; here such positions get
their names.
"""

from collections.abc import Callable
from typing import Any

from hw.errors import BadInput
from hw.network import Kind, Padding, Size
from hw.onnx_walk import Attributes, Walk, axes_of, name_of, refuse


def _padding(walk: Walk, node: Any, given: Attributes, kernel: Size, stride: Size) -> Padding:
    """ONNX pads [top, left, bottom, right]; SAME_UPPER and SAME_LOWER keep ceil(size / stride)."""
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto in ("NOTSET", "VALID"):
        top, left, bottom, right = given.get("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
        return Padding(top, bottom, left, right)
    shape = walk.shape(walk.source(node, 0))
    both = [
        max(0, (-(-size // step) - 1) * step + extent - size)
        for size, step, extent in zip((shape.rows, shape.cols), stride, kernel, strict=True)
    ]
    small, large = [total // 2 for total in both], [total - total // 2 for total in both]
    before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    return Padding(before[0], after[0], before[1], after[1])


def _conv(walk: Walk, node: Any, given: Attributes) -> None:
    filters = walk.size(node.input[1])
    if filters is None or len(filters) != 4:
        raise refuse(node, "a conv whose weights are no constant of four dimensions", "export constant 2-d weights")
    if any(rate != 1 for rate in given.get("dilations", ())):
        raise refuse(node, "a dilated conv", "a larger kernel with zeros between its weights would do")
    groups = given.get("group", 1)
    channels = walk.shape(walk.source(node, 0)).channels
    if groups * filters[1] != channels:
        raise BadInput(
            f"{walk.path}: layer {name_of(node)}: weights for {groups * filters[1]} input channels were found, "
            f"{channels} are wanted; export it again"
        )
    depthwise = groups > 1 and groups == filters[0] and filters[1] == 1
    if groups != 1 and not depthwise:
        what = f"a conv of {groups} groups from {groups * filters[1]} to {filters[0]} channels"
        raise refuse(node, what, "a depthwise conv (as many groups and outputs as inputs) or a dense one would do")
    kernel, stride = Size(*filters[2:]), Size(*given.get("strides", (1, 1)))
    padding = _padding(walk, node, given, kernel, stride)
    fields = {"kernel": kernel, "stride": stride, "padding": padding, "bias": len(node.input) > 2}
    if depthwise:
        walk.add(node, "depthwise", **fields)
    else:
        walk.add(node, "conv", channels=filters[0], **fields)


def _dense(walk: Walk, node: Any, given: Attributes) -> None:
    weights = walk.size(node.input[1])
    if weights is None or len(weights) != 2 or given.get("transA", 0):
        raise refuse(node, "a product of two computed matrices", "a dense layer with constant weights would do")
    shape = walk.shape(walk.source(node, 0))
    outputs, inputs = weights if given.get("transB", 0) else weights[::-1]
    if inputs != shape.rows * shape.cols * shape.channels:
        raise refuse(node, f"a dense layer of {inputs} inputs on a map of {shape}", "flatten the whole map before it")
    bias = node.op_type == "Gemm" and len(node.input) > 2
    walk.add(node, "conv", channels=outputs, kernel=Size(shape.rows, shape.cols), bias=bias)


def _batch_norm(walk: Walk, node: Any, given: Attributes) -> None:
    walk.add(node, "affine")


def _pool(walk: Walk, node: Any, given: Attributes) -> None:
    kind: Kind = "max" if node.op_type == "MaxPool" else "mean"
    kernel, stride = Size(*given["kernel_shape"]), Size(*given.get("strides", (1, 1)))
    if any(rate != 1 for rate in given.get("dilations", ())):
        raise refuse(node, "pooling with dilation", "plain pooling would do")
    padding = _padding(walk, node, given, kernel, stride)
    if given.get("ceil_mode", 0):
        hanging = _hanging_over(walk, node, kernel, stride, padding)
        if kind == "mean" and hanging != padding:
            raise refuse(node, "average pooling with a last window cut short", "ceil_mode=0 would do")
        padding = hanging
    if kind == "mean" and any(padding):
        if not given.get("count_include_pad", 0):
            raise refuse(node, "average pooling that leaves out its padding", "count_include_pad=1 would do")
        kind = "depthwise" if walk.shape(walk.source(node, 0)).channels > 1 else "conv"
    channels = {"channels": 1} if kind == "conv" else {}
    walk.add(node, kind, kernel=kernel, stride=stride, padding=padding, **channels)


def _hanging_over(walk: Walk, node: Any, kernel: Size, stride: Size, padding: Padding) -> Padding:
    """Padding with what the last windows need below and to the right; a window begins before its padding does."""
    shape = walk.shape(walk.source(node, 0))
    ends = []
    for extent, size, step, before, after in (
        (shape.rows, kernel.rows, stride.rows, padding.top, padding.bottom),
        (shape.cols, kernel.cols, stride.cols, padding.left, padding.right),
    ):
        windows = -(-(extent + before + after - size) // step) + 1
        windows -= (windows - 1) * step >= extent + before
        ends.append(max(after, (windows - 1) * step + size - extent - before))
    return Padding(padding.top, ends[0], padding.left, ends[1])


def _global_pool(walk: Walk, node: Any, given: Attributes) -> None:
    shape = walk.shape(walk.source(node, 0))
    kernel = Size(shape.rows, shape.cols)
    walk.add(node, "max" if node.op_type == "GlobalMaxPool" else "mean", kernel=kernel, stride=kernel)


def _reduce_mean(walk: Walk, node: Any, given: Attributes) -> None:
    axes = sorted(axis % 4 for axis in axes_of(walk, node, given))
    shape = walk.shape(walk.source(node, 0))
    if not axes or not set(axes) <= {2, 3}:
        raise refuse(node, f"a mean over axes {axes}", "a mean over rows (2), columns (3) or both would do")
    kernel = Size(shape.rows if 2 in axes else 1, shape.cols if 3 in axes else 1)
    walk.add(node, "mean", kernel=kernel, stride=kernel)


def _resize(walk: Walk, node: Any, given: Attributes) -> None:
    """Nearest upsampling by whole factors, in the ways of counting that repeat every pixel as often."""
    way = tuple(
        given.get(key, default).decode()
        for key, default in (
            ("mode", b"nearest"),
            ("coordinate_transformation_mode", b"half_pixel" if node.op_type == "Resize" else b"asymmetric"),
            ("nearest_mode", b"round_prefer_floor" if node.op_type == "Resize" else b"floor"),
        )
    )
    ways = {("nearest", "asymmetric", "floor")}
    ways |= {("nearest", "half_pixel", f"round_prefer_{to}") for to in ("floor", "ceil")}
    if way not in ways or given.get("axes"):
        raise refuse(node, f"{node.op_type} of {', '.join(way)}", "nearest, asymmetric, floor would do")
    shape = walk.shape(walk.source(node, 0))
    sizes = [float(size) for size in walk.integers([*node.input, "", "", ""][3])]
    scales = walk.floats([*node.input, ""][2 if node.op_type == "Resize" else 1]) or list(given.get("scales", []))
    if len(sizes) == 4:
        scales = [1, sizes[1] / shape.channels, sizes[2] / shape.rows, sizes[3] / shape.cols]
    if len(scales) != 4 or list(scales[:2]) != [1, 1] or any(scale < 1 or scale % 1 for scale in scales):
        told = f" by {' x '.join(f'{scale:g}' for scale in scales)}" if len(scales) else " by what is computed"
        raise refuse(node, node.op_type + told, "constant whole factors of rows and columns would do")
    if max(scales) == 1:
        walk.values[node.output[0]] = walk.source(node, 0)
        return
    factor = Size(int(scales[2]), int(scales[3]))
    walk.add(node, "upsample", inputs=(walk.source(node, 0),), factor=factor)


HANDLERS: dict[str, Callable[[Walk, Any, Attributes], None]] = {
    "Conv": _conv,
    "Gemm": _dense,
    "MatMul": _dense,
    "BatchNormalization": _batch_norm,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "ReduceMean": _reduce_mean,
    "Resize": _resize,
    "Upsample": _resize,
}
"""What adds an operation's layer, by the name of the operation."""
