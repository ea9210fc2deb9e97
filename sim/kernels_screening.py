"""The pipeline's closed forms for millions of design points, in numba (`sim.bounds` says what they mean)."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Table = NDArray[np.int64]

# Columns of the table of layers: first input and their number in `sources`, output pixels, input pixels, d, whether it
# has a window, first and greatest pixel that a window needs, whether some window needs the last pixel, first option.
L_SOURCE, L_SOURCES, L_OUTPUTS, L_INPUTS, L_D, L_WINDOW, L_FIRST, L_MOST, L_ALL, L_OPTION = range(10)
# Columns of the table of options: ii, copy cycles, multipliers.
O_II, O_COPY, O_MACS = range(3)


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
) -> None:
    """Fill the bounds of every point; `choices` (points, layers) are options of each layer, counted from its first.

    Source and sink pass a pixel a cycle, FIFOs are look-up-table RAM. `sources` are nodes, 0 the input.
    """
    count = layers.shape[0]
    first = np.zeros(count + 1, np.int64)
    last = np.zeros(count + 1, np.int64)
    ii = np.zeros(count + 1, np.int64)
    first[0] = 1
    last[0] = pixels_in
    ii[0] = 1
    for point in range(choices.shape[0]):
        busiest = pixels_in
        macs = 0
        for i in range(count):
            option = layers[i, L_OPTION] + choices[point, i]
            issue = options[option, O_II]
            copy = options[option, O_COPY]
            macs += options[option, O_MACS]
            source = sources[layers[i, L_SOURCE]]
            begin = first[source]
            end = last[source]
            if layers[i, L_WINDOW] == 1:
                rate = max(ii[source], copy)
                end = max(end * layers[i, L_ALL], begin + layers[i, L_MOST] * rate) + copy
                begin += layers[i, L_FIRST] * rate + copy
            else:
                for k in range(1, layers[i, L_SOURCES]):
                    source = sources[layers[i, L_SOURCE] + k]
                    begin = max(begin, first[source])
                    end = max(end, last[source])
            work = layers[i, L_OUTPUTS] * issue
            first[i + 1] = begin + issue + layers[i, L_D]
            last[i + 1] = max(end + issue, begin + work) + layers[i, L_D]
            ii[i + 1] = issue
            busiest = max(busiest, work, layers[i, L_INPUTS] * copy)
        pixels_out = layers[count - 1, L_OUTPUTS]
        latency[point] = max(last[count] + 1, first[count] + pixels_out)
        interval[point] = max(busiest, pixels_out)
        multipliers[point] = macs
