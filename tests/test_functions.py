"""Functions that tables look up: their words, their integers by hand, and torch's own functions beside them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_networks import FUNCTIONS

from hw import functions
from hw.errors import BadInput
from hw.fixed import Format

TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": F.softplus,
    "leaky_relu:0.01": lambda x: F.leaky_relu(x, 0.01),
    "leaky_relu:0.25": lambda x: F.leaky_relu(x, 0.25),
    "elu:1": F.elu,
    "clip:0:6": F.relu6,
    "clip:-1:1": F.hardtanh,
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_values_are_those_of_torch(function):
    x = torch.linspace(-12, 12, 2401, dtype=torch.float64)
    np.testing.assert_allclose(functions.values(function, x.numpy()), TORCH[function](x).numpy(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_negative_where_it_says_so(function):
    low = functions.values(function, np.linspace(-40, 40, 8001)).min()
    assert (low < 0) == functions.can_be_negative(function)


def test_a_table_by_hand():
    # Of -2, -1.5, ..., 1.5 in fourths, half up: -2, -1.5 to -1, -1, -0.5 to 0, 0, 2, 4, 6.
    found = functions.table("leaky_relu:0.25", Format(3, 2), Format(4, 2))
    assert found.tolist() == [-2, -1, -1, 0, 0, 2, 4, 6]
    assert functions.table("clip:0:1", Format(3, 3), Format(2, 2)).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert functions.table("sigmoid", Format(2, 2, signed=False), Format(3, 0, signed=False)).tolist() == [4, 6, 7, 7]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_words_are_short_and_exact():
    assert functions.word("leaky_relu", 0.01) == "leaky_relu:0.01"
    assert functions.word("clip", 0, 6.0) == "clip:0:6"
    assert functions.parse(functions.word("elu", 1 / 3)) == ("elu", (1 / 3,))
    assert functions.word("silu") == "silu"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("sigmoyd", "function sigmoyd: there is none of that name; did you mean sigmoid?"),
        (
            "leaky_relu",
            "function leaky_relu: behind leaky_relu one finite number is wanted, each behind a colon as in "
            "leaky_relu:0.01",
        ),
        (
            "clip:0:inf",
            "function clip:0:inf: behind clip two finite numbers are wanted, each behind a colon as in leaky_relu:0.01",
        ),
        (
            "elu:a",
            "function elu:a: behind elu one finite number is wanted, each behind a colon as in leaky_relu:0.01",
        ),
        ("clip:6:0", "function clip:6:0: a lower bound below the upper one is wanted"),
    ],
)
def test_words_that_name_no_function_are_refused(function, text):
    with pytest.raises(BadInput) as error:
        functions.check(function)
    assert str(error.value) == text


def test_a_table_of_too_many_entries_is_refused():
    with pytest.raises(BadInput) as error:
        functions.table("tanh", Format(17, 3), Format(8, 1))
    assert str(error.value) == (
        "function tanh: a table of what fixed<17,3> holds was asked for, at most 16 bits are wanted"
    )
