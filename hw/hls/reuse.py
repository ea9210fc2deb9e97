"""How often a multiplier is used: hls4ml's strategy and reuse factor of a layer."""

import math
from collections.abc import Mapping

from hw.accelerator import Pipeline
from hw.errors import BadInput, DoesNotFit
from hw.hls.backends import ADDERS, AUTO, LATENCY, RESOURCE, Strategy
from hw.network import Layer, Network

UNROLL_LIMIT = 4096
"""Multipliers of one layer at most: what hls4ml sets as Vitis' `maximum_size` of a complete partition."""


def allowed(network: Network, layer: Layer, one_sum: bool = False) -> tuple[int, ...]:
    """The reuse factors of a conv that hls4ml's Resource strategy computes rightly, least first.

    They are the divisors of the terms of a sum, and the terms times the divisors of the outputs; hls4ml silently takes
    the nearest of them instead of another. With `one_sum` (`backends.one_sum`) a multiplier serves no second sum.
    """
    terms, outputs = _sizes(network, layer)
    if one_sum:
        return tuple(_divisors(terms))
    return tuple(sorted({*_divisors(terms), *(terms * d for d in _divisors(outputs))}))


def choose(
    network: Network, given: Mapping[str, int], strategy: Strategy = AUTO, *, one_sum: bool = False
) -> dict[str, int]:
    """A reuse factor for every layer: the one given, else the least that keeps a conv within `UNROLL_LIMIT`.

    `Latency` and `distributed_arithmetic` unroll a layer whole, so that their factor is 1.

    Raises:
        BadInput: a layer that is not there or not a conv, or a factor that hls4ml does not compute.
        DoesNotFit: a conv of more products than are unrolled.
    """
    for name, factor in given.items():
        _check(network, name, factor, one_sum)
    factors = {layer.name: given.get(layer.name, _default(network, layer, strategy)) for layer in network.layers}
    for layer in network.layers:
        if layer.kind == "conv":
            _check_unrolled(network, layer, factors[layer.name], strategy)
    return factors


def strategy(factor: int, asked: Strategy = AUTO, kind: str = "conv") -> str:
    """A layer's strategy: the one asked for; else `Latency`, which unrolls all, without reuse and `Resource` with it.

    What is no conv has no multipliers to share, and is Latency always.
    """
    if kind != "conv":
        return LATENCY
    return asked if asked != AUTO else LATENCY if factor == 1 else RESOURCE


def from_pipeline(network: Network, pipeline: Pipeline, *, one_sum: bool = False) -> dict[str, int]:
    """The reuse factor of every conv that comes nearest to a pipeline's folding, terms x outputs / (pe x simd).

    Nearest by ratio, of the factors that hls4ml computes; of two equally near the smaller, which is the faster one.

    Raises:
        BadInput: a conv that the pipeline has no engine for.
    """
    return {layer.name: _folded(network, layer, pipeline, one_sum) for layer in network.layers if layer.kind == "conv"}


def _folded(network: Network, layer: Layer, pipeline: Pipeline, one_sum: bool) -> int:
    engine = pipeline.engines.get(layer.name)
    if engine is None:
        raise BadInput(f"layer {layer.name}: machine {pipeline.name} has no engine for it; fold this network again")
    terms, outputs = _sizes(network, layer)
    wanted = terms * outputs / (engine.pe * engine.simd)
    return min(allowed(network, layer, one_sum), key=lambda factor: (abs(math.log(factor / wanted)), factor))


def _sizes(network: Network, layer: Layer) -> tuple[int, int]:
    return layer.taps * network.input_shape(layer).channels, layer.channels


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _default(network: Network, layer: Layer, strategy: Strategy) -> int:
    if layer.kind != "conv" or strategy in (LATENCY, ADDERS):
        return 1
    terms, outputs = _sizes(network, layer)
    fitting = (factor for factor in allowed(network, layer) if terms * outputs <= UNROLL_LIMIT * factor)
    return next(fitting)


def _check(network: Network, name: str, factor: int, one_sum: bool) -> None:
    layer = network.by_name.get(name)
    if layer is None or layer.kind != "conv":
        raise BadInput(f"layer {name}: a reuse factor was given, but there is no convolution of that name")
    factors = allowed(network, layer, one_sum)
    if factor not in factors:
        nearest = min(factors, key=lambda other: abs(other - factor))
        raise BadInput(f"layer {name}: reuse factor {factor} cannot be built; the nearest that can is {nearest}")


def _check_unrolled(network: Network, layer: Layer, factor: int, asked: Strategy) -> None:
    terms, outputs = _sizes(network, layer)
    if asked in (LATENCY, ADDERS) and factor > 1:
        raise BadInput(f"layer {layer.name}: reuse factor {factor} goes with strategy Resource, {asked} has none")
    if terms * outputs > UNROLL_LIMIT * factor:
        name = strategy(factor, asked)
        raise DoesNotFit(
            f"layer {layer.name}: {name} with reuse factor {factor} unrolls {terms * outputs // factor} "
            f"multiplications; {UNROLL_LIMIT} at most are unrolled; take Resource with a reuse factor of "
            f"{_default(network, layer, RESOURCE)} or more"
        )
