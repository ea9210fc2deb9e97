"""A CNN as hardware sees it: layers, shapes and keys of weights, no weights. Frozen, checked at birth, prints as text.

Few kinds of layer are enough. A dense layer is a `conv` whose kernel is its whole input; global pooling is a `mean`
over the whole map, a mean over columns has the kernel (1, cols), a mean of two rows (2, 1) with that stride. Batch norm
is an `affine`. A ReLU belongs to the layer whose result it clips; any other activation is a `table` of one input, whose
`function` (`hw.functions`) says what it looks up. An `upsample` repeats pixels, `factor` rows and columns of them.

A layer's weights are found under `<name>.weight` and `<name>.bias`: (rows, cols, inputs, outputs) and (outputs,) of a
conv, (rows, cols, channels) and (channels,) of a depthwise conv, (channels,) each of an affine.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec

from hw import functions
from hw.errors import BadInput

INPUT = "input"
OUTPUT = "output"
MOST_PIXELS = 1 << 28
"""Of a map: simulations keep numbers for every pixel."""
Kind = Literal["conv", "depthwise", "affine", "add", "concat", "max", "mean", "table", "upsample"]


class Size(NamedTuple):
    """An extent in rows and columns."""

    rows: int
    cols: int


class Padding(NamedTuple):
    """Rows and columns of padding around a map: zeros, or nothing at all before a maximum."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


class Shape(NamedTuple):
    """A feature map."""

    rows: int
    cols: int
    channels: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols}x{self.channels}"

    @property
    def pixels(self) -> int:
        """Pixels of the map."""
        return self.rows * self.cols


class Edge(NamedTuple):
    """A stream of pixels from one layer to the next."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One layer. `channels` are a conv's outputs; every other kind takes them from its input.

    `function` is a table's, a word of `hw.functions`. `factor` is an upsample's: in how many rows, and how often in
    each of them, a pixel is given.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    channels: int = 0
    kernel: Size = Size(1, 1)
    stride: Size = Size(1, 1)
    padding: Padding = Padding()
    bias: bool = False
    relu: bool = False
    function: str = ""
    factor: Size = Size(1, 1)

    @property
    def taps(self) -> int:
        """Pixels under the kernel."""
        return self.kernel.rows * self.kernel.cols

    @property
    def windowed(self) -> bool:
        """Whether it keeps pixels of its input rather than look at one of each in place."""
        return self.kind in ("conv", "depthwise", "max", "mean", "upsample")

    @property
    def weighted(self) -> bool:
        """Whether it has weights, and so products and an accumulator."""
        return self.kind in ("conv", "depthwise", "affine")

    @property
    def convolves(self) -> bool:
        """Whether it adds up products of a window's pixels: of all channels, or of each by itself."""
        return self.kind in ("conv", "depthwise")

    @property
    def mixes_rows(self) -> bool:
        """Whether an output row needs more than one input row."""
        return self.windowed and self.kernel.rows > 1

    @property
    def accumulates(self) -> bool:
        """Whether sums of disjoint windows serve it, so that it keeps accumulators instead of pixels."""
        return self.kind == "mean" and self.stride == self.kernel


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Layers in an order in which each comes after its inputs; the last one is the output.

    `input` is the frame that is given; of it every `row_step`-th row is read.

    Raises:
        BadInput: a name twice or unknown, a size out of range, shapes that do not meet, a layer that leads nowhere.
    """

    name: str
    input: Shape
    layers: tuple[Layer, ...]
    row_step: int = 1

    def __post_init__(self) -> None:
        _check_sizes(self)
        _check_graph(self)
        for layer in self.layers:
            _check_layer(self, layer)

    @cached_property
    def by_name(self) -> dict[str, Layer]:
        """Layers by their names."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The output shape of every layer, and of the input as it is read."""
        rows = -(-self.input.rows // self.row_step)
        shapes = {INPUT: Shape(rows, self.input.cols, self.input.channels)}
        for layer in self.layers:
            shapes[layer.name] = _output_shape(layer, [shapes[name] for name in layer.inputs])
        return shapes

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every stream, in the order of the layers that read them."""
        return tuple(Edge(source, layer.name) for layer in self.layers for source in layer.inputs)

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Who reads a layer's output."""
        readers: dict[str, list[str]] = {name: [] for name in (INPUT, *self.by_name)}
        for edge in self.edges:
            readers[edge.source].append(edge.target)
        return {name: tuple(targets) for name, targets in readers.items()}

    @property
    def output(self) -> Layer:
        """The last layer."""
        return self.layers[-1]

    def input_shape(self, layer: Layer) -> Shape:
        """The shape of a layer's first input."""
        return self.shapes[layer.inputs[0]]

    def weight_shapes(self, layer: Layer) -> dict[str, tuple[int, ...]]:
        """Shapes of a layer's arrays under `weight` and `bias`; empty where it has none."""
        channels = self.shapes[layer.name].channels
        if layer.kind == "affine":
            return {"weight": (channels,), "bias": (channels,)}
        if not layer.convolves:
            return {}
        inputs = (self.input_shape(layer).channels,) if layer.kind == "conv" else ()
        shapes: dict[str, tuple[int, ...]] = {"weight": (*layer.kernel, *inputs, channels)}
        return shapes | ({"bias": (channels,)} if layer.bias else {})

    def layer_terms(self, layer: Layer) -> int:
        """Products of one of a layer's sums: of a conv taps times channels, of a depthwise one its taps; else 0."""
        if layer.kind == "conv":
            return layer.taps * self.input_shape(layer).channels
        return layer.taps if layer.kind == "depthwise" else 0

    def layer_macs(self, layer: Layer) -> int:
        """Multiply-accumulates of a conv or a depthwise conv, padding counted; 0 of any other kind."""
        shape = self.shapes[layer.name]
        return shape.pixels * shape.channels * self.layer_terms(layer)

    def layer_weights(self, layer: Layer) -> int:
        """Parameters of a layer."""
        return sum(_product(shape) for shape in self.weight_shapes(layer).values())

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of all convs (dense layers among them), padding counted."""
        return sum(self.layer_macs(layer) for layer in self.layers)

    @cached_property
    def parameters(self) -> int:
        """Weights and biases, batch norm's scale and shift included where it is not folded."""
        return sum(self.layer_weights(layer) for layer in self.layers)

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _product(numbers: tuple[int, ...]) -> int:
    total = 1
    for number in numbers:
        total *= number
    return total


def _output_shape(layer: Layer, inputs: list[Shape]) -> Shape:
    first = inputs[0]
    if layer.kind == "concat":
        return Shape(first.rows, first.cols, sum(shape.channels for shape in inputs))
    if not layer.windowed:
        return first
    if layer.kind == "upsample":
        return Shape(first.rows * layer.factor.rows, first.cols * layer.factor.cols, first.channels)
    top, bottom, left, right = layer.padding
    rows = (first.rows + top + bottom - layer.kernel.rows) // layer.stride.rows + 1
    cols = (first.cols + left + right - layer.kernel.cols) // layer.stride.cols + 1
    return Shape(rows, cols, layer.channels if layer.kind == "conv" else first.channels)


def _check_sizes(network: Network) -> None:
    if min(network.input) < 1 or network.row_step < 1:
        raise BadInput(f"network {network.name}: its input {network.input} must be at least 1x1x1, its row step 1")
    if network.input.pixels > MOST_PIXELS:
        raise BadInput(
            f"network {network.name}: an input of {network.input} was found, at most {MOST_PIXELS} pixels are wanted"
        )
    if not network.layers:
        raise BadInput(f"network {network.name}: it has no layers; at least one is wanted")
    for layer in network.layers:
        positive = (*layer.kernel, *layer.stride, layer.channels if layer.kind == "conv" else 1)
        if min(positive) < 1 or min(layer.padding) < 0:
            raise BadInput(
                f"layer {layer.name}: kernel {tuple(layer.kernel)}, stride {tuple(layer.stride)}, "
                f"{layer.channels} channels, padding {tuple(layer.padding)} were found; "
                f"sizes of at least 1 and padding of at least 0 are wanted"
            )


def _check_graph(network: Network) -> None:
    seen = {INPUT}
    for layer in network.layers:
        if layer.name in (INPUT, OUTPUT):
            raise BadInput(f"layer {layer.name}: the name stands for an end of every network; another is wanted")
    later = {layer.name for layer in network.layers}
    for layer in network.layers:
        if layer.name in seen:
            raise BadInput(f"layer {layer.name}: the name is there twice; every layer wants its own")
        _check_inputs(layer)
        for name in layer.inputs:
            if name not in seen:
                fault = "comes later or is its own input: a cycle" if name in later else "does not exist"
                raise BadInput(f"layer {layer.name}: its input {name} {fault}; an earlier layer or 'input' is wanted")
        seen.add(layer.name)
    for name, readers in network.consumers.items():
        if not readers and name != network.output.name:
            raise BadInput(f"layer {name}: nothing reads it; only the last layer, {network.output.name}, may lead out")


def _check_inputs(layer: Layer) -> None:
    arity = {"add": 2, "concat": max(2, len(layer.inputs))}.get(layer.kind, 1)
    if len(layer.inputs) != arity:
        raise BadInput(f"layer {layer.name}: {len(layer.inputs)} inputs found, {arity} wanted by {layer.kind}")
    for i, name in enumerate(layer.inputs):
        if name in layer.inputs[:i]:
            raise BadInput(f"layer {layer.name}: it reads {name} twice; different inputs are wanted")


def _check_function(layer: Layer) -> None:
    if (layer.kind == "table") != bool(layer.function):
        raise BadInput(
            f"layer {layer.name}: {layer.kind} with the function {layer.function or 'none'} was found; "
            "one is wanted of a table, and of nothing else"
        )
    if layer.function:
        try:
            functions.check(layer.function)
        except BadInput as error:
            raise BadInput(f"layer {layer.name}: {error}") from None


def _check_factor(layer: Layer) -> None:
    upsample = layer.kind == "upsample"
    if upsample != (layer.factor != (1, 1)) or min(layer.factor) < 1:
        raise BadInput(
            f"layer {layer.name}: {layer.kind} of the factor {tuple(layer.factor)} was found; one beyond (1, 1) is "
            "wanted of an upsample, and of nothing else"
        )
    if upsample and (layer.kernel, layer.stride, layer.padding) != (Size(1, 1), Size(1, 1), Padding()):
        raise BadInput(
            f"layer {layer.name}: kernel {tuple(layer.kernel)}, stride {tuple(layer.stride)} and padding "
            f"{tuple(layer.padding)} were found; an upsample has a factor, so none is wanted"
        )


def _check_layer(network: Network, layer: Layer) -> None:
    _check_function(layer)
    _check_factor(layer)
    shapes = [network.shapes[name] for name in layer.inputs]
    compared = [shape if layer.kind == "add" else shape[:2] for shape in shapes]
    if len(set(compared)) > 1:
        raise BadInput(
            f"layer {layer.name}: its inputs have shapes {' and '.join(map(str, shapes))}; equal ones are wanted"
        )
    if not layer.windowed:
        if (layer.kernel, layer.stride, layer.padding) != (Size(1, 1), Size(1, 1), Padding()):
            raise BadInput(
                f"layer {layer.name}: kernel {tuple(layer.kernel)}, stride {tuple(layer.stride)} and padding "
                f"{tuple(layer.padding)} were found; {layer.kind} takes pixels one by one, so none is wanted"
            )
        return
    if min(network.shapes[layer.name]) < 1:
        raise BadInput(
            f"layer {layer.name}: its kernel {tuple(layer.kernel)} is larger than its padded input {shapes[0]}"
        )
    if network.shapes[layer.name].pixels > MOST_PIXELS:
        raise BadInput(
            f"layer {layer.name}: a map of {network.shapes[layer.name]} was found, at most {MOST_PIXELS} pixels are "
            "wanted"
        )
    top, bottom, left, right = layer.padding
    if max(top, bottom) >= layer.kernel.rows or max(left, right) >= layer.kernel.cols:
        raise BadInput(
            f"layer {layer.name}: padding {tuple(layer.padding)} makes windows of padding alone; "
            f"less than the kernel {tuple(layer.kernel)} is wanted"
        )
    if layer.kind == "mean" and any(layer.padding):
        raise BadInput(
            f"layer {layer.name}: a mean with padding {tuple(layer.padding)} was found, one without is wanted"
        )


def _lines(network: Network) -> Iterator[str]:
    step = f", every {network.row_step}. row" if network.row_step > 1 else ""
    yield f"{network.name}: input {network.input}{step}"
    width = max(len(layer.name) for layer in network.layers)
    for layer in network.layers:
        words: list[str] = [layer.kind, layer.function] if layer.function else [layer.kind]
        if layer.windowed:
            size = layer.factor if layer.kind == "upsample" else layer.kernel
            words.append(f"{size.rows}x{size.cols}")
        if layer.stride != (1, 1):
            words.append(f"stride {layer.stride.rows},{layer.stride.cols}")
        if any(layer.padding):
            words.append("padding " + ",".join(map(str, layer.padding)))
        words += ["bias"] * (layer.bias and layer.convolves) + ["relu"] * layer.relu
        yield f"  {layer.name:{width}}  {' '.join(words)}  {' + '.join(layer.inputs)} -> {network.shapes[layer.name]}"
