"""An ONNX file -> `Network`: its architecture, for simulation; weights stay where they are."""

from pathlib import Path
from typing import Any

from hw import onnx_maps, onnx_windows
from hw.errors import BadInput, PacemakerError, UnsupportedLayer, need
from hw.files import read_bytes
from hw.network import INPUT, Network, Shape
from hw.onnx_walk import Walk, name_of

_HANDLERS = {**onnx_windows.HANDLERS, **onnx_maps.HANDLERS}
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What taking numbers from attributes and tensors raises where they are of another form than the checker looks at."""


def read(path: Path) -> Network:
    """The network of an ONNX file with one input [batch, channels, rows, cols] and one output.

    Raises:
        BadInput: not an ONNX file, an input without fixed channels, rows and columns, or a node that is malformed.
        UnsupportedLayer: an operation that no machine here executes, by the name of its node.
        MissingTool: onnx is not installed.
    """
    onnx = need("onnx", "onnx", "reading an ONNX file")
    data = read_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(_without_files(onnx, model))
    except Exception as error:
        first_line = " ".join(str(error).split())[:200]
        raise BadInput(f"{path}: not a valid ONNX model ({type(error).__name__}: {first_line})") from error
    return _network(Walk(path, onnx, model.graph))


def _without_files(onnx: Any, model: Any) -> Any:
    """The model with weights that lie in files beside it as inputs: nobody wants their numbers."""
    checked = type(model)()
    checked.CopyFrom(model)
    given = {value.name for value in checked.graph.input}
    for number in reversed(range(len(model.graph.initializer))):
        array = model.graph.initializer[number]
        if array.data_location == onnx.TensorProto.EXTERNAL:
            del checked.graph.initializer[number]
            array.ClearField("external_data")  # so that nothing that is asked for its numbers opens a file
            if array.name not in given:
                dims = list(array.dims)
                checked.graph.input.append(onnx.helper.make_tensor_value_info(array.name, array.data_type, dims))
    return checked


def _network(walk: Walk) -> Network:
    """Walk, and check what came out."""
    walk.constants = {array.name: array for array in walk.graph.initializer}
    inputs = [value for value in walk.graph.input if value.name not in walk.constants]
    if len(inputs) != 1 or len(walk.graph.output) != 1:
        raise UnsupportedLayer(
            f"{walk.path}: {len(inputs)} inputs and {len(walk.graph.output)} outputs were found, one of each is wanted"
        )
    walk.input = _input_shape(walk, inputs[0])
    walk.values[inputs[0].name] = INPUT
    for node in walk.graph.node:
        _step(walk, node)
    output = walk.values.get(walk.graph.output[0].name)
    if output is None:
        raise BadInput(f"{walk.path}: no layer gives its output {walk.graph.output[0].name}")
    layers = tuple(walk.reaching(output))
    return Network(walk.path.stem, walk.input, layers, walk.row_step)


def _input_shape(walk: Walk, value: Any) -> Shape:
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if len(dims) != 4 or min(dims[1:]) < 1:
        raise BadInput(
            f"{walk.path}: input {value.name} has dimensions {dims}; [batch, channels, rows, cols] is wanted"
        )
    return Shape(dims[2], dims[3], dims[1])


def _step(walk: Walk, node: Any) -> None:
    handler = _HANDLERS.get(node.op_type)
    if handler is None:
        cure = f"known are {', '.join(_HANDLERS)}"
        if node.op_type == "Floor":  # of which an exact export is full
            cure = "of an exact export the plain one, or the run itself, would do"
        raise UnsupportedLayer(f"layer {name_of(node)}: {node.op_type} is not supported; {cure}")
    try:
        value = walk.onnx.helper.get_attribute_value
        handler(walk, node, {attribute.name: value(attribute) for attribute in node.attribute})
    except PacemakerError:
        raise
    except _MALFORMED as error:
        raise BadInput(
            f"{walk.path}: layer {name_of(node)}: its inputs and attributes are not those of a {node.op_type} on "
            f"[batch, channels, rows, cols] ({error}); export it again"
        ) from error
