"""Closed forms against outside yardsticks, and below every exact run."""

import csv
from pathlib import Path

import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Engine
from hw.errors import Deadlock
from hw.network import INPUT, Layer, Network, Shape, Size
from hw.presets import preset
from sim import bounds
from sim.packing import issue_cycles
from sim.pipeline import stamps

DATA = Path(__file__).parent / "data"


def rows_of_scalesim():
    lines = (DATA / "scalesim_os_16x16.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize("row", rows_of_scalesim(), ids=lambda row: row["layer"])
def test_systolic_cycles_are_those_that_scalesim_computed(row):
    n = {key: int(value) for key, value in row.items() if key != "layer"}
    outputs = -(-n["in_rows"] // n["stride"]) * -(-n["in_cols"] // n["stride"])
    depth = n["kernel_rows"] * n["kernel_cols"] * n["in_channels"]
    found = bounds.systolic_cycles(outputs, depth, n["out_channels"], 16, 16)
    assert found == n["total_cycles"] - n["stall_cycles"]


def test_systolic_cycles_of_a_network_are_those_of_its_convs():
    cycles = bounds.systolic_network_cycles(preset("wrn-40-4-1x3"), 16, 16)
    by_name = {row["layer"]: int(row["total_cycles"]) - int(row["stall_cycles"]) for row in rows_of_scalesim()}
    assert cycles["stem"] == by_name["conv0"]
    assert cycles["g2.b0.shortcut"] == by_name["g1b0sc"]
    assert cycles["head.linear"] == by_name["fc"]
    assert len(cycles) == 41


def test_weight_stationary_cycles_by_hand():
    # K = 40 on 16 rows: 3 passes; N = 20 on 8 columns: 3; each 2 * 16 + 8 + 100 - 2 = 138 cycles.
    assert bounds.systolic_cycles(100, 40, 20, 16, 8, "ws") == 3 * 3 * 138 - 1


def cnv():
    """The CNV-w1a1 network of FINN: six 3x3 convs without padding, two poolings, three dense layers."""
    layers, last = [], INPUT
    for i, channels in enumerate((64, 64, 128, 128, 256, 256)):
        layers.append(Layer(f"conv{i}", "conv", (last,), channels, Size(3, 3)))
        last = f"conv{i}"
        if i in (1, 3):
            layers.append(Layer(f"pool{i}", "max", (last,), kernel=Size(2, 2), stride=Size(2, 2)))
            last = f"pool{i}"
    for i, channels in enumerate((512, 512, 10)):
        layers.append(Layer(f"dense{i}", "conv", (last,), channels))
        last = f"dense{i}"
    return Network("cnv", Shape(32, 32, 3), tuple(layers))


def test_engine_cycles_are_those_that_finn_gives_for_cnv():
    folding = [(16, 3), (32, 32), (16, 32), (16, 32), (4, 32), (1, 32), (1, 4), (1, 8), (5, 1)]
    expected = [32400, 28224, 20736, 28800, 20736, 18432, 32768, 32768, 1024]
    network = cnv()
    convs = [layer for layer in network.layers if layer.kind == "conv"]
    found = [
        issue_cycles(network, layer, Engine(pe, simd)) * network.shapes[layer.name].pixels
        for layer, (pe, simd) in zip(convs, folding, strict=True)
    ]
    assert found == expected


def test_no_run_is_below_its_bound():
    ran = tight = 0
    for seed in range(500):
        network = random_network(seed)
        pipeline = random_pipeline(seed, network)
        bound = bounds.pipeline_bound(network, pipeline)
        try:
            found = stamps(network, pipeline, frames=3)
        except Deadlock:
            continue
        finishes = found.frees[f"{network.output.name} -> output"].reshape(3, -1)[:, -1]
        assert finishes[0] >= bound.latency_cycles, network.name
        assert all(finish >= bound.interval_cycles * f for f, finish in enumerate(finishes)), network.name
        ran += 1
        tight += finishes[0] <= 1.05 * bound.latency_cycles
    assert ran > 420
    assert tight > 50
