"""The estimate of hls4ml's design counts what its templates ask for, and says that nobody has measured it."""

import io

import hls_students as students
import pytest
from rich.console import Console

from hw.errors import BadInput
from hw.hls.estimate import Bits, equal_bits, estimate, student_bits
from hw.hls.passes import prepare
from hw.hls.templates import dataflow
from hw.hls.vendor import VendorReport
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.presets import ROW_KEEP, wrn
from hw.resources import CONTROL_LUTS, Resources
from reports.hls import hls_fifos, hls_resources, show_resources
from sim.result import Precision


def single(kernel=(1, 1), channels=4, outputs=8, cols=40, kind="conv"):
    padding = Padding(kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)
    layer = Layer("c", kind, (INPUT,), outputs if kind == "conv" else 0, Size(*kernel), padding=padding)
    return Network("n", Shape(10, cols, channels), (layer,))


def found(network, factors=None, activation_bits=8, weight_bits=8, strategy="auto", depths=None):
    flow = dataflow(network, factors, strategy)
    return estimate(flow, depths, equal_bits(flow.form, activation_bits, weight_bits))


def test_an_estimate_says_what_it_is():
    made = found(single())
    assert (made.design, made.source, made.tool) == ("hls", "estimate", "count of hls4ml's templates")
    assert (made.version, made.error) == ("1.3.0", None)


def test_wide_products_go_to_dsps_and_narrow_ones_to_luts():
    network = single((1, 3))
    products = 3 * 4 * 8
    assert found(network).dsp == 0
    assert found(network, activation_bits=16, weight_bits=16).dsp == products
    assert found(network, activation_bits=16, weight_bits=8).dsp == products
    assert found(network, activation_bits=20, weight_bits=20).dsp == 2 * products  # 20 bits are more than 18
    assert found(network, activation_bits=30, weight_bits=30).dsp == 4 * products
    assert found(network).lut > found(network, activation_bits=8, weight_bits=2).lut


def test_reuse_divides_multipliers_and_puts_weights_into_block_ram():
    network = single((1, 3), channels=4, outputs=8)
    products = 3 * 4 * 8
    for factor in (1, 2, 3, 12, 24):
        made = found(network, {"c": factor}, 16, 16)
        assert made.dsp == products // factor
        # a word holds the weights of a cycle, 36 bits a block RAM at most; the padding's FIFO is 42 pixels a row
        fifo = found(network, {"c": factor}, 16, 16, depths={})
        words = -(-products // factor * 16 // 36)
        assert fifo.bram18 == (0 if factor == 1 else words)


def test_distributed_arithmetic_has_adders_only():
    network = single((1, 3))
    latency, adders = (found(network, None, 16, 16, name) for name in ("Latency", "distributed_arithmetic"))
    assert adders.dsp == 0 < latency.dsp
    assert adders.lut > latency.lut


def test_line_buffers_are_shift_registers_and_windows_registers():
    """2 rows of 42 pixels of 4 channels of 8 bits, 32 bits a LUT: 128 LUTs; the window of 9 x 4 x 8 bits: 288."""
    square, flat = found(single((3, 3)), depths={}), found(single((1, 9)), depths={})
    row, windowless = found(single((1, 3)), depths={}), found(single((1, 1)), depths={})
    assert square.lut - flat.lut == 2 * 4 * 8 * 2
    assert square.ff == flat.ff
    assert row.lut > windowless.lut
    pool = found(single((2, 2), kind="max").__class__("n", Shape(10, 40, 4), (pool_layer("max", 2),)), depths={})
    assert pool.ff == 4 * 4 * 8 + 4 * 8 + 4 * 8  # window, maxima, result
    assert pool.lut == 4 * 8 * 2 + 3 * 4 * 8 + CONTROL_LUTS


def pool_layer(kind, extent):
    return Layer("p", kind, (INPUT,), kernel=Size(extent, extent), stride=Size(extent, extent))


def test_a_mean_over_the_map_keeps_sums_only():
    mean = Layer("m", "mean", (INPUT,), kernel=Size(8, 8), stride=Size(8, 8))
    made = found(Network("n", Shape(8, 8, 4), (mean,)))
    assert made.ff == 4 * (8 + 6) + 4 * 8
    assert made.lut == 4 * (8 + 6) + CONTROL_LUTS


def test_adds_count_their_bits():
    layers = (Layer("a", "conv", (INPUT,), 4), Layer("s", "add", ("a", INPUT)))
    one, two = (found(Network("n", Shape(4, 4, 4), layers[:k]), depths={}) for k in (1, 2))
    streams = 2 * 1 + 2  # two copies of the input and what the conv writes; 16 pixels of 32 bits are 8 LUTs each
    assert two.lut - one.lut == 4 * 9 + 2 * CONTROL_LUTS + (streams - 1) * 8


def test_fifos_are_what_a_depth_makes_of_them():
    network = wrn(10, 1, ROW_KEEP, shape=Shape(32, 32, 3), classes=10)
    before, after = (hls_resources(network, depths)[0] for depths in (None, hls_fifos(network).depths))
    fifos = hls_fifos(network)
    assert before.bram18 - after.bram18 == fifos.before.bram18 - fifos.after.bram18 > 0
    assert before.lut - after.lut == fifos.before.lut - fifos.after.lut
    assert (before.ff, before.dsp) == (after.ff, after.dsp)


def test_a_student_is_counted_in_its_own_bits():
    student = students.residual()
    prepared = prepare(student)
    flow = dataflow(student.network, prepared=prepared.network)
    narrow = student_bits(prepared)
    assert narrow.activations["block.1.a"] == 8
    assert narrow.weights["block.1.a_rows"] == 1  # the inserted selector's ones
    wide = Bits({k: 2 * v for k, v in narrow.activations.items()}, narrow.weights)
    assert estimate(flow, None, wide).ff > estimate(flow, None, narrow).ff
    assert hls_resources(student, None) == (estimate(flow, None, narrow),)


def test_a_vendors_report_tells_the_estimates_error():
    student = students.strided()
    (alone,) = hls_resources(student, None)
    measured = Resources(2 * alone.lut, alone.ff, alone.dsp, alone.bram18, "hls", "vendor", "Vitis HLS", None, "2023.2")
    report = VendorReport(measured, 100, 90, 5.0, simulated=False)
    vendor, estimated = hls_resources(student, None, report)
    assert vendor == measured
    assert estimated.error == 0.5
    text = io.StringIO()
    show_resources(Console(file=text, width=120), (vendor, estimated, alone))
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert lines[0] == "design source tool LUT FF DSP BRAM18 error"
    assert lines[1].startswith("hls vendor Vitis HLS 2023.2 ")
    assert lines[2].endswith(" 50%")
    assert lines[3].endswith(" unknown")


def test_an_estimate_of_another_design_is_not_held_against_a_report():
    report = VendorReport(Resources(1, 1, 1, 1, "rtl", "synthesis", "yosys", None), None, None, None, simulated=False)
    with pytest.raises(BadInput) as error:
        hls_resources(students.strided(), None, report)
    assert str(error.value) == "resources: an estimate of hls was held against rtl; one is wanted"


def test_the_input_of_a_network_without_formats_may_have_bits_of_its_own() -> None:
    conv = Layer("a", "conv", (INPUT,), 4, Size(3, 3))
    network = Network("square", Shape(8, 8, 2), (conv, Layer("b", "conv", ("a",), 4, Size(3, 3))))
    bits = (Precision(4, 4), Precision(4, 4, 8), Precision(8, 4))
    narrow, mixed, wide = (hls_resources(network, None, precision=each)[0].lut for each in bits)
    assert narrow < mixed < wide
