"""The page of a sweep and its figures: what is in them, by plain oracles. Accuracies are made up."""

import itertools
import json
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from random_students import random_student
from sweep_example import (
    PROVENANCE,
    SPACE,
    a_large_sweep,
    changed,
    data_of,
    example,
    row,
    table,
    unpacked,
    with_networks_on_no_machine,
)
from typer.testing import CliRunner

import pacemaker
from hw import presets, student
from hw.accelerator import Budget, LineEngine
from hw.errors import BadInput, MissingTool
from hw.fixed import Format, LayerFormats
from hw.network import INPUT, Layer, Network, Padding, Shape, Size
from hw.passes import executed
from reports.sweep import figures, page, page_axes, page_details, page_files, page_lines, page_rows, page_words
from reports.sweep.keys import machine_key, network_key
from reports.sweep.result import Sweep, eligible
from reports.sweep.space import Machines, Networks, Space
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
    points = {tuple(values) for values in sweep.values()[front].tolist()}
    assert len(points) < front.sum()
    assert page_words.verdict(sweep, front) == (
        f"Of 180 designs, 6 networks on 30 machines, {len(points)} distinct points by {front.sum()} designs are on the "
        "front: no other is as good in validation accuracy, latency and line memory and better in one."
    )
    alone = np.zeros(180, bool)
    alone[np.flatnonzero(front)[0]] = True
    assert ", 1 design is on the front: " in page_words.verdict(sweep, alone)
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
    assert page_words.verdict(lost, none).endswith("none is on the front: no design was simulated.")
    assert page_words.findings(lost, none) == ("180 failed.",)
    assert page_words.reasons(lost) == (("failed", "no such layer", "180"),)
    text = page.render(lost)
    assert data_of(text)["details"] == []
    assert "No design is shown in full detail, as none is on the front." in text


def test_bounds_are_told_by_the_reasons_of_their_rows():
    sweep = example()
    reasons = [
        *["its bounds are dominated by wrn-10-1 1x3 skip on pipeline macs=48"] * 5,
        *["its bounds are dominated by wrn-10-1 1x3 skip on pipeline macs=64"] * 4,
        *["its bounds break 'latency <= 5 ms'"] * 3,
        *["its accuracy is not known"] * 2,
        *[""] * 166,
    ]
    status = np.array([BOUND] * 14 + [EXACT] * 166, object)
    told = changed(sweep, status=status, reason=np.array(reasons, object))
    better = "a simulated design is at least as good as their bounds in every objective and better in one"
    assert page_words.findings(told, np.zeros(180, bool))[0] == (
        f"166 simulated exactly; 9 left out, because {better}; 3 left out, because their bounds break 'latency <= 5 "
        "ms'; 2 left out, because their validation accuracy is not known."
    )
    assert page_words.screening(told).endswith(
        f"Each row says why: because {better}, because their bounds break 'latency <= 5 ms' or because their validation"
        " accuracy is not known."
    )
    assert page_words.screening(changed(sweep, status=np.full(180, EXACT, object))) == (
        "No design was left out by its bounds."
    )


def test_networks_on_no_machine_are_no_designs():
    sweep = with_networks_on_no_machine(example())
    front = page.front_of(sweep)
    assert page_words.verdict(sweep, front) == page_words.verdict(example(), page.front_of(example()))
    before = page_words.findings(example(), page.front_of(example()))
    told = page_words.findings(sweep, front)
    more = "; 2 networks dropped by halving, and are on no machine; 1 network failed, and is on no machine."
    assert told == (before[0].removesuffix(".") + more, *before[1:])
    exact = changed(example(), status=np.full(180, EXACT, object))
    assert page_words.reasons(with_networks_on_no_machine(exact)) == (
        ("network dropped", "halving: accuracy 0.1 was not among the best", "1"),
        ("network dropped", "halving: no student is left", "1"),
        ("network failed", "no depth 11", "1"),
    )
    shown = page_rows.choose(sweep, front, page.near_of(sweep, front))
    assert shown.groups[-3:] == ("network",) * 3
    assert shown.groups.count("network") == 3
    assert "bound" not in shown.groups
    assert shown.note.endswith("; 3 of 3 networks on no machine")


def test_designs_as_good_as_each_other_are_one_point():
    sweep = example()
    shown = page_rows.choose(sweep, page.front_of(sweep), np.zeros(180, bool))
    values = [tuple(each) for each in sweep.values()[shown.front].tolist()]
    assert list(shown.firsts) == [values.index(each) for each in values]
    # Side by side, the best by the first objective first.
    assert len(set(values)) == 1 + sum(a != b for a, b in itertools.pairwise(values))
    assert [each[0] for each in values] == sorted((each[0] for each in values), reverse=True)
    different = sorted(set(shown.firsts))
    assert page_rows.detailed(sweep, shown, len(different)) == different
    assert page.detailed_told(shown, len(different)).startswith(
        f"In full detail: one design for each of the front's {len(different)} distinct points, "
    )
    assert page_rows.detailed(sweep, shown, len(values)) == list(range(len(values)))


def test_a_front_of_too_many_keeps_all_its_points(monkeypatch):
    sweep, front = example(), page.front_of(example())
    points = {tuple(values) for values in sweep.values()[front].tolist()}
    monkeypatch.setattr(page_rows, "MOST_FRONT", len(points) + 2)
    shown = page_rows.choose(sweep, front, np.zeros(180, bool))
    assert len(shown.front) == len(points) + 2 < front.sum()
    assert {tuple(values) for values in sweep.values()[shown.front].tolist()} == points


def test_others_are_simulated_ones_rather_than_bounds():
    sweep = example()
    status = np.array([EXACT] * 60 + [BOUND] * 120, object)
    front = np.arange(180) < 10
    shown = page_rows.choose(changed(sweep, status=status), front, np.zeros(180, bool), 70)
    assert (shown.groups.count("other"), shown.groups.count("bound")) == (50, 20)
    fewer = page_rows.choose(changed(sweep, status=status), front, np.zeros(180, bool), 40)
    assert (fewer.groups.count("other"), fewer.groups.count("bound")) == (40, 0)
    assert fewer.note.endswith("0 of 120 left out by their bounds, drawn at random with seed 0")


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
    assert counts == {"front": 4000, "neighbour": 2000, "other": 5000, "bound": 0, "network": 0}
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


def test_given_networks_with_other_functions_are_no_pair():
    def made(name, rows, function):
        conv = Layer(
            "c", "conv", ("input",), channels=4, kernel=Size(rows, 3), padding=Padding(rows // 2, rows // 2, 1, 1)
        )
        return Network(name, Shape(8, 8, 4), (conv, Layer("t", "table", ("c",), function=function)))

    networks = [made("full", 3, "tanh"), made("row", 1, "tanh"), made("other", 1, "sigmoid")]
    subjects = [Subject(each.name, {"network": each.name}, each, Precision()) for each in networks]
    sweep = given_sweep(subjects, [Budget("small", 400)])
    found, _ = page_lines.pairs(sweep, np.zeros(len(sweep.table), bool))
    assert {(pair.full, pair.row) for pair in found} == {("full", "row")}


def test_clock_halves_the_latency_and_leaves_the_rest():
    found = {(axes.kind, axes.objective): axes for axes in page_axes.sensitivities(example())}
    bars = {bar.axis: bar for bar in found["pipeline", "latency"].bars}
    assert bars["clock"].change == "100 %"
    assert bars["clock"].groups == "36"
    memory = {bar.axis: bar.change for bar in found["pipeline", "line memory"].bars}
    assert memory["clock"] == "0.0 %"
    engine = {bar.axis for bar in found["line engine", "latency"].bars}
    assert engine == {"width", "rows", "filters", "PE", "SIMD", "line memory"}


def taught():
    """Students of one width alone, or at two temperatures; with the N×N network, on two clocks. Accuracies are random.

    Its rows, too, as plain tuples: filters, rows, pacemaker, temperature, clock, accuracy.
    """
    random, kinds = np.random.default_rng(11), []
    for rows in ("skip", "keep"):
        kinds += [("row", rows, "none", np.nan), ("row", rows, "logits", 2.0), ("row", rows, "logits", 4.0)]
    kinds.append(("full", "", "", np.nan))
    plain = [(*kind, clock, float(random.uniform(0.5, 0.9))) for kind in kinds for clock in (100.0, 200.0)]
    # One student was not simulated on the faster machine.
    plain = [each for each in plain if each[:5] != ("row", "keep", "logits", 4.0, 200.0)]
    machines = {clock: Budget(f"{clock:g} MHz", 64, clock_mhz=clock) for clock in (100.0, 200.0)}
    names = ("filters", "rows", "pacemaker", "temperature", "clock_mhz", "accuracy")
    found = {
        name: np.array(values, None if type(values[0]) is float else object)
        for name, values in zip(names, zip(*plain, strict=True), strict=True)
    }
    found["kind"], found["status"] = np.full(len(plain), "pipeline", object), np.full(len(plain), EXACT, object)
    found["bits"] = np.full(len(plain), 8.0)
    found["network_key"] = np.array([repr(each[:4]) for each in plain], object)
    found["machine_key"] = np.array([str(each[4]) for each in plain], object)
    axes = {"rows": ("skip", "keep"), "pacemaker": ("none", "logits"), "temperature": (2.0, 4.0), "bits": (8, 4)}
    space = Space(
        "taught",
        Networks("digits", axes, teachers=True),
        (Machines("pipeline", {"macs": (64,), "clock_mhz": (100.0, 200.0)}),),
        ("accuracy",),
    )
    sweep = Sweep(space, Table(found), {}, {str(clock): each for clock, each in machines.items()}, {}, PROVENANCE)
    return sweep, plain


def test_axes_that_mean_nothing_to_some_designs_are_compared():
    sweep, plain = taught()
    (found,) = page_axes.sensitivities(sweep)
    at = {each[:5]: each[5] for each in plain}

    def change(*designs):
        known = [at[each] for each in designs if each in at]
        return (max(known) - min(known)) / min(known) if len(known) > 1 else None

    clocks, both, none = (100.0, 200.0), ("skip", "keep"), "none"
    warm = [(rows, kelvin, clock) for rows in both for kelvin in (2.0, 4.0) for clock in clocks]
    at |= {
        ("row", rows, none, 0, clock): at[key]
        for key in list(at)
        for rows in both
        for clock in clocks
        if key[1:3] == (rows, none) and key[4] == clock
    }
    at |= {("full", 0, 0, 0, key[4]): value for key, value in list(at.items()) if key[0] == "full"}
    groups = {
        "pacemaker": [change(("row", r, none, 0, c), ("row", r, "logits", k, c)) for r, k, c in warm],
        "filters": [
            *(change(("full", 0, 0, 0, c), ("row", r, "logits", k, c)) for r, k, c in warm),
            *(change(("full", 0, 0, 0, c), ("row", r, none, 0, c)) for r in both for c in clocks),
        ],
        "temperature": [
            change(("row", r, "logits", 2.0, c), ("row", r, "logits", 4.0, c)) for r in both for c in clocks
        ],
        "rows": [
            *(change(*(("row", r, "logits", k, c) for r in both)) for k in (2.0, 4.0) for c in clocks),
            *(change(*(("row", r, none, 0, c) for r in both)) for c in clocks),
        ],
        "clock": [
            *(change(*(("row", r, "logits", k, c) for c in clocks)) for r in both for k in (2.0, 4.0)),
            *(change(*(("row", r, none, 0, c) for c in clocks)) for r in both),
            change(*(("full", 0, 0, 0, c) for c in clocks)),
        ],
    }
    bars = {bar.axis: bar for bar in found.bars}
    assert bars.keys() == groups.keys()
    for name, changes in groups.items():
        known = [each for each in changes if each is not None]
        assert bars[name].groups == str(len(known)), name
        assert bars[name].change == f"{100 * np.mean(known):,.1f} %", name
        assert bars[name].range == f"{100 * min(known):,.1f} % to {100 * max(known):,.1f} %", name
    assert found.note == "No designs that differ in bits alone were simulated."


def test_completed_keys_are_those_of_a_search_of_all_pairs():
    random = np.random.default_rng(5)
    for _ in range(60):
        keys = []
        for _ in range(int(random.integers(1, 14))):
            key = random.integers(0, 2, 4).tolist()
            # From the right: a column follows from the one before it.
            keys.append(tuple(key[: int(random.integers(1, 5))] + [None] * 4)[:4])

        def fits(key, other):
            return all(a is None or a == b for a, b in zip(key, other, strict=True))

        whole = [key for key in dict.fromkeys(keys) if not any(fits(key, other) and key != other for other in keys)]
        found = page_axes.completed(keys)
        numbers = {key: groups for key, groups in zip(keys, found, strict=True) if key in whole}
        assert sorted(groups[0] for groups in numbers.values()) == list(range(len(whole)))
        for key, groups in zip(keys, found, strict=True):
            assert groups == sorted(numbers[other][0] for other in whole if fits(key, other))


def test_axes_where_nothing_can_be_told_are_named():
    sweep = changed(example(), dram_bytes=np.zeros(180))
    nothing = Sweep(
        msgspec.structs.replace(sweep.space, objectives=("dram_bytes", "latency_ms"), constraints=()),
        sweep.table,
        *(sweep.subjects, sweep.machines, sweep.curves, sweep.provenance),
    )
    found = next(each for each in page_axes.sensitivities(nothing) if each.kind == "pipeline")
    assert (found.objective, found.bars) == ("DRAM a frame", ())
    assert found.note == "The least over width, filters, rows, MACs or clock is 0, of which no change has a share."


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


def test_a_lifted_student_repeats_its_network():
    network = presets.preset("wrn-10-1-1x3")
    assert executed(network) != network
    formats = {INPUT: LayerFormats(Format(8, 4))}
    for layer in network.layers:
        weight = Format(8, 7) if network.weight_shapes(layer) else None
        formats[layer.name] = LayerFormats(Format(8, 4, not layer.relu), weight)
    integers = {
        f"{layer.name}.{part}": np.ones(shape, np.int64)
        for layer in network.layers
        for part, shape in network.weight_shapes(layer).items()
    }
    none = np.zeros((0, *network.input), np.int64)
    made = student.Student(network, formats, integers, none, np.zeros(0, np.int64), none, {})
    lifted = student.lifted(made)
    subject = Subject("key", {"network": "s"}, network, precision_of(lifted), lifted)
    assert lifted.network != network
    assert page_files.has_student(subject)
    other = Subject("key", {"network": "s"}, presets.preset("wrn-10-1-1x3-keep"), precision_of(lifted), lifted)
    assert not page_files.has_student(other)


def test_onnx_files_are_named_as_the_page_sees_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = presets.preset("wrn-10-1-1x3")
    for given, told in (("nets/a b.onnx", "'../../nets/a b.onnx'"), ("/nets/a.onnx", "/nets/a.onnx")):
        subject = Subject("key", {"network": given}, network, Precision())
        sweep = given_sweep([subject], [Budget("small", 200)])
        space = msgspec.structs.replace(sweep.space, networks=Networks(given=(given,)), energy="scaled-28nm")
        rest = (sweep.table, sweep.subjects, sweep.machines, sweep.curves, sweep.provenance)
        plan = page_files.plan(Sweep(space, *rest), [0], "x-candidates", tmp_path / "runs" / "x")
        machine = "x-candidates/machine-01.yaml"
        assert plan.commands == {0: f"pacemaker simulate {told} --machine {machine} --energy scaled-28nm"}
        assert page_files.plan(sweep, [0], "x", tmp_path).commands == {}  # a name that was not given


def test_bits_are_those_of_the_student():
    made = random_student(5)
    subject = Subject("key", {"network": "s"}, made.network, precision_of(made), made)
    last = made.network.output.name
    inner = [each.out.width for name, each in made.formats.items() if name not in (INPUT, last)]
    weights = [each.weight.width for each in made.formats.values() if each.weight]
    pixels = made.formats[INPUT].out.width
    assert min(inner) < max(inner)
    assert min(weights) < max(weights)
    assert page_details.bits_of(subject) == (
        f"input of {pixels} bits, activations of {min(inner)} to {max(inner)} bits, weights of {min(weights)} to "
        f"{max(weights)}, logits of {made.formats[last].out.width}"
    )
    plain = Subject("key", {"network": "s"}, made.network, Precision(8, 4))
    assert page_details.bits_of(plain) == "activations of 8 bits, weights of 4"


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
        r"sweep made-up-accuracies: its page has [\d,]+ bytes, at most 1,000,000 are wanted; fewer objectives make a "
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
