"""The pipeline's closed forms for millions of design points, in numba (`sim.bounds` says what they mean)."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Table = NDArray[np.int64]

# Columns of the table of layers: first input and their number in `sources`, output pixels, input pixels, d, whether it
# has a window, first and greatest pixel that a window needs, whether some window needs the last pixel, first option
# and their number.
L_SOURCE, L_SOURCES, L_OUTPUTS, L_INPUTS, L_D, L_WINDOW, L_FIRST, L_MOST, L_ALL, L_OPTION, L_OPTIONS = range(11)
# Columns of the table of options: ii, copy cycles, multipliers.
O_II, O_COPY, O_MACS = range(3)
BLOCK = 128
"""Points side by side: short loops over them, each of few arrays, become vector instructions; by measurement."""


@njit(cache=True, nogil=True)
def screen(
    layers: Table,
    sources: Table,
    options: Table,
    choices: NDArray[np.uint8],
    pixels_in: int,
    latency: Table,
    interval: Table,
    multipliers: Table,
) -> int:
    """Fill the bounds of every point; `choices` (points, layers) are options of each layer, counted from its first.

    Return -1, or the first layer that has no such option.

    Source and sink pass a pixel a cycle, FIFOs are look-up-table RAM. `sources` are nodes, 0 the input.
    """
    count = layers.shape[0]
    first = np.ones((count + 1, BLOCK), np.int64)
    last = np.full((count + 1, BLOCK), pixels_in, np.int64)
    ii = np.ones((count + 1, BLOCK), np.int64)
    copy = np.zeros(BLOCK, np.int64)
    begin = np.zeros(BLOCK, np.int64)
    end = np.zeros(BLOCK, np.int64)
    macs = np.zeros(BLOCK, np.int64)
    busiest = np.zeros(BLOCK, np.int64)
    picks = np.zeros((count, BLOCK), np.uint8)
    for start in range(0, choices.shape[0], BLOCK):
        points = min(BLOCK, choices.shape[0] - start)
        for point in range(points):
            for i in range(count):
                picks[i, point] = choices[start + point, i]
                if choices[start + point, i] >= layers[i, L_OPTIONS]:
                    return i
        macs[:] = 0
        busiest[:] = pixels_in
        for i in range(count):
            n = i + 1
            first_option = layers[i, L_OPTION]
            for point in range(points):
                option = first_option + picks[i, point]
                ii[n, point] = options[option, O_II]
                copy[point] = options[option, O_COPY]
                macs[point] += options[option, O_MACS]
            source = sources[layers[i, L_SOURCE]]
            if layers[i, L_WINDOW] == 1:
                first_need, more = layers[i, L_FIRST], layers[i, L_MOST] - layers[i, L_FIRST]
                for point in range(BLOCK):
                    rate = max(ii[source, point], copy[point])
                    begin[point] = first[source, point] + first_need * rate + copy[point]
                    end[point] = begin[point] + more * rate
                if layers[i, L_ALL] == 1:
                    for point in range(BLOCK):
                        end[point] = max(end[point], last[source, point] + copy[point])
            else:
                for point in range(BLOCK):
                    begin[point] = first[source, point]
                    end[point] = last[source, point]
                for k in range(1, layers[i, L_SOURCES]):
                    other = sources[layers[i, L_SOURCE] + k]
                    for point in range(BLOCK):
                        begin[point] = max(begin[point], first[other, point])
                        end[point] = max(end[point], last[other, point])
            outputs, inputs, d = layers[i, L_OUTPUTS], layers[i, L_INPUTS], layers[i, L_D]
            for point in range(BLOCK):
                work = outputs * ii[n, point]
                first[n, point] = begin[point] + ii[n, point] + d
                last[n, point] = max(end[point] + ii[n, point], begin[point] + work) + d
                busiest[point] = max(busiest[point], max(work, inputs * copy[point]))
        for point in range(points):
            latency[start + point] = last[count, point] + 1  # it makes a pixel an ii, so the sink never lags
            interval[start + point] = busiest[point]
            multipliers[start + point] = macs[point]
    return -1
