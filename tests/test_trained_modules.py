"""A module that was trained elsewhere as integers: near its own outputs, exact in hardware's terms, or refused."""

import numpy as np
import pytest
import torch
from test_rtl import expect_exact, needs
from torch import nn

from distill.data import Images
from distill.train import to_input
from hw import student
from hw.accelerator import Budget
from hw.errors import BadInput, UnsupportedLayer
from hw.reference import forward
from reports.trained_modules import student_of
from sim import folding


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 6, (1, 3), padding=(0, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 5 * 7, 4)
        )
        self.register_buffer("mean", torch.tensor([0.4, 0.6]).view(2, 1, 1))

    def forward(self, x):
        return self.body((x - self.mean) / 0.25)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (64, 5, 7, 2), np.uint8), rng.integers(0, 4, 64))


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Normalised()


def test_integers_are_near_the_modules_outputs(module, images, tmp_path):
    made = student_of(module, images.pixels, images, name="mine", vectors=10)
    scale = 2.0 ** -made.fraction(made.network.output.name)
    found = forward(made, images.pixels).reshape(64, 4) * scale
    expected = module(to_input(images.pixels)).detach().numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert (len(made.images), len(made.outputs), made.provenance["module"]) == (10, 10, "Normalised")
    student.save(made, tmp_path / "student")
    assert np.array_equal(student.of_run(tmp_path).outputs, made.outputs)


@needs("icarus")
def test_the_rtl_gives_them_exactly(module, images):
    made = student_of(module, images.pixels, images, vectors=2)
    expect_exact(made, folding.pipeline(made.network, Budget("b", 60, 100.0)), frames=2)


def test_more_bits_are_nearer(module, images):
    expected = module(to_input(images.pixels)).detach().numpy()
    errors = []
    for bits in (4, 6, 8):
        made = student_of(module, images.pixels, images, bits=bits)
        found = forward(made, images.pixels).reshape(64, 4) * 2.0 ** -made.fraction(made.network.output.name)
        errors.append(np.abs(found - expected).max())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_what_cannot_be_is_told(module, images):
    floats = images.pixels.astype(np.float32)
    with pytest.raises(BadInput) as error:
        student_of(module, floats, images)
    assert str(error.value) == (
        "calibration: images of float32 [64, 5, 7, 2] were found; uint8 [count, rows, cols, channels] are wanted"
    )
    with pytest.raises(BadInput, match=r"^test: images of \[7, 5, 2\] were found, \[5, 7, 2\] are wanted as in calib"):
        student_of(module, images.pixels, Images(images.pixels.swapaxes(1, 2), images.labels))
    with pytest.raises(UnsupportedLayer, match=r"^layer 1: mish is not supported"):
        student_of(nn.Sequential(nn.Conv2d(2, 3, 1), nn.Mish()), images.pixels, images)
