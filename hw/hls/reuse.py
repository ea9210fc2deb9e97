"""How often a multiplier is used: hls4ml's strategy and reuse factor of a layer."""

from collections.abc import Mapping

from hw.errors import BadInput
from hw.network import Layer, Network

UNROLL_LIMIT = 4096
"""Multipliers of one layer at most: what hls4ml sets as Vitis' `maximum_size` of a complete partition."""


def allowed(network: Network, layer: Layer) -> tuple[int, ...]:
    """The reuse factors of a conv that hls4ml's Resource strategy computes rightly, least first.

    They are the divisors of the terms of a sum, and the terms times the divisors of the outputs; hls4ml silently takes
    the nearest of them instead of another, and some others do not compile.
    """
    terms, outputs = _sizes(network, layer)
    return tuple(sorted({*_divisors(terms), *(terms * d for d in _divisors(outputs))}))


def choose(network: Network, given: Mapping[str, int]) -> dict[str, int]:
    """A reuse factor for every layer: the one given, else the least that keeps a conv within `UNROLL_LIMIT`.

    Raises:
        BadInput: a layer that is not there or not a conv, or a factor that hls4ml does not compute.
    """
    for name, factor in given.items():
        _check(network, name, factor)
    return {layer.name: given.get(layer.name, _least(network, layer)) for layer in network.layers}


def strategy(factor: int) -> str:
    """`Latency` unrolls all; with reuse only `Resource` is sparing."""
    return "Latency" if factor == 1 else "Resource"


def _sizes(network: Network, layer: Layer) -> tuple[int, int]:
    return layer.taps * network.input_shape(layer).channels, layer.channels


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _least(network: Network, layer: Layer) -> int:
    if layer.kind != "conv":
        return 1
    terms, outputs = _sizes(network, layer)
    fitting = (factor for factor in allowed(network, layer) if terms * outputs <= UNROLL_LIMIT * factor)
    return next(fitting)


def _check(network: Network, name: str, factor: int) -> None:
    layer = network.by_name.get(name)
    if layer is None or layer.kind != "conv":
        raise BadInput(f"layer {name}: a reuse factor was given, but there is no convolution of that name")
    factors = allowed(network, layer)
    if factor not in factors:
        nearest = min(factors, key=lambda other: abs(other - factor))
        raise BadInput(f"layer {name}: reuse factor {factor} cannot be built; the nearest that can is {nearest}")
