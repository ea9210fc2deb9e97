"""`sim.folding` against every folding there is, and its FIFOs against FIFOs with room for all."""

import re
from itertools import product
from math import prod
from random import Random

import msgspec
import pytest
from random_networks import random_network

from hw import presets
from hw.accelerator import Budget, Engine, Fifo, Pipeline
from hw.errors import DoesNotFit
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from sim import folding
from sim.folding import pipeline as folded
from sim.pipeline import simulate, stamps

SEEDS = range(120)
MOST_FOLDINGS = 20_000


def budget(macs: int) -> Budget:
    return Budget("b", macs, 100.0)


def foldings(network: Network, layer: Layer) -> list[Engine]:
    """Every engine that divides a layer."""
    outputs, inputs = network.shapes[layer.name].channels, network.shapes[layer.inputs[0]].channels
    split = [network.shapes[source].channels for source in layer.inputs] if layer.kind == "concat" else [outputs]
    pes = [pe for pe in range(1, outputs + 1) if not any(channels % pe for channels in split)]
    if layer.kind != "conv":
        return [Engine(pe) for pe in pes]
    taps = layer.kernel.rows * layer.kernel.cols
    narrow = [simd for simd in range(1, inputs) if inputs % simd == 0]
    wide = [inputs * share for share in range(1, taps + 1) if taps % share == 0]
    return [Engine(pe, simd) for pe in pes for simd in narrow + wide]


def cost(layer: Layer, engine: Engine) -> int:
    return {"conv": engine.pe * engine.simd, "affine": engine.pe}.get(layer.kind, 0)


def frame_cycles(network: Network, layer: Layer, engine: Engine) -> int:
    """What an engine that never waits needs for a frame: to issue its outputs, or to copy its inputs."""
    made, read = network.shapes[layer.name], network.shapes[layer.inputs[0]]
    issue, copy = made.channels // engine.pe, 0
    if layer.kind == "conv":
        issue *= layer.kernel.rows * layer.kernel.cols * read.channels // engine.simd
        copy = max(1, read.channels // engine.simd)
    elif layer.kind in ("max", "mean"):
        copy = read.channels // engine.pe
    return max(issue * made.rows * made.cols, copy * read.rows * read.cols)


def slowest(network: Network, engines: dict[str, Engine]) -> int:
    return max(frame_cycles(network, layer, engines[layer.name]) for layer in network.layers)


def least_interval(network: Network, macs: int) -> int | None:
    """The slowest engine of the best of all foldings within a budget; None if there is none."""
    best = None
    for engines in product(*(foldings(network, layer) for layer in network.layers)):
        if sum(cost(layer, engine) for layer, engine in zip(network.layers, engines, strict=True)) > macs:
            continue
        cycles = max(
            frame_cycles(network, layer, engine) for layer, engine in zip(network.layers, engines, strict=True)
        )
        best = cycles if best is None else min(best, cycles)
    return best


@pytest.fixture(scope="module")
def small() -> list[Network]:
    networks = [random_network(seed) for seed in SEEDS]
    few = [n for n in networks if prod(len(foldings(n, layer)) for layer in n.layers) <= MOST_FOLDINGS]
    assert len(few) > 40
    return few


def test_the_interval_is_the_least_of_all_foldings(small: list[Network]) -> None:
    rng = Random("budgets")
    fitting = tight = 0
    for network in small:
        needy = sum(layer.kind in ("conv", "affine") for layer in network.layers)
        for macs in (max(1, needy), needy + rng.randint(1, 9), needy + rng.randint(1, 150)):
            machine, least = folded(network, budget(macs)), least_interval(network, macs)
            assert slowest(network, machine.engines) == least, f"{network.name} {macs}"
            fitting += 1
            tight += least != least_interval(network, 10**9)
    assert fitting == 3 * len(small)
    assert tight > 50


@pytest.mark.parametrize("seed", SEEDS)
def test_the_budget_is_kept_and_every_engine_divides(seed: int) -> None:
    network = random_network(seed)
    needy = sum(layer.kind in ("conv", "affine") for layer in network.layers)
    macs = needy + Random(f"budget {seed}").randint(1, 60)
    machine = folded(network, budget(macs))
    assert sum(cost(layer, machine.engines[layer.name]) for layer in network.layers) <= macs
    assert all(machine.engines[layer.name] in foldings(network, layer) for layer in network.layers)
    assert (machine.name, machine.clock_mhz) == ("b", 100.0)


def roomy(machine: Pipeline) -> Pipeline:
    """The same machine with FIFOs that are never full."""
    fifos = {edge: Fifo(10**9, fifo.ram) for edge, fifo in machine.fifos.items()}
    return msgspec.structs.replace(machine, fifos=fifos)


def expect_depths_to_cost_nothing(network: Network, machine: Pipeline) -> None:
    assert min(fifo.depth for fifo in machine.fifos.values()) >= 1
    source = folding.paced(network, machine.engines, 3)
    found, free = stamps(network, machine, 3, source), stamps(network, roomy(machine), 3, source)
    for name, starts in free.starts.items():
        assert (found.starts[name] == starts).all(), f"{network.name}: {name}"
    assert simulate(network, network, machine).interval_cycles >= slowest(network, machine.engines)


@pytest.mark.parametrize("seed", SEEDS)
def test_fifos_as_deep_as_they_are_ever_full(seed: int) -> None:
    network = random_network(seed)
    rng = Random(f"depths {seed}")
    expect_depths_to_cost_nothing(network, folded(network, budget(len(network.layers) + rng.randint(0, 100))))


@pytest.mark.parametrize("name", ["wrn-16-2", "wrn-16-2-1x3", "resnet-20-1x3-keep"])
def test_fifos_of_a_preset(name: str) -> None:
    network = executed(presets.preset(name))
    machine = folded(network, budget(512))
    expect_depths_to_cost_nothing(network, machine)
    deep = {edge for edge, fifo in machine.fifos.items() if fifo.ram == "block"}
    assert deep or name != "wrn-16-2"


@pytest.mark.parametrize("seed", range(40))
def test_no_fifo_is_deeper_than_it_has_to_be_for_these_stamps(seed: int) -> None:
    network = random_network(seed)
    machine = folded(network, budget(len(network.layers) + 30))
    free = stamps(network, roomy(machine), 3, folding.paced(network, machine.engines, 3))
    for edge, fifo in machine.fifos.items():
        if fifo.depth == 1:
            continue
        source = edge.split(" -> ")[0]
        lag = fifo.depth - 1
        # With a slot fewer, some pixel would start before the one that many pixels earlier has left.
        assert (free.starts[source][lag:] < free.frees[edge][:-lag]).any(), edge


def test_the_paced_source_delivers_evenly_and_a_frame_in_the_slowest_engines_time() -> None:
    for seed in range(60):
        network = random_network(seed)
        machine = folded(network, budget(len(network.layers) + 20))
        pixels = network.shapes[INPUT].pixels
        period = max(pixels, slowest(network, machine.engines))
        cycles = folding.paced(network, machine.engines, 3).releases
        assert cycles.tolist() == [number * period // pixels for number in range(3 * pixels)]


def test_a_chain_by_hand() -> None:
    # a: 8 pixels x 4 outputs x 3 taps x 2 inputs = 192 products; b: 8 x 2 x 4 = 64. With 8 multipliers a can take 6 and
    # b 2 of them: 32 cycles each. With 7 one of the two falls back to 4 or 1: 48 cycles (4 and 2) at best.
    layers = (
        Layer("a", "conv", (INPUT,), 4, Size(1, 3), padding=Padding(0, 0, 1, 1)),
        Layer("b", "conv", ("a",), 2),
    )
    network = Network("chain", Shape(1, 8, 2), layers)
    assert slowest(network, folded(network, budget(8)).engines) == 32
    assert slowest(network, folded(network, budget(7)).engines) == 48
    assert slowest(network, folded(network, budget(2)).engines) == 192
    assert folded(network, budget(2)).engines == {"a": Engine(1, 1), "b": Engine(1, 1)}


def test_fewer_multipliers_than_layers() -> None:
    layers = (Layer("a", "conv", (INPUT,), 4), Layer("bn", "affine", ("a",)), Layer("pool", "max", ("bn",)))
    network = Network("three", Shape(2, 2, 2), layers)
    assert set(folded(network, budget(2)).engines) == {"a", "bn", "pool"}
    sentence = (
        "machine b: 1 multipliers were found, at least 2 are wanted, one for every conv and affine of the network"
    )
    with pytest.raises(DoesNotFit, match=f"^{re.escape(sentence)}$"):
        folded(network, budget(1))


@pytest.mark.parametrize("seed", range(40))
def test_a_larger_budget_is_never_slower(seed: int) -> None:
    network = random_network(seed)
    found = [slowest(network, folded(network, budget(len(network.layers) + more)).engines) for more in (0, 5, 20, 200)]
    assert found == sorted(found, reverse=True)
