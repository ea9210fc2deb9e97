"""Sized FIFOs keep the interval, and not one of them can be lowered."""

import msgspec
import pytest
from random_networks import random_network, random_pipeline

from hw import presets
from hw.accelerator import Budget, Fifo
from hw.errors import Deadlock
from hw.passes import executed
from sim import fifos, folding
from sim.packing import sink_edge
from sim.pipeline import stamps


def interval(network, pipeline):
    """Of three frames; None where the pipeline stops."""
    try:
        finishes = stamps(network, pipeline, 3).frees[sink_edge(network)].reshape(3, -1)[:, -1]
    except Deadlock:
        return None
    return int(finishes[2] - finishes[1])


def with_one(pipeline, edge, depth):
    return msgspec.structs.replace(pipeline, fifos=pipeline.fifos | {edge: Fifo(depth, pipeline.fifos[edge].ram)})


def expect_tight(network, pipeline):
    sizing = fifos.size(network, pipeline)
    unbounded = fifos.with_depths(pipeline, dict.fromkeys(pipeline.fifos, 10**6))
    assert interval(network, unbounded) == sizing.interval_cycles
    sized = fifos.with_depths(pipeline, sizing.sized)
    assert interval(network, sized) <= sizing.interval_cycles
    least = fifos.with_depths(pipeline, sizing.least)
    assert interval(network, least) == sizing.least_interval_cycles
    for edge in pipeline.fifos:
        if sizing.sized[edge] > 1:
            fewer = interval(network, with_one(sized, edge, sizing.sized[edge] - 1))
            assert fewer is None or fewer > sizing.interval_cycles, edge
        if sizing.least[edge] > 1:
            assert interval(network, with_one(least, edge, sizing.least[edge] - 1)) is None, edge
    return sizing


@pytest.mark.parametrize("seed", range(60))
def test_no_fifo_of_a_random_pipeline_can_be_lowered(seed):
    network = random_network(seed)
    expect_tight(network, random_pipeline(seed, network))


@pytest.mark.parametrize("name", ["wrn-10-1", "wrn-10-1-1x3", "resnet-20-1x3-keep"])
def test_no_fifo_of_a_preset_can_be_lowered(name):
    network = executed(presets.preset(name))
    pipeline = folding.pipeline(network, Budget("budget", 256, 100.0))
    sizing = expect_tight(network, pipeline)
    assert sizing.least_bytes <= sizing.sized_bytes <= sizing.before_bytes
    assert sizing.sized_bytes == sum(
        depth * network.shapes[edge.split(" -> ")[0]].channels for edge, depth in sizing.sized.items()
    )
