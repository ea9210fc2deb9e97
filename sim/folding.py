"""Network + budget -> `Pipeline`: the folding with the least interval that the budget allows, and FIFO depths.

The interval of a pipeline is that of its slowest engine, and engines share nothing but the budget, so the least
interval is the least T for which the cheapest foldings of all layers within T cycles fit together: exact, by bisection.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hw.accelerator import Budget, Engine, Fifo, Pipeline, Ram
from hw.errors import DoesNotFit
from hw.network import INPUT, OUTPUT, Edge, Layer, Network
from sim import pipeline as simulator
from sim.packing import copy_cycles, issue_cycles, sink_edge
from sim.pipeline import ALWAYS, Handshakes

LUT_RAM_PIXELS = 64
"""FIFOs of more pixels go to block RAM: the depth of one 64-bit LUT RAM primitive of a 7-series slice."""
_UNBOUNDED = 1 << 40


class Option(NamedTuple):
    """One folding of a layer."""

    macs: int
    cycles: int
    engine: Engine


def pipeline(network: Network, budget: Budget) -> Pipeline:
    """The pipeline with the least interval within the budget; `network` in the form that hardware runs.

    Raises:
        DoesNotFit: fewer multipliers than layers that need one.
    """
    choices = {layer.name: options(network, layer) for layer in network.layers}
    engines = _fastest(choices, budget)
    unbounded = _machine(network, budget, engines, {edge: Fifo(_UNBOUNDED) for edge in _all_edges(network)})
    rams = {edge: _ram(depth) for edge, depth in _depths(network, unbounded).items()}
    settled = _machine(network, budget, engines, {edge: Fifo(_UNBOUNDED, ram) for edge, ram in rams.items()})
    depths = _depths(network, settled)
    return _machine(network, budget, engines, {edge: Fifo(depths[edge], ram) for edge, ram in rams.items()})


def options(network: Network, layer: Layer) -> list[Option]:
    """Foldings of a layer, each cheaper than all that are as fast: by rising cost and falling cycles."""
    inputs = network.input_shape(layer)
    found = []
    for pe in _divisors(_shared_channels(network, layer)):
        for simd in _simds(inputs.channels, layer.taps) if layer.kind == "conv" else [1]:
            engine = Engine(pe, simd)
            macs = {"conv": pe * simd, "affine": pe}.get(layer.kind, 0)
            found.append(Option(macs, _frame_cycles(network, layer, engine), engine))
    found.sort(key=lambda o: (o.macs, o.cycles, o.engine.pe))
    if layer.kind not in ("conv", "affine"):
        return sorted(found, key=lambda o: -o.cycles)
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


def _fastest(options: dict[str, list[Option]], budget: Budget) -> dict[str, Engine]:
    least = sum(choices[0].macs for choices in options.values())
    if least > budget.macs:
        raise DoesNotFit(
            f"machine {budget.name}: {budget.macs} multipliers were found, at least {least} are wanted, "
            f"one for every conv and affine of the network"
        )
    intervals = np.unique([option.cycles for choices in options.values() for option in choices])
    low, high = 0, intervals.size - 1
    while low < high:
        middle = (low + high) // 2
        chosen = _choose(options, int(intervals[middle]))
        if chosen is not None and sum(option.macs for option in chosen.values()) <= budget.macs:
            high = middle
        else:
            low = middle + 1
    final = _choose(options, int(intervals[low]))
    assert final is not None
    return {name: option.engine for name, option in final.items()}


def _choose(options: dict[str, list[Option]], interval: int) -> dict[str, Option] | None:
    """The cheapest folding of each layer that keeps the interval; None where a layer has none."""
    chosen = {}
    for name, choices in options.items():
        fitting = [option for option in choices if option.cycles <= interval]
        if not fitting:
            return None
        chosen[name] = fitting[0]
    return chosen


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
