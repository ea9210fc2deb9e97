"""Operations of `torch.export` on whole maps: activations, sums, products, concats, and what only passes them on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from hw import functions, gates
from hw.errors import BadInput
from hw.network import Layer, Padding
from hw.trace_walk import Floats, Walk, added, args_of, dims_of, operation_of, own_name, refuse

_FLATTENING = ("squeeze", "view", "reshape", "flatten")
_AFTER_FLATTEN = ("linear", "dropout", "relu")


def _relu(walk: Walk, node: Any) -> str:
    """A ReLU belongs to the layer before it; where that is read by others too, an identity carries it."""
    name = walk.source(node.args[0])
    index = next((i for i, layer in enumerate(walk.layers) if layer.name == name), None)
    if index is not None and _read_alone(walk, node.args[0]):
        walk.layers[index] = msgspec.structs.replace(walk.layers[index], relu=True)
        return name
    return _identity(walk, own_name(node, "relu"), name, relu=True)


def _identity(walk: Walk, name: str, source: str, *, relu: bool = False) -> str:
    channels = walk.shape_of(source).channels
    identity = walk.add(name, "affine", [source], relu=relu)
    walk.weights |= {f"{identity}.weight": np.ones(channels), f"{identity}.bias": np.zeros(channels)}
    return identity


def _read_alone(walk: Walk, node: Any) -> bool:
    """Whether one operation alone reads what `node` gives, and the layer's result that it may only pass on."""
    while len(node.users) == 1:
        given = [each for each in node.all_input_nodes if walk.values.get(each.name) == walk.values[node.name]]
        if not given:
            return True
        node = given[0]
    return False


def _table(walk: Walk, node: Any) -> str:
    """A function of one value: its name is the operation's where that has no other."""
    operation = operation_of(node)
    try:
        function = _FUNCTIONS[operation](node) if operation in _FUNCTIONS else functions.word(operation)
    except BadInput as error:
        raise refuse(node, f"{operation} ({error})", "other numbers, or a ReLU, would do") from None
    return walk.add(own_name(node, operation), "table", [walk.source(node.args[0])], function=function)


def _gelu(node: Any) -> str:
    return functions.word("gelu_tanh" if node.kwargs.get("approximate", "none") == "tanh" else "gelu")


def _elu(node: Any) -> str:
    alpha, scale, input_scale = args_of(node, 1, 1, 1)
    if (scale, input_scale) != (1, 1):
        raise refuse(node, f"an ELU of the scales {scale} and {input_scale}", "one without scales would do")
    return functions.word("elu", alpha)


def _softplus(node: Any) -> str:
    """Torch's is the identity above `threshold`, which moves nothing that fixed point would show from 20 on."""
    beta, threshold = args_of(node, 1, 20)
    if beta != 1 or threshold < 20:
        raise refuse(node, f"softplus of beta {beta:g} and threshold {threshold:g}", "beta 1 and threshold 20 would do")
    return functions.word("softplus")


def _clip(node: Any) -> str:
    low, high = args_of(node, *((-1, 1) if operation_of(node) == "hardtanh" else (None, None)))
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    if low is None or high is None:
        raise refuse(node, "a clamp of one bound", "two bounds, or a ReLU, would do")
    return functions.word("clip", low, high)


def _add(walk: Walk, node: Any) -> str:
    """Of two maps; of a map and a number, or a number a channel; of a map and itself."""
    first, second = node.args[:2]
    given, constant, turned = _beside(walk, node)
    if constant is not None:
        return _affine(walk, node, given, *((_alpha(node), constant) if turned else (1.0, constant * _alpha(node))))
    if walk.source(first) == walk.source(second) and dims_of(first) == dims_of(second):
        return _affine(walk, node, first, 1.0 + _alpha(node), 0.0)
    if _alpha(node) != 1:
        raise refuse(node, "an add with a factor", "a factor in a conv's weights would do")
    if dims_of(first) != dims_of(second):
        raise refuse(node, f"an add of shapes {dims_of(first)} and {dims_of(second)}", "equal shapes would do")
    return walk.add(own_name(node, "add"), "add", [walk.source(first), walk.source(second)])


def _beside(walk: Walk, node: Any) -> tuple[Any, Floats | float | None, bool]:
    """Of two arguments a map, what stands beside it if that is a constant, and whether the constant comes first."""
    first, second = node.args[:2]
    if walk.is_constant(first):
        return second, walk.constant(first, second), True
    return first, walk.constant(second, first), False


def _alpha(node: Any) -> float:
    """The factor that an add or a difference has by name, or as its third argument."""
    (factor,) = node.args[2:] or (node.kwargs.get("alpha", 1),)
    return float(factor)


def _sub(walk: Walk, node: Any) -> str:
    given, constant, turned = _beside(walk, node)
    if constant is None:
        raise refuse(node, "a difference of two maps", "an add behind a conv with turned signs would do")
    if _alpha(node) != 1:
        raise refuse(node, "a difference with a factor", "one without would do")
    turned ^= operation_of(node) == "rsub"
    return _affine(walk, node, given, -1.0 if turned else 1.0, constant if turned else -constant)


def _neg(walk: Walk, node: Any) -> str:
    return _affine(walk, node, node.args[0], -1.0, 0.0)


def _mul(walk: Walk, node: Any) -> str:
    given, constant, turned = _beside(walk, node)
    if constant is None:
        return _gated(walk, node)
    if node.kwargs.get("rounding_mode"):
        raise refuse(node, f"a quotient of rounding_mode {node.kwargs['rounding_mode']}", "one without would do")
    if operation_of(node) == "mul":
        return _affine(walk, node, given, constant, 0.0)
    if turned:
        raise refuse(node, "a quotient by a map", "a product by a number would do")
    if not np.all(constant):
        raise refuse(node, "a quotient by 0", "another number would do")
    return _affine(walk, node, given, 1.0 / constant, 0.0)


def _gated(walk: Walk, node: Any) -> str:
    """A map times its own sigmoid is a SiLU, times its own hard sigmoid, maybe written out, a hard swish."""
    names = [walk.values.get(getattr(argument, "name", "")) for argument in node.args[:2]]
    for source, gate in (names, names[::-1]):
        found = gates.product(walk.layers, partial(_numbers, walk), source, gate)
        if operation_of(node) == "mul" and source is not None and found is not None:
            word, factor = found
            name = walk.add(own_name(node, word), "table", [source], function=word)
            if abs(factor - 1) < gates.ROUNDING:
                return name
            return _affine(walk, node, node.args[0], factor, 0.0, name)
    what = "a product of two maps (squeeze-and-excitation, attention, a gate)"
    raise refuse(node, what, "the network without it would do; a SiLU written as x times sigmoid(x) is known")


def _numbers(walk: Walk, layer: Layer) -> tuple[float, float] | None:
    """The scale and the shift of an affine that has one of each for all channels; None of any other layer."""
    if layer.kind != "affine" or f"{layer.name}.weight" not in walk.weights:
        return None
    both = [walk.weights[f"{layer.name}.{name}"] for name in ("weight", "bias")]
    return None if any(np.any(each != each[0]) for each in both) else (float(both[0][0]), float(both[1][0]))


def _affine(
    walk: Walk, node: Any, source: Any, scale: Floats | float, shift: Floats | float, of: str | None = None
) -> str:
    """A scale and a shift of every channel, of the layer behind the argument `source` or `of` one of its shape."""
    read = walk.source(source) if of is None else of
    if dims_of(node) != dims_of(source):
        change = f"{operation_of(node)} from {dims_of(source)} to {dims_of(node)}"
        raise refuse(node, change, "one that keeps its shape would do")
    channels = walk.shape_of(read).channels
    if np.size(scale) not in (1, channels) or np.size(shift) not in (1, channels):
        raise refuse(node, f"{operation_of(node)} of a number a pixel", "a number, or one a channel, would do")
    if np.all(np.equal(scale, 1)) and not np.any(shift):  # as of sums that begin with 0
        return read
    before = next((layer for layer in walk.layers if layer.name == read), None)
    plain = np.size(scale) == 1 and not np.any(shift) and of is None and _read_alone(walk, source)
    if before is not None and plain and gates.undoes(partial(_numbers, walk), before, float(scale)):
        walk.layers.remove(before)
        walk.values = {key: before.inputs[0] if name == before.name else name for key, name in walk.values.items()}
        return before.inputs[0]
    name = walk.add(own_name(node, operation_of(node)), "affine", [read])
    walk.weights |= {f"{name}.weight": np.zeros(channels) + scale, f"{name}.bias": np.zeros(channels) + shift}
    return name


def _concat(walk: Walk, node: Any) -> str:
    (axis,) = args_of(node, 0)
    if axis not in (1, -3):
        raise refuse(node, f"a concat along axis {axis}", "a concat of channels (axis 1) would do")
    if len(node.args[0]) == 1:
        return walk.source(node.args[0][0])
    sources: list[str] = []
    for part in node.args[0]:
        source = walk.source(part)  # one that is there already comes again through an identity
        sources.append(_identity(walk, own_name(node, "copy"), source) if source in sources else source)
    return walk.add(own_name(node, "concat"), "concat", sources)


def _pass(walk: Walk, node: Any) -> str:
    return walk.source(node.args[0])


def _dropout(walk: Walk, node: Any) -> str:
    if args_of(node, 0.5, False)[1]:
        raise refuse(node, "a dropout that drops in evaluation too", "nn.Dropout, or training=self.training, would do")
    return walk.source(node.args[0])


def _to(walk: Walk, node: Any) -> str:
    """To another type of real numbers: nothing."""
    kind = node.meta["val"].dtype
    if not kind.is_floating_point:
        raise refuse(node, f"a conversion to {kind}", "real numbers throughout would do")
    return walk.source(node.args[0])


def _pad(walk: Walk, node: Any) -> str:
    """Zeros around a map that convs alone read become their padding."""
    sides, mode, value = args_of(node, [], "constant", 0)
    if operation_of(node) == "constant_pad_nd":
        mode, value = "constant", args_of(node, [], 0)[1]
    cure = "zeros around a map that convs alone read would do, or the padding of the pool behind it"
    if mode != "constant" or value or len(sides) > 4 or min(sides, default=0) < 0:
        told = f"{mode} {value}" if mode == "constant" and value else mode
        raise refuse(node, f"padding {list(sides)} by {told}", cure)
    if any(operation_of(user) not in ("conv2d", "pad", "constant_pad_nd") for user in node.users):
        raise refuse(node, f"padding {list(sides)} before other than a conv", cure)
    left, right, top, bottom = (*sides, 0, 0, 0, 0)[:4]
    walk.pads[node.name] = added(walk.pads.get(node.args[0].name), Padding(top, bottom, left, right))
    return walk.source(node.args[0])


def _flatten(walk: Walk, node: Any) -> str:
    start, end = args_of(node, 0, -1)
    dims = dims_of(node.args[0])
    if start % len(dims) != 1 or end % len(dims) != len(dims) - 1:
        raise refuse(node, f"flatten from axis {start} to {end}", "flatten(1) would do")
    return _flattened(walk, node)


def _reshape(walk: Walk, node: Any) -> str:
    """One that flattens the whole map, or takes away axes of one, and nothing else."""
    before, after = dims_of(node.args[0]), dims_of(node)
    only_ones = after == before[: len(after)] and len(after) > 1 and set(before[len(after) :]) <= {1}
    if only_ones and (len(after) != 3 or all(operation_of(user) in _FLATTENING for user in node.users)):
        return walk.source(node.args[0])
    if len(after) != 2 or after[0] != before[0]:
        cure = "flatten(1) would do; channels that are shuffled want a 1x1 conv"
        raise refuse(node, f"{operation_of(node)} from {before} to {after}", cure)
    return _flattened(walk, node)


def _flattened(walk: Walk, node: Any) -> str:
    if set(dims_of(node.args[0])[2:]) <= {1}:
        return walk.source(node.args[0])
    for user in node.users:
        if operation_of(user) not in _AFTER_FLATTEN and user.op == "call_function":
            raise refuse(user, f"{operation_of(user)} after flatten", "a linear layer or the end would do")
    return walk.source(node.args[0])


_FUNCTIONS: dict[str, Callable[[Any], str]] = {
    "leaky_relu": lambda node: functions.word("leaky_relu", *args_of(node, 0.01)),
    "gelu": _gelu,
    "elu": _elu,
    "softplus": _softplus,
    "relu6": lambda node: functions.word("clip", 0, 6),
    "hardtanh": _clip,
    "clamp": _clip,
}
HANDLERS: dict[str, Callable[[Walk, Any], str]] = {
    "relu": _relu,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys((*_FUNCTIONS, "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish"), _table),
    "add": _add,
    **dict.fromkeys(("sub", "rsub"), _sub),
    "neg": _neg,
    **dict.fromkeys(("mul", "div"), _mul),
    "cat": _concat,
    "flatten": _flatten,
    **dict.fromkeys(("view", "reshape", "squeeze"), _reshape),
    "to": _to,
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    **dict.fromkeys(("_assert_tensor_metadata", "contiguous", "alias", "clone"), _pass),
}
"""What adds an operation's layers, by the operation's name; each returns the layer whose result it is."""
