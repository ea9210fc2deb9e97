"""Holds the C simulation of a generated project against the integer reference."""

from collections.abc import Callable

import msgspec
import numpy as np

from hw.errors import BadInput
from hw.fixed import Floats, Integers, dequantise
from hw.hls.csim import compile_library, simulate
from hw.hls.manifest import Comparison, Generated, write_manifest
from hw.network import INPUT
from hw.reference import forward
from hw.student import Student

__all__ = ["Comparison", "compare"]


def compare(
    student: Student,
    generated: Generated,
    images: Integers | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Comparison:
    """Run `images` (n, rows, cols, channels), by default the student's test vectors; note the outcome in the manifest.

    Raises:
        MissingTool: there is no g++.
        BadInput: no images, the project does not compile, or its simulation aborts.
    """
    images = student.images if images is None else images
    if len(images) == 0:
        raise BadInput(f"student {student.network.name}: no test images were found, at least one is wanted")
    expected = forward(student, images)
    progress("compiling the C simulation")
    compile_library(generated)
    progress(f"simulating {len(images)} images in C")
    floats = dequantise(images[:, :: student.network.row_step], student.formats[INPUT].out)
    outputs, leftover = simulate(generated, floats.reshape(len(images), -1), expected[0].size)
    result = _difference(expected.reshape(len(images), -1), _steps(student, outputs), leftover)
    write_manifest(generated.folder, msgspec.structs.replace(generated.manifest, compared=result))
    return result


def _steps(student: Student, outputs: Floats) -> Floats:
    return outputs * 2.0 ** student.fraction(student.network.output.name)


def _difference(expected: Integers, found: Floats, leftover: int) -> Comparison:
    difference = np.abs(found - expected)
    wrong = difference != 0
    return Comparison(
        images=len(expected),
        equal_images=int((~wrong.any(axis=1)).sum()),
        wrong_outputs=int(wrong.sum()),
        largest_difference=float(difference.max()),
        leftover_data=leftover,
    )
