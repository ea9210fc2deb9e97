"""Network -> Network: the same function, cheaper to execute."""

import math
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw.errors import BadInput
from hw.network import INPUT, Layer, Network, Size

Weights = Mapping[str, NDArray[np.float64]]


def executed(network: Network) -> Network:
    """The form that hardware runs: batch norms folded, row strides lifted."""
    return lift_row_strides(fold_affines(network))


def fold_affines(network: Network) -> Network:
    """Merge each affine into the conv, plain or depthwise, that feeds it alone; the conv takes over its readers.

    Goes on until nothing is left to merge: an affine behind a merged one is merged too.
    """
    while True:
        network, folded = _fold(network)
        if not folded:
            return network


def fold_weights(network: Network, weights: Weights) -> dict[str, NDArray[np.float64]]:
    """The float weights that go with `fold_affines(network)`: w * scale, b * scale + shift."""
    result = dict(weights)
    while True:
        network, folded = _fold(network)
        if not folded:
            return result
        for affine, conv in folded.items():
            scale, shift = result.pop(f"{affine}.weight"), result.pop(f"{affine}.bias")
            result[f"{conv}.weight"] = result[f"{conv}.weight"] * scale
            result[f"{conv}.bias"] = result.get(f"{conv}.bias", np.zeros_like(scale)) * scale + shift


def _fold(network: Network) -> tuple[Network, dict[str, str]]:
    """The folded network, and which conv took in which affine (affine -> conv)."""
    folded = {
        layer.name: layer.inputs[0]
        for layer in network.layers
        if layer.kind == "affine" and _can_take(network, layer.inputs[0])
    }
    affine_of = {conv: network.by_name[affine] for affine, conv in folded.items()}
    layers = []
    for layer in network.layers:
        if layer.name in folded:
            continue
        inputs = tuple(folded.get(name, name) for name in layer.inputs)
        changes: dict[str, object] = {"inputs": inputs}
        if layer.name in affine_of:
            changes |= {"bias": True, "relu": affine_of[layer.name].relu}
        layers.append(msgspec.structs.replace(layer, **changes))
    return msgspec.structs.replace(network, layers=tuple(layers)), folded


def _can_take(network: Network, name: str) -> bool:
    layer = network.by_name.get(name)
    return layer is not None and layer.convolves and not layer.relu and len(network.consumers[name]) == 1


def lift_row_strides(network: Network) -> Network:
    """Move vertical strides of layers that do not mix rows up to the nearest layer that does, or to the input.

    A 1xN layer's vertical stride only selects rows; nobody has to compute those that it drops. Every output that is
    left is bit for bit what it was.
    """
    steps = _row_steps(network)
    layers = []
    for layer in network.layers:
        taken = steps[layer.inputs[0]]
        rows = layer.stride.rows * steps[layer.name]
        stride = Size(rows if layer.mixes_rows else rows // taken, layer.stride.cols)
        layers.append(msgspec.structs.replace(layer, stride=stride))
    return msgspec.structs.replace(network, layers=tuple(layers), row_step=network.row_step * steps[INPUT])


def _row_steps(network: Network) -> dict[str, int]:
    """Of every layer and the input: which of its rows are computed at all; every k-th.

    A layer without a window cannot select rows, so that it and its inputs need the same k: the most that all admit. An
    upsample gives all of its rows.
    """
    most: dict[str, int] = {}
    while True:
        steps = _rows_read(network, most)
        common = {
            layer.name: math.gcd(steps[layer.name], *(steps[name] for name in layer.inputs))
            for layer in network.layers
            if not layer.windowed
        }
        common |= {layer.name: 1 for layer in network.layers if layer.kind == "upsample"}
        if all(steps[name] == step for name, step in common.items()):
            return steps
        most = common


def _rows_read(network: Network, most: Mapping[str, int]) -> dict[str, int]:
    """Which rows are read, every k-th, where layers in `most` compute at least every k-th of theirs."""
    wanted: dict[str, list[int]] = {name: [] for name in network.consumers}
    steps = {}
    for layer in reversed(network.layers):
        steps[layer.name] = math.gcd(*wanted[layer.name], most.get(layer.name, 0)) or 1
        passes_on = 1 if layer.mixes_rows or any(layer.padding[:2]) else layer.stride.rows * steps[layer.name]
        for name in layer.inputs:
            wanted[name].append(passes_on)
    return {INPUT: math.gcd(*wanted[INPUT]) or 1, **steps}


def ensemble(name: str, members: Mapping[str, Network]) -> Network:
    """Networks of one input side by side, their outputs added: the hardware of an ensemble of logits.

    Raises:
        BadInput: they read other inputs, or other rows of one; as `Network`.
    """
    first = next(iter(members.values()))
    for network in members.values():
        if (network.input, network.row_step) != (first.input, first.row_step):
            raise BadInput(
                f"network {name}: its members {first.name} and {network.name} read {first.input} and {network.input}, "
                f"every {first.row_step}. and {network.row_step}. row; one input is wanted"
            )
    layers: list[Layer] = []
    outputs = []
    for prefix, network in members.items():
        names = {INPUT: INPUT} | {layer.name: f"{prefix}.{layer.name}" for layer in network.layers}
        for layer in network.layers:
            inputs = tuple(names[source] for source in layer.inputs)
            layers.append(msgspec.structs.replace(layer, name=names[layer.name], inputs=inputs))
        outputs.append(names[network.output.name])
    total = outputs[0]
    for i, output in enumerate(outputs[1:]):
        layers.append(Layer(f"sum{i}", "add", (total, output)))
        total = f"sum{i}"
    return Network(name, first.input, tuple(layers), first.row_step)
