"""`torch.nn.Module` -> `Network` and its float weights, by `torch.export`: the only bridge from torch.

Axes are told by their names from here on: torch's [batch, channels, rows, cols] becomes rows, cols, channels, and its
filters [outputs, inputs, rows, cols] become (rows, cols, inputs, outputs).
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw import functions
from hw.errors import BadInput, UnsupportedLayer, need
from hw.network import INPUT, Kind, Layer, Network, Padding, Shape, Size

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traced:
    """A network as its module has it, batch norms not folded, and its weights by key."""

    network: Network
    weights: dict[str, Floats]


def trace(model: Any, shape: Shape, name: str) -> Traced:
    """The network of a torch module in evaluation mode that maps one image [1, channels, rows, cols] to one output.

    Raises:
        UnsupportedLayer: an operation that no machine here executes; its name and what would do instead.
        BadInput: torch cannot export the module, or a weight is not finite.
    """
    torch = need("torch", "distill", "tracing a torch module")
    numbers = _numbers(model, torch)
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                model, (torch.zeros(1, shape.channels, shape.rows, shape.cols, dtype=numbers),)
            )
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        raise BadInput(f"network {name}: torch cannot export it ({type(error).__name__}: {first_line})") from error
    finally:
        for part, mode in modes.items():
            part.training = mode
    walk = _Walk(program, shape)
    walk.run()
    for key, values in walk.weights.items():
        if not np.isfinite(values).all():
            raise BadInput(f"layer {key.rpartition('.')[0]}: {key} holds NaN or infinity; train it again")
    return Traced(Network(name, shape, tuple(walk.layers)), walk.weights)


def _numbers(model: Any, torch: Any) -> Any:
    """The type of a module's weights, in which it wants its image; float32 where it has none."""
    found = {tensor.dtype: name for name, tensor in model.named_parameters()}
    for dtype, name in found.items():
        if not dtype.is_floating_point:
            layer = name.rpartition(".")[0] or name
            raise UnsupportedLayer(f"layer {layer}: weights of {dtype} are not supported; real ones (float32) would do")
    if len(found) > 1:
        several = ", ".join(f"{name} of {dtype}" for dtype, name in found.items())
        raise BadInput(f"weights of one type are wanted, found were {several}; model.float() makes them alike")
    return next(iter(found), torch.float32)


@dataclass
class _Walk:
    """One pass over an exported graph; `values` maps its nodes to layers."""

    program: Any
    shape: Shape
    layers: list[Layer] = field(default_factory=list)
    weights: dict[str, Floats] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        signature = self.program.graph_signature
        self.keys = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        inputs = list(signature.user_inputs)
        outputs = list(signature.user_outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            raise UnsupportedLayer(f"{len(inputs)} inputs and {len(outputs)} outputs were found, one of each is wanted")
        self.values[inputs[0]] = INPUT
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self.values[node.name] = self.step(node)
        self.layers = _reaching(self.layers, self.values[outputs[0]])

    def step(self, node: Any) -> str:
        """Add what a node does; return the layer whose result it is."""
        operation = _operation(node)
        handler = _HANDLERS.get(operation)
        if handler is None:
            cure = _CURES.get(
                operation,
                "only conv, batch norm, activations, add, concat, pooling, mean, upsampling, flatten and linear "
                "are known",
            )
            raise UnsupportedLayer(f"layer {_path(node) or node.name}: {operation} is not supported; {cure}")
        return handler(self, node)

    def source(self, argument: Any) -> str:
        """The layer behind a node's argument."""
        name = self.values.get(getattr(argument, "name", ""))
        if name is None:
            raise UnsupportedLayer(
                f"layer {argument}: a constant takes part where only layers can; fold it into a conv"
            )
        return name

    def array(self, argument: Any) -> Floats:
        """The values of a parameter or a buffer."""
        tensor = self.program.state_dict.get(self.keys.get(argument.name, ""))
        if tensor is None:
            raise UnsupportedLayer(
                f"layer {argument}: weights that are computed or not saved are not supported; "
                f"a parameter or a persistent buffer would do"
            )
        return tensor.detach().double().cpu().numpy()  # type: ignore[no-any-return]  # torch is untyped here

    def add(self, name: str, kind: Kind, inputs: Sequence[str], **fields: Any) -> str:
        taken = {layer.name for layer in self.layers} | {INPUT}
        unique, count = name, 2
        while unique in taken:
            unique, count = f"{name}.{count}", count + 1
        self.layers.append(Layer(unique, kind, tuple(inputs), **fields))
        return unique


def _reaching(layers: list[Layer], output: str) -> list[Layer]:
    """Only the layers that the output needs, and it last."""
    wanted = {output}
    kept = []
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(layer.inputs)
            kept.append(layer)
    return kept[::-1]


def _path(node: Any) -> str:
    """The path of the module that a node belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def _own_name(node: Any, kind: str) -> str:
    path = _path(node)
    return f"{path}.{kind}" if path else kind


def _args(node: Any, *defaults: Any) -> list[Any]:
    """A node's arguments after the first, the rest from `defaults`."""
    given = list(node.args[1:])
    return given + list(defaults[len(given) :])


def _dims(argument: Any) -> tuple[int, ...]:
    """Shape of a tensor argument."""
    return tuple(int(size) for size in argument.meta["val"].shape)


def _size(value: Any) -> Size:
    pair = [value] * 2 if isinstance(value, int) else list(value)
    return Size(*(pair if len(pair) == 2 else pair * 2))


def _symmetric(value: Any) -> Padding:
    size = _size(value)
    return Padding(size.rows, size.rows, size.cols, size.cols)


def _refuse(node: Any, what: str, cure: str) -> UnsupportedLayer:
    return UnsupportedLayer(f"layer {_path(node) or node.name}: {what} is not supported; {cure}")


def _conv(walk: _Walk, node: Any) -> str:
    weight, bias, stride, padding, dilation, groups = _args(node, None, None, [1, 1], [0, 0], [1, 1], 1)
    if _size(dilation) != (1, 1):
        raise _refuse(node, f"a conv of dilation {tuple(_size(dilation))}", _DENSE)
    filters = walk.array(weight)
    depthwise = groups > 1 and filters.shape[:2] == (groups, 1)
    if groups != 1 and not depthwise:
        channels = f"{groups * filters.shape[1]} to {filters.shape[0]} channels"
        raise _refuse(node, f"a conv of {groups} groups from {channels}", _DENSE)
    kernel = Size(*filters.shape[2:])
    edges = _same(kernel) if padding == "same" else Padding() if padding == "valid" else _symmetric(padding)
    name = walk.add(
        walk.keys[weight.name].removesuffix(".weight"),
        "depthwise" if depthwise else "conv",
        [walk.source(node.args[0])],
        channels=0 if depthwise else filters.shape[0],
        kernel=kernel,
        stride=_size(stride),
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


def _linear(walk: _Walk, node: Any) -> str:
    """A dense layer is a conv whose kernel is the whole map that was flattened, channels first."""
    weight, bias = _args(node, None, None)
    if len(_dims(node.args[0])) != 2:
        raise _refuse(node, f"a linear layer on {len(_dims(node.args[0]))} axes", "flatten(1) before it would do")
    source = walk.source(node.args[0])
    matrix = walk.array(weight)
    shape = _shape_of(walk, source)
    name = walk.add(
        walk.keys[weight.name].removesuffix(".weight"),
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


def _shape_of(walk: _Walk, name: str) -> Shape:
    if name == INPUT:
        return walk.shape
    return Network("traced", walk.shape, tuple(_reaching(walk.layers, name))).shapes[name]


def _batch_norm(walk: _Walk, node: Any) -> str:
    gamma, beta, mean, variance, by_batch, _, epsilon, *_ = _args(node)
    if mean is None or by_batch:
        raise _refuse(node, "batch norm without running statistics", "track_running_stats=True would do")
    source = walk.source(node.args[0])
    if walk.array(variance).size != _shape_of(walk, source).channels:
        raise _refuse(node, "batch norm of a flattened map", "batch norm before flatten would do")
    deviation = np.sqrt(walk.array(variance) + epsilon)
    scale = (1.0 if gamma is None else walk.array(gamma)) / deviation
    shift = (0.0 if beta is None else walk.array(beta)) - walk.array(mean) * scale
    name = walk.add(_path(node), "affine", [source])
    walk.weights |= {f"{name}.weight": scale, f"{name}.bias": shift}
    return name


def _relu(walk: _Walk, node: Any) -> str:
    """A ReLU belongs to the layer before it; where that is read by others too, an identity carries it."""
    name = walk.source(node.args[0])
    index = next((i for i, layer in enumerate(walk.layers) if layer.name == name), None)
    if index is not None and _read_alone(walk, node.args[0]):
        walk.layers[index] = msgspec.structs.replace(walk.layers[index], relu=True)
        return name
    channels = _shape_of(walk, name).channels
    identity = walk.add(_own_name(node, "relu"), "affine", [name], relu=True)
    walk.weights |= {f"{identity}.weight": np.ones(channels), f"{identity}.bias": np.zeros(channels)}
    return identity


def _table(walk: _Walk, node: Any) -> str:
    """A function of one value: its name is the operation's where that has no other."""
    operation = _operation(node)
    try:
        function = _FUNCTIONS[operation](node) if operation in _FUNCTIONS else functions.word(operation)
    except BadInput as error:
        raise _refuse(node, f"{operation} ({error})", "other numbers, or a ReLU, would do") from None
    return walk.add(_own_name(node, operation), "table", [walk.source(node.args[0])], function=function)


def _gelu(node: Any) -> str:
    return functions.word("gelu_tanh" if node.kwargs.get("approximate", "none") == "tanh" else "gelu")


def _elu(node: Any) -> str:
    alpha, scale, input_scale = _args(node, 1, 1, 1)
    if (scale, input_scale) != (1, 1):
        raise _refuse(node, f"an ELU of the scales {scale} and {input_scale}", "one without scales would do")
    return functions.word("elu", alpha)


def _softplus(node: Any) -> str:
    """Torch's is the identity above `threshold`, which moves nothing that fixed point would show from 20 on."""
    beta, threshold = _args(node, 1, 20)
    if beta != 1 or threshold < 20:
        raise _refuse(
            node, f"softplus of beta {beta:g} and threshold {threshold:g}", "beta 1 and threshold 20 would do"
        )
    return functions.word("softplus")


def _clip(node: Any) -> str:
    low, high = _args(node, *((-1, 1) if _operation(node) == "hardtanh" else (None, None)))
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    if low is None or high is None:
        raise _refuse(node, "a clamp of one bound", "two bounds, or a ReLU, would do")
    return functions.word("clip", low, high)


def _upsample(walk: _Walk, node: Any) -> str:
    """Nearest upsampling by whole factors: given scales must be those factors, since torch counts with them."""
    before, after = _dims(node.args[0])[2:], _dims(node)[2:]
    scales = [scale for given in node.args[2:] if given is not None for scale in _listed(given)]
    factor = Size(after[0] // before[0], after[1] // before[1])
    if (before[0] * factor.rows, before[1] * factor.cols) != after or (scales and scales != list(factor)):
        raise _refuse(node, f"upsampling of {before[0]}x{before[1]} to {after[0]}x{after[1]}", "whole factors would do")
    if factor == (1, 1):
        return walk.source(node.args[0])
    return walk.add(_own_name(node, "upsample"), "upsample", [walk.source(node.args[0])], factor=factor)


def _listed(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _read_alone(walk: _Walk, node: Any) -> bool:
    """Whether one operation alone reads what `node` gives, and the layer's result that it may only pass on."""
    while len(node.users) == 1:
        given = [each for each in node.all_input_nodes if walk.values.get(each.name) == walk.values[node.name]]
        if not given:
            return True
        node = given[0]
    return False


def _operation(node: Any) -> str:
    return str(node.target).removeprefix("aten.").split(".")[0].removesuffix("_")


def _add(walk: _Walk, node: Any) -> str:
    """Of two maps; of a map and a number, or a number a channel; of a map and itself."""
    first, second = node.args[:2]
    if first is second:
        return _affine(walk, node, first, 1.0 + _alpha(node), 0.0)
    constant = _constant(walk, second)
    if constant is not None:
        return _affine(walk, node, first, 1.0, constant * _alpha(node))
    if _alpha(node) != 1:
        raise _refuse(node, "an add with a factor", "a factor in a conv's weights would do")
    if _dims(first) != _dims(second):
        raise _refuse(node, f"an add of shapes {_dims(first)} and {_dims(second)}", "equal shapes would do")
    return walk.add(_own_name(node, "add"), "add", [walk.source(first), walk.source(second)])


def _alpha(node: Any) -> float:
    """The factor that an add or a difference has by name, or as its third argument."""
    (factor,) = node.args[2:] or (node.kwargs.get("alpha", 1),)
    return float(factor)


def _sub(walk: _Walk, node: Any) -> str:
    constant = _constant(walk, node.args[1])
    if constant is None:
        raise _refuse(node, "a difference of two maps", "an add behind a conv with turned signs would do")
    if _alpha(node) != 1:
        raise _refuse(node, "a difference with a factor", "one without would do")
    turned = _operation(node) == "rsub"
    return _affine(walk, node, node.args[0], -1.0 if turned else 1.0, constant if turned else -constant)


def _mul(walk: _Walk, node: Any) -> str:
    constant = _constant(walk, node.args[1])
    if constant is None:
        what = "a product of two maps (squeeze-and-excitation, attention, a gate)"
        raise _refuse(node, what, "the network without it would do")
    if node.kwargs.get("rounding_mode"):
        raise _refuse(node, f"a quotient of rounding_mode {node.kwargs['rounding_mode']}", "one without would do")
    return _affine(walk, node, node.args[0], constant if _operation(node) == "mul" else 1.0 / constant, 0.0)


def _constant(walk: _Walk, argument: Any) -> Floats | float | None:
    """A number, or one a channel from a parameter or buffer of the shape [1, channels, 1, 1]; None of anything else."""
    if not hasattr(argument, "meta"):
        return float(argument)
    if argument.name not in walk.keys:
        return None
    dims = (1, 1, 1, 1, *_dims(argument))[-4:]
    if dims != (1, dims[1], 1, 1):
        return None
    return walk.array(argument).ravel()


def _affine(walk: _Walk, node: Any, source: Any, scale: Floats | float, shift: Floats | float) -> str:
    """A scale and a shift of every channel."""
    read = walk.source(source)
    if _dims(node) != _dims(source):
        raise _refuse(
            node, f"{_operation(node)} from {_dims(source)} to {_dims(node)}", "one that keeps its shape would do"
        )
    channels = _shape_of(walk, read).channels
    name = walk.add(_own_name(node, _operation(node)), "affine", [read])
    walk.weights |= {f"{name}.weight": np.zeros(channels) + scale, f"{name}.bias": np.zeros(channels) + shift}
    return name


def _concat(walk: _Walk, node: Any) -> str:
    (axis,) = _args(node, 0)
    if axis not in (1, -3):
        raise _refuse(node, f"a concat along axis {axis}", "a concat of channels (axis 1) would do")
    if len(node.args[0]) == 1:
        return walk.source(node.args[0][0])
    return walk.add(_own_name(node, "concat"), "concat", [walk.source(part) for part in node.args[0]])


def _max_pool(walk: _Walk, node: Any) -> str:
    kernel, stride, padding, dilation, ceil_mode = _args(node, None, [], [0, 0], [1, 1], False)
    if _size(dilation) != (1, 1):
        raise _refuse(node, "max pooling with dilation", "plain max pooling would do")
    size = _size(kernel)
    step = _size(stride) if stride else size
    edges = _edges(node, size, step, padding, ceil_mode)
    source = walk.source(node.args[0])
    return walk.add(_own_name(node, "max"), "max", [source], kernel=size, stride=step, padding=edges)


def _avg_pool(walk: _Walk, node: Any) -> str:
    kernel, stride, padding, ceil_mode, counts_padding, divisor = _args(node, None, [], [0, 0], False, True, None)
    size = _size(kernel)
    step = _size(stride) if stride else size
    edges = _symmetric(padding)
    if _edges(node, size, step, padding, ceil_mode) != edges:
        raise _refuse(node, "average pooling with a last window cut short", "ceil_mode=False would do")
    if any(edges) and not counts_padding and divisor is None:
        raise _refuse(node, "average pooling that leaves out its padding", "count_include_pad=True would do")
    if any(edges) or divisor is not None:
        return _weighted_mean(walk, node, size, step, edges, 1.0 / (divisor or size.rows * size.cols))
    return _mean_layer(walk, node, size, step)


def _weighted_mean(walk: _Walk, node: Any, kernel: Size, stride: Size, padding: Padding, weight: float) -> str:
    """A mean that counts its padding: a depthwise conv of equal weights; of one channel a conv."""
    source, channels = walk.source(node.args[0]), _dims(node)[1]
    shape = {"kernel": kernel, "stride": stride, "padding": padding}
    if channels == 1:
        name = walk.add(_own_name(node, "mean"), "conv", [source], channels=1, **shape)
        walk.weights[f"{name}.weight"] = np.full((*kernel, 1, 1), weight)
        return name
    name = walk.add(_own_name(node, "mean"), "depthwise", [source], **shape)
    walk.weights[f"{name}.weight"] = np.full((*kernel, channels), weight)
    return name


def _edges(node: Any, kernel: Size, stride: Size, padding: Any, ceil_mode: bool) -> Padding:
    """A pool's padding: below and to the right also what `ceil_mode` lets the last windows hang over."""
    around = _symmetric(padding)
    if not ceil_mode:
        return around
    beyond = [
        max(0, (made - 1) * step + size - extent - 2 * pad)
        for made, step, size, extent, pad in zip(
            _dims(node)[2:], stride, kernel, _dims(node.args[0])[2:], _size(padding), strict=True
        )
    ]
    return Padding(around.top, around.bottom + beyond[0], around.left, around.right + beyond[1])


def _adaptive_pool(walk: _Walk, node: Any) -> str:
    (wanted,) = _args(node)
    rows, cols = _dims(node.args[0])[2:]
    size = Size(rows // _size(wanted).rows, cols // _size(wanted).cols)
    if rows % _size(wanted).rows or cols % _size(wanted).cols:
        raise _refuse(
            node, f"adaptive pooling of {rows}x{cols} to {tuple(_size(wanted))}", "sizes that divide would do"
        )
    return _mean_layer(walk, node, size, size)


def _mean(walk: _Walk, node: Any) -> str:
    axes, keep = _args(node, [], False)
    dims = _dims(node.args[0])
    axes = sorted(axis % len(dims) for axis in axes)
    if len(dims) != 4 or axes not in ([2, 3], [3], [2]) or (axes != [2, 3] and not keep):
        raise _refuse(
            node, f"a mean over axes {axes}", "a mean over rows and columns, or over one with keepdim=True, would do"
        )
    size = Size(dims[2] if 2 in axes else 1, dims[3] if 3 in axes else 1)
    return _mean_layer(walk, node, size, size)


def _mean_layer(walk: _Walk, node: Any, kernel: Size, stride: Size) -> str:
    return walk.add(_own_name(node, "mean"), "mean", [walk.source(node.args[0])], kernel=kernel, stride=stride)


def _pass(walk: _Walk, node: Any) -> str:
    return walk.source(node.args[0])


def _dropout(walk: _Walk, node: Any) -> str:
    if _args(node, 0.5, False)[1]:
        raise _refuse(node, "a dropout that drops in evaluation too", "nn.Dropout, or training=self.training, would do")
    return walk.source(node.args[0])


def _to(walk: _Walk, node: Any) -> str:
    """To another type of real numbers: nothing."""
    kind = node.meta["val"].dtype
    if not kind.is_floating_point:
        raise _refuse(node, f"a conversion to {kind}", "real numbers throughout would do")
    return walk.source(node.args[0])


def _flatten(walk: _Walk, node: Any) -> str:
    start, end = _args(node, 0, -1)
    dims = _dims(node.args[0])
    if start % len(dims) != 1 or end % len(dims) != len(dims) - 1:
        raise _refuse(node, f"flatten from axis {start} to {end}", "flatten(1) would do")
    return _flattened(walk, node)


def _reshape(walk: _Walk, node: Any) -> str:
    """One that flattens the whole map, or takes away axes of one, and nothing else."""
    before, after = _dims(node.args[0]), _dims(node)
    if len(after) != 2 or after[0] != before[0]:
        cure = "flatten(1) would do; channels that are shuffled want a 1x1 conv"
        raise _refuse(node, f"{_operation(node)} from {before} to {after}", cure)
    return _flattened(walk, node)


def _flattened(walk: _Walk, node: Any) -> str:
    dims = _dims(node.args[0])
    for user in node.users:
        if len(dims) > 2 and _operation(user) not in _AFTER_FLATTEN and user.op == "call_function":
            raise _refuse(user, f"{user.target} after flatten", "a linear layer or the end would do")
    return walk.source(node.args[0])


_DENSE = "distill.dense.dense(model) makes it a plain conv with zeros between its weights"
_NEAREST = "nearest upsampling by whole factors would do"
_AFTER_FLATTEN = ("linear", "dropout", "relu")
_CURES = {
    "mish": "SiLU would do",
    "selu": "ELU would do",
    "celu": "ELU would do",
    "prelu": "LeakyReLU, whose slope is one number, would do",
    "group_norm": "batch norm would do",
    "layer_norm": "batch norm would do",
    "upsample_bilinear2d": _NEAREST,
    "upsample_bicubic2d": _NEAREST,
    "_upsample_bilinear2d_aa": _NEAREST,
    "_upsample_bicubic2d_aa": _NEAREST,
    "conv_transpose2d": f"{_NEAREST} with a conv behind it",
    "pixel_shuffle": f"{_NEAREST} with a conv behind it",
    "matmul": "a linear layer would do",
    "einsum": "a linear layer would do",
    "scaled_dot_product_attention": "convs in place of attention would do",
    "instance_norm": "batch norm would do",
    "rms_norm": "batch norm would do",
    **dict.fromkeys(("adaptive_max_pool2d", "amax"), "nn.MaxPool2d with the whole map as its kernel would do"),
    **dict.fromkeys(("clamp_min", "maximum", "minimum"), "ReLU, or a clamp of two bounds, would do"),
    "sum": "a mean would do",
    "_weight_norm": "weights made permanent (torch.nn.utils.parametrize.remove_parametrizations) would do",
    **dict.fromkeys(("ones", "zeros", "full", "arange", "randn", "rand"), "a parameter or a buffer would do"),
    "conv1d": "a conv of two dimensions with a kernel of (1, n) would do",
    "conv3d": "a conv of two dimensions would do",
    "pad": "the padding of the conv or pool behind it would do",
    "constant_pad_nd": "the padding of the conv or pool behind it would do",
    "embedding": "an image of numbers as input would do",
    **dict.fromkeys(
        ("permute", "transpose"), "channels, rows and columns keep their order here; a 1x1 conv mixes channels"
    ),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "slice", "narrow", "select"), "a 1x1 conv picks channels"),
    "softmax": "the logits themselves would do, whose order is the same",
    "log_softmax": "the logits themselves would do, whose order is the same",
}
_FUNCTIONS: dict[str, Callable[[Any], str]] = {
    "leaky_relu": lambda node: functions.word("leaky_relu", *_args(node, 0.01)),
    "gelu": _gelu,
    "elu": _elu,
    "softplus": _softplus,
    "relu6": lambda node: functions.word("clip", 0, 6),
    "hardtanh": _clip,
    "clamp": _clip,
}
_HANDLERS: dict[str, Callable[[_Walk, Any], str]] = {
    "conv2d": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "add": _add,
    **dict.fromkeys(("mul", "div"), _mul),
    **dict.fromkeys(("sub", "rsub"), _sub),
    "cat": _concat,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    "flatten": _flatten,
    "view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    "to": _to,
    "_assert_tensor_metadata": _pass,
    "contiguous": _pass,
    "alias": _pass,
    "clone": _pass,
    "upsample_nearest2d": _upsample,
    "_upsample_nearest_exact2d": _upsample,
    **dict.fromkeys((*_FUNCTIONS, "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish"), _table),
}
