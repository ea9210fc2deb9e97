"""A sensor that cannot be stalled: by recurrence, oracle and RTL."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hls_students import conv, student_of
from oracle_pipeline import run as oracle
from test_rtl import machine, needs

from hw.accelerator import Source
from hw.errors import BadInput
from hw.network import INPUT, Network, Padding, Shape
from sim import cosim, sensor
from sim.pipeline import Handshakes, stamps


def network(kernel=(3, 3)):
    layers = (conv("a", INPUT, 4, kernel, relu=True), conv("b", "a", 2, (1, 1)))
    return Network("eye", Shape(6, 8, 2), layers)


def test_arrivals_by_hand():
    # Rows of 3 pixels and 2 blanks, frames of 2 rows and 1 blank row; 1.5 machine cycles a pixel clock.
    small = Network("small", Shape(2, 3, 1), (conv("a", INPUT, 1, (1, 1)),))
    cycles = sensor.arrival_cycles(small, Source(10.0, 2, 1), Fraction(3, 2), 2)
    clocks = [0, 1, 2, 5, 6, 7, 15, 16, 17, 20, 21, 22]
    assert cycles.tolist() == [int(1.5 * clock) for clock in clocks]


def test_rows_that_are_not_read_do_not_arrive():
    layers = (conv("a", INPUT, 1, (1, 1)),)
    every_second = Network("small", Shape(4, 2, 1), layers, row_step=2)
    assert sensor.arrival_cycles(every_second, Source(1.0), Fraction(1), 1).tolist() == [0, 1, 4, 5]


# One conv of 3x3 with 2 x 2 multipliers: ii = 2 * 9 = 18 cycles a pixel; a ratio above 18 lets it keep up.
@pytest.mark.parametrize(("clock_mhz", "keeps_up"), [(100.0, False), (250.0, True)])
def test_a_machine_keeps_up_if_its_engines_do(clock_mhz, keeps_up):
    made = msgspec.structs.replace(machine(network(), depth=4), clock_mhz=clock_mhz)
    found = sensor.watch(network(), made, Source(10.0))
    assert found.keeps_up is keeps_up
    assert (found.first_overrun is None) is keeps_up


def test_the_least_clock_is_one():
    made = machine(network(), depth=4)
    least = sensor.watch(network(), made, Source(10.0, 2, 1)).least_clock_mhz
    assert least is not None
    at = [msgspec.structs.replace(made, clock_mhz=least * factor) for factor in (1.0, 0.99)]
    assert [sensor.watch(network(), slower, Source(10.0, 2, 1)).keeps_up for slower in at] == [True, False]


def test_the_input_buffer_is_what_is_needed():
    # The engines take 18 cycles a pixel, a row of 8 pixels comes at 12 and is followed by 24 empty clocks.
    source, made = Source(10.0, 24, 2), msgspec.structs.replace(machine(network(), depth=1), clock_mhz=120.0)
    needed = sensor.watch(network(), made, source).input_buffer_pixels
    assert needed is not None
    assert needed > 1
    for depth, keeps_up in ((needed, True), (needed - 1, False)):
        fifos = made.fifos | {"input -> a": msgspec.structs.replace(made.fifos["input -> a"], depth=depth)}
        assert sensor.watch(network(), msgspec.structs.replace(made, fifos=fifos), source).keeps_up is keeps_up


def test_a_backlog_that_grows_has_no_buffer_that_is_enough():
    found = sensor.watch(network(), machine(network(), depth=2), Source(10.0))
    assert found.input_buffer_pixels is None


def test_a_row_filter_answers_lines_earlier_than_a_square_one():
    source = Source(1.0)
    square = sensor.watch(network((3, 3)), machine(network((3, 3)), depth=4), source)
    row = sensor.watch(network((1, 3)), machine(network((1, 3)), depth=4), source)
    assert square.keeps_up
    assert row.keeps_up
    assert row.latency_lines < square.latency_lines < 2


@needs("icarus")
@pytest.mark.parametrize("clock_mhz", [60.0, 120.0, 200.0])
def test_recurrence_oracle_and_rtl_lose_the_same_pixel_first(clock_mhz):
    student = student_of(network(), seed=5, images=2)
    made = machine(student.network, depth=2)
    arrivals = sensor.arrival_cycles(student.network, Source(10.0, 3, 1), Fraction(int(clock_mhz), 10), 2)
    valid = np.zeros(arrivals[-1] + 1, np.int64)
    valid[arrivals] = 1
    shakes = Handshakes(valid, np.zeros(0, np.int64))
    by_oracle = oracle(student.network, made, 2, valid.tolist(), []).starts[INPUT]
    by_rtl = cosim.run(student, made, student.images, handshakes=shakes).starts[INPUT]
    by_recurrence = stamps(student.network, made, 2, shakes).starts[INPUT]
    late = [np.flatnonzero(np.array(starts) != arrivals).tolist() for starts in (by_oracle, by_rtl, by_recurrence)]
    assert late[0] == late[1] == late[2]
    assert bool(late[0]) is (clock_mhz < 190)


def test_a_sensor_faster_than_the_machine_is_told():
    sentence = (
        r"^machine by hand: clock_mhz 100 was found; the sensor's 200 is wanted at least, since a pixel a cycle is all "
        r"that the input takes$"
    )
    with pytest.raises(BadInput, match=sentence):
        sensor.watch(network(), machine(network()), Source(200.0))


def test_padding_is_no_pixel_that_arrives():
    padded = Network("p", Shape(4, 4, 1), (conv("a", INPUT, 1, (3, 3), padding=Padding(1, 1, 1, 1)),))
    assert sensor.arrival_cycles(padded, Source(1.0), Fraction(1), 1).size == 16


@pytest.mark.parametrize("depth", [4, 16])
def test_a_fifo_does_not_hide_that_a_machine_is_too_slow_in_the_long_run(depth):
    # One multiplier pair by pair: ii = 10 inputs x 5 outputs = 50 cycles a pixel, so 50 MHz for a sensor of 1 MHz.
    slow = Network("slow", Shape(8, 8, 10), (conv("a", INPUT, 5, (1, 1)),))
    at = msgspec.structs.replace(machine(slow, depth=depth, pe=1, simd=1), clock_mhz=49.5)
    found = sensor.watch(slow, at, Source(1.0))
    assert not found.keeps_up
    assert found.input_buffer_pixels is None
    assert found.least_clock_mhz == pytest.approx(50.0, rel=2e-3)
    assert found.least_clock_mhz >= 50.0
    assert sensor.watch(slow, msgspec.structs.replace(at, clock_mhz=50.0), Source(1.0)).keeps_up


def test_the_answer_is_awaited_from_the_frames_last_pixel_read_or_not():
    layers = (conv("a", INPUT, 1, (1, 1)),)
    skipping = Network("skipping", Shape(8, 8, 1), layers, row_step=4)
    found = sensor.watch(skipping, machine(skipping, depth=4, pe=1, simd=1), Source(1.0))
    # Row 4 is the last that is read; 3 rows and some cycles later the frame ends, long after the answer.
    assert -3.0 < found.latency_lines < -2.9


def test_clocks_that_are_no_binary_fractions_are_exact():
    one_row = Network("row", Shape(1, 4, 1), (conv("a", INPUT, 1, (1, 1)),))
    made = msgspec.structs.replace(machine(one_row, depth=1, pe=1, simd=1), clock_mhz=0.3)
    assert sensor.watch(one_row, made, Source(0.1)).frame_cycles == 12
    ratio = Fraction("0.3") / Fraction("0.1")
    assert sensor.arrival_cycles(one_row, Source(0.1), ratio, 1).tolist() == [0, 3, 6, 9]


def test_blanks_that_cannot_be_counted_are_told():
    with pytest.raises(BadInput, match=r"^source: \d+ frames of it last longer than can be counted; shorter blanks "):
        sensor.watch(network(), machine(network()), Source(1.0, h_blank=1 << 60))
