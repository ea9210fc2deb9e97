"""`sim.pipeline.stamps` against a machine stepped cycle by cycle, and both against cycles worked out by hand."""

import re
from dataclasses import replace
from random import Random

import msgspec
import numpy as np
import pytest
from oracle_pipeline import Trace, run
from random_networks import random_network, random_pipeline

from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import Deadlock
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from sim.pipeline import ALWAYS, Handshakes, stamps

SEEDS = range(240)


def expect_equal(network: Network, pipeline: Pipeline, frames: int, handshakes: Handshakes = ALWAYS) -> Trace:
    """Every stamp of the simulator is the oracle's, or both stop at an edge that is full."""
    ends = (list(map(int, side)) for side in (handshakes.valid, handshakes.ready, handshakes.releases))
    trace = run(network, pipeline, frames, *ends)
    if trace.deadlock:
        with pytest.raises(Deadlock) as stopped:
            stamps(network, pipeline, frames, handshakes)
        named = re.findall(r"\w+ -> \w+", str(stopped.value))
        assert named, f"{stopped.value}: no edge is named"
        assert set(named) <= trace.frees.keys()
        assert trace.full.intersection(named), f"{stopped.value}: full are {sorted(trace.full)}"
        return trace
    found = stamps(network, pipeline, frames, handshakes)
    for field in ("starts", "copies", "frees"):
        assert {name: list(cycles) for name, cycles in getattr(found, field).items()} == getattr(trace, field), field
    return trace


@pytest.mark.parametrize("seed", SEEDS)
def test_stamps_equal_the_oracles(seed: int) -> None:
    network = random_network(seed)
    expect_equal(network, random_pipeline(seed, network), frames=1 + seed % 3)


@pytest.mark.parametrize("seed", range(60))
def test_stamps_of_tables_equal_the_oracles(seed: int) -> None:
    network = random_network(seed, ("table", "upsample"))
    expect_equal(network, random_pipeline(seed, network), frames=1 + seed % 3)


@pytest.mark.parametrize("seed", range(240, 400))
def test_stamps_equal_the_oracles_where_source_and_sink_pause(seed: int) -> None:
    rng = Random(f"pauses {seed}")
    network = random_network(seed)
    bits = [[int(rng.random() < share) for _ in range(rng.randint(1, 600))] for share in (rng.random(), rng.random())]
    handshakes = Handshakes(*(np.array(side, np.int64) for side in bits))
    expect_equal(network, random_pipeline(seed, network), 1 + seed % 3, handshakes)


@pytest.mark.parametrize("seed", range(400, 460))
def test_stamps_equal_the_oracles_where_pixels_come_late(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(seed)
    frames = 1 + seed % 3
    releases = np.cumsum(rng.integers(0, 1 + seed % 17, frames * network.shapes[INPUT].pixels))
    expect_equal(network, random_pipeline(seed, network), frames, replace(ALWAYS, releases=releases))


def test_a_single_pixel_that_comes_late() -> None:
    dot = Network("dot", Shape(1, 1, 1), (Layer("a", "conv", (INPUT,), 1),))
    pipeline = Pipeline("dot", 100.0, {"a": Engine(1, 1)}, {"input -> a": Fifo(1), "a -> output": Fifo(1)})
    trace = expect_equal(dot, pipeline, 1, replace(ALWAYS, releases=np.array([9])))
    assert trace.starts[INPUT] == [9]


def test_the_random_machines_cover_what_they_are_for() -> None:
    networks = [random_network(seed) for seed in SEEDS]
    layers = [layer for network in networks for layer in network.layers]
    stopped = sum(run(network, random_pipeline(seed, network)).deadlock for seed, network in enumerate(networks))
    assert {layer.kind for layer in layers} == {"conv", "affine", "add", "concat", "max", "mean"}
    assert any(layer.padding.top > 0 and layer.stride.rows > 1 for layer in layers)
    assert any(layer.accumulates and layer.taps > 1 for layer in layers)
    assert any(network.row_step > 1 for network in networks)
    assert 0.03 < stopped / len(networks) < 0.2


def machine(engines: dict[str, Engine], fifos: dict[str, Fifo], **fields: object) -> Pipeline:
    return Pipeline("by hand", 100.0, engines, fifos, **fields)  # type: ignore[arg-type]


def test_a_row_of_four_under_a_kernel_of_three() -> None:
    # ii = 3 (three taps, one a cycle), d = 6, w = 1, r = 0, cap = 3.
    # The source runs a pixel a cycle; pixel j commits in j + 1 and is copied in that cycle.
    # conv 0 needs pixel 2: R + w = 3 + 1 = 4; issue ends in 7, commit in 7 + 6 = 13.
    # Pixel 3 takes the place of pixel 0, free in 7: R = 7.
    # conv 1 needs pixel 3: S = max(4 + 3, 7 + 1) = 8, commit in 17.
    conv = Layer("conv", "conv", ("input",), channels=1, kernel=Size(1, 3))
    network = Network("row", Shape(1, 4, 1), (conv,))
    fifos = {"input -> conv": Fifo(2), "conv -> output": Fifo(2)}
    trace = expect_equal(network, machine({"conv": Engine(1)}, fifos, buffers={"input -> conv": 3}), frames=1)
    assert trace.starts == {"input": [0, 1, 2, 3], "conv": [4, 8], "output": [13, 17]}
    assert trace.copies == {"input -> conv": [1, 2, 3, 7], "conv -> output": [13, 17]}
    assert trace.frees == {"input -> conv": [2, 3, 4, 8], "conv -> output": [14, 18]}


def test_two_frames_of_a_padded_square_through_fifos_of_one_pixel() -> None:
    # A 3x3 kernel on 2x2 with padding 1: every output needs all four pixels. ii = 1, d = 6, w = 1, r = 1, cap = 7.
    # FIFOs of one pixel: the source starts in 0, 2, 4, ... and copies start in 1, 3, 5, ...
    # Frame 0: conv 0 needs pixel 3: R + w + r = 7 + 1 + 1 = 9, commit in 16, the sink frees its slot in 17;
    # conv 1 waits for that slot: 17, then 25, 33, each eight later.
    # Frame 1: pixel 7 takes the place of pixel 0, which conv 3 needs until 34: R = 34, and conv 4 could start in 36;
    # the slot of conv 3 is free in 41.
    conv = Layer("conv", "conv", ("input",), channels=1, kernel=Size(3, 3), padding=Padding(1, 1, 1, 1))
    network = Network("square", Shape(2, 2, 1), (conv,))
    fifos = {"input -> conv": Fifo(1, "block"), "conv -> output": Fifo(1)}
    trace = expect_equal(network, machine({"conv": Engine(1, 9)}, fifos, buffers={"input -> conv": 7}), frames=2)
    assert trace.starts == {
        "input": [0, 2, 4, 6, 8, 10, 12, 14],
        "conv": [9, 17, 25, 33, 41, 49, 57, 65],
        "output": [16, 24, 32, 40, 48, 56, 64, 72],
    }
    assert trace.copies["input -> conv"] == [1, 3, 5, 7, 9, 11, 13, 34]
    assert trace.frees["conv -> output"] == [17, 25, 33, 41, 49, 57, 65, 73]


def test_pixels_that_no_window_needs_take_their_turn() -> None:
    # Every second of four pixels, two channels one at a time: ii = w = 2, d = 5, r = 1, cap = 1; the sink's ii is 2.
    # Pixel 0: C = 1, R = 1, F = 3; max 0 in R + w + r = 4, its place free in 6; commit in 11.
    # Pixel 1: S = 3, C = 4, R = 6 (the place), F = 8. Pixel 2: S = 8, C = R = 9 (nothing needs pixel 1), F = 11.
    # max 1 could start in 12; the sink frees its slot in 11 + 2 = 13, its place is free in 15; commit in 20.
    # Pixel 3, needed by nothing: S = 11, C = 12, R = 15, F = 17.
    layer = Layer("max", "max", ("input",), stride=Size(1, 2))
    network = Network("skips", Shape(1, 4, 2), (layer,))
    fifos = {"input -> max": Fifo(1, "block"), "max -> output": Fifo(1)}
    pipeline = machine({"max": Engine(1)}, fifos, buffers={"input -> max": 1}, sink_channels=1)
    trace = expect_equal(network, pipeline, frames=1)
    assert trace.starts == {"input": [0, 3, 8, 11], "max": [4, 13], "output": [11, 20]}
    assert trace.copies == {"input -> max": [1, 6, 9, 15], "max -> output": [11, 20]}
    assert trace.frees == {"input -> max": [3, 8, 11, 17], "max -> output": [13, 22]}


def test_the_last_row_keeps_nothing_for_a_row_that_does_not_come() -> None:
    # A row of two under a 3x1 kernel, two rows of padding above: output x needs pixel x alone. ii = 4 (four channels
    # one at a time, simd 3), w = 1, r = 0, cap = (3 - 1) * 2 + 1 = 5. Pixel j starts in j, is copied in j + 1.
    # conv 0 in 1 + w = 2, pixel 0 free in 6; then conv in 6, 10, 14, ...
    # Pixel 5 takes the place of pixel 0: R = 6; kept to the end of its row, pixel 0 would be free in 10 only.
    # Pixel 6 takes that of pixel 1, free in 10: R = 10; pixel 7 that of pixel 2, free in 14: R = 14.
    conv = Layer("conv", "conv", ("input",), channels=4, kernel=Size(3, 1), padding=Padding(top=2))
    network = Network("above", Shape(1, 2, 1), (conv,))
    fifos = {"input -> conv": Fifo(8), "conv -> output": Fifo(8)}
    trace = expect_equal(network, machine({"conv": Engine(1, 3)}, fifos, buffers={"input -> conv": 5}), frames=4)
    assert trace.starts["conv"] == [2, 6, 10, 14, 18, 22, 26, 30]
    assert trace.copies["input -> conv"] == [1, 2, 3, 4, 5, 6, 10, 14]


@pytest.fixture
def residual() -> Network:
    conv = Layer("conv", "conv", ("input",), channels=1, kernel=Size(3, 3), padding=Padding(1, 1, 1, 1))
    return Network("residual", Shape(3, 3, 1), (conv, Layer("sum", "add", ("conv", "input"))))


def residual_machine(skip_depth: int) -> Pipeline:
    fifos = {
        "input -> conv": Fifo(2),
        "conv -> sum": Fifo(8),
        "input -> sum": Fifo(skip_depth),
        "sum -> output": Fifo(8),
    }
    return machine({"conv": Engine(1, 9), "sum": Engine(1)}, fifos, buffers={"input -> conv": 9})


def test_a_shallow_skip_stops_its_residual_block(residual: Network) -> None:
    # conv 0 needs pixel 4; pixel 4 needs a fifth slot in the skip, which gives none back before conv 0.
    trace = expect_equal(residual, residual_machine(4), frames=1)
    assert trace.deadlock
    assert trace.starts == {"input": [0, 1, 2, 3], "conv": [], "sum": [], "output": []}
    assert trace.full == {"input -> sum"}


def test_a_skip_one_deeper_runs(residual: Network) -> None:
    # Pixel 4: S = 4, R = 5; conv 0 in 6, commit in 6 + 1 + 6 = 13; sum 0 in 13 frees the skip's first slot in 14.
    # Pixel 5 has that slot: S = 14, R = 15; conv 1 in 16, conv 2, which needs nothing more, in 17; sums in 23, 24.
    # Pixels 6, 7 have their slots: S = 24, 25; conv 3 needs pixel 7: R = 26, S = 27; sum in 34.
    # Pixel 8: S = 35, R = 36; conv 4 in 37, and the rest, which need nothing more, a cycle each. Sum's d is 3.
    trace = expect_equal(residual, residual_machine(5), frames=1)
    assert trace.starts == {
        "input": [0, 1, 2, 3, 4, 14, 24, 25, 35],
        "conv": [6, 16, 17, 27, 37, 38, 39, 40, 41],
        "sum": [13, 23, 24, 34, 44, 45, 46, 47, 48],
        "output": [17, 27, 28, 38, 48, 49, 50, 51, 52],
    }


def test_a_deadlock_names_its_cycle_and_the_least_depth_that_frees_it() -> None:
    told = freed = 0
    for seed in range(300):
        network = random_network(seed)
        pipeline = random_pipeline(seed, network)
        try:
            stamps(network, pipeline, 2)
            continue
        except Deadlock as error:
            sentence = str(error)
        told += 1
        assert sentence.startswith("the pipeline stops for ever: edge ")
        for edge, depth, least in re.findall(r"edge (\w+ -> \w+) is full \((\d+) pixels; (\d+) free it\)", sentence):
            assert pipeline.fifos[edge].depth == int(depth)
            freed += 1
            for other, stops in ((int(least), False), (int(least) - 1, True)):
                fifos = pipeline.fifos | {edge: Fifo(other, pipeline.fifos[edge].ram)}
                assert run(network, msgspec.structs.replace(pipeline, fifos=fifos), 2).deadlock is stops
    assert told > 15
    assert freed > 10


def test_the_sentence_of_a_deadlock() -> None:
    layers = (
        Layer("body", "conv", ("input",), 1, Size(3, 3), padding=Padding(1, 1, 1, 1)),
        Layer("add", "add", ("body", "input")),
    )
    network = Network("skip", Shape(4, 4, 1), layers)
    fifos = {edge: Fifo(2) for edge in ("input -> body", "body -> add", "input -> add", "add -> output")}
    stopping = machine({"body": Engine(1, 1), "add": Engine(1)}, fifos)
    sentence = (
        "the pipeline stops for ever: edge input -> add is full (2 pixels; 6 free it), edge body -> add is empty, "
        "edge input -> body is empty"
    )
    with pytest.raises(Deadlock, match=f"^{re.escape(sentence)}$"):
        stamps(network, stopping)
