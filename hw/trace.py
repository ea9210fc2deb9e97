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
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, (torch.zeros(1, shape.channels, shape.rows, shape.cols),))
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
                operation, "only conv, batch norm, ReLU, add, concat, pooling, mean, flatten and linear are known"
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
    gamma, beta, mean, variance, _, _, epsilon, *_ = _args(node)
    if mean is None:
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
    if index is not None and _read_alone(node.args[0]):
        walk.layers[index] = msgspec.structs.replace(walk.layers[index], relu=True)
        return name
    channels = _dims(node)[1]
    identity = walk.add(_own_name(node, "relu"), "affine", [name], relu=True)
    walk.weights |= {f"{identity}.weight": np.ones(channels), f"{identity}.bias": np.zeros(channels)}
    return identity


def _read_alone(node: Any) -> bool:
    """Whether one operation alone reads what `node` gives, and the layer's result that it may only pass on."""
    while len(node.users) == 1:
        if _operation(node) not in _PASSED_ON:
            return True
        node = node.args[0]
    return False


def _operation(node: Any) -> str:
    return str(node.target).removeprefix("aten.").split(".")[0].removesuffix("_")


def _add(walk: _Walk, node: Any) -> str:
    first, second = node.args[:2]
    if node.kwargs.get("alpha", 1) != 1 or not hasattr(second, "meta"):
        raise _refuse(node, "an add of a number or with a factor", "fold it into a conv's bias or weights")
    if _dims(first) != _dims(second):
        raise _refuse(node, f"an add of shapes {_dims(first)} and {_dims(second)}", "equal shapes would do")
    return walk.add(_own_name(node, "add"), "add", [walk.source(first), walk.source(second)])


def _concat(walk: _Walk, node: Any) -> str:
    (axis,) = _args(node, 0)
    if axis not in (1, -3):
        raise _refuse(node, f"a concat along axis {axis}", "a concat of channels (axis 1) would do")
    return walk.add(_own_name(node, "concat"), "concat", [walk.source(part) for part in node.args[0]])


def _max_pool(walk: _Walk, node: Any) -> str:
    kernel, stride, padding, dilation, ceil_mode = _args(node, None, [], [0, 0], [1, 1], False)
    if ceil_mode or _size(dilation) != (1, 1):
        raise _refuse(node, "max pooling with ceil_mode or dilation", "plain max pooling with padding would do")
    size = _size(kernel)
    edges = _symmetric(padding)
    step = _size(stride) if stride else size
    source = walk.source(node.args[0])
    return walk.add(_own_name(node, "max"), "max", [source], kernel=size, stride=step, padding=edges)


def _avg_pool(walk: _Walk, node: Any) -> str:
    kernel, stride, padding, ceil_mode, _, divisor = _args(node, None, [], [0, 0], False, True, None)
    if ceil_mode or divisor is not None or any(_size(padding)):
        raise _refuse(node, "average pooling with padding, ceil_mode or a divisor", "plain average pooling would do")
    size = _size(kernel)
    step = _size(stride) if stride else size
    return _mean_layer(walk, node, size, step)


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


def _flatten(walk: _Walk, node: Any) -> str:
    start, end = _args(node, 0, -1)
    dims = _dims(node.args[0])
    if start % len(dims) != 1 or end % len(dims) != len(dims) - 1:
        raise _refuse(node, f"flatten from axis {start} to {end}", "flatten(1) would do")
    for user in node.users:
        if len(dims) > 2 and str(user.target) not in _AFTER_FLATTEN and user.op == "call_function":
            raise _refuse(user, f"{user.target} after flatten", "a linear layer or the end would do")
    return walk.source(node.args[0])


_DENSE = "distill.dense.dense(model) makes it a plain conv with zeros between its weights"
_PASSED_ON = ("dropout", "contiguous", "alias", "clone", "flatten")
_AFTER_FLATTEN = ("aten.linear.default", "aten.dropout.default", "aten.relu.default")
_CURES = {
    "sigmoid": "ReLU would do",
    "leaky_relu": "ReLU would do",
    "hardtanh": "ReLU would do",
    "silu": "ReLU would do",
    "gelu": "ReLU would do",
    "mul": "a 1x1 conv or batch norm would do",
    "group_norm": "batch norm would do",
    "layer_norm": "batch norm would do",
    "upsample_nearest2d": "it would have to be done outside the network",
    "matmul": "a linear layer would do",
    "view": "flatten(1) would do",
    "reshape": "flatten(1) would do",
}
_HANDLERS: dict[str, Callable[[_Walk, Any], str]] = {
    "conv2d": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": _relu,
    "add": _add,
    "cat": _concat,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "mean": _mean,
    "flatten": _flatten,
    "dropout": _pass,
    "contiguous": _pass,
    "alias": _pass,
    "clone": _pass,
}
