"""A student on disk and its checks, each with its whole sentence."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from random_students import random_student

from hw.errors import BadInput
from hw.files import read_arrays, write_arrays
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Shape, Size
from hw.reference import forward
from hw.student import Student, load, save


def small(formats=None, integers=None, relu=False, images=None):
    """A conv of 1x2x3x2 with bias, and a maximum."""
    layers = (
        Layer("c", "conv", (INPUT,), 2, Size(1, 2), bias=True, relu=relu),
        Layer("m", "max", ("c",), kernel=Size(2, 1)),
    )
    network = Network("net", Shape(4, 5, 3), layers)
    weighted = LayerFormats(Format(8, 4, signed=not relu), Format(4, 2), Format(20, 12))
    known = {INPUT: LayerFormats(Format(8, 0, signed=False)), "c": weighted, "m": LayerFormats(Format(8, 4))}
    arrays = {"c.weight": np.arange(-8, 4).reshape(1, 2, 3, 2), "c.bias": np.array([300, -70_000])}
    images = np.zeros((2, 4, 5, 3), np.int64) if images is None else images
    labels, outputs = np.array([1, 0]), np.zeros((2, 3, 4, 2), np.int64)
    return Student(network, known | (formats or {}), arrays | (integers or {}), images, labels, outputs, {"by": "test"})


def refusal(call, *arguments, **fields):
    with pytest.raises(BadInput) as error:
        call(*arguments, **fields)
    return str(error.value)


@pytest.mark.parametrize("seed", range(25))
def test_a_student_comes_back_from_disk_as_it_was(seed, tmp_path):
    student = random_student(seed)
    save(student, tmp_path / "run" / "student")
    found = load(tmp_path / "run" / "student")
    assert (found.network, dict(found.formats)) == (student.network, dict(student.formats))
    assert dict(found.provenance) == dict(student.provenance)
    pairs = [(getattr(found, name), getattr(student, name)) for name in ("images", "labels", "outputs")]
    assert found.integers.keys() == student.integers.keys()
    pairs += [(found.integers[key], value) for key, value in student.integers.items()]
    for back, given in pairs:
        assert back.dtype == np.int64
        assert np.array_equal(back, given)
    assert np.array_equal(forward(found, found.images), forward(student, student.images))


@pytest.mark.parametrize("values", [[0, 255], [-128, 127], [-1, 255], [-(2**31), 2**31 - 1], [0, 2**31], [-(2**40), 5]])
def test_integers_of_every_size_come_back(values, tmp_path):
    student = small(integers={"c.bias": np.array(values)})
    save(student, tmp_path)
    assert load(tmp_path).integers["c.bias"].tolist() == values


def test_small_numbers_take_a_byte_on_disk(tmp_path):
    save(small(), tmp_path)
    arrays = read_arrays(tmp_path / "student.safetensors")
    assert (arrays["layer.c.weight"].dtype, arrays["layer.c.bias"].dtype) == (np.int8, np.int32)


def test_a_student_without_test_vectors_comes_back(tmp_path):
    student = small().with_vectors(np.zeros((0, 4, 5, 3), np.int64), np.zeros(0, np.int64), np.zeros((0, 3, 4, 2)))
    save(replace(student, outputs=student.outputs.astype(np.int64)), tmp_path)
    assert load(tmp_path).images.shape == (0, 4, 5, 3)


def test_the_same_student_gives_the_same_bytes(tmp_path):
    for name in "ab":
        save(small(), tmp_path / name)
    for file in ("student.json", "student.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_fractions_of_results_and_of_products():
    student = small()
    assert student.fraction(INPUT) == 8
    assert student.fraction("c") == 4
    assert student.product_fraction(student.network.by_name["c"]) == 8 + 2


@pytest.mark.parametrize("name", [INPUT, "c", "m"])
def test_a_layer_without_formats_is_refused(name):
    student = small()
    formats = {key: value for key, value in student.formats.items() if key != name}
    told = refusal(replace, student, formats=formats)
    assert told == f"layer {name}: no format was found; every layer of a student wants one"


@pytest.mark.parametrize(("key", "shape"), [("weight", "(1, 2, 3, 2)"), ("bias", "(2,)")])
def test_missing_weights_are_refused(key, shape):
    student = small()
    integers = {name: value for name, value in student.integers.items() if name != f"c.{key}"}
    told = refusal(replace, student, integers=integers)
    assert told == f"layer c: no {key} was found; shape {shape} is wanted"


@pytest.mark.parametrize(
    ("key", "found", "wanted"),
    [("weight", (1, 2, 2, 3), "(1, 2, 3, 2)"), ("weight", (12,), "(1, 2, 3, 2)"), ("bias", (1,), "(2,)")],
)
def test_weights_of_a_wrong_shape_are_refused(key, found, wanted):
    told = refusal(small, integers={f"c.{key}": np.zeros(found, np.int64)})
    assert told == f"layer c: {key} of shape {found} was found, {wanted} is wanted"


@pytest.mark.parametrize(("value", "span"), [(8, "0 to 8"), (-9, "-9 to 0")])
def test_weights_outside_their_format_are_refused(value, span):
    weight = np.zeros((1, 2, 3, 2), np.int64)
    weight[0, 1, 2, 0] = value
    assert refusal(small, integers={"c.weight": weight}) == f"layer c: weights {span} lie outside fixed<4,2>"


@pytest.mark.parametrize(
    ("name", "weight"), [("c", None), ("m", Format(4, 2))], ids=["a conv without one", "a maximum with one"]
)
def test_weight_formats_stand_where_weights_are(name, weight):
    told = refusal(small, formats={name: LayerFormats(Format(8, 4), weight)})
    assert told == f"layer {name}: a weight format is wanted for conv, depthwise and affine, and for nothing else"


def test_a_signed_format_behind_a_relu_is_refused():
    told = refusal(small, relu=True, formats={"c": LayerFormats(Format(8, 4), Format(4, 2), Format(20, 12))})
    assert told == "layer c: fixed<8,4> was found; behind a ReLU a format without sign is wanted"


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (2, 4, 5), (0, 4, 5, 1)])
def test_test_images_of_another_shape_are_refused(shape):
    told = refusal(small, images=np.zeros(shape, np.int64))
    assert told == f"student net: images {shape[1:]}, wanted 4x5x3"


def saved(folder, **changes):
    """A student on disk, its JSON changed."""
    save(small(), folder)
    text = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(text | changes))


def with_arrays(folder, change):
    saved(folder)
    arrays = read_arrays(folder / "student.safetensors")
    write_arrays(folder / "student.safetensors", change(arrays))


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_is_refused(version, tmp_path):
    saved(tmp_path, version=version)
    sentence = f"version {version} was found, 1 is wanted; make the student again"
    assert refusal(load, tmp_path) == f"{tmp_path / 'student.json'}: {sentence}"


@pytest.mark.parametrize("name", ["images", "labels", "outputs"])
def test_missing_test_vectors_are_refused(name, tmp_path):
    with_arrays(tmp_path, lambda arrays: {k: v for k, v in arrays.items() if k != f"test.{name}"})
    path = tmp_path / "student.safetensors"
    assert refusal(load, tmp_path) == f"{path}: it has no test.{name}; make the student again"


@pytest.mark.parametrize("name", ["layer.c.weight", "test.labels"])
def test_floats_where_integers_belong_are_refused(name, tmp_path):
    with_arrays(tmp_path, lambda arrays: arrays | {name: arrays[name].astype(np.float32)})
    sentence = "student: an array of float32 was found, integers are wanted; make the student again"
    assert refusal(load, tmp_path) == sentence


def test_arrays_that_do_not_go_with_the_network_are_refused(tmp_path):
    with_arrays(tmp_path, lambda arrays: {k: v for k, v in arrays.items() if k != "layer.c.bias"})
    assert refusal(load, tmp_path) == "layer c: no bias was found; shape (2,) is wanted"


@pytest.mark.parametrize("name", ["student.json", "student.safetensors"])
def test_a_missing_file_is_told(name, tmp_path):
    saved(tmp_path)
    (tmp_path / name).unlink()
    assert refusal(load, tmp_path) == f"{tmp_path / name}: no such file"


def test_a_key_too_many_is_refused_with_its_name(tmp_path):
    saved(tmp_path, teacher="x")
    told = "Object contains unknown field `teacher`; known are formats, network, provenance, version"
    assert refusal(load, tmp_path) == f"{tmp_path / 'student.json'}: {told}"


def test_a_format_out_of_range_is_refused_with_its_place(tmp_path):
    student = small()
    formats = msgspec.to_builtins(student.formats)
    formats["m"]["out"]["width"] = 99
    saved(tmp_path, formats=formats)
    told = refusal(load, tmp_path)
    sentence = "format fixed<99,4>: a width of 1 to 62 bits is wanted"
    assert told == f"{tmp_path / 'student.json'}: {sentence} - at `$.formats[...].out`"


def test_an_interrupted_save_leaves_no_student(tmp_path):
    (tmp_path / "student.json").mkdir()
    assert refusal(save, small(), tmp_path) == f"{tmp_path / 'student.json'}: cannot be written (Is a directory)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student.json", "student.safetensors"]
