"""What must hold of every pipeline, over five hundred random ones."""

import msgspec
import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Fifo
from hw.errors import Deadlock
from hw.network import INPUT, Network
from sim.pipeline import stamps

SEEDS = range(500)


def runs(frames=3):
    """Seeded networks and machines that do not stop, with their stamps."""
    for seed in SEEDS:
        network = random_network(seed)
        pipeline = random_pipeline(seed, network)
        try:
            yield seed, network, pipeline, stamps(network, pipeline, frames)
        except Deadlock:
            continue


@pytest.fixture(scope="module")
def machines():
    found = list(runs())
    assert len(found) > 420
    return found


def test_a_slot_more_delays_nothing(machines):
    helped = 0
    for seed, network, pipeline, before in machines:
        edges = list(pipeline.fifos)
        edge = edges[seed % len(edges)]
        deeper = pipeline.fifos | {edge: Fifo(pipeline.fifos[edge].depth + 1, pipeline.fifos[edge].ram)}
        after = stamps(network, msgspec.structs.replace(pipeline, fifos=deeper), 3)
        assert all((after.starts[name] <= starts).all() for name, starts in before.starts.items()), network.name
        helped += any((after.starts[name] < starts).any() for name, starts in before.starts.items())
    assert helped > 50


def test_a_place_more_in_a_window_delays_nothing(machines):
    for seed, network, pipeline, before in machines:
        windows = [layer for layer in network.layers if layer.windowed and not layer.accumulates]
        if not windows:
            continue
        layer = windows[seed % len(windows)]
        edge = f"{layer.inputs[0]} -> {layer.name}"
        least = (layer.kernel.rows - 1) * network.input_shape(layer).cols + layer.kernel.cols
        larger = pipeline.buffers | {edge: pipeline.buffers.get(edge, least + 1) + 1}
        after = stamps(network, msgspec.structs.replace(pipeline, buffers=larger), 3)
        assert all((after.starts[name] <= starts).all() for name, starts in before.starts.items()), network.name


def renamed(network, names):
    layers = [
        msgspec.structs.replace(
            layer, name=names[layer.name], inputs=tuple(names.get(source, source) for source in layer.inputs)
        )
        for layer in network.layers
    ]
    return Network("other", network.input, tuple(layers), network.row_step)


def test_names_change_nothing(machines):
    for _, network, pipeline, before in machines:
        count = len(network.layers)
        names = {layer.name: f"x{count - i}.y" for i, layer in enumerate(network.layers)}
        full = names | {INPUT: INPUT, "output": "output"}

        def moved(edges, full=full):
            return {" -> ".join(full[end] for end in edge.split(" -> ")): value for edge, value in edges.items()}

        engines = {names[name]: engine for name, engine in pipeline.engines.items()}
        other = msgspec.structs.replace(
            pipeline, engines=engines, fifos=moved(pipeline.fifos), buffers=moved(pipeline.buffers)
        )
        after = stamps(renamed(network, names), other, 3)
        assert all((after.starts[full[name]] == starts).all() for name, starts in before.starts.items()), network.name


def test_later_frames_change_nothing_in_earlier_ones(machines):
    for _, network, pipeline, three in machines:
        one = stamps(network, pipeline, 1)
        for name, starts in one.starts.items():
            assert (three.starts[name][: starts.size] == starts).all(), network.name
        for edge, frees in one.frees.items():
            assert (three.frees[edge][: frees.size] == frees).all(), network.name
