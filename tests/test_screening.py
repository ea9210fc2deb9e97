"""Closed forms of many points are those of one, and no simulation is below them."""

import re

import numpy as np
import pytest
from random_networks import random_network

from hw.accelerator import Fifo, Pipeline
from hw.errors import BadInput, Deadlock
from sim import bounds, screening
from sim.kernels_screening import BLOCK
from sim.packing import sink_edge
from sim.pipeline import multipliers, stamps


def points_of(space, seed, count):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, len(options), count, dtype=np.uint8) for options in space.options], axis=1)


def machine(network, space, point, depth=2):
    edges = [*map(str, network.edges), sink_edge(network)]
    return Pipeline("point", 1.0, screening.engines(space, point), {edge: Fifo(depth) for edge in edges})


@pytest.mark.parametrize("seed", range(60))
def test_bounds_of_many_points_are_those_of_each(seed):
    network = random_network(seed)
    space = screening.space(network)
    points = points_of(space, seed, 20)
    found = screening.screen(space, points, threads=1 + seed % 2)
    for i, point in enumerate(points):
        made = machine(network, space, point)
        expected = bounds.pipeline_bound(network, made)
        assert (found.latency_cycles[i], found.interval_cycles[i]) == expected
        assert found.multipliers[i] == multipliers(network, made)


def test_no_simulation_is_below_its_point():
    ran = 0
    for seed in range(60):
        network = random_network(seed)
        space = screening.space(network)
        points = points_of(space, seed, 3)
        found = screening.screen(space, points)
        for i, point in enumerate(points):
            try:
                run = stamps(network, machine(network, space, point, depth=1 + 4 * i), 2)
            except Deadlock:
                continue
            ran += 1
            ends = run.frees[sink_edge(network)].reshape(2, -1)[:, -1]
            assert ends[0] >= found.latency_cycles[i]
            assert ends[1] >= found.interval_cycles[i]
    assert ran > 100


def test_more_points_than_a_thread_takes_at_a_time():
    network = random_network(3)
    space = screening.space(network)
    points = points_of(space, 0, 2 * screening.CHUNK + 7)
    all_at_once = screening.screen(space, points)
    last = screening.screen(space, points[-5:])
    assert (all_at_once.latency_cycles[-5:] == last.latency_cycles).all()


def test_points_of_several_blocks_are_those_of_each():
    network = random_network(3)
    space = screening.space(network)
    points = points_of(space, 1, 2 * BLOCK + 5)
    found = screening.screen(space, points)
    alone = [screening.screen(space, points[i : i + 1]) for i in range(len(points))]
    assert found.latency_cycles.tolist() == [int(each.latency_cycles[0]) for each in alone]
    assert found.interval_cycles.tolist() == [int(each.interval_cycles[0]) for each in alone]
    assert found.multipliers.tolist() == [int(each.multipliers[0]) for each in alone]


@pytest.mark.parametrize("bad", [2, BLOCK + 2])
def test_a_point_beyond_the_options_is_told(bad):
    network = random_network(3)
    space = screening.space(network)
    points = points_of(space, 0, BLOCK + 4)
    points[bad, 1] = len(space.options[1])
    layer = network.layers[1].name
    sentence = f"layer {layer}: it has {len(space.options[1])} foldings; a point asks for one beyond them"
    with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
        screening.screen(space, points)
    with pytest.raises(BadInput, match=rf"^points: shape \({BLOCK + 4}, 1\) was found, \(points, \d+\) is wanted$"):
        screening.screen(space, points[:, :1])
