"""Functions of one value that a `table` layer looks up: their words, their values, and their integers.

A word names a function and its parameters: `sigmoid`, `leaky_relu:0.01`, `clip:0:6`. Integers are made in one place
(`table`), in float64 by numpy, from the formats of what is read and what is made; the reference, the fake-quantised
network and the ROMs all take them from there, so that they are the same bit for bit.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hw.errors import BadInput, nearest
from hw.fixed import Floats, Format, Integers, dequantise, quantise

MOST_BITS = 16
"""Of what a table reads: it has 2**bits entries."""


class _Function(NamedTuple):
    """How many parameters it has, its values, and whether one of them can be below 0."""

    parameters: int
    values: Callable[..., Floats]
    negative: bool = True


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _silu(x: Floats) -> Floats:
    found: Floats = x * _sigmoid(x)
    return found


def _hardsigmoid(x: Floats) -> Floats:
    found: Floats = np.clip(x + 3, 0, 6) / 6
    return found


def _hardswish(x: Floats) -> Floats:
    found: Floats = x * np.clip(x + 3, 0, 6) / 6
    return found


def _gelu(x: Floats) -> Floats:
    """The value times the normal distribution (Hendrycks and Gimpel 2016, arXiv 1606.08415)."""
    twice: Floats = np.array([1 + math.erf(value / math.sqrt(2)) for value in x.ravel()]).reshape(x.shape)
    return 0.5 * x * twice


def _gelu_tanh(x: Floats) -> Floats:
    """The same paper's approximation."""
    inner: Floats = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    found: Floats = 0.5 * x * (1 + np.tanh(inner))
    return found


def _leaky_relu(x: Floats, slope: float) -> Floats:
    return np.where(x < 0, slope * x, x)


def _elu(x: Floats, alpha: float) -> Floats:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _softplus(x: Floats) -> Floats:
    return np.logaddexp(0, x)


_FUNCTIONS: dict[str, _Function] = {
    "sigmoid": _Function(0, _sigmoid, negative=False),
    "tanh": _Function(0, np.tanh),
    "silu": _Function(0, _silu),
    "hardsigmoid": _Function(0, _hardsigmoid, negative=False),
    "hardswish": _Function(0, _hardswish),
    "gelu": _Function(0, _gelu),
    "gelu_tanh": _Function(0, _gelu_tanh),
    "softplus": _Function(0, _softplus, negative=False),
    "leaky_relu": _Function(1, _leaky_relu),
    "elu": _Function(1, _elu),
    "clip": _Function(2, np.clip),
}


GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}
"""What a value times its own function is."""


def word(name: str, *parameters: float) -> str:
    """A function's word: its name and its parameters, each as short as it can be told exactly.

    Raises:
        BadInput: no such function, or parameters that it does not take.
    """
    told = ":".join([name, *(repr(float(number)).removesuffix(".0") for number in parameters)])
    check(told)
    return told


def parse(function: str) -> tuple[str, tuple[float, ...]]:
    """Name and parameters of a function's word.

    Raises:
        BadInput: no such function, or parameters that it does not take.
    """
    name, *rest = function.split(":")
    found = _FUNCTIONS.get(name)
    if found is None:
        raise BadInput(f"function {function}: there is none of that name{nearest(name, _FUNCTIONS)}")
    try:
        parameters = tuple(float(text) for text in rest)
    except ValueError:
        parameters = (math.nan,)
    if len(parameters) != found.parameters or not all(map(math.isfinite, parameters)):
        wanted = ("nothing is", "one finite number is", "two finite numbers are")[found.parameters]
        raise BadInput(f"function {function}: behind {name} {wanted} wanted, each behind a colon as in leaky_relu:0.01")
    if name == "clip" and parameters[0] >= parameters[1]:
        raise BadInput(f"function {function}: a lower bound below the upper one is wanted")
    return name, parameters


def check(function: str) -> None:
    """Refuse a word that names no function; raises as `parse`."""
    parse(function)


def values(function: str, x: Floats) -> Floats:
    """The function of each value, in float64; raises as `parse`."""
    name, parameters = parse(function)
    return np.asarray(_FUNCTIONS[name].values(np.asarray(x, np.float64), *parameters), np.float64)


def can_be_negative(function: str) -> bool:
    """Whether some value of the function is below 0; raises as `parse`."""
    name, parameters = parse(function)
    return _FUNCTIONS[name].negative and not (name == "clip" and parameters[0] >= 0)


@lru_cache(maxsize=256)
def table(function: str, source: Format, out: Format) -> Integers:
    """The function of every integer of `source` from the least on, rounded half up and saturated to `out`; read-only.

    Raises:
        BadInput: no such function, or a source of more than `MOST_BITS` bits.
    """
    if source.width > MOST_BITS:
        raise BadInput(
            f"function {function}: a table of what {source} holds was asked for, at most {MOST_BITS} bits are wanted"
        )
    found = quantise(values(function, dequantise(np.arange(source.low, source.high + 1), source)), out)
    found.setflags(write=False)
    return found


def rom(function: str, source: Format, out: Format) -> Integers:
    """`table` in the order of the bits of what is read, two's complement where it has a sign; raises as `table`."""
    return np.roll(table(function, source, out), source.low)


def looked_up(function: str, integers: Integers, source: Format, out: Format) -> Integers:
    """The function of integers of `source`, as integers of `out`; raises as `table`."""
    return table(function, source, out)[integers - source.low]
