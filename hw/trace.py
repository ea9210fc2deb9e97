"""`torch.nn.Module` -> `Network` and its float weights, by `torch.export`: the only bridge from torch.

Axes are told by their names from here on: torch's [batch, channels, rows, cols] becomes rows, cols, channels, and its
filters [outputs, inputs, rows, cols] become (rows, cols, inputs, outputs).
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw import trace_maps, trace_windows
from hw.errors import BadInput, UnsupportedLayer, need
from hw.network import INPUT, Network, Shape
from hw.trace_in_place import check_in_place, needed
from hw.trace_walk import Floats, Walk, operation_of, reaching, refuse

_HANDLERS = {**trace_windows.HANDLERS, **trace_maps.HANDLERS}
_KNOWN = "only conv, batch norm, activations, add, concat, pooling, mean, upsampling, flatten and linear are known"
_NEAREST = "nearest upsampling by whole factors would do"
_CURES = {
    "mish": "SiLU would do",
    **dict.fromkeys(("selu", "celu"), "ELU would do"),
    "prelu": "LeakyReLU, whose slope is one number, would do",
    **dict.fromkeys(("clamp_min", "clamp_max", "maximum", "minimum"), "ReLU, or a clamp of two bounds, would do"),
    **dict.fromkeys(("group_norm", "layer_norm", "instance_norm", "rms_norm"), "batch norm would do"),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d"), _NEAREST),
    **dict.fromkeys(("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), _NEAREST),
    **dict.fromkeys(("conv_transpose2d", "pixel_shuffle"), f"{_NEAREST} with a conv behind it"),
    "conv3d": "a conv of two dimensions would do",
    **dict.fromkeys(("adaptive_max_pool2d", "amax"), "nn.MaxPool2d with the whole map as its kernel would do"),
    "sum": "a mean would do",
    **dict.fromkeys(("matmul", "einsum"), "a linear layer would do"),
    "scaled_dot_product_attention": "convs in place of attention would do",
    **dict.fromkeys(("softmax", "log_softmax"), "the logits themselves would do, whose order is the same"),
    **dict.fromkeys(
        ("permute", "transpose"), "channels, rows and columns keep their order here; a 1x1 conv mixes channels"
    ),
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), "a 1x1 conv picks channels"),
    **dict.fromkeys(("slice", "narrow", "select"), "a 1x1 conv picks channels, one with a stride pixels"),
    **dict.fromkeys(("randn", "rand"), "a parameter or a buffer would do"),
}
"""What would do instead, by the name of an operation that has no handler."""


@dataclass(frozen=True)
class Traced:
    """A network as its module has it, batch norms not folded, and its weights by key."""

    network: Network
    weights: dict[str, Floats]


def trace(model: Any, shape: Shape, name: str) -> Traced:
    """The network of a torch module in evaluation mode that maps one image [1, channels, rows, cols] to one output.

    Raises:
        UnsupportedLayer: an operation that no machine here executes; its name and what would do instead.
        BadInput: no module or no shape, torch cannot export the module, its weights are not there or not finite.
    """
    torch = need("torch", "distill", "tracing a torch module")
    _check_arguments(model, shape, name, torch)
    numbers, device = _numbers(model, torch)
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        # Without gradients throughout, a part that switches them off is no part of its own.
        image = torch.zeros(1, shape.channels, shape.rows, shape.cols, dtype=numbers, device=device)
        with _quiet(), torch.no_grad():
            program = torch.export.export(model, (image,))
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        raise BadInput(f"network {name}: torch cannot export it ({type(error).__name__}: {first_line})") from error
    finally:
        for part, mode in modes.items():
            part.training = mode
    walk = Walk(program, shape)
    _run(walk, name)
    for key, values in walk.weights.items():
        if not np.isfinite(values).all():
            raise BadInput(f"layer {key.rpartition('.')[0]}: {key} holds NaN or infinity; train it again")
    return Traced(Network(name, shape, tuple(walk.layers)), walk.weights)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch prints, logs and warns of a graph, which is for its own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _check_arguments(model: Any, shape: Any, name: str, torch: Any) -> None:
    if not isinstance(model, torch.nn.Module) or isinstance(model, torch.jit.ScriptModule):
        told = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise BadInput(f"network {name}: {told} was found; a torch.nn.Module is wanted, as Python wrote it")
    if not isinstance(shape, Shape) or not all(type(size) is int and size > 0 for size in shape):
        raise BadInput(
            f"network {name}: the shape {shape!r} was found; hw.network.Shape(rows, cols, channels) is wanted"
        )
    for key, tensor in (*model.named_parameters(), *model.named_buffers()):
        layer = key.rpartition(".")[0] or key
        if torch.nn.parameter.is_lazy(tensor):
            raise BadInput(f"layer {layer}: its sizes are not known yet; show the module an image first")
        if tensor.is_meta:
            raise BadInput(f"layer {layer}: its weights are on the device meta, without values; load them first")


def _numbers(model: Any, torch: Any) -> tuple[Any, Any]:
    """Type and device of a module's weights, in which it wants its image; float32 on the CPU where it has none."""
    found = {tensor.dtype: name for name, tensor in model.named_parameters()}
    for dtype, name in found.items():
        if not dtype.is_floating_point:
            layer = name.rpartition(".")[0] or name
            raise UnsupportedLayer(f"layer {layer}: weights of {dtype} are not supported; real ones (float32) would do")
    if len(found) > 1:
        several = ", ".join(f"{name} of {dtype}" for dtype, name in found.items())
        raise BadInput(f"weights of one type are wanted, found were {several}; model.float() makes them alike")
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), "cpu")
    return next(iter(found), torch.float32), device


def _run(walk: Walk, name: str) -> None:
    """From the graph's nodes to the layers that its output needs."""
    signature = walk.program.graph_signature
    named = signature.inputs_to_parameters, signature.inputs_to_buffers, signature.inputs_to_lifted_tensor_constants
    walk.keys = {node: name for names in named for node, name in names.items()}
    values = {**walk.program.state_dict, **walk.program.constants}
    walk.constants = {node: _exact(values[name]) for node, name in walk.keys.items() if name in values}
    inputs = list(signature.user_inputs)
    outputs = list(signature.user_outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise UnsupportedLayer(
            f"network {name}: {len(inputs)} inputs and {len(outputs)} outputs were found, one of each is wanted"
        )
    walk.values[inputs[0]] = INPUT
    check_in_place(walk.program.graph)
    wanted = needed(walk.program.graph)
    for node in walk.program.graph.nodes:
        if node not in wanted:
            continue
        if node.op == "call_function" and _is_same_for_every_image(walk, node):
            walk.constants[node.name] = _computed(walk, node)
        elif node.op == "call_function":
            walk.values[node.name] = _step(walk, node)
    if outputs[0] not in walk.values:
        raise BadInput(f"network {name}: its output is the same for every image; one that depends on it is wanted")
    walk.layers = reaching(walk.layers, walk.values[outputs[0]])


def _is_same_for_every_image(walk: Walk, node: Any) -> bool:
    """Whether an operation reads constants alone, and draws nothing at random."""
    if any(each.name not in walk.constants for each in node.all_input_nodes):
        return False
    return "nondeterministic_seeded" not in {tag.name for tag in getattr(node.target, "tags", ())}


def _exact(tensor: Any) -> Any:
    """A copy, which operations in place may change, in float64, so that nothing computed is rounded on the way."""
    copy = tensor.detach().cpu().clone()
    return copy.double() if copy.is_floating_point() else copy


def _computed(walk: Walk, node: Any) -> Any:
    """What an operation on constants gives, such as a weight of weight norm."""
    import torch

    if operation_of(node) == "_assert_tensor_metadata":
        return None  # it speaks of the types that torch saw, not of float64
    args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: walk.constants[each.name])
    try:
        with torch.no_grad():
            made = node.target(*args, **kwargs)
    except RuntimeError as error:
        first_line = str(error).strip().split("\n")[0]
        raise refuse(
            node, f"{operation_of(node)} of constants ({first_line})", "its result as a parameter would do"
        ) from None
    return made.double() if torch.is_tensor(made) and made.is_floating_point() else made


def _step(walk: Walk, node: Any) -> str:
    """Add what a node does; return the layer whose result it is."""
    operation = operation_of(node)
    handler = _HANDLERS.get(operation)
    if handler is None:
        raise refuse(node, operation, _CURES.get(operation, _KNOWN))
    return handler(walk, node)
