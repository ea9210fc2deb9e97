"""The child process of the C simulation: images through a compiled library, which may print and may abort.

    python -I run.py LIBRARY FUNCTION INPUT.npy OUTPUT.npy OUTPUTS [LAYERS.json LAYERS.npz]

INPUT holds float64 (n, values of an image), OUTPUT gets float64 (n, OUTPUTS). LAYERS.json names layers that the library
traces with their numbers of values; LAYERS.npz gets float64 (n, values) of each. It runs in the project's folder,
because the library finds its weights by a relative path.
"""

import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

Arrays = dict[str, np.ndarray[tuple[int, int], np.dtype[np.float64]]]


class _Trace(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.c_void_p))


def main(
    library: str, function: str, source: str, target: str, outputs: str, sizes: str = "", traces: str = ""
) -> None:
    """Run every image of `source`."""
    loaded = ctypes.CDLL(library)
    top = getattr(loaded, function)
    pointer = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    spare = (ctypes.c_ushort(), ctypes.c_ushort())  # the Intel bridge wants two sizes by reference, and ignores them
    top.argtypes, top.restype = [pointer, pointer, ctypes.c_void_p, ctypes.c_void_p], None
    images = np.load(source)
    results = np.zeros((len(images), int(outputs)))
    with _traced(loaded, sizes, len(images)) as (layers, note):
        for number, (image, result) in enumerate(zip(images, results, strict=True)):
            top(image, result, *(ctypes.addressof(one) for one in spare))
            note(number)
    np.save(target, results)
    if traces:
        np.savez(traces, **layers)  # type: ignore[arg-type]


@contextmanager
def _traced(loaded: ctypes.CDLL, sizes: str, images: int) -> Iterator[tuple[Arrays, Callable[[int], None]]]:
    """Arrays for the layers, and a function that fills in those of an image that has just run."""
    if not sizes:
        yield {}, lambda number: None
        return
    with open(sizes, encoding="utf-8") as stream:  # noqa: PTH123  # no more imports than are needed
        wanted: dict[str, int] = json.load(stream)
    loaded.allocate_trace_storage.argtypes = [ctypes.c_size_t]
    loaded.allocate_trace_storage(ctypes.sizeof(ctypes.c_double))
    found = (_Trace * 4096)()
    layers = {name: np.zeros((images, size)) for name, size in wanted.items()}

    def note(number: int) -> None:
        loaded.collect_trace_output(found)
        for one in found:
            if one.name is None:
                break
            name = one.name.decode()
            if name in layers:
                size = layers[name].shape[1]
                layers[name][number] = np.ctypeslib.as_array(
                    ctypes.cast(one.data, ctypes.POINTER(ctypes.c_double)), (size,)
                )

    yield layers, note
    loaded.free_trace_storage()


if __name__ == "__main__":
    main(*sys.argv[1:])
