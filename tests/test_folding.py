"""`sim.folding` against every folding there is, and its FIFOs against FIFOs with room for all."""

import re
from itertools import product
from math import prod
from random import Random

import msgspec
import numpy as np
import pytest
from random_networks import random_network

from hw import presets, resources
from hw.accelerator import Budget, Engine, Fifo, LineEngine, Pipeline, machine
from hw.errors import DoesNotFit
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from sim import folding
from sim.folding import pipeline as folded
from sim.pipeline import simulate, stamps
from sim.result import Precision

SEEDS = range(120)
MOST_FOLDINGS = 20_000
WIDE = Precision(64, 64)
"""Bits with which even small layers take block RAMs."""
UNLIMITED = 10**9


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


def all_foldings(network: Network, precision: Precision) -> np.ndarray:
    """Multipliers, block RAMs and cycles of the slowest engine of every folding there is."""
    points = np.zeros((1, 3), np.int64)
    for layer in network.layers:
        own = []
        for engine in foldings(network, layer):
            bits = (
                precision.input_bits if layer.inputs[0] == INPUT and precision.input_bits else precision.activation_bits
            )
            memories = resources.engine_memories(network, layer, engine, bits, precision.weight_bits)
            own.append((cost(layer, engine), sum(m.bram18 for m in memories), frame_cycles(network, layer, engine)))
        each = points[:, None] + np.array(own) * (1, 1, 0)
        each[:, :, 2] = np.maximum(points[:, None, 2], np.array(own)[:, 2])
        points = each.reshape(-1, 3)
    return points


def best(points: np.ndarray, macs: float = np.inf, bram18: float = np.inf) -> int | None:
    """The least cycles within limits; None if nothing is."""
    fitting = points[(points[:, 0] <= macs) & (points[:, 1] <= bram18)]
    return int(fitting[:, 2].min()) if fitting.size else None


def some_limits(rng: Random, points: np.ndarray) -> dict[str, int]:
    """One to three limits around what the foldings of a network take."""
    macs, rams = (np.unique(points[:, column]).tolist() for column in (0, 1))
    sparse = macs[: len(macs) // 2 + 1]
    every = {"macs": rng.choice(sparse), "dsp": rng.choice(sparse), "bram18": rng.choice(rams)}
    chosen = rng.choice((("dsp",), ("bram18",), ("macs", "bram18"), ("dsp", "bram18"), ("macs", "dsp", "bram18")))
    return {key: max(1, every[key] + rng.randint(-1, 2)) for key in chosen}


def expect_the_best(network: Network, points: np.ndarray, given: dict[str, int], precision: Precision) -> bool:
    """That a folding is the best that all of them say, or refused where there is none; whether there is one."""
    macs = min(given.get("macs", UNLIMITED), given.get("dsp", UNLIMITED))
    rams = given.get("bram18", UNLIMITED)
    least = best(points, macs, rams)
    if least is None:
        with pytest.raises(DoesNotFit):
            folded(network, Budget("b", **given), precision)
        return False
    found = folded(network, Budget("b", **given), precision)
    assert slowest(network, found.engines) == least, f"{network.name} {given}"
    taken = resources.budgeted(network, found, precision.activation_bits, precision.weight_bits, precision.input_bits)
    assert taken.dsp <= macs
    assert taken.bram18 <= rams
    return True


def test_under_any_limits_the_interval_is_the_least_of_all_foldings(small: list[Network]) -> None:
    rng = Random("limits")
    fitting = 0
    for network in small:
        points = all_foldings(network, WIDE)
        fitting += sum(expect_the_best(network, points, some_limits(rng, points), WIDE) for _ in range(6))
    assert 500 < fitting < 6 * len(small) - 10


def knotty(seed: int) -> Network:
    """Convs whose weights fill block RAMs better with some numbers of multipliers than with others."""
    rng = Random(f"knotty {seed}")
    layers: list[Layer] = []
    for number in range(2 + seed % 2):
        rows, cols = rng.choice(((1, 3), (3, 3), (1, 1)))
        source = layers[-1].name if layers else INPUT
        padding = Padding(rows // 2, rows // 2, cols // 2, cols // 2)
        channels = rng.choice((6, 12, 16, 27, 36))
        layers.append(Layer(f"c{number}", "conv", (source,), channels, Size(rows, cols), padding=padding))
    return Network(f"knotty{seed}", Shape(rng.randint(3, 4), rng.randint(4, 8), rng.choice((6, 9, 16))), tuple(layers))


def test_two_limits_that_only_bind_together() -> None:
    found = 0
    for seed, bits in product(range(30), (8, 17, 33)):
        network, precision = knotty(seed), Precision(8, bits, (0, 0, 20)[seed % 3])
        if prod(len(foldings(network, layer)) for layer in network.layers) > MOST_FOLDINGS:
            continue
        points = all_foldings(network, precision)
        macs, rams = (np.unique(points[:, column]).tolist() for column in (0, 1))
        for few, ram in product(macs[:40], rams[:8]):
            alone = best(points, macs=few), best(points, bram18=ram)
            if best(points, few, ram) not in (*alone, None):
                found += expect_the_best(network, points, {"dsp": few, "bram18": ram}, precision)
    assert found > 50


def residual(cols: int, channels: int, long: int) -> Network:
    """A shortcut over 3x3 convs: its FIFO keeps more than a row for each of them."""
    around = Padding(1, 1, 1, 1)
    layers = [Layer("stem", "conv", (INPUT,), channels)]
    for number in range(long):
        layers.append(Layer(f"c{number}", "conv", (layers[-1].name,), channels, Size(3, 3), padding=around))
    layers.append(Layer("add", "add", (layers[-1].name, "stem")))
    return Network(f"residual{cols}", Shape(5, cols, 2), tuple(layers))


@pytest.mark.parametrize(("cols", "channels", "long"), [(80, 4, 1), (40, 2, 2), (70, 3, 1)])
def test_fifos_take_the_block_rams_that_engines_leave(cols: int, channels: int, long: int) -> None:
    network, precision = residual(cols, channels, long), Precision(32, 32)
    points = all_foldings(network, precision)
    kinds: set[tuple[int, int]] = set()
    for limit in range(int(points[:, 1].min()), int(points[:, 1].max()) + 8):
        found = folded(network, Budget("b", bram18=limit), precision)
        assert slowest(network, found.engines) == best(points, bram18=limit)
        assert resources.budgeted(network, found, 32, 32).bram18 <= limit
        expect_depths_to_cost_nothing(network, found)
        deep = [fifo.ram for fifo in found.fifos.values() if fifo.depth > folding.LUT_RAM_PIXELS]
        kinds.add((deep.count("lut"), deep.count("block")))
    assert any(lut for lut, _ in kinds)
    assert any(block and not lut for lut, block in kinds)


THREE = Network(
    "three",
    Shape(8, 64, 16),
    (
        Layer("a", "conv", (INPUT,), 16, Size(3, 3), padding=Padding(1, 1, 1, 1)),
        Layer("bn", "affine", ("a",)),
        Layer("b", "conv", ("bn",), 16, Size(3, 3), padding=Padding(1, 1, 1, 1)),
        Layer("sum", "add", ("b", INPUT)),
    ),
)


def test_rows_of_8_bit_pixels_are_counted_where_they_are_kept() -> None:
    limit, bits = Budget("b", bram18=100), (Precision(4, 4), Precision(4, 4, 8), Precision(8, 4))
    for layer, alike in ((THREE.by_name["a"], 2), (THREE.by_name["b"], 0)):
        found = [folding.choices_of(THREE, layer, limit, each) for each in bits]
        assert found[1] == found[alike]
        assert found[0] != found[2]


def test_a_fifo_of_8_bit_pixels_takes_more_block_ram_than_one_of_4_bit_results() -> None:
    # The skip edge holds two rows of 64 pixels and more, 16 channels each: words of 128 bits are 4 block RAMs side by
    # side, words of 64 bits 2. Where 3 are left the wide one goes to look-up tables.
    engines = {"a": Engine(16, 16), "bn": Engine(16), "b": Engine(16, 16), "sum": Engine(16)}
    rams = [
        folding.with_fifos(THREE, Budget("b", 600), engines, 3, bits).fifos["input -> sum"].ram
        for bits in (Precision(4, 4), Precision(4, 4, 8))
    ]
    assert rams == ["block", "lut"]


REFUSED = [
    ({"macs": 2}, "2 multipliers were found, at least 3 are wanted, one for every conv and affine of the network"),
    (
        {"macs": 9, "dsp": 2},
        "2 DSPs were found, at least 3 are wanted, one for every conv and affine of the network",
    ),
    # Two lines of 64 pixels, a channel a word, are 1 block RAM; 2304 weights of 8 bits 2 of 2048 words of 9.
    (
        {"bram18": 5, "dsp": 3},
        "5 block RAMs of 18 kbit were found, at least 6 are wanted, for weights and rows of the network",
    ),
]


@pytest.mark.parametrize(("limits", "sentence"), REFUSED)
def test_a_budget_that_is_too_small_is_told_with_what_is_wanted(limits: dict[str, int], sentence: str) -> None:
    with pytest.raises(DoesNotFit, match=f"^{re.escape('machine b: ' + sentence)}$"):
        folded(THREE, Budget("b", **limits))


def test_limits_that_only_fit_apart() -> None:
    # 4608 weights of 8 bits: one a word are 3 block RAMs of 2048 x 9, nine a word 2 of 512 x 36 side by side.
    network = Network("apart", Shape(1, 4, 72), (Layer("a", "conv", (INPUT,), 64),))
    found = {
        macs: resources.budgeted(network, folded(network, Budget("b", dsp=macs, bram18=rams)), 8, 8)
        for macs, rams in ((1, 3), (9, 2))
    }
    assert {macs: (taken.dsp, taken.bram18) for macs, taken in found.items()} == {1: (1, 3), 9: (9, 2)}
    sentence = (
        "machine b: 2 block RAMs of 18 kbit were found, at least 3 are wanted beside 8 multipliers, "
        "for weights and rows of the network"
    )
    with pytest.raises(DoesNotFit, match=f"^{re.escape(sentence)}$"):
        folded(network, Budget("b", dsp=8, bram18=2))


@pytest.mark.parametrize("name", ["zynq-7020", "artix-7-35t"])
def test_a_device_holds_a_network_with_all_its_fifos(name: str) -> None:
    network, device = executed(presets.preset("resnet-20-1x3")), machine(name)
    assert isinstance(device, Budget)
    taken = resources.budgeted(network, folded(network, device), 8, 8)
    assert taken.dsp <= (device.dsp or 0)
    assert taken.bram18 <= (device.bram18 or 0)


def test_a_budget_is_settled_with_the_bits_of_the_student_and_other_machines_stay() -> None:
    network = executed(presets.preset("resnet-20-1x3"))
    found = [folding.settled(network, Budget("b", bram18=250), Precision(bits, bits)) for bits in (4, 16)]
    assert slowest(network, found[0].engines) < slowest(network, found[1].engines)
    line = machine("line-64")
    assert isinstance(line, LineEngine)
    assert folding.settled(network, line) is line
    assert folding.settled(network, found[0]) is found[0]


def test_limits_that_do_not_bind_leave_the_interval_as_it_was() -> None:
    network = executed(presets.preset("wrn-16-2-1x3"))
    alone = folded(network, budget(256))
    both = folded(network, Budget("b", 256, 100.0, dsp=300, bram18=10**30))
    assert slowest(network, both.engines) == slowest(network, alone.engines)
    assert folded(network, Budget("b", None, 100.0, dsp=256)) == alone
