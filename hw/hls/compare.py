"""Holds the C simulation of a generated project against the integer reference."""

from collections.abc import Callable

import msgspec
import numpy as np

from hw.errors import BadInput
from hw.fixed import Floats, Integers
from hw.hls.backends import BACKENDS
from hw.hls.csim import compile_library, simulate, trace
from hw.hls.manifest import Comparison, Generated, write_manifest
from hw.hls.passes import prepare
from hw.hls.testbench import input_values
from hw.reference import forward, layer_outputs
from hw.student import Student

__all__ = ["Comparison", "compare"]

TRACED_IMAGES = 20
"""Images on which every layer is compared; those with wrong outputs first."""


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
    outputs, leftover = simulate(generated, input_values(student, images), expected[0].size)
    result = _difference(expected.reshape(len(images), -1), _steps(student, outputs), leftover)
    wrong = (_steps(student, outputs) != expected.reshape(len(images), -1)).any(axis=1)
    traced = images[np.argsort(~wrong, kind="stable")[:TRACED_IMAGES]]
    layers, differing = compare_layers(student, generated, traced)
    result = msgspec.structs.replace(result, layers=layers, wrong_layers=differing)
    write_manifest(generated.folder, msgspec.structs.replace(generated.manifest, compared=result))
    return result


def compare_layers(student: Student, generated: Generated, images: Integers) -> tuple[int, tuple[str, ...]]:
    """How many layers were compared on `images`, and which of them differ, in their order.

    Layers that a pass inserted or changed are held against the reference of the changed student, which is the same
    function in other layers.
    """
    backend = BACKENDS[generated.manifest.backend]
    changed = prepare(student, wide_means=backend.wide_means)
    expected = layer_outputs(changed, images)
    names = {layer.name: layer.identifier for layer in generated.manifest.layers}
    sizes = {names[name]: expected[name][0].size for name in names}
    found = trace(generated, input_values(student, images), sizes)
    wrong = []
    for name, identifier in names.items():
        steps = found[identifier] * 2.0 ** changed.fraction(name)
        if not np.array_equal(steps, expected[name].reshape(len(images), -1)):
            wrong.append(name)
    return len(names), tuple(wrong)


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
