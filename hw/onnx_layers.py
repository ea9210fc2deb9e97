"""What each operation of ONNX becomes, by the name of the operation.

Kernels, strides and paddings are [rows, cols] in ONNX and maps [batch, channels, rows, cols]; here such positions get
their names.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hw import functions
from hw.errors import BadInput
from hw.network import INPUT, Kind, Padding, Size
from hw.onnx_walk import Attributes, Walk, name_of, refuse


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


def _relu(walk: Walk, node: Any, given: Attributes) -> None:
    """A ReLU belongs to the layer before it; where that is read by others too, an identity carries it."""
    source = walk.source(node, 0)
    index = next((i for i, layer in enumerate(walk.layers) if layer.name == source), None)
    if index is not None and walk.alone(node.input[0]):
        walk.layers[index] = msgspec.structs.replace(walk.layers[index], relu=True)
        walk.values[node.output[0]] = source
    else:
        walk.add(node, "affine", relu=True)


def _add(walk: Walk, node: Any, given: Attributes) -> None:
    """Of two layers; a constant after a dense layer without bias is its bias."""
    constant = next((name for name in node.input if name in walk.constants), None)
    if constant is None:
        walk.add(node, "add", inputs=[walk.source(node, 0), walk.source(node, 1)])
        return
    place = 1 if node.input[0] == constant else 0
    _check_constant(walk, node, constant)
    source = walk.source(node, place)
    index = next((i for i, layer in enumerate(walk.layers) if layer.name == source), None)
    layer = None if index is None else walk.layers[index]
    takes = layer is not None and layer.convolves and not layer.bias and not layer.relu
    takes = takes and math.prod(walk.size(constant) or ()) in (1, walk.shape(source).channels)
    if index is None or not takes or not walk.alone(node.input[place]):
        walk.add(node, "affine", inputs=(source,))
        return
    walk.layers[index] = msgspec.structs.replace(walk.layers[index], bias=True)
    walk.values[node.output[0]] = source


def _concat(walk: Walk, node: Any, given: Attributes) -> None:
    if given.get("axis") not in (1, -3):
        raise refuse(node, f"a concat along axis {given.get('axis')}", "a concat of channels (axis 1) would do")
    walk.add(node, "concat", inputs=[walk.source(node, index) for index in range(len(node.input))])


def _pool(walk: Walk, node: Any, given: Attributes) -> None:
    kind: Kind = "max" if node.op_type == "MaxPool" else "mean"
    kernel, stride = Size(*given["kernel_shape"]), Size(*given.get("strides", (1, 1)))
    if any(rate != 1 for rate in given.get("dilations", ())):
        raise refuse(node, "pooling with dilation", "plain pooling would do")
    padding = _padding(walk, node, given, kernel, stride)
    if given.get("ceil_mode", 0):
        padding = _hanging_over(walk, node, kernel, stride, padding)
        if kind == "mean":
            raise refuse(node, "average pooling with ceil_mode", "plain pooling would do")
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
    axes = sorted(axis % 4 for axis in _axes(walk, node, given))
    shape = walk.shape(walk.source(node, 0))
    if not axes or not set(axes) <= {2, 3}:
        raise refuse(node, f"a mean over axes {axes}", "a mean over rows (2), columns (3) or both would do")
    kernel = Size(shape.rows if 2 in axes else 1, shape.cols if 3 in axes else 1)
    walk.add(node, "mean", kernel=kernel, stride=kernel)


def _axes(walk: Walk, node: Any, given: Attributes) -> Sequence[int]:
    """An attribute up to opset 17, a constant input since."""
    if "axes" in given:
        return list(given["axes"])
    return walk.integers(node.input[1]) if len(node.input) > 1 else []


def _slice(walk: Walk, node: Any, given: Attributes) -> None:
    """Only of the input, which nobody else reads: every k-th of its rows."""
    starts, ends, axes, steps = (walk.integers(tensor) for tensor in [*node.input, *[""] * 4][1:5])
    read = walk.values.get(node.input[0]) == INPUT and walk.users(node.input[0]) == 1 and walk.row_step == 1
    if not read or (starts, axes) != ([0], [2]) or ends < [walk.input.rows] or steps < [1]:
        raise refuse(node, "a slice", "one that takes every k-th row of the whole input (starts 0, axis 2) would do")
    walk.row_step = steps[0]
    walk.values[node.output[0]] = INPUT


def _constant(walk: Walk, node: Any, given: Attributes) -> None:
    if "value" not in given:
        raise refuse(node, "a constant that is no tensor", "export it as an initializer")
    walk.constants[node.output[0]] = given["value"]


def _reshape(walk: Walk, node: Any, given: Attributes) -> None:
    """Only to [batch, everything]: a flatten."""
    size = walk.size(node.input[1])
    if size != (2,):
        raise refuse(node, "a reshape to other than two dimensions", "a flatten would do")
    _pass(walk, node, given)


def _table(walk: Walk, node: Any, given: Attributes) -> None:
    """A function of one value; ONNX's numbers are float32, so each is told in seven digits."""
    kind = node.op_type
    found = {
        "LeakyRelu": ("leaky_relu", given.get("alpha", 0.01)),
        "Elu": ("elu", given.get("alpha", 1.0)),
        "Gelu": ("gelu_tanh" if given.get("approximate", b"none") == b"tanh" else "gelu",),
    }.get(kind, (kind.lower(),))
    if kind == "HardSigmoid" and (abs(given.get("alpha", 0.2) - 1 / 6) > 1e-6 or given.get("beta", 0.5) != 0.5):
        raise refuse(
            node,
            f"HardSigmoid of alpha {given.get('alpha', 0.2):.7g} and beta {given.get('beta', 0.5):.7g}",
            "alpha 1/6 and beta 0.5, as torch has it, would do",
        )
    try:
        word = functions.word(found[0], *(float(f"{number:.7g}") for number in found[1:]))
    except BadInput as error:
        raise refuse(node, f"{kind} ({error})", "other numbers would do") from None
    walk.add(node, "table", function=word)


def _check_constant(walk: Walk, node: Any, constant: str) -> None:
    """A constant beside a map must be a number or one a channel."""
    size = walk.size(constant) or ()
    channels = math.prod(size)
    place = -3 if len(size) > 2 or math.prod(size[-2:]) == 1 else -1  # (channels, 1, 1), or beside a list
    if channels != 1 and (len(size) < -place or size[place] != channels):
        what = f"{node.op_type} of a constant of shape {size}"
        raise refuse(node, what, "a number, or one a channel (channels, 1, 1), would do")


def _scaled(walk: Walk, node: Any, given: Attributes) -> None:
    """A product, quotient or difference with a number, or one a channel; a product of a map and its own function."""
    constant = next((place for place, name in enumerate(node.input) if name in walk.constants), None)
    if constant is None and node.op_type == "Mul":
        _gated(walk, node)
    elif constant is None:
        raise refuse(node, f"a {node.op_type} of two maps", "an add behind a conv, or a product by a number, would do")
    elif node.op_type == "Div" and constant == 0:
        raise refuse(node, "a Div by a map", "a product by a number would do")
    else:
        _check_constant(walk, node, node.input[constant])
        walk.add(node, "affine", inputs=(walk.source(node, 1 - constant),))


def _gated(walk: Walk, node: Any) -> None:
    """X times its own sigmoid, as exporters write a SiLU, or its own hard sigmoid: a hard swish."""
    names = [walk.values.get(tensor) for tensor in node.input]
    for source, gate in (names, names[::-1]):
        layer = next((layer for layer in walk.layers if layer.name == gate), None)
        if layer is not None and source is not None and layer.inputs == (source,):
            word = functions.GATED.get(layer.function)
            if word is not None and not layer.relu:
                walk.add(node, "table", inputs=(source,), function=word)
                return
    raise refuse(node, "a Mul", "x times its own Sigmoid (a SiLU) is known; else a 1x1 conv or batch norm would do")


def _clip(walk: Walk, node: Any, given: Attributes) -> None:
    """Bounds are attributes up to opset 10, constant inputs since."""
    bounds = [given.get("min"), given.get("max")]
    for i, tensor in enumerate(node.input[1:3]):
        bound = walk.array(tensor)
        if bound is not None:
            bounds[i] = float(bound.item()) if bound.size == 1 else None
    low, high = bounds
    if low is None or high is None:
        raise refuse(node, "a Clip without two constant bounds", "two bounds, or a Relu, would do")
    try:
        word = functions.word("clip", *(float(f"{bound:.7g}") for bound in (low, high)))
    except BadInput as error:
        raise refuse(node, f"a Clip ({error})", "other bounds would do") from None
    walk.add(node, "table", inputs=(walk.source(node, 0),), function=word)


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
        _pass(walk, node, given)
        return
    factor = Size(int(scales[2]), int(scales[3]))
    walk.add(node, "upsample", inputs=(walk.source(node, 0),), factor=factor)


def _pass(walk: Walk, node: Any, given: Attributes) -> None:
    if node.input[0] in walk.constants:
        walk.constants[node.output[0]] = walk.constants[node.input[0]]
    else:
        walk.values[node.output[0]] = walk.source(node, 0)


def _cast(walk: Walk, node: Any, given: Attributes) -> None:
    """To another type of real numbers: nothing."""
    types = walk.onnx.TensorProto
    if given.get("to") not in (types.FLOAT, types.FLOAT16, types.BFLOAT16, types.DOUBLE):
        raise refuse(node, "a Cast to other than real numbers", "real numbers throughout would do")
    _pass(walk, node, given)


def _squeeze(walk: Walk, node: Any, given: Attributes) -> None:
    """Rows and columns of which there is one."""
    axes = {axis % 4 for axis in _axes(walk, node, given)}
    shape = walk.shape(walk.source(node, 0))
    if not axes or not axes <= {2, 3} or (2 in axes and shape.rows > 1) or (3 in axes and shape.cols > 1):
        raise refuse(node, f"a Squeeze of the axes {sorted(axes)} of a map of {tuple(shape)}", "a Flatten would do")
    _pass(walk, node, given)


HANDLERS: dict[str, Callable[[Walk, Any, Attributes], None]] = {
    "Conv": _conv,
    "Gemm": _dense,
    "MatMul": _dense,
    "BatchNormalization": _batch_norm,
    "Relu": _relu,
    "Add": _add,
    "Concat": _concat,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "ReduceMean": _reduce_mean,
    "Constant": _constant,
    "Reshape": _reshape,
    "Slice": _slice,
    "Flatten": _pass,
    "Dropout": _pass,
    "Identity": _pass,
    **dict.fromkeys(("LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softplus"), _table),
    "Clip": _clip,
    **dict.fromkeys(("Mul", "Div", "Sub"), _scaled),
    "Cast": _cast,
    "Squeeze": _squeeze,
    "Resize": _resize,
    "Upsample": _resize,
}
"""What adds an operation's layer, if it has one, and says which layer gives the node's output."""
