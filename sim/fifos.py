"""FIFO depths: the least that keep a pipeline's steady interval, and the least with which it does not stop.

Every trial is an exact simulation. A deeper FIFO never delays anything, but an interval is the difference of two
finishes and need not fall with every depth; so passes over all edges are repeated until none can be lowered by one.
"""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from hw.accelerator import Fifo, Pipeline
from hw.errors import Deadlock
from hw.network import Network
from sim import kernels_pipeline as kernel
from sim.deadlock import finishes
from sim.memory import bytes_of
from sim.packing import Cycles, Packed, pack
from sim.pipeline import STEADY_FRAMES
from sim.result import Precision

Enough = Callable[[Cycles], bool]
"""Takes the finishes of all frames, -1 where it stopped."""


class Sizing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Depths in pixels by edge "source -> target", and what they cost.

    `before` are the depths that were given, `sized` the least that keep the interval of unbounded FIFOs edge by edge,
    `least` those with which the pipeline just does not stop. `least_interval_cycles` is what that costs.
    """

    interval_cycles: int
    least_interval_cycles: int
    before: dict[str, int]
    sized: dict[str, int]
    least: dict[str, int]
    before_bytes: int
    sized_bytes: int
    least_bytes: int


def size(
    network: Network, pipeline: Pipeline, precision: Precision = Precision(), frames: int = STEADY_FRAMES
) -> Sizing:
    """Size the FIFOs of `pipeline` for `network`, as hardware runs it; RAM kinds stay as they are.

    Raises:
        BadInput: the machine does not belong to the network.
        Deadlock: it stops for ever even with unbounded FIFOs, which no machine of a checked network does.
    """
    packed = pack(network, pipeline, frames)
    names = [str(edge) for edge in packed.edges]
    whole = packed.tables.edges[:, kernel.E_PIXELS, None] * frames
    unbounded = finishes(packed, frames, whole)
    if unbounded[-1] < 0:
        raise Deadlock(f"network {network.name}: machine {pipeline.name} stops for ever whatever its FIFOs hold")
    interval = _interval(unbounded)
    start = packed.timing.depth
    if _interval(finishes(packed, frames, start)) != interval:
        start = whole
    sized = lowered(packed, frames, start, lambda ends: bool(ends[-1] >= 0) and _interval(ends) <= interval)
    least = lowered(packed, frames, sized, lambda ends: bool(ends[-1] >= 0))
    before, after, bare = (_depths(names, table) for table in (packed.timing.depth, sized, least))
    return Sizing(
        interval_cycles=interval,
        least_interval_cycles=_interval(finishes(packed, frames, least)),
        before=before,
        sized=after,
        least=bare,
        before_bytes=fifo_bytes(network, before, precision),
        sized_bytes=fifo_bytes(network, after, precision),
        least_bytes=fifo_bytes(network, bare, precision),
    )


def lowered(packed: Packed, frames: int, depths: Cycles, enough: Enough) -> Cycles:
    """Depths, (edges, 1), of which no single one can be lowered by one and still be enough.

    Deepest first, since the most is to be had there.
    """
    depths = depths.copy()

    def is_enough(edge: int, depth: int) -> bool:
        before = depths[edge, 0]
        depths[edge] = depth
        found = enough(finishes(packed, frames, depths))
        depths[edge] = before
        return found

    changed = True
    while changed:
        changed = False
        for edge in sorted(range(len(depths)), key=lambda e: -depths[e, 0]):
            depth = int(depths[edge, 0])
            if depth > 1 and is_enough(edge, depth - 1):
                depths[edge] = _least(depth - 1, partial(is_enough, edge))
                changed = True
    return depths


def _least(enough: int, test: Callable[[int], bool]) -> int:
    """By bisection: a depth that is enough while one less is not, at most `enough`."""
    low = 0
    while enough - low > 1:
        middle = (low + enough) // 2
        low, enough = (low, middle) if test(middle) else (middle, enough)
    return enough


def with_depths(pipeline: Pipeline, depths: Mapping[str, int]) -> Pipeline:
    """The same machine with other FIFO depths."""
    fifos = {edge: Fifo(depths[edge], fifo.ram) for edge, fifo in pipeline.fifos.items()}
    return msgspec.structs.replace(pipeline, fifos=fifos)


def fifo_bytes(network: Network, depths: Mapping[str, int], precision: Precision) -> int:
    """Bytes of FIFOs of these depths."""
    sources = {edge: edge.partition(" -> ")[0] for edge in depths}
    return sum(
        bytes_of(depth * network.shapes[sources[edge]].channels, precision.bits_of(sources[edge]))
        for edge, depth in depths.items()
    )


def _interval(ends: Cycles) -> int:
    return int(ends[-1] - ends[-2])


def _depths(names: list[str], depths: Cycles) -> dict[str, int]:
    return dict(zip(names, depths[:, 0].tolist(), strict=True))
