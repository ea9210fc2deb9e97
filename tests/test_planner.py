"""The planner against the engine's own count of bytes, against its times, and against plans that are wrong."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from random_networks import random_engine, random_network

from hw.accelerator import LineEngine, machine
from hw.errors import BadInput, DoesNotFit
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from reports import lifetimes as figure
from sim import engine as simulator
from sim import kernels_engine as kernel
from sim import kernels_turns, planner, program
from sim.engine import Run
from sim.planner import Buffer, Plan, check

FITTING = 200
BY_HAND = LineEngine("by hand", 2, 4, 1000, 1000, 2.0, 10, 100.0, lanes=3, prefetch=0, resident="none", dma_channels=1)


def conv(name: str, source: str, channels: int, rows: int, cols: int) -> Layer:
    padding = Padding((rows - 1) // 2, rows // 2, (cols - 1) // 2, cols // 2)
    return Layer(name, "conv", (source,), channels, Size(rows, cols), padding=padding)


# Rows of 4 pixels: frame 4 bytes, a 8, b 12. Six turns of one row each, and of a step each: a of rows 0 and 1, b, a of
# rows 0 to 2, b, a of rows 1 and 2, b.
SQUARE = Network("square", Shape(3, 4, 1), (conv("a", INPUT, 2, 3, 3), conv("b", "a", 3, 1, 1)))


def random_runs(count: int) -> Iterator[tuple[Network, LineEngine, Run]]:
    """So many random networks on random machines that hold them."""
    seed = 0
    while count:
        network = executed(random_network(seed)) if seed % 2 else random_network(seed)
        engine = LineEngine(**vars(random_engine(seed, network)))
        seed += 1
        try:
            yield network, engine, simulator.run(network, engine, frames=2)
        except DoesNotFit:
            continue
        count -= 1


def fields(buffers: tuple[Buffer, ...], frame: int) -> list[tuple[object, ...]]:
    return [(b.map, b.kind, b.row, b.bytes, b.begin, b.wanted, b.left, b.end) for b in buffers if b.frame == frame]


def test_lifetimes_by_hand() -> None:
    made = planner.plan(SQUARE, BY_HAND)
    first = [
        ("input", "row", 0, 4, 0, 0, 3, 3),
        ("input", "row", 1, 4, 0, 0, 5, 5),
        ("input", "row", 2, 4, 2, 2, 5, 5),
        ("a", "row", 0, 8, 0, 0, 2, 2),
        ("a", "row", 1, 8, 2, 2, 4, 4),
        ("a", "row", 2, 8, 4, 4, 6, 6),
        ("b", "row", 0, 12, 1, 1, 2, 2),
        ("b", "row", 1, 12, 3, 3, 4, 4),
        ("b", "row", 2, 12, 5, 5, 6, 6),
    ]
    assert fields(made.buffers, 0) == first
    assert fields(made.buffers, 1) == [(*one[:4], *(step + 6 for step in one[4:])) for one in first]  # type: ignore[operator]
    assert planner.live_bytes(made.buffers).tolist() == [16, 28, 20, 28, 16, 20] * 2
    assert (made.most_live_bytes, made.extent_bytes) == (28, 28)
    check(made)


def test_rows_that_wait_by_hand() -> None:
    # Two steps ahead: row 2 beside 28 of 36 and 16, rows 0 and 1 of the next frame beside 20 and 16. Two steps behind:
    # b's row 0 beside 20, but not beside 28 as well; its row 1 beside 16 and 8 that wait; its row 2 beside 16 and 4.
    made = planner.plan(SQUARE, msgspec.structs.replace(BY_HAND, prefetch=2, line_memory_bytes=36))
    check(made)
    places = {(b.map, b.frame, b.row): (b.begin, b.wanted, b.left, b.end) for b in made.buffers}
    assert places[INPUT, 0, 2] == (0, 2, 5, 5)
    assert [places[INPUT, 1, row][:2] for row in range(3)] == [(4, 6), (4, 6), (6, 8)]
    assert [places["b", 0, row][2:] for row in range(3)] == [(2, 3), (4, 5), (6, 7)]
    assert made.most_live_bytes == 36


def stored_until(made: Run, network: Network) -> dict[tuple[int, str, int], tuple[int, int]]:
    """By frame, map and row: the step before which a store has ended, and the cycle in which it does."""
    names, table = (INPUT, *network.by_name), made.scheduled.turns.table
    found = {}
    for store, (_, end) in zip(made.program.stores.tolist(), made.times.stores.tolist(), strict=True):
        frame, turn = divmod(store[kernel.W_TURN], made.turns)
        key = frame, names[table[turn, kernels_turns.T_LAYER]], store[kernel.W_ROW]
        found[key] = store[kernel.W_BEFORE], end
    return found


def test_bytes_that_live_are_those_that_the_engine_counts() -> None:
    for network, _, made in random_runs(FITTING):
        buffers, steps = planner.lifetimes(network, made), made.program.steps
        counted = np.zeros(len(steps), np.int64)
        counted[: planner.live_bytes(buffers).size] = planner.live_bytes(buffers)
        stored = stored_until(made, network)
        for b in buffers:
            turn_ends = np.searchsorted(steps[:, kernel.S_TURN], steps[b.wanted, kernel.S_TURN], side="right")
            if b.kind == "row" and (b.frame, b.map, b.row) in stored and b.left > turn_ends:
                # The engine counts a row that stays on chip again while it is stored.
                counted[b.wanted : min(b.left, stored[b.frame, b.map, b.row][0])] += b.bytes
        assert counted.tolist() == steps[:, kernel.S_LINE].tolist()


def test_random_plans_hold_and_no_byte_has_two_rows_in_one_cycle() -> None:
    for network, engine, made in random_runs(FITTING):
        plan = planner.plan(network, engine)
        check(plan)
        assert plan.most_live_bytes <= min(plan.extent_bytes, engine.line_memory_bytes)
        begin, end = np.array(list(cycles(network, made, plan.buffers))).T
        low = np.array(plan.addresses)
        high = low + [b.bytes for b in plan.buffers]
        together = (begin[:, None] < end) & (low[:, None] < high)
        assert (together & together.T).sum() == len(plan.buffers)


def cycles(network: Network, made: Run, buffers: tuple[Buffer, ...]) -> Iterator[tuple[int, int]]:
    """When a row's first byte is written and its last one read."""
    stored, steps, lists = stored_until(made, network), made.times.steps, made.program
    loaded = {}
    for load, (start, _) in zip(lists.loads.tolist(), made.times.loads.tolist(), strict=True):
        if load[kernel.L_KIND] != kernel.WEIGHTS:
            edge = network.edges[load[kernel.L_EDGE]] if load[kernel.L_EDGE] >= 0 else (INPUT, "")
            loaded[lists.steps[load[kernel.L_STEP], kernel.S_TURN] // made.turns, *edge, load[kernel.L_ROW]] = start
    for b in buffers:
        start, end = int(steps[b.wanted, 0]), int(steps[b.left - 1, 1])
        if b.kind == "row":
            end = max(end, stored.get((b.frame, b.map, b.row), (0, 0))[1])
        yield loaded.get((b.frame, b.map, b.reader, b.row), start), end


def corrupted(plan: Plan, victim: int, address: int) -> Plan:
    addresses = (*plan.addresses[:victim], address, *plan.addresses[victim + 1 :])
    return msgspec.structs.replace(plan, addresses=addresses)


def test_a_plan_that_is_wrong_is_caught() -> None:
    plan = planner.plan(SQUARE, BY_HAND)
    check(plan)
    for victim, buffer in enumerate(plan.buffers):
        for other, second in enumerate(plan.buffers):
            if other != victim and buffer.begin < second.end and second.begin < buffer.end:
                nudged = min(plan.addresses[other] + second.bytes - 1, plan.extent_bytes - buffer.bytes)
                with pytest.raises(ValueError, match=r"shares bytes with|outside of"):
                    check(corrupted(plan, victim, nudged))
    with pytest.raises(ValueError, match="outside of the 28 bytes"):
        check(corrupted(plan, 0, -1))
    with pytest.raises(ValueError, match="outside of the 28 bytes"):
        check(corrupted(plan, 0, 25))
    with pytest.raises(ValueError, match="outside of the 27 bytes"):
        check(msgspec.structs.replace(plan, extent_bytes=27))
    frozen = msgspec.structs.replace(plan.buffers[0], end=0)
    with pytest.raises(ValueError, match="without a step"):
        check(msgspec.structs.replace(plan, buffers=(frozen, *plan.buffers[1:])))


def with_lines(engine: LineEngine, size: int) -> LineEngine:
    return msgspec.structs.replace(engine, line_memory_bytes=size)


def test_the_least_line_memory_fits_and_a_byte_less_does_not() -> None:
    presets = [(executed(preset(name)), machine(on)) for name in ("wrn-16-2", "resnet-20-1x3") for on in ON]
    cases = [*presets, *((network, engine) for network, engine, _ in random_runs(FITTING))]
    for network, engine in cases:
        least = planner.least_line_memory(network, engine)
        assert program.schedule(network, with_lines(engine, least)).turns.peak_bytes == least
        if least > 1:
            with pytest.raises(DoesNotFit):
                program.schedule(network, with_lines(engine, least - 1))


ON = ("line-64", "line-64/layer_by_layer", "line-128")


def test_lines_of_the_square_by_hand() -> None:
    found = figure.lines(SQUARE, BY_HAND, planner.plan(SQUARE, BY_HAND))
    assert (found.peak_bytes, found.fullest_turn, found.turns, found.fullest_layer) == (28, 1, 6, "b")
    assert (found.least_line_memory_bytes, found.least_extent_bytes) == (28, 28)
    assert (found.spilled, found.resident) == ((), ())
    maps = {entry.name: (entry.most_rows, entry.most_bytes, entry.fullest_turn_bytes) for entry in found.maps}
    assert maps == {INPUT: (3, 12, 8), "a": (1, 8, 8), "b": (1, 12, 12)}


def test_maps_of_the_fullest_turn_add_up_to_the_peak() -> None:
    for network, engine, made in random_runs(60):
        found = figure.lines(network, engine, planner.plan(network, engine))
        held = sum(entry.fullest_turn_bytes for entry in found.maps)
        near = {edge.source for edge in network.edges if str(edge) not in found.spilled} - {INPUT}
        far = {edge.source for edge in network.edges if str(edge) in found.spilled} - {INPUT}
        assert held <= found.peak_bytes == made.scheduled.turns.peak_bytes
        if not near & far:
            assert held == found.peak_bytes


def test_1xn_filters_want_less_line_memory() -> None:
    engine = machine("line-128")
    least = defaultdict(int)
    for name in ("wrn-16-2", "wrn-16-2-1x3"):
        least[name] = planner.least_line_memory(executed(preset(name)), engine)  # type: ignore[arg-type]
    assert 9 * least["wrn-16-2-1x3"] < least["wrn-16-2"]


def test_only_line_engines_have_lines() -> None:
    with pytest.raises(
        BadInput, match="machine pipeline-64: a pipeline or a budget was found, a line engine is wanted"
    ):
        planner.line_engine("pipeline-64")


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_figures_are_written_and_the_same_every_time(tmp_path, ending) -> None:
    pytest.importorskip("matplotlib")
    plan = planner.plan(SQUARE, with_lines(BY_HAND, 43))
    for name in ("one", "two"):
        figure.draw(tmp_path / f"{name}.{ending}", plan, 100.0)
    one, two = (tmp_path / f"{name}.{ending}" for name in ("one", "two"))
    assert one.stat().st_size > 1000
    assert one.read_bytes() == two.read_bytes()


def test_a_figure_has_one_of_three_endings(tmp_path) -> None:
    with pytest.raises(BadInput, match=r"t\.gif: a figure ends in \.svg, \.png, \.pdf; \.gif was found"):
        figure.draw(tmp_path / "t.gif", planner.plan(SQUARE, BY_HAND), 100.0)
