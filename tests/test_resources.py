"""Estimates say that they are, and count what the structure asks for."""

import msgspec
import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Engine, Fifo, Pipeline
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from hw.resources import dsps, engine_memories, estimate, fifo_memory


def machine(network, engines=None, depth=2):
    """Two pixels a FIFO and, where nothing else is said, one multiplier a layer."""
    edges = [*map(str, network.edges), f"{network.output.name} -> output"]
    folding = {layer.name: Engine(1, 1) for layer in network.layers} | (engines or {})
    return Pipeline("m", 100.0, folding, {edge: Fifo(depth) for edge in edges})


def single(kernel, channels=16, cols=64, rows=8, outputs=16):
    padding = Padding(kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)
    layer = Layer("c", "conv", (INPUT,), outputs, Size(*kernel), padding=padding)
    return Network("n", Shape(rows, cols, channels), (layer,))


@pytest.mark.parametrize("seed", range(40))
def test_an_estimate_is_marked_as_one_and_counts_every_multiplier(seed):
    network = random_network(seed)
    pipeline = random_pipeline(seed, network)
    found = estimate(network, pipeline, 8, 8)
    assert (found.source, found.design, found.error) == ("estimate", "rtl", None)
    multipliers = 0
    for layer in network.layers:
        engine = pipeline.engines[layer.name]
        if layer.kind == "conv":
            multipliers += engine.pe * engine.simd
        elif layer.kind == "affine":
            multipliers += engine.pe
    assert found.dsp == multipliers
    assert found.lut > 0
    assert found.ff > 0
    assert found.bram18 >= 0


@pytest.mark.parametrize("seed", range(40))
def test_a_whole_is_the_sum_of_its_engines_and_fifos(seed):
    network = random_network(seed)
    pipeline = random_pipeline(seed, network)
    rams = dsp = 0
    for layer in network.layers:
        engine = pipeline.engines[layer.name]
        rams += sum(memory.bram18 for memory in engine_memories(network, layer, engine, 32, 32))
        dsp += dsps(layer, engine)
    for edge, fifo in pipeline.fifos.items():
        rams += fifo_memory(network, edge, fifo, 32).bram18
    found = estimate(network, pipeline, 32, 32)
    assert (found.bram18, found.dsp) == (rams, dsp)


def test_block_rams_neither_rise_nor_fall_with_multipliers():
    # 4608 weights of 8 bits: words of 1, 9 and 64 weights are 4608 x 8, 512 x 72 and 72 x 512 bits.
    network = single((1, 1), channels=72, outputs=64)
    folds = [Engine(1, 1), Engine(1, 9), Engine(64, 1)]
    rams = [engine_memories(network, network.layers[0], engine, 8, 8)[1].bram18 for engine in folds]
    assert rams == [3, 2, 15]


def test_a_fold_of_4_by_8_takes_32_multipliers():
    network = single((1, 3))
    assert estimate(network, machine(network, {"c": Engine(4, 8)}), 8, 8).dsp == 32


@pytest.mark.parametrize("folding", [Engine(1, 1), Engine(4, 8), Engine(16, 16)])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_1x3_needs_no_more_block_ram_or_multipliers_than_3x3_at_equal_folding(folding, bits):
    row, full = (
        estimate(network, machine(network, {"c": folding}), bits, bits) for network in (single((1, 3)), single((3, 3)))
    )
    assert row.bram18 <= full.bram18
    assert row.ff <= full.ff
    assert row.dsp == full.dsp


def test_a_whole_1xn_network_needs_less_block_ram_than_its_nxn_twin():
    row, full = (
        estimate(network, machine(network), 8, 8)
        for network in (executed(preset("wrn-16-2-1x3-keep")), executed(preset("wrn-16-2")))
    )
    assert row.bram18 < full.bram18


def test_line_buffers_and_weights_counted_by_hand():
    """2048 words of 8 bits (2 lines of 64 pixels, a channel a word) are 1 block RAM, 2304 weights of 8 bits are 2."""
    network = single((3, 3))
    assert estimate(network, machine(network), 8, 8).bram18 == 1 + 2


def test_a_line_buffer_has_a_line_less_than_the_kernel_has_rows():
    """5x3 over 256 columns of 4 channels: 4 lines of 8192 bits are two block RAMs; 7680 bits of weights are one."""
    network = single((5, 3), channels=4, cols=256)
    assert estimate(network, machine(network), 8, 8).bram18 == 2 + 1


def test_small_memories_take_no_block_ram():
    network = single((3, 3), channels=1, cols=8, outputs=2)
    assert estimate(network, machine(network), 8, 8).bram18 == 0


def test_a_deep_fifo_takes_block_ram():
    network = single((1, 1), channels=4, outputs=2)
    made = machine(network, depth=600)
    block = msgspec.structs.replace(made, fifos={edge: Fifo(600, "block") for edge in made.fifos})
    lut, deep = (estimate(network, pipeline, 8, 8) for pipeline in (made, block))
    # 600 words of 32 bits are two of 1024 x 18, 600 of 16 bits are one; in LUT RAM 300 LUTs of 64 bits and 150.
    assert (lut.bram18, deep.bram18) == (0, 2 + 1)
    assert lut.lut - deep.lut == 300 + 150


def test_taps_that_are_read_at_once_want_a_copy_of_the_lines_each():
    network = single((3, 3))
    one, nine = (estimate(network, machine(network, {"c": Engine(1, simd)}), 8, 8).bram18 for simd in (16, 9 * 16))
    assert nine > 2 * one


def test_a_mean_over_the_map_keeps_sums_and_not_rows():
    mean = Layer("m", "mean", (INPUT,), kernel=Size(64, 64), stride=Size(64, 64))
    network = Network("n", Shape(64, 64, 4), (mean,))
    assert estimate(network, machine(network), 8, 8).bram18 == 0


def test_an_estimate_comes_back_from_json():
    network = single((1, 3))
    found = estimate(network, machine(network), 8, 8)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
