"""What a hardware engineer opens: test bench, constraints, scripts; and the cache of compiled simulations."""

import os
import subprocess
import threading
from pathlib import Path

import hls_students as students
import numpy as np
import pytest

from hw.errors import BadInput
from hw.files import appearing
from hw.hls import cache, compare, compiler_available, csim, generate, open_generated, readme, testbench
from hw.hls.csim import run_test_bench
from hw.hls.project import check_folder
from hw.hls.testbench import EXPECTED, FEATURES
from hw.reference import forward

pytest.importorskip("hls4ml")
needs_compiler = pytest.mark.skipif(not compiler_available(), reason="no g++")
PARALLEL = [("Vitis", "io_parallel"), ("Quartus", "io_parallel"), ("Catapult", "io_parallel")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_images_and_expected_outputs_are_the_students(tmp_path):
    student = students.pooled(images=30)
    folder = generate(student, tmp_path / "hls").folder
    read = student.images[:20, :: student.network.row_step]
    features = np.loadtxt(folder / FEATURES) * 2.0 ** student.fraction("input")
    assert np.array_equal(features, read.reshape(20, -1))
    expected = np.loadtxt(folder / EXPECTED) * 2.0 ** student.fraction("head")
    assert np.array_equal(expected, forward(student, student.images[:20]).reshape(20, -1))


@needs_compiler
def test_the_test_bench_runs_with_gxx_and_tells_a_wrong_weight(tmp_path):
    student = students.strided()
    generated = generate(student, tmp_path / "hls")
    assert run_test_bench(generated)
    weights = generated.folder / "firmware" / "weights" / "w2.txt"
    _, _, rest = weights.read_text().partition(",")
    weights.write_text(f"0,{rest}")  # the identity that selects rows loses a channel
    assert not run_test_bench(generated)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("backend", "io_type"), [("Vivado", "io_stream"), *PARALLEL])
def test_every_test_bench_runs_with_gxx(backend, io_type, tmp_path):
    assert run_test_bench(generate(students.pooled(), tmp_path / "hls", backend=backend, io_type=io_type))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("backend", "io_type"), [("Vitis", "io_stream"), *PARALLEL])
def test_the_commands_of_the_readme_compile_and_run(backend, io_type, tmp_path):
    folder = generate(students.strided(), tmp_path / "hls", backend=backend, io_type=io_type).folder
    lines = (folder / "README.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("    g++"))
    subprocess.run(["bash", "-ec", "\n".join(lines[start : start + 3])], cwd=folder, check=True, capture_output=True)
    results = "tb_data/results.log" if backend == "Quartus" else "tb_data/csim_results.log"
    assert (folder / results).read_text() == (folder / EXPECTED).read_text()


@pytest.mark.parametrize(("backend", "io_type"), [("Vivado", "io_stream"), *PARALLEL])
def test_projects_are_portable_and_the_same_every_time(backend, io_type, tmp_path):
    student = students.strided()
    first, second = (
        generate(student, tmp_path / name / "hls", backend=backend, io_type=io_type).folder for name in ("a", "b")
    )
    for path in sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file()):
        data = (first / path).read_bytes()
        assert str(tmp_path).encode() not in data, path
        assert data == (second / path).read_bytes(), path


def test_constraints_and_vendors_commands(tmp_path):
    wanted = {
        "Vitis": (
            "constraints.xdc",
            "create_clock -name ap_clk -period 4 [get_ports ap_clk]\n",
            "vitis-run --mode hls",
        ),
        "Quartus": ("constraints.sdc", "create_clock -name clock -period 4 [get_ports clock]\n", "`make student-fpga`"),
        "Catapult": (
            "constraints.xdc",
            "create_clock -name clk -period 4 [get_ports clk]\n",
            "catapult -product ultra",
        ),
    }
    for backend, (file, text, command) in wanted.items():
        made = generate(students.strided(), tmp_path / backend, backend=backend, io_type="io_parallel", clock_ns=4.0)
        assert (made.folder / file).read_text() == text
        assert command in (made.folder / "README.md").read_text()
    script = (tmp_path / "Catapult" / "build_prj.tcl").read_text()
    assert f'INVOKE_ARGS "$sfd/firmware/weights $sfd/{FEATURES} $sfd/{EXPECTED}"' in script


def test_a_project_of_another_version_is_told(tmp_path):
    folder = generate(students.strided(), tmp_path / "hls").folder
    manifest = folder / "manifest.json"
    manifest.write_text('{"version": 1}')
    with pytest.raises(BadInput) as error:
        open_generated(folder)
    assert str(error.value) == f"{folder}: version 1 was found, 2 is wanted; generate it again"


@needs_compiler
def test_what_was_compiled_once_comes_from_the_cache(tmp_path, monkeypatch):
    student = students.strided()
    compare(student, generate(student, tmp_path / "a"))
    (kept,) = cache.folder().iterdir()
    assert kept.suffix == ".so"
    other = generate(student, tmp_path / "b")
    monkeypatch.setattr(csim, "_build", lambda *arguments: pytest.fail("it was compiled again"))
    assert compare(student, other).exact
    source = other.folder / "firmware" / "defines.h"
    source.write_text(
        source.read_text().replace("typedef ap_fixed<8,2> only_weight_t", "typedef ap_fixed<9,3> only_weight_t")
    )
    with pytest.raises(pytest.fail.Exception, match="compiled again"):
        compare(student, other)


def test_the_cache_drops_the_least_recently_used(tmp_path):
    library = tmp_path / "some.so"
    library.write_bytes(b"x" * 1000)
    for number in range(5):
        cache.keep(f"key{number}", library, limit_bytes=2500)
        assert cache.fetch("key0", tmp_path / "found.so")
    assert sorted(path.name for path in cache.folder().iterdir()) == ["key0.so", "key4.so"]
    assert not cache.fetch("key2", tmp_path / "found.so")
    cache.keep("large", library, limit_bytes=10)
    assert [path.name for path in cache.folder().iterdir()] == ["large.so"]


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path, monkeypatch):
    library = tmp_path / "some.so"
    library.write_bytes(b"x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(library))
    cache.keep("key", library)
    assert not cache.fetch("key", tmp_path / "found.so")


@pytest.mark.parametrize("damage", [lambda data: data[:500], lambda data: b"y" + data[1:], lambda data: b""])
def test_a_damaged_library_of_the_cache_is_dropped(tmp_path, damage):
    library, found = tmp_path / "some.so", tmp_path / "found.so"
    library.write_bytes(b"x" * 1000)
    cache.keep("key", library)
    assert cache.fetch("key", found)
    assert found.read_bytes() == library.read_bytes()
    found.unlink()
    (kept,) = cache.folder().iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert not cache.fetch("key", found)
    assert not kept.exists()
    assert not found.exists()


def test_without_a_home_there_is_no_cache(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    library = tmp_path / "some.so"
    library.write_bytes(b"x")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    cache.keep("key", library)
    assert not cache.fetch("key", tmp_path / "found.so")


def test_whoever_reads_the_cache_while_others_write_sees_whole_libraries(tmp_path):
    sizes = {str(number): 200_000 + number for number in range(4)}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(name.encode() * size)
    seen, stop = [], threading.Event()

    def write(name: str) -> None:
        while not stop.is_set():
            cache.keep("shared", tmp_path / name, limit_bytes=1000)

    def read(target: Path) -> None:
        while not stop.is_set():
            if cache.fetch("shared", target):
                data = target.read_bytes()
                seen.append(data == data[:1] * sizes[data[:1].decode()])

    threads = [threading.Thread(target=write, args=(name,)) for name in sizes]
    threads += [threading.Thread(target=read, args=(tmp_path / f"found{i}",)) for i in range(2)]
    for thread in threads:
        thread.start()
    while len(seen) < 50:
        threads[0].join(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert all(seen)


def test_numbers_are_written_as_each_test_bench_prints_them():
    values = (0.0, 0.5, -0.25, 3.0, -2.5, 10.125, 2.0**-20)
    assert [testbench._ac_text(value) for value in values] == [
        *("0", ".5", "-.25", "3", "-2.5", "10.125"),
        ".00000095367431640625",
    ]
    assert [testbench._ap_text(value) for value in values] == [
        *("0", "0.5", "-0.25", "3", "-2.5", "10.125"),
        "9.5367431640625e-07",
    ]


@pytest.mark.parametrize(
    "text", ["{}", "[]", "no JSON", '{"name": "an extension", "version": 3}', '{"network": "n", "student_sha256": ""}']
)
def test_force_does_not_replace_a_folder_with_the_manifest_of_something_else(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BadInput) as error:
        generate(students.strided(), tmp_path, force=True)
    assert str(error.value) == f"{tmp_path}: it is no HLS project of ours and is not replaced; name another folder"
    assert (tmp_path / "manifest.json").read_text() == text


def test_force_replaces_projects_of_older_versions(tmp_path):
    check_folder(tmp_path, force=True)
    for keys in ('"version": 1, "backend": "Vitis", "layers": []', '"student_sha256": "", "files": {}'):
        (tmp_path / "manifest.json").write_text(f'{{"network": "n", {keys}}}')
        check_folder(tmp_path, force=True)


def test_force_replaces_the_folder_one_is_in_and_no_symbolic_link(tmp_path, monkeypatch):
    folder = generate(students.strided(), tmp_path / "hls").folder
    (folder / "old.txt").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(BadInput) as error:
        generate(students.strided(), link, force=True)
    told = "it is a symbolic link and is not replaced; name the folder itself, or another one"
    assert str(error.value) == f"{link}: {told}"
    assert (folder / "old.txt").read_text() == "old"
    monkeypatch.chdir(folder)
    generate(students.strided(), Path(), force=True)
    assert not (folder / "old.txt").exists()
    assert open_generated(folder).manifest.network == students.strided().network.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hls", "link"]


@pytest.mark.parametrize("fails", ["place", "new"])
def test_where_the_new_folder_cannot_be_moved_the_old_one_stays(tmp_path, monkeypatch, fails):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "old.txt").write_text("old")
    replace = Path.replace

    def failing(path, target):
        if path.name == {"place": "p", "new": "new"}[fails]:
            raise OSError(13, "Permission denied")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(BadInput) as error, appearing(tmp_path / "p"):
        pass
    assert str(error.value) == f"{tmp_path / 'p'}: cannot be written (Permission denied)"
    assert (tmp_path / "p" / "old.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_the_script_for_gxx_is_called_by_its_own_shell(tmp_path):
    folder = generate(students.strided(), tmp_path / "hls").folder
    assert "`./build_lib.sh` compiles" in (folder / "README.md").read_text()
    assert (folder / "build_lib.sh").read_text().startswith("#!/bin/bash")
    assert os.access(folder / "build_lib.sh", os.X_OK)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"clock_ns": 0.0}, "clock-ns: 0 was found, a period above 0 and below infinity is wanted"),
        ({"clock_ns": -5.0}, "clock-ns: -5 was found, a period above 0 and below infinity is wanted"),
        ({"clock_ns": float("inf")}, "clock-ns: inf was found, a period above 0 and below infinity is wanted"),
        ({"clock_ns": float("nan")}, "clock-ns: nan was found, a period above 0 and below infinity is wanted"),
        ({"part": ""}, "part: '' was found, a name such as xcvu13p-flga2577-2-e is wanted"),
        ({"part": "a; exit"}, "part: 'a; exit' was found, a name such as xcvu13p-flga2577-2-e is wanted"),
        ({"part": "a\n"}, "part: 'a\\n' was found, a name such as xcvu13p-flga2577-2-e is wanted"),
    ],
)
def test_a_clock_and_a_part_that_no_tool_takes(tmp_path, options, sentence):
    with pytest.raises(BadInput) as error:
        generate(students.strided(), tmp_path / "hls", **options)
    assert str(error.value) == sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stamp", ["1a2b3c4d", "12345678"])
def test_a_stamp_leaves_no_trace_whether_yaml_quotes_it_or_not(tmp_path, stamp):
    quoted = f"'{stamp}'" if stamp.isdigit() else stamp
    (tmp_path / "hls4ml_config.yml").write_text(f"Stamp: {quoted}\nOutputDir: {tmp_path}\n")
    (tmp_path / "build_lib.sh").write_text(f"LIB_STAMP={stamp}\n")
    readme.make_portable(tmp_path, stamp)
    assert (tmp_path / "hls4ml_config.yml").read_text() == "Stamp: csim\nOutputDir: .\n"
    assert (tmp_path / "build_lib.sh").read_text() == "LIB_STAMP=csim\n"
