"""hls4ml 1.3.0's streaming templates (io_stream) as timing: which process reads and writes when.

What the sources of Vitis and Vivado say (`nnet_utils`), a dataflow process a layer:

| template | a loop iteration | writes |
|---|---|---|
| `zeropad2d_cl` | one pixel of the padded map; reads one unless it is padding | always |
| `conv_2d_cl`, `pointwise_conv_2d_cl`, unrolled | reads one pixel; II = reuse factor | where its window is complete |
| the same, Resource | reads one; not pipelined: the sum's `ReuseLoop` runs inside it | where its window is complete |
| `pooling2d_cl`, `global_pooling2d_cl` | reads one pixel; II = 1 | where its window is complete; at the end |
| `normalize` | reads one pixel; II = reuse factor | always |
| `add`, `clone_stream` | reads one pixel of every input; II = 1 | always, to every output |

So convolutions are driven by their input: one that cannot write reads no further, and a row below the kernel's height
is read without a result. hls4ml puts a `clone_stream` behind every fork and a `zeropad2d_cl` before every padded
convolution.

What is a model: the II is the one asked for by the pragma, loops without one are taken to reach 1, and `STAGES` are
assumed. No synthesis stands behind them. Pipelines stall as a whole, Vitis' default `stp` (UG1399, `pipeline_style`):
a result that is under way moves on only while the input keeps coming or the loop has ended, so that a branch whose
pipeline is not yet full can starve the add behind it for ever. A process starts its next frame in the cycle after its
last write.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.hls import reuse
from hw.hls.backends import ADDERS, AUTO, LATENCY, Strategy
from hw.hls.forms import as_generated
from hw.hls.layers import refusal
from hw.network import INPUT, Edge, Layer, Network, Shape

STAGES = {"pad": 1, "clone": 1, "add": 1, "affine": 3, "max": 2, "mean": 3, "conv": 3}
"""Cycles from reading the last pixel to writing the result: assumed; sums take one more a level of their tree."""
SHIFT_CYCLES = 2
"""Cycles of an iteration that is not pipelined and completes no window: assumed."""
PIPELINED = (LATENCY, ADDERS)
"""Strategies whose loop over pixels is pipelined; in the other one the sum's own loop is."""

Flags = NDArray[np.bool_]
Cycles = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Schedule:
    """One frame of a process: steps, each `gap` cycles behind the one before, that read, write, both or nothing.

    The first step is that of the first cycle, a cycle behind the last one of the frame before. A step waits until all
    that it reads is there and all that it writes has room; all later ones are put off with it.
    """

    gaps: Cycles
    reads: Flags
    writes: Flags


class Stream(msgspec.Struct, frozen=True):
    """A FIFO between two processes.

    `source` is the layer whose pixels it carries, `pixels` their number in a frame, which is hls4ml's depth. `edge` is
    the network's edge, "a -> b", whose depth it takes; "" for one that only hands on. A port of the top level has no
    FIFO, whatever its edge.
    """

    source: str
    channels: int
    pixels: int
    edge: str = ""
    port: bool = False

    @property
    def sized(self) -> bool:
        """Whether it is a FIFO whose depth can be chosen."""
        return self.edge != "" and not self.port


@dataclass(frozen=True, eq=False)
class Process:
    """A call in the top function; `inputs` and `outputs` index the streams."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    schedule: Schedule


@dataclass(frozen=True, eq=False)
class Dataflow:
    """A network as hls4ml's processes, each behind those it reads. Stream 0 is the input port, the last the output.

    `form` has the layers that generation inserts too; `factors` and `strategies` are theirs.
    """

    network: str
    form: Network
    factors: Mapping[str, int]
    strategies: Mapping[str, str]
    processes: tuple[Process, ...]
    streams: tuple[Stream, ...]


def dataflow(
    network: Network,
    reuse_factors: Mapping[str, int] | None = None,
    strategy: Strategy = AUTO,
    prepared: Network | None = None,
    latency: float = 1,
) -> Dataflow:
    """The processes of the project that `hw.hls.generate` writes for `network`.

    `prepared` is the network with the layers that generation inserts, where it is known; else what shapes tell of them.
    Reuse factors are by layer; those not named are the ones that generation takes. `latency` multiplies all `STAGES`,
    to see what hangs on them.

    Raises:
        BadInput: a reuse factor that hls4ml does not compute.
        DoesNotFit: a conv of more products than are unrolled.
        UnsupportedLayer: a kind that is not generated.
    """
    form = prepared if prepared is not None else as_generated(network)
    factors = reuse.choose(form, reuse_factors or {}, strategy)
    chosen = {layer.name: reuse.strategy(factors[layer.name], strategy, layer.kind) for layer in form.layers}
    builder = _Builder(network, form, latency)
    for layer in form.layers:
        builder.add(layer, factors[layer.name], chosen[layer.name])
    return Dataflow(network.name, form, factors, chosen, tuple(builder.processes), tuple(builder.streams))


class _Builder:
    """Processes and streams in the order in which hls4ml writes them."""

    def __init__(self, network: Network, form: Network, latency: float) -> None:
        self.network, self.form, self.latency = network, form, latency
        self.processes: list[Process] = []
        self.streams: list[Stream] = []
        self.read_from: dict[tuple[str, str], int] = {}
        self._fork(INPUT, self._stream(INPUT, form.shapes[INPUT], self._alone(INPUT), port=True))

    def add(self, layer: Layer, factor: int, strategy: str) -> None:
        """The process of a layer, a padding before it and a clone behind it."""
        if layer.kind in ("table", "upsample"):
            raise refusal(layer)
        inputs = tuple(self.read_from[source, layer.name] for source in layer.inputs)
        if any(layer.padding):
            inputs = (self._pad(layer, inputs[0]),)
        last = layer is self.form.output
        output = self._stream(layer.name, self.form.shapes[layer.name], self._alone(layer.name), port=last)
        timing = _schedule(self.form, layer, factor, strategy, self._stages(_stages(self.form, layer)))
        self.processes.append(Process(layer.name, inputs, (output,), timing))
        self._fork(layer.name, output)

    def _stages(self, assumed: int) -> int:
        return max(1, round(assumed * self.latency))

    def _alone(self, name: str) -> str:
        """The edge that a layer's own stream serves alone; "" where it forks, ends, or was inserted."""
        readers = self.form.consumers[name]
        own = name == INPUT or name in self.network.by_name
        return str(Edge(name, self._target(readers[0]))) if own and len(readers) == 1 else ""

    def _stream(self, source: str, shape: Shape, edge: str = "", port: bool = False) -> int:
        self.streams.append(Stream(source, shape.channels, shape.pixels, edge, port))
        return len(self.streams) - 1

    def _pad(self, layer: Layer, given: int) -> int:
        shape = self.form.input_shape(layer)
        padded = _padded(shape, layer)
        output = self._stream(layer.inputs[0], padded)
        self.processes.append(
            Process(f"{layer.name}, padding", (given,), (output,), _padding(shape, layer, self._stages(STAGES["pad"])))
        )
        return output

    def _fork(self, name: str, output: int) -> None:
        """Tell the readers of `name` where they find it: in the stream itself, or in a copy each."""
        readers = self.form.consumers[name]
        if len(readers) < 2:
            self.read_from |= {(name, reader): output for reader in readers}
            return
        shape = self.form.shapes[name]
        copies = []
        for reader in readers:
            copies.append(self._stream(name, shape, str(Edge(name, self._target(reader)))))
            self.read_from[name, reader] = copies[-1]
        every = np.ones(shape.pixels, np.bool_)
        timing = _pipelined(every, every, 1, self._stages(STAGES["clone"]))
        self.processes.append(Process(f"{name}, copies", (output,), tuple(copies), timing))

    def _target(self, reader: str) -> str:
        """The layer of the network behind a reader that generation inserted."""
        while reader not in self.network.by_name:
            reader = self.form.consumers[reader][0]
        return reader


def _schedule(network: Network, layer: Layer, factor: int, strategy: str, stages: int) -> Schedule:
    """One frame of a layer's process, without its padding's."""
    if not layer.windowed:
        every = np.ones(network.shapes[layer.name].pixels, np.bool_)
        return _pipelined(every, every, factor, stages)
    complete = _complete(padded_input(network, layer), layer)
    if layer.kind == "conv" and strategy not in PIPELINED:
        return _sequential(complete, factor + stages)
    return _pipelined(np.ones_like(complete), complete, factor, stages)


def padded_input(network: Network, layer: Layer) -> Shape:
    """The map that a layer's process reads: its input, padded."""
    return _padded(network.input_shape(layer), layer)


def _stages(network: Network, layer: Layer) -> int:
    terms = layer.taps * network.input_shape(layer).channels if layer.kind == "conv" else layer.taps
    return STAGES[layer.kind] + math.ceil(math.log2(terms))


def _padded(shape: Shape, layer: Layer) -> Shape:
    top, bottom, left, right = layer.padding
    return Shape(shape.rows + top + bottom, shape.cols + left + right, shape.channels)


def _complete(shape: Shape, layer: Layer) -> Flags:
    """Of every pixel of a padded map, row by row: whether a window ends with it."""
    rows = np.zeros(shape.rows, np.bool_)
    cols = np.zeros(shape.cols, np.bool_)
    rows[layer.kernel.rows - 1 :: layer.stride.rows] = True
    cols[layer.kernel.cols - 1 :: layer.stride.cols] = True
    return np.outer(rows, cols).ravel()


def _padding(shape: Shape, layer: Layer, stages: int) -> Schedule:
    top, _, left, _ = layer.padding
    reads = np.zeros(_padded(shape, layer)[:2], np.bool_)
    reads[top : top + shape.rows, left : left + shape.cols] = True
    return _pipelined(reads.ravel(), np.ones(reads.size, np.bool_), 1, stages)


def _pipelined(reads: Flags, writes: Flags, ii: int, stages: int) -> Schedule:
    """A loop that starts an iteration every `ii` cycles and writes `stages` behind its read."""
    begin = np.arange(reads.size, dtype=np.int64) * ii
    end = int(begin[-1]) + stages
    return _steps(begin[reads], begin[writes] + stages, end)


def _sequential(complete: Flags, work: int) -> Schedule:
    """A loop that ends an iteration before it starts the next; one that completes a window writes after `work`."""
    lengths = np.where(complete, work + 1, SHIFT_CYCLES)
    begin = np.cumsum(lengths) - lengths
    return _steps(begin, begin[complete] + work, int(lengths.sum()) - 1)


def _steps(reads: Cycles, writes: Cycles, end: int) -> Schedule:
    """The schedule of a frame of cycles 0 to `end`, from the cycles of its reads and writes."""
    cycles = np.unique(np.concatenate([[0, end], reads, writes]))
    return Schedule(np.diff(cycles, prepend=-1), np.isin(cycles, reads), np.isin(cycles, writes))
