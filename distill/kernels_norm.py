"""Batch norm over the rows of a matrix [values, channels]: sums of 64 rows in float32, of those sums in float64.

Torch's float32 sums over a channels-last map lose digits of the gradient: docs/decisions/0008-batch-norm.md.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Sums = NDArray[np.float64]

BLOCK_ROWS = 64


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def moments(x: Values, block: int, mean: Sums, variance: Sums) -> None:
    """Mean and variance (divided by the count) of every column; differences from the first row keep the digits."""
    rows, cols = x.shape
    total, square = np.zeros(cols), np.zeros(cols)
    part, part_square = np.zeros(cols, np.float32), np.zeros(cols, np.float32)
    origin = x[0].copy()
    for begin in range(0, rows, block):
        part[:] = 0
        part_square[:] = 0
        for i in range(begin, min(rows, begin + block)):
            for j in range(cols):
                value = x[i, j] - origin[j]
                part[j] += value
                part_square[j] += value * value
        for j in range(cols):
            total[j] += part[j]
            square[j] += part_square[j]
    for j in range(cols):
        shift = total[j] / rows
        mean[j] = origin[j] + shift
        variance[j] = max(square[j] / rows - shift * shift, 0.0)


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def scaled(x: Values, scale: Values, bias: Values, floor: np.float32, y: Values) -> None:
    """Sets y = x scale + bias, at least `floor`, column by column; a NaN stays one."""
    rows, cols = x.shape
    for i in range(rows):
        for j in range(cols):
            value = x[i, j] * scale[j] + bias[j]
            y[i, j] = floor if value < floor else value


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def gradient_sums(
    gradient: Values,
    x: Values,
    scale: Values,
    bias: Values,
    floor: np.float32,
    mean: Values,
    block: int,
    plain: Sums,
    weighted: Sums,
) -> None:
    """Sums of every column where x scale + bias is above `floor`: of the gradient, and of gradient times x - mean."""
    rows, cols = x.shape
    part, part_weighted = np.zeros(cols, np.float32), np.zeros(cols, np.float32)
    plain[:] = 0
    weighted[:] = 0
    for begin in range(0, rows, block):
        part[:] = 0
        part_weighted[:] = 0
        for i in range(begin, min(rows, begin + block)):
            for j in range(cols):
                value = gradient[i, j] if x[i, j] * scale[j] + bias[j] > floor else np.float32(0)
                part[j] += value
                part_weighted[j] += value * (x[i, j] - mean[j])
        for j in range(cols):
            plain[j] += part[j]
            weighted[j] += part_weighted[j]


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def combined(
    gradient: Values,
    x: Values,
    scale: Values,
    bias: Values,
    floor: np.float32,
    by_x: Values,
    constant: Values,
    out: Values,
) -> None:
    """Sets out = gradient scale + x by_x + constant; no gradient where x scale + bias is not above `floor`."""
    rows, cols = x.shape
    for i in range(rows):
        for j in range(cols):
            value = gradient[i, j] if x[i, j] * scale[j] + bias[j] > floor else np.float32(0)
            out[i, j] = value * scale[j] + x[i, j] * by_x[j] + constant[j]
