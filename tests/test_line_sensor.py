"""A line engine behind a sensor: by hand, and by the properties of what it answers."""

import msgspec
import pytest
from random_networks import random_network

from hw.accelerator import LineEngine, Source
from hw.errors import BadInput, DoesNotFit
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from sim.line_sensor import watch

ENGINE = LineEngine("by hand", 1, 1, 1000, 1000, 1.0, 0, 10.0, resident="all")
ROWS = Network("rows", Shape(4, 5, 1), (Layer("a", "conv", (INPUT,), 1, Size(1, 3), padding=Padding(0, 0, 1, 1)),))


def test_a_row_at_a_time_by_hand() -> None:
    # A row task takes 5 columns * 3 products + 6 = 21 cycles, its store 5. At 1 MHz a row of 5 pixels and 5 blanks
    # takes 100 cycles of the machine: the last row has arrived at 350, its task ends at 371, its store at 376.
    found = watch(ROWS, ENGINE, Source(1.0, h_blank=5))
    assert (found.keeps_up, found.first_overrun, found.input_buffer_pixels) == (True, None, 0)
    assert (found.latency_cycles, found.latency_lines) == (26, 0.26)
    assert (found.frame_cycles, found.interval_cycles) == (400, 84)


def test_a_frame_of_one_row_by_hand() -> None:
    # Its 5 pixels have arrived at 50; its task ends at 71, its store at 76.
    found = watch(Network("row", Shape(1, 5, 1), ROWS.layers), ENGINE, Source(1.0))
    assert (found.keeps_up, found.latency_cycles) == (True, 26)


def test_a_sensor_that_is_too_fast_overruns_where_there_is_no_place_by_hand() -> None:
    # Line memory of two rows and a write buffer holds one row ahead: row 2 begins to arrive at 10 * 2 * 5 / 5 = 20,
    # when row 0 (there at 10, used until 31) still has its place.
    found = watch(ROWS, msgspec.structs.replace(ENGINE, line_memory_bytes=15), Source(5.0))
    assert found.first_overrun == (0, 2, 0)
    assert not found.keeps_up
    assert found.input_buffer_pixels is None
    assert found.frame_cycles == 40


def test_rows_that_nobody_reads_arrive_and_are_dropped() -> None:
    every_other = Network("every other", Shape(8, 5, 1), ROWS.layers, row_step=2)
    found = watch(every_other, ENGINE, Source(1.0))
    assert (found.keeps_up, found.frame_cycles) == (True, 400)
    # The last row that is read has arrived at 350, a row before the last pixel; its answer is there 26 cycles later.
    assert found.latency_cycles == 26 - 50


@pytest.mark.parametrize("seed", range(60))
def test_the_least_clock_is_enough_and_less_is_not(seed: int) -> None:
    network = executed(random_network(seed))
    engine = msgspec.structs.replace(ENGINE, pe=2, simd=3, line_memory_bytes=700 + 50 * seed, resident="auto")
    source = Source(1.0, h_blank=seed % 7, v_blank=seed % 3)
    try:
        least = watch(network, engine, source).least_clock_mhz
    except DoesNotFit:
        return
    if least is None:
        return
    assert watch(network, msgspec.structs.replace(engine, clock_mhz=round(max(least * 1.002, 1.0), 4)), source).keeps_up
    if least > 1.01:
        assert not watch(network, msgspec.structs.replace(engine, clock_mhz=round(least * 0.998, 4)), source).keeps_up


def test_only_rows_one_by_one_come_from_a_sensor() -> None:
    with pytest.raises(BadInput, match=r"^machine by hand: schedule layer_by_layer was found; behind a sensor"):
        watch(ROWS, msgspec.structs.replace(ENGINE, schedule="layer_by_layer"), Source(1.0))
    with pytest.raises(BadInput, match=r"^machine by hand: clock_mhz 10 was found; the sensor's 20 is wanted at least"):
        watch(ROWS, ENGINE, Source(20.0))
