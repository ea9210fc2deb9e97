"""Modules as torch exports them to ONNX: read, they are the same layers as traced."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import pytest
import torch
from test_own_networks import WORKS

from hw.network import Network, Shape
from hw.onnx_file import read
from hw.passes import executed
from hw.trace import trace

pytest.importorskip("onnxscript")

NOT_IN_ONNX = "a mean that counts its padding"
"""One of its means has a divisor of its own, which torch's exporter leaves out."""


def layers(network: Network) -> list[tuple[object, ...]]:
    """All of a network but its names."""
    places = {name: place for place, name in enumerate(["input", *(layer.name for layer in network.layers)])}
    found = []
    for layer in network.layers:
        window = (layer.kernel, layer.stride, layer.padding, layer.factor)
        rest = (layer.kind, layer.channels, layer.bias, layer.relu, layer.function)
        found.append((*rest, *window, sorted(places[name] for name in layer.inputs)))
    return found


NAMES = [name for name in WORKS if name != NOT_IN_ONNX]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if i % 8 else []) for i, name in enumerate(NAMES)]
)
def test_what_torch_exports_is_read_as_it_is_traced(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    module = WORKS[name]().eval()
    traced = executed(trace(module, Shape(6, 8, 3), "net").network)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, 3, 6, 8),), tmp_path / "net.onnx", dynamo=True)
    assert layers(executed(read(tmp_path / "net.onnx"))) == layers(traced)
