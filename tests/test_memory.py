"""Bytes that a layer keeps, by hand for each kind of layer."""

import pytest

from hw import presets
from hw.fit import least_window_pixels
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from sim import memory
from sim.result import Precision

EIGHT = Precision(8, 8)


def alone(kind: str, kernel: tuple[int, int] = (1, 1), **fields: object) -> tuple[Network, Layer]:
    """A layer that reads 6 rows of 10 pixels of 3 channels."""
    layer = Layer("x", kind, (INPUT,), kernel=Size(*kernel), **fields)  # type: ignore[arg-type]
    return Network("alone", Shape(6, 10, 3), (layer,)), layer


@pytest.mark.parametrize(
    ("kind", "kernel", "fields", "line_buffer"),
    [
        ("conv", (3, 3), {"channels": 4, "padding": Padding(1, 1, 1, 1)}, 2 * 10 * 3),
        ("conv", (3, 3), {"channels": 4, "stride": Size(2, 2)}, 2 * 10 * 3),
        ("conv", (5, 1), {"channels": 4}, 4 * 10 * 3),
        ("conv", (2, 1), {"channels": 1}, 1 * 10 * 3),
        ("conv", (1, 1), {"channels": 4}, 0),
        ("conv", (1, 3), {"channels": 4}, 0),
        ("conv", (1, 10), {"channels": 4}, 0),
        ("conv", (1, 5), {"channels": 4, "stride": Size(2, 2)}, 0),
        ("conv", (6, 10), {"channels": 4}, 0),
        ("max", (2, 2), {"stride": Size(2, 2)}, 1 * 10 * 3),
        ("max", (1, 3), {}, 0),
        ("mean", (2, 2), {"stride": Size(1, 1)}, 1 * 10 * 3),
        ("mean", (2, 1), {"stride": Size(2, 1)}, 10 * 3 * 4),
        ("mean", (2, 2), {"stride": Size(2, 2)}, 5 * 3 * 4),
        ("mean", (1, 10), {"stride": Size(1, 10)}, 0),
        ("mean", (6, 1), {"stride": Size(6, 1)}, 10 * 3 * 4),
        ("mean", (6, 10), {"stride": Size(6, 10)}, 0),
        ("affine", (1, 1), {}, 0),
    ],
)
def test_line_buffers(kind: str, kernel: tuple[int, int], fields: dict[str, object], line_buffer: int) -> None:
    network, layer = alone(kind, kernel, **fields)
    assert memory.line_buffer_bytes(network, layer, EIGHT) == line_buffer


def test_a_join_keeps_nothing() -> None:
    layers = (Layer("a", "affine", (INPUT,)), Layer("sum", "add", ("a", INPUT)), Layer("both", "concat", ("sum", "a")))
    network = Network("joins", Shape(6, 10, 3), layers)
    for layer in layers:
        assert memory.line_buffer_bytes(network, layer, EIGHT) == memory.window_bytes(network, layer, 0, EIGHT) == 0


def test_a_head_over_rows_keeps_no_row_and_one_sum() -> None:
    network, layer = alone("mean", (1, 10), stride=Size(1, 10))
    assert memory.line_buffer_bytes(network, layer, EIGHT) == 0
    assert memory.window_bytes(network, layer, least_window_pixels(network, layer), EIGHT) == 3 * 4


def test_a_mean_of_two_rows_keeps_a_row_of_sums_and_no_pixel() -> None:
    network, layer = alone("mean", (2, 1), stride=Size(2, 1))
    least = least_window_pixels(network, layer)
    assert least == 11
    assert memory.line_buffer_bytes(network, layer, EIGHT) == 120
    assert memory.window_bytes(network, layer, least, EIGHT) == 0


def test_line_buffer_and_window_together_are_the_whole_buffer() -> None:
    # A 3x3 window on rows of 10 pixels: 2 rows and 3 pixels, of 3 channels; the line buffer is the 2 rows.
    network, layer = alone("conv", (3, 3), channels=4)
    assert least_window_pixels(network, layer) == 23
    assert memory.window_bytes(network, layer, 23, EIGHT) == 3 * 3
    assert memory.window_bytes(network, layer, 30, EIGHT) == 10 * 3
    # A dense layer's rows are its window.
    network, layer = alone("conv", (6, 10), channels=4)
    assert memory.window_bytes(network, layer, 60, EIGHT) == 60 * 3


@pytest.mark.parametrize(("bits", "expected"), [(8, 60), (16, 120), (4, 30), (1, 8), (3, 23)])
def test_bits_of_an_activation_round_up_to_whole_bytes(bits: int, expected: int) -> None:
    network, layer = alone("conv", (3, 3), channels=4)
    assert memory.line_buffer_bytes(network, layer, Precision(bits, 8)) == expected


@pytest.mark.parametrize(
    ("kind", "fields", "bits", "expected"),
    [
        ("conv", {"channels": 4}, 8, 4 * 3),
        ("conv", {"channels": 4, "bias": True}, 8, 4 * 3 + 4 * 4),
        ("conv", {"channels": 3, "bias": True}, 3, 4 + 3 * 4),
        ("affine", {}, 8, 3 + 3 * 4),
        ("max", {}, 8, 0),
        ("mean", {}, 8, 0),
    ],
)
def test_weights_in_their_width_and_biases_in_32_bits(
    kind: str, fields: dict[str, object], bits: int, expected: int
) -> None:
    network, layer = alone(kind, **fields)
    assert memory.weight_bytes(network, layer, Precision(8, bits)) == expected


@pytest.mark.parametrize("name", ["wrn-40-4-1x3", "wrn-16-2-1x5-keep", "resnet-20-1x3"])
def test_row_networks_have_no_line_buffer_in_any_conv(name: str) -> None:
    network = presets.preset(name)
    convs = [layer for layer in network.layers if layer.kind == "conv"]
    assert convs
    assert all(memory.line_buffer_bytes(network, layer, EIGHT) == 0 for layer in convs)


def test_square_networks_keep_two_rows_in_every_square_conv() -> None:
    network = presets.preset("wrn-16-2")
    for layer in network.layers:
        rows, channels = network.input_shape(layer).cols, network.input_shape(layer).channels
        expected = 2 * rows * channels if layer.kernel == (3, 3) else 0
        assert memory.line_buffer_bytes(network, layer, EIGHT) == expected


def test_a_padded_kernel_as_wide_as_its_map_moves_sideways_and_keeps_rows() -> None:
    network = Network(
        "narrow", Shape(3, 3, 64), (Layer("a", "conv", (INPUT,), 64, Size(3, 3), padding=Padding(1, 1, 1, 1)),)
    )
    assert memory.line_buffer_bytes(network, network.layers[0], EIGHT) == 2 * 3 * 64


def test_bits_are_exact_where_bytes_are_rounded_up() -> None:
    precision = Precision(3, 5)
    network, layer = alone("conv", (3, 3), channels=4, bias=True)
    assert memory.line_buffer_bits(network, layer, precision) == 2 * 10 * 3 * 3
    assert memory.window_bits(network, layer, 23, precision) == 3 * 3 * 3
    assert memory.weight_bits(network, layer, precision) == 108 * 5 + 4 * 32
    assert memory.weight_bytes(network, layer, precision) == 68 + 16
