"""Closed forms for millions of foldings of one network: what a sweep can leave out before it simulates anything.

A point chooses an option for every layer. Its bounds are those of `sim.bounds.pipeline_bound` for FIFOs in
look-up-table RAM and whole-pixel ports: no run of such a machine, whatever its FIFO depths, is below them.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.accelerator import Engine
from hw.errors import BadInput
from hw.network import INPUT, Network
from sim import folding, kernels_screening
from sim.packing import DEPTH_CYCLES, copy_cycles, issue_cycles, windows_of

Choices = NDArray[np.uint8]
CHUNK = 1 << 14
"""Points that a thread takes at a time."""


@dataclass(frozen=True, eq=False)
class Space:
    """The foldings of a network: `options[i]` of layer i, by rising cost; a point is an index into each."""

    network: Network
    options: tuple[tuple[Engine, ...], ...]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Of every point: cycles that no run goes below, and its multipliers."""

    latency_cycles: NDArray[np.int64]
    interval_cycles: NDArray[np.int64]
    multipliers: NDArray[np.int64]


def space(network: Network) -> Space:
    """Every folding of every layer that no other one beats in cost and cycles; `network` as hardware runs it."""
    options = tuple(tuple(option.engine for option in folding.options(network, layer)) for layer in network.layers)
    return Space(network, options)


def engines(given: Space, point: NDArray[np.uint8]) -> dict[str, Engine]:
    """The foldings of a point, by layer."""
    chosen = zip(given.network.by_name, given.options, point.tolist(), strict=True)
    return {name: options[index] for name, options, index in chosen}


def screen(given: Space, points: Choices, threads: int = 2) -> Bounds:
    """Bounds of all points, (points, layers).

    Raises:
        BadInput: an index beyond a layer's options; the layer is told.
    """
    network, counts = given.network, [len(options) for options in given.options]
    if points.ndim != 2 or points.shape[1] != len(counts):
        raise BadInput(f"points: shape {points.shape} was found, (points, {len(counts)}) is wanted")
    layers, sources, options = _tables(given)
    latency, interval, multipliers = (np.empty(len(points), np.int64) for _ in range(3))
    pixels = network.shapes[INPUT].pixels

    def run(begin: int) -> None:
        chunk = slice(begin, begin + CHUNK)
        found = latency[chunk], interval[chunk], multipliers[chunk]
        beyond = kernels_screening.screen(layers, sources, options, points[chunk], pixels, *found)
        if beyond >= 0:
            name, foldings = network.layers[beyond].name, counts[beyond]
            raise BadInput(f"layer {name}: it has {foldings} foldings; a point asks for one beyond them")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(0, len(points), CHUNK)))
    return Bounds(latency, interval, multipliers)


def _tables(given: Space) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    network = given.network
    index = {name: n for n, name in enumerate((INPUT, *network.by_name))}
    layers: list[tuple[int, ...]] = []
    sources: list[int] = []
    options: list[tuple[int, ...]] = []
    for layer, engines_of_layer in zip(network.layers, given.options, strict=True):
        shape = network.input_shape(layer)
        first = most = 0
        if layer.windowed:
            window = windows_of(network, layer)
            first, most = window.first_need, window.greatest_need
        layers.append(
            (
                len(sources),
                len(layer.inputs),
                network.shapes[layer.name].pixels,
                shape.pixels,
                DEPTH_CYCLES[layer.kind],
                layer.windowed,
                first,
                most,
                most == shape.pixels - 1,
                len(options),
                len(engines_of_layer),
            )
        )
        sources += [index[name] for name in layer.inputs]
        for engine in engines_of_layer:
            macs = engine.pe * engine.simd * layer.weighted
            options.append((issue_cycles(network, layer, engine), copy_cycles(network, layer, engine), macs))
    return np.array(layers, np.int64), np.array(sources, np.int64), np.array(options, np.int64)
