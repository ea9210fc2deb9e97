"""The page of a sweep and its figures: what is in them, by plain oracles. Accuracies are made up."""

import json
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from random_students import random_student
from sweep_example import PROVENANCE, SPACE, a_large_sweep, data_of, example, row, table, unpacked
from typer.testing import CliRunner

import pacemaker
from hw import presets
from hw.accelerator import Budget, LineEngine
from hw.errors import BadInput, MissingTool
from hw.network import Shape
from hw.passes import executed
from reports.sweep import figures, page, page_axes, page_details, page_files, page_lines, page_rows, page_words
from reports.sweep.keys import machine_key, network_key
from reports.sweep.result import Sweep, eligible
from reports.sweep.space import Networks, Space
from reports.sweep.table import BOUND, EXACT, FAILED, UNFIT, Subject, Table
from sim.result import Precision
from sim.run import precision_of, simulate
from sim.timeline import Span

pytest.importorskip("jinja2")
VOID = {"meta", "link", "input", "br", "hr", "img"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return page.write(example(), tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def text(written):
    return written.read_text(encoding="utf-8")


def changed(sweep, **columns):
    """The sweep with some columns of its table replaced."""
    parts = (sweep.subjects, sweep.machines, sweep.curves, sweep.provenance)
    return Sweep(sweep.space, Table({**sweep.table.columns, **columns}), *parts)


class Tree(HTMLParser):
    """Tags closed in order; ids, references, scripts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.named, self.scripts = [], [], [], [], 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert not {"src", "srcset", "action", "style", "onclick"} & given.keys() or given["style"].startswith(
            "--share:"
        )
        assert tag not in ("iframe", "object", "embed", "img")
        assert tag != "th" or given["scope"] in ("row", "col")
        self.ids += [given["id"]] if "id" in given else []
        self.references += [given["href"]] if "href" in given else []
        self.named += [*given.get("aria-labelledby", "").split(), *given.get("aria-describedby", "").split()]
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# What is in it


def test_page_asks_nothing_of_the_network(text):
    tree = Tree(text)
    assert len(set(tree.ids)) == len(tree.ids)
    assert set(tree.named) <= set(tree.ids)
    assert tree.scripts == 4
    assert {link for link in tree.references if not link.startswith("#")} == {
        "data:,",
        "./rows.parquet",
        "./rows.csv",
    }
    assert {link[1:] for link in tree.references if link.startswith("#")} <= set(tree.ids)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert policy.count("unsafe-inline") == policy.count("style-src 'unsafe-inline'") == 1


def test_page_is_the_same_every_time(text, written):
    files = page_files.plan(example(), [], "x")
    twice = [page.render(example(), files=files) for _ in range(2)]
    assert twice[0] == twice[1]


def test_front_is_the_plain_one():
    sweep = example()
    values = sweep.values() * [-1, 1, 1]
    allowed = [
        i for i in range(len(sweep.table)) if sweep.table["status"][i] == EXACT and sweep.table["latency_ms"][i] <= 5
    ]
    plain = {
        i for i in allowed if not any((values[j] <= values[i]).all() and (values[j] < values[i]).any() for j in allowed)
    }
    assert set(np.flatnonzero(page.front_of(sweep)).tolist()) == plain
    assert 5 < len(plain) < len(allowed)


def test_rows_that_break_a_constraint_or_are_bounds_are_not_eligible():
    sweep = example()
    status = sweep.table["status"].copy()
    status[np.flatnonzero(page.front_of(sweep))[0]] = BOUND
    bounded = changed(sweep, status=status)
    assert not (eligible(bounded) & (status == BOUND)).any()
    tight = Sweep(
        msgspec.structs.replace(SPACE, machines=SPACE.machines[:1], constraints=("fits artix-7-35t",)),
        sweep.table,
        *(sweep.subjects, sweep.machines, sweep.curves, sweep.provenance),
    )
    kept = eligible(tight)
    assert kept.any()
    # XC7A35T, DS180: 90 DSP slices, 50 block RAMs of 36 kbit
    assert (sweep.table["dsp"][kept] <= 90).all()
    assert (sweep.table["bram18"][kept] <= 100).all()
    exact_pipelines = (sweep.table["status"] == EXACT) & (sweep.table["kind"] == "pipeline")
    assert kept.sum() < exact_pipelines.sum()


def test_head_says_what_the_rows_say():
    sweep, front = example(), page.front_of(example())
    assert page_words.verdict(sweep, front) == (
        f"Of 180 designs, 6 networks on 30 machines, {front.sum()} designs are on the front: no other is as good in "
        "validation accuracy, latency and line memory and better in one."
    )
    found = page_words.findings(sweep, front)
    unfit = (sweep.table["status"] == UNFIT).sum()
    assert found[0] == f"{180 - unfit} simulated exactly; {unfit} too large for their machine."
    assert found[1].startswith(f"Of the {180 - unfit} simulated designs, ")
    best = sweep.table["latency_ms"][front].min()
    assert found[3].startswith(f"Least latency on the front: {1000 * best:.1f} µs, by wrn-10-1 1x3 skip ")
    assert "91.2 % (mean of 3 seeds, standard deviation 0.4)" in found[2]


def test_head_without_a_front():
    sweep = example()
    none = np.zeros(len(sweep.table), bool)
    assert page_words.verdict(sweep, none).endswith("none is on the front: no simulated design keeps all constraints.")
    lost = changed(sweep, status=np.full(180, FAILED, object), reason=np.full(180, "no such layer", object))
    assert page_words.reasons(lost) == (("failed", "no such layer", "180"),)
    text = page.render(lost)
    assert data_of(text)["details"] == []


def test_frequent_reasons_come_first():
    sweep = example()
    reasons = np.array([f"reason {i % 40}" if i > 20 else "often" for i in range(180)], object)
    told = page_words.reasons(changed(sweep, status=np.full(180, UNFIT, object), reason=reasons))
    assert told[0] == ("unfit", "often", "21")
    assert told[-1][1] == "29 other reasons"
    assert sum(int(count) for *_, count in told) == 180


def test_choice_of_rows():
    sweep, random = a_large_sweep(20_000), np.random.default_rng(3)
    front, near = random.random(20_000) < 0.3, random.random(20_000) < 0.3
    chosen = page_rows.choose(sweep, front, near)
    counts = {name: chosen.groups.count(name) for name in page_rows.GROUPS}
    assert counts == {"front": 4000, "neighbour": 2000, "other": 5000, "bound": 0}
    assert len(set(chosen.rows.tolist())) == len(chosen.rows) == 11_000
    assert front[chosen.front].all()
    rest = chosen.rows[6000:]
    assert not (front | near)[rest].any()
    assert (sweep.table["status"][rest] == EXACT).all()
    accuracy = sweep.table["accuracy"][chosen.front]
    assert (np.diff(accuracy) <= 0).all()
    assert accuracy[0] == sweep.table["accuracy"][front].max()
    assert f"4,000 of {front.sum():,} on the front, evenly spaced" in chosen.note


def test_details_have_the_best_by_each_objective():
    sweep = example()
    shown = page_rows.choose(sweep, page.front_of(sweep), np.zeros(180, bool))
    places = page_rows.detailed(sweep, shown, 7)
    assert len(places) == len(set(places)) == 7
    rows = shown.rows[places]
    for name, best in (("accuracy", np.max), ("latency_ms", np.min), ("line_memory_bytes", np.min)):
        assert best(sweep.table[name][rows]) == best(sweep.table[name][shown.front])


@pytest.mark.parametrize("values", [[1, 1, 1], [1, 2, 3], ["a", "b", "a", "a", "a", "a"], [None, 2, 2, 2, 2, None]])
def test_packing_keeps_values(values):
    assert unpacked(page_rows.packed(values), len(values)) == values


def test_payload_has_the_rows(text):
    sweep, data = example(), data_of(text)
    shown = page_rows.choose(sweep, page.front_of(sweep), page.near_of(sweep, page.front_of(sweep)))
    for name in ("network", "latency_cycles", "line_memory_bytes", "status", "machine_key"):
        assert unpacked(data["rows"][name], len(shown.rows)) == sweep.table[name][shown.rows].tolist()
    dsps = unpacked(data["rows"]["dsp"], len(shown.rows))
    assert [np.nan if value is None else value for value in dsps] == pytest.approx(
        sweep.table["dsp"][shown.rows].tolist(), nan_ok=True
    )
    found = unpacked(data["rows"]["machine.macs"], len(shown.rows))
    kinds = sweep.table["kind"][shown.rows]
    # A line engine has multipliers, but they are no axis of its kind.
    assert all((value is None) == (kind == "line_engine") for value, kind in zip(found, kinds, strict=True))


def test_letters_are_those_of_every_cycle():
    random = np.random.default_rng(7)
    for _ in range(20):
        begin, spans = int(random.integers(0, 30)), []
        for _ in range(int(random.integers(1, 12))):
            end = begin + int(random.integers(1, 20))
            spans.append(Span(str(random.choice(["working", "starved", "blocked"])), begin, end))
            begin = end
        step = int(random.integers(1, 6))
        cycles = step * -(-begin // step)
        painted = ["."] * cycles
        for span in spans:
            painted[span.begin : span.end] = span.state[0] * (span.end - span.begin)
        plain = ""
        for at in range(0, cycles, step):
            part = painted[at : at + step]
            busy = [letter for letter in "wsb" if letter in part]
            plain += max(busy, key=part.count) if busy else "."
        assert page_details.letters(spans, cycles, cycles // step) == plain


def test_detail_is_a_simulation_and_tells_where_its_row_differs():
    sweep = example()
    place = int(np.flatnonzero(page.front_of(sweep) & (sweep.table["kind"] == "pipeline"))[0])
    found = page_details.detail(sweep, place, 0, "")
    on = sweep.subjects[sweep.table["network_key"][place]]
    machine = sweep.machines[sweep.table["machine_key"][place]]
    result = simulate(on.network, machine, on.precision)
    assert found.layers == result.layers
    assert found.differs == ()
    assert found.resources["dsp"] == sweep.table["dsp"][place]
    assert re.fullmatch(r"estimate: .+, RTL, error \d+ %", found.source)
    assert set(found.timeline.layers) == {layer.name for layer in result.layers}
    assert 0 <= result.latency_cycles - found.timeline.cycles < 100
    wrong = sweep.table["latency_cycles"].copy()
    wrong[place] += 1
    told = page_details.detail(changed(sweep, latency_cycles=wrong), place, 0, "").differs
    assert told == (f"latency {result.latency_cycles:,} where the row has {result.latency_cycles + 1:,}",)


def test_detail_of_an_engine_has_causes():
    sweep = example()
    place = int(np.flatnonzero(page.front_of(sweep) & (sweep.table["kind"] == "line_engine"))[0])
    found = page_details.detail(sweep, place, 0, "")
    assert sum(found.causes.values()) > 0
    assert sum(found.dram.values()) == sweep.table["dram_bytes"][place]
    assert found.resources == {}


def test_detail_without_its_machine():
    sweep = example()
    lonely = Sweep(sweep.space, sweep.table, sweep.subjects, {}, sweep.curves, sweep.provenance)
    assert page_details.detail(lonely, 0, 0, "").missing == "its network or its machine was not handed to the page"


def test_line_memory_of_pairs():
    sweep, front = example(), page.front_of(example())
    found, there = page_lines.pairs(sweep, front)
    assert (len(found), there) == (4, 4)
    for pair in found:
        assert "3x3" in pair.full
        assert "1x3" in pair.row
        on = {each.columns["network"]: each for each in sweep.subjects.values()}
        machine = next(machine for machine in sweep.machines.values() if machine.name == pair.machine)
        old, new = (simulate(on[name].network, machine) for name in (pair.full, pair.row))
        cells = {name: (before, after) for name, _, before, after, _ in pair.cells}
        assert cells["line buffers"] == (f"{old.line_buffer_bytes:,}", f"{new.line_buffer_bytes:,}")
        assert cells["windows"] == (f"{old.window_bytes:,}", f"{new.window_bytes:,}")
        assert cells["FIFOs"] == (f"{old.fifo_bytes:,}", f"{new.fifo_bytes:,}")
        assert cells["latency"] == (f"{old.latency_cycles:,}", f"{new.latency_cycles:,}")
        assert cells["line buffers"][1] == "0"
        assert re.match(r"Median of the \d+ machines where both were simulated: line memory 0\.\d\d times", pair.common)


def test_pairs_that_the_sweep_did_not_simulate_both_of():
    sweep = example()
    status = sweep.table["status"].copy()
    status[sweep.table["filters"] == "full"] = BOUND
    found, _ = page_lines.pairs(changed(sweep, status=status), page.front_of(sweep))
    assert len(found) == 4
    assert {pair.common for pair in found} == {"In the sweep itself no machine has exact figures of both."}
    assert all({name: new for name, _, _, new, _ in pair.cells}["line buffers"] == "0" for pair in found)


def test_given_networks_are_paired_by_their_layers():
    names = ("wrn-10-1", "wrn-10-1-1x3", "wrn-10-1-1x3-keep", "wrn-16-1-1x3")
    networks = [presets.preset(name) for name in names]
    subjects = [Subject(name, {"network": name}, made, Precision()) for name, made in zip(names, networks, strict=True)]
    sweep = given_sweep(subjects, [Budget("small", 400)])
    found, there = page_lines.pairs(sweep, np.zeros(len(sweep.table), bool))
    assert there == 2
    assert {(pair.full, pair.row) for pair in found} == {
        ("wrn-10-1", "wrn-10-1-1x3"),
        ("wrn-10-1", "wrn-10-1-1x3-keep"),
    }


def test_clock_halves_the_latency_and_leaves_the_rest():
    found = {(axes.kind, axes.objective): axes for axes in page_axes.sensitivities(example())}
    bars = {bar.axis: bar for bar in found["pipeline", "latency"].bars}
    assert bars["clock"].change == "100 %"
    assert bars["clock"].groups == "36"
    memory = {bar.axis: bar.change for bar in found["pipeline", "line memory"].bars}
    assert memory["clock"] == "0.0 %"
    engine = {bar.axis for bar in found["line engine", "latency"].bars}
    assert engine == {"width", "rows", "PE", "SIMD", "line memory"}


def test_codes_number_values():
    assert page_axes.codes([float("nan"), "a", float("nan"), 2.0, "a"]).tolist() == [0, 1, 0, 2, 1]


def given_sweep(subjects, machines):
    rows = [row(each, executed(each.network), machine) for each in subjects for machine in machines]
    return Sweep(
        space=Space("given", Networks(given=("wrn-10-1-1x3",)), SPACE.machines, ("latency_ms", "line_memory_bytes")),
        table=table(rows),
        subjects={each.key: each for each in subjects},
        machines={machine_key(machine): machine for machine in machines},
        curves={},
        provenance=PROVENANCE,
    )


def test_commands_repeat_their_rows(tmp_path, monkeypatch):
    network, made = presets.preset("wrn-10-1-1x3"), random_student(3)
    taught = Subject(
        network_key(made.network, precision_of(made), made), {"network": "s"}, made.network, precision_of(made), made
    )
    other = presets.wrn(10, 1, rows="skip", shape=Shape(14, 14, 1), classes=10)
    subjects = [
        Subject(network_key(network, Precision()), {"network": "wrn-10-1-1x3"}, network, Precision()),
        taught,
        Subject(network_key(other, Precision()), {"network": "wrn-10-1-1x3"}, other, Precision()),
    ]
    engine = LineEngine("a 'line' engine", 8, 8, 65536, 32768, 4.0, 40, 150.0)
    sweep = given_sweep(subjects, [Budget("small", 200), engine])
    front = sweep.table["status"] == EXACT
    path = page.write(sweep, tmp_path / "my report.html", front)
    data = data_of(path.read_text())
    monkeypatch.chdir(tmp_path)
    repeated = 0
    for detail in data["details"]:
        keys = unpacked(data["rows"]["network_key"], len(data["details"]))
        if keys[detail["row"]] == subjects[2].key:
            assert detail["command"] == ""  # it has a preset's name, but is another network
            continue
        words = detail["command"].replace("'", "").removeprefix("pacemaker ").replace("my report", "my_report").split()
        words = [word.replace("my_report", "my report") for word in words]
        answer = CliRunner().invoke(pacemaker.app, [*words, "--json"])
        assert answer.exit_code == 0, answer.output
        again = json.loads(answer.stdout)
        wanted = unpacked(data["rows"]["latency_cycles"], len(data["details"]))[detail["row"]]
        assert again["latency_cycles"] == wanted
        assert again["clock_mhz"] in (150.0, 200.0)
        repeated += 1
    assert repeated == 4


def test_page_takes_fewer_others_rather_than_too_many_bytes(monkeypatch):
    sweep = a_large_sweep(8_000)
    whole = len(page.render(sweep).encode())
    monkeypatch.setattr(page, "MOST_BYTES", whole - 1)
    smaller = page.render(sweep)
    assert len(smaller.encode()) < whole
    assert "2,000 of " in smaller
    monkeypatch.setattr(page, "MOST_BYTES", 1_000_000)
    with pytest.raises(BadInput) as error:
        page.render(sweep)
    assert re.fullmatch(
        r"sweep made-up accuracies: its page has [\d,]+ bytes, at most 1,000,000 are wanted; fewer objectives make a "
        r"smaller front",
        str(error.value),
    )


def test_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bokeh.util.paths", None)
    with pytest.raises(MissingTool) as error:
        page.bokeh()
    assert str(error.value).startswith("the page of a sweep needs the package bokeh")


def test_no_script_ends_early():
    scripts = [*page.bokeh(), page.own_script()]
    assert not any("</script" in script.text.lower() or "<!--" in script.text for script in scripts)


def test_figures_for_a_paper(tmp_path):
    sweep, front = example(), page.front_of(example())
    svg = figures.draw_front(tmp_path / "front.svg", sweep, front, "latency_ms", "accuracy").read_text()
    assert 'width="252pt"' in svg  # 3.5 inches
    assert "<text" not in svg  # outlines: no font is wanted where it is read
    pdf = figures.draw_sensitivity(tmp_path / "axes.pdf", sweep).read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf
    png = figures.draw_front(tmp_path / "front.png", sweep, front, "line_memory_bytes", "accuracy").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 3.5 * 300
    with pytest.raises(BadInput) as error:
        figures.draw_front(tmp_path / "front.svg", sweep, front, "latency", "accuracy")
    assert str(error.value).startswith("figure front.svg: no column of numbers 'latency'")
    with pytest.raises(BadInput) as error:
        figures.draw_sensitivity(tmp_path / "axes.gif", sweep)
    assert str(error.value) == f"{tmp_path}/axes.gif: a figure ends in .svg, .png, .pdf; .gif was found"
