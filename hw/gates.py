"""A product of a map and a function of the same map, as SiLU and hard swish are written out, read as one function."""

from collections.abc import Callable, Iterable

from hw import functions
from hw.network import Layer

ROUNDING = 1e-6
"""Of a factor that is computed from those in the network, as 6 times 1/6; ONNX has them in float32."""

Numbers = Callable[[Layer], tuple[float, float] | None]
"""Scale and shift of an affine that has the same ones in every channel; None of any other layer."""


def product(
    layers: Iterable[Layer], numbers: Numbers, source: str | None, gate: str | None
) -> tuple[str, float] | None:
    """The function that `source` times `gate` is, and a factor; None if the gate is no function of the source.

    Known are the gates of `hw.functions.GATED`, and relu6(x + 3), the latter times any number.
    """
    made = {layer.name: layer for layer in layers}
    layer, factor = made.get(gate or ""), 1.0
    scaled = None if layer is None or layer.relu else numbers(layer)
    if layer is not None and scaled is not None and scaled[1] == 0.0:
        layer, factor = made.get(layer.inputs[0]), scaled[0]
    if source is None or layer is None or layer.relu:
        return None
    word = functions.GATED.get(layer.function)
    if layer.inputs == (source,) and word is not None:
        return word, factor
    moved = made.get(layer.inputs[0])
    if layer.function != "clip:0:6" or moved is None or moved.relu or moved.inputs != (source,):
        return None
    return ("hardswish", 6 * factor) if numbers(moved) == (1.0, 3.0) else None


def undoes(numbers: Numbers, layer: Layer, scale: float) -> bool:
    """Whether a product by `scale` takes back what an affine before it does, as in 6 hardswish(x) / 6."""
    found = None if layer.relu else numbers(layer)
    return found is not None and found[1] == 0.0 and abs(found[0] * scale - 1) < ROUNDING
