"""Small random networks and machines for them, all from a seed: the ground on which an engine meets its oracle."""

from math import gcd
from random import Random
from types import SimpleNamespace

import msgspec

from hw.accelerator import Engine, Fifo, Pipeline, Ram
from hw.network import INPUT, Layer, Network, Padding, Shape, Size

KERNELS = ((1, 1), (1, 2), (1, 3), (3, 1), (3, 3), (2, 2), (5, 3), (2, 3), (1, 5), (4, 1))
STRIDES = ((1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
FACTORS = ((2, 2), (2, 2), (1, 2), (2, 1), (3, 3), (1, 3), (3, 2))
LARGEST_WORK_CYCLES = 800
FUNCTIONS = (
    "sigmoid",
    "tanh",
    "silu",
    "hardsigmoid",
    "hardswish",
    "gelu",
    "gelu_tanh",
    "softplus",
    "leaky_relu:0.01",
    "leaky_relu:0.25",
    "elu:1",
    "clip:0:6",
    "clip:-1:1",
)


def random_network(seed: int, more: tuple[str, ...] = (), depthwise: bool = False) -> Network:
    """1 to 7 layers on a map of 1x1 to 9x9 with 1 to 8 channels; `more` are kinds that not every network has.

    Some layers are made depthwise convs if asked.
    """
    network = _random_network(seed, more)
    return _with_depthwise(network, Random(f"depthwise {seed}")) if depthwise else network


def _with_depthwise(network: Network, rng: Random) -> Network:
    """The same shapes: most maxima, overlapping means, affines and convs that keep their channels depthwise."""
    layers = []
    for layer in network.layers:
        keeps = network.shapes[layer.name].channels == network.input_shape(layer).channels
        fits = layer.kind in ("max", "affine", "mean") or (layer.kind == "conv" and keeps)
        if fits and not layer.accumulates and rng.random() < 0.8:
            layer = msgspec.structs.replace(layer, kind="depthwise", channels=0)
        layers.append(layer)
    return msgspec.structs.replace(network, layers=tuple(layers))


def _random_network(seed: int, more: tuple[str, ...]) -> Network:
    rng = Random(f"network {seed}")
    growth = _Growth(rng, Shape(_extent(rng), _extent(rng), rng.randint(1, 8)), more)
    count = rng.randint(1, 7)
    while len(growth.layers) < count:
        growth.step(count - len(growth.layers))
    row_step = rng.choice((1, 1, 1, 2, 3))
    read = growth.shapes[INPUT]
    given = Shape(read.rows * row_step - rng.randrange(row_step), read.cols, read.channels)
    return Network(f"random{seed}", given, tuple(growth.layers), row_step)


def _extent(rng: Random) -> int:
    return rng.choice((rng.randint(1, 9), rng.randint(4, 9)))


def random_pipeline(seed: int, network: Network) -> Pipeline:
    """A legal machine for `network`; where branches meet, its FIFOs are at times too shallow and it stops."""
    rng = Random(f"pipeline {seed}")
    return Pipeline(
        name=f"random{seed}",
        clock_mhz=100.0,
        engines={layer.name: _engine(rng, network, layer) for layer in network.layers},
        fifos=_fifos(rng, network),
        buffers=_buffers(rng, network),
        source_channels=_port(rng, network.shapes[INPUT].channels),
        sink_channels=_port(rng, network.shapes[network.output.name].channels),
    )


def random_engine(seed: int, network: Network) -> SimpleNamespace:
    """All fields of a line engine; at times too small for the network, at times with room for all of it."""
    rng = Random(f"line engine {seed}")
    rows = {name: shape.cols * shape.channels for name, shape in network.shapes.items()}
    maps = sum(rows[name] * shape.rows for name, shape in network.shapes.items())
    weights = network.parameters + 3 * sum(network.shapes[layer.name].channels for layer in network.layers)
    lines = (rng.randint(1, maps), rng.randint(max(rows.values()), 3 * sum(rows.values())), 3 * maps, 10**6)
    space = (rng.randint(0, 60), rng.randint(weights // 8, weights), rng.randint(weights // 2, 2 * weights + 60), 10**6)
    some = tuple(layer.name for layer in network.layers if rng.random() < 0.3)
    return SimpleNamespace(
        name=f"random{seed}",
        pe=rng.randint(1, 5),
        simd=rng.randint(1, 7),
        lanes=rng.choice((1, 1, 2, 3, 8)),
        line_memory_bytes=rng.choice((*lines, lines[1])),
        weight_memory_bytes=rng.choice((*space, space[1])),
        dram_bytes_per_cycle=rng.choice((0.3, 0.7, 1.0, 1.6, 2.5, 8.0)),
        dram_latency_cycles=rng.choice((0, 1, 7, 40)),
        dram_burst_bytes=rng.choice((0, 0, 1, 5, 16, 64)),
        dma_channels=rng.choice((1, 2)),
        row_group=rng.choice((1, 1, 1, 2, 3, 20)),
        prefetch=rng.choice((0, 1, 2, 3, 5, 16, 1000)),
        resident=rng.choice(("none", "all", "auto", "auto", some)),
        skips=rng.choice(("keep", "spill", "auto", "auto")),
        schedule=rng.choice(("line_by_line", "layer_by_layer")),
        clock_mhz=100.0,
    )


def least_buffer(network: Network, layer: Layer) -> int:
    """The least capacity in pixels of a windowed layer's buffer."""
    if layer.kind == "upsample":
        return network.input_shape(layer).cols if layer.factor.rows > 1 else 1
    return (layer.kernel.rows - 1) * network.input_shape(layer).cols + layer.kernel.cols


class _Growth:
    """A chain that grows at its tip, with side branches and joins, so that every layer but the last is read."""

    def __init__(self, rng: Random, shape: Shape, more: tuple[str, ...]) -> None:
        self.rng = rng
        self.more = more
        self.layers: list[Layer] = []
        self.shapes = {INPUT: shape}
        self.tip = INPUT

    def step(self, room: int) -> None:
        """Add a layer, or a side layer and the join that reads it."""
        ways = ("conv", "same", "affine", "max", "mean", "dense", "join", *self.more)
        way = self.rng.choices(ways, (4, 4, 2, 2, 2, 1, 12, *(8 for _ in self.more)))[0]
        if way == "join":
            self._join(room)
        elif way == "upsample":
            self._repeat()
        elif way == "table":
            self._add("table", (self.tip,), function=self.rng.choice(FUNCTIONS))
        else:
            self._grow(self.tip, way)

    def _grow(self, source: str, way: str) -> None:
        shape, rng = self.shapes[source], self.rng
        kernel, stride, padding = self._window(shape, way)
        kind = {"same": rng.choice(("conv", "conv", "max")), "dense": "conv"}.get(way, way)
        channels = 0
        if kind == "conv":
            channels = shape.channels if way == "same" and rng.random() < 0.7 else rng.randint(1, 8)
        self._add(kind, (source,), kernel=kernel, stride=stride, padding=padding, channels=channels)

    def _repeat(self) -> None:
        """An upsample of a map that stays small."""
        rows, cols, _ = self.shapes[self.tip]
        factors = [factor for factor in FACTORS if rows * factor[0] <= 12 and cols * factor[1] <= 12]
        if factors:
            self._add("upsample", (self.tip,), factor=Size(*self.rng.choice(factors)))

    def _window(self, shape: Shape, way: str) -> tuple[Size, Size, Padding]:
        if way == "affine":
            return Size(1, 1), Size(1, 1), Padding()
        if way == "dense":
            return Size(*shape[:2]), Size(1, 1), Padding()
        if way == "same":
            return self._same_window()
        return self._mean_window(shape) if way == "mean" else self._free_window(shape)

    def _same_window(self) -> tuple[Size, Size, Padding]:
        rows, cols = self.rng.choice(KERNELS)
        top, left = self.rng.randrange(rows), self.rng.randrange(cols)
        return Size(rows, cols), Size(1, 1), Padding(top, rows - 1 - top, left, cols - 1 - left)

    def _mean_window(self, shape: Shape) -> tuple[Size, Size, Padding]:
        kernels = [shape[:2], (1, shape.cols), (2, 1), (1, 2), (2, 2), (shape.rows, 1)]
        kernel = Size(*self.rng.choice([k for k in kernels if k[0] <= shape.rows and k[1] <= shape.cols]))
        stride = kernel if self.rng.random() < 0.7 else Size(*self.rng.choice(STRIDES))
        return kernel, stride, Padding()

    def _free_window(self, shape: Shape) -> tuple[Size, Size, Padding]:
        """Any kernel, stride and padding that fit; often much padding above and none elsewhere."""
        rng = self.rng
        while True:
            rows, cols = rng.choice(KERNELS)
            ends = [rng.randrange(rows), rng.randrange(rows), rng.randrange(cols), rng.randrange(cols)]
            shown = rng.choice(((0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 0, 0), (1, 0, 1, 0), (0, 1, 0, 1)))
            top, bottom, left, right = (end * keep for end, keep in zip(ends, shown, strict=True))
            if shape.rows + top + bottom >= rows and shape.cols + left + right >= cols:
                return Size(rows, cols), Size(*rng.choice(STRIDES)), Padding(top, bottom, left, right)

    def _join(self, room: int) -> None:
        """Join the tip with a map of its size, at times through a side layer; with itself always through one."""
        rows_cols = self.shapes[self.tip][:2]
        partner = self.rng.choice([name for name, shape in self.shapes.items() if shape[:2] == rows_cols])
        if partner == self.tip or self.rng.random() < 0.3:
            if room < 2:
                return
            partner = self._side(partner)
        self._meet([self.tip, partner])

    def _side(self, source: str) -> str:
        """A layer that reads `source` and keeps its map; the tip stays where it is, with as many channels."""
        tip = self.tip
        if self.rng.random() < 0.5:
            self._grow(source, self.rng.choice(("affine", "same", "same")))
        else:
            self._add("conv", (source,), channels=self.shapes[tip].channels)
        side, self.tip = self.tip, tip
        return side

    def _meet(self, names: list[str]) -> None:
        """Add what can be added, most of the time, and lay the rest side by side."""
        self.rng.shuffle(names)
        equal = len({self.shapes[name] for name in names}) == 1
        self._add("add" if equal and self.rng.random() < 0.7 else "concat", tuple(names))

    def _add(self, kind: str, inputs: tuple[str, ...], **fields: object) -> None:
        layer = Layer(name=f"{kind}{len(self.layers)}", kind=kind, inputs=inputs, **fields)  # type: ignore[arg-type]
        self.layers.append(layer)
        self.shapes[layer.name] = _shape(layer, [self.shapes[name] for name in inputs])
        self.tip = layer.name


def _shape(layer: Layer, inputs: list[Shape]) -> Shape:
    """What a network of this layer alone says; a join keeps its inputs' map."""
    if not layer.windowed:
        channels = sum(shape.channels for shape in inputs) if layer.kind == "concat" else inputs[0].channels
        return Shape(inputs[0].rows, inputs[0].cols, channels)
    return Network("alone", inputs[0], (msgspec.structs.replace(layer, inputs=(INPUT,)),)).shapes[layer.name]


def _engine(rng: Random, network: Network, layer: Layer) -> Engine:
    """A folding that divides; the fastest one where none drawn is fast enough to test in a moment."""
    channels = network.shapes[layer.name].channels
    if layer.kind == "concat":
        channels = gcd(*(network.shapes[source].channels for source in layer.inputs))
    options = [Engine(pe, simd) for pe in _divisors(channels) for simd in _simds(network, layer)]
    quick = [engine for engine in options if _work(network, layer, engine) <= LARGEST_WORK_CYCLES]
    return rng.choice(quick) if quick else options[-1]


def _work(network: Network, layer: Layer, engine: Engine) -> int:
    """About the cycles that an engine needs by itself for a frame."""
    channels_in = network.input_shape(layer).channels
    products = {"conv": layer.taps * channels_in, "depthwise": layer.taps}
    turns = products.get(layer.kind, 1) // engine.simd
    issue = network.shapes[layer.name].channels // engine.pe * turns
    return issue * network.shapes[layer.name].pixels + channels_in * network.input_shape(layer).pixels


def _simds(network: Network, layer: Layer) -> list[int]:
    if layer.kind == "depthwise":
        return _divisors(layer.taps)
    if layer.kind != "conv":
        return [1]
    channels = network.input_shape(layer).channels
    return sorted({*_divisors(channels), *(channels * share for share in _divisors(layer.taps))})


def _divisors(number: int) -> list[int]:
    return [k for k in range(1, number + 1) if number % k == 0]


def _fifos(rng: Random, network: Network) -> dict[str, Fifo]:
    names = [*map(str, network.edges), f"{network.output.name} -> output"]
    joins = {str(edge) for edge in network.edges if len(network.by_name[edge.target].inputs) > 1}
    return {name: Fifo(_depth(rng, name in joins), _ram(rng)) for name in names}


def _depth(rng: Random, at_join: bool) -> int:
    """Small ones are common; where branches meet, half are deep enough for a branch's delay."""
    if at_join and rng.random() < 0.45:
        return rng.randint(6, 60)
    return rng.choice((1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8))


def _ram(rng: Random) -> Ram:
    return rng.choice(("lut", "block"))


def _buffers(rng: Random, network: Network) -> dict[str, int]:
    """The least capacity, up to a row more, or no entry: then the machine's own default."""
    buffers = {}
    for layer in network.layers:
        if layer.windowed and rng.random() < 0.85:
            spare = rng.choice((0, 0, 0, rng.randint(0, network.input_shape(layer).cols + 2)))
            spare *= not layer.accumulates
            buffers[f"{layer.inputs[0]} -> {layer.name}"] = least_buffer(network, layer) + spare
    return buffers


def _port(rng: Random, channels: int) -> int:
    return rng.choice((0, rng.choice(_divisors(channels))))
