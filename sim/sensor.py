"""A pipeline behind a sensor that cannot be stalled: does it keep up, and what would it take?

A pixel that arrives in a cycle in which the pipeline has no room for it is lost: an overrun. Up to the first one the
pipeline does exactly what it does behind a source that waits, so that the same recurrence, oracle and RTL serve.
"""

from collections.abc import Iterator

import msgspec
import numpy as np

from hw.accelerator import Fifo, Pipeline, Source
from hw.errors import BadInput
from hw.network import INPUT, Network
from sim import pipeline as recurrence
from sim.packing import Cycles, sink_edge
from sim.pipeline import Handshakes

FRAMES = 3
CLOCK_PRECISION = 1e-3
LARGEST_CLOCK_RATIO = 4096
_UNBOUNDED = 1 << 40


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pipeline does behind a sensor.

    `first_overrun` is (frame, row, column) in the sensor's frame of the first pixel that is lost. `least_clock_mhz` is
    the slowest clock, to 0.1 %, at which this machine loses none; None if no clock up to 4096 times the sensor's does.
    `input_buffer_pixels` is the FIFO depth at the input with which the machine loses none at its own clock; None if the
    backlog grows from frame to frame, so that no depth is enough. `latency_lines` counts from the arrival of the first
    frame's last pixel to its answer.
    """

    keeps_up: bool
    first_overrun: tuple[int, int, int] | None
    least_clock_mhz: float | None
    input_buffer_pixels: int | None
    latency_cycles: int
    latency_lines: float
    frames: int

    def __str__(self) -> str:
        verdict = "keeps up"
        if self.first_overrun is not None:
            frame, row, col = self.first_overrun
            verdict = f"loses a pixel first in frame {frame}, row {row}, column {col}"
        clock = "no clock is enough" if self.least_clock_mhz is None else f"{self.least_clock_mhz:g} MHz are enough"
        buffer = "no input buffer is enough: the backlog grows from frame to frame"
        if self.input_buffer_pixels is not None:
            buffer = f"an input buffer of {self.input_buffer_pixels:,} pixels is enough"
        return (
            f"{verdict} over {self.frames} frames; with this buffer {clock}; at this clock {buffer}; the answer comes "
            f"{self.latency_lines:.2f} lines ({self.latency_cycles:,} cycles) after the last pixel"
        )


def watch(network: Network, pipeline: Pipeline, source: Source, frames: int = FRAMES) -> Watch:
    """Run `network`, as hardware runs it, for some frames of the sensor.

    Raises:
        BadInput: the machine does not belong to the network, takes pixels in parts, or is slower than the sensor.
        Deadlock: the pipeline stops for ever.
    """
    if pipeline.source_channels not in (0, network.shapes[INPUT].channels):
        raise BadInput(
            f"machine {pipeline.name}: source_channels {pipeline.source_channels} was found; a sensor delivers whole "
            f"pixels, so {network.shapes[INPUT].channels} is wanted"
        )
    if pipeline.clock_mhz < source.pixel_mhz:
        raise BadInput(
            f"machine {pipeline.name}: clock_mhz {pipeline.clock_mhz:g} was found; the sensor's {source.pixel_mhz:g} "
            f"is wanted at least, since a pixel a cycle is all that the input takes"
        )
    ratio = pipeline.clock_mhz / source.pixel_mhz
    deep = _with_input_depth(network, pipeline, _UNBOUNDED)
    arrivals = arrival_cycles(network, source, ratio, frames)
    lost = _first_lost(network, pipeline, arrivals, frames)
    buffered = recurrence.stamps(network, deep, frames, _handshakes(arrivals))
    finish = int(buffered.frees[sink_edge(network)].reshape(frames, -1)[0, -1])
    last_arrival = int(arrivals.reshape(frames, -1)[0, -1])
    cycles_per_line = (network.input.cols + source.h_blank) * ratio
    return Watch(
        keeps_up=lost is None,
        first_overrun=None if lost is None else _place(network, lost),
        least_clock_mhz=_least_clock(network, pipeline, source, frames),
        input_buffer_pixels=_input_buffer(network, deep, source, ratio, frames),
        latency_cycles=finish - last_arrival,
        latency_lines=(finish - last_arrival) / cycles_per_line,
        frames=frames,
    )


def arrival_cycles(network: Network, source: Source, ratio: float, frames: int) -> Cycles:
    """The cycle in which each pixel that the network reads arrives; `ratio` is machine clock over pixel clock."""
    rows, cols, _ = network.input
    line = cols + source.h_blank
    row = np.arange(0, rows, network.row_step)
    clocks = (np.arange(frames) * (rows + source.v_blank))[:, None, None] * line + row[:, None] * line + np.arange(cols)
    cycles: Cycles = np.floor(clocks.ravel() * ratio).astype(np.int64)
    return cycles


def _handshakes(arrivals: Cycles) -> Handshakes:
    valid = np.zeros(int(arrivals[-1]) + 1, np.int64)
    valid[arrivals] = 1
    return Handshakes(valid, np.zeros(0, np.int64))


def _first_lost(network: Network, pipeline: Pipeline, arrivals: Cycles, frames: int) -> int | None:
    """The first pixel, as the network reads them, that starts later than it arrives."""
    starts = recurrence.stamps(network, pipeline, frames, _handshakes(arrivals)).starts[INPUT]
    late = np.flatnonzero(starts != arrivals)
    return int(late[0]) if late.size else None


def _place(network: Network, pixel: int) -> tuple[int, int, int]:
    shape = network.shapes[INPUT]
    frame, rest = divmod(pixel, shape.pixels)
    row, col = divmod(rest, shape.cols)
    return frame, row * network.row_step, col


def _with_input_depth(network: Network, pipeline: Pipeline, depth: int) -> Pipeline:
    edges = {f"{INPUT} -> {target}" for target in network.consumers[INPUT]}
    fifos = {key: Fifo(depth, fifo.ram) if key in edges else fifo for key, fifo in pipeline.fifos.items()}
    return msgspec.structs.replace(pipeline, fifos=fifos)


def _input_buffer(network: Network, deep: Pipeline, source: Source, ratio: float, frames: int) -> int | None:
    """Peak backlog at the input; None if that of the last frame exceeds all before."""
    more = max(frames, FRAMES) + 1
    arrivals = arrival_cycles(network, source, ratio, more)
    stamps = recurrence.stamps(network, deep, more, _handshakes(arrivals))
    by_frame = [max(depths) for depths in zip(*_backlogs(network, stamps, more), strict=True)]
    return None if by_frame[-1] > max(by_frame[:-1]) else max(by_frame)


def _backlogs(network: Network, stamps: recurrence.Stamps, frames: int) -> Iterator[list[int]]:
    """Of each FIFO at the input: its greatest filling in each frame."""
    starts = stamps.starts[INPUT]
    for target in network.consumers[INPUT]:
        freed = np.searchsorted(stamps.frees[f"{INPUT} -> {target}"], starts, side="right")
        filling = np.arange(starts.size) - freed + 1
        yield filling.reshape(frames, -1).max(axis=1).tolist()


def _least_clock(network: Network, pipeline: Pipeline, source: Source, frames: int) -> float | None:
    """Bisection over the ratio of the clocks."""

    def keeps_up(ratio: float) -> bool:
        return _first_lost(network, pipeline, arrival_cycles(network, source, ratio, frames), frames) is None

    low, high = 1.0, 1.0
    while not keeps_up(high):
        low, high = high, 2 * high
        if high > LARGEST_CLOCK_RATIO:
            return None
    while high / low > 1 + CLOCK_PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if keeps_up(middle) else (middle, high)
    return round(high * source.pixel_mhz, 6)
