"""The child process of the C simulation: images through a compiled library, which may print and may abort.

    python -I run.py LIBRARY FUNCTION INPUT.npy OUTPUT.npy OUTPUTS

INPUT holds float64 (n, values of an image), OUTPUT gets float64 (n, OUTPUTS). It runs in the project's folder, because
the library finds its weights by a relative path.
"""

import ctypes
import sys

import numpy as np


def main(library: str, function: str, source: str, target: str, outputs: str) -> None:
    """Run every image of `source`."""
    top = getattr(ctypes.CDLL(library), function)
    pointer = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    top.argtypes, top.restype = [pointer, pointer], None
    images = np.load(source)
    results = np.zeros((len(images), int(outputs)))
    for image, result in zip(images, results, strict=True):
        top(image, result)
    np.save(target, results)


if __name__ == "__main__":
    main(*sys.argv[1:])
