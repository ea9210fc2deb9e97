"""What the handlers of `hw.trace` share: the state of one pass over an exported graph, and what its nodes say.

A node's arguments are read as torch has them: [batch, channels, rows, cols], filters [outputs, inputs, rows, cols].
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.errors import UnsupportedLayer, readable
from hw.network import INPUT, OUTPUT, Kind, Layer, Network, Padding, Shape, Size

Floats = NDArray[np.float64]


@dataclass
class Walk:
    """One pass over an exported graph.

    `values` maps its nodes to layers, `keys` its parameters and buffers to their names, `constants` these and what is
    computed of them alone to torch's tensors, `pads` those that pad a map for the convs behind them to how.
    """

    program: Any
    shape: Shape
    layers: list[Layer] = field(default_factory=list)
    weights: dict[str, Floats] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    pads: dict[str, Padding] = field(default_factory=dict)

    def source(self, argument: Any) -> str:
        """The layer behind a node's argument."""
        name = self.values.get(getattr(argument, "name", ""))
        if name is None:
            raise UnsupportedLayer(
                f"layer {argument}: a constant takes part where only layers can; fold it into a conv"
            )
        return name

    def array(self, argument: Any) -> Floats:
        """The values of a constant, in float64."""
        tensor = self.constants.get(argument.name)
        if tensor is None:
            raise UnsupportedLayer(
                f"layer {argument}: weights that are computed from the image are not supported; a parameter would do"
            )
        return tensor.detach().double().cpu().numpy()  # type: ignore[no-any-return]  # torch is untyped here

    def constant(self, argument: Any, beside: Any) -> Floats | float | None:
        """A number, or one a channel from a constant [1, channels, 1, 1] `beside` a map; None of a map."""
        if not self.is_constant(argument):
            return None
        value = self.constants[argument.name] if hasattr(argument, "meta") else argument
        if not hasattr(value, "shape"):
            return float(value)
        axes = len(dims_of(beside))
        dims = (*[1] * axes, *value.shape)[-axes:]
        if dims != (1, dims[1], *[1] * (axes - 2)) or value.ndim > axes or dims[1] not in (1, dims_of(beside)[1]):
            wanted = "(channels,)" if axes == 2 else "(channels, 1, 1)"
            raise UnsupportedLayer(
                f"layer {argument}: a constant of shape {tuple(value.shape)} beside a map is not supported; "
                f"a number, or one a channel {wanted}, would do"
            )
        return self.array(argument).ravel()

    def is_constant(self, argument: Any) -> bool:
        """Whether it is the same for every image: a number, or made of parameters and buffers alone."""
        return not hasattr(argument, "meta") or argument.name in self.constants

    def layer_name(self, node: Any, weight: Any) -> str:
        """A layer's name by that of its weight; by its module where the weight is computed."""
        key = self.keys.get(weight.name)
        return own_name(node, operation_of(node)) if key is None else key.removesuffix(".weight")

    def shape_of(self, name: str) -> Shape:
        """Output shape of a layer, or of the input."""
        if name == INPUT:
            return self.shape
        return Network("traced", self.shape, tuple(reaching(self.layers, name))).shapes[name]

    def add(self, name: str, kind: Kind, inputs: Sequence[str], **fields: Any) -> str:
        """A layer under this name, or one with a number behind it if that is taken; the name that it got."""
        taken = {layer.name for layer in self.layers} | {INPUT, OUTPUT}
        base = unique = readable(name)
        count = 2
        while unique in taken:
            unique, count = f"{base}.{count}", count + 1
        self.layers.append(Layer(unique, kind, tuple(inputs), **fields))
        return unique


def reaching(layers: list[Layer], output: str) -> list[Layer]:
    """Only the layers that the output needs, and it last."""
    wanted = {output}
    kept = []
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(layer.inputs)
            kept.append(layer)
    return kept[::-1]


def operation_of(node: Any) -> str:
    """An operation's name, without its overload and the mark of one in place."""
    return str(node.target).removeprefix("aten.").split(".")[0].removesuffix("_")


def path_of(node: Any) -> str:
    """The path of the module that a node belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def own_name(node: Any, kind: str) -> str:
    """What a layer without weights is called: its module's path, if any, and its kind."""
    path = path_of(node)
    return f"{path}.{kind}" if path else kind


def args_of(node: Any, *defaults: Any) -> list[Any]:
    """A node's arguments after the first, the rest from `defaults`."""
    given = list(node.args[1:])
    return given + list(defaults[len(given) :])


def dims_of(argument: Any) -> tuple[int, ...]:
    """Shape of a tensor argument."""
    return tuple(int(size) for size in argument.meta["val"].shape)


def size_of(value: Any) -> Size:
    """Rows and columns of torch's one number or two."""
    pair = [value] * 2 if isinstance(value, int) else list(value)
    return Size(*(pair if len(pair) == 2 else pair * 2))


def symmetric(value: Any) -> Padding:
    """Padding alike on both sides, of torch's one number or two."""
    size = size_of(value)
    return Padding(size.rows, size.rows, size.cols, size.cols)


def added(first: Padding | None, second: Padding) -> Padding:
    """Padding around padding."""
    return second if first is None else Padding(*(a + b for a, b in zip(first, second, strict=True)))


def refuse(node: Any, what: str, cure: str) -> UnsupportedLayer:
    """The sentence that says which layer, what it is, and what would do instead."""
    return UnsupportedLayer(f"layer {path_of(node) or node.name}: {what} is not supported; {cure}")
