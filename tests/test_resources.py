"""Estimates say that they are and how far off; budgets count what the structure asks for."""

import msgspec
import pytest
from random_networks import random_network, random_pipeline

from hw.accelerator import Engine, Fifo, Pipeline
from hw.errors import BadInput
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from hw.resources import (
    Memory,
    Resources,
    budgeted,
    dsps,
    engine_estimates,
    engine_memories,
    estimate,
    fifo_memory,
    rom_memory,
    stream_memory,
    with_error,
)
from hw.synth.shapes import modules, of_bits


def machine(network, engines=None, depth=2):
    """Two pixels a FIFO and, where nothing else is said, one multiplier a layer."""
    edges = [*map(str, network.edges), f"{network.output.name} -> output"]
    folding = {layer.name: Engine(1, 1) for layer in network.layers} | (engines or {})
    return Pipeline("m", 100.0, folding, {edge: Fifo(depth) for edge in edges})


def single(kernel, channels=16, cols=64, rows=8, outputs=16):
    padding = Padding(kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)
    layer = Layer("c", "conv", (INPUT,), outputs, Size(*kernel), padding=padding)
    return Network("n", Shape(rows, cols, channels), (layer,))


@pytest.mark.parametrize("family", ["xc7", "ecp5"])
@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_an_estimate_is_marked_as_one_with_tool_and_error(seed, family):
    network = random_network(seed)
    pipeline = random_pipeline(seed, network)
    found = estimate(network, pipeline, 8, 8, family)
    assert (found.source, found.design, found.family) == ("estimate", "rtl", family)
    assert found.tool == f"fit to yosys, {family}"
    assert found.version
    assert found.error is not None
    assert 0 < found.error < 0.3
    assert found.lut > 0
    assert found.ff > 0
    parts = engine_estimates(of_bits(network, 8, 8), pipeline, family)
    assert set(parts) == {*network.by_name, *pipeline.fifos}
    assert found.dsp == sum(each.dsp for each in parts.values())
    assert found.bram18 == sum(each.weight_bram18 + each.line_bram18 for each in parts.values())


@pytest.mark.parametrize("seed", range(40))
def test_every_multiplier_of_8_bits_is_a_dsp(seed):
    network = random_network(seed)
    pipeline = random_pipeline(seed, network)
    found = engine_estimates(of_bits(network, 8, 8), pipeline, "xc7")
    for layer in network.layers:
        if layer.kind in ("conv", "affine"):
            engine = pipeline.engines[layer.name]
            assert found[layer.name].dsp == engine.pe * (engine.simd if layer.kind == "conv" else 1)
    budget = budgeted(network, pipeline, 8, 8)
    assert budget.dsp == sum(dsps(layer, pipeline.engines[layer.name]) for layer in network.layers)


def test_no_estimate_for_a_family_that_was_never_synthesised():
    network = single((1, 3))
    with pytest.raises(BadInput) as error:
        estimate(network, machine(network), 8, 8, "xcu")
    assert str(error.value) == "family xcu: no estimate for it; did you mean xc7?"


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
    found = budgeted(network, pipeline, 32, 32)
    assert (found.bram18, found.dsp) == (rams, dsp)


@pytest.mark.parametrize("seed", range(40))
def test_only_what_holds_pixels_of_the_input_has_their_bits(seed):
    network = random_network(seed)
    pipeline = random_pipeline(seed, network)
    narrow, mixed, wide = (
        {name: parameters for name, _, parameters in modules(of_bits(network, *bits), pipeline)}
        for bits in ((4, 4), (4, 4, 8), (8, 4))
    )
    for edge in map(str, network.edges):
        assert mixed[edge] == (wide if edge.startswith("input -> ") else narrow)[edge]
    for layer in network.layers:
        reads = INPUT in layer.inputs
        found = mixed[layer.name]
        assert found["OUT_BITS"] == 4
        assert found["IN_BITS"] == (8 if reads else 4)
        if "SUM_BITS" in found and layer.kind in ("conv", "affine"):
            assert found["SUM_BITS"] == (wide if reads else narrow)[layer.name]["SUM_BITS"]
    assert {name: of for name, _, of in modules(of_bits(network, 4, 4, 4), pipeline)} == narrow


def test_block_rams_neither_rise_nor_fall_with_multipliers():
    # 4608 weights of 8 bits: words of 1, 9 and 64 weights are 4608 x 8, 512 x 72 and 72 x 512 bits.
    network = single((1, 1), channels=72, outputs=64)
    folds = [Engine(1, 1), Engine(1, 9), Engine(64, 1)]
    rams = [engine_memories(network, network.layers[0], engine, 8, 8)[1].bram18 for engine in folds]
    assert rams == [3, 2, 15]


def test_a_fold_of_4_by_8_takes_32_multipliers():
    network = single((1, 3))
    assert budgeted(network, machine(network, {"c": Engine(4, 8)}), 8, 8).dsp == 32


@pytest.mark.parametrize("folding", [Engine(1, 1), Engine(4, 8), Engine(16, 16)])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_1x3_needs_no_more_block_ram_or_multipliers_than_3x3_at_equal_folding(folding, bits):
    row, full = (
        budgeted(network, machine(network, {"c": folding}), bits, bits) for network in (single((1, 3)), single((3, 3)))
    )
    assert row.bram18 <= full.bram18
    assert row.dsp == full.dsp


def test_a_whole_1xn_network_needs_less_block_ram_than_its_nxn_twin():
    row, full = (
        budgeted(network, machine(network), 8, 8)
        for network in (executed(preset("wrn-16-2-1x3-keep")), executed(preset("wrn-16-2")))
    )
    assert row.bram18 < full.bram18


def test_line_buffers_and_weights_counted_by_hand():
    """2048 words of 8 bits (2 lines of 64 pixels, a channel a word) are 1 block RAM, 2304 weights of 8 bits are 2."""
    network = single((3, 3))
    assert budgeted(network, machine(network), 8, 8).bram18 == 1 + 2


def test_a_line_buffer_has_a_line_less_than_the_kernel_has_rows():
    """5x3 over 256 columns of 4 channels: 4 lines of 8192 bits are two block RAMs; 7680 bits of weights are one."""
    network = single((5, 3), channels=4, cols=256)
    assert budgeted(network, machine(network), 8, 8).bram18 == 2 + 1


def test_small_memories_take_no_block_ram():
    network = single((3, 3), channels=1, cols=8, outputs=2)
    assert budgeted(network, machine(network), 8, 8).bram18 == 0


def test_a_deep_fifo_takes_block_ram():
    network = single((1, 1), channels=4, outputs=2)
    made = machine(network, depth=600)
    block = msgspec.structs.replace(made, fifos={edge: Fifo(600, "block") for edge in made.fifos})
    lut, deep = (budgeted(network, pipeline, 8, 8) for pipeline in (made, block))
    # 600 words of 32 bits are two of 1024 x 18, 600 of 16 bits are one; in LUT RAM 300 LUTs of 64 bits and 150.
    assert (lut.bram18, deep.bram18) == (0, 2 + 1)
    assert lut.lut - deep.lut == 300 + 150


def test_taps_that_are_read_at_once_want_a_copy_of_the_lines_each():
    network = single((3, 3))
    one, nine = (budgeted(network, machine(network, {"c": Engine(1, simd)}), 8, 8).bram18 for simd in (16, 9 * 16))
    assert nine > 2 * one


def test_a_mean_over_the_map_keeps_sums_and_not_rows():
    mean = Layer("m", "mean", (INPUT,), kernel=Size(64, 64), stride=Size(64, 64))
    network = Network("n", Shape(64, 64, 4), (mean,))
    assert budgeted(network, machine(network), 8, 8).bram18 == 0


def test_an_estimate_comes_back_from_json():
    network = single((1, 3))
    found = estimate(network, machine(network), 8, 8)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def of(lut, ff, dsp, bram18, design="hls", source="estimate", error=None):
    return Resources(lut, ff, dsp, bram18, design, source, "tool", error)


def test_a_number_below_0_is_refused():
    for wrong in ((-1, 0, 0, 0), (0, 0, 0, -2)):
        with pytest.raises(BadInput, match=r"resources by tool: \w+ -\d was found, at least 0 is wanted"):
            of(*wrong)
    for error in (-0.1, float("nan")):
        with pytest.raises(BadInput, match="resources by tool: error"):
            of(0, 0, 0, 0, error=error)


def test_an_error_is_the_greatest_of_the_four():
    measured = of(100, 200, 4, 10, source="vendor")
    assert with_error(of(100, 200, 4, 10), measured).error == 0
    assert with_error(of(90, 200, 4, 10), measured).error == pytest.approx(0.1)
    assert with_error(of(90, 300, 4, 10), measured).error == 0.5
    assert with_error(of(100, 200, 4, 3), measured).error == pytest.approx(0.7)
    assert with_error(of(100, 200, 3, 10), of(100, 200, 0, 10, source="synthesis")).error == 3
    assert with_error(of(90, 200, 4, 10), measured).counts == of(90, 200, 4, 10).counts


def test_designs_and_sources_are_not_mixed():
    with pytest.raises(BadInput) as error:
        with_error(of(1, 1, 1, 1), of(1, 1, 1, 1, "rtl", "vendor"))
    assert str(error.value) == "resources: an estimate of hls was held against rtl; one is wanted"
    for estimated, measured in (("vendor", "vendor"), ("estimate", "estimate"), ("synthesis", "vendor")):
        with pytest.raises(BadInput) as error:
            with_error(of(1, 1, 1, 1, source=estimated), of(1, 1, 1, 1, source=measured))
        assert str(error.value) == (
            f"resources: {estimated} was held against {measured}; "
            "an estimate against a vendor's report or a synthesis is wanted"
        )


def test_a_stream_deeper_than_a_lut_ram_goes_to_block_ram():
    assert stream_memory(64, 128) == Memory(128, 0)
    assert stream_memory(65, 128) == Memory(0, 4)  # 36 bits a block RAM
    assert stream_memory(1024, 128) == Memory(0, 8)  # 1024 words of 18
    assert stream_memory(1, 1) == Memory(1, 0)


def test_a_rom_is_as_wide_as_its_words():
    assert rom_memory(9, 360) == Memory(0, 10)
    assert rom_memory(2048, 9) == Memory(0, 1)


@pytest.mark.parametrize(("read", "made", "lut", "bram18"), [(8, 4, 2 * 16, 0), (12, 8, 0, 4), (8, 8, 2 * 32, 0)])
def test_a_tables_rom_has_a_word_for_all_that_it_reads_as_wide_as_what_it_makes(read, made, lut, bram18):
    network = Network("n", Shape(3, 3, 4), (Layer("t", "table", (INPUT,), function="tanh"),))
    engine = Engine(2)
    assert engine_memories(network, network.layers[0], engine, read, 8, made) == ((0, 0), (lut, bram18))
    pipeline = machine(network, {"t": engine})
    fifos = budgeted(network, msgspec.structs.replace(pipeline, engines={"t": Engine(1)}), made, 8, read)
    alone = engine_memories(network, network.layers[0], Engine(1), read, 8, made)[1]
    both = budgeted(network, pipeline, made, 8, read)
    assert (both.lut - fifos.lut, both.bram18 - fifos.bram18) == (alone.lut, alone.bram18)
