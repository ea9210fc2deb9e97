"""The oracle of the line engine against frames accounted for by hand, and what must hold on random networks."""

from collections import Counter
from itertools import accumulate, pairwise
from types import SimpleNamespace

import pytest
from oracle_engine import Account, Machine, Moved, disjoint_mean, layer_by_layer, line_by_line, run
from random_networks import random_engine, random_network

from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed

SEEDS = range(100)
PLAIN = {
    "pe": 1,
    "simd": 1,
    "lanes": 1,
    "line_memory_bytes": 1000,
    "weight_memory_bytes": 1000,
    "dram_bytes_per_cycle": 2.0,
    "dram_latency_cycles": 10,
    "dram_burst_bytes": 0,
    "dma_channels": 1,
    "row_group": 1,
    "prefetch": 0,
    "resident": "none",
    "skips": "auto",
    "schedule": "line_by_line",
}


def engine(**fields: object) -> SimpleNamespace:
    return SimpleNamespace(**PLAIN | fields)


def conv(name: str, source: str, channels: int, rows: int, cols: int, **fields: object) -> Layer:
    padding = Padding((rows - 1) // 2, rows // 2, (cols - 1) // 2, cols // 2)
    return Layer(name, "conv", (source,), channels, Size(rows, cols), padding=padding, **fields)  # type: ignore[arg-type]


def present(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def random_case(seed: int) -> tuple[Network, SimpleNamespace, Account]:
    network = executed(random_network(seed)) if seed % 2 else random_network(seed)
    machine = random_engine(seed, network)
    return network, machine, run(network, machine)


# A 3x3 conv with a bias and a 1x1 conv, 3 rows of 4 pixels, 1 -> 2 -> 3 channels; an array of 2 x 4 for 3 pixels.
#
# bytes of a row: frame 4, a 8, b 12; a transfer takes 10 + half of them: 12, 14, 16 cycles.
# a: one group of 2 channels, 2 * 9 + 2 * 4 = 26 bytes, 23 cycles; a task takes 2 (of 4 pixels) * 3 (of 9 taps) = 6.
# b: groups of 2 and 1, 2 * 2 + 1 * 2 = 6 bytes, 13 cycles; a task takes 2 groups * 2 * 1 = 4.
SQUARE = Network("square", Shape(3, 4, 1), (conv("a", INPUT, 2, 3, 3, bias=True), conv("b", "a", 3, 1, 1)))
SQUARE_ENGINE = {"pe": 2, "simd": 4, "lanes": 3}


def test_square_line_by_line_by_hand() -> None:
    # Rows 0 and 1 arrive before a's first turn, row 2 before its second one, in a fourth round none before its third
    # one; b follows a in every round. The layers swap weights every turn. A round ends with the store of b's row, 16.
    account = run(SQUARE, engine(**SQUARE_ENGINE))
    assert account.steps[:6] == [
        ("a", 0, 47, 59),  # 23 + 12 + 12 of loads; a task of 6 and 6
        ("b", 0, 72, 82),  # 13; 4 + 6
        ("a", 0, 133, 145),  # the store, 16, then 23 + 12
        ("b", 0, 158, 168),
        ("a", 0, 207, 219),  # the store, 16, then 23
        ("b", 0, 232, 242),
    ]
    assert account.latency == account.interval == 242 + 16
    waits = {"weights": 13 + 13 + 39 + 13, "lines_in": 47 + 51, "drain": 16}
    assert present(account.cycles) == {"compute": 3 * 12 + 3 * 10} | waits
    assert present(account.moved) == {"weights": 3 * (26 + 6), "lines_in": 3 * 4, "lines_out": 3 * 12}
    assert (account.begin, account.finish) == ({"a": 47, "b": 72}, {"a": 219, "b": 242})
    # The fullest are b's first two turns: two rows of the frame that a still needs, a row of a, and one on its way to
    # DRAM. a's second turn has three rows of the frame and one of a: 20.
    assert account.peak == 2 * 4 + 8 + 12
    assert not account.spilled
    assert run(SQUARE, engine(**SQUARE_ENGINE, line_memory_bytes=28)) == account
    assert run(SQUARE, engine(**SQUARE_ENGINE, line_memory_bytes=27)) == Account(fits=False)


def test_square_line_by_line_with_two_channels_by_hand() -> None:
    # Stores of 16 go beside a's weights of 23, which need not wait for them, in a's second and third turn: 2 * 16 less.
    # From the second frame on in its first turn too, so that the store of the last row costs nothing.
    account = run(SQUARE, engine(**SQUARE_ENGINE, dma_channels=2))
    assert account.finishes == [226, 226 + 210, 226 + 2 * 210]
    assert account.latency == 258 - 2 * 16
    assert account.interval == 258 - 3 * 16
    assert account.cycles["drain"] == 16


# A 1x1 conv of 3 rows of 4 pixels, 1 -> 4 channels: rows of 4 bytes come in in 12 cycles, rows of 16 go out in 18, a
# row task takes 4 and 6.
OUTWARD = Network("outward", Shape(3, 4, 1), (conv("a", INPUT, 4, 1, 1),))
OUTWARD_ENGINE = {"pe": 4, "dma_channels": 2, "resident": "all"}


def test_a_row_is_not_loaded_before_the_stores_that_make_room_for_it_by_hand() -> None:
    # Each row's store must end before the next step, so the next row, which has its place from that step on, waits for
    # it although its channel is free: 12 + 10 + 18 for each row, and nothing at a time.
    account = run(OUTWARD, engine(**OUTWARD_ENGINE))
    assert [(load.start, load.end) for load in account.loads[:3]] == [(0, 12), (40, 52), (80, 92)]
    assert account.finishes == [120, 240, 360]
    assert present(account.cycles) == {"compute": 30, "lines_in": 12 + 30 + 30, "drain": 18}


def test_a_row_that_comes_ahead_waits_for_the_stores_of_its_place_by_hand() -> None:
    # A step ahead and a step behind: the load for step s has e = s - 1, the store of step k has f = k + 2. So the load
    # for step 3 waits for the store of step 0, though step 1 and the load before have ended by 36.
    account = run(OUTWARD, engine(**OUTWARD_ENGINE, prefetch=1))
    assert [(load.step, load.place, load.start, load.end) for load in account.loads[:6]] == [
        (0, 0, 0, 12),
        (1, 0, 12, 24),
        (2, 1, 24, 36),  # no store has f <= 1
        (3, 2, 40, 52),  # the store of step 0
        (4, 3, 58, 70),  # the store of step 1
        (5, 4, 76, 88),  # the store of step 2
    ]
    assert [(store.step, store.place, store.start, store.end) for store in account.stores[:4]] == [
        (0, 2, 22, 40),
        (1, 3, 40, 58),
        (2, 4, 58, 76),
        (3, 5, 76, 94),  # step 3 ends before that, at 68
    ]
    assert [step[2:] for step in account.steps[:6]] == [(12, 22), (24, 34), (40, 50), (58, 68), (76, 86), (94, 104)]
    # From then on the stores never rest: three of 18 a frame.
    assert (account.latency, account.interval) == (76, 54)
    # In the 6 cycles before step 2 its load ends too, but the store is the last.
    assert present(account.cycles) == {"compute": 30, "lines_in": 12 + 2, "lines_out": 6, "drain": 26}


def test_one_channel_does_first_what_is_for_the_earlier_step_by_hand() -> None:
    # The list: loads for steps 0, 1; the store of step 0 and the load for step 2, both for step 2; and so on.
    account = run(OUTWARD, engine(**OUTWARD_ENGINE | {"dma_channels": 1, "prefetch": 1}))
    assert [(load.step, load.start, load.end) for load in account.loads[:4]] == [
        (0, 0, 12),
        (1, 12, 24),
        (2, 42, 54),
        (3, 72, 84),
    ]
    assert [(store.step, store.place, store.start) for store in account.stores[:2]] == [(0, 2, 24), (1, 3, 54)]
    assert [step[2:] for step in account.steps[:4]] == [(12, 22), (24, 34), (54, 64), (84, 94)]
    # The last store of the frame stands before the load for step 4: it has f = 4.
    assert account.stores[2][-2:] == (84, 102)
    assert (account.latency, account.interval) == (102, 90)
    # With much prefetch: f = 1 + 4 for the store of step 0, so that the loads for steps 1 to 4 come before.
    account = run(OUTWARD, engine(**OUTWARD_ENGINE | {"dma_channels": 1, "prefetch": 4}))
    assert [(load.step, load.place, load.start) for load in account.loads[:5]] == [
        (step, 0, 12 * step) for step in range(5)
    ]
    assert (account.stores[0].place, account.stores[0].start) == (5, 60)
    # From the store of step 4 on there is no step f, for 4 + 1 + 4 is one more than the last of nine steps.
    places = [store.place for store in account.stores]
    assert places == [5, 6, 7, 8, None, None, None, None, None]


def test_square_layer_by_layer_by_hand() -> None:
    # Turns of one row. a's first needs rows 0 and 1 of the frame, its second row 2, its third nothing more.
    account = run(SQUARE, engine(**SQUARE_ENGINE, schedule="layer_by_layer"))
    assert account.steps[:6] == [
        ("a", 0, 47, 59),
        ("a", 0, 71, 83),  # 12 for row 2
        ("a", 0, 83, 95),
        ("b", 0, 108, 118),  # 13 for b's weights
        ("b", 0, 134, 144),  # 16 for the store of the row before
        ("b", 0, 160, 170),
    ]
    assert account.latency == account.interval == 186
    assert present(account.cycles) == {"compute": 66, "weights": 13, "lines_in": 59, "lines_out": 32, "drain": 16}
    assert present(account.moved) == {"weights": 26 + 6, "lines_in": 12, "lines_out": 36}
    # All of a, and a row of b on its way to DRAM.
    assert account.peak == 3 * 8 + 12
    assert account.spilled == {"input -> a"}


def test_square_layer_by_layer_with_a_spill_by_hand() -> None:
    # A byte less than 36: a goes to DRAM. Three stores of 14 more, of which the last goes before b's first loads, and
    # three loads of 14 more. The fullest: three rows of the frame and one of a; or one of a and one of b.
    account = run(SQUARE, engine(**SQUARE_ENGINE, schedule="layer_by_layer", line_memory_bytes=35))
    assert account.latency == 186 + 3 * 14 + 3 * 14
    assert present(account.moved) == {
        "weights": 32,
        "lines_in": 12,
        "lines_out": 36,
        "spills_out": 24,
        "spills_in": 24,
    }
    assert account.peak == 20
    assert account.spilled == {"input -> a", "a -> b"}
    assert run(SQUARE, engine(**SQUARE_ENGINE, schedule="layer_by_layer", line_memory_bytes=20)).fits
    assert not run(SQUARE, engine(**SQUARE_ENGINE, schedule="layer_by_layer", line_memory_bytes=19)).fits


# A 1x1 conv of 2 rows of 3 pixels, 4 -> 5 channels, in groups of 2, 2, 1: 8, 8 and 4 bytes. A group takes 3 cycles.
TILES = Network("tiles", Shape(2, 3, 4), (conv("a", INPUT, 5, 1, 1),))
TILES_ENGINE = {"pe": 2, "simd": 4, "dram_bytes_per_cycle": 4.0, "dram_latency_cycles": 5, "dma_channels": 2}


@pytest.mark.parametrize("schedule", ["line_by_line", "layer_by_layer"])
def test_tiles_fetched_ahead_by_hand(schedule: str) -> None:
    # 20 bytes do not fit into 18, one group into their half: three tiles, of 7, 7 and 6 cycles; a row in takes 8, a
    # row out 9. A load may be a step ahead: the second tile's during the first, the third's during the second (4 bytes
    # beside 8), the next turn's first and its row during the third.
    account = run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=18, prefetch=1, schedule=schedule))
    assert [(load.kind, load.step, load.place, load.start, load.end) for load in account.loads[:8]] == [
        ("weights", 0, 0, 0, 7),
        ("lines_in", 0, 0, 7, 15),
        ("weights", 1, 0, 15, 22),
        ("weights", 2, 1, 22, 28),
        ("weights", 3, 2, 28, 35),
        ("lines_in", 3, 2, 35, 43),
        ("weights", 4, 3, 43, 50),
        ("weights", 5, 4, 50, 56),
    ]
    assert account.steps[:6] == [
        ("a", 0, 15, 18),
        ("a", 1, 22, 25),
        ("a", 2, 28, 37),
        ("a", 0, 43, 46),
        ("a", 1, 50, 53),
        ("a", 2, 56, 65),
    ]
    assert [(store.step, store.place, store.start, store.end) for store in account.stores] == [
        (2, 4, 37, 46),
        (5, 7, 65, 74),
        (8, 10, 93, 102),
        (11, 13, 121, 130),
        (14, 16, 149, 158),
        (17, None, 177, 186),
    ]
    assert (account.latency, account.interval) == (74, 56)
    assert present(account.cycles) == {"compute": 30, "weights": 4 + 3 + 4 + 3, "lines_in": 15 + 6, "drain": 9}
    assert present(account.moved) == {"weights": 2 * 20, "lines_in": 24, "lines_out": 30}
    assert account.peak == 12 + 15


def test_tiles_of_all_of_the_space_by_hand() -> None:
    # Without double buffering two groups fit into 18 bytes; with less than 16 one; with less than 8 none.
    assert [step[1] for step in run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=18)).steps[:4]] == [0, 1, 0, 1]
    assert {step[1] for step in run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=15)).steps} == {0, 1, 2}
    assert run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=8, prefetch=9)).moved["weights"] == 2 * 20
    assert not run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=7)).fits
    # All of it: loaded once, and still there in the second frame. Resident: not even once.
    once = run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=20))
    assert [load.size for load in once.loads if load.kind == "weights"] == [20]
    for resident in ("all", "auto", ("a",)):
        never = run(TILES, engine(**TILES_ENGINE, weight_memory_bytes=20, resident=resident))
        assert not never.moved["weights"]
        assert never.resident == {"a"}


# A 3x1 conv, its sum with the frame, and a mean of 2x2: 4 rows of 2 pixels of 1 channel; a row of 2, at the end of 1.
SKIP = Network(
    "skip",
    Shape(4, 2, 1),
    (
        conv("a", INPUT, 1, 3, 1),
        Layer("sum", "add", ("a", INPUT)),
        Layer("mean", "mean", ("sum",), kernel=Size(2, 2), stride=Size(2, 2)),
    ),
)
SKIP_ENGINE = {"dram_bytes_per_cycle": 1.0, "dram_latency_cycles": 3, "resident": "all", "skips": "spill"}


def test_a_spilled_skip_and_sums_line_by_line_by_hand() -> None:
    # Tasks of 6, 2 and 2 cycles; loads of 5, stores of 4. Turns of one task: of each layer after rows 1, 2 and 3 of the
    # frame have arrived, and of each in a fifth round, without an arrival. The sum loads its rows of the frame again.
    account = run(SKIP, engine(**SKIP_ENGINE))
    assert account.steps[:12] == [
        ("a", 0, 10, 22),
        ("sum", 0, 27, 35),
        ("mean", 0, 35, 43),
        ("a", 0, 48, 60),
        ("sum", 0, 65, 73),
        ("mean", 0, 73, 81),
        ("a", 0, 90, 102),  # a store of 4 and a load of 5
        ("sum", 0, 107, 115),
        ("mean", 0, 115, 123),
        ("a", 0, 123, 135),  # nothing to load
        ("sum", 0, 140, 148),
        ("mean", 0, 148, 156),
    ]
    assert account.latency == account.interval == 160
    assert present(account.cycles) == {"compute": 4 * 28, "lines_in": 10 + 5 + 5 + 5 + 9 + 5 + 5, "drain": 4}
    assert present(account.moved) == {"lines_in": 8, "spills_in": 8, "lines_out": 2}
    assert account.spilled == {"input -> sum"}
    # The second turn of the sum: rows 1 and 2 of the frame for a, a row of a, one of the frame again, one of the sum,
    # and 4 bytes of the mean's sums.
    assert account.peak == 4 + 2 + 2 + 2 + 4
    # On chip the skip's row is one of those that a keeps.
    kept = run(SKIP, engine(**SKIP_ENGINE | {"skips": "auto"}))
    assert not kept.spilled
    assert kept.peak == 4 + 2 + 2 + 4
    assert present(kept.moved) == {"lines_in": 8, "lines_out": 2}


def test_a_skip_and_sums_layer_by_layer_by_hand() -> None:
    # Four turns of each layer, 12, 8 and 8 cycles. The mean's second and fourth end a row; the next turn waits for its
    # store.
    account = run(SKIP, engine(**SKIP_ENGINE, schedule="layer_by_layer"))
    assert account.latency == 160
    assert present(account.cycles) == {"compute": 112, "lines_in": 10 + 5 + 5 + 4 * 5, "lines_out": 4, "drain": 4}
    assert present(account.moved) == {"lines_in": 8, "spills_in": 8, "lines_out": 2}
    assert account.peak == 12
    assert account.spilled == {"input -> a", "input -> sum"}


def test_rounds_go_on_after_the_last_arrival_by_hand() -> None:
    # A 3x1 conv with two rows of padding above and below makes 4 rows of 2: they need row 0, both, both, and row 1 of
    # the frame. The maximum takes two of them each. Tasks of 9 and 3 cycles; rows of 3 bytes take 6 cycles in and out.
    tall = Layer("a", "conv", (INPUT,), 1, Size(3, 1), padding=Padding(2, 2, 0, 0))
    pairs = Layer("pairs", "max", ("a",), kernel=Size(2, 1), stride=Size(2, 1))
    network = Network("tail", Shape(2, 3, 1), (tall, pairs))
    fields = {"dram_bytes_per_cycle": 1.0, "dram_latency_cycles": 3, "resident": "all"}
    # One row arrives and lets one task go; another; then two rounds more of one task of a each, the second with a pair.
    single = run(network, engine(**fields))
    assert single.steps[:6] == [
        ("a", 0, 6, 21),
        ("a", 0, 27, 42),
        ("pairs", 0, 42, 51),
        ("a", 0, 57, 72),  # the store of the pair before
        ("a", 0, 72, 87),
        ("pairs", 0, 87, 96),
    ]
    assert single.latency == single.interval == 102
    assert present(single.cycles) == {"compute": 78, "lines_in": 6 + 6, "lines_out": 6, "drain": 6}
    # Two rows and two tasks a round; of the second round nothing arrives.
    double = run(network, engine(**fields, row_group=2))
    assert double.steps[:4] == [("a", 0, 12, 36), ("pairs", 0, 36, 45), ("a", 0, 51, 75), ("pairs", 0, 75, 84)]
    # Both rows, too few for a round, and three tasks; the fourth has to wait for the next round.
    triple = run(network, engine(**fields, row_group=3))
    assert triple.steps[:4] == [("a", 0, 12, 45), ("pairs", 0, 45, 54), ("a", 0, 60, 75), ("pairs", 0, 75, 84)]
    assert double.latency == triple.latency == 90
    # All four at once, and both pairs in a turn.
    whole = run(network, engine(**fields, row_group=4))
    assert whole.steps[:2] == [("a", 0, 12, 54), ("pairs", 0, 54, 66)]
    assert whole.latency == 66 + 6 + 6
    # The fullest are the maximum's first turn, in all cases but the last: of the frame what a needs next, rows of a
    # that are there, a row on its way out; then a's only turn.
    assert single.peak == 2 * 3 + 2 * 3 + 3
    assert double.peak == 2 * 3 + 2 * 3 + 3
    assert triple.peak == 3 + 3 * 3 + 3
    assert whole.peak == 2 * 3 + 4 * 3


def test_a_transfer_in_bursts_by_hand() -> None:
    # A row of 20 bytes at 3 a cycle: 10 + 7, or bursts of 8, 8 and 4 of 10 + 3, 10 + 3 and 10 + 2.
    network = Network("bursts", Shape(1, 4, 5), (Layer("a", "max", (INPUT,)),))
    for burst, cycles in ((0, 17), (8, 38), (20, 17), (1000, 17)):
        [load, *_] = run(network, engine(dram_bytes_per_cycle=3.0, dram_burst_bytes=burst)).loads
        assert load.end - load.start == cycles


def test_a_skip_over_many_rows_goes_to_dram_where_line_memory_is_too_small() -> None:
    # Four 3x1 convs lag a row each behind what they read, so that in a round x ends a row, say 8, the convs rows 7 to
    # 4, and the sum row 4. Fullest is c1's turn (and c2's, with as much): of x rows 4 to 8 of 8 bytes that the sum
    # waits for, of c0 rows 5 to 7 of 2, of c1 rows 4 to 6 of 32, of c2 rows 3 and 4 of 2. With x in DRAM only its rows
    # 7 and 8 are there, which c0 needs next.
    layers = [conv("x", INPUT, 4, 1, 1)]
    for number, channels in enumerate((1, 16, 1, 4)):
        layers.append(conv(f"c{number}", layers[-1].name, channels, 3, 1))
    layers.append(Layer("sum", "add", ("x", layers[-1].name)))
    network = Network("long", Shape(9, 2, 1), tuple(layers))
    keep, spill = run(network, engine(skips="keep")), run(network, engine(skips="spill"))
    assert keep.peak == 5 * 8 + 3 * 2 + 3 * 32 + 2 * 2
    assert spill.peak == keep.peak - 3 * 8
    assert run(network, engine(line_memory_bytes=keep.peak)) == keep
    assert run(network, engine(line_memory_bytes=keep.peak - 1)) == spill
    assert spill.spilled == {"x -> sum"}
    assert spill.moved["spills_out"] == spill.moved["spills_in"] == 9 * 8
    assert not run(network, engine(line_memory_bytes=keep.peak - 1, skips="keep")).fits
    assert not run(network, engine(line_memory_bytes=spill.peak - 1)).fits


def test_rows_of_the_frame_that_nobody_needs_are_not_loaded_by_hand() -> None:
    # Every third of 8 rows of 4 bytes.
    thirds = Network("thirds", Shape(8, 4, 1), (Layer("a", "max", (INPUT,), stride=Size(3, 1)),))
    for schedule in ("line_by_line", "layer_by_layer"):
        account = run(thirds, engine(schedule=schedule))
        assert [load.row for load in account.loads if load.frame == 0] == [0, 3, 6]
        assert account.peak == 4 + 4
    # Arrivals of two rows: 1 comes with 0 and 7 with 6, behind a row that is needed; 2 comes before 3; 4 and 5 are
    # followed by the turn that needs 6.
    by_line = run(thirds, engine(row_group=2))
    assert [load.row for load in by_line.loads if load.frame == 0] == [0, 1, 3, 6, 7]
    # Two tasks a turn: rows 0 to 3 of the first, row 6 of the second.
    by_layer = run(thirds, engine(row_group=2, schedule="layer_by_layer"))
    assert [load.row for load in by_layer.loads if load.frame == 0] == [0, 1, 2, 3, 6]
    assert by_layer.peak == 4 * 4 + 2 * 4


def test_steps_after_the_last_store_are_of_the_frame_by_hand() -> None:
    # Row 4 of a is made for nobody: 4 * 5 * 8 cycles and 6 after the last store, of 3 cycles.
    a, pairs = conv("a", INPUT, 8, 1, 5), Layer("pairs", "max", ("a",), kernel=Size(2, 2), stride=Size(2, 2))
    network = Network("odd", Shape(5, 4, 1), (a, pairs))
    machine = engine(dram_bytes_per_cycle=8.0, dram_latency_cycles=1, prefetch=16)
    account = run(network, machine)
    # 6 + 2 cycles of loads, five rows of a, two of the maximum, 4 * 8 + 6 each.
    assert account.latency == 8 + 5 * 166 + 2 * 38 == account.interval + 8
    assert max(store.end for store in account.stores if store.frame == 0) == 8 + 4 * 166 + 2 * 38 + 3
    assert present(account.cycles) == {"compute": 5 * 166 + 2 * 38, "lines_in": 8}


def test_auto_keeps_the_layers_with_most_turns_and_then_the_smallest_in_half_of_the_memory() -> None:
    # 11 bytes of weights; groups of 1, 4 and 3. Beside half of the memory, or the group of 4, there is room for 5, 4, 3
    # and 2 bytes of 10, 8, 7 and 6.
    def three(step: int) -> Network:
        c = conv("c", "b", 1, 3, 1, stride=Size(step, 1))
        return Network("three", Shape(2, 2, 1), (conv("a", INPUT, 4, 1, 1), conv("b", "a", 1, 1, 1), c))

    def kept(step: int, **fields: object) -> set[str]:
        account = run(three(step), engine(resident="auto", **fields))
        assert account.fits
        return set(account.resident)

    for schedule in ("line_by_line", "layer_by_layer"):
        fields = {"schedule": schedule}
        # a and b have two turns. If c makes one row it has one turn, and comes last; else it has two, and comes first.
        for step, first in ((2, {"a"}), (1, {"c"})):
            assert kept(step, weight_memory_bytes=11, **fields) == {"a", "b", "c"}
            assert kept(step, weight_memory_bytes=10, **fields) == first
            assert kept(step, weight_memory_bytes=9, **fields) == first  # 9 less 5, the half rounded up
            assert kept(step, weight_memory_bytes=8, **fields) == first
            assert kept(step, weight_memory_bytes=7, **fields) == {"c"}
            assert kept(step, weight_memory_bytes=6, **fields) == set()
        # With turns of two rows the layers have one turn each, also c if it makes two rows.
        assert kept(1, weight_memory_bytes=10, row_group=2, **fields) == {"c"}
        assert kept(2, weight_memory_bytes=10, row_group=2, **fields) == {"c"}
    assert not run(three(1), engine(weight_memory_bytes=10, resident="all")).fits


# On random networks with random engines


@pytest.mark.parametrize("seed", SEEDS)
def test_causes_add_up_and_nothing_is_lost_or_moved_twice(seed: int) -> None:
    network, machine, account = random_case(seed)
    if not account.fits:
        assert account == Account(fits=False)
        return
    assert account.cycles.total() == account.latency == account.finishes[0]
    assert min(account.cycles.values()) >= 0
    assert account.peak <= machine.line_memory_bytes
    check_compute(network, machine, account)
    check_weights(network, machine, account)
    for frame in range(3):
        check_rows(network, machine, account, frame)


def check_compute(network: Network, machine: SimpleNamespace, account: Account) -> None:
    cycles = 0
    for layer in network.layers:
        read, made = network.input_shape(layer), network.shapes[layer.name]
        kernel_rows = layer.kernel.rows * disjoint_mean(layer) or 1
        inner = -(-layer.taps * read.channels // machine.simd) if layer.kind == "conv" else 1
        cols = made.cols if layer.kind == "conv" else max(read.cols, made.cols)
        groups = -(-made.channels // machine.pe)
        cycles += made.rows * kernel_rows * groups * -(-cols // machine.lanes) * inner
    steps = account.steps[: len(account.steps) // 3]
    last_tiles = {layer: max(tile for name, tile, *_ in steps if name == layer) for layer in network.by_name}
    turns = sum(tile == last_tiles[name] for name, tile, *_ in steps)
    assert account.cycles["compute"] == cycles + 6 * turns == sum(end - start for *_, start, end in steps)


def check_weights(network: Network, machine: SimpleNamespace, account: Account) -> None:
    sizes = {layer.name: Machine(network, machine, 8, 8).weight_bytes(layer) for layer in network.layers}
    assert sum(sizes[name] for name in account.resident) <= machine.weight_memory_bytes
    loaded = Counter(dict.fromkeys(sizes, 0))
    for load in account.loads:
        if load.kind == "weights":
            loaded[load.layer] += load.size
    for name, size in sizes.items():
        if name in account.resident or not size:
            assert loaded[name] == 0
        else:
            assert loaded[name] >= size
            assert loaded[name] % size == 0


def check_rows(network: Network, machine: SimpleNamespace, account: Account, frame: int) -> None:
    bits = Machine(network, machine, 8, 8)
    loads = [load for load in account.loads if load.frame == frame]
    needed = {
        edge: {row for task in bits.tasks(network.by_name[edge.target]) for row in task.reads} for edge in network.edges
    }
    from_frame = Counter(load.row for load in loads if load.kind == "lines_in")
    assert set(from_frame.values()) == {1}
    readers = network.consumers[INPUT] if machine.schedule == "line_by_line" else network.consumers[INPUT][:1]
    of_frame = [edge for edge in network.edges if edge.source == INPUT and edge.target in readers]
    again = [edge for edge in network.edges if str(edge) in account.spilled]
    if machine.schedule == "layer_by_layer":
        again.remove(of_frame[0])
    assert set(from_frame) >= {row for edge in of_frame if edge not in again for row in needed[edge]}
    # Every row once for every reader; besides those that it needs only such as lie between two of one turn.
    spilled = Counter((load.layer, load.row) for load in loads if load.kind == "spills_in")
    least = Counter((edge.source, row) for edge in again for row in needed[edge])
    between = Counter((edge.source, row) for edge in again for row in range(max(needed[edge])))
    assert least <= spilled <= least | between
    stores = Counter((store.layer, store.row) for store in account.stores if store.frame == frame)
    to_dram = {edge.source for edge in again} - {INPUT} | {network.output.name}
    assert stores == Counter((name, row) for name in to_dram for row in range(network.shapes[name].rows))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_unit_does_two_things_at_once_and_each_waits_for_what_it_needs(seed: int) -> None:
    _, machine, account = random_case(seed)
    moves = [(move.start, move.end) for move in account.loads]
    other = [(move.start, move.end) for move in account.stores]
    units = [moves, other] if machine.dma_channels == 2 else [sorted(moves + other)]
    for spans in ([(start, end) for *_, start, end in account.steps], *units):
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    steps = account.steps
    arrived = {(store.frame, store.layer, store.row): store.end for store in account.stores}
    for load in account.loads:
        assert load.place is not None
        assert 0 <= load.step - load.place <= machine.prefetch
        assert load.place == 0 or load.start >= steps[load.place - 1][3]
        assert load.end <= steps[load.step][2]
        if load.kind != "weights":
            assert load.start >= arrived.get((load.frame, load.layer, load.row), 0)
            due = [store.end for store in account.stores if store.place is not None and store.place <= load.place]
            assert load.start >= max(due, default=0)
    for store in account.stores:
        assert store.start >= steps[store.step][3]
        if store.place is not None:
            assert 1 <= store.place - store.step <= 1 + machine.prefetch
            assert store.end <= steps[store.place][2]
            back = [load for load in account.loads if load[1:4] == store[1:4]]
            assert all(store.step < load.place <= load.step >= store.place for load in back)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_really_in_memory_never_exceeds_it(seed: int) -> None:
    """On the random machine, and with the least line memory that its fullest turn allows and two channels."""
    network, machine, account = random_case(seed)
    if not account.fits:
        return
    check_memories(network, machine, account)
    tight = SimpleNamespace(**vars(machine) | {"line_memory_bytes": account.peak, "dma_channels": 2})
    account = run(network, tight)
    if account.fits:
        check_memories(network, tight, account)


def check_memories(network: Network, machine: SimpleNamespace, account: Account) -> None:
    weights = [
        (load.start, account.steps[last_use(account, load)][3], load.size)
        for load in account.loads
        if load.kind == "weights"
    ]
    always = sum(Machine(network, machine, 8, 8).weight_bytes(network.by_name[name]) for name in account.resident)
    assert always + fullest_moment(weights) <= machine.weight_memory_bytes
    assert fullest_moment(lines_in_time(network, machine, account)) <= machine.line_memory_bytes


def fullest_moment(spans: list[tuple[int, int, int]]) -> int:
    """The most bytes at once of things with a begin, an end, and bytes; what ends makes room for what begins then."""
    changes = sorted([(end, -size) for _, end, size in spans] + [(start, size) for start, _, size in spans])
    return max(accumulate(size for _, size in changes), default=0)


def last_use(account: Account, load: Moved) -> int:
    """The last step that computes with a tile before it is loaded again."""
    tile = account.steps[load.step][:2]
    again = [
        other.step
        for other in account.loads
        if other.kind == "weights" and other.step > load.step and account.steps[other.step][:2] == tile
    ]
    until = min(again, default=len(account.steps))
    return max(number for number in range(load.step, until) if account.steps[number][:2] == tile)


def lines_in_time(network: Network, machine: SimpleNamespace, account: Account) -> list[tuple[int, int, int]]:
    """Begin, end and bytes of everything that is in line memory at some time.

    A loaded row is there from the begin of its transfer, a turn's rows from the begin of its first step, sums from that
    of the turn that begins them. A row leaves with the last turn of a reader that has a task for which it, or a row
    above it, is needed; sums with the turn that ends them; a row on its way to DRAM with the end of its store.
    """
    bits = Machine(network, machine, 8, 8)
    turns = line_by_line(bits) if machine.schedule == "line_by_line" else layer_by_layer(bits)
    times: list[tuple[int, int]] = []
    numbers: list[int] = []
    for frame_and_turn in range(3 * len(turns)):
        layer = turns[frame_and_turn % len(turns)].layer.name
        first = len(numbers)
        while len(numbers) < len(account.steps):
            name, tile, *_ = account.steps[len(numbers)]
            if len(numbers) > first and tile == 0:
                break
            assert name == layer
            numbers.append(frame_and_turn)
        times.append((account.steps[first][2], account.steps[len(numbers) - 1][3]))
    spans = []

    def leaves(frame: int, row: int, readers: set[str]) -> tuple[int, int]:
        """The last turn that holds a row, of no frame if none does, and its end."""
        last = -1
        for number, turn in enumerate(turns):
            if turn.layer.name in readers and any(min(task.reads) <= row for task in turn.tasks):
                last = frame * len(turns) + number
        return last, times[last][1] if last >= 0 else 0

    on_chip = {
        source: {edge.target for edge in network.edges if edge.source == source and str(edge) not in account.spilled}
        for source in network.shapes
    }
    spilled = {name: len(network.consumers[name]) > len(on_chip[name]) for name in network.shapes}
    for load in account.loads:
        if load.kind == "weights":
            continue
        arrives = load.kind == "lines_in" and machine.schedule == "line_by_line"
        reader = {account.steps[load.step][0]}
        last, end = leaves(load.frame, load.row, on_chip[INPUT] if arrives else reader)
        assert last >= numbers[load.step]
        spans.append((load.start, end, load.size))
    for number, turn in enumerate(turns * 3):
        frame, name = number // len(turns), turn.layer.name
        for row in turn.makes:
            last, end = leaves(frame, row, on_chip[name])
            if last >= number:
                spans.append((times[number][0], end, bits.row_bytes(name)))
            if spilled[name] or turn.layer == network.output:
                [store] = [s for s in account.stores if (s.frame, s.layer, s.row) == (frame, name, row)]
                spans.append((times[number][0], store.end, store.size))
    for layer in network.layers:
        shape = network.shapes[layer.name]
        # Where a turn ends sums and begins others, they follow each other in the same place.
        busy: list[tuple[int, int]] = []
        for frame in range(3):
            rows: dict[int, list[int]] = {}
            for number, turn in enumerate(turns):
                for task in turn.tasks if turn.layer == layer else ():
                    if task.sums is not None:
                        rows.setdefault(task.sums, []).append(frame * len(turns) + number)
            for held in rows.values():
                start, end = times[min(held)][0], times[max(held)][1]
                if busy and busy[-1][1] > start:
                    start, _ = busy.pop()
                busy.append((start, end))
        spans += [(start, end, 4 * shape.cols * shape.channels) for start, end in busy]
    return spans


@pytest.mark.parametrize("seed", SEEDS)
def test_more_of_a_rate_never_makes_a_frame_later(seed: int) -> None:
    network, machine, account = random_case(seed)
    if account.fits:
        faster = SimpleNamespace(**vars(machine) | {"dram_bytes_per_cycle": 100.0, "dram_latency_cycles": 0})
        assert run(network, faster).latency <= account.latency


def test_the_random_engines_cover_what_they_are_for() -> None:
    seen = Counter[str]()
    for seed in range(300):
        network, machine, account = random_case(seed)
        inner = {str(edge) for edge in network.edges if edge.source != INPUT}
        seen[f"{machine.schedule} {'fits' if account.fits else 'too small'}"] += 1
        seen["tiles"] += any(step[1] for step in account.steps)
        seen["some resident"] += bool(account.resident)
        seen["loads ahead"] += any(load.place != load.step for load in account.loads)
        seen["stores behind"] += any((s.place or s.step) > s.step + 1 for s in account.stores)
        seen["skips in DRAM"] += machine.schedule == "line_by_line" and bool(account.spilled)
        seen["maps in DRAM"] += machine.schedule == "layer_by_layer" and bool(account.spilled & inner)
        seen["maps on chip"] += machine.schedule == "layer_by_layer" and bool(inner - account.spilled) and account.fits
    assert min(seen.values()) >= 5, seen
