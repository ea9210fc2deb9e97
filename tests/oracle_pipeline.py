"""docs/pipeline.md as a plain machine: registers, advanced a cycle at a time, and nothing else.

In each cycle every part looks at the registers as they stood at its beginning and decides whether it starts; then all
starts are applied and all countdowns fall by one. Which pixels an output needs is found by walking its window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hw.accelerator import Fifo, Pipeline
from hw.network import INPUT, Layer, Network

SINK = "output"


@dataclass
class Trace:
    """The cycles in which outputs start, copies start and slots become free, in the order of the pixels.

    A deadlock leaves them short; `full` then holds the edges with no free slot.
    """

    starts: dict[str, list[int]]
    copies: dict[str, list[int]]
    frees: dict[str, list[int]]
    deadlock: bool = False
    full: frozenset[str] = frozenset()


@dataclass
class Window:
    """What a windowed reader has besides its FIFO: a copier and a buffer of `capacity` pixels."""

    map_pixels: int
    windows: list[set[int]]
    capacity: int
    copy_cycles: int
    read_latency: int
    copying: int = 0
    copied: int = 0
    on_the_way: list[int] = field(default_factory=list)
    usable: int = 0

    @cached_property
    def readers(self) -> list[list[int]]:
        """Of each pixel of a frame, the frame's outputs that need it or an earlier one; the first always does."""
        return [[p for p, window in enumerate(self.windows) if min(window) <= j] for j in range(self.map_pixels)]

    def has_all_for(self, output: int) -> bool:
        """Whether every pixel up to the last one of the output's window can be used."""
        frame, place = divmod(output, len(self.windows))
        return self.usable > frame * self.map_pixels + max(self.windows[place])

    def has_room(self, finished: int) -> bool:
        """Whether no output from `finished` on needs the pixel that the next copy overwrites, or an earlier one."""
        if self.copied < self.capacity:
            return True
        frame, place = divmod(self.copied - self.capacity, self.map_pixels)
        return all(frame * len(self.windows) + p < finished for p in self.readers[place])


@dataclass
class Stream:
    """An edge: a FIFO of whole pixels, and the window of its reader, if that has one."""

    name: str
    fifo: Fifo
    frame_pixels: int
    window: Window | None = None
    in_flight: list[int] = field(default_factory=list)
    taken: int = 0
    present: int = 0
    copies: list[int] = field(default_factory=list)
    frees: list[int] = field(default_factory=list)

    @property
    def has_slot(self) -> bool:
        """Whether a result can be promised a slot."""
        return self.taken < self.fifo.depth

    def may_copy(self, finished: int) -> bool:
        """Whether the copier is there, is free, finds a pixel, and finds a place for it."""
        window = self.window
        return window is not None and window.copying == 0 and self.present > 0 and window.has_room(finished)

    def start_copy(self, cycle: int) -> None:
        """Take the FIFO's head; its slot stays taken while it is copied."""
        assert self.window is not None
        self.copies.append(cycle)
        self.present -= 1
        self.window.copied += 1
        self.window.copying = self.window.copy_cycles
        self.window.on_the_way.append(self.window.copy_cycles + self.window.read_latency)

    def land(self, delay: int) -> None:
        """A result that will be in the FIFO `delay` cycles after the next one begins."""
        if delay:
            self.in_flight.append(delay)
        else:
            self.present += 1

    def release(self, next_cycle: int) -> None:
        """Give a slot back, for use from the next cycle on."""
        self.taken -= 1
        self.frees.append(next_cycle)

    def tick(self, next_cycle: int) -> None:
        """Let a cycle pass."""
        self.in_flight, landed = _tick(self.in_flight)
        self.present += landed
        window = self.window
        if window is None:
            return
        window.on_the_way, landed = _tick(window.on_the_way)
        window.usable += landed
        if window.copying:
            window.copying -= 1
            if window.copying == 0:
                self.release(next_cycle)

    @property
    def moving(self) -> bool:
        """Whether anything will happen without a new start."""
        return bool(self.in_flight or (self.window and (self.window.copying or self.window.on_the_way)))


@dataclass
class Node:
    """The source, an engine or the sink."""

    name: str
    issue_cycles: int
    delay: int
    total: int
    inputs: list[Stream]
    outputs: list[Stream]
    gate: Sequence[int] | None = None
    releases: Sequence[int] = ()
    issuing: int = 0
    finished: int = 0
    starts: list[int] = field(default_factory=list)

    def awake(self, cycle: int) -> bool:
        """Whether an end of the pipeline may pass a word in this cycle; everything else always may."""
        return self.gate is None or cycle >= len(self.gate) or bool(self.gate[cycle])

    def may_start(self, cycle: int) -> bool:
        """Whether it is free and unfinished, its inputs are ready and all its outputs have a slot."""
        if self.issuing or len(self.starts) == self.total or not self.awake(cycle):
            return False
        if self.releases and cycle < self.releases[len(self.starts)]:
            return False
        return all(self._ready(stream) for stream in self.inputs) and all(stream.has_slot for stream in self.outputs)

    def _ready(self, stream: Stream) -> bool:
        return stream.window.has_all_for(len(self.starts)) if stream.window else stream.present > 0

    def start(self, cycle: int) -> None:
        """Take the heads of the inputs that have no window, and a slot of every output."""
        self.starts.append(cycle)
        self.issuing = self.issue_cycles
        for stream in self.inputs:
            if not stream.window:
                stream.copies.append(cycle)
                stream.present -= 1
        for stream in self.outputs:
            stream.taken += 1

    def tick(self, next_cycle: int) -> None:
        """Let a cycle pass; at an issue's end the places and slots that it used are no longer needed.

        The result is then on its way for `delay` cycles more. A word that may not pass takes no step.
        """
        if self.issuing == 0 or not self.awake(next_cycle - 1):
            return
        self.issuing -= 1
        if self.issuing == 0:
            self.finished += 1
            for stream in self.outputs:
                stream.land(self.delay)
            for stream in self.inputs:
                if not stream.window:
                    stream.release(next_cycle)


def run(
    network: Network,
    pipeline: Pipeline,
    frames: int = 1,
    valid: Sequence[int] = (),
    ready: Sequence[int] = (),
    releases: Sequence[int] = (),
    limit: int = 1_000_000,
) -> Trace:
    """Step the machine until all pixels are through, or nothing moves any more.

    `valid` and `ready` say for each cycle whether the source has a word and the sink takes one; later, always.
    `releases`, if there are any, are the cycles before which the source has not got each pixel.

    Raises:
        TimeoutError: neither has happened after `limit` cycles.
    """
    streams = _streams(network, pipeline)
    nodes = _nodes(network, pipeline, streams, frames)
    nodes[0].gate, nodes[-1].gate = valid, ready
    nodes[0].releases = releases
    for cycle in range(limit):
        if not _step(cycle, nodes) and cycle > max(len(valid), len(ready), *releases[-1:]):
            return _trace(nodes, streams, frames)
    raise TimeoutError(f"{network.name}: not through after {limit} cycles")


def _step(cycle: int, nodes: list[Node]) -> bool:
    """One cycle: decide, apply, tick. False if nothing moves any more."""
    starting = [node for node in nodes if node.may_start(cycle)]
    copying = [stream for node in nodes for stream in node.inputs if stream.may_copy(node.finished)]
    for node in starting:
        node.start(cycle)
    for stream in copying:
        stream.start_copy(cycle)
    moving = any(node.issuing or any(stream.moving for stream in node.inputs) for node in nodes)
    for node in nodes:
        for stream in node.inputs:
            stream.tick(cycle + 1)
    for node in nodes:
        node.tick(cycle + 1)
    return moving


def _tick(countdowns: list[int]) -> tuple[list[int], int]:
    """Countdowns a cycle later, and how many have ended."""
    left = [count - 1 for count in countdowns if count > 1]
    return left, len(countdowns) - len(left)


def _trace(nodes: list[Node], streams: dict[str, Stream], frames: int) -> Trace:
    finished = all(node.finished == node.total for node in nodes)
    drained = all(len(stream.frees) == frames * stream.frame_pixels for stream in streams.values())
    return Trace(
        starts={node.name: node.starts for node in nodes},
        copies={name: stream.copies for name, stream in streams.items()},
        frees={name: stream.frees for name, stream in streams.items()},
        deadlock=not (finished and drained),
        full=frozenset(name for name, stream in streams.items() if not stream.has_slot),
    )


def _streams(network: Network, pipeline: Pipeline) -> dict[str, Stream]:
    streams = {}
    for layer in network.layers:
        for source in layer.inputs:
            name = f"{source} -> {layer.name}"
            window = (
                _window(network, pipeline, layer, name)
                if layer.kind in ("conv", "depthwise", "max", "mean", "upsample")
                else None
            )
            streams[name] = Stream(name, pipeline.fifos[name], _pixels(network, source), window)
    last = network.layers[-1].name
    name = f"{last} -> {SINK}"
    streams[name] = Stream(name, pipeline.fifos[name], _pixels(network, last))
    return streams


def _nodes(network: Network, pipeline: Pipeline, streams: dict[str, Stream], frames: int) -> list[Node]:
    last = network.layers[-1].name
    nodes = [Node(INPUT, _port_cycles(network, INPUT, pipeline.source_channels), 0, 0, [], [])]
    for layer in network.layers:
        reads = [streams[name] for name in (f"{source} -> {layer.name}" for source in layer.inputs)]
        nodes.append(Node(layer.name, _issue_cycles(network, pipeline, layer), _delay(layer, reads), 0, reads, []))
    sink_cycles = _port_cycles(network, last, pipeline.sink_channels)
    nodes.append(Node(SINK, sink_cycles, 0, 0, [streams[f"{last} -> {SINK}"]], []))
    for node in nodes:
        node.total = frames * _pixels(network, last if node.name == SINK else node.name)
        node.outputs = [stream for name, stream in streams.items() if name.split(" -> ")[0] == node.name]
    return nodes


def _pixels(network: Network, name: str) -> int:
    rows, cols, _ = network.shapes[name]
    return rows * cols


def _port_cycles(network: Network, name: str, channels_a_cycle: int) -> int:
    """Cycles of the source or the sink for a pixel; the last one may be partly empty."""
    channels = network.shapes[name].channels
    return len(range(0, channels, channels_a_cycle or channels))


def _issue_cycles(network: Network, pipeline: Pipeline, layer: Layer) -> int:
    engine = pipeline.engines[layer.name]
    turns = _exactly(network.shapes[layer.name].channels, engine.pe)
    rows, cols = layer.kernel
    if layer.kind == "depthwise":
        return turns * _exactly(rows * cols, engine.simd)
    if layer.kind != "conv":
        return turns
    return turns * _exactly(rows * cols * network.shapes[layer.inputs[0]].channels, engine.simd)


def _copy_cycles(network: Network, pipeline: Pipeline, layer: Layer) -> int:
    """A conv reads as many channels a cycle as it multiplies, at most a pixel; others read what they work on."""
    engine = pipeline.engines[layer.name]
    channels = network.shapes[layer.inputs[0]].channels
    if layer.kind == "conv":
        return 1 if engine.simd >= channels else _exactly(channels, engine.simd)
    return _exactly(channels, engine.pe)


def _exactly(whole: int, part: int) -> int:
    quotient, rest = divmod(whole, part)
    assert rest == 0, f"{part} does not divide {whole}"
    return quotient


def _delay(layer: Layer, reads: list[Stream]) -> int:
    """Registers between an engine's last issue cycle and the FIFO's write port."""
    latency = 1 if any(stream.fifo.ram == "block" for stream in reads) else 0
    fixed = {"conv": 6, "depthwise": 6, "mean": 6, "max": 5, "upsample": 3}
    return (
        fixed[layer.kind]
        if layer.kind in fixed
        else {"affine": 4, "add": 3, "concat": 2, "table": 2}[layer.kind] + latency
    )


def _window(network: Network, pipeline: Pipeline, layer: Layer, name: str) -> Window:
    rows, cols, _ = network.shapes[layer.inputs[0]]
    least = (layer.kernel.rows - 1) * cols + layer.kernel.cols
    return Window(
        map_pixels=rows * cols,
        windows=_walk_windows(network, layer),
        capacity=pipeline.buffers.get(name, _repeats(layer, cols) + 1)
        if layer.kind == "upsample"
        else pipeline.buffers.get(name, least if _keeps_sums(layer) else least + 1),
        copy_cycles=_copy_cycles(network, pipeline, layer),
        read_latency=1 if pipeline.fifos[name].ram == "block" else 0,
    )


def _repeats(layer: Layer, cols: int) -> int:
    """Pixels that are given more than once before others: a row, or where rows are not repeated one."""
    return cols if layer.factor.rows > 1 else 1


def _keeps_sums(layer: Layer) -> bool:
    return layer.kind == "mean" and layer.stride == layer.kernel


def _walk_windows(network: Network, layer: Layer) -> list[set[int]]:
    """Of each output pixel, the input pixels under its kernel."""
    rows, cols, _ = network.shapes[layer.inputs[0]]
    out_rows, out_cols, _ = network.shapes[layer.name]
    windows = []
    if layer.kind == "upsample":
        down, right = layer.factor
        return [{y // down * cols + x // right} for y in range(out_rows) for x in range(out_cols)]
    for y in range(out_rows):
        for x in range(out_cols):
            taps = [
                (y * layer.stride.rows + i - layer.padding.top, x * layer.stride.cols + j - layer.padding.left)
                for i in range(layer.kernel.rows)
                for j in range(layer.kernel.cols)
            ]
            windows.append({row * cols + col for row, col in taps if 0 <= row < rows and 0 <= col < cols})
    return windows
