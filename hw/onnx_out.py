"""A `Student` -> an ONNX file, in one of two forms.

*Plain*: one node a layer (a second one for its ReLU), weights as the real numbers that their integers stand for, and
nothing rounded between layers. `hw.onnx_file` reads it back as the same layers; its results are near the student's.

*Exact*: every result is scaled, rounded half up and saturated by nodes of its own, so that it holds the integers of
`hw.reference`. It is written in float32 where no number on the way, whatever the order of a sum, is an integer above
2**24 on its grid, which the weights prove; else in float64 throughout, input and output too, up to 2**53. Onnxruntime
runs no float64 conv on a CPU; `onnx.reference` does. Convs by Winograd's transform or TF32 void the proof. A mean is a
conv of ones and a true division, since `AveragePool` may multiply by a rounded reciprocal.

Both take `image` [1, channels, rows, cols], whose pixels are the student's integers times `input_scale` of the file's
metadata: 1/256 for a run's 8-bit images, so within 0..1. The exact form rounds what lies between. `output` is
[1, classes] where the last map is one pixel, else [1, channels, rows, cols]; its grid is `output_scale`.
"""

import importlib.metadata
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from hw.errors import BadInput, need
from hw.files import replacing
from hw.fixed import Format
from hw.network import INPUT, Layer
from hw.onnx_graph import OPSET, Graph, Numbers, mean_divisor
from hw.student import Student, of_run

IR_VERSION = 8
"""The file format that came with the opset: older runtimes refuse later ones."""
LARGEST_FRACTION = 50
"""Bits after the point of a result or a weight at most, or before it: products then stay in float32's normal range."""
WHOLE_UP_TO: dict[Numbers, int] = {"float32": 1 << 24, "float64": 1 << 53}


class Exported(msgspec.Struct, frozen=True):
    """What was written."""

    file: str
    form: Literal["plain", "exact"]
    numbers: Numbers
    opset: int
    layers: int
    metadata: dict[str, str]

    def __str__(self) -> str:
        rounding = "rounded and saturated as the student" if self.form == "exact" else "nothing rounded between layers"
        return f"{self.file}: {self.layers} layers in {self.numbers}, opset {self.opset}, {rounding}"


def export_run(run: Path, out: Path | None = None, *, exact: bool = False) -> Exported:
    """Write the student of a run; without `out` to `student.onnx`, or `student-exact.onnx`, in the run's folder.

    Raises:
        BadInput, UnsupportedLayer: the run has no student, or as `write`.
        MissingTool: onnx is not installed.
    """
    return write(of_run(run), out or run / ("student-exact.onnx" if exact else "student.onnx"), exact=exact)


def write(student: Student, path: Path, *, exact: bool = False) -> Exported:
    """Write a student as ONNX, atomically; the same student gives the same bytes.

    Raises:
        BadInput: numbers that no float holds, or a file that cannot be written.
        UnsupportedLayer: a plain table of a function that ONNX has not.
        MissingTool: onnx is not installed.
    """
    made = model(student, exact=exact)
    with replacing(path) as temporary:
        temporary.write_bytes(made.SerializeToString(deterministic=True))
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    kind = numbers(student) if exact else "float32"
    return Exported(str(path), "exact" if exact else "plain", kind, OPSET, len(student.network.layers), metadata)


def model(student: Student, *, exact: bool = False) -> Any:
    """The checked `onnx.ModelProto`; a layer's result is its tensor `<layer>.out`.

    Raises:
        BadInput: numbers that no float holds.
        MissingTool: onnx is not installed.
    """
    onnx = need("onnx", "onnx", "writing an ONNX file")
    _check_fractions(student)
    graph = Graph(student, onnx, exact, numbers(student) if exact else "float32")
    made = onnx.helper.make_model(
        graph.whole(),
        producer_name="pacemaker",
        producer_version=_version(),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.helper.set_model_props(made, _metadata(student, exact))
    onnx.checker.check_model(made, full_check=True)
    return made


def numbers(student: Student) -> Numbers:
    """The narrowest floats in which the exact form is exact.

    Raises:
        BadInput: there are none.
    """
    reach = {layer.name: _largest(student, layer) for layer in student.network.layers}
    # An input pixel and its half: twice the integer and one.
    reach[INPUT] = 2 * _magnitude(student.formats[INPUT].out) + 1
    widest = max(reach, key=lambda name: reach[name])
    for kind, whole in WHOLE_UP_TO.items():
        if reach[widest] <= whole:
            return kind
    raise BadInput(
        f"layer {widest}: integers of {reach[widest].bit_length()} bits were found, at most 53 are wanted, which "
        "float64 holds; export without --exact, or quantise to fewer bits"
    )


def _largest(student: Student, layer: Layer) -> int:
    """No integer of a layer's nodes is larger: sums and what rounding adds, on their finest grid, and the result."""
    out = student.formats[layer.name].out
    sources = [student.formats[name].out for name in layer.inputs]
    if layer.kind == "table":  # the greatest place in it, and what lies there
        return max(2 * _magnitude(sources[0]) + 1, _magnitude(out))
    fraction = max(source.fraction for source in sources)
    reach = [_magnitude(source) << (fraction - source.fraction) for source in sources]
    total = sum(reach) if layer.kind == "add" else max(reach)
    if layer.kind == "mean":
        doubled = 2 * total * layer.taps << max(out.fraction - fraction, 0)
        # The sum's own half, and a divisor's room: below it a rounded quotient reaches no integer that the true does.
        return max(doubled + 3 * mean_divisor(layer, fraction, out), _magnitude(out))
    if layer.weighted:
        weight = np.abs(student.integers[f"{layer.name}.weight"])
        bias = np.abs(student.integers.get(f"{layer.name}.bias", np.zeros(1, np.int64))).astype(object)
        sums = weight.reshape(-1, weight.shape[-1]).sum(axis=0).astype(object)
        total = int((sums * reach[0] + bias).max())
        fraction = student.product_fraction(layer)
    return max(total + (1 << max(fraction - out.fraction, 0) >> 1), _magnitude(out))


def _magnitude(fmt: Format) -> int:
    return max(fmt.high, -fmt.low)


def _check_fractions(student: Student) -> None:
    for name, formats in student.formats.items():
        for fmt in (formats.out, formats.weight):
            if fmt is not None and abs(fmt.fraction) > LARGEST_FRACTION:
                raise BadInput(
                    f"layer {name}: {fmt.fraction} bits after the point were found, {-LARGEST_FRACTION} to "
                    f"{LARGEST_FRACTION} are wanted by an ONNX file; quantise the student again"
                )


def _version() -> str:
    try:
        return importlib.metadata.version("pacemaker-codesign")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _metadata(student: Student, exact: bool) -> dict[str, str]:
    """`run.fingerprint` names the training and the quantisation that made the weights."""
    network = student.network
    given, result = student.formats[INPUT].out, student.formats[network.output.name].out
    return {
        "tool": f"pacemaker {_version()}",
        "network": network.name,
        "form": "exact" if exact else "plain",
        "input_format": str(given),
        "input_scale": repr(2.0**-given.fraction),
        "output_format": str(result),
        "output_scale": repr(2.0**-result.fraction),
        **{f"run.{key}": value for key, value in sorted(student.provenance.items())},
    }
