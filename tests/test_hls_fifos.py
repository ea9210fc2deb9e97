"""FIFO depths of an hls4ml project: the model against a plain clock, what its depths are worth, where they end up."""

import io
import re

import hls_students as students
import msgspec
import numpy as np
import oracle_hls as oracle
import pytest
from random_networks import random_network
from rich.console import Console

from hw.accelerator import bounded, machine
from hw.errors import BadInput, Deadlock, UnsupportedLayer
from hw.hls import reuse
from hw.hls.fifos import with_margin
from hw.hls.forms import as_generated
from hw.hls.passes import prepare
from hw.hls.reuse import allowed
from hw.hls.templates import dataflow
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.presets import ROW_KEEP, wrn
from hw.student import lifted, save
from reports.hls import LatencyTrial, Options, hls_fifos, make, show_hls_fifos
from sim.folding import pipeline
from sim.hls_fifos import finishes, size

SEEDS = [s for s in range(120) if all(layer.kind != "concat" for layer in random_network(s).layers)]
"""HLS streams execute no concats."""


def drawn(seed):
    """A random network, some of its reuse factors, and depths that are often too shallow."""
    network = random_network(seed)
    rng = np.random.default_rng(seed)
    convs = [layer for layer in as_generated(network).layers if layer.kind == "conv"]
    factors = {c.name: int(rng.choice(allowed(as_generated(network), c))) for c in convs if rng.random() < 0.4}
    edges = [str(edge) for edge in network.edges]
    return network, factors, {edge: int(rng.integers(1, 12)) for edge in edges}


@pytest.mark.parametrize("seed", SEEDS[:60])
def test_the_model_agrees_with_a_plain_clock_in_every_frame(seed):
    network, factors, depths = drawn(seed)
    flow = dataflow(network, factors)
    known = {stream.edge for stream in flow.streams if stream.sized}
    given = {edge: depth for edge, depth in depths.items() if edge in known}
    expected = oracle.finishes(network, given, factors)
    if expected is None:
        with pytest.raises(Deadlock):
            finishes(flow, given)
    else:
        assert finishes(flow, given).tolist() == expected
    assert finishes(flow, {}).tolist() == oracle.finishes(network, {}, factors)


def test_the_seeds_hold_deadlocks_slowdowns_reuse_and_forks():
    found = {"deadlock": 0, "slower": 0, "reuse": 0, "fork": 0, "selector": 0}
    for seed in SEEDS[:60]:
        network, factors, depths = drawn(seed)
        flow = dataflow(network, factors)
        known = {stream.edge for stream in flow.streams if stream.sized}
        free = finishes(flow, {}).tolist()
        try:
            found["slower"] += finishes(flow, {e: d for e, d in depths.items() if e in known}).tolist() != free
        except Deadlock:
            found["deadlock"] += 1
        found["reuse"] += any(factor > 1 for factor in flow.factors.values())
        found["fork"] += any(len(process.outputs) > 1 for process in flow.processes)
        found["selector"] += len(flow.form.layers) > len(network.layers)
    assert min(found.values()) >= 3, found


@pytest.mark.parametrize("seed", SEEDS[:30])
def test_sized_depths_put_nothing_off_and_none_can_be_lowered(seed):
    network, factors, _ = drawn(seed)
    flow = dataflow(network, factors)
    sizing = size(flow)
    free = oracle.finishes(network, {}, factors)
    assert oracle.finishes(network, sizing.depths, factors) == free
    assert (sizing.latency_cycles, sizing.interval_cycles) == (free[0], free[-1] - free[-2])
    for edge, depth in sizing.depths.items():
        if depth > 1:
            assert oracle.finishes(network, sizing.depths | {edge: depth - 1}, factors) != free


def block(kernel, cols, rows=8, channels=2):
    """A residual block: two convolutions beside a shortcut that is only a FIFO."""
    half = Padding(kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)
    layers = (
        Layer("stem", "conv", (INPUT,), channels),
        Layer("a", "conv", ("stem",), channels, Size(*kernel), padding=half),
        Layer("b", "conv", ("a",), channels, Size(*kernel), padding=half),
        Layer("sum", "add", ("b", "stem")),
        Layer("head", "conv", ("sum",), 1),
    )
    return Network("block", Shape(rows, cols, channels), layers)


def test_a_shortcut_past_3x3_holds_rows_and_past_1x3_a_few_pixels():
    deep, flat = ([size(dataflow(block(k, c))).depths["stem -> sum"] for c in (8, 16, 32)] for k in ((3, 3), (1, 3)))
    assert [a - b for a, b in zip(deep, flat, strict=True)] == [2 * (8 + 2), 2 * (16 + 2), 2 * (32 + 2)]  # padded rows
    assert max(flat) < 24


def test_a_shortcut_that_is_too_shallow_slows_1x3_and_stops_3x3():
    for kernel in ((1, 3), (3, 3)):
        network = block(kernel, 16)
        flow = dataflow(network)
        sized = size(flow).depths
        free = finishes(flow, sized)
        shallow = sized | {"stem -> sum": sized["stem -> sum"] - 1}
        assert (finishes(flow, shallow) > free).any()
        assert oracle.finishes(network, shallow) == finishes(flow, shallow).tolist()
    with pytest.raises(Deadlock) as error:
        finishes(flow, sized | {"stem -> sum": 16})
    told = "network block: its HLS design stops for ever; full are "
    assert str(error.value).startswith(told)
    assert "stem -> sum (16 pixels)" in str(error.value)
    assert oracle.finishes(network, sized | {"stem -> sum": 16}) is None


def test_row_selectors_are_those_of_generation():
    for seed in range(30):
        student = students.wide_resnet(images=1) if seed == 0 else None
        network = student.network if student else random_network(seed)
        selected = as_generated(network)
        assert as_generated(selected) == selected
        assert selected.shapes[selected.output.name] == network.shapes[network.output.name]
    strided = students.strided()
    assert as_generated(strided.network) == prepare(strided).network


@pytest.mark.parametrize("make", [students.residual, students.pooled, students.dense, students.strided])
def test_streams_and_their_default_depths_are_those_of_a_project(make, tmp_path):
    pytest.importorskip("hls4ml")
    from hw.hls import generate

    student = make()
    flow = dataflow(student.network, prepared=prepare(student).network)
    streams = generate(student, tmp_path / "hls").manifest.streams
    assert sorted(stream.pixels for stream in flow.streams if not stream.port) == sorted(streams.values())


def test_sized_depths_stand_in_the_source_of_a_project(tmp_path):
    pytest.importorskip("hls4ml")
    from hw.hls import generate

    student = students.residual()
    found = hls_fifos(student)
    generated = generate(student, tmp_path / "hls", fifo_depths=found.depths)
    source = (generated.folder / "firmware" / "student.cpp").read_text()
    written = sorted(int(depth) for depth in re.findall(r"#pragma HLS STREAM variable=\w+ depth=(\d+)", source))
    flow = dataflow(student.network, prepared=prepare(student).network)
    handing_on = sum(not stream.port and not stream.edge for stream in flow.streams)
    chosen = [depth for edge, depth in found.depths.items() if edge != "input -> stem"]
    assert len(set(written)) > 2
    assert written == sorted([*chosen, *[2] * handing_on])


def test_a_runs_project_is_sized_unless_it_is_told_not_to_be(tmp_path, monkeypatch):
    pytest.importorskip("hls4ml")
    made = students.residual()
    save(made, tmp_path / "run" / "student")
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler, so that nothing is compared
    sized = make(tmp_path / "run", tmp_path / "sized")
    whole = make(tmp_path / "run", tmp_path / "whole", Options(margin=0))
    assert sized.fifos == hls_fifos(lifted(made))
    assert whole.fifos is None
    assert sum(sized.manifest.streams.values()) == sized.fifos.after.pixels
    assert sum(whole.manifest.streams.values()) == sized.fifos.before.pixels
    with pytest.raises(BadInput, match=r"FIFO margin: 0\.5 was found"):
        make(tmp_path / "run", tmp_path / "none", Options(margin=0.5))
    assert not (tmp_path / "none").exists()


def test_a_machine_gives_reuse_factors(tmp_path, monkeypatch):
    """A budget is folded as the simulator folds it; a line engine has nothing to fold."""
    pytest.importorskip("hls4ml")
    made = students.residual()
    save(made, tmp_path / "run" / "student")
    monkeypatch.setenv("PATH", str(tmp_path))
    budget = bounded(None, macs=24)
    report = make(tmp_path / "run", tmp_path / "narrow", Options(machine=budget))
    factors = {layer.name: layer.reuse_factor for layer in report.manifest.layers if not layer.inserted}
    network = lifted(made).network
    wanted = reuse.from_pipeline(network, pipeline(network, budget))
    assert {name: factors[name] for name in wanted} == wanted
    assert max(wanted.values()) > 1
    assert report.resources[0].source == "estimate"
    with pytest.raises(BadInput) as error:
        make(tmp_path / "run", tmp_path / "none", Options(machine=machine("line-64")))
    assert str(error.value) == "machine line-64: a line engine has no foldings; reuse factors want a pipeline"


def test_depths_of_a_project_have_a_margin_and_are_at_most_a_whole_frame():
    assert with_margin(5, 1000) == 12
    assert with_margin(5, 1000, 1) == 7
    assert with_margin(5, 1000, 1.5) == 10
    assert with_margin(5, 11) == 11
    assert with_margin(1, 1) == 2
    for wrong, told in ((0.5, "0.5"), (float("nan"), "nan"), (float("inf"), "inf")):
        with pytest.raises(BadInput) as error:
            with_margin(5, 1000, wrong)
        assert str(error.value) == f"FIFO margin: {told} was found, a number of at least 1 is wanted"


def test_memory_is_counted_stream_by_stream():
    """5 pixels of a 2-channel map in a 1x1 chain: streams of 16 bits, 5 deep before and 2 deep (1 asked for) after."""
    layers = (Layer("a", "conv", (INPUT,), 2), Layer("b", "conv", ("a",), 2), Layer("c", "conv", ("b",), 1))
    found = hls_fifos(Network("chain", Shape(1, 5, 1), layers), margin=1)
    assert set(found.model) == {"a -> b", "b -> c"}
    assert found.before.bits == 2 * 5 * 16
    assert found.after.bits == sum(found.depths[edge] for edge in found.model) * 16
    assert found.least.bits == sum(found.model.values()) * 16
    assert (found.before.bram18, found.before.lut) == (0, 2 * 2)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_a_student_is_counted_in_its_own_bits():
    student = students.pooled()
    narrow = {"mean2": 8, "columns": 7, "stem": 8, "max": 8, "norm": 8, INPUT: 8}
    found = hls_fifos(student)
    flow = dataflow(student.network, prepared=prepare(student).network)
    bits = sum(s.pixels * s.channels * narrow[s.source] for s in flow.streams if not s.port)
    assert {s.source for s in flow.streams if not s.port} == set(narrow)
    assert found.before.bits == bits


def test_from_whole_frames_to_a_few_pixels():
    """WRN-10-1 at 14x14, rows kept: what 1x3 saves is in the FIFOs only once they are sized."""
    shape = Shape(14, 14, 1)
    full = hls_fifos(wrn(10, 1, shape=shape, classes=10))
    flat = hls_fifos(wrn(10, 1, ROW_KEEP, shape=shape, classes=10))
    for found in (full, flat):
        assert found.least.bits < found.after.bits < found.before.bits / 2
        assert found.after.bram18 < found.before.bram18
    assert flat.after.bits < full.after.bits
    assert max(flat.model.values()) < max(full.model.values())
    assert flat.latency_cycles < full.latency_cycles


def test_the_margin_covers_latencies_that_are_half_as_long_again_and_the_bare_model_does_not():
    network = block((1, 3), 16)
    found = hls_fifos(network)
    assert [trial.latency for trial in found.trials] == [0.5, 1.5, 2.0]
    assert all(trial.interval_cycles == trial.unbounded_cycles for trial in found.trials[:2])
    with pytest.raises(Deadlock):
        finishes(dataflow(network, latency=1.5), found.model)
    bare = hls_fifos(network, margin=1)
    assert bare.trials[2].interval_cycles is None
    assert str(bare.trials[2]) == "at 2 times it stops for ever"
    assert str(found.trials[0]) == "at 0.5 times it is not slowed"
    assert str(LatencyTrial(1.5, 110, 100)) == "at 1.5 times it is 10.0% slower"


def test_edges_and_depths_that_are_not_there_are_told():
    flow = dataflow(block((1, 3), 8))
    with pytest.raises(BadInput) as error:
        finishes(flow, {"stem -> summ": 3})
    assert str(error.value) == "FIFO stem -> summ: network block has no such edge; stem -> sum is the nearest"
    table = (*block((1, 3), 8).layers[:3], Layer("act", "table", ("b",), function="silu"))
    with pytest.raises(UnsupportedLayer, match="layer act: a table of silu is not generated for HLS"):
        dataflow(Network("n", Shape(8, 8, 2), table))


def test_the_table_tells_depths_and_whose_word_it_is():
    text = io.StringIO()
    found = hls_fifos(block((1, 3), 16))
    show_hls_fifos(Console(file=text, width=120), found)
    shown = " ".join(text.getvalue().split())
    edge = "stem -> sum"
    assert f"{edge} {found.whole_frames[edge]} {found.model[edge]} {found.depths[edge]}" in shown
    assert "by a model of hls4ml's templates; depths of the project are 2 times the model's plus 2." in shown
    assert "C simulation cannot check them, the vendor's cosimulation can" in shown


def test_resource_is_slower_than_latency_even_without_reuse():
    network = block((1, 3), 16)
    auto, resource = (dataflow(network, strategy=name) for name in ("auto", "Resource"))
    assert set(auto.strategies.values()) == {"Latency"}
    assert resource.strategies == dict.fromkeys(("stem", "a", "b", "head"), "Resource") | {"sum": "Latency"}
    assert (finishes(resource, {}) > finishes(auto, {})).all()
