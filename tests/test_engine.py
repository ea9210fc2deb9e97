"""`sim.engine` against a machine stepped event by event, against bounds, and many machines against each alone."""

from collections import Counter
from random import Random

import msgspec
import pytest
from oracle_engine import run as oracle
from random_networks import random_network

from hw import presets
from hw.accelerator import LineEngine, machine
from hw.errors import BadInput, DoesNotFit
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from sim import engine as simulator
from sim.engine import simulate, sweep
from sim.program import DRAIN_CYCLES, edges_in_dram
from sim.result import Precision, Result

SEEDS = range(300)
BY_HAND = LineEngine("by hand", 1, 1, 1000, 1000, 2.0, 10, 100.0, prefetch=0, resident="none")
ROOMY = LineEngine("roomy", 4, 4, 1 << 30, 1 << 30, 1e9, 0, 100.0, resident="all")


def random_engine(seed: int, network: Network) -> LineEngine:
    """Memories around what small networks want: some maps stay, some weights fit, some machines are too small."""
    rng = Random(f"engine {seed}")
    some = tuple(layer.name for layer in network.layers if rng.random() < 0.5)
    return LineEngine(
        name=f"random{seed}",
        pe=rng.choice((1, 1, 2, 3, 8)),
        simd=rng.randint(1, 8),
        lanes=rng.choice((1, 1, 2, 3)),
        line_memory_bytes=rng.choice((1 << 20, rng.randint(20, 600), rng.randint(100, 1500))),
        weight_memory_bytes=rng.choice((1 << 20, rng.randint(40, 200), rng.randint(100, 400))),
        dram_bytes_per_cycle=rng.choice((0.3, 0.7, 1.0, 1.6, 2.5, 16.0)),
        dram_latency_cycles=rng.choice((0, 0, 1, 7, 40)),
        dram_burst_bytes=rng.choice((0, 0, 8, 64)),
        dma_channels=rng.choice((1, 2)),
        row_group=rng.choice((1, 1, 2, 3, 9)),
        prefetch=rng.choice((0, 1, 2, 16)),
        resident=rng.choice(("none", "all", "auto", some)),
        skips=rng.choice(("auto", "auto", "keep", "spill")),
        schedule=rng.choice(("line_by_line", "layer_by_layer")),
        clock_mhz=100.0,
    )


def bits_of(seed: int) -> Precision:
    rng = Random(f"bits {seed}")
    return Precision(rng.choice((8, 8, 4, 5, 16)), rng.choice((8, 8, 3, 6)), rng.choice((0, 0, 8, 13)))


def some_of(seed: int, more: tuple[str, ...] = ()) -> tuple[Network, LineEngine, Precision]:
    network = executed(random_network(seed, more)) if seed % 2 else random_network(seed, more)
    return network, random_engine(seed, network), bits_of(seed)


def present(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def agree(network: Network, engine: LineEngine, bits: Precision) -> None:
    expected = oracle(network, engine, bits.activation_bits, bits.weight_bits, 3, bits.input_bits)
    if not expected.fits:
        with pytest.raises(DoesNotFit):
            simulate(network, network, engine, bits)
        return
    result, made = simulate(network, network, engine, bits), simulator.run(network, engine, bits)
    assert present(result.cycles_by_cause) == present(expected.cycles)
    assert present(result.dram_bytes) == present(expected.moved)
    assert (result.latency_cycles, result.interval_cycles) == (expected.latency, expected.interval)
    assert result.line_memory_bytes == expected.peak
    assert made.scheduled.resident == expected.resident
    assert edges_in_dram(network, made.scheduled.turns) == expected.spilled
    assert {layer.name: layer.first_cycle for layer in result.layers} == expected.begin
    assert {layer.name: layer.last_cycle for layer in result.layers} == expected.finish
    assert made.times.steps[:, :2].tolist() == [[start, end] for _, _, start, end in expected.steps]


@pytest.mark.parametrize("seed", SEEDS)
def test_three_frames_equal_the_oracles(seed: int) -> None:
    agree(*some_of(seed))


@pytest.mark.parametrize("seed", range(60))
def test_three_frames_with_tables_equal_the_oracles(seed: int) -> None:
    agree(*some_of(seed, ("table", "upsample")))


@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(1, 6))
def test_three_frames_equal_the_oracles_on_many_more(thousand: int) -> None:
    for seed in range(1000 * thousand, 1000 * thousand + 1000):
        agree(*some_of(seed))


def test_the_random_engines_cover_what_they_are_for() -> None:
    seen = Counter[str]()
    for seed in SEEDS:
        network, engine, bits = some_of(seed)
        try:
            made = simulator.run(network, engine, bits)
        except DoesNotFit:
            seen["too small"] += 1
            continue
        spilled = edges_in_dram(network, made.scheduled.turns)
        seen["spilled, line by line"] += engine.schedule == "line_by_line" and bool(spilled)
        inner = {edge for edge in spilled if not edge.startswith(INPUT)}
        seen["stays, layer by layer"] += engine.schedule == "layer_by_layer" and len(inner) < len(network.edges) - 1
        seen["several tiles"] += bool((made.scheduled.cost.tiles > 1).any())
        seen["some resident"] += bool(made.scheduled.resident)
        seen["prefetched"] += bool((made.program.loads[:, 0] - 1 > made.program.loads[:, 3]).any())
        seen["sums over rows"] += any(layer.accumulates and layer.kernel.rows > 1 for layer in network.layers)
    assert all(count >= 10 for count in seen.values()), seen
    assert len(seen) == 7


@pytest.mark.parametrize("schedule", ["line_by_line", "layer_by_layer"])
@pytest.mark.parametrize("name", ["resnet-8", "wrn-16-1-1x3"])
def test_a_preset_equals_the_oracle(name: str, schedule: str) -> None:
    engine = msgspec.structs.replace(machine("line-64"), schedule=schedule)
    agree(executed(presets.preset(name)), engine, Precision())


@pytest.mark.parametrize("seed", range(100))
def test_nothing_is_faster_than_the_roofline(seed: int) -> None:
    network, engine, bits = some_of(seed)
    try:
        result = simulate(network, network, engine, bits)
    except DoesNotFit:
        return
    rows = sum(count for kind, count in result.dram_bytes.items() if "out" not in kind)
    assert result.latency_cycles >= max(result.executed_macs / engine.macs, rows / engine.dram_bytes_per_cycle)
    assert sum(result.cycles_by_cause.values()) == result.latency_cycles


@pytest.mark.parametrize("schedule", ["line_by_line", "layer_by_layer"])
@pytest.mark.parametrize("seed", range(60))
def test_with_room_and_bandwidth_for_all_a_frame_takes_its_folded_cycles(seed: int, schedule: str) -> None:
    """One byte is less than a cycle there, but a transfer takes one: it hides behind the array but for the ends."""
    network = executed(random_network(seed))
    result = simulate(network, network, msgspec.structs.replace(ROOMY, schedule=schedule))
    folded = 0
    for layer in network.layers:
        shape, read = network.shapes[layer.name], network.input_shape(layer)
        groups = -(-shape.channels // ROOMY.pe)
        tasks = shape.rows * (layer.kernel.rows if layer.accumulates else 1)
        inner = shape.cols * -(-layer.taps * read.channels // ROOMY.simd)
        folded += tasks * groups * (inner if layer.kind == "conv" else max(shape.cols, read.cols))
    made = simulator.run(network, msgspec.structs.replace(ROOMY, schedule=schedule))
    assert result.cycles_by_cause["compute"] == folded + DRAIN_CYCLES * made.turns
    waits = {cause: cycles for cause, cycles in result.cycles_by_cause.items() if cause != "compute"}
    assert sum(waits.values()) <= sum(shape.rows for shape in network.shapes.values())


@pytest.mark.parametrize("seed", range(40))
def test_many_machines_are_what_each_is_alone(seed: int) -> None:
    network = executed(random_network(seed))
    engines = [random_engine(100 * seed + k, network) for k in range(25)]
    found = sweep(network, engines, bits_of(seed), threads=1 + seed % 2)
    for i, engine in enumerate(engines):
        try:
            alone = simulate(network, network, engine, bits_of(seed))
        except DoesNotFit:
            assert found.latency_cycles[i] == found.line_memory_bytes[i] == -1
            continue
        assert found.latency_cycles[i] == alone.latency_cycles
        assert found.interval_cycles[i] == alone.interval_cycles
        assert found.line_memory_bytes[i] == alone.line_memory_bytes
        assert found.dram_bytes[i].tolist() == list(alone.dram_bytes.values())
        assert found.causes[i].tolist() == list(alone.cycles_by_cause.values())


def conv(name: str, source: str, channels: int, rows: int, cols: int, **fields: object) -> Layer:
    around = Padding(rows // 2, rows // 2, cols // 2, cols // 2)
    return Layer(name, "conv", (source,), channels, Size(rows, cols), padding=around, **fields)


@pytest.fixture
def square() -> Network:
    """Two 3x3 convs on 4 rows of 5 pixels: 2 -> 3 -> 1 channels, the first with a bias."""
    return Network("square", Shape(4, 5, 2), (conv("a", INPUT, 3, 3, 3, bias=True), conv("b", "a", 1, 3, 3)))


def simulated(network: Network, **fields: object) -> Result:
    return simulate(network, network, msgspec.structs.replace(BY_HAND, **fields))


def test_square_filters_line_by_line_by_hand(square: Network) -> None:
    # A row task of a: 5 columns, 3 channels, 18 products: 270 cycles; of b: 5 * 1 * 27 = 135. Rounds: row 0 lets
    # nothing begin; row 1: a0; row 2: a1, b0; row 3: a2, b1; then a3, b2; then b3. Eight turns.
    # Weights: a 54 + 4*3 = 66 bytes, b 27. They would fit side by side, but a tile goes when another layer's turn
    # comes: a (for a0, a1), b, a, b, a, b (for b2, b3).
    # Without prefetch every transfer is waited for. Stores of b0 and b1 (10 + 3 cycles) end while the next turn's
    # weights come (10 + 33); b2's is waited for before b3, b3's drained. Four rows in of 10 bytes: 10 + 5 each.
    result = simulated(square)
    assert result.cycles_by_cause["compute"] == 4 * 270 + 4 * 135 + 8 * DRAIN_CYCLES
    weights = 3 * (66 + 27)
    assert list(result.dram_bytes.values()) == [weights, 40, 0, 20, 0]
    assert list(result.dram_bytes) == ["weights", "lines_in", "spills_in", "lines_out", "spills_out"]
    assert (result.cycles_by_cause["lines_out"], result.cycles_by_cause["drain"]) == (13, 13)
    # Before a0 come weights and two rows, before a1 and a2 a row; nothing else is waited for but weights.
    assert result.cycles_by_cause["lines_in"] + result.cycles_by_cause["weights"] == 3 * (43 + 24) + 4 * 15
    # Held at most in the turn of a2: rows 1 to 3 of the frame (30 bytes), rows 0 to 2 of a (45).
    assert result.line_memory_bytes == 75


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("resident", ["none", "auto"])
def test_weight_memories_of_every_size_for_the_network_by_hand(square: Network, resident: str, prefetch: int) -> None:
    # Its layers have groups of 22 and 27 bytes, 66 and 27 in all: tiles, residents and prefetch end at such sizes.
    fields = {"resident": resident, "prefetch": prefetch, "line_memory_bytes": 90}
    for size in range(25, 170):
        engine = msgspec.structs.replace(BY_HAND, weight_memory_bytes=size, **fields)
        agree(square, engine, Precision())


@pytest.mark.parametrize("prefetch", [1, 3])
def test_line_memories_of_every_size_for_the_network_by_hand(square: Network, prefetch: int) -> None:
    for size in range(74, 150):
        engine = msgspec.structs.replace(BY_HAND, line_memory_bytes=size, prefetch=prefetch, resident="all")
        agree(square, engine, Precision())


def test_rows_of_8_bit_pixels_and_of_4_bit_results_by_hand(square: Network) -> None:
    result = simulate(square, square, BY_HAND, Precision(4, 4, 8))
    # Rows of the frame are 10 bytes as ever; a row of a is 15 results of half a byte, 8 bytes; one of b 5, 3 bytes.
    # Weights of a are 54 / 2 and 3 biases, of b 27 / 2 in whole bytes.
    assert list(result.dram_bytes.values()) == [3 * (27 + 12 + 14), 4 * 10, 0, 4 * 3, 0]
    assert result.line_memory_bytes == 3 * 10 + 3 * 8
    assert [layer.line_buffer_bytes for layer in result.layers] == [2 * 10, 15]


@pytest.mark.parametrize("seed", range(60))
def test_line_memory_of_mixed_bits_is_between_that_of_one_width(seed: int) -> None:
    network, engine, _ = some_of(seed)
    # Where nothing moves to DRAM for want of room: what moves there is another choice with every width.
    roomy = {"line_memory_bytes": 1 << 30, "weight_memory_bytes": 1 << 30, "skips": "keep"}
    engine = msgspec.structs.replace(engine, **roomy)
    narrow, mixed, wide = (
        simulate(network, network, engine, bits) for bits in (Precision(4, 8), Precision(4, 8, 8), Precision(8, 8))
    )
    assert narrow.line_memory_bytes <= mixed.line_memory_bytes <= wide.line_memory_bytes
    assert mixed.dram_bytes["lines_in"] + mixed.dram_bytes["spills_in"] == (
        wide.dram_bytes["lines_in"] + wide.dram_bytes["spills_in"]
    )
    assert mixed.dram_bytes["lines_out"] == narrow.dram_bytes["lines_out"]
    assert narrow.cycles_by_cause["compute"] == mixed.cycles_by_cause["compute"] == wide.cycles_by_cause["compute"]


def test_a_map_that_four_small_ones_read_from_dram_by_hand() -> None:
    heads = [Layer(name, "conv", ("a",), 1, Size(6, 5)) for name in "bcde"]
    joined = Layer("joined", "concat", tuple("bcde"))
    network = Network("fan", Shape(6, 5, 1), (conv("a", INPUT, 2, 1, 1), *heads, joined))
    # A whole map of a is 60 bytes, the result of a head one. In 61 bytes that of the last head stays, nobody else's: a
    # head after it would hold the map, its own result and that. With four bytes more all stay.
    tight = simulated(network, schedule="layer_by_layer", line_memory_bytes=61).dram_bytes
    assert (tight["lines_in"], tight["spills_out"], tight["spills_in"]) == (6 * 5, 60 + 3, 4 * 60 + 3)
    roomy = simulated(network, schedule="layer_by_layer", line_memory_bytes=65).dram_bytes
    assert (roomy["lines_in"], roomy["spills_out"], roomy["spills_in"]) == (6 * 5, 0, 0)


def test_row_filters_keep_the_row_at_hand_and_no_other() -> None:
    rows = Network("rows", Shape(4, 5, 2), (conv("a", INPUT, 3, 1, 3), conv("b", "a", 1, 1, 3)))
    # A row of the frame (10) and one of a (15), then one of a and one of the result (5).
    assert simulated(rows).line_memory_bytes == 25
    assert simulated(rows, row_group=2).line_memory_bytes == 50


def test_more_rows_a_turn_load_weights_less_often(square: Network) -> None:
    once = simulated(square, row_group=4).dram_bytes["weights"]
    assert once == 66 + 27
    assert simulated(square).dram_bytes["weights"] == 3 * once


def test_prefetch_hides_transfers_behind_the_array(square: Network) -> None:
    without, with_it = simulated(square), simulated(square, prefetch=4)
    assert with_it.cycles_by_cause["compute"] == without.cycles_by_cause["compute"]
    assert with_it.latency_cycles < without.latency_cycles


def test_too_small_a_line_memory_is_told_with_the_bytes_that_it_wants(square: Network) -> None:
    with pytest.raises(
        DoesNotFit,
        match=r"^machine by hand: line memory of 74 bytes was found, 75 are wanted by square line by line at layer a; "
        r"give it 75 or schedule: layer_by_layer$",
    ):
        simulated(square, line_memory_bytes=74)
    assert simulated(square, line_memory_bytes=75).line_memory_bytes == 75


def test_too_small_a_weight_memory_is_told_with_the_layer(square: Network) -> None:
    with pytest.raises(
        DoesNotFit,
        match=r"^layer b: the weights of 1 channels are 27 bytes, weight memory of machine by hand has 26 left; "
        r"give it 27, or fewer pe$",
    ):
        simulated(square, weight_memory_bytes=26)
    with pytest.raises(
        DoesNotFit,
        match=r"^machine by hand: weight memory of 92 bytes was found, 93 are wanted by the weights that stay there; "
        r"give it 93, or resident: auto$",
    ):
        simulated(square, weight_memory_bytes=92, resident="all")


def test_a_resident_layer_that_is_not_there_is_told(square: Network) -> None:
    with pytest.raises(BadInput, match=r"^machine by hand: resident layer c is not in network square$"):
        simulated(square, resident=("c",))


def test_a_machine_beyond_counting_is_refused(square: Network) -> None:
    with pytest.raises(BadInput, match=r"^machine by hand: dram_latency_cycles 1099511627777 was found, at most"):
        simulated(square, dram_latency_cycles=(1 << 40) + 1)


def test_a_row_step_loads_only_the_rows_that_are_read() -> None:
    network = Network("every other", Shape(8, 5, 1), (conv("a", INPUT, 1, 1, 3),), row_step=2)
    assert simulated(network).dram_bytes["lines_in"] == 4 * 5
