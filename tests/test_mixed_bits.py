"""Bits of results, weights and pixels: what the record holds, what is read of a student, what each buffer takes."""

import msgspec
import pytest
from random_students import random_student

from hw.accelerator import Engine, Fifo, Pipeline
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.student import Student
from sim import fifos, memory
from sim.result import Precision
from sim.run import precision_of, simulate
from sim.storage import Storage, storage

MIXED = Precision(4, 4, 8)
CHAIN = Network(
    "chain",
    Shape(6, 10, 3),
    tuple(
        Layer(name, "conv", (source,), 4, Size(3, 3), padding=Padding(1, 1, 1, 1))
        for source, name in ((INPUT, "a"), ("a", "b"))
    ),
)


def test_the_input_is_as_wide_as_the_results_where_nothing_else_is_said() -> None:
    assert [Precision(5, 6).bits_of(name) for name in (INPUT, "a")] == [5, 5]
    assert [MIXED.bits_of(name) for name in (INPUT, "a", "output")] == [8, 4, 4]
    assert Precision(8, 8, 8) == Precision()
    assert hash(Precision(8, 8, 8)) == hash(Precision())
    assert Precision(4, 4, 8) != Precision(4, 4)
    assert msgspec.structs.replace(MIXED, activation_bits=8) == Precision(8, 4)


def test_bits_print_as_words() -> None:
    assert str(Precision(8, 4)) == "activations of 8 bits, weights of 4"
    assert str(MIXED) == "input of 8 bits, activations of 4 bits, weights of 4"


def test_what_was_written_before_there_were_bits_of_the_input_is_read() -> None:
    old = b'{"activation_bits": 4, "weight_bits": 6}'
    assert msgspec.json.decode(old, type=Precision) == Precision(4, 6)
    for bits in (MIXED, Precision()):
        assert msgspec.json.decode(msgspec.json.encode(bits), type=Precision) == bits


@pytest.mark.parametrize("seed", range(25))
def test_a_students_bits_are_those_of_its_formats(seed: int) -> None:
    student = random_student(seed)
    found, last = precision_of(student), student.network.output.name
    assert found.bits_of(INPUT) == student.formats[INPUT].out.width
    widths = [student.formats[layer.name].out.width for layer in student.network.layers if layer.name != last]
    assert found.activation_bits == max(widths, default=student.formats[INPUT].out.width)


def test_a_student_of_4_bits_that_reads_8_bit_pixels() -> None:
    student = random_student(2)
    names = [layer.name for layer in student.network.layers]
    assert len(names) > 2
    formats = {name: _of_4_bits(student, name) for name in names}
    pixels = {INPUT: LayerFormats(Format(8, 0, signed=False))}
    logits = {names[-1]: msgspec.structs.replace(formats[names[-1]], out=Format(21, 9))}
    found = precision_of(_with_formats(student, pixels | formats | logits))
    assert (found.activation_bits, found.input_bits) == (4, 8)
    alike = {INPUT: LayerFormats(Format(4, 0, signed=False))}
    assert precision_of(_with_formats(student, alike | formats | logits)).input_bits == 0


def _of_4_bits(student: Student, name: str) -> LayerFormats:
    known = student.formats[name]
    return msgspec.structs.replace(known, out=Format(4, 4, known.out.signed))


def _with_formats(student: Student, formats: dict[str, LayerFormats]) -> Student:
    return Student(
        student.network, formats, student.integers, student.images, student.labels, student.outputs, student.provenance
    )


def test_rows_and_windows_have_the_bits_of_what_a_layer_reads() -> None:
    first, second = CHAIN.layers
    # Two rows of 10 pixels: of 3 channels of 8 bits, of 4 channels of 4.
    assert memory.line_buffer_bytes(CHAIN, first, MIXED) == 2 * 10 * 3
    assert memory.line_buffer_bytes(CHAIN, second, MIXED) == 2 * 10 * 4 // 2
    # Windows of 23 pixels: 3 beyond the rows.
    assert memory.window_bytes(CHAIN, first, 23, MIXED) == 3 * 3
    assert memory.window_bytes(CHAIN, second, 23, MIXED) == 3 * 4 // 2


def test_fifos_have_the_bits_of_what_comes_through_them() -> None:
    depths = {"input -> a": 5, "a -> b": 5, "b -> output": 1}
    assert fifos.fifo_bytes(CHAIN, depths, MIXED) == 5 * 3 + 5 * 4 // 2 + 4 // 2
    assert fifos.fifo_bytes(CHAIN, depths, Precision(8, 4)) == 5 * 3 + 5 * 4 + 4


def test_what_is_stored_says_with_which_bits() -> None:
    engines = {"a": Engine(1), "b": Engine(1)}
    machine = Pipeline("m", 100.0, engines, {f"{a} -> {b}": Fifo(2) for a, b in ((INPUT, "a"), ("a", "b"))})
    machine = msgspec.structs.replace(machine, fifos=machine.fifos | {"b -> output": Fifo(2)})
    found = storage(CHAIN, machine, MIXED)
    assert found.precision == MIXED
    assert msgspec.json.decode(msgspec.json.encode(found), type=Storage) == found
    result = simulate(CHAIN, machine, MIXED)
    sums = found.total
    assert result.line_memory_bytes == (sums.line_buffer.bits + sums.window.bits + sums.fifo.bits) / 8
