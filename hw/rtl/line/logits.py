"""Logits of a byte each: the line engine's memories hold bytes, and a student's last layer keeps its accumulator."""

from dataclasses import replace

import msgspec
import numpy as np

from hw import reference
from hw.fixed import Format
from hw.student import Student

BITS = 8


def byte_logits(student: Student) -> Student:
    """The student with logits of 8 bits, as fine as those of its test vectors allow; itself where they are.

    The test vectors' outputs are rounded with them.
    """
    name = student.network.output.name
    given = student.formats[name].out
    if given.width <= BITS:
        return student
    largest = int(np.abs(student.outputs).max()) if student.outputs.size else given.high
    dropped = max(0, largest.bit_length() + given.signed - BITS)
    out = Format(BITS, BITS - given.fraction + dropped, given.signed)
    formats = {**student.formats, name: msgspec.structs.replace(student.formats[name], out=out)}
    made = replace(student, formats=formats)
    return made.with_vectors(student.images, student.labels, reference.forward(made, student.images))
