"""The nodes of an ONNX graph, plain or exact (`hw.onnx_out` says what that is), made from a `Student`'s layers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hw import functions
from hw.errors import UnsupportedLayer
from hw.fixed import Format
from hw.network import INPUT, Kind, Layer
from hw.student import Student

OPSET = 17
OPERATIONS: dict[Kind, str] = {
    "conv": "Conv",
    "depthwise": "Conv",
    "affine": "BatchNormalization",
    "add": "Add",
    "concat": "Concat",
    "max": "MaxPool",
    "mean": "AveragePool",
    "upsample": "Resize",
}
FUNCTIONS = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "hardsigmoid": "HardSigmoid",
    "hardswish": "HardSwish",
    "softplus": "Softplus",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "clip": "Clip",
}
"""Operations of tables; a SiLU is two."""
Numbers = Literal["float32", "float64"]


@dataclass
class Graph:
    """Nodes and constants in the making. Tensors end in a word behind a dot, so that no two layers' names can meet."""

    student: Student
    onnx: Any
    exact: bool
    numbers: Numbers
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    pixels: str = "image"

    def whole(self) -> Any:
        """The graph of all layers."""
        network = self.student.network
        rows, cols, channels = network.input
        end = network.shapes[network.output.name]
        self._input()
        for layer in network.layers:
            self._layer(layer)
        flat = end.pixels == 1
        self.node("Flatten" if flat else "Identity", [f"{network.output.name}.out"], "output")
        result = [1, end.channels] if flat else [1, end.channels, end.rows, end.cols]
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.numbers))
        given = helper.make_tensor_value_info("image", kind, [1, channels, rows, cols])
        made = helper.make_tensor_value_info("output", kind, result)
        return helper.make_graph(self.nodes, network.name, [given], [made], list(self.constants.values()))

    def node(self, kind: str, inputs: Sequence[str], output: str, name: str = "", **attributes: Any) -> str:
        """A node under a name, or its output's; its output."""
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [output], name or output, **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: str = "") -> str:
        """A constant tensor in the graph's numbers, or others; its name."""
        array = np.array(values, dtype or self.numbers, order="C")
        self.constants[name] = self.onnx.numpy_helper.from_array(array, name)
        return name

    def _input(self) -> None:
        """Pixels on their grid if exact, and of the rows every `row_step`-th."""
        network = self.student.network
        if network.row_step > 1:
            given = {"start": 0, "end": network.input.rows, "axis": 2, "step": network.row_step}
            where = [self.constant(f"{INPUT}.{key}", [number], "int64") for key, number in given.items()]
            self.pixels = self.node("Slice", [self.pixels, *where], f"{INPUT}.rows")
        if self.exact:
            self.pixels = self._round(INPUT, self.pixels)

    def _layer(self, layer: Layer) -> None:
        """A layer's node or nodes; a ReLU's clipping is that of its format without sign where results are rounded."""
        inputs, out = [self.pixels if name == INPUT else f"{name}.out" for name in layer.inputs], f"{layer.name}.out"
        fractions = [self.student.fraction(name) for name in layer.inputs]
        if not self.exact:
            result = self._operation(layer, inputs, f"{layer.name}.sum" if layer.relu else out)
            if layer.relu:
                self.node("Relu", [result], out)
        elif layer.kind == "table":
            self._looked_up(layer, inputs[0])
        elif layer.kind == "mean":
            self._mean(layer, inputs[0], fractions[0])
        else:
            wide = self._operation(layer, inputs, f"{layer.name}.wide")
            fraction = self.student.product_fraction(layer) if layer.weighted else max(fractions)
            on_grid = fraction <= self.student.fraction(layer.name)
            (self._clip if on_grid else self._round)(layer.name, wide)

    def _operation(self, layer: Layer, inputs: list[str], output: str) -> str:
        """What a layer computes, before its ReLU and its rounding; an affine is a batch norm that rounds nothing."""
        if layer.kind == "table":
            return self._function(layer, inputs[0], output)
        shapes = self.student.network.weight_shapes(layer)
        given = [*inputs, *(self._weight(layer, key) for key in shapes)]
        attributes: dict[str, Any] = _window(layer) if layer.windowed and layer.kind != "upsample" else {}
        if layer.kind == "upsample":
            given += ["", self.constant(f"{layer.name}.scales", [1, 1, *layer.factor], "float32")]
            attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if layer.kind == "depthwise":
            attributes["group"] = shapes["weight"][2]
        if layer.kind == "concat":
            attributes = {"axis": 1}
        if layer.kind == "affine":
            attributes = {"epsilon": 0.0}
            given.append(self.constant(f"{layer.name}.mean", np.zeros(shapes["bias"])))
            given.append(self.constant(f"{layer.name}.variance", np.ones(shapes["bias"])))
        if layer.kind == "max" and any(layer.padding) and self.exact:
            # onnx.reference 1.23 miscounts windows where a MaxPool's own pads are uneven.
            given, attributes["pads"] = [self._pad(layer, inputs[0])], [0] * 4
        return self.node(OPERATIONS[layer.kind], given, output, layer.name, **attributes)

    def _function(self, layer: Layer, source: str, output: str) -> str:
        """A table's function as ONNX has it; its numbers are float32."""
        word, numbers = functions.parse(layer.function)
        if word == "silu":
            gate = self.node("Sigmoid", [source], f"{layer.name}.gate")
            return self.node("Mul", [source, gate], output, layer.name)
        if word not in FUNCTIONS:
            raise UnsupportedLayer(
                f"layer {layer.name}: {layer.function} is no operation of ONNX's opset {OPSET}; export with --exact, "
                "which writes its table"
            )
        given, attributes = [source], {"alpha": numbers[0]} if len(numbers) == 1 else {}
        if word == "clip":
            given += [self.constant(f"{layer.name}.{key}", numbers[i]) for i, key in enumerate(("least", "most"))]
        if word == "hardsigmoid":
            attributes = {"alpha": 1 / 6, "beta": 0.5}
        return self.node(FUNCTIONS[word], given, output, layer.name, **attributes)

    def _looked_up(self, layer: Layer, source: str) -> None:
        """A table as it is: each value's place in it, and what lies there."""
        read, made = self.student.formats[layer.inputs[0]].out, self.student.formats[layer.name].out
        entries = np.ldexp(functions.table(layer.function, read, made).astype(np.float64), -made.fraction)
        up = self.constant(f"{layer.name}.up", 2.0**read.fraction)
        scaled = self.node("Mul", [source, up], f"{layer.name}.scaled")
        raised = self.node("Sub", [scaled, self.constant(f"{layer.name}.low", read.low)], f"{layer.name}.raised")
        place = self.node("Cast", [raised], f"{layer.name}.place", to=self.onnx.TensorProto.INT64)
        self.node("Gather", [self.constant(f"{layer.name}.table", entries), place], f"{layer.name}.out", layer.name)

    def _pad(self, layer: Layer, source: str) -> str:
        """A map with the least number of its format around it."""
        top, bottom, left, right = layer.padding
        fmt = self.student.formats[layer.inputs[0]].out
        around = self.constant(f"{layer.name}.around", [0, 0, top, left, 0, 0, bottom, right], "int64")
        least = self.constant(f"{layer.name}.least", np.ldexp(fmt.low, -fmt.fraction))
        return self.node("Pad", [source, around, least], f"{layer.name}.padded")

    def _weight(self, layer: Layer, key: str) -> str:
        """A layer's `weight` [outputs, inputs of one, rows, cols] of a conv, [channels] of an affine; or `bias`."""
        integers = self.student.integers[f"{layer.name}.{key}"].astype(np.float64)
        fraction = self.student.product_fraction(layer)
        if key == "weight":
            fraction -= self.student.fraction(layer.inputs[0])
        if integers.ndim == 3:
            integers = integers[:, :, None]
        if integers.ndim == 4:
            integers = integers.transpose(3, 2, 0, 1)
        return self.constant(f"{layer.name}.{key}", np.ldexp(integers, -fraction))

    def _mean(self, layer: Layer, source: str, fraction: int) -> None:
        """floor((2 * sum + divisor) / (2 * divisor)), as `hw.fixed.divide`, on the finer grid of source and result."""
        name, out = layer.name, self.student.formats[layer.name].out
        channels, divisor = self.student.network.shapes[name].channels, mean_divisor(layer, fraction, out)
        doubled = np.full((channels, 1, *layer.kernel), 2.0 ** (1 + max(fraction, out.fraction)))
        weights = [self.constant(f"{name}.ones", doubled), self.constant(f"{name}.half", np.full(channels, divisor))]
        total = self.node("Conv", [source, *weights], f"{name}.total", name, group=channels, **_window(layer))
        quotient = self.node("Div", [total, self.constant(f"{name}.divisor", 2 * divisor)], f"{name}.quotient")
        self._settle(name, quotient)

    def _round(self, name: str, source: str) -> str:
        """A result on its format's grid: floor(x * 2**fraction + 1/2), saturated."""
        up = self.constant(f"{name}.up", 2.0 ** self.student.fraction(name))
        scaled = self.node("Mul", [source, up], f"{name}.scaled")
        raised = self.node("Add", [scaled, self.constant(f"{name}.half", 0.5)], f"{name}.raised")
        return self._settle(name, raised)

    def _settle(self, name: str, source: str) -> str:
        """Integers: floor, saturate, and back to what they stand for."""
        fmt = self.student.formats[name].out
        whole = self.node("Floor", [source], f"{name}.floor")
        ends = [self.constant(f"{name}.low", fmt.low), self.constant(f"{name}.high", fmt.high)]
        clipped = self.node("Clip", [whole, *ends], f"{name}.integer")
        return self.node("Mul", [clipped, self.constant(f"{name}.down", 2.0**-fmt.fraction)], f"{name}.out")

    def _clip(self, name: str, source: str) -> str:
        """A result that is on its format's grid already, saturated."""
        fmt = self.student.formats[name].out
        ends = {"low": fmt.low, "high": fmt.high}
        limits = [self.constant(f"{name}.{key}", np.ldexp(end, -fmt.fraction)) for key, end in ends.items()]
        return self.node("Clip", [source, *limits], f"{name}.out")


def mean_divisor(layer: Layer, fraction: int, out: Format) -> int:
    """What the sum of a mean's pixels is divided by, on the finer of both grids."""
    return layer.taps << max(fraction - out.fraction, 0)


def _window(layer: Layer) -> dict[str, list[int]]:
    top, bottom, left, right = layer.padding
    window = {"kernel_shape": list(layer.kernel), "strides": list(layer.stride)}
    return window | {"pads": [top, left, bottom, right]}
