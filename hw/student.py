"""A quantised network as integers: all that simulation, cosimulation and generation need, without torch.

On disk it is a folder with `student.json` (network, formats, provenance) and `student.safetensors` (weights, and test
vectors: images, labels and the reference's outputs).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from hw import functions
from hw.errors import BadInput
from hw.files import Arrays, read_arrays, read_json, write_arrays, write_json
from hw.fixed import Format, Integers, LayerFormats, accumulator_width
from hw.network import INPUT, Layer, Network
from hw.passes import lift_row_strides

VERSION = 1


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    network: Network
    formats: dict[str, LayerFormats]
    provenance: dict[str, str]


@dataclass(frozen=True, eq=False)
class Student:
    """A network with the bits of every number in it.

    `integers` holds `<layer>.weight` and `<layer>.bias`; `images` (n, rows, cols, channels), `labels` (n,) and
    `outputs` (n, rows, cols, channels) are test vectors, all integers.

    Raises:
        BadInput: a layer without formats, or weights that are missing, of a wrong shape or outside their format.
    """

    network: Network
    formats: Mapping[str, LayerFormats]
    integers: Mapping[str, Integers]
    images: Integers
    labels: Integers
    outputs: Integers
    provenance: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in (INPUT, *self.network.by_name):
            if name not in self.formats:
                raise BadInput(f"layer {name}: no format was found; every layer of a student wants one")
        for layer in self.network.layers:
            _check_weights(self, layer)
        if self.images.shape[1:] != tuple(self.network.input):
            raise BadInput(f"student {self.network.name}: images {self.images.shape[1:]}, wanted {self.network.input}")

    def fraction(self, name: str) -> int:
        """Bits after the point of a layer's result, or of the input."""
        return self.formats[name].out.fraction

    def product_fraction(self, layer: Layer) -> int:
        """Bits after the point of the products of a layer with weights, and so of its bias."""
        weight = self.formats[layer.name].weight
        assert weight is not None
        return self.fraction(layer.inputs[0]) + weight.fraction

    def with_vectors(self, images: Integers, labels: Integers, outputs: Integers) -> "Student":
        """The same student with other test vectors."""
        return replace(self, images=images, labels=labels, outputs=outputs)


def accumulator(student: Student, layer: Layer) -> Format:
    """The accumulator of a layer with weights: the student's, or where it gives none the least that the weights allow.

    Raises:
        BadInput: the student's accumulator is too narrow for its weights, or lies on another grid than the products.
    """
    weight = np.abs(student.integers[f"{layer.name}.weight"])
    bias = np.abs(student.integers.get(f"{layer.name}.bias", np.zeros(1, np.int64)))
    source = student.formats[layer.inputs[0]].out
    sums = weight.reshape(-1, weight.shape[-1]).sum(axis=0)
    width = accumulator_width(int((sums * max(source.high, -source.low) + bias).max()))
    fraction = student.product_fraction(layer)
    given = student.formats[layer.name].accumulator
    if given is None:
        return Format(width, width - fraction)
    if given.fraction != fraction or given.width < width or not given.signed:
        raise BadInput(
            f"layer {layer.name}: its accumulator is {given}; signed, at least {width} bits and {fraction} of them "
            "after the point are wanted by its weights; quantise the student again"
        )
    return given


def lifted(student: Student) -> Student:
    """The same integers from fewer rows: row strides moved up to where rows are mixed, or to the input."""
    return replace(student, network=lift_row_strides(student.network))


def save(student: Student, folder: Path) -> None:
    """Write a student; `student.json` last, so that it stands only beside whole arrays."""
    arrays: dict[str, NDArray[np.generic]] = {f"layer.{k}": _narrow(v) for k, v in student.integers.items()}
    arrays |= {f"test.{k}": _narrow(getattr(student, k)) for k in ("images", "labels", "outputs")}
    write_arrays(folder / "student.safetensors", arrays)
    file = _File(VERSION, student.network, dict(student.formats), dict(student.provenance))
    write_json(folder / "student.json", file)


def load(folder: Path) -> Student:
    """Read a student.

    Raises:
        BadInput: a file is missing, broken, of another version, or does not go with the other.
    """
    path = folder / "student.json"
    file = read_json(path, _File)
    if file.version != VERSION:
        raise BadInput(f"{path}: version {file.version} was found, {VERSION} is wanted; make the student again")
    arrays = read_arrays(folder / "student.safetensors")
    integers = {k.removeprefix("layer."): _wide(v) for k, v in arrays.items() if k.startswith("layer.")}
    images, labels, outputs = (_test_array(arrays, folder, name) for name in ("images", "labels", "outputs"))
    return Student(file.network, file.formats, integers, images, labels, outputs, file.provenance)


def of_run(run: Path) -> Student:
    """The student that a run left.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    if not (run / "student" / "student.json").is_file():
        raise BadInput(
            f"{run}: no student here (student/student.json is missing); make one with: pacemaker distill RECIPE"
        )
    return load(run / "student")


def _test_array(arrays: Arrays, folder: Path, name: str) -> Integers:
    try:
        return _wide(arrays[f"test.{name}"])
    except KeyError:
        raise BadInput(f"{folder / 'student.safetensors'}: it has no test.{name}; make the student again") from None


def _wide(array: NDArray[np.generic]) -> Integers:
    if array.dtype.kind not in "iu":
        raise BadInput(f"student: an array of {array.dtype} was found, integers are wanted; make the student again")
    return array.astype(np.int64)


def _narrow(array: Integers) -> NDArray[np.generic]:
    for dtype in (np.uint8, np.int8, np.int16, np.int32):
        info = np.iinfo(dtype)
        if array.size == 0 or (array.min() >= info.min and array.max() <= info.max):
            return array.astype(dtype)
    return array


def _check_weights(student: Student, layer: Layer) -> None:
    for key, shape in student.network.weight_shapes(layer).items():
        array = student.integers.get(f"{layer.name}.{key}")
        if array is None:
            raise BadInput(f"layer {layer.name}: no {key} was found; shape {shape} is wanted")
        if array.shape != shape:
            raise BadInput(f"layer {layer.name}: {key} of shape {array.shape} was found, {shape} is wanted")
    fmt = student.formats[layer.name].weight
    if (fmt is None) == layer.weighted:
        raise BadInput(
            f"layer {layer.name}: a weight format is wanted for conv, depthwise and affine, and for nothing else"
        )
    out = student.formats[layer.name].out
    if layer.kind == "table" and student.formats[layer.inputs[0]].out.width > functions.MOST_BITS:
        raise BadInput(
            f"layer {layer.name}: a table of what {student.formats[layer.inputs[0]].out} holds was found, "
            f"at most {functions.MOST_BITS} bits are wanted; quantise the student to fewer bits"
        )
    if layer.relu and out.signed:
        raise BadInput(f"layer {layer.name}: {out} was found; behind a ReLU a format without sign is wanted")
    if fmt is not None:
        weight = student.integers[f"{layer.name}.weight"]
        if weight.min() < fmt.low or weight.max() > fmt.high:
            raise BadInput(f"layer {layer.name}: weights {weight.min()} to {weight.max()} lie outside {fmt}")
