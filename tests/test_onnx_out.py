"""Students as ONNX files: the exact form against the integer reference, the plain form read back."""

import json
import re
import sys

import msgspec
import numpy as np
import pytest
from hls_students import conv, student_of, wide_resnet
from random_students import random_student

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

import pacemaker  # noqa: E402
from hw import onnx_file, onnx_out  # noqa: E402
from hw.accelerator import machine  # noqa: E402
from hw.errors import BadInput, MissingTool, UnsupportedLayer  # noqa: E402
from hw.fixed import Format, LayerFormats, dequantise  # noqa: E402
from hw.network import INPUT, Layer, Network, Shape, Size  # noqa: E402
from hw.reference import forward, layer_outputs  # noqa: E402
from hw.student import Student, save  # noqa: E402
from sim.run import simulate  # noqa: E402

SEEDS = range(120)
NAMES = {1: np.float32, 11: np.float64}


def pixels(student, made):
    """The test images as the file wants them."""
    values = dequantise(student.images, student.formats[INPUT].out).transpose(0, 3, 1, 2)
    return values.astype(NAMES[made.graph.input[0].type.tensor_type.elem_type])


def integers(student, layer, values):
    """Results [n, channels, rows, cols] as integers, exact ones only."""
    scaled = np.ldexp(values.astype(np.float64), student.fraction(layer))
    assert (scaled == np.floor(scaled)).all()
    return scaled.astype(np.int64).transpose(0, 2, 3, 1)


def results(student, made):
    """Every layer's result in the exact form."""
    found = ReferenceEvaluator(made).run(None, {"image": pixels(student, made)}, intermediate=True)
    return {name: integers(student, name, found[f"{name}.out"]) for name in student.formats}


def assert_exact(student):
    made = onnx_out.model(student, exact=True)
    found = results(student, made)
    for name, expected in layer_outputs(student, student.images).items():
        assert np.array_equal(found[name], expected), f"{name} of\n{student.network}"
    return made


def lone(layer, rows_cols_channels, formats, weights, images):
    """A student of one layer, with these integers for weights and images."""
    network = Network("lone", Shape(*rows_cols_channels), (layer,))
    empty = np.zeros(len(images), np.int64)
    return Student(network, formats, weights, images, empty, np.zeros((len(images), 1, 1, 1), np.int64), {})


@pytest.mark.parametrize("seed", SEEDS)
def test_the_exact_form_gives_the_integers_of_the_reference_in_every_layer(seed):
    assert_exact(random_student(seed, images=3))


@pytest.mark.parametrize("seed", range(20))
def test_the_exact_form_has_the_tables_of_the_reference(seed):
    assert_exact(random_student(seed, images=2, more=("table", "upsample")))


@pytest.mark.parametrize("seed", range(20))
def test_plain_tables_are_read_back_or_refused(seed, tmp_path):
    student = random_student(seed, more=("table", "upsample"))
    gelus = [layer for layer in student.network.layers if layer.function.startswith("gelu")]
    if gelus:
        with pytest.raises(UnsupportedLayer) as error:
            onnx_out.write(student, tmp_path / "student.onnx")
        assert str(error.value) == (
            f"layer {gelus[0].name}: {gelus[0].function} is no operation of ONNX's opset 17; export with --exact, "
            "which writes its table"
        )
        assert not list(tmp_path.iterdir())
        return
    onnx_out.write(student, tmp_path / "student.onnx")
    found = onnx_file.read(tmp_path / "student.onnx")
    assert found == msgspec.structs.replace(student.network, name="student")


def test_the_random_students_cover_what_can_go_wrong():
    students = [random_student(seed) for seed in SEEDS]
    layers = [(student, layer) for student in students for layer in student.network.layers]
    assert {layer.kind for _, layer in layers} == {"conv", "affine", "add", "concat", "max", "mean"}
    convs = [layer for _, layer in layers if layer.kind == "conv"]
    assert {Size(1, 3), Size(3, 1), Size(3, 3)} <= {layer.kernel for layer in convs}
    assert {Size(1, 2), Size(2, 1), Size(2, 2)} <= {layer.stride for layer in convs}
    assert any(len(set(layer.padding)) > 2 for layer in convs)
    assert any(
        any(layer.padding) and s.formats[layer.inputs[0]].out.signed for s, layer in layers if layer.kind == "max"
    )
    assert any(layer.taps % 2 and layer.taps > 1 for _, layer in layers if layer.kind == "mean")
    assert any(student.network.input.rows != student.network.input.cols for student in students)
    assert any(student.network.row_step > 1 for student in students)


def test_a_residual_network_is_exact_in_float32_and_its_output_is_flat():
    student = wide_resnet(images=5)
    made = assert_exact(student)
    assert onnx_out.numbers(student) == "float32"
    assert [d.dim_value for d in made.graph.output[0].type.tensor_type.shape.dim] == [1, 10]
    values = ReferenceEvaluator(made).run(None, {"image": pixels(student, made)})[0]
    expected = dequantise(student.outputs, student.formats[student.network.output.name].out)
    assert np.array_equal(values, expected.reshape(5, 10))


@pytest.mark.parametrize("taps", [2, 3, 6, 7, 9, 25, 49])
@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 4])
def test_a_mean_is_exact_for_every_sum(taps, shift):
    source, out = Format(6, 4), Format(9, 7 - shift)
    sums = np.arange(taps * source.low, taps * source.high + 1)
    images = np.stack([(sums + i) // taps for i in range(taps)], axis=-1)[:, None, :, None]
    assert (images.sum(axis=(1, 2, 3)) == sums).all()
    layer = Layer("m", "mean", (INPUT,), kernel=Size(1, taps), stride=Size(1, taps))
    student = lone(layer, (1, taps, 1), {INPUT: LayerFormats(source), "m": LayerFormats(out)}, {}, images)
    assert onnx_out.numbers(student) == "float32"
    assert_exact(student)


def largest_sums(terms, bits):
    """A dense layer whose sums come as near to their bound as they can, and lose their last bits in the result."""
    source, weight, acc = Format(bits, bits, signed=False), Format(bits, bits), Format(60, 60)
    rng = np.random.default_rng(terms)
    formats = {INPUT: LayerFormats(source), "d": LayerFormats(Format(50, 47), weight, acc)}
    weights = {"d.weight": np.full((1, terms, 1, 2), weight.high), "d.bias": np.array([3, -1])}
    weights["d.weight"][..., 1] = weight.low
    images = source.high - rng.integers(0, 3, (40, 1, terms, 1))
    return lone(Layer("d", "conv", (INPUT,), 2, Size(1, terms), bias=True), (1, terms, 1), formats, weights, images)


def with_out(student, layer, out):
    formats = dict(student.formats) | {layer: msgspec.structs.replace(student.formats[layer], out=out)}
    return Student(student.network, formats, student.integers, student.images, student.labels, student.outputs, {})


def test_sums_beyond_float32_are_computed_in_float64():
    narrow = with_out(largest_sums(256, 8), "d", Format(25, 25))
    assert onnx_out.numbers(narrow) == "float32"
    assert_exact(narrow)
    wide = with_out(largest_sums(600, 8), "d", Format(25, 25))
    assert onnx_out.numbers(wide) == "float64"
    made = assert_exact(wide)
    kinds = {array.data_type for array in made.graph.initializer}
    assert kinds == {TensorProto.DOUBLE}


def test_float64_is_taken_only_where_float32_would_be_wrong(monkeypatch):
    student = with_out(largest_sums(600, 8), "d", Format(26, 26))
    monkeypatch.setattr(onnx_out, "WHOLE_UP_TO", {"float32": 1 << 53})
    made = onnx_out.model(student, exact=True)
    assert not np.array_equal(results(student, made)["d"], forward(student, student.images))


def test_numbers_that_no_float_holds_are_refused(tmp_path):
    student = with_out(largest_sums(600, 24), "d", Format(25, 25))
    sentence = (
        "layer d: integers of 57 bits were found, at most 53 are wanted, which float64 holds; "
        "export without --exact, or quantise to fewer bits"
    )
    with pytest.raises(BadInput, match=f"^{re.escape(sentence)}$"):
        onnx_out.write(student, tmp_path / "a.onnx", exact=True)
    assert not list(tmp_path.iterdir())
    far = with_out(student, "d", Format(8, 100))
    with pytest.raises(
        BadInput, match=r"^layer d: -92 bits after the point were found, -50 to 50 are wanted by an ONNX"
    ):
        onnx_out.write(far, tmp_path / "a.onnx")


def test_pixels_between_two_steps_are_rounded_half_up():
    student = wide_resnet(images=2)
    made = onnx_out.model(student, exact=True)
    image = np.full((1, *pixels(student, made).shape[1:]), -1.0, np.float32)
    scale = 2.0 ** -student.fraction(INPUT)
    image[0, 0, 0, :6] = np.array([0.49, 0.5, 1.49, 1.5, 254.5, 300.0]) * scale
    found = ReferenceEvaluator(made).run(None, {"image": image}, intermediate=True)["input.integer"]
    assert found[0, 0, 0].tolist() == [0, 1, 1, 2, 255, 255, 0, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plain_form_is_read_back_as_the_same_network(seed, tmp_path):
    student = random_student(seed)
    path = tmp_path / "net.onnx"
    onnx_out.write(student, path)
    found = onnx_file.read(path)
    assert found == msgspec.structs.replace(student.network, name="net")
    assert (found.shapes, found.macs, found.parameters) == (
        student.network.shapes,
        student.network.macs,
        student.network.parameters,
    )


def test_the_plain_form_computes_with_the_weights_that_the_integers_stand_for():
    network = Network("tiny", Shape(5, 8, 2), (conv("a", INPUT, 4, (3, 1), (2, 1)),))
    student = student_of(network, seed=2, images=3)
    made = onnx_out.model(student)
    values = ReferenceEvaluator(made).run(None, {"image": pixels(student, made)})[0]
    # A last layer keeps its accumulator, so that nothing is rounded in the student either.
    assert np.array_equal(integers(student, "a", values), student.outputs)
    assert {node.op_type for node in made.graph.node} == {"Conv", "Identity"}


@pytest.mark.parametrize("exact", [False, True])
def test_a_file_is_valid_names_its_origin_and_is_the_same_twice(exact, tmp_path):
    base = wide_resnet(images=1)
    student = Student(
        base.network, base.formats, base.integers, base.images, base.labels, base.outputs, {"fingerprint": "f00d"}
    )
    told = onnx_out.write(student, tmp_path / "a.onnx", exact=exact)
    onnx_out.write(student, tmp_path / "b.onnx", exact=exact)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    made = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(made, full_check=True)
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    assert metadata == told.metadata
    assert metadata["tool"].startswith("pacemaker ")
    assert metadata["run.fingerprint"] == "f00d"
    assert float(metadata["input_scale"]) == 2.0 ** -student.fraction(INPUT)
    assert [entry.version for entry in made.opset_import] == [17]
    assert made.graph.input[0].name == "image"
    assert [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim] == [1, 1, 8, 8]


def test_onnxruntime_gives_the_same_integers():
    runtime = pytest.importorskip("onnxruntime")
    for student in [wide_resnet(images=20), *map(random_student, SEEDS)]:
        if onnx_out.numbers(student) != "float32":
            continue
        made = onnx_out.model(student, exact=True)
        session = runtime.InferenceSession(made.SerializeToString())
        last = student.network.output.name
        for image, expected in zip(pixels(student, made), forward(student, student.images), strict=True):
            values = session.run(None, {"image": image[None]})[0].reshape(1, expected.shape[2], *expected.shape[:2])
            assert np.array_equal(integers(student, last, values)[0], expected), str(student.network)


def slices(tmp_path, starts, ends, axes, steps, *, both=False):
    """A file that takes some rows of its input [1, 2, 7, 5] before a ReLU; with `both` the whole is read too."""
    arrays = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    constants = [numpy_helper.from_array(np.array(value), name) for name, value in arrays.items()]
    nodes = [helper.make_node("Slice", ["x", *arrays], ["y"], name="s"), helper.make_node("Relu", ["y"], ["z"])]
    nodes += [helper.make_node("Relu", ["x"], ["u"]), helper.make_node("Add", ["u", "z"], ["v"])] * both
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 7, 5])
    result = helper.make_tensor_value_info("v" if both else "z", TensorProto.FLOAT, ["any"])
    graph = helper.make_graph(nodes, "graph", [given], [result], constants)
    path = tmp_path / "rows.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return path


def test_every_kth_row_is_read_as_a_row_step(tmp_path):
    found = onnx_file.read(slices(tmp_path, [0], [np.iinfo(np.int64).max], [2], [3]))
    assert (found.input, found.row_step, found.shapes["z"]) == (Shape(7, 5, 2), 3, Shape(3, 5, 2))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps", "both"),
    [
        ([1], [7], [2], [2], False),
        ([0], [6], [2], [2], False),
        ([0], [7], [3], [2], False),
        ([0], [7], [2], [-1], False),
        ([0, 0], [7, 5], [2, 3], [2, 2], False),
        ([0], [7], [2], [1], True),
    ],
)
def test_other_slices_are_refused(tmp_path, starts, ends, axes, steps, both):
    with pytest.raises(UnsupportedLayer, match=r"^layer s: a slice is not supported; one that takes every k-th row"):
        onnx_file.read(slices(tmp_path, starts, ends, axes, steps, both=both))


def test_a_slice_of_an_old_opset_is_refused(tmp_path):
    node = helper.make_node("Slice", ["x"], ["y"], name="s", starts=[0], ends=[7], axes=[2])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 7, 5])
    graph = helper.make_graph([node], "g", [given], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["any"])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)
    (tmp_path / "old.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(UnsupportedLayer, match=r"^layer s: a slice is not supported"):
        onnx_file.read(tmp_path / "old.onnx")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder to work in, with a run's student of a residual network."""
    save(wide_resnet(images=3), tmp_path / "run" / "student")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def command(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pacemaker", *words])
    with pytest.raises(SystemExit) as ended:
        pacemaker.main()
    return ended.value.code or 0


def test_an_exported_run_simulates_as_the_run(run, monkeypatch, capsys):
    assert command(["export", "run"], monkeypatch) == 0
    sentence = "run/student.onnx: 18 layers in float32, opset 17, nothing rounded between layers\n"
    assert capsys.readouterr().out == sentence
    network = onnx_file.read(run / "student.onnx")
    assert network.layers == wide_resnet(images=1).network.layers
    for name in ("pipeline-256", "line-64"):
        found, expected = (simulate(form, machine(name)) for form in (network, wide_resnet(images=1).network))
        assert msgspec.structs.replace(found, network=expected.network) == expected


def test_the_exact_form_by_the_command_line(run, monkeypatch, capsys):
    assert command(["export", "run", "--exact", "--json", "--out", "made/net.onnx"], monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["form"], told["numbers"], told["opset"]) == ("made/net.onnx", "exact", "float32", 17)
    student = wide_resnet(images=3)
    made = onnx.load(run.parent / "made" / "net.onnx")
    assert np.array_equal(results(student, made)["head"], student.outputs)
    assert [path.name for path in (run.parent / "made").iterdir()] == ["net.onnx"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["missing"],
            "missing: no student here (student/student.json is missing); make one with: pacemaker distill RECIPE",
        ),
        (["run", "--out", "file/net.onnx"], "file: cannot be made a folder (File exists)"),
        (["run", "--out", "run"], "run: cannot be written (Is a directory)"),
    ],
)
def test_what_the_user_can_mend_is_told_in_one_line(run, monkeypatch, capsys, words, sentence):
    before = sorted(run.parent.rglob("*"))
    assert command(["export", *words], monkeypatch) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"pacemaker: {sentence}\n")
    assert sorted(run.parent.rglob("*")) == before


def test_without_onnx_the_cure_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    sentence = (
        "writing an ONNX file needs the package onnx, which is not installed: pip install 'pacemaker-codesign[onnx]'"
    )
    with pytest.raises(MissingTool, match=f"^{re.escape(sentence)}$"):
        onnx_out.export_run(run)
    assert not (run / "student.onnx").exists()
