"""The C simulation of a generated project gives the reference's integers, and what is wrong is told in a sentence."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import hls_students as students
import msgspec
import numpy as np
import pytest
from random_networks import random_network

from hw.errors import BadInput, MissingTool, UnsupportedLayer
from hw.fixed import Format, LayerFormats
from hw.hls import Comparison, Generated, compare, compiler_available, generate, open_generated, readme
from hw.hls import passes as passes_file
from hw.hls.layers import identifiers, layer_list, precisions
from hw.hls.manifest import student_hash
from hw.hls.passes import keep_unit_affines, separate_row_strides
from hw.hls.reuse import allowed, choose
from hw.network import INPUT, Edge, Layer, Network, Padding, Shape, Size
from hw.reference import forward
from hw.student import Student, accumulator

pytest.importorskip("hls4ml")
needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no g++")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def made(student: Student, folder: Path, **options) -> tuple[Generated, Comparison]:
    generated = generate(student, folder / "hls", **options)
    return generated, compare(student, generated)


@needs_compiler
@pytest.mark.parametrize("make", [students.residual, students.pooled, students.dense])
def test_c_simulation_equals_the_reference(make, tmp_path):
    student = make()
    assert min(students.spread(student).values()) > 20
    generated, comparison = made(student, tmp_path)
    assert comparison.exact, str(comparison)
    assert comparison.images == len(student.images)
    assert comparison.layers == len(generated.manifest.layers) >= len(student.network.layers)
    assert open_generated(generated.folder).manifest.compared == comparison


@needs_compiler
def test_hls4ml_ignores_row_strides_of_1xn_layers_and_leaves_data(tmp_path, monkeypatch):
    monkeypatch.setattr(passes_file, "separate_row_strides", lambda student: student)
    _, comparison = made(students.strided(), tmp_path)
    mended = "this hls4ml heeds row strides of 1xN layers: hw.hls.passes.separate_row_strides can go"
    assert comparison.wrong_outputs > 0, mended
    assert comparison.leftover_data > 0, mended
    assert not comparison.exact
    assert comparison.wrong_layers == ("only",)
    text = str(comparison)
    assert text.startswith(f"C simulation equals the integer reference on {comparison.equal_images} of 40 images; ")
    assert text.endswith(
        f"steps at most, only is the first wrong layer, {comparison.leftover_data} streams with leftover data"
    )


@pytest.mark.slow
@needs_compiler
def test_row_strides_are_right_with_the_row_selector(tmp_path):
    generated, comparison = made(students.strided(), tmp_path)
    assert comparison.exact, str(comparison)
    assert [(layer.name, layer.inserted) for layer in generated.manifest.layers] == [
        ("only_rows", True),
        ("only", False),
    ]


@pytest.mark.slow
@needs_compiler
def test_hls4ml_drops_unit_affines(tmp_path, monkeypatch):
    monkeypatch.setattr(passes_file, "keep_unit_affines", lambda student: student)
    _, comparison = made(students.dense(), tmp_path)
    assert comparison.wrong_outputs > 0, "this hls4ml keeps unit affines: hw.hls.passes.keep_unit_affines can go"


@pytest.mark.slow
@needs_compiler
def test_a_student_as_deep_as_wrn_10_1(tmp_path):
    _, comparison = made(students.wide_resnet(images=1000), tmp_path)
    assert comparison.exact, str(comparison)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("seed", range(40))
def test_random_networks_formats_and_reuse_factors(seed, tmp_path):
    network, rng = random_network(seed), np.random.default_rng(seed)
    formats = {}
    for name in (INPUT, *network.by_name):
        width = int(rng.integers(3, 11))
        formats[name] = Format(width, int(rng.integers(-1, width + 3)), bool(rng.integers(2)))
    convs = [layer for layer in network.layers if layer.kind == "conv"]
    factors = {layer.name: int(rng.choice(allowed(network, layer))) for layer in convs}
    student = students.student_of(network, seed, 50, formats)
    try:
        _, comparison = made(student, tmp_path, reuse_factors=factors)
    except UnsupportedLayer:
        pytest.skip("a pooling or a concat that HLS streams do not execute")
    assert comparison.exact, f"{comparison}\n{network}"


@pytest.mark.slow
@needs_compiler
def test_fifo_depths_do_not_change_the_numbers(tmp_path):
    student = students.residual()
    depths = dict.fromkeys(student.network.edges, 3)
    _, comparison = made(student, tmp_path, fifo_depths=depths)
    assert comparison.exact, str(comparison)


def test_fifo_depths_stand_in_the_source(tmp_path):
    student = students.residual()
    depths = {edge: 10 + number for number, edge in enumerate(student.network.edges)}
    generated = generate(student, tmp_path / "hls", fifo_depths=depths)
    streams = generated.manifest.streams
    edges = {edge: depth for edge, depth in depths.items() if edge.source != INPUT}
    assert sorted(depth for depth in streams.values() if depth > 2) == sorted(edges.values())
    passing = {"forks": 2, "paddings": 4, "row selectors": 1}
    assert list(streams.values()).count(2) == sum(passing.values())
    source = (generated.folder / "firmware" / "student.cpp").read_text()
    for name, depth in streams.items():
        assert f"#pragma HLS STREAM variable={name} depth={depth}\n" in source


def test_fifo_depths_by_text_and_unknown_edges(tmp_path):
    student = students.residual()
    generated = generate(student, tmp_path / "hls", fifo_depths={"pool -> dense": 7})
    assert 7 in generated.manifest.streams.values()
    with pytest.raises(BadInput) as error:
        generate(student, tmp_path / "other", fifo_depths={Edge("pool", "dens"): 7})
    assert str(error.value) == "FIFO pool -> dens: network residual has no such edge; pool -> dense is the nearest"
    with pytest.raises(BadInput) as error:
        generate(student, tmp_path / "other", fifo_depths={Edge("pool", "dense"): 0})
    assert str(error.value) == "FIFO pool -> dense: a depth of 0 was found, at least 1 is wanted"
    assert not (tmp_path / "other").exists()


def test_the_folder_is_whole_portable_and_the_same_every_time(tmp_path):
    student = students.residual()
    first, second = (generate(student, tmp_path / name / "hls").folder for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert {Path("README.md"), Path("manifest.json"), Path("build_prj.tcl"), Path("firmware/student.cpp")} <= set(files)
    for path in files:
        data = (first / path).read_bytes()
        assert str(tmp_path).encode() not in data, path
        assert data == (second / path).read_bytes(), path
    assert [path.name for path in first.parent.iterdir()] == ["hls"]


def test_an_existing_folder_is_refused_and_only_a_project_is_replaced(tmp_path):
    student = students.strided()
    folder = generate(student, tmp_path / "hls").folder
    with pytest.raises(BadInput) as error:
        generate(student, folder)
    assert str(error.value) == f"{folder}: it exists already; name another folder, or replace it with --force"
    (folder / "old.txt").write_text("old")
    generate(student, folder, force=True)
    assert not (folder / "old.txt").exists()
    other = tmp_path / "letters"
    other.mkdir()
    (other / "dear.txt").write_text("keep me")
    with pytest.raises(BadInput) as error:
        generate(student, other, force=True)
    assert str(error.value) == f"{other}: it is no HLS project of ours and is not replaced; name another folder"
    assert (other / "dear.txt").read_text() == "keep me"


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(folder: Path, stamp: str) -> None:
        raise RuntimeError("stop here")

    monkeypatch.setattr(readme, "make_portable", fail)
    with pytest.raises(RuntimeError, match="stop here"):
        generate(students.strided(), tmp_path / "hls")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_compiler_is_told(tmp_path, monkeypatch):
    student = students.strided()
    generated = generate(student, tmp_path / "hls")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not compiler_available()
    with pytest.raises(MissingTool) as error:
        compare(student, generated)
    assert str(error.value) == "the C simulation of HLS needs g++, which was not found: apt install g++"


@needs_compiler
def test_a_compile_failure_names_its_first_error(tmp_path):
    student = students.strided()
    generated = generate(student, tmp_path / "hls")
    source = generated.folder / "firmware" / "student.cpp"
    source.write_text("#error broken\n" + source.read_text())
    with pytest.raises(BadInput) as error:
        compare(student, generated)
    log = generated.folder / "csim" / "compile0.log"
    assert log.read_text().startswith("firmware/student.cpp:1:2")
    first = "firmware/student.cpp:1:2: error: #error broken"
    assert str(error.value) == f"{generated.folder}: g++ failed: {first}; see {log}"
    assert sorted(path.name for path in log.parent.iterdir()) == ["compile0.log", "compile1.log"]


@needs_compiler
@pytest.mark.parametrize("file", ["student.cpp", "parameters.h"])
def test_a_compile_failure_names_the_layer(file, tmp_path):
    student = students.strided()
    generated = generate(student, tmp_path / "hls")
    source = generated.folder / "firmware" / file
    text = source.read_text()
    broken = {
        "student.cpp": text.replace("nnet::conv_2d_cl<", "nnet::gone<"),
        "parameters.h": text.replace("typedef only_weight_t weight_t", "typedef gone_t weight_t"),
    }[file]
    assert broken != text
    source.write_text(broken)
    with pytest.raises(BadInput) as error:
        compare(student, generated)
    found = str(error.value)
    assert found.startswith(f"{generated.folder}: g++ failed in layer only: firmware/")
    assert found.endswith(f"; see {generated.folder / 'csim' / 'compile0.log'}")


@needs_compiler
def test_an_abort_is_told_with_its_last_words(tmp_path):
    student = students.strided()
    generated = generate(student, tmp_path / "hls")
    library = generated.folder / "csim" / "student.so"
    library.parent.mkdir()
    code = b'#include <cassert>\nextern "C" void student_double(double*, double*) { assert(!"broken"); }\n'
    subprocess.run(["g++", "-shared", "-fPIC", "-xc++", "-", "-o", library], input=code, check=True)
    with pytest.raises(BadInput) as error:
        compare(student, generated)
    start, _, end = str(error.value).partition('Assertion `!"broken"\' failed.')
    assert start.startswith(f"{generated.folder}: its C simulation aborted (")
    assert end == f"); see {generated.folder / 'csim' / 'run.log'}"


def test_no_images_is_told(tmp_path):
    student = students.strided()
    generated = generate(student, tmp_path / "hls")
    with pytest.raises(BadInput) as error:
        compare(student, generated, student.images[:0])
    assert str(error.value) == "student strided: no test images were found, at least one is wanted"


def test_unknown_backends_and_io_types(tmp_path):
    sentences = {
        "backend": ("Vits", "backend Vits: not generated here; did you mean Vitis?"),
        "io_type": ("io_paralel", "io_type io_paralel: not generated for Vitis; did you mean io_parallel?"),
        "strategy": ("resource", "strategy resource: not generated for Vitis; did you mean Resource?"),
    }
    for option, (value, sentence) in sentences.items():
        with pytest.raises(BadInput) as error:
            generate(students.strided(), tmp_path / "hls", **{option: value})
        assert str(error.value) == sentence


def test_unsupported_layers_are_named(tmp_path):
    pool = Layer("pool", "max", (INPUT,), kernel=Size(3, 3), stride=Size(2, 2), padding=Padding(1, 1, 1, 1))
    with pytest.raises(UnsupportedLayer) as error:
        generate(students.student_of(Network("net", Shape(8, 8, 2), (pool,)), 0), tmp_path / "hls")
    assert str(error.value) == (
        "layer pool: max of kernel (3, 3), stride (2, 2), padding (1, 1, 1, 1); "
        "HLS streams pool only with a stride equal to the kernel and without padding"
    )


def test_a_table_is_refused(tmp_path):
    layers = (students.conv("a", INPUT, 2, (1, 1)), Layer("act", "table", ("a",), function="silu"))
    with pytest.raises(UnsupportedLayer) as error:
        generate(students.student_of(Network("net", Shape(4, 4, 2), layers), 0), tmp_path / "hls")
    assert str(error.value) == (
        "layer act: a table of silu is not generated for HLS, whose own tables round in another way; a ReLU would do, "
        "or --target rtl"
    )


def test_an_upsample_is_refused(tmp_path):
    layers = (students.conv("a", INPUT, 2, (1, 1)), Layer("twice", "upsample", ("a",), factor=Size(2, 2)))
    with pytest.raises(UnsupportedLayer) as error:
        generate(students.student_of(Network("net", Shape(4, 4, 2), layers), 0), tmp_path / "hls")
    assert str(error.value) == ("layer twice: an upsample of 2x2 is not generated for HLS; --target rtl would do")


def test_too_many_readers_are_refused(tmp_path):
    readers = [students.conv(f"c{number}", INPUT, 2, (1, 1)) for number in range(8)]
    joined = Layer("all", "concat", tuple(layer.name for layer in readers))
    with pytest.raises(UnsupportedLayer) as error:
        generate(students.student_of(Network("net", Shape(4, 4, 2), (*readers, joined)), 0), tmp_path / "hls")
    assert str(error.value) == "layer input: 8 layers read it; hls4ml copies to 7 at most"


def test_reuse_factors():
    layers = (students.conv("wide", INPUT, 64, (1, 3)),)
    network = Network("net", Shape(4, 8, 64), layers)
    assert choose(network, {}) == {"wide": 3}
    assert choose(network, {"wide": 192}) == {"wide": 192}
    with pytest.raises(BadInput) as error:
        choose(network, {"wide": 5})
    assert str(error.value) == "layer wide: reuse factor 5 cannot be built; the nearest that can is 4"
    with pytest.raises(BadInput) as error:
        choose(network, {"wid": 5})
    assert str(error.value) == "layer wid: a reuse factor was given, but there is no convolution of that name"


def test_hls4ml_takes_the_reuse_factors_as_they_are():
    from hls4ml.backends import get_backend

    backend = get_backend("Vitis")
    for taps, inputs, outputs in ((3, 4, 6), (1, 5, 7), (9, 2, 8)):
        network = Network("net", Shape(4, 8, inputs), (students.conv("a", INPUT, outputs, (1, taps)),))
        assert list(allowed(network, network.output)) == backend.get_valid_reuse_factors(taps * inputs, outputs)


@pytest.mark.parametrize("make", [students.residual, students.dense, students.strided, students.wide_resnet])
def test_passes_keep_the_integers(make):
    student = make(images=20)
    changed = keep_unit_affines(separate_row_strides(student))
    assert np.array_equal(forward(changed, student.images), student.outputs)
    assert not any(
        layer.kernel.rows == 1 < layer.kernel.cols and layer.stride.rows > 1 for layer in changed.network.layers
    )


def test_types_of_a_layer():
    student = students.residual()
    layer = student.network.by_name["block.1.a"]
    width = accumulator(student, layer).width
    types = precisions(student, layer)
    assert types["result"] == "ap_ufixed<8,4,AP_RND,AP_SAT>"
    assert types["weight"] == "ap_fixed<8,2>"
    assert types["accum"] == f"ap_fixed<{width},{width - 10}>"


def test_a_narrow_accumulator_is_refused(tmp_path):
    student = students.strided()
    formats = dict(student.formats) | {
        "only": msgspec.structs.replace(student.formats["only"], accumulator=Format(9, 0))
    }
    narrow = Student(student.network, formats, student.integers, student.images, student.labels, student.outputs, {})
    with pytest.raises(BadInput) as error:
        generate(narrow, tmp_path / "hls")
    assert str(error.value) == (
        "layer only: its accumulator is fixed<9,0>; signed, at least 17 bits and 10 of them after the point are wanted "
        "by its weights; quantise the student again"
    )


def test_an_accumulator_that_is_not_given_holds_every_sum():
    student = students.residual()
    bare = {name: LayerFormats(formats.out, formats.weight) for name, formats in student.formats.items()}
    other = Student(student.network, bare, student.integers, student.images, student.labels, student.outputs, {})
    for layer in student.network.layers:
        if layer.kind in ("conv", "affine"):
            assert accumulator(other, layer) == student.formats[layer.name].accumulator


def test_identifiers_are_unique_without_regard_to_case():
    names = identifiers((INPUT, "a.b", "a_b", "A.b", "1x3", "image"))
    assert list(names.values()) == ["image", "a_b", "a_b_2", "A_b_3", "l_1x3", "image_2"]


def test_the_layer_list_needs_no_hls4ml_and_the_project_no_torch(tmp_path):
    student = students.residual()
    names = identifiers((INPUT, *student.network.by_name))
    assert [node["class_name"] for node in layer_list(student, names)][-2:] == ["GlobalAveragePooling2D", "Conv2D"]
    code = (
        "import sys; sys.path.insert(0, 'tests'); import hls_students, pathlib, hw.hls; "
        "assert 'hls4ml' not in sys.modules; "
        f"hw.hls.generate(hls_students.strided(), pathlib.Path({str(tmp_path / 'hls')!r})); "
        "assert 'torch' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_the_manifest_and_the_readme(tmp_path):
    generated = generate(students.pooled(), tmp_path / "hls", clock_ns=4.0, part="xc7z020clg400-1")
    manifest = json.loads((generated.folder / "manifest.json").read_text())
    assert manifest["versions"]["hls4ml"].startswith("1.3.")
    assert (manifest["part"], manifest["clock_ns"], manifest["row_step"]) == ("xc7z020clg400-1", 4.0, 2)
    assert manifest["input_shape"] == [9, 7, 2]
    assert manifest["compared"] is None
    assert (manifest["backend"], manifest["io_type"], manifest["strategy"]) == ("Vitis", "io_stream", "auto")
    assert manifest["student_sha256"] == student_hash(students.pooled())
    written = {path.relative_to(generated.folder).as_posix() for path in generated.folder.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == written - {"manifest.json"}
    for name in ("README.md", "firmware/student.cpp"):
        assert manifest["files"][name] == hashlib.sha256((generated.folder / name).read_bytes()).hexdigest()
    assert manifest["layers"][0] == {
        "hls_class": "Conv2D",
        "identifier": "stem",
        "inserted": False,
        "name": "stem",
        "out": {"width": 8, "integer": 4, "signed": True},
        "reuse_factor": 1,
        "strategy": "Latency",
        "types": precisions(students.pooled(), students.pooled().network.by_name["stem"]),
    }
    text = (generated.folder / "README.md").read_text()
    assert "It reads 9x7 pixels (one row in 2 of the frame) of 2 channels" in text
    assert "vitis-run --mode hls --tcl build_prj.tcl" in text
