"""Rings as long as is looked back give what whole runs give; lanes give what each machine gives alone."""

import numpy as np
import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Budget
from hw.errors import Deadlock
from hw.passes import executed
from hw.presets import preset
from sim import folding, lanes
from sim.kernels_pipeline import Timing
from sim.packing import pack, sink_edge
from sim.pipeline import stamps


def whole_run(network, pipeline, frames):
    try:
        found = stamps(network, pipeline, frames)
    except Deadlock:
        return [-1] * frames
    return found.frees[sink_edge(network)].reshape(frames, -1)[:, -1].tolist()


@pytest.mark.parametrize("seed", range(120))
def test_rings_give_what_whole_runs_give(seed):
    network, frames = random_network(seed), 1 + seed % 4
    pipeline = random_pipeline(seed + 7, network)
    packed = pack(network, pipeline, frames)
    assert lanes.finishes(packed, frames, packed.timing)[:, 0].tolist() == whole_run(network, pipeline, frames)


@pytest.mark.parametrize("name", ["wrn-16-2", "wrn-40-4-1x3"])
def test_lanes_of_other_depths_and_cycles_run_each_for_itself(name):
    given = preset(name)
    network = executed(given)
    machine = folding.pipeline(network, Budget("pipeline-256", 256, 200.0))
    packed = pack(network, machine, 2)
    rng = np.random.default_rng(0)
    many = [np.repeat(cycles, 5, axis=1) for cycles in packed.timing]
    many = [cycles + rng.integers(0, 3, cycles.shape) * (cycles > 0) for cycles in many]
    timing = Timing(*many)
    alone = [lanes.finishes(packed, 2, lanes.of_lanes(timing, slice(k, k + 1)))[:, 0].tolist() for k in range(5)]
    assert lanes.finishes(packed, 2, timing).T.tolist() == alone
    assert len({tuple(ends) for ends in alone}) == 5


def test_random_machines_side_by_side_are_what_each_is_alone():
    ran = 0
    for seed in range(30):
        network, rng = random_network(seed), np.random.default_rng(seed)
        packed = pack(network, random_pipeline(seed + 7, network), 2)
        if lanes.finishes(packed, 2, packed.timing)[0, 0] < 0:
            continue  # a deadlock: deeper FIFOs alone are sure to run on
        many = [np.repeat(cycles, 4, axis=1) for cycles in packed.timing]
        timing = Timing(*(cycles + rng.integers(0, 4, cycles.shape) * (cycles > 0) for cycles in many[:-1]), many[-1])
        timing.depth[:, 1:] += rng.integers(0, 9, timing.depth[:, 1:].shape)
        alone = [lanes.finishes(packed, 2, lanes.of_lanes(timing, slice(k, k + 1)))[:, 0].tolist() for k in range(4)]
        assert lanes.finishes(packed, 2, timing).T.tolist() == alone
        ran += len({tuple(ends) for ends in alone}) > 1
    assert ran > 10


def test_a_ring_is_much_shorter_than_a_run():
    given = preset("wrn-40-4-1x3")
    network = executed(given)
    machine = folding.pipeline(network, Budget("pipeline-256", 256, 200.0))
    packed = pack(network, machine, 3)
    short, whole = (lanes.ring(packed, packed.timing, 3, whole).commits.size for whole in (False, True))
    assert 10 * short < whole
