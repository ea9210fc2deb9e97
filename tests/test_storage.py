"""What layers keep and how long they wait: by hand for small networks, and as `sim.simulate` says for many."""

from collections.abc import Sequence

import msgspec
import pytest
from random_networks import random_network, random_pipeline

from hw import resources
from hw.accelerator import Budget, Engine, Fifo, Pipeline, machine
from hw.errors import Deadlock
from hw.network import INPUT, Edge, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from hw.presets import preset
from sim.result import Precision
from sim.run import simulate
from sim.storage import Memory, Storage, compare, skip_edges, storage

AROUND = Padding(1, 1, 1, 1)
BESIDE = Padding(0, 0, 1, 1)


def by_hand(
    name: str, shape: Shape, layers: Sequence[Layer], depths: Sequence[int | Fifo], **engines: Engine
) -> tuple[Network, Pipeline]:
    """A network and a machine: depths edge by edge, one multiplier where nothing else is said."""
    network = Network(name, shape, tuple(layers))
    edges = [*map(str, network.edges), f"{network.output.name} -> output"]
    fifos = {edge: depth if isinstance(depth, Fifo) else Fifo(depth) for edge, depth in zip(edges, depths, strict=True)}
    folding = {layer.name: engines.get(layer.name, Engine(1)) for layer in layers}
    return network, Pipeline("m", 100.0, folding, fifos)


def kept(found: Storage) -> dict[str, list[tuple[int, int, int]]]:
    return {layer.name: [msgspec.structs.astuple(part) for part in layer.parts] for layer in found.layers}


def waits(found: Storage) -> dict[str, tuple[int, int]]:
    return {layer.name: (layer.wait_pixels, layer.wait_cycles) for layer in found.layers}


NONE = (0, 0, 0)


def a_3x3_conv() -> tuple[Network, Pipeline]:
    layer = Layer("a", "conv", (INPUT,), 32, Size(3, 3), padding=AROUND, bias=True)
    return by_hand("square", Shape(8, 64, 16), [layer], [3, Fifo(70, "block")], a=Engine(2, 16))


def test_a_3x3_conv_of_8_bit_pixels_and_4_bit_results_by_hand() -> None:
    found = storage(*a_3x3_conv(), Precision(4, 8, 8))
    line_buffer, window, fifo, _, _ = kept(found)["a"]
    assert (line_buffer, window) == ((2 * 64 * 16 * 8, 4, 0), (4 * 16 * 8, 0, 0))
    # The FIFO in front has pixels of 128 bits, as at 8 bits; the one behind words of 128 where it had 256.
    assert fifo == (3 * 128 + 70 * 128, 4, 6)


def test_a_3x3_conv_by_hand() -> None:
    found = storage(*a_3x3_conv())
    assert kept(found) == {
        "a": [
            # Two rows of 64 pixels of 128 bits: 128 words, 4 block RAMs of 512 x 36 side by side.
            (2 * 64 * 16 * 8, 4, 0),
            # 3 pixels and the spare one, in registers.
            (4 * 16 * 8, 0, 0),
            # 3 pixels of 128 bits in LUTs of 64; 70 of 256 bits in 8 block RAMs.
            (3 * 128 + 70 * 256, 8, 6),
            NONE,
            # 4608 weights of 8 bits and 32 biases of 32; 4640 items, 32 a word: 145 words of 256 bits.
            (4608 * 8 + 32 * 32, 8, 0),
        ]
    }
    # A row, and two pixels of the next one. A pixel comes and is copied a cycle; the last copy ends in cycle 66.
    assert waits(found) == {"a": (66, 66)}
    assert (found.total.bits, found.total.bram18, found.total.lut) == (found.layers[0].bits, 20, 6)


def test_a_1x3_conv_of_the_same_size_waits_for_two_pixels_and_keeps_no_line() -> None:
    layer = Layer("a", "conv", (INPUT,), 32, Size(1, 3), padding=BESIDE, bias=True)
    found = storage(*by_hand("row", Shape(8, 64, 16), [layer], [3, 2], a=Engine(2, 16)))
    assert kept(found) == {
        "a": [
            NONE,
            (4 * 16 * 8, 0, 0),
            (3 * 128 + 2 * 256, 0, 6 + 8),
            NONE,
            # 1568 items of 8 bits, 32 a word: 49 words of 256 bits.
            (1536 * 8 + 32 * 32, 8, 0),
        ]
    }
    assert waits(found) == {"a": (2, 2)}


def test_a_residual_by_hand() -> None:
    layers = [
        Layer("a", "conv", (INPUT,), 4, Size(3, 3), padding=AROUND),
        Layer("pool", "mean", ("a",), kernel=Size(1, 10), stride=Size(1, 10)),
        Layer("b", "conv", ("pool",), 4),
        Layer("sum", "add", ("b", "pool")),
    ]
    found = storage(*by_hand("residual", Shape(6, 10, 4), layers, [2, 5, 1, 1, 9, 3], a=Engine(4, 4)))
    assert kept(found) == {
        # 640 bits of rows are below 4096: 10 LUTs; 144 weights of 8 bits: 18.
        "a": [(2 * 10 * 4 * 8, 0, 10), (4 * 4 * 8, 0, 0), (2 * 32, 0, 1), NONE, (144 * 8, 0, 18)],
        # One sum of 4 channels in 32 bits; the estimate takes 24 each: 96 bits.
        "pool": [NONE, (4 * 32, 0, 2), (5 * 32, 0, 3), NONE, NONE],
        "b": [NONE, (2 * 4 * 8, 0, 0), (32, 0, 1), NONE, (16 * 8, 0, 2)],
        "sum": [NONE, NONE, (32 + 3 * 32, 0, 1 + 2), (9 * 32, 0, 5), NONE],
    }
    # The mean wants the ten pixels of a row, four cycles a copy and nine a pixel of a.
    pixels = {name: wait[0] for name, wait in waits(found).items()}
    assert pixels == {"a": 12, "pool": 10, "b": 1, "sum": 1}
    assert waits(found) == {"a": (12, 12), "pool": (10, 9 * 9 + 4), "b": (1, 4), "sum": (1, 0)}
    assert found.convs.wait_cycles == 16
    assert found.total.wait_pixels == 24


def test_the_edges_of_a_shortcut() -> None:
    network = executed(preset("resnet-20"))
    skips = [(edge.source, edge.target) for edge in skip_edges(network)]
    assert len(skips) == 9
    assert skips[:2] == [("stem", "g1.b0.add"), ("g1.b0.add", "g1.b1.add")]
    assert ("g2.b0.shortcut", "g2.b0.add") in skips
    # Two ways of the same length jump over nothing, and the input's own way over all.
    layers = (
        Layer("a", "affine", (INPUT,)),
        Layer("b", "affine", (INPUT,)),
        Layer("even", "add", ("a", "b")),
        Layer("odd", "add", (INPUT, "even")),
    )
    assert skip_edges(Network("n", Shape(2, 2, 2), layers)) == [Edge(INPUT, "odd")]


@pytest.mark.parametrize(("bits", "input_bits"), [(8, 0), (5, 0), (5, 8)])
@pytest.mark.parametrize("seed", range(40))
def test_bits_are_the_bytes_of_a_simulation_and_ram_is_that_of_the_estimate(
    seed: int, bits: int, input_bits: int
) -> None:
    network = executed(random_network(seed))
    made, precision = random_pipeline(seed, network), Precision(bits, bits, input_bits)
    try:
        result = simulate(network, made, precision)
    except Deadlock:
        with pytest.raises(Deadlock):
            storage(network, made, precision)
        return
    found = storage(network, made, precision)
    for mine, layer in zip(found.layers, result.layers, strict=True):
        assert -(-mine.line_buffer.bits // 8) == layer.line_buffer_bytes
        assert -(-mine.window.bits // 8) == layer.window_bytes
        assert -(-mine.weights.bits // 8) == layer.weight_bytes
        # Every FIFO is rounded up by itself there.
        assert 0 <= 8 * layer.fifo_bytes - mine.fifo.bits - mine.skip_fifo.bits < (1 if bits == 8 else 8 * 4)
    taken = resources.budgeted(network, made, bits, bits, input_bits)
    assert found.total.bram18 == taken.bram18
    assert found.total.lut <= taken.lut


@pytest.mark.parametrize("name", ["wrn-16-2", "wrn-16-2-1x3", "resnet-20-1x3-keep"])
def test_a_preset_keeps_what_a_simulation_says(name: str) -> None:
    found, result = (run(preset(name), machine("pipeline-256")) for run in (storage, simulate))
    assert isinstance(found, Storage)
    sums = found.total
    assert sums.line_buffer.bits == 8 * result.line_buffer_bytes
    assert sums.window.bits == 8 * result.window_bytes
    assert sums.fifo.bits + sums.skip_fifo.bits == 8 * result.fifo_bytes
    assert sums.weights.bits == 8 * result.weight_bytes


def test_a_square_network_waits_a_row_a_layer_and_a_row_network_a_pixel() -> None:
    square, row = (storage(preset(name), machine("pipeline-256")) for name in ("wrn-16-2", "wrn-16-2-1x3"))
    for side, before in ((square, 1), (row, 0)):
        network = executed(preset(side.network))
        for layer in side.layers:
            own = network.by_name[layer.name]
            if layer.kind == "conv" and own.kernel.cols == 3:
                assert layer.wait_pixels == before * network.input_shape(own).cols + 2
    found = compare(square, row)
    assert all(left == right for left, right in found.rows)
    assert found.ratios["line_buffer_bits"] is None
    assert (found.ratios["convs_wait_cycles"] or 0) > 10
    assert found.ratios["wait_pixels"] == square.total.wait_pixels / row.total.wait_pixels


def test_a_budget_of_block_rams_counts_with_the_bits_given() -> None:
    few, many = (storage(preset("resnet-8-1x3"), Budget("b", bram18=60), Precision(b, b)) for b in (4, 16))
    assert max(few.total.bram18, many.total.bram18) <= 60
    assert few.total.weights.bits < many.total.weights.bits


def chain(*layers: tuple[str, str]) -> Storage:
    """A network of layers (name, kind) in a row."""
    made: list[Layer] = []
    for name, kind in layers:
        source = made[-1].name if made else INPUT
        made.append(Layer(name, kind, (source,), 2 if kind == "conv" else 0))  # type: ignore[arg-type]
    return storage(*by_hand("chain", Shape(2, 2, 2), made, [2] * (len(made) + 1)))


def test_networks_of_other_names_meet_conv_by_conv() -> None:
    left = chain(("a", "conv"), ("same", "max"), ("b", "conv"), ("c", "conv"), ("end", "max"))
    right = chain(("pre", "max"), ("x", "conv"), ("pool", "max"), ("same", "max"), ("y", "conv"), ("last", "max"))
    rows = [("", "pre"), ("a", "x"), ("same", "same"), ("", "pool"), ("b", "y"), ("", "last"), ("c", ""), ("end", "")]
    assert list(compare(left, right).rows) == rows
    assert sorted(mine for mine, _ in rows if mine) == sorted(layer.name for layer in left.layers)


def test_nothing_over_nothing_is_no_ratio_and_storage_comes_back_from_json() -> None:
    one = chain(("a", "conv"))
    found = compare(one, one)
    assert (found.ratios["skip_fifo_bits"], found.ratios["weight_bits"]) == (None, 1.0)
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    assert one.total.skip_fifo == Memory()
