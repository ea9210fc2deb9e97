"""A torch module that was trained elsewhere as a `Student`: traced, calibrated and made of integers, not fine-tuned."""

from typing import Any

import numpy as np
import torch

from distill import quantize
from distill.data import Images, Pixels
from distill.train import deterministic, to_input
from hw.errors import BadInput
from hw.network import Shape
from hw.passes import fold_affines, fold_weights
from hw.student import Student
from hw.trace import trace
from reports.students import CALIBRATION_IMAGES, PIXEL, TEST_VECTORS, with_vectors


def student_of(
    model: Any, calibration: Pixels, test: Images, *, name: str = "module", bits: int = 8, vectors: int = TEST_VECTORS
) -> Student:
    """The module's integers, with the first `vectors` test images and their outputs as test vectors.

    `hw.student.save(made, folder / "student")` makes a folder that every command takes for a run's.

    Args:
        model: any trained `torch.nn.Module` that can be traced. It is shown pixels as 0 to 255/256; one that wants them
            otherwise scales and shifts them itself, channel by channel, which becomes a layer or part of its first.
        calibration: images [count, rows, cols, channels] of 8 bits, from whose values formats are chosen; the first
            512 are looked at. Training images, not test images.
        test: images and labels.
        name: of the network.
        bits: of every weight and result; biases and the last layer's accumulator have more.
        vectors: how many test images go along.

    Raises:
        BadInput: images of another form, or of another shape than each other.
        UnsupportedLayer: a layer that no machine here executes.
    """
    for what, pixels in (("calibration", calibration), ("test", test.pixels)):
        if pixels.ndim != 4 or pixels.dtype != np.uint8 or not len(pixels):
            raise BadInput(
                f"{what}: images of {pixels.dtype} {list(pixels.shape)} were found; uint8 [count, rows, cols, "
                "channels] are wanted"
            )
    if calibration.shape[1:] != test.pixels.shape[1:]:
        raise BadInput(
            f"test: images of {list(test.pixels.shape[1:])} were found, {list(calibration.shape[1:])} are wanted as in "
            "calibration"
        )
    source = trace(model, Shape(*calibration.shape[1:]), name)
    network, weights = fold_affines(source.network), fold_weights(source.network, source.weights)
    with deterministic(0), torch.no_grad():
        formats = quantize.calibrate(network, weights, to_input(calibration[:CALIBRATION_IMAGES]), bits, PIXEL)
        formats, integers = quantize.integers(quantize.FixedPoint(network, weights, formats))
    none = np.zeros((0, *network.input), np.int64)
    outputs = np.zeros((0, *network.shapes[network.output.name]), np.int64)
    made = Student(network, formats, integers, none, np.zeros(0, np.int64), outputs, {"module": type(model).__name__})
    return with_vectors(made, test, vectors)
