"""An RTL project runs by its own README, under Icarus and Verilator, and notices a wrong word."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from random_networks import random_pipeline
from random_students import random_student
from test_rtl import needs

from hw import reference
from hw.accelerator import Pipeline
from hw.errors import BadInput
from hw.files import read_yaml
from hw.rtl.project import write_project


def project(folder, seed=3, images=2):
    student = random_student(seed, images=images)
    pipeline = random_pipeline(seed, student.network)
    write_project(student, pipeline, folder, images)
    return student, pipeline


def commands(folder, title):
    """The shell block of a README's section that begins with a title."""
    text = (folder / "README.md").read_text()
    found = re.search(rf"^{title}.*?```sh\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def shell(folder, text):
    return subprocess.run(["bash", "-e", "-c", text], cwd=folder, capture_output=True, text=True, check=False)


@needs("icarus")
@pytest.mark.parametrize("seed", [3, 4, 11])
def test_its_bench_passes_under_icarus_by_its_readme(tmp_path, seed):
    student, _ = project(tmp_path / "p", seed)
    done = shell(tmp_path / "p", commands(tmp_path / "p", "Icarus"))
    assert done.returncode == 0, done.stdout + done.stderr
    words = len((tmp_path / "p" / "sim" / "expected.hex").read_text().split())
    assert re.search(rf"^PASS: 2 images, {words} words, \d+ cycles$", done.stdout, re.MULTILINE)
    assert reference.forward(student, student.images).size % words == 0


@needs("icarus")
def test_its_bench_notices_one_wrong_bit(tmp_path):
    project(tmp_path / "p")
    expected = tmp_path / "p" / "sim" / "expected.hex"
    lines = expected.read_text().split()
    lines[-1] = f"{int(lines[-1], 16) ^ 1:x}"
    expected.write_text("\n".join(lines) + "\n")
    done = shell(tmp_path / "p", commands(tmp_path / "p", "Icarus"))
    assert done.returncode != 0
    assert f"FAIL: 1 of {len(lines)} words are wrong" in done.stdout


@needs("icarus")
def test_its_bench_does_not_wait_for_ever(tmp_path):
    project(tmp_path / "p")
    bench = tmp_path / "p" / "sim" / "bench.sv"
    bench.write_text(bench.read_text().replace("in_valid = !rst &&", "in_valid = 1'b0 &&").replace("1000000", "500"))
    done = shell(tmp_path / "p", commands(tmp_path / "p", "Icarus"))
    assert done.returncode != 0
    assert "FAIL: nothing comes any more after 0 of" in done.stdout


@needs("icarus")
def test_its_bench_passes_under_icarus_in_a_path_of_spaces_and_letters(tmp_path):
    folder = tmp_path / "a b" / "größe 中 'q'"
    project(folder)
    done = shell(folder, commands(folder, "Icarus"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 2 images" in done.stdout


@pytest.mark.slow
@needs("verilator")
@pytest.mark.parametrize("place", ["p", "a b/größe 中 'q'"])
def test_its_bench_passes_under_verilator_by_its_readme(tmp_path, place):
    project(tmp_path / place)
    done = shell(tmp_path / place, commands(tmp_path / place, "Verilator"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 2 images" in done.stdout


def test_it_holds_the_machine_and_its_clock(tmp_path):
    _, pipeline = project(tmp_path / "p")
    assert read_yaml(tmp_path / "p" / "machine.yaml", Pipeline) == pipeline
    period = 1000 / pipeline.clock_mhz
    assert f"-period {period:.3f} " in (tmp_path / "p" / "constraints" / "student.xdc").read_text()


def test_a_folder_that_is_there_is_not_touched_without_force(tmp_path):
    student, pipeline = project(tmp_path / "p")
    before = sorted(path.name for path in (tmp_path / "p").rglob("*"))
    with pytest.raises(BadInput) as error:
        write_project(student, pipeline, tmp_path / "p", 2)
    assert str(error.value) == f"{tmp_path / 'p'}: it exists already; name another folder, or replace it with --force"
    (tmp_path / "p" / "bench.vvp").write_text("old")
    write_project(student, pipeline, tmp_path / "p", 2, force=True)
    assert sorted(path.name for path in (tmp_path / "p").rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_force_does_not_replace_what_is_no_project(tmp_path):
    student, pipeline = project(tmp_path / "p")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(BadInput) as error:
        write_project(student, pipeline, tmp_path / "mine", 2, force=True)
    assert str(error.value) == f"{tmp_path / 'mine'}: it is no RTL project, and is not replaced; name another folder"
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def test_force_replaces_the_folder_one_is_in_and_no_symbolic_link(tmp_path, monkeypatch):
    student, pipeline = project(tmp_path / "p")
    (tmp_path / "p" / "old.txt").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "p")
    with pytest.raises(BadInput) as error:
        write_project(student, pipeline, link, 2, force=True)
    told = "it is a symbolic link and is not replaced; name the folder itself, or another one"
    assert str(error.value) == f"{link}: {told}"
    assert (tmp_path / "p" / "old.txt").read_text() == "old"
    for inside, out in (("", "."), ("rtl", "..")):
        monkeypatch.chdir(tmp_path / "p" / inside)
        write_project(student, pipeline, Path(out), 2, force=True)
        assert not (tmp_path / "p" / "old.txt").exists()
        assert read_yaml(tmp_path / "p" / "machine.yaml", Pipeline) == pipeline
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "p"]


@pytest.mark.parametrize("images", [0, 3])
def test_images_that_are_not_there_are_told(tmp_path, images):
    student = random_student(3, images=2)
    with pytest.raises(BadInput) as error:
        write_project(student, random_pipeline(3, student.network), tmp_path / "p", images)
    assert str(error.value) == f"images: {images} was found, 1 to 2 are wanted, the student's test images"
    assert not (tmp_path / "p").exists()


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    student = random_student(3, images=2)
    monkeypatch.setattr("hw.rtl.project._readme", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_project(student, random_pipeline(3, student.network), tmp_path / "p", 2)
    assert list(tmp_path.iterdir()) == []


@needs("icarus")
def test_every_source_of_its_readme_is_there(tmp_path):
    project(tmp_path / "p")
    assert shutil.which("iverilog")
    text = (tmp_path / "p" / "README.md").read_text()
    for name in re.findall(r"`((?:rtl|sim|synth)/[\w.]+)`", text):
        assert (tmp_path / "p" / name).exists()
