"""Many designs at once are what they are one by one."""

import re

import msgspec
import numpy as np
import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Pipeline
from hw.errors import BadInput, Deadlock
from sim import designs
from sim.packing import sink_edge
from sim.pipeline import stamps

NETWORKS = [random_network(seed) for seed in range(40)]


def machines(network, seed):
    """Random machines without special ports and buffers."""
    plain = {"buffers": {}, "source_channels": 0, "sink_channels": 0}
    return [msgspec.structs.replace(random_pipeline(100 * seed + k, network), **plain) for k in range(12)]


def one_by_one(network, pipeline: Pipeline, frames):
    try:
        found = stamps(network, pipeline, frames)
    except Deadlock:
        return [-1] * frames
    return found.frees[sink_edge(network)].reshape(frames, -1)[:, -1].tolist()


@pytest.mark.parametrize("seed", range(40))
def test_finishes_are_those_of_each_design(seed):
    network, frames = NETWORKS[seed], 1 + seed % 3
    given = machines(network, seed)
    found = designs.finishes(network, designs.of_pipelines(network, given), frames, threads=1 + seed % 2)
    assert found.tolist() == [one_by_one(network, pipeline, frames) for pipeline in given]


def test_some_designs_stop_and_most_do_not():
    stopped = [
        (designs.finishes(network, designs.of_pipelines(network, machines(network, seed))) < 0).mean()
        for seed, network in enumerate(NETWORKS)
    ]
    assert 0.01 < np.mean(stopped) < 0.4


def test_more_designs_than_a_thread_takes_at_a_time():
    network = NETWORKS[3]
    few = designs.of_pipelines(network, machines(network, 3))
    order = np.random.default_rng(0).integers(0, len(few), 3 * designs.LANES + 5)
    many = designs.Designs(few.pe[order], few.simd[order], few.depth[order], few.block[order])
    assert (designs.finishes(network, many) == designs.finishes(network, few)[order]).all()


def test_rows_and_machines_are_the_same():
    network = NETWORKS[5]
    given = machines(network, 5)
    rows = designs.of_pipelines(network, given)
    for i, pipeline in enumerate(given):
        back = designs.as_pipeline(network, rows, i)
        assert (back.engines, back.fifos) == (pipeline.engines, pipeline.fifos)


@pytest.mark.parametrize("field", ["pe", "simd", "depth"])
def test_the_first_design_that_does_not_belong_is_told(field):
    network = NETWORKS[3]
    rows = designs.of_pipelines(network, machines(network, 3))
    broken = {name: getattr(rows, name).copy() for name in ("pe", "simd", "depth", "block")}
    broken[field][7, 0] = 0
    with pytest.raises(BadInput, match=r"^(layer|edge) .*(do not divide|neither divides|a FIFO of depth 0)"):
        designs.finishes(network, designs.Designs(**broken))


def test_machines_with_special_ports_are_no_rows():
    network = NETWORKS[3]
    special = [msgspec.structs.replace(pipeline, sink_channels=1) for pipeline in machines(network, 3)]
    sentence = f"machine {special[0].name}: only whole-pixel ports and usual buffers can stand in a row"
    with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
        designs.of_pipelines(network, special)
