"""What the handlers of `hw.onnx_file` share: the state of one pass over an ONNX graph, and what its nodes say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hw.errors import UnsupportedLayer, readable
from hw.network import INPUT, OUTPUT, Kind, Layer, Network, Shape

Attributes = Mapping[str, Any]


@dataclass
class Walk:
    """One pass over a graph; `values` maps its tensors to layers, `constants` its other ones to their numbers.

    `numbers` has the scale and the shift of affines that are a product with or a sum with one number.
    """

    path: Path
    onnx: Any
    graph: Any
    layers: list[Layer] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    input: Shape = field(default_factory=lambda: Shape(1, 1, 1))
    row_step: int = 1

    def shape(self, name: str) -> Shape:
        """Output shape of a layer, or of the input."""
        if name == INPUT:
            return Shape(-(-self.input.rows // self.row_step), self.input.cols, self.input.channels)
        return Network("read", self.input, tuple(self.reaching(name)), self.row_step).shapes[name]

    def add(self, node: Any, kind: Kind, **fields: Any) -> None:
        """A layer under the node's name, or its output's if it has none; a map that it reads twice is copied."""
        inputs = self._apart(node, fields.pop("inputs", None) or (self.source(node, 0),))
        self.values[node.output[0]] = self._layer(name_of(node), kind, inputs, **fields)

    def _apart(self, node: Any, sources: Sequence[str]) -> tuple[str, ...]:
        """The layers, each once: one that comes again comes through an identity."""
        found: list[str] = []
        for source in sources:
            again = source in found
            found.append(self._layer(f"{name_of(node)}.copy", "affine", (source,)) if again else source)
        return tuple(found)

    def _layer(self, name: str, kind: Kind, inputs: Sequence[str], **fields: Any) -> str:
        """A layer under this name, or one with a number behind it if that is taken; the name that it got."""
        taken = {layer.name for layer in self.layers} | {INPUT, OUTPUT}
        base = name
        count = 2
        while name in taken:
            name, count = f"{base}.{count}", count + 1
        self.layers.append(Layer(name, kind, tuple(inputs), **fields))
        return name

    def source(self, node: Any, index: int) -> str:
        """The layer behind a node's input."""
        found = self.values.get(node.input[index])
        if found is None:
            raise UnsupportedLayer(
                f"layer {name_of(node)}: its input {node.input[index]} is a constant; fold it into a conv"
            )
        return found

    def size(self, tensor: str) -> tuple[int, ...] | None:
        """The shape of a constant; None for what is computed."""
        array = self.constants.get(tensor)
        return None if array is None else tuple(array.dims)

    def array(self, tensor: str) -> Any:
        """A constant's numbers as an array; None of what is computed, or lies in a file beside the model."""
        constant = self.constants.get(tensor)
        if constant is None or constant.data_location == self.onnx.TensorProto.EXTERNAL:
            return None
        return self.onnx.numpy_helper.to_array(constant)

    def integers(self, tensor: str) -> list[int]:
        """A constant's whole numbers; none of what is computed or of another type."""
        array = self.array(tensor)
        return [int(number) for number in array] if array is not None and array.dtype.kind in "iu" else []

    def floats(self, tensor: str) -> list[float]:
        """A constant's numbers; none of what is computed."""
        array = self.array(tensor)
        return [] if array is None else [float(number) for number in array]

    def users(self, tensor: str) -> int:
        """How many nodes read a tensor; the graph's output is one more."""
        read: int = sum(list(node.input).count(tensor) for node in self.graph.node)
        return read + sum(1 for output in self.graph.output if output.name == tensor)

    def alone(self, tensor: str) -> bool:
        """Whether one node alone reads a tensor, and the layer's result that it may only be another name of."""
        name = self.values[tensor]
        return all(self.users(other) == 1 for other, layer in self.values.items() if layer == name)

    def reaching(self, output: str) -> Iterator[Layer]:
        """Only the layers that an output needs, and it last."""
        wanted = {output}
        for layer in reversed(self.layers):
            if layer.name in wanted:
                wanted.update(layer.inputs)
        return (layer for layer in self.layers if layer.name in wanted)


def axes_of(walk: Walk, node: Any, given: Attributes) -> Sequence[int]:
    """A node's axes: an attribute up to opset 17, a constant input since."""
    if "axes" in given:
        return list(given["axes"])
    return walk.integers(node.input[1]) if len(node.input) > 1 else []


def name_of(node: Any) -> str:
    """A node's name, or its output's if it has none, with dots for slashes and what can be printed."""
    text = node.name or node.output[0]
    return readable(str(text).strip("/").replace("/", ".")) or str(node.op_type)


def refuse(node: Any, what: str, cure: str) -> UnsupportedLayer:
    """The sentence that says which layer, what it is, and what would do instead."""
    return UnsupportedLayer(f"layer {name_of(node)}: {what} is not supported; {cure}")
