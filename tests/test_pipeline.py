"""What a pipeline's result says: times, waiting, bytes, and the sentences for machines that cannot be used."""

import re
from random import Random

import msgspec
import numpy as np
import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import BadInput, Deadlock
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from sim.pipeline import simulate, stamps
from sim.result import Precision, Result

SEEDS = range(80)
LONG = 15


def result(network: Network, pipeline: Pipeline, frames: int = 3) -> Result:
    return simulate(network, network, pipeline, frames=frames)


@pytest.fixture(scope="module")
def runnable() -> list[tuple[Network, Pipeline]]:
    """Random networks and machines that do not stop."""
    found = []
    for seed in SEEDS:
        network = random_network(seed)
        pipeline = random_pipeline(seed, network)
        try:
            stamps(network, pipeline, frames=3)
        except Deadlock:
            continue
        found.append((network, pipeline))
    assert len(found) > 0.8 * len(SEEDS)
    return found


def test_latency_and_interval_are_the_sinks_finishes(runnable: list[tuple[Network, Pipeline]]) -> None:
    uneven = 0
    for network, pipeline in runnable:
        run = stamps(network, pipeline, frames=LONG)
        pixels = network.shapes[network.output.name].pixels
        ends = run.frees[f"{network.output.name} -> output"][pixels - 1 :: pixels]
        found = result(network, pipeline, frames=LONG)
        assert found.latency_cycles == ends[0]
        assert found.interval_cycles == ends[-1] - ends[-2]
        uneven += found.interval_cycles != ends[1] - ends[0]
        assert found.latency_cycles == stamps(network, pipeline, frames=1).frees[f"{network.output.name} -> output"][-1]
    assert uneven > 0


def test_work_and_waiting_of_the_last_frame_fill_the_time_between_a_layers_own_ends(
    runnable: list[tuple[Network, Pipeline]],
) -> None:
    waiting = {"starved": 0, "blocked": 0}
    for network, pipeline in runnable:
        run = stamps(network, pipeline, frames=3)
        for layer in result(network, pipeline).layers:
            last_starts = run.starts[layer.name].reshape(3, -1)[:, -1]
            assert layer.starved_cycles >= 0
            assert layer.blocked_cycles >= 0
            assert layer.cycles + layer.starved_cycles + layer.blocked_cycles == last_starts[2] - last_starts[1]
            waiting["starved"] += layer.starved_cycles > 0
            waiting["blocked"] += layer.blocked_cycles > 0
    assert min(waiting.values()) > 20


def test_in_steady_state_work_and_waiting_of_every_layer_are_the_interval(
    runnable: list[tuple[Network, Pipeline]],
) -> None:
    # Steady is a run whose last frame is the one before, moved as a whole; a layer far from the sink gets there first,
    # and some networks repeat themselves only every few frames.
    steady = 0
    for network, pipeline in runnable:
        run = stamps(network, pipeline, frames=LONG)
        shifts = np.concatenate(
            [np.diff(starts.reshape(LONG, -1)[-2:], axis=0).ravel() for starts in run.starts.values()]
        )
        if np.ptp(shifts) > 0:
            continue
        steady += 1
        found = result(network, pipeline, frames=LONG)
        sums = {layer.cycles + layer.starved_cycles + layer.blocked_cycles for layer in found.layers}
        assert sums == {found.interval_cycles}
    assert steady > 0.7 * len(runnable)


def test_no_layer_is_left_behind_or_runs_ahead_for_ever(runnable: list[tuple[Network, Pipeline]]) -> None:
    # FIFOs are finite: once they are full, every layer takes as long as every other.
    for network, pipeline in runnable:
        first, many = (stamps(network, pipeline, frames=frames) for frames in (300, 600))
        pace = {name: int(many.starts[name][-1] - first.starts[name][-1]) for name in first.starts}
        assert max(pace.values()) - min(pace.values()) <= 0.01 * max(pace.values()), pace


def test_waiting_for_input_and_for_room_by_hand() -> None:
    # One row of four pixels of one channel through two 1x1 convs: a makes 4 channels one at a time (ii 4), b makes 2 of
    # them one at a time from one input at a time (ii 8, w 4). The FIFO between them holds one pixel.
    layers = (Layer("a", "conv", (INPUT,), 4), Layer("b", "conv", ("a",), 2))
    network = Network("two", Shape(1, 4, 1), layers)
    fifos = {"input -> a": Fifo(1), "a -> b": Fifo(1), "b -> output": Fifo(2)}
    pipeline = Pipeline("hand", 100.0, {"a": Engine(1), "b": Engine(1)}, fifos, buffers={"input -> a": 1, "a -> b": 1})
    # a: starts when its slot is free: 4 cycles of work, 6 until the result is there, 4 in which b copies it: a pixel
    # every 14 cycles. 1 is starved, since its one place takes the next pixel only after the issue, and 9 are blocked.
    # b: copies for 4 cycles, then issues for 8, with a place for one pixel: 12 of the 14 cycles, so that 6 are starved.
    found = result(network, pipeline, frames=6)
    assert found.interval_cycles == 56
    a, b = found.layers
    assert (a.cycles, a.starved_cycles, a.blocked_cycles) == (16, 4, 36)
    assert (b.cycles, b.starved_cycles, b.blocked_cycles) == (32, 24, 0)
    # The first pixel: source in 0, C = 1; a copies in 1, starts in 2, C = 2 + 4 + 6 = 12; b copies until 16.
    assert (a.first_cycle, b.first_cycle) == (2, 16)
    # The last of b's first frame starts in 16 + 3 * 14 = 58 and ends in 66; C = 72, and the sink takes a cycle.
    assert b.last_cycle == 66
    assert found.latency_cycles == 73
    assert found.latency_ms == 73 / 100e3
    assert found.frames_per_second == 100e6 / 56
    assert found.multipliers == 2
    assert found.utilisation == (4 * 4 + 4 * 4 * 2) / (56 * 2)


@pytest.fixture
def square() -> Network:
    conv = Layer("conv", "conv", (INPUT,), 4, Size(3, 3), padding=Padding(1, 1, 1, 1), bias=True)
    row = Layer("row", "conv", ("conv",), 2, Size(1, 3), padding=Padding(0, 0, 1, 1))
    return Network("square", Shape(5, 6, 2), (conv, row))


@pytest.fixture
def machine() -> Pipeline:
    fifos = {"input -> conv": Fifo(2), "conv -> row": Fifo(3, "block"), "row -> output": Fifo(4)}
    return Pipeline("m", 200.0, {"conv": Engine(2, 6), "row": Engine(1, 4)}, fifos, buffers={"input -> conv": 17})


def test_bytes_of_a_square_and_a_row_filter_by_hand(square: Network, machine: Pipeline) -> None:
    found = result(square, machine)
    conv, row = found.layers
    # conv: two rows of 6 pixels of 2 channels, 5 pixels more; row: no row, and 3 + 1 pixels of 4 channels.
    assert (conv.line_buffer_bytes, conv.window_bytes) == (24, 10)
    assert (row.line_buffer_bytes, row.window_bytes) == (0, 16)
    # FIFOs: 2 pixels of 2 channels; 3 of 4, and the result's 4 of 2 with the last layer.
    assert (conv.fifo_bytes, row.fifo_bytes) == (4, 12 + 8)
    assert (conv.weight_bytes, row.weight_bytes) == (9 * 2 * 4 + 4 * 4, 3 * 4 * 2)
    assert found.line_memory_bytes == 24 + 10 + 16 + 24
    assert found.dram_bytes == {"input": 60, "output": 60}
    wide = simulate(square, square, machine, Precision(16, 4))
    assert (wide.line_buffer_bytes, wide.window_bytes, wide.fifo_bytes) == (48, 52, 48)
    assert wide.weight_bytes == 36 + 16 + 12


def test_bytes_of_8_bit_pixels_and_4_bit_results_by_hand(square: Network, machine: Pipeline) -> None:
    found = simulate(square, square, machine, Precision(4, 4, 8))
    conv, row = found.layers
    # All that holds pixels is as at 8 bits: two rows and 5 pixels of 2 channels, and the first FIFO.
    assert (conv.line_buffer_bytes, conv.window_bytes, conv.fifo_bytes) == (24, 10, 4)
    # All that holds results is half of it: 4 pixels of 4 channels; FIFOs of 3 of 4 and of 4 of 2.
    assert (row.window_bytes, row.fifo_bytes) == (8, 6 + 4)
    assert found.line_memory_bytes == 24 + 10 + 4 + 8 + 10
    assert found.dram_bytes == {"input": 60, "output": 30}


def test_figures_of_mixed_bits_lie_between_those_of_one_width(runnable: list[tuple[Network, Pipeline]]) -> None:
    keys = ("line_buffer_bytes", "window_bytes", "fifo_bytes", "line_memory_bytes")
    strictly = 0
    for network, pipeline in runnable:
        narrow, mixed, wide = (
            simulate(network, network, pipeline, bits)
            for bits in (Precision(4, 4), Precision(4, 4, 8), Precision(8, 4))
        )
        for key in keys:
            assert getattr(narrow, key) <= getattr(mixed, key) <= getattr(wide, key)
        assert (mixed.dram_bytes["input"], mixed.dram_bytes["output"]) == (
            wide.dram_bytes["input"],
            narrow.dram_bytes["output"],
        )
        assert narrow.interval_cycles == mixed.interval_cycles == wide.interval_cycles
        assert simulate(network, network, pipeline, Precision(4, 4, 4)) == narrow
        strictly += narrow.line_memory_bytes < mixed.line_memory_bytes < wide.line_memory_bytes
    assert strictly > len(runnable) // 2


def test_every_row_filter_of_a_random_network_keeps_no_line(runnable: list[tuple[Network, Pipeline]]) -> None:
    seen = {"row": 0, "square": 0}
    for network, pipeline in runnable:
        for layer, found in zip(network.layers, result(network, pipeline).layers, strict=True):
            if layer.kind != "conv":
                continue
            shape = network.input_shape(layer)
            whole = layer.kernel.cols == shape.cols
            wanted = 0 if whole else (layer.kernel.rows - 1) * shape.cols * shape.channels
            assert found.line_buffer_bytes == wanted
            seen["row" if layer.kernel.rows == 1 else "square"] += 1
    assert min(seen.values()) > 20


def test_totals_are_those_of_the_layers(runnable: list[tuple[Network, Pipeline]]) -> None:
    for network, pipeline in runnable:
        found = result(network, pipeline)
        for key in ("line_buffer_bytes", "window_bytes", "fifo_bytes", "weight_bytes"):
            assert getattr(found, key) == sum(getattr(layer, key) for layer in found.layers)
        assert found.macs == found.executed_macs == sum(layer.macs for layer in found.layers) == network.macs
        assert found.parameters == network.parameters
        assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]


def renamed(network: Network, pipeline: Pipeline, rng: Random) -> tuple[Network, Pipeline, dict[str, str]]:
    letters = [f"{rng.choice('zyxab')}{number}" for number in range(len(network.layers))]
    names = dict(zip((layer.name for layer in network.layers), letters, strict=True)) | {INPUT: INPUT}
    layers = tuple(
        msgspec.structs.replace(layer, name=names[layer.name], inputs=tuple(names[source] for source in layer.inputs))
        for layer in network.layers
    )

    def edges(old: dict) -> dict:
        return {" -> ".join(names.get(end, end) for end in edge.split(" -> ")): value for edge, value in old.items()}

    engines = {names[name]: engine for name, engine in reversed(pipeline.engines.items())}
    other = msgspec.structs.replace(
        pipeline, engines=engines, fifos=edges(pipeline.fifos), buffers=edges(pipeline.buffers)
    )
    return msgspec.structs.replace(network, layers=layers), other, names


def test_nothing_depends_on_the_names_of_layers(runnable: list[tuple[Network, Pipeline]]) -> None:
    rng = Random("names")
    for network, pipeline in runnable:
        other_network, other_pipeline, names = renamed(network, pipeline, rng)
        found = result(network, pipeline)
        layers = tuple(msgspec.structs.replace(layer, name=names[layer.name]) for layer in found.layers)
        assert result(other_network, other_pipeline) == msgspec.structs.replace(found, layers=layers)


def test_a_deeper_fifo_delays_nothing(runnable: list[tuple[Network, Pipeline]]) -> None:
    helped = 0
    for network, pipeline in runnable:
        before = stamps(network, pipeline, frames=3)
        for edge, fifo in pipeline.fifos.items():
            deeper = pipeline.fifos | {edge: Fifo(fifo.depth + 2, fifo.ram)}
            after = stamps(network, msgspec.structs.replace(pipeline, fifos=deeper), frames=3)
            assert all((after.starts[name] <= starts).all() for name, starts in before.starts.items())
            helped += any((after.starts[name] < starts).any() for name, starts in before.starts.items())
    assert helped > 50


def test_more_pe_delay_nothing(runnable: list[tuple[Network, Pipeline]]) -> None:
    helped = 0
    for network, pipeline in runnable:
        before = stamps(network, pipeline, frames=3)
        for layer in network.layers:
            engine, channels = pipeline.engines[layer.name], network.shapes[layer.name].channels
            if engine.pe == channels or layer.kind == "concat":
                continue
            wider = pipeline.engines | {layer.name: Engine(channels, engine.simd)}
            after = stamps(network, msgspec.structs.replace(pipeline, engines=wider), frames=3)
            assert all((after.starts[name] <= starts).all() for name, starts in before.starts.items())
            helped += (
                after.frees[f"{network.output.name} -> output"][-1]
                < before.frees[f"{network.output.name} -> output"][-1]
            )
    assert helped > 20


def test_a_network_without_multipliers_uses_none_of_them() -> None:
    network = Network("pool", Shape(4, 4, 2), (Layer("pool", "max", (INPUT,), kernel=Size(2, 2), stride=Size(2, 2)),))
    pipeline = Pipeline("m", 100.0, {"pool": Engine(1)}, {"input -> pool": Fifo(2), "pool -> output": Fifo(2)})
    found = result(network, pipeline)
    assert (found.multipliers, found.utilisation, found.macs) == (0, 0.0, 0)


def without(entries: dict, key: str) -> dict:
    return {name: value for name, value in entries.items() if name != key}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda m: {"engines": without(m.engines, "row")},
            "layer row: machine m has no engine for it; is it another network's?",
        ),
        (
            lambda m: {"engines": m.engines | {"conv": Engine(3, 6)}},
            "layer conv: 3 PEs do not divide its 4 output channels",
        ),
        (
            lambda m: {"engines": m.engines | {"conv": Engine(0, 6)}},
            "layer conv: 0 PEs do not divide its 4 output channels",
        ),
        (
            lambda m: {"engines": m.engines | {"conv": Engine(2, 4)}},
            "layer conv: SIMD 4 neither divides its 2 input channels nor is 2 times a divisor of its 9 taps",
        ),
        (
            lambda m: {"engines": m.engines | {"row": Engine(2, 0)}},
            "layer row: SIMD 0 neither divides its 4 input channels nor is 4 times a divisor of its 3 taps",
        ),
        (
            lambda m: {"engines": m.engines | {"row": Engine(2, 6)}},
            "layer row: SIMD 6 neither divides its 4 input channels nor is 4 times a divisor of its 3 taps",
        ),
        (
            lambda m: {"fifos": without(m.fifos, "conv -> row")},
            "edge conv -> row: machine m has no FIFO for it; one of at least 1 pixel is wanted",
        ),
        (
            lambda m: {"fifos": without(m.fifos, "row -> output")},
            "edge row -> output: machine m has no FIFO for it; one of at least 1 pixel is wanted",
        ),
        (
            lambda m: {"fifos": m.fifos | {"conv -> row": Fifo(0)}},
            "edge conv -> row: a FIFO of depth 0 was found, at least 1 is wanted",
        ),
        (
            lambda m: {"buffers": {"input -> conv": 14}},
            "layer conv: a window buffer of 14 pixels was found, at least 15 are wanted",
        ),
        (
            lambda m: {"buffers": {"input->conv": 20}},
            "machine m: buffer input->conv is no edge to a window; did you mean input -> conv?",
        ),
        (lambda m: {"clock_mhz": 0.0}, "machine m: clock_mhz 0.0 was found, more than 0 is wanted"),
        (lambda m: {"source_channels": -1}, "machine m: source_channels -1 was found, a divisor of 2 is wanted, or 0"),
        (lambda m: {"sink_channels": -2}, "machine m: sink_channels -2 was found, a divisor of 2 is wanted, or 0"),
    ],
)
def test_a_machine_that_does_not_go_with_its_network(square: Network, machine: Pipeline, change, sentence: str) -> None:
    result(square, machine)
    with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
        result(square, msgspec.structs.replace(machine, **change(machine)))


def test_only_a_conv_has_simd(square: Network) -> None:
    network = Network("pool", Shape(2, 2, 2), (Layer("pool", "max", (INPUT,)),))
    pipeline = Pipeline("m", 100.0, {"pool": Engine(1, 2)}, {"input -> pool": Fifo(2), "pool -> output": Fifo(2)})
    with pytest.raises(BadInput, match=r"^layer pool: SIMD 2 was found, max wants 1$"):
        result(network, pipeline)


def test_too_few_frames(square: Network, machine: Pipeline) -> None:
    with pytest.raises(BadInput, match=r"^frames: 0 was found, at least 1 is wanted$"):
        stamps(square, machine, frames=0)
    for frames in (0, 1):
        with pytest.raises(BadInput, match=f"^frames: {frames} was found, at least 2 are wanted for an interval$"):
            result(square, machine, frames=frames)


def test_cycles_up_to_2_to_the_53_are_exact() -> None:
    # 2**20 x 2**20 channels, one multiplier: 2**40 cycles a pixel, 8191 pixels.
    wide = 1 << 20
    network = Network("wide", Shape(1, 8191, wide), (Layer("a", "conv", (INPUT,), wide),))
    pipeline = Pipeline("m", 100.0, {"a": Engine(1, 1)}, {"input -> a": Fifo(1), "a -> output": Fifo(2)})
    found = stamps(network, pipeline, frames=1)
    # The source commits pixel 0 in 1, it is copied in 2**20 cycles, and each pixel then waits for the one before.
    assert found.starts["a"].tolist() == [1 + wide + p * (wide**2) for p in range(8191)]
    assert found.frees["a -> output"][-1] == 1 + wide + 8191 * wide**2 + 6 + 1 < 2**53
