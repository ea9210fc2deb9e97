"""`sim.engine` against a machine stepped task by task, and both against frames accounted for by hand."""

from collections import Counter
from random import Random

import msgspec
import pytest
from oracle_engine import Row, run
from random_networks import random_network

from hw import presets
from hw.accelerator import LineEngine
from hw.errors import DoesNotFit
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from sim.engine import simulate
from sim.result import Precision, Result

SEEDS = range(150)
SCHEDULES = ("line_by_line", "layer_by_layer")


def random_engine(seed: int, network: Network, schedule: str) -> LineEngine:
    """Memories around what the network wants: some maps stay, some weights fit, some machines are too small."""
    rng = Random(f"engine {seed}")
    roomy = msgspec.structs.replace(BY_HAND, line_memory_bytes=10**9, schedule=schedule)
    least = run(network, roomy, 1, 1).peak
    largest = max(shape.pixels * shape.channels for shape in network.shapes.values())
    return LineEngine(
        name=f"random{seed}",
        pe=rng.randint(1, 5),
        simd=rng.randint(1, 7),
        line_memory_bytes=max(1, rng.choice((rng.randint(1, 6 * largest), rng.randint(least // 2, 4 * least)))),
        weight_memory_bytes=rng.choice((0, rng.randint(1, 60), rng.randint(60, 2 * network.parameters + 60), 10**6)),
        dram_bytes_per_cycle=rng.choice((0.3, 0.7, 1.0, 1.6, 2.5, 8.0)),
        dram_latency_cycles=rng.choice((0, 1, 7, 40)),
        clock_mhz=100.0,
        schedule=schedule,  # type: ignore[arg-type]
    )


BY_HAND = LineEngine("by hand", 1, 1, 1000, 1000, 2.0, 10, 100.0)


def engine(**fields: object) -> LineEngine:
    return msgspec.structs.replace(BY_HAND, **fields)


def bits_of(seed: int) -> Precision:
    rng = Random(f"bits {seed}")
    return Precision(rng.choice((8, 8, 4, 5, 16)), rng.choice((8, 8, 3, 6)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_frame_equals_the_oracles(seed: int, schedule: str) -> None:
    network = executed(random_network(seed)) if seed % 2 else random_network(seed)
    machine, bits = random_engine(seed, network, schedule), bits_of(seed)
    expected = run(network, machine, bits.activation_bits, bits.weight_bits)
    if not expected.fits:
        with pytest.raises(DoesNotFit):
            simulate(network, network, machine, bits)
        return
    result = simulate(network, network, machine, bits)
    assert present(result.cycles_by_cause) == present(expected.cycles)
    assert present(result.dram_bytes) == present(expected.moved)
    assert result.latency_cycles == result.interval_cycles == expected.clock
    assert {layer.name: layer.first_cycle for layer in result.layers} == expected.begin
    assert {layer.name: layer.last_cycle for layer in result.layers} == expected.finish
    assert result.line_memory_bytes == expected.peak


def present(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def test_the_random_engines_cover_what_they_are_for() -> None:
    for schedule in SCHEDULES:
        seen = Counter[str]()
        for seed in SEEDS:
            network = random_network(seed)
            machine = random_engine(seed, network, schedule)
            account = run(network, machine)
            weights = sum(account.weights.values())
            inner = {layer.name for layer in network.layers[:-1]}
            seen["too small"] += not account.fits
            seen["fetched again"] += account.fits and weights > len(account.weights) > 0
            seen["fetched once"] += account.fits and weights == len(account.weights) > 0
            seen["some stay"] += account.fits and 0 < len(account.stays) < len(inner)
            seen["sums over rows"] += any(x.accumulates and x.kernel.rows > 1 for x in network.layers)
        wanted = {"too small", "fetched again", "fetched once", "sums over rows"}
        wanted |= {"some stay"} if schedule == "layer_by_layer" else set()
        assert all(seen[case] >= 10 for case in wanted), f"{schedule}: {seen}"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["wrn-16-2", "wrn-16-2-1x3", "resnet-20-1x3-keep"])
def test_a_preset_equals_the_oracle(name: str, schedule: str) -> None:
    network = executed(presets.preset(name))
    machine = engine(pe=8, simd=8, line_memory_bytes=65536, weight_memory_bytes=16384, schedule=schedule)
    expected, result = run(network, machine), simulate(network, network, machine)
    assert expected.fits
    assert present(result.cycles_by_cause) == present(expected.cycles)
    assert present(result.dram_bytes) == present(expected.moved)
    assert result.line_memory_bytes == expected.peak


def conv(name: str, source: str, channels: int, rows: int, cols: int, **fields: object) -> Layer:
    around = Padding(rows // 2, rows // 2, cols // 2, cols // 2)
    return Layer(name, "conv", (source,), channels, Size(rows, cols), padding=around, **fields)  # type: ignore[arg-type]


@pytest.fixture
def square() -> Network:
    """Two 3x3 convs on 4 rows of 5 pixels: 2 -> 3 -> 1 channels, the first with a bias."""
    return Network("square", Shape(4, 5, 2), (conv("a", INPUT, 3, 3, 3, bias=True), conv("b", "a", 1, 3, 3)))


def simulated(network: Network, **fields: object) -> Result:
    return simulate(network, network, engine(**fields))


def test_square_filters_line_by_line_by_hand(square: Network) -> None:
    # Weights: a 9*2*3 + 4*3 = 66 bytes, b 9*3*1 = 27. All fit: one transfer each, 10 + 33 and 10 + 14 cycles.
    # Four rows in of 10 bytes: 10 + 5 cycles each. Four rows out of 5 bytes: 10 + 3 each.
    # A row task of a: 5 columns, 3 channels, 18 products: 270; of b: 5 * 1 * 27 = 135.
    # Live at most when a makes row 3, in the turn in which it has made row 2: rows 2, 3 of the frame (20 bytes) and all
    # four rows of a (60), since b has made row 0 alone and its row 1 needs a's rows 0 to 2.
    result = simulated(square)
    assert result.cycles_by_cause == {"compute": 4 * 270 + 4 * 135, "weights": 67, "lines_in": 60, "lines_out": 52}
    assert result.dram_bytes == {"weights": 93, "lines_in": 40, "lines_out": 20}
    assert result.latency_cycles == 1620 + 67 + 60 + 52
    assert result.line_memory_bytes == 80
    assert [layer.cycles for layer in result.layers] == [1080, 540]
    assert [layer.starved_cycles for layer in result.layers] == [43, 24]
    assert [layer.blocked_cycles for layer in result.layers] == [0, 52]


def test_weights_that_do_not_fit_are_fetched_every_turn(square: Network) -> None:
    # 92 bytes hold either layer's weights, not both. Row 0 of the frame lets nobody work. Row 1: a makes row 0.
    # Row 2: a makes row 1, b row 0. Row 3: a makes rows 2, 3 in one turn, b rows 1, 2, 3 in one turn: a 3 fetches, b 2.
    assert simulated(square, weight_memory_bytes=93).dram_bytes["weights"] == 93
    result = simulated(square, weight_memory_bytes=92)
    assert result.dram_bytes["weights"] == 3 * 66 + 2 * 27
    assert result.cycles_by_cause["weights"] == 3 * 43 + 2 * 24
    # 65 bytes do not hold a's: a fetch for each of its rows.
    result = simulated(square, weight_memory_bytes=65)
    assert result.dram_bytes["weights"] == 4 * 66 + 2 * 27
    result = simulated(square, weight_memory_bytes=0)
    assert result.dram_bytes["weights"] == 4 * 66 + 4 * 27


def test_square_filters_layer_by_layer_by_hand(square: Network) -> None:
    # a works on 3 rows of 10 bytes and one of 15: 45; b on 3 of 15 and one of 5: 50. a's map has 60 bytes.
    # 110 bytes let it stay: the frame is fetched once, the result written once.
    stays = simulated(square, schedule="layer_by_layer", line_memory_bytes=110)
    assert stays.dram_bytes == {"weights": 93, "lines_in": 40, "lines_out": 20}
    assert stays.line_memory_bytes == 110
    assert [(layer.first_cycle, layer.last_cycle) for layer in stays.layers] == [(0, 1183), (1183, 1799)]
    # One byte less: its four rows of 15 bytes are written and fetched again, 10 + 8 cycles each.
    spills = simulated(square, schedule="layer_by_layer", line_memory_bytes=109)
    assert spills.dram_bytes == {"weights": 93, "lines_in": 40 + 60, "lines_out": 20 + 60}
    assert spills.latency_cycles == stays.latency_cycles + 8 * 18
    assert spills.line_memory_bytes == 50
    # Weights larger than their memory come for every row, those that fit once.
    again = simulated(square, schedule="layer_by_layer", line_memory_bytes=110, weight_memory_bytes=65)
    assert again.dram_bytes["weights"] == 4 * 66 + 27


def test_row_filters_keep_the_row_at_hand_and_no_other_by_hand() -> None:
    # Two 1x3 convs on 6 rows of 4 pixels, 1 -> 2 -> 1 channels: at most a row of 4 and a row of 8 bytes are live.
    network = Network("rows", Shape(6, 4, 1), (conv("a", INPUT, 2, 1, 3), conv("b", "a", 1, 1, 3)))
    result = simulated(network)
    assert result.line_memory_bytes == 12
    assert result.dram_bytes == {"weights": 6 + 6, "lines_in": 24, "lines_out": 24}
    # Neither fits beside the other: each row is a turn of both.
    assert simulated(network, weight_memory_bytes=11).dram_bytes["weights"] == 6 * 12


def test_a_skip_is_fetched_by_every_reader_by_hand() -> None:
    # 3 rows of 4 bytes; the frame, which never stays, is read by the conv and by the sum.
    network = Network("skip", Shape(3, 4, 1), (conv("a", INPUT, 1, 1, 3), Layer("sum", "add", ("a", INPUT))))
    account = run(network, engine(schedule="layer_by_layer"))
    rows = [Row(INPUT, number) for number in range(3)]
    assert account.fetched == {(reader, row): 1 for reader in ("a", "sum") for row in rows}
    result = simulated(network, schedule="layer_by_layer")
    assert result.dram_bytes == {"weights": 3, "lines_in": 24, "lines_out": 12}
    # The sum works on a row of each input and one of its own, 12 bytes, beside the map of 12.
    spills = simulated(network, schedule="layer_by_layer", line_memory_bytes=23)
    assert spills.dram_bytes == {"weights": 3, "lines_in": 36, "lines_out": 24}
    # Line by line the frame comes once.
    assert simulated(network).dram_bytes == {"weights": 3, "lines_in": 12, "lines_out": 12}


def test_a_result_of_means_is_written_once_a_row() -> None:
    # A mean of two rows at the end: four input rows make two rows of 3 bytes; the sums of a row take 12.
    mean = Layer("mean", "mean", (INPUT,), kernel=Size(2, 1), stride=Size(2, 1))
    network = Network("pairs", Shape(4, 3, 1), (mean,))
    result = simulated(network)
    assert result.dram_bytes == {"weights": 0, "lines_in": 12, "lines_out": 6}
    assert result.cycles_by_cause == {"compute": 12, "weights": 0, "lines_in": 4 * 12, "lines_out": 2 * 12}
    assert result.line_memory_bytes == 3 + 12 + 3
    assert simulated(network, schedule="layer_by_layer").line_memory_bytes == 3 + 12 + 3


def test_a_maximum_over_columns_takes_as_long_as_the_row_that_it_reads() -> None:
    pool = Layer("pool", "max", (INPUT,), kernel=Size(1, 2), stride=Size(1, 2))
    network = Network("pool", Shape(2, 6, 5), (pool,))
    assert simulated(network, pe=2).cycles_by_cause["compute"] == 2 * 6 * 3


def test_a_row_below_a_short_map_takes_no_line_memory() -> None:
    # A 5x1 kernel with two rows of padding on either side sees at most the two rows that there are: 2 * 3 + 3 bytes.
    layer = Layer("a", "conv", (INPUT,), 1, Size(5, 1), padding=Padding(2, 2))
    network = Network("short", Shape(2, 3, 1), (layer,))
    assert simulated(network, schedule="layer_by_layer", line_memory_bytes=9).line_memory_bytes == 9


def test_too_small_a_line_memory_is_told_with_the_bytes_that_it_wants(square: Network) -> None:
    with pytest.raises(DoesNotFit) as told:
        simulated(square, line_memory_bytes=79)
    assert str(told.value) == (
        "machine by hand: line memory of 79 bytes was found, 80 are wanted by square line by line; layer b keeps most"
    )
    with pytest.raises(DoesNotFit) as told:
        simulated(square, line_memory_bytes=49, schedule="layer_by_layer")
    assert str(told.value) == (
        "layer b: 50 bytes of rows are wanted at once, line memory of machine by hand has 49; give it 50"
    )
    assert simulated(square, line_memory_bytes=80).line_memory_bytes == 80
    assert simulated(square, line_memory_bytes=50, schedule="layer_by_layer").line_memory_bytes == 50


@pytest.mark.parametrize("seed", range(40))
def test_more_of_anything_is_never_slower(seed: int) -> None:
    network = random_network(seed)
    for schedule in SCHEDULES:
        base = engine(pe=2, simd=2, line_memory_bytes=10**6, weight_memory_bytes=50, schedule=schedule)
        cycles = simulate(network, network, base).latency_cycles
        for more in ({"pe": 4}, {"simd": 4}, {"dram_bytes_per_cycle": 3.0}, {"weight_memory_bytes": 100}):
            better = msgspec.structs.replace(base, **more)
            assert simulate(network, network, better).latency_cycles <= cycles, f"{schedule} {more}"


def test_a_row_step_fetches_only_the_rows_that_are_read() -> None:
    network = Network("third", Shape(7, 4, 1), (conv("a", INPUT, 1, 1, 3),), row_step=3)
    for schedule in SCHEDULES:
        result = simulated(network, schedule=schedule)
        assert result.dram_bytes == {"weights": 3, "lines_in": 3 * 4, "lines_out": 3 * 4}
