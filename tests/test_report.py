import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import msgspec
import pytest

from hw.errors import BadInput, MissingTool
from hw.hls.manifest import Comparison
from hw.resources import Resources
from reports import candidate, columns, drawing, html, words
from reports.candidate import Accuracy, Candidate, Chosen, Curve, Report, RunRecord
from sim.result import LayerResult, Result

VOID = {"meta", "link", "input", "br", "hr", "img"}


class Tree(HTMLParser):
    """What a page holds: tags closed in order, ids, references, text by element."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.ids, self.references, self.named, self.text, self.cells = [], [], [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self._look(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self._look(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data.strip())

    def _look(self, tag, attributes):
        given = dict(attributes)
        assert len(given) == len(attributes)
        assert not {"src", "srcset", "action", "xlink:href"} & given.keys()
        assert tag not in ("script", "iframe", "object", "embed")
        assert tag != "th" or given["scope"] in ("row", "col", "colgroup")
        self.ids += [given["id"]] if "id" in given else []
        self.references += [given["href"]] if "href" in given else []
        self.named += [*given.get("aria-labelledby", "").split(), *given.get("aria-describedby", "").split()]

    def says(self, words):
        return words in " ".join(" ".join(self.text).split())


def layer(name, line=0, starved=3):
    return LayerResult(name, "conv", 2, 4, 4096, 1000, starved, 0, 12, 1015, line, 64, 32, 2304)


def result(machine, latency, line, causes=None):
    return Result(
        network="net",
        machine=machine,
        clock_mhz=200.0,
        multipliers=64,
        latency_cycles=latency,
        interval_cycles=latency // 2,
        latency_ms=latency / 200e3,
        frames_per_second=1.0,
        utilisation=0.5,
        macs=763520,
        executed_macs=763520,
        parameters=77562,
        line_buffer_bytes=2 * line,
        window_bytes=128,
        fifo_bytes=64,
        weight_bytes=4608,
        line_memory_bytes=2 * line + 192,
        layers=(layer("stem", line), layer("conv1", line)),
        cycles_by_cause=causes or {},
        dram_bytes={"weights": 1234567} if causes else {},
        notes=("20 bytes of weights stay",) if causes else (),
    )


def entry(name, role, learns_from=(), share=0.97, latency=7176, line=0, bits=None):
    accuracy = Accuracy((share, share + 0.01), share + 0.005, 0.00707)
    causes = {"compute": latency // 4, "weights": latency - latency // 4}
    return Candidate(
        name=name,
        role=role,
        learns_from=learns_from,
        bits=bits,
        validation=accuracy,
        test=accuracy,
        parameters=77562,
        macs=763520,
        executed_macs=763520,
        results={"big": result("big", latency, line), "array": result("array", 5 * latency, line, causes)},
        unfit={},
        resources={"big": Resources(5612, 6152, 171, 56, "rtl", "estimate", "structural count", None)},
        curves=tuple(Curve(seed, (2.0, 1.0, 0.5, 0.4), (0.3, 0.8, 0.96, share)) for seed in (0, 1)),
        text=f"{name}: input 8x8x1",
    )


def a_report(**changes):
    made = Report(
        version=candidate.VERSION,
        recipe="digits",
        data="digits",
        input=(8, 8, 1),
        classes=10,
        images={"train": 1079, "validation": 359, "test": 359},
        seeds=(0, 1),
        chosen=Chosen("rows", "ce", 0),
        fingerprints=("a", "b"),
        candidates=(
            entry("teacher", "teacher", share=0.98, latency=16004, line=776),
            entry("split", "pacemaker", ("teacher",), share=0.979, latency=9555, line=776),
            entry("ce", "student"),
            entry("kd", "student", ("teacher",), share=0.962),
            entry("joint", "student", ("split", "teacher"), share=0.975),
            entry("ce-int8", "quantised student", ("ce",), share=0.969, bits=8),
        ),
        hls=Comparison(359, 359, 0, 0.0, 0),
        hls_missing="",
    )
    return msgspec.structs.replace(made, **changes)


def only(machine, given):
    """The report with one machine, or none."""
    entries = tuple(
        msgspec.structs.replace(
            one,
            results={k: v for k, v in one.results.items() if k == machine},
            resources={k: v for k, v in one.resources.items() if k == machine},
        )
        for one in given.candidates
    )
    return msgspec.structs.replace(given, candidates=entries)


def changed(given, which, /, **changes):
    """The report with one candidate changed."""
    entries = tuple(msgspec.structs.replace(e, **changes) if e.name == which else e for e in given.candidates)
    return msgspec.structs.replace(given, candidates=entries)


def with_one_seed(given):
    entries = tuple(
        msgspec.structs.replace(
            one,
            validation=Accuracy(one.validation.seeds[:1], one.validation.seeds[0], None),
            test=Accuracy(one.test.seeds[:1], one.test.seeds[0], None),
            curves=one.curves[:1],
        )
        for one in given.candidates
    )
    return msgspec.structs.replace(given, seeds=(0,), candidates=entries)


RECORD = RunRecord(
    command="pacemaker codesign digits",
    started="2026-01-02T03:04:05+00:00",
    seconds={"distil": 61.5, "simulate": 3.75},
    versions={"python": "3.11.7", "numpy": "2.0.0"},
    host="Linux x86_64",
    cores=2,
    folder="runs/digits",
)


@pytest.fixture(scope="module")
def page():
    return html.render(a_report(), RECORD)


def check(page):
    """The page's tree, after what holds for every page."""
    tree = Tree(page)
    assert len(tree.ids) == len(set(tree.ids))
    assert set(tree.named) <= set(tree.ids)
    assert all(target == "data:," or target[1:] in tree.ids for target in tree.references)
    assert all(target.startswith(("#", "data:,")) for target in tree.references)
    assert not re.search(r"https?:|@import|//[a-z]+\.", page)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(tree.ids)
    assert drawing.INK not in page
    return tree


def drawn(tree):
    """Names of the figures in a page."""
    titles = [name.removesuffix("-title") for name in tree.ids if name.endswith("-title")]
    return [name for name in titles if name != "verdict"]


def test_is_well_formed_and_refers_to_nothing_outside(page):
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    assert len(page) < 500_000
    check(page)


def test_shows_every_candidate_with_its_numbers(page):
    tree = check(page)
    for name in ("teacher", "split", "ce", "kd", "joint", "ce-int8"):
        assert name in tree.cells
        assert tree.says(f"{name}: input 8x8x1")
    for number in ("16,004", "80.0 µs", "8,002", "763,520", "77,562", "5,612", "6,152", "171", "1,552", "4,608"):
        assert number in tree.cells
    assert "1,234,567" in tree.cells
    assert "98.5\u00a0±\u00a00.7" in tree.cells
    assert {"stem", "conv1", "2 × 4", "2,304", "1,015"} <= set(tree.cells)


def test_marks_estimates_with_source_tool_and_error(page):
    assert check(page).says("estimate: structural count, RTL, error unknown")
    measured = Resources(1, 2, 3, 4, "hls", "vendor", "Vitis 2024.1", 0.0)
    assert words.source_of(measured) == "vendor: Vitis 2024.1, HLS"
    known = Resources(1, 2, 3, 4, "rtl", "estimate", "count", 0.125)
    assert words.source_of(known) == "estimate: count, RTL, error 12 %"


def test_verdict_is_computed_from_the_data():
    prepared = html.prepare(a_report(), RECORD)
    assert prepared.verdict == (
        "The best 1×N student by validation, ce, reaches 97.5\u00a0±\u00a00.7 % on the test images, its teacher "
        "98.5\u00a0±\u00a00.7 %; on big it keeps 0 bytes in line buffers where the teacher keeps 1,552, and answers "
        "after 7,176 cycles instead of 16,004 (−55 %)."
    )
    assert prepared.findings == (
        "Against the undistilled student ce, in percentage points: kd, by plain distillation, ends below it (−0.8) on "
        "validation and below it (−0.8) on test; joint, with a pacemaker, ends above it (+0.5) on validation and above "
        "it (+0.5) on test. With 2 seeds these are directions, not results.",
        "On array the student takes 35,880 cycles, the teacher 80,020 (−55 %); DRAM traffic is 1,234,567 against "
        "1,234,567 bytes a frame (±0 %).",
        "As 8-bit integers (ce-int8) the student reaches 97.4\u00a0±\u00a00.7 % on the test images.",
        "HLS: C simulation equals the integer reference on all 359 images.",
    )


def test_the_same_records_give_the_same_bytes(page):
    assert html.render(a_report(), RECORD) == page


def test_pipelines_come_first_and_figures_stand(page):
    assert [machine.name for machine in columns.machines_of(a_report())] == ["big", "array"]
    tree = check(page)
    assert drawn(tree) == ["accuracy-latency", "memory", "training", "causes", "layers"]
    assert tree.says("teacher, split: line buffers 1,552, windows 128, FIFOs 64, weights 4,608")


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        ("big", ["accuracy-latency", "memory", "training", "layers"]),
        ("array", ["accuracy-latency", "memory", "training", "causes"]),
        ("none", ["training"]),
    ],
)
def test_one_machine_or_none(machine, names):
    tree = check(html.render(only(machine, a_report()), RECORD))
    assert drawn(tree) == names
    assert "machine-all" not in tree.ids
    assert "estimate" in tree.text


def test_one_seed_has_no_deviation():
    tree = check(html.render(with_one_seed(a_report()), RECORD))
    assert "98.0" in tree.cells
    assert not any("±" in cell and "%" not in cell for cell in tree.cells)
    assert tree.says("With 1 seed these are directions, not results.")
    assert tree.says("one seed has none")


@pytest.mark.parametrize(
    ("hls", "missing", "status", "told"),
    [
        (None, "g++ is not installed", "HLS C simulation not made", "HLS was not compared: g++ is not installed."),
        (None, "", "HLS C simulation not made", "HLS was not compared."),
        (
            Comparison(359, 358, 3, 2.0, 0),
            "",
            "HLS C simulation differs",
            "C simulation equals the integer reference on 358 of 359 images; 3 outputs wrong, by 2 steps at most.",
        ),
        (Comparison(359, 359, 0, 0.0, 4), "", "HLS C simulation differs", "4 streams with leftover data"),
    ],
)
def test_says_what_hls_gave(hls, missing, status, told):
    tree = check(html.render(a_report(hls=hls, hls_missing=missing), RECORD))
    assert tree.says(status)
    assert tree.says(told)


def test_names_are_escaped():
    name = "</title><b>&\"'$x_1^2$"
    given = a_report(recipe=name, chosen=Chosen("rows", name, 0))
    tree = check(html.render(changed(given, "ce", name=name), RECORD))
    assert name in tree.cells
    assert tree.says(f"What the layers of {name} do on big")
    assert not {"b", "$x_1^2$"} & set(tree.open)


def test_names_without_a_glyph_do_not_stop_it():
    assert "先生" in check(html.render(changed(a_report(), "teacher", name="先生"), RECORD)).cells


def test_what_does_not_fit_is_told():
    reason = "line memory of 512 bytes is too small for conv1 <1,552 bytes>"
    broken = changed(a_report(), "teacher", results={}, resources={}, unfit={"big": reason, "array": reason})
    tree = check(html.render(broken, RECORD))
    assert f"no result: {reason}" in tree.cells
    assert tree.says("nothing can be set side by side")
    assert tree.says("its teacher 98.5 ± 0.7 %. Against")
    without = changed(a_report(), "ce", results={}, resources={}, unfit={"big": reason, "array": reason})
    assert "layers" not in drawn(check(html.render(without, RECORD)))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_run_without_teacher_or_students(role):
    left = tuple(one for one in a_report().candidates if one.role != role)
    tree = check(html.render(a_report(candidates=left), RECORD))
    assert tree.says("nothing can be set side by side")


def test_small_words():
    assert [words.points(value) for value in (0.0123, -0.0123, 0.0001)] == ["+1.2", "−1.2", "0.0"]
    assert [words.change(*pair) for pair in ((4, 3), (4, 5), (4, 4), (0, 0), (0, 1))] == [
        "−25 %",
        "+25 %",
        "±0 %",
        "±0 %",
        "from 0",
    ]
    assert [words.duration(value) for value in (0.0359, 1.5, 2500.0)] == ["35.9 µs", "1.50 ms", "2.50 s"]


def test_writes_beside_the_records(tmp_path):
    candidate.write(tmp_path, a_report(), RECORD)
    path = html.write(tmp_path)
    assert path == tmp_path / "report.html"
    check(path.read_text(encoding="utf-8"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["candidates.json", "report.html", "run.json"]


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(BadInput, match=r"candidates\.json: no such file"):
        html.write(tmp_path)


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_package_is_told(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    message = (
        f"writing the report needs the package {module}, which is not installed: pip install 'pacemaker-codesign[fig"
    )
    with pytest.raises(MissingTool, match=re.escape(message)):
        html.render(a_report(), RECORD)


PROBE = """<script>
const seen = [...document.querySelectorAll("input[name=machine]")].map(input => {
  input.click();
  const shown = [...document.querySelectorAll("th.group.machine")].filter(head => head.offsetWidth > 0);
  return input.id + " shows " + shown.map(head => head.textContent).join(" + ");
});
const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
document.body.append("PROBE " + seen.join("; ") + "; page scrolls sideways: " + wide);
</script>"""


def in_chromium(page, folder):
    """The page's elements and the log, after a headless Chromium 500 pixels wide has loaded it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        assert os.environ.get("CI") != "true", "chromium is not on the PATH, and CI wants the page seen"
        pytest.skip("chromium is not on the PATH")
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --v=0 --window-size=500,900 --dump-dom"
    command = [chromium, *flags.split(), f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return shown.stdout, shown.stderr


def test_chromium_shows_it_without_complaint(page, tmp_path):
    elements, log = in_chromium(page, tmp_path)
    assert "CONSOLE" not in log
    assert "The best 1×N student by validation" in elements
    assert elements.count("<svg") == 5


def test_chromium_switches_machines(page, tmp_path):
    open_page = re.sub(r"<meta http-equiv.*>\n", "", page)
    elements, log = in_chromium(open_page.replace("</body>", PROBE + "</body>"), tmp_path)
    assert "CONSOLE" not in log
    assert (
        "PROBE machine-0 shows big + big: resources; machine-1 shows array; "
        "machine-all shows big + big: resources + array; page scrolls sideways: false"
    ) in elements
