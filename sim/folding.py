"""Network + budget -> `Pipeline`: the folding with the least interval that the budget allows, and FIFO depths.

The interval of a pipeline is that of its slowest engine, and engines share nothing but the budget; the engines of the
least interval are therefore chosen exactly (`sim.choice`).

FIFOs are sized behind the folding. Deep ones go to block RAM; where that is limited, only to what the engines leave,
and the rest to look-up-table RAM, which no budget limits. So engines alone decide what fits, and the least interval is
that of all foldings, not only of those whose FIFOs happen to fit too.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from hw import resources
from hw.accelerator import Budget, Engine, Fifo, LineEngine, Pipeline, Ram
from hw.network import INPUT, OUTPUT, Edge, Layer, Network
from sim import pipeline as simulator
from sim.choice import Option, fastest
from sim.packing import copy_cycles, issue_cycles, sink_edge
from sim.pipeline import ALWAYS, Handshakes
from sim.result import Precision

LUT_RAM_PIXELS = 64
"""FIFOs of more pixels go to block RAM: the depth of one 64-bit LUT RAM primitive of a 7-series slice."""
Built = TypeVar("Built", bound=Pipeline | LineEngine)
_UNBOUNDED = 1 << 40


def pipeline(network: Network, budget: Budget, precision: Precision = Precision()) -> Pipeline:
    """The pipeline with the least interval within the budget; `network` in the form that hardware runs.

    Block RAMs are counted as `hw.resources` counts them, with the precision's bits.

    Raises:
        DoesNotFit: fewer multipliers, DSPs or block RAMs than the network wants at least.
    """
    choices = {layer.name: choices_of(network, layer, budget, precision) for layer in network.layers}
    chosen = fastest(choices, budget)
    engines = {name: option.engine for name, option in chosen.items()}
    if budget.bram18 is None:
        return with_fifos(network, budget, engines)
    left = budget.bram18 - sum(option.bram18 for option in chosen.values())
    return with_fifos(network, budget, engines, left, precision)


def settled(network: Network, machine: Built | Budget, precision: Precision = Precision()) -> Built | Pipeline:
    """A machine as it is, or the pipeline that a budget becomes; `network` in the form that hardware runs.

    Raises:
        DoesNotFit: as `pipeline`.
    """
    return pipeline(network, machine, precision) if isinstance(machine, Budget) else machine


def with_fifos(
    network: Network,
    budget: Budget,
    engines: dict[str, Engine],
    most_bram18: int | None = None,
    precision: Precision = Precision(),
) -> Pipeline:
    """FIFOs as deep as they are ever full, in at most so many block RAMs; None is no limit."""
    unbounded = _machine(network, budget, engines, {edge: Fifo(_UNBOUNDED) for edge in _all_edges(network)})
    in_luts = _depths(network, unbounded)
    rams = {edge: _ram(depth) for edge, depth in in_luts.items()}
    while True:
        decided = _machine(network, budget, engines, {edge: Fifo(_UNBOUNDED, ram) for edge, ram in rams.items()})
        depths = _depths(network, decided) if "block" in rams.values() else in_luts
        fifos = {edge: Fifo(depth, rams[edge]) for edge, depth in depths.items()}
        moved = [] if most_bram18 is None else _in_lut_ram_instead(network, fifos, most_bram18, precision)
        if not moved:
            return _machine(network, budget, engines, fifos)
        # A FIFO that answers a cycle sooner changes the depths of others, so that all are sized again.
        rams |= dict.fromkeys(moved, "lut")


def _in_lut_ram_instead(
    network: Network, fifos: Mapping[str, Fifo], most_bram18: int, precision: Precision
) -> list[str]:
    """FIFOs that block RAM has no room for: those that save the fewest LUTs a block RAM."""
    taken: dict[str, int] = {}
    saved: dict[str, int] = {}
    for edge, fifo in fifos.items():
        if fifo.ram == "block":
            bits = precision.bits_of(edge.partition(" -> ")[0])
            taken[edge] = resources.fifo_memory(network, edge, fifo, bits).bram18
            saved[edge] = resources.fifo_memory(network, edge, Fifo(fifo.depth), bits).lut
    excess = sum(taken.values()) - most_bram18
    moved = []
    for edge in sorted(taken, key=lambda edge: saved[edge] / taken[edge]):
        if excess > 0:
            moved.append(edge)
            excess -= taken[edge]
    return moved


def _foldings(network: Network, layer: Layer) -> list[Option]:
    """Every folding that divides a layer."""
    simds = _simds(network.input_shape(layer).channels if layer.kind == "conv" else 1, layer.taps)
    simds = simds if layer.convolves else [1]
    engines = [Engine(pe, simd) for pe in _divisors(_shared_channels(network, layer)) for simd in simds]
    return [Option(resources.dsps(layer, e), _frame_cycles(network, layer, e), e) for e in engines]


def choices_of(network: Network, layer: Layer, budget: Budget, precision: Precision) -> list[Option]:
    """The foldings that a budget chooses from, the preferred one of equal cost first."""
    if budget.bram18 is None:
        return options(network, layer)
    found = []
    bits = precision.bits_of(layer.inputs[0]), precision.weight_bits, precision.bits_of(layer.name)
    for option in _foldings(network, layer):
        memories = resources.engine_memories(network, layer, option.engine, *bits)
        found.append(option._replace(bram18=sum(memory.bram18 for memory in memories)))
    return sorted(found, key=lambda o: (o.macs, o.cycles if layer.weighted else -o.cycles, o.engine.pe))


def options(network: Network, layer: Layer) -> list[Option]:
    """Foldings of a layer, each cheaper than all that are as fast: by rising cost and falling cycles."""
    found = _foldings(network, layer)
    if not layer.weighted:
        return sorted(found, key=lambda o: -o.cycles)
    found.sort(key=lambda o: (o.macs, o.cycles, o.engine.pe))
    frontier: list[Option] = []
    for option in found:
        if not frontier or option.cycles < frontier[-1].cycles:
            frontier.append(option)
    return frontier


def _frame_cycles(network: Network, layer: Layer, engine: Engine) -> int:
    """Cycles in which an engine that never waits reads a frame and issues its results."""
    issue = network.shapes[layer.name].pixels * issue_cycles(network, layer, engine)
    return max(issue, network.input_shape(layer).pixels * copy_cycles(network, layer, engine))


def _shared_channels(network: Network, layer: Layer) -> int:
    """What PEs must divide: a layer's outputs; of a concat every input."""
    if layer.kind == "concat":
        return math.gcd(*(network.shapes[source].channels for source in layer.inputs))
    return network.shapes[layer.name].channels


def _simds(channels: int, taps: int) -> list[int]:
    return _divisors(channels) + [channels * k for k in _divisors(taps) if k > 1]


def _divisors(number: int) -> list[int]:
    return [k for k in range(1, number + 1) if number % k == 0]


def _all_edges(network: Network) -> list[str]:
    return [*map(str, network.edges), sink_edge(network)]


def _ram(depth: int) -> Ram:
    return "block" if depth > LUT_RAM_PIXELS else "lut"


def _machine(network: Network, budget: Budget, engines: dict[str, Engine], fifos: dict[str, Fifo]) -> Pipeline:
    return Pipeline(budget.name, budget.clock_mhz, engines, fifos)


def paced(network: Network, engines: Mapping[str, Engine], frames: int) -> Handshakes:
    """A source that delivers pixels evenly, a frame in the cycles that the slowest engine needs for one."""
    slowest = max(_frame_cycles(network, layer, engines[layer.name]) for layer in network.layers)
    pixels = network.shapes[INPUT].pixels
    releases = np.arange(frames * pixels) * max(slowest, pixels) // pixels
    return replace(ALWAYS, releases=releases)


def _depths(network: Network, unbounded: Pipeline) -> dict[str, int]:
    """Peak occupancy of every FIFO in a run of three frames with room for all.

    The source is held back to the pipeline's own rate there (`paced`): unbounded FIFOs would swallow whole frames
    otherwise. With these depths and the same RAMs and source every stamp stays what it was.
    """
    frames = simulator.STEADY_FRAMES
    stamps = simulator.stamps(network, unbounded, frames, paced(network, unbounded.engines, frames))
    depths = {}
    for edge in (*network.edges, Edge(network.output.name, OUTPUT)):
        starts, frees = stamps.starts[edge.source], stamps.frees[str(edge)]
        freed = np.searchsorted(frees, starts, side="right")
        depths[str(edge)] = int((np.arange(starts.size) - freed).max()) + 1
    return depths
