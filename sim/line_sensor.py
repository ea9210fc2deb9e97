"""A line engine behind a sensor that cannot be stalled (docs/line_engine.md, "Behind a sensor").

Where a machine is asked at several clocks, its DRAM is taken to keep its bytes and its latency in cycles.
"""

from fractions import Fraction

import numpy as np

from hw.accelerator import LineEngine, Source
from hw.errors import BadInput
from hw.network import INPUT, Network
from sim import engine as simulator
from sim import kernels_engine as kernel
from sim.engine import Counts, Run
from sim.result import Precision
from sim.sensor import Watch, frame_clocks, least_clock

FRAMES = 3


def watch(network: Network, engine: LineEngine, source: Source, precision: Precision = Precision()) -> Watch:
    """Run `network`, as hardware runs it, line by line behind a sensor.

    Raises:
        BadInput: the schedule is another one, or the machine is slower than the sensor.
        DoesNotFit: line memory or weight memory is too small.
    """
    if engine.schedule != "line_by_line":
        raise BadInput(
            f"machine {engine.name}: schedule {engine.schedule} was found; behind a sensor rows come one by one, "
            "so line_by_line is wanted"
        )
    if engine.clock_mhz < source.pixel_mhz:
        raise BadInput(
            f"machine {engine.name}: clock_mhz {engine.clock_mhz:g} was found; the sensor's {source.pixel_mhz:g} is "
            "wanted at least, since a pixel a cycle is all that the input takes"
        )

    def keeps_up(ratio: Fraction) -> bool:
        arrivals = _arrivals(network, source, ratio)
        return _first_overrun(network, simulator.run(network, engine, precision, FRAMES, arrivals), arrivals) is None

    ratio = Fraction(str(engine.clock_mhz)) / Fraction(str(source.pixel_mhz))
    clocks = frame_clocks(network, source)
    interval = _interval(network, engine, precision)
    sustained = interval <= clocks * ratio
    arrivals = _arrivals(network, source, ratio)
    made = simulator.run(network, engine, precision, FRAMES, arrivals)
    lost = _first_overrun(network, made, arrivals)
    line = (network.input.cols + source.h_blank) * ratio
    last_arrival = int(((network.input.rows - 1) * line) + network.input.cols * ratio)
    latency = int(made.times.finishes[0]) - last_arrival
    return Watch(
        keeps_up=sustained and lost is None,
        first_overrun=lost,
        least_clock_mhz=least_clock(keeps_up, Fraction(interval, clocks), source.pixel_mhz),
        input_buffer_pixels=_waiting_rows(made, arrivals) * network.input.cols if sustained else None,
        latency_cycles=latency,
        latency_lines=float(latency / line),
        frame_cycles=int(clocks * ratio),
        interval_cycles=interval,
    )


def _interval(network: Network, engine: LineEngine, precision: Precision) -> int:
    """Cycles of a frame in the long run, behind a sensor that has all rows."""
    there = np.zeros((2 * FRAMES * network.shapes[INPUT].rows, 2), np.int64)
    finishes = simulator.run(network, engine, precision, 2 * FRAMES, there).times.finishes
    return int(finishes[-2] - finishes[-3])


def _arrivals(network: Network, source: Source, ratio: Fraction) -> Counts:
    """When each row that is read begins to arrive, and the cycle after its last pixel."""
    line = network.input.cols + source.h_blank
    rows = np.arange(0, network.input.rows, network.row_step)
    frames = np.arange(FRAMES)[:, None] * frame_clocks(network, source)
    begin = (frames + rows * line).ravel()
    both = np.stack([begin, begin + network.input.cols], axis=1)
    if int(both[-1, 1]) * ratio.numerator >= 1 << 62:
        raise BadInput(f"source: {FRAMES} frames of it last longer than can be counted; shorter blanks are wanted")
    cycles: Counts = -(-both * ratio.numerator // ratio.denominator)
    return cycles


def _places(made: Run, arrivals: Counts) -> Counts:
    """Of the sensor's rows that are kept: number, when they begin to arrive, when their places are free."""
    loads = made.program.loads
    mine = (loads[:, kernel.L_KIND] == kernel.LINES_IN) & (loads[:, kernel.L_EDGE] < 0)
    rows = len(arrivals) // FRAMES
    frames = made.program.steps[loads[mine, kernel.L_STEP], kernel.S_TURN] // made.turns
    numbers = frames * rows + loads[mine, kernel.L_ROW]
    places: Counts = np.stack([numbers, arrivals[numbers, 0], made.times.loads[mine, 0]], axis=1)
    return places


def _first_overrun(network: Network, made: Run, arrivals: Counts) -> tuple[int, int, int] | None:
    number, begin, free = _places(made, arrivals).T
    late = np.flatnonzero(free > begin)
    if not late.size:
        return None
    frame, row = divmod(int(number[late[0]]), len(arrivals) // FRAMES)
    return frame, row * network.row_step, 0


def _waiting_rows(made: Run, arrivals: Counts) -> int:
    """The most rows that have begun to arrive while their places are not free."""
    _, begin, free = _places(made, arrivals).T
    begin, free = begin[free > begin], free[free > begin]
    return max((int(((begin <= time) & (free > time)).sum()) for time in begin), default=0)
