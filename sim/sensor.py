"""A pipeline behind a sensor that cannot be stalled: does it keep up, and what would it take?

A pixel that arrives in a cycle in which the pipeline has no room for it is lost: an overrun. Up to the first one the
pipeline does exactly what it does behind a source that waits, so that the same recurrence, oracle and RTL serve.
"""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import msgspec
import numpy as np

from hw.accelerator import Fifo, Pipeline, Source
from hw.errors import BadInput
from hw.network import INPUT, Network
from sim import pipeline as recurrence
from sim.packing import Cycles, sink_edge
from sim.pipeline import ALWAYS

FRAMES = 3
MOST_FRAMES = 64
CLOCK_PRECISION = 1e-3
LARGEST_CLOCK_RATIO = 4096
_UNBOUNDED = 1 << 40


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a pipeline does behind a sensor.

    `first_overrun` is (frame, row, column) in the sensor's frame of the first pixel that is lost; None also where the
    machine is too slow in the long run, but its FIFOs hide that for 64 frames. `least_clock_mhz` is the slowest clock,
    to 0.1 %, at which this machine loses none for ever; None if no clock up to 4096 times the sensor's does.
    `input_buffer_pixels` is the FIFO depth at the input with which the machine loses none at its own clock; None if it
    takes longer for a frame than the sensor, so that no depth is enough. `latency_lines` counts from the arrival of the
    first frame's last pixel, read or not, to its answer.
    """

    keeps_up: bool
    first_overrun: tuple[int, int, int] | None
    least_clock_mhz: float | None
    input_buffer_pixels: int | None
    latency_cycles: int
    latency_lines: float
    frame_cycles: int
    interval_cycles: int

    def __str__(self) -> str:
        verdict = "keeps up" if self.keeps_up else "is too slow in the long run"
        if self.first_overrun is not None:
            frame, row, col = self.first_overrun
            verdict = f"loses a pixel first in frame {frame}, row {row}, column {col}"
        clock = "no clock is enough" if self.least_clock_mhz is None else f"{self.least_clock_mhz:g} MHz are enough"
        buffer = "no input buffer is enough"
        if self.input_buffer_pixels is not None:
            buffer = f"an input buffer of {self.input_buffer_pixels:,} pixels is enough"
        when = "after" if self.latency_cycles >= 0 else "before"
        return (
            f"{verdict}: a frame takes the sensor {self.frame_cycles:,} cycles, the machine {self.interval_cycles:,}; "
            f"with this buffer {clock}; at this clock {buffer}; the answer comes {abs(self.latency_lines):.2f} "
            f"lines ({abs(self.latency_cycles):,} cycles) {when} the last pixel"
        )


def watch(network: Network, pipeline: Pipeline, source: Source) -> Watch:
    """Run `network`, as hardware runs it, behind a sensor.

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
    ratio = Fraction(str(pipeline.clock_mhz)) / Fraction(str(source.pixel_mhz))

    def keeps_up(ratio: Fraction) -> bool:
        return _first_overrun(network, pipeline, source, ratio, FRAMES) is None

    interval = _interval(network, pipeline)
    clocks = frame_clocks(network, source)
    sustained = interval <= clocks * ratio
    lost = _first_overrun(network, pipeline, source, ratio, FRAMES if sustained else MOST_FRAMES)
    deep = _with_input_depth(network, pipeline, _UNBOUNDED)
    releases = arrival_cycles(network, source, ratio, 1)
    finish = int(_run(network, deep, releases, 1).frees[sink_edge(network)][-1])
    line = network.input.cols + source.h_blank
    last_arrival = int(((network.input.rows - 1) * line + network.input.cols - 1) * ratio)
    return Watch(
        keeps_up=sustained and lost is None,
        first_overrun=lost,
        least_clock_mhz=least_clock(keeps_up, Fraction(interval, clocks), source.pixel_mhz),
        input_buffer_pixels=_input_buffer(network, deep, source, ratio) if sustained else None,
        latency_cycles=finish - last_arrival,
        latency_lines=float((finish - last_arrival) / (line * ratio)),
        frame_cycles=int(clocks * ratio),
        interval_cycles=interval,
    )


def frame_clocks(network: Network, source: Source) -> int:
    """Pixel clocks from one frame to the next."""
    return (network.input.rows + source.v_blank) * (network.input.cols + source.h_blank)


def arrival_cycles(network: Network, source: Source, ratio: Fraction, frames: int) -> Cycles:
    """The cycle in which each pixel that the network reads arrives; `ratio` is machine clock over pixel clock."""
    line = network.input.cols + source.h_blank
    rows = np.arange(0, network.input.rows, network.row_step)
    last = (frames - 1) * frame_clocks(network, source) + (network.input.rows - 1) * line + network.input.cols - 1
    if last * max(1, ratio.numerator) >= 1 << 62:
        raise BadInput(f"source: {frames} frames of it last longer than can be counted; shorter blanks are wanted")
    starts = np.arange(frames)[:, None, None] * frame_clocks(network, source)
    clocks = (starts + rows[:, None] * line + np.arange(network.input.cols)).ravel()
    cycles: Cycles = clocks * ratio.numerator // ratio.denominator
    return cycles


def _run(network: Network, pipeline: Pipeline, releases: Cycles, frames: int) -> recurrence.Stamps:
    return recurrence.stamps(network, pipeline, frames, replace(ALWAYS, releases=releases))


def _interval(network: Network, pipeline: Pipeline) -> int:
    """Cycles of a frame in the long run, behind a source that always has a pixel; the greatest of the last frames'."""
    frames = 2 * FRAMES
    ends = recurrence.stamps(network, pipeline, frames).frees[sink_edge(network)].reshape(frames, -1)[:, -1]
    return -(-int(ends[-1] - ends[-3]) // 2)


def _first_overrun(
    network: Network, pipeline: Pipeline, source: Source, ratio: Fraction, most: int
) -> tuple[int, int, int] | None:
    """Where a pixel is first not taken as it arrives; looked for over more and more frames, up to `most`."""
    frames = FRAMES
    while frames <= most:
        arrivals = arrival_cycles(network, source, ratio, frames)
        late = np.flatnonzero(_run(network, pipeline, arrivals, frames).starts[INPUT] != arrivals)
        if late.size:
            frame, rest = divmod(int(late[0]), network.shapes[INPUT].pixels)
            row, col = divmod(rest, network.shapes[INPUT].cols)
            return frame, row * network.row_step, col
        frames *= 2
    return None


def _with_input_depth(network: Network, pipeline: Pipeline, depth: int) -> Pipeline:
    edges = {f"{INPUT} -> {target}" for target in network.consumers[INPUT]}
    fifos = {key: Fifo(depth, fifo.ram) if key in edges else fifo for key, fifo in pipeline.fifos.items()}
    return msgspec.structs.replace(pipeline, fifos=fifos)


def _input_buffer(network: Network, deep: Pipeline, source: Source, ratio: Fraction) -> int:
    """Peak filling of the FIFOs at the input, over a few frames of a machine that is fast enough in the long run."""
    frames = 2 * FRAMES
    stamps = _run(network, deep, arrival_cycles(network, source, ratio, frames), frames)
    starts = stamps.starts[INPUT]
    peaks = []
    for target in network.consumers[INPUT]:
        freed = np.searchsorted(stamps.frees[f"{INPUT} -> {target}"], starts, side="right")
        peaks.append(int((np.arange(starts.size) - freed).max()) + 1)
    return max(peaks)


def least_clock(keeps_up: Callable[[Fraction], bool], sustained: Fraction, pixel_mhz: float) -> float | None:
    """Bisection over the ratio of machine clock and pixel clock, from the least that the long run allows."""
    low = high = max(Fraction(1), sustained)
    while not keeps_up(high):
        low, high = high, 2 * high
        if high > LARGEST_CLOCK_RATIO:
            return None
    while high > low * Fraction(1 + CLOCK_PRECISION):
        middle = ((low + high) / 2).limit_denominator(10**6)
        low, high = (low, middle) if keeps_up(middle) else (middle, high)
    return round(float(high) * pixel_mhz, 6)
