"""ONNX's operations on whole maps: activations, sums, products, concats, and what only passes them on."""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from hw import functions, gates
from hw.errors import BadInput
from hw.network import INPUT
from hw.onnx_walk import Attributes, Walk, axes_of, refuse


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
    """Of two layers; of one and itself twice it; a constant after a dense layer without bias is its bias."""
    constant = next((name for name in node.input if name in walk.constants), None)
    if constant is None:
        first, second = walk.source(node, 0), walk.source(node, 1)
        walk.add(node, "add" if first != second else "affine", inputs=[first, second] if first != second else [first])
        if first == second:
            walk.numbers[walk.values[node.output[0]]] = 2.0, 0.0
        return
    place = 1 if node.input[0] == constant else 0
    source = walk.source(node, place)
    _check_constant(walk, node, constant, source)
    index = next((i for i, layer in enumerate(walk.layers) if layer.name == source), None)
    layer = None if index is None else walk.layers[index]
    takes = layer is not None and layer.convolves and not layer.bias and not layer.relu
    if index is None or not takes or not walk.alone(node.input[place]):
        walk.add(node, "affine", inputs=(source,))
        if (number := _number(walk, constant)) is not None:
            walk.numbers[walk.values[node.output[0]]] = 1.0, number
        return
    walk.layers[index] = msgspec.structs.replace(walk.layers[index], bias=True)
    walk.values[node.output[0]] = source


def _concat(walk: Walk, node: Any, given: Attributes) -> None:
    if given.get("axis") not in (1, -3):
        raise refuse(node, f"a concat along axis {given.get('axis')}", "a concat of channels (axis 1) would do")
    walk.add(node, "concat", inputs=[walk.source(node, index) for index in range(len(node.input))])


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


def _check_constant(walk: Walk, node: Any, constant: str, source: str) -> None:
    """A constant beside a map must be a number or one a channel; (channels,) beside a list, else it is one a column."""
    size, shape = walk.size(constant) or (), walk.shape(source)
    one_a_channel = math.prod(size) == shape.channels and (shape.pixels == 1 or size[-3:-2] == (shape.channels,))
    if math.prod(size) != 1 and not one_a_channel:
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
        source = walk.source(node, 1 - constant)
        _check_constant(walk, node, node.input[constant], source)
        number = _number(walk, node.input[constant])
        if number is None or node.op_type == "Sub":
            walk.add(node, "affine", inputs=(source,))
            return
        scale = 1 / number if node.op_type == "Div" and number else number
        before = next((layer for layer in walk.layers if layer.name == source), None)
        if before is not None and walk.alone(node.input[1 - constant]) and gates.undoes(_numbers(walk), before, scale):
            walk.layers.remove(before)
            walk.values[node.output[0]] = before.inputs[0]
            return
        walk.add(node, "affine", inputs=(source,))
        walk.numbers[walk.values[node.output[0]]] = scale, 0.0


def _neg(walk: Walk, node: Any, given: Attributes) -> None:
    walk.add(node, "affine")
    walk.numbers[walk.values[node.output[0]]] = -1.0, 0.0


def _number(walk: Walk, constant: str) -> float | None:
    """A constant that is one number; None of several, and of one that lies in a file beside the model."""
    array = walk.array(constant)
    return float(array.item()) if array is not None and array.size == 1 and array.dtype.kind == "f" else None


def _numbers(walk: Walk) -> gates.Numbers:
    return lambda layer: walk.numbers.get(layer.name)


def _gated(walk: Walk, node: Any) -> None:
    """X times its own sigmoid, as exporters write a SiLU, or its own hard sigmoid, maybe written out: a hard swish."""
    names = [walk.values.get(tensor) for tensor in node.input]
    for source, gate in (names, names[::-1]):
        found = gates.product(walk.layers, _numbers(walk), source, gate)
        if source is not None and found is not None:
            word, factor = found
            walk.add(node, "table", inputs=(source,), function=word)
            if abs(factor - 1) >= gates.ROUNDING:
                walk.add(node, "affine", inputs=(walk.values[node.output[0]],))
                walk.numbers[walk.values[node.output[0]]] = factor, 0.0
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
    axes = {axis % 4 for axis in axes_of(walk, node, given)}
    shape = walk.shape(walk.source(node, 0))
    if not axes or not axes <= {2, 3} or (2 in axes and shape.rows > 1) or (3 in axes and shape.cols > 1):
        raise refuse(node, f"a Squeeze of the axes {sorted(axes)} of a map of {tuple(shape)}", "a Flatten would do")
    _pass(walk, node, given)


HANDLERS: dict[str, Callable[[Walk, Any, Attributes], None]] = {
    "Relu": _relu,
    "Add": _add,
    **dict.fromkeys(("Mul", "Div", "Sub"), _scaled),
    "Neg": _neg,
    "Concat": _concat,
    **dict.fromkeys(("LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softplus"), _table),
    "Clip": _clip,
    "Constant": _constant,
    "Reshape": _reshape,
    "Slice": _slice,
    "Cast": _cast,
    "Squeeze": _squeeze,
    **dict.fromkeys(("Flatten", "Dropout", "Identity"), _pass),
}
"""What adds an operation's layer, if it has one, and says which layer gives the node's output."""
