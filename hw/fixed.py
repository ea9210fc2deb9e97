"""The bits of a number: power-of-two fixed point with one rounding everywhere, half up, saturating.

A value is `integer * 2**-fraction`. Rounding is floor(x * 2**fraction + 1/2) and then saturation, which is what
`ap_fixed<width, integer, AP_RND, AP_SAT>` does.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.errors import BadInput

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Exact = NDArray[Any]
"""Integers in int64, or in floats that hold every one of them exactly."""


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`width` bits, `integer` of them before the point (a sign bit counts among them)."""

    width: int
    integer: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 62:
            raise BadInput(f"format {self}: a width of 1 to 62 bits is wanted")

    def __str__(self) -> str:
        sign = "" if self.signed else "u"
        return f"{sign}fixed<{self.width},{self.integer}>"

    @property
    def fraction(self) -> int:
        """Bits after the point; may be negative."""
        return self.width - self.integer

    @property
    def low(self) -> int:
        """The least integer."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest integer."""
        return (1 << (self.width - self.signed)) - 1


class LayerFormats(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Formats of a layer's result, its weights and its accumulator; the bias lies on the accumulator's grid."""

    out: Format
    weight: Format | None = None
    accumulator: Format | None = None


def quantise(values: NDArray[np.floating], fmt: Format) -> Integers:
    """Floats to integers: floor(x * 2**fraction + 1/2), saturated."""
    scaled = np.clip(np.asarray(values, np.float64) * 2.0**fmt.fraction, fmt.low, fmt.high)
    whole = np.floor(scaled)
    up = scaled - whole >= 0.5  # adding 1/2 in floats would round 0.49999999999999994 up
    return _saturated(whole.astype(np.int64) + up, fmt)


def dequantise(integers: Integers, fmt: Format) -> Floats:
    """Integers to the floats that they stand for."""
    return np.ldexp(integers.astype(np.float64), -fmt.fraction)


def finer(values: Exact, bits: int) -> Exact:
    """The same numbers with so many more bits after the point, 0 or more; where 0, the same array."""
    if bits == 0:
        return values
    return values << bits if values.dtype.kind == "i" else values * 2.0**bits


def requantise(values: Exact, fraction: int, fmt: Format) -> Exact:
    """Integers with `fraction` bits after the point, in another format: shift, round half up, saturate.

    The result has the dtype of `values`. Floats give the integers' result as long as they hold every number on the
    way: `values` plus half a step of the new grid, or `values` on a finer new grid.
    """
    shift = fraction - fmt.fraction
    if shift <= 0:
        return _saturated(finer(values, -shift), fmt)
    rounded = values + (1 << shift >> 1)
    if values.dtype.kind == "i":
        rounded >>= shift
    else:
        rounded *= 2.0**-shift
        np.floor(rounded, out=rounded)
    return np.clip(rounded, fmt.low, fmt.high, out=rounded)


def divide(integers: Integers, divisor: int, fraction: int, fmt: Format) -> Integers:
    """`integers / divisor` in another format: exact quotient, rounded half up, saturated."""
    shift = fmt.fraction - fraction
    numerator = integers << max(shift, 0)
    denominator = divisor << max(-shift, 0)
    rounded = (2 * numerator + denominator) // (2 * denominator)
    return _saturated(rounded, fmt)


def _saturated(values: Exact, fmt: Format) -> Exact:
    return np.clip(values, fmt.low, fmt.high)


def accumulator_width(largest: int) -> int:
    """Signed bits that hold every integer of at most this magnitude."""
    return int(largest).bit_length() + 1
