"""The distinct convs of a network, and the files in which the peers take them: CSV for SCALE-Sim, ONNX for ZigZag."""

from collections import Counter
from pathlib import Path

import msgspec

from hw.errors import need
from hw.network import Network, Padding, Shape, Size

ARRAY = 32  # rows and columns: SCALE-Sim's default, and ZigZag's `tpu_like`
# As configs/scale.cfg in SCALE-Sim's repository; the package on PyPI has no configuration in it.
SCALE_SIM_CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight = {array}
ArrayWidth = {array}
IfmapSramSzkB = 64
FilterSramSzkB = 64
OfmapSramSzkB = 64
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Bandwidth = 10
Dataflow = {dataflow}
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 100
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 100
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""
SCALE_SIM_HEADER = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
)


class Form(msgspec.Struct, frozen=True):
    """All of a conv that a peer's time depends on; extents in pixels."""

    source: Shape
    kernel: Size
    stride: Size
    padding: Padding
    result: Shape


class Conv(msgspec.Struct, frozen=True):
    """A form, the first layer that has it, and how many layers have it."""

    name: str
    form: Form
    times: int


def distinct_convs(network: Network) -> list[Conv]:
    """Every form of conv once, those first that most layers have."""
    names: dict[Form, str] = {}
    times: Counter[Form] = Counter()
    for layer in network.layers:
        if layer.kind == "conv":
            source, result = network.input_shape(layer), network.shapes[layer.name]
            form = Form(source, layer.kernel, layer.stride, layer.padding, result)
            names.setdefault(form, layer.name)
            times[form] += 1
    return [Conv(names[form], form, n) for form, n in times.most_common()]


def write_scale_sim(folder: Path, convs: list[Conv], dataflow: str) -> None:
    """A configuration, an empty layout, and a topology for each conv, in the order of the list."""
    (folder / "scale.cfg").write_text(SCALE_SIM_CONFIG.format(array=ARRAY, dataflow=dataflow))
    (folder / "layout.csv").write_text("Layer name,\n")
    for i, conv in enumerate(convs):
        (folder / f"{i:02}.topology.csv").write_text(SCALE_SIM_HEADER + scale_sim_line(conv))


def scale_sim_line(conv: Conv) -> str:
    """A conv as SCALE-Sim reads it.

    It knows no padding, so the map is given padded, and only as much of it as the windows touch: SCALE-Sim rounds the
    number of windows up where a stride leaves rows over.
    """
    form = conv.form
    rows = (form.result.rows - 1) * form.stride.rows + form.kernel.rows
    cols = (form.result.cols - 1) * form.stride.cols + form.kernel.cols
    if form.stride.rows != form.stride.cols:
        raise ValueError(f"{conv.name}: SCALE-Sim has one stride for rows and columns, {form.stride} was found")
    figures = (rows, cols, *form.kernel, form.source.channels, form.result.channels, form.stride.rows)
    return ", ".join([conv.name, *map(str, figures)]) + ",\n"


def write_zigzag(folder: Path, convs: list[Conv]) -> None:
    """An ONNX file for each conv, in the order of the list, weights as an input.

    ZigZag 3.9.1 reads `kernel_shape`, `strides` and `pads` columns first, so only square convs are read as meant.

    Raises:
        MissingTool: onnx is not installed.
    """
    onnx = need("onnx", "onnx", "writing ZigZag's layers")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    for i, conv in enumerate(convs):
        source, kernel, stride, padding, result = msgspec.structs.astuple(conv.form)
        node = helper.make_node(
            "Conv",
            ["x", "w"],
            ["y"],
            name=conv.name,
            kernel_shape=[*kernel],
            strides=[*stride],
            pads=[padding.top, padding.left, padding.bottom, padding.right],
        )
        x = helper.make_tensor_value_info("x", float32, [1, source.channels, source.rows, source.cols])
        w = helper.make_tensor_value_info("w", float32, [result.channels, source.channels, *kernel])
        y = helper.make_tensor_value_info("y", float32, [1, result.channels, result.rows, result.cols])
        graph = helper.make_graph([node], "conv", [x, w], [y])
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, str(folder / f"{i:02}.onnx"))
